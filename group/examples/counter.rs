//! A replicated counter: processes of this host that add to one counter through a group over shared memory. Every
//! member applies the same additions in the same order, so all end with the same value.
//!
//!     cargo run --release --example counter -p squall-group -- --members 4
//!     cargo run --release --example counter -p squall-group -- --members 4 --kill
//!     cargo run --release --example counter -p squall-group -- --members 4 --order chain
//!
//! The parent starts itself once for each member and serves the rendezvous where they meet. With `--kill` it kills one
//! member while all count; the others go on in a view without it, and still end with one value.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use squall_group::prelude::*;
use squall_group::transport::exchange::LeaveReason;

const HELP: &str = "A replicated counter over shared memory, one process a member.

usage: counter [--members N] [--increments N] [--order NAME] [--kill]

  --members N      processes of the group (default 3)
  --increments N   additions that each member makes (default 1000)
  --order NAME     how all agree on one order: ordered (by turns, default), lamport, paxos or chain
  --kill           kill the last member while all count: the others go on without it
  --help           this text";

/// How long the parent waits for its members.
const PATIENCE: Duration = Duration::from_secs(60);
/// A member that is silent for so long is taken for dead; a killed one is noticed at once, by its links.
const SUSPECT_AFTER: Duration = Duration::from_secs(10);
/// A message that says that its sender has added all that it will; additions have 8 bytes.
const DONE: &[u8] = b"done";
/// What the parent hands to its children: where to meet, and the key; an environment only its own user can read.
const PLACE: &str = "SQUALL_COUNTER_PLACE";
const KEY: &str = "SQUALL_COUNTER_KEY";
const RANK: &str = "SQUALL_COUNTER_RANK";

type Failure = Box<dyn Error>;

