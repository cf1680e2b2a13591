//! How the links of one epoch come to be.
//!
//! ```text
//!   choose, register, queue pairs to INIT with receives posted
//!   --- gather: cards (who I am, where my memory is) ---
//!   every queue pair to ready-to-receive, then to ready-to-send
//!   --- barrier: everybody can receive ---
//!   a first write of a whole packet to everybody, and its completion
//!   --- barrier: everybody was heard ---
//! ```
//!
//! Where the exchange has patience, a peer that fails at any of this is absent, and so is one that says at a barrier
//! that it does without me. Its queue pair is destroyed at once, so that a peer which does not know yet finds the link
//! broken by its next probe.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::abi::{self, CStruct};
use super::card::{Card, RemoteMemory, Wire, mtu_bytes, path};
use super::completion::CompletionQueue;
use super::counting::{self, Counting, RECORD_BYTES};
use super::credits::{Holds, entries, sends};
use super::device::{Device, outcome_text};
use super::errors::{system, unavailable};
use super::failure::Failure;
use super::limits::{IWARP_INLINE_BYTES, LINK_UP_MAX, MAILBOX_BYTES, MEMBERS_MAX, RECEIVES, REGIONS_MAX, SCRATCH_BYTES, WORD_BYTES};
use super::link::{Link, Signal, Target, receives, receives_of};
use super::manager::{Connection, Meeting};
use super::memory::MemoryRegion;
use super::opened::Opened;
use super::options::VerbsOptions;
use super::queue_pair::{Init, Limits, Path, QueuePair, ReadyToSend, prepare};
use super::request::RequestId;
use super::sleep;
use super::sysfs::LinkKind;
use super::words::{self, Words};
use crate::absent::Absent;
use crate::endpoint::OpenError;
use crate::exchange::Exchange;
use crate::rank::Rank;
use crate::region::{Region, RegionOptions};

/// What an endpoint is made of.
pub(super) struct Parts {
    pub(super) links: Vec<Option<Link>>,
    pub(super) completions: Arc<CompletionQueue>,
    pub(super) memory: Vec<Arc<MemoryRegion>>,
    pub(super) control: Arc<MemoryRegion>,
    /// Bytes of a Span that travels inside its request.
    pub(super) inline_bytes: u32,
    /// By rank: why there is no link.
    pub(super) absent: Vec<Option<String>>,
}

