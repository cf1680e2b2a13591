//! A witness for Squall's own binding of `libibverbs`: a member made of the crate `ibverbs`, which declares everything
//! anew, from the headers of its own copy of rdma-core. It makes a pair with a `VerbsEndpoint` and watches what that
//! one writes.
//!
//! ```text
//!   rank 0: VerbsFabric::open          rank 1: queue pair, memory and receives of the crate `ibverbs`
//!      |  <- networks, cards, rolls ->  |     what rank 1 says at each gather is made here
//!      |  Span, then Word  ==>          |     who sees the Word finds all bytes of the Span
//!      |  wake-up, farewell  ==>        |     writes with an immediate, which take its receives
//! ```
//!
//! The crate posts only SEND and registers only memory of its own, so writing is one-way here. Needs an RDMA device of
//! InfiniBand or RoCE (`scripts/soft-roce run`). Exits with 0 only if every byte came, in order.

use std::ptr::read_volatile;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use squall_transport::exchange::{LocalExchange, connection_token};
use squall_transport::verbs::{Choice, LinkKind, VerbsFabric};
use squall_transport::{Endpoint, Exchange, Fabric, Place, Rank, RegionOptions, TABLE, Write};

/// Nothing here takes this long; it only ends what would hang.
const PATIENCE: Duration = Duration::from_secs(60);
const ROUNDS: u64 = 500;
const SPAN_BYTES: u64 = 3000;
const TABLE_BYTES: u64 = 8192;
/// Where a round's Span begins, and its Word.
const SPAN_AT: u64 = 64;
const WORD_AT: u64 = 0;
/// What a member needs of the others' memory beside the regions: mailboxes and a place for first writes.
const CONTROL_BYTES: u64 = 8192;
/// The immediate of the last write of all.
const FAREWELL: u32 = 2;
const RECEIVES: usize = 2;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Memory, as Squall's members name it to each other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct RemoteMemory {
    address: u64,
    bytes: u64,
    key: u32,
}

/// What Squall's members tell each other before their queue pairs meet (`transport/src/verbs/card.rs`).
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Card {
    version: u8,
    wire: u32,
    gid: [u8; 16],
    lid: u16,
    mtu: u8,
    regions: Vec<RemoteMemory>,
    control: RemoteMemory,
    counted: bool,
    listens_at: Option<std::net::SocketAddr>,
    queue_pairs: Vec<u32>,
    partition: u16,
    needs_global_route: bool,
}

/// How the two threads keep in step.
enum Step {
    /// The span and word of this round were written.
    Written(u64),
    /// The endpoint is gone.
    Gone,
}

fn main() -> Outcome<()> {
    let fabric = VerbsFabric::default();
    let choice = fabric.chosen()?;
    if choice.link == LinkKind::Iwarp {
        return Err("the crate ibverbs knows no connection manager, without which iWARP does not connect".into());
    }
    let mut members = LocalExchange::mesh(2);
    let (theirs, mine) = (members.pop().ok_or("two members")?, members.pop().ok_or("two members")?);
    let choice = &choice;
    let (told, steps) = mpsc::channel();
    let (seen, seen_by) = mpsc::channel();
    std::thread::scope(|scope| {
        let witness = scope.spawn(move || witness(choice, theirs, &steps, seen));
        // Dropped at its end, so that the witness ends too.
        let wrote = write(&fabric, mine, told, &seen_by);
        let seen = witness.join().map_err(|_| "the witness panicked")?;
        match (wrote, seen) {
            (Ok(()), Ok(completions)) => {
                println!("{choice}: ibverbs saw {ROUNDS} rounds of {SPAN_BYTES} bytes and a word, and {completions} immediates");
                Ok(())
            }
            (wrote, seen) => Err(format!("Squall: {wrote:?}; ibverbs: {seen:?}").into()),
        }
    })
}

/// Squall's side: a Span and a Word a round.
fn write(fabric: &VerbsFabric, mut exchange: LocalExchange, told: mpsc::Sender<Step>, seen_by: &mpsc::Receiver<u64>) -> Outcome<()> {
    let table = fabric.region(TABLE_BYTES as usize, &RegionOptions::default())?;
    let mut endpoint = fabric.open(&mut exchange, std::slice::from_ref(&table))?;
    let peer = Rank::new(1);
    for round in 1..=ROUNDS {
        for at in (SPAN_AT..SPAN_AT + SPAN_BYTES).step_by(8) {
            table.word(at).store(pattern(round, at), std::sync::atomic::Ordering::Relaxed);
        }
        let span = Write::Span { from: Place::new(TABLE, SPAN_AT), to: Place::new(TABLE, SPAN_AT), len: SPAN_BYTES };
        for write in [span, Write::Word { at: Place::new(TABLE, WORD_AT), value: round }] {
            while endpoint.post(peer, write).is_err() {
                progress(&mut endpoint)?;
            }
        }
        endpoint.flush();
        told.send(Step::Written(round))?;
        // Until the witness has looked: the span is read late.
        let deadline = Instant::now() + PATIENCE;
        while seen_by.try_recv() != Ok(round) {
            progress(&mut endpoint)?;
            if Instant::now() > deadline {
                return Err(format!("the witness saw nothing of round {round}").into());
            }
        }
    }
    drop(endpoint);
    told.send(Step::Gone)?;
    Ok(())
}