#[derive(Clone, Copy)]
struct Options {
    members: usize,
    increments: u64,
    order: Mode,
    kill: bool,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { members: 3, increments: 1000, order: Mode::Ordered, kill: false };
    while let Some(flag) = arguments.next() {
        let mut number = || {
            let text = arguments.next().ok_or(format!("{flag} needs a number behind it"))?;
            text.parse::<u64>().map_err(|_| format!("{flag}: `{text}` is no number"))
        };
        match flag.as_str() {
            "--members" => options.members = number()? as usize,
            "--increments" => options.increments = number()?,
            "--order" => options.order = arguments.next().ok_or("--order needs a name behind it")?.parse()?,
            "--kill" => options.kill = true,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown flag `{other}`; see --help")),
        }
    }
    if !(1..=64).contains(&options.members) || options.kill && options.members < 3 {
        return Err("--members must be 1 to 64, and at least 3 with --kill: the rest must be a majority".into());
    }
    if !options.order.is_total() {
        return Err(format!("--order {}: members end with one value only if all deliver in one order", options.order));
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    let options = match parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("counter: {wrong}");
            return ExitCode::from(2);
        }
    };
    let result = if env::var_os(RANK).is_some() { member(options) } else { parent(options) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("counter: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The replicated state: what all members keep, each for itself.
#[derive(Default)]
struct Counter {
    value: u64,
    additions: u64,
    /// Of every addition in the order of delivery.
    order_hash: u64,
    /// The members of the present view, by rank, and those who have added all.
    nodes: Vec<NodeId>,
    done: HashSet<NodeId>,
}

impl Counter {
    fn is_complete(&self) -> bool {
        self.nodes.iter().all(|node| self.done.contains(node))
    }
}

impl Upcalls for Counter {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let node = self.nodes[delivery.sender.index()];
        match delivery.payload.try_into().map(u64::from_le_bytes) {
            Ok(amount) => {
                self.value += amount;
                self.additions += 1;
                for word in [delivery.seq, node.0, amount] {
                    self.order_hash = (self.order_hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
                }
            }
            Err(_) => {
                self.done.insert(node);
            }
        }
    }

    fn view_installed(&mut self, view: &View) {
        self.nodes.clone_from(&view.nodes);
    }
}

/// One member's process.
fn member(options: Options) -> Result<(), Failure> {
    let rank = Rank(env::var(RANK)?.parse()?);
    let (node, key) = (NodeId(u64::from(std::process::id())), ClusterKey::from_hex(&env::var(KEY)?)?);
    let options_connect = ConnectOptions { node, rank: Some(rank), timeout: PATIENCE };
    let mut session = Session::connect(env::var(PLACE)?.parse::<Place>()?, &key, &options_connect)?;
    let mesh = Mesh::open((Ipv4Addr::LOCALHOST, 0).into(), &key, node, MeshOptions::default())?;
    let membership = Some(Timeouts::after(SUSPECT_AFTER));
    let senders = (0..options.members).map(Rank::new).collect();
    let config = Config { mode: options.order, ring_bytes: 1 << 16, small_max: 1 << 10, membership, ..Config::new(senders) };
    let member =
        Member::found(MemberOptions { patience: SUSPECT_AFTER, ..MemberOptions::new(config) }, ShmFabric::new(), mesh, &mut session)?;

    let mut counter = Counter { nodes: member.view().nodes.clone(), ..Counter::default() };
    count(member, &mut counter, &mut session, options, u64::from(rank.0) + 1)?;
    println!("member {rank}: value {}, order {:016x}, {} members at the end", counter.value, counter.order_hash, counter.nodes.len());
    session.send(format!("done {} {:016x}", counter.value, counter.order_hash).as_bytes())?;
    session.finish(Instant::now() + PATIENCE)?;
    Ok(())
}

/// Adds `amount` again and again until it has done its part and all others that are still there theirs, then leaves.
fn count(
    mut member: Member<ShmFabric>,
    counter: &mut Counter,
    session: &mut Session,
    options: Options,
    amount: u64,
) -> Result<(), Failure> {
    let mut pace = Pace::for_members(options.members);
    let (mut sent, mut said_done, mut turns, mut told) = (0, false, 0u64, false);
    while !counter.is_complete() {
        // With --kill all go on until one is gone.
        let waits = options.kill && member.view().members == options.members;
        while sent < options.increments || waits {
            match member.send(&amount.to_le_bytes()) {
                Ok(_) => sent += 1,
                Err(error) if error.is_full() => break,
                Err(error) => return Err(error.into()),
            }
        }
        if sent >= options.increments && !waits && !said_done {
            said_done = member.send(DONE).is_ok();
        }
        member.turn(counter, &mut pace)?;
        if !told && counter.additions > 0 {
            session.send(b"counting")?;
            told = true;
        }
        turns += 1;
        if turns.is_multiple_of(1024) {
            // The parent never writes: this only notices that it is gone.
            session.recv(Instant::now())?;
        }
    }
    member.leave();
    let nodes = counter.nodes.clone();
    while member.turn(counter, &mut pace)? != Turn::Left {}
    counter.nodes = nodes;
    Ok(())
}

/// The members' processes; those that still run are killed when it is dropped.
struct Children(Vec<Child>);

impl Children {
    fn start(options: &Options, place: &Place, key: &ClusterKey) -> Result<Children, Failure> {
        let mut children = Children(Vec::new());
        for rank in 0..options.members {
            let mut command = Command::new(env::current_exe()?);
            command.args(env::args().skip(1));
            command.env(PLACE, place.to_string()).env(KEY, key.to_hex()).env(RANK, rank.to_string());
            children.0.push(command.spawn()?);
        }
        Ok(children)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended cannot be killed, and needs not be.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn parent(options: Options) -> Result<(), Failure> {
    let key = ClusterKey::random();
    let mut server = RendezvousServer::bind(Place::local(), &key, ServerOptions::new(options.members))?;
    let mut children = Children::start(&options, server.place(), &key)?;
    let victim = options.kill.then(|| options.members - 1);
    let (mut counting, mut killed, mut reports) = (0, None, Vec::new());
    let started = Instant::now();
    while reports.len() < options.members - victim.iter().count() {
        if killed.unwrap_or(started).elapsed() > PATIENCE {
            return Err(format!("{} members said nothing for {PATIENCE:?}", options.members - reports.len()).into());
        }
        for event in server.poll(Duration::from_millis(100))? {
            match event {
                ServerEvent::Message { bytes, .. } if bytes == b"counting" => counting += 1,
                ServerEvent::Message { bytes, .. } => reports.push(String::from_utf8(bytes)?),
                ServerEvent::Left { rank, reason: LeaveReason::Lost(how) } if Some(rank.index()) != victim => {
                    return Err(format!("member {rank} is lost: {how}").into());
                }
                ServerEvent::Refused { address, reason } => eprintln!("counter: refused {address}: {reason}"),
                ServerEvent::RefusedMore { count } => eprintln!("counter: refused {count} connections more"),
                _ => {}
            }
        }
        if let Some(victim) = victim.filter(|_| counting == options.members && killed.is_none()) {
            println!("killing member {victim}");
            children.0[victim].kill()?;
            killed = Some(Instant::now());
        }
    }
    if let Some(killed) = killed {
        println!("all others had ended with one value after {} ms", killed.elapsed().as_millis());
    }
    judge(&options, &reports)
}

/// Whether the members reported what they should.
fn judge(options: &Options, reports: &[String]) -> Result<(), Failure> {
    let sum = (1..=options.members as u64).sum::<u64>() * options.increments;
    let fine = options.kill || reports[0].starts_with(&format!("done {sum} "));
    let alike = reports.iter().all(|report| *report == reports[0]);
    if fine && alike { Ok(()) } else { Err(format!("the members disagree: {reports:?}").into()) }
}