/// Links to all other members, by rank.
pub(super) fn open(
    opened: &Opened,
    options: &VerbsOptions,
    exchange: &mut dyn Exchange,
    memory: Vec<Arc<MemoryRegion>>,
) -> Result<Parts, OpenError> {
    let (me, members) = (exchange.rank(), exchange.members());
    assert!(memory.len() <= REGIONS_MAX && members <= MEMBERS_MAX, "at most {REGIONS_MAX} regions and {MEMBERS_MAX} members");
    if let Some(fault) = options.detection.fault() {
        return Err(unavailable(fault));
    }
    let (device, choice) = (&opened.device, &opened.choice);
    let port = device.port(choice.port)?;
    if port.state != abi::PORT_ACTIVE {
        return Err(unavailable(format!("{choice}: the port is not active (state {}); is its interface up?", port.state)));
    }
    let message_max = u64::from(port.max_msg_sz.clamp(1 << 12, 1 << 30));
    let span_max = memory.iter().map(|memory| (memory.region().bytes() as u64).div_ceil(message_max)).max().unwrap_or(1);
    if options.counted && (opened.address.is_some() || span_max > counting::WINDOW) {
        return Err(unavailable(format!(
            "{choice} cannot count writes: it has no immediates, or its messages are short; leave that option off"
        )));
    }
    let limits = limits(opened, options, members - 1, span_max)?;
    let completions = Arc::new(CompletionQueue::new(device, entries(members - 1, limits.sends, limits.receives))?);
    let records_at = (MAILBOX_BYTES * members as u64).next_multiple_of(SCRATCH_BYTES);
    let records_bytes = if options.counted { counting::RECORDS_BYTES * members as u64 } else { 0 };
    let control_bytes = (records_at + records_bytes).next_multiple_of(SCRATCH_BYTES);
    let control =
        Region::allocate((control_bytes + SCRATCH_BYTES) as usize, &RegionOptions { populate: true, ..RegionOptions::default() })?;
    let control = Arc::new(MemoryRegion::register(device, &control, false)?);

    let gid = device.gid(choice.port, choice.gid.index)?;
    if gid == [0; 16] {
        return Err(unavailable(format!("{choice}: that GID is empty now; did its interface lose its address?")));
    }
    let mut card = Card::new(Wire::of(choice.link, choice.gid.v2), gid, port.lid, mtu(&port, options)?, remote(&control));
    card.counted = options.counted;
    let card_mtu = card.mtu;
    card.partition = choice.partition.1;
    card.needs_global_route = port.flags & abi::PORT_NEEDS_GLOBAL_ROUTE != 0;
    card.regions = memory.iter().map(|memory| remote(memory)).collect();
    let making = Making { opened, options, completions: &completions, control: &control, limits };
    let mut absent = Absent::of(exchange);
    let (cards, connected) = match opened.address {
        None => making.by_numbers(card, exchange, &mut absent)?,
        Some(address) => making.by_manager(address, card, exchange, &mut absent)?,
    };
    let words = match connected.inline_bytes < WORD_BYTES {
        true => Some(Arc::new(making.words(members)?)),
        false => None,
    };
    let signal = if opened.address.is_some() { Signal::Message } else { Signal::Immediate };
    let link = |(pair, theirs): (Option<QueuePair<ReadyToSend>>, (usize, &Option<Card>))| {
        let (pair, (index, Some(theirs))) = (pair?, theirs) else {
            return None;
        };
        let mut mailbox = theirs.control;
        mailbox.address += MAILBOX_BYTES * me.index() as u64;
        let mtu_bytes = (signal == Signal::Immediate).then(|| mtu_bytes(card_mtu.min(theirs.mtu)));
        let words = words.as_ref().map(|memory| Words::new(memory, words::bytes(limits.sends) * index as u64, limits.sends));
        let peer = Rank::new(index);
        let mut records = theirs.control;
        records.address += records_at + counting::RECORDS_BYTES * me.index() as u64;
        let counting = options.counted.then(|| Counting::new(peer, records, &control, records_at));
        let target = Target { peer, regions: theirs.regions.clone(), mailbox, mtu_bytes, counting };
        Some(Link::new(pair, target, &control, limits.sends, message_max, signal, words))
    };
    let mut links: Vec<_> = connected.pairs.into_iter().zip(cards.iter().enumerate()).map(link).collect();
    call_the_roll(exchange, &mut absent, "verbs connected", &mut links)?;
    let packet = mtu_bytes(cards.iter().flatten().map(|card| card.mtu).min().unwrap_or(1));
    let greeting = Greeting { opened, completions: &completions, control: &control, cards: &cards, packet };
    // On iWARP who asked for a connection must be the first to send over it.
    greeting.send(exchange, &mut absent, &mut links, |peer| signal == Signal::Immediate || peer > me)?;
    call_the_roll(exchange, &mut absent, "verbs greeted", &mut links)?;
    greeting.send(exchange, &mut absent, &mut links, |peer| signal == Signal::Message && peer < me)?;
    call_the_roll(exchange, &mut absent, "verbs up", &mut links)?;
    let inline_bytes = connected.inline_bytes.min(inline_wanted(opened, options));
    Ok(Parts { links, completions, memory, control, inline_bytes, absent: absent.into_reasons() })
}

/// A barrier, at which members say whom they do without; links to absent members are dropped.
fn call_the_roll(exchange: &mut dyn Exchange, absent: &mut Absent, what: &str, links: &mut [Option<Link>]) -> Result<(), OpenError> {
    let rolls = exchange.all_gather(what, &absent.roll())?;
    absent.compare(exchange, "verbs", &rolls)?;
    drop_absent(absent, links);
    Ok(())
}

fn drop_absent(absent: &Absent, links: &mut [Option<Link>]) {
    for (index, link) in links.iter_mut().enumerate() {
        if absent.is_absent(Rank::new(index)) {
            *link = None;
        }
    }
}

/// In a card: there is no queue pair for that member. Devices keep the number for themselves.
const NO_QUEUE_PAIR: u32 = 0;

/// Queue pairs that are ready to send, by rank.
struct Connected {
    pairs: Vec<Option<QueuePair<ReadyToSend>>>,
    inline_bytes: u32,
}

/// What connections are made of.
struct Making<'a> {
    opened: &'a Opened,
    options: &'a VerbsOptions,
    completions: &'a Arc<CompletionQueue>,
    control: &'a MemoryRegion,
    limits: Limits,
}