fn progress(endpoint: &mut impl Endpoint) -> Outcome<()> {
    match endpoint.poll() {
        None => {
            std::thread::yield_now();
            Ok(())
        }
        Some(event) => Err(format!("{event:?}: {:?}", endpoint.down_reason(Rank::new(1))).into()),
    }
}

/// What stands at a place of the table in a round.
fn pattern(round: u64, at: u64) -> u64 {
    round.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ at
}

/// The side of the crate `ibverbs`; the number of completions with an immediate that it took.
fn witness(choice: &Choice, mut exchange: LocalExchange, steps: &mpsc::Receiver<Step>, seen: mpsc::Sender<u64>) -> Outcome<u64> {
    let devices = ibverbs::devices()?;
    let device = devices.iter().find(|device| device.name().is_some_and(|name| name.to_bytes() == choice.device.as_bytes()));
    let context = device.ok_or("ibverbs finds no such device")?.open()?;
    let completions = context.create_cq(16, 0)?;
    let domain = context.alloc_pd()?;
    let mut receiving = domain.allocate::<u64>(RECEIVES)?;
    let memory = domain.allocate::<u64>(((TABLE_BYTES + CONTROL_BYTES) / 8) as usize)?;
    let base = memory.as_ptr() as u64;
    let number = |from, to| {
        let token = connection_token(exchange.token(), from, to, "verbs packet numbers");
        u32::from_le_bytes([token[0], token[1], token[2], 0])
    };
    let mut builder = domain.create_qp(&completions, &completions, ibverbs::ibv_qp_type::IBV_QPT_RC);
    builder.allow_remote_rw().set_gid_index(choice.gid.index.into()).set_max_recv_wr(RECEIVES as u32);
    builder.set_path_mtu(1).set_rq_psn(number(Rank::new(0), Rank::new(1)));
    let prepared = builder.build()?;
    let mine = prepared.endpoint();

    exchange.all_gather("verbs networks", &postcard::to_stdvec(&Vec::<String>::new())?)?;
    let gid = mine.gid.ok_or("no GID")?;
    let table = RemoteMemory { address: base, bytes: TABLE_BYTES, key: memory.rkey().key };
    let control = RemoteMemory { address: base + TABLE_BYTES, bytes: CONTROL_BYTES, ..table };
    let wire = match (choice.link, choice.gid.v2) {
        (LinkKind::InfiniBand, _) => 0,
        (_, false) => 1,
        (_, true) => 2,
    };
    let card = Card {
        version: CARD_VERSION,
        wire,
        gid: [gid.subnet_prefix().to_be_bytes(), gid.interface_id().to_be_bytes()].concat().try_into().map_err(|_| "16 bytes")?,
        lid: mine.lid,
        mtu: 1,
        regions: vec![table],
        control,
        counted: false,
        listens_at: None,
        queue_pairs: vec![mine.num, 0],
        partition: choice.partition.1,
        needs_global_route: false,
    };
    let cards = exchange.all_gather("verbs addresses", &postcard::to_stdvec(&card)?)?;
    let theirs: Card = postcard::from_bytes(&cards[0])?;
    // Both are on one device, under one address.
    let remote = ibverbs::QueuePairEndpoint { num: theirs.queue_pairs[1], lid: theirs.lid, gid: mine.gid };
    let mut pair = prepared.handshake(remote)?;
    for slot in 0..RECEIVES {
        // SAFETY: `receiving` lives longer than the queue pair, and is not touched until then.
        unsafe { pair.post_receive(&mut receiving, slot..slot + 1, slot as u64) }?;
    }
    for barrier in ["verbs connected", "verbs greeted", "verbs up"] {
        exchange.all_gather(barrier, &[1, 1])?;
    }

    // SAFETY: inside `memory`; what the device writes there meanwhile is read as it comes.
    let word = |at: u64| unsafe { read_volatile(memory.as_ptr().add((at / 8) as usize)) };
    loop {
        match steps.recv_timeout(PATIENCE)? {
            Step::Written(round) => {
                let deadline = Instant::now() + PATIENCE;
                while word(WORD_AT) != round {
                    std::thread::yield_now();
                    if Instant::now() > deadline {
                        return Err(format!("the word of round {round} did not come: {}", word(WORD_AT)).into());
                    }
                }
                let torn = (SPAN_AT..SPAN_AT + SPAN_BYTES).step_by(8).find(|&at| word(at) != pattern(round, at));
                if let Some(at) = torn {
                    return Err(format!("the word of round {round} came before byte {at} of its span").into());
                }
                seen.send(round)?;
            }
            Step::Gone => return farewell(&completions),
        }
    }
}

/// Version of the card.
const CARD_VERSION: u8 = 3;

/// Waits for the last write; how many completions with an immediate came.
fn farewell(completions: &ibverbs::CompletionQueue<'_>) -> Outcome<u64> {
    let (mut taken, mut count, deadline) = ([ibverbs::ibv_wc::default(); 4], 0, Instant::now() + PATIENCE);
    while Instant::now() < deadline {
        for completion in completions.poll(&mut taken)? {
            if let Some((status, vendor)) = completion.error() {
                return Err(format!("a receive failed: {status:?}, vendor code {vendor:#x}").into());
            }
            count += 1;
            if completion.imm_data().map(u32::from_be) == Some(FAREWELL) {
                return Ok(count);
            }
        }
        std::thread::yield_now();
    }
    Err("no farewell came".into())
}