impl Making<'_> {
    /// Cards carry the numbers of queue pairs, which are then brought up on both sides.
    fn by_numbers(
        &self,
        mut card: Card,
        exchange: &mut dyn Exchange,
        absent: &mut Absent,
    ) -> Result<(Vec<Option<Card>>, Connected), OpenError> {
        let (me, choice) = (exchange.rank(), &self.opened.choice);
        let mut made: Vec<Option<QueuePair<Init>>> = (0..exchange.members()).map(|_| None).collect();
        let mut inline_bytes = u32::MAX;
        for peer in absent.peers() {
            let (pair, bytes) = self.queue_pair(peer)?;
            inline_bytes = inline_bytes.min(bytes);
            made[peer.index()] = Some(pair);
        }
        card.queue_pairs = made.iter().map(|pair| pair.as_ref().map_or(NO_QUEUE_PAIR, QueuePair::number)).collect();
        let cards = card.exchange(exchange, absent)?;
        let mut pairs: Vec<Option<QueuePair<ReadyToSend>>> = made.iter().map(|_| None).collect();
        for (index, (pair, theirs)) in made.into_iter().zip(&cards).enumerate() {
            let (Some(pair), Some(theirs), peer) = (pair, theirs, Rank::new(index)) else {
                continue;
            };
            if theirs.queue_pairs[me.index()] == NO_QUEUE_PAIR {
                let what = "it made no queue pair for this member".into();
                absent.exclude(exchange, peer, OpenError::Peer { fabric: "verbs", peer, what })?;
                continue;
            }
            let path = path(exchange, peer, &card, theirs, (choice.port, choice.gid.index), self.options);
            match connect(self.opened, self.options, pair, peer, &path) {
                Ok(pair) => pairs[index] = Some(pair),
                Err(error) => absent.excuse(exchange, error)?,
            }
        }
        Ok((cards, Connected { pairs, inline_bytes }))
    }

    /// A new queue pair for `peer` with its receives posted, and the bytes it takes inline.
    fn queue_pair(&self, peer: Rank) -> Result<(QueuePair<Init>, u32), OpenError> {
        let (device, port) = (&self.opened.device, self.opened.choice.port);
        let partition = self.opened.choice.partition.0;
        let with =
            |inline_bytes| QueuePair::<Init>::new(device, self.completions, &Limits { inline_bytes, ..self.limits }, port, partition);
        let (pair, inline_bytes) = with(self.limits.inline_bytes).or_else(|_| with(WORD_BYTES)).or_else(|_| with(0))?;
        enough_inline(device, inline_bytes, self.options)?;
        // For the peer's wake-up and farewell, before anything can come.
        for receive in receives(self.control, peer, self.options.counted) {
            // SAFETY: a word of the control region, which lives longer than the queue pair: here as the earlier local,
            // later in the endpoint.
            unsafe { pair.post_receive(&receive) }.map_err(|error| system("posting a receive", error))?;
        }
        Ok((pair, inline_bytes))
    }

    /// Places for the values of all links, by rank.
    fn words(&self, members: usize) -> Result<MemoryRegion, OpenError> {
        let bytes = (words::bytes(self.limits.sends) * members as u64).next_multiple_of(4096);
        let region = Region::allocate(bytes as usize, &RegionOptions { populate: true, ..RegionOptions::default() })?;
        MemoryRegion::register(&self.opened.device, &region, false)
    }

    /// Cards carry addresses, to which the connection manager connects.
    fn by_manager(
        &self,
        address: IpAddr,
        mut card: Card,
        exchange: &mut dyn Exchange,
        absent: &mut Absent,
    ) -> Result<(Vec<Option<Card>>, Connected), OpenError> {
        let (me, members) = (exchange.rank(), exchange.members());
        let mut meeting = Meeting::listen(address, me, members, *exchange.token())?;
        card.listens_at = Some(meeting.address());
        card.queue_pairs = vec![NO_QUEUE_PAIR; members];
        let cards = card.exchange(exchange, absent)?;
        let addresses: Vec<_> = cards.iter().map(|card| card.as_ref().and_then(|card| card.listens_at)).collect();
        let (device, mut inline_bytes) = (&self.opened.device, u32::MAX);
        let mut prepare = |peer, connection: &Connection| {
            let receives: Vec<_> = receives(self.control, peer, false).collect();
            // SAFETY: as in `queue_pair`.
            let bytes = unsafe { prepare(connection, device, self.completions, &self.limits, &receives) }?;
            inline_bytes = inline_bytes.min(bytes);
            enough_inline(device, bytes, self.options)
        };
        meeting.resolve(&addresses, &mut prepare, exchange, absent)?;
        let rolls = exchange.all_gather("verbs ready to connect", &absent.roll())?;
        absent.compare(exchange, "verbs", &rolls)?;
        let (connections, held) = meeting.connect(&mut prepare, exchange, absent)?;
        let held = Arc::new(held);
        let take = |connection: Option<Connection>| {
            connection.map(|connection| QueuePair::established(connection, &held, device, self.completions)).transpose()
        };
        let pairs = connections.into_iter().map(take).collect::<Result<_, _>>()?;
        Ok((cards, Connected { pairs, inline_bytes }))
    }
}

/// How peers name `memory`.
fn remote(memory: &MemoryRegion) -> RemoteMemory {
    RemoteMemory { address: memory.region().address() as u64, bytes: memory.region().bytes() as u64, key: memory.remote_key() }
}

/// As much as was asked for and the device holds, of queue pairs and of completions: see `credits`. The longest Span
/// moves in `span_max` requests.
fn limits(opened: &Opened, options: &VerbsOptions, peers: usize, span_max: u64) -> Result<Limits, OpenError> {
    let attributes = opened.device.attributes()?;
    // Receives for what is counted take entries too.
    let counted = (receives_of(options.counted) - RECEIVES).saturating_mul(peers as u32);
    let entries = (attributes.max_cqe.max(0) as u32).saturating_sub(counted);
    let holds = Holds { requests: attributes.max_qp_wr.max(0) as u32, entries };
    let span_max = u32::try_from(span_max).unwrap_or(u32::MAX);
    let sends = sends(options.queue_writes, span_max, peers, holds).map_err(|least| {
        unavailable(format!(
            "{}: {peers} peers need queues of at least {least} requests, but it holds {} a queue pair and {} completions; use a \
             smaller group",
            opened.device.name, holds.requests, holds.entries
        ))
    })?;
    let inline_bytes = match inline_wanted(opened, options) {
        0 => 0,
        bytes => bytes.max(WORD_BYTES),
    };
    Ok(Limits { sends, receives: receives_of(options.counted), inline_bytes })
}

/// Bytes that Spans are to carry inline.
fn inline_wanted(opened: &Opened, options: &VerbsOptions) -> u32 {
    match opened.choice.link {
        LinkKind::Iwarp => options.inline_bytes.max(IWARP_INLINE_BYTES),
        LinkKind::InfiniBand | LinkKind::Roce | LinkKind::Other if options.counted => options.inline_bytes.max(RECORD_BYTES),
        LinkKind::InfiniBand | LinkKind::Roce | LinkKind::Other => options.inline_bytes,
    }
}

/// The largest path MTU that the port and the user allow, as the C enumeration counts.
fn mtu(port: &abi::PortAttributes, options: &VerbsOptions) -> Result<u8, OpenError> {
    let active = u8::try_from(port.active_mtu).ok().filter(|mtu| (1..=5).contains(mtu)).unwrap_or(1);
    match options.mtu_bytes {
        None => Ok(active),
        Some(bytes) => (1..=active).find(|&mtu| mtu_bytes(mtu) == bytes).ok_or_else(|| {
            let most = mtu_bytes(active);
            unavailable(format!(
                "a path MTU of {bytes} bytes: the port takes powers of two from 256 to {most} (its interface's MTU bounds that)"
            ))
        }),
    }
}

/// What is counted travels inline; a device that takes too little of it can carry ordered writes only.
fn enough_inline(device: &Device, bytes: u32, options: &VerbsOptions) -> Result<(), OpenError> {
    match options.counted && bytes < RECORD_BYTES {
        true => Err(unavailable(format!("{} takes {bytes} bytes of inline data, and counted writes need {RECORD_BYTES}", device.name))),
        false => Ok(()),
    }
}

fn connect(
    opened: &Opened,
    options: &VerbsOptions,
    pair: QueuePair<Init>,
    peer: Rank,
    path: &Path,
) -> Result<QueuePair<ReadyToSend>, OpenError> {
    let failed = |state: &str, error: io::Error| {
        if let Some(libc::ENODEV | libc::ENOMEM) = error.raw_os_error() {
            return system(format!("bringing a queue pair to {state} ({})", opened.choice), error);
        }
        let what = format!("a queue pair to {state} ({}; {}): {error}: {}", opened.choice, describe(path), cause(opened, path, &error));
        OpenError::Peer { fabric: "verbs", peer, what }
    };
    let pair = pair.ready_to_receive(path).map_err(|error| failed("ready-to-receive", error))?;
    pair.ready_to_send(path, &options.detection).map_err(|error| failed("ready-to-send", error))
}

fn describe(path: &Path) -> String {
    let to = match path.gid {
        Some(gid) => {
            format!("peer's GID {}", super::sysfs::Gid { index: 0, raw: gid, v2: true, interface: None, prefix_bits: None }.address())
        }
        None => format!("peer's LID {}", path.lid),
    };
    format!("{to}, queue pair {}, path MTU {}", path.peer_number, mtu_bytes(path.mtu))
}

/// The usual cause of a failed transition.
fn cause(opened: &Opened, path: &Path, error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ETIMEDOUT | libc::EHOSTUNREACH) => "nobody answers for the peer's address: wrong GID index, or no way there (ping it)",
        Some(libc::ENETUNREACH) => "the peer's GID is on a subnet that this interface has no route to",
        Some(libc::EINVAL) if opened.choice.link == LinkKind::InfiniBand && path.lid == 0 => {
            "the peer's LID is 0: no subnet manager has configured its port"
        }
        Some(libc::EINVAL) => "a GID index that is empty or of another RoCE version, or a path MTU above the port's",
        _ => "see the kernel's log",
    }
}

/// The first writes over new links: a whole packet to each peer, so that what is wrong with the way is found now and by
/// name.
struct Greeting<'a> {
    opened: &'a Opened,
    completions: &'a CompletionQueue,
    control: &'a MemoryRegion,
    cards: &'a [Option<Card>],
    packet: u32,
}

impl Greeting<'_> {
    /// Greets the peers that `whom` picks and waits for their completions; links to those that do not answer are
    /// dropped.
    fn send(
        &self,
        exchange: &mut dyn Exchange,
        absent: &mut Absent,
        links: &mut [Option<Link>],
        whom: impl Fn(Rank) -> bool,
    ) -> Result<(), OpenError> {
        let scratch_of = |memory: &RemoteMemory| memory.address + memory.bytes - SCRATCH_BYTES;
        let source = scratch_of(&remote(self.control));
        for (index, link) in links.iter_mut().enumerate().filter(|(index, _)| whom(Rank::new(*index))) {
            let (Some(link), Some(theirs)) = (link, &self.cards[index]) else {
                continue;
            };
            let mut to = theirs.control;
            to.address = scratch_of(&to);
            if let Err(failure) = link.greet(source, self.control.local_key(), self.packet, &to) {
                absent.excuse(exchange, self.silent(Rank::new(index), &failure.to_string()))?;
            }
        }
        drop_absent(absent, links);
        let deadline = absent.deadline_before_gather(LINK_UP_MAX);
        while let Some(late) = links.iter().position(|link| link.as_ref().is_some_and(Link::is_awaiting)) {
            self.completions.request_notify().map_err(|error| system("asking for notifications", error))?;
            if self.take(exchange, absent, links)? {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                absent.excuse(exchange, self.silent(Rank::new(late), "no completion came; is it stopped, or the device stuck?"))?;
                drop_absent(absent, links);
                continue;
            }
            sleep::wait(&[self.completions.fd()], left);
            self.completions.take_notifications();
        }
        Ok(())
    }

    /// Takes completions; whether there were any.
    fn take(&self, exchange: &mut dyn Exchange, absent: &mut Absent, links: &mut [Option<Link>]) -> Result<bool, OpenError> {
        let mut taken = [abi::WorkCompletion::zeroed(); 8];
        let count = self.completions.poll(&mut taken);
        for completion in &taken[..count] {
            let id = RequestId::decode(completion.wr_id);
            // Completions of links that were dropped may still come.
            let Some(Some(link)) = links.get_mut(id.peer.index()) else {
                continue;
            };
            if completion.status != abi::SUCCESS {
                let failure = Failure::Completion { status: completion.status, vendor: completion.vendor_err };
                let status = outcome_text(self.opened.device.verbs, completion.status);
                absent.excuse(exchange, self.silent(id.peer, &format!("{failure} ({status})")))?;
                drop_absent(absent, links);
            } else if !id.receive {
                link.completed(id.sequence);
            }
        }
        Ok(count > 0)
    }

    fn silent(&self, peer: Rank, why: &str) -> OpenError {
        let what = format!("the first write of {} bytes to it from {}: {why}", self.packet, self.opened.choice);
        OpenError::Peer { fabric: "verbs", peer, what }
    }
}
