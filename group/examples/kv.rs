//! A replicated key-value map: processes of this host that keep one map through a group over shared memory, and go on
//! serving while members are killed and new ones join. A newcomer gets the map as it was when its view began, then
//! every change since.
//!
//!     cargo run --release --example kv -p squall-group -- --members 3 --rounds 5
//!
//! The parent starts itself once for each member. The first founds the group alone; the others join by asking a member
//! that is there. In every round the parent kills a member (SIGKILL) and starts a new one, while all put values. At the
//! end all members must hold the same map.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use squall_group::prelude::*;

const HELP: &str = "A replicated key-value map over shared memory, one process a member.

usage: kv [--members N] [--rounds N] [--order NAME]

  --members N   processes of the group (default 3)
  --rounds N    how often a member is killed and another one joins (default 5)
  --order NAME  how all agree on one order: ordered (by turns, default), lamport, paxos or chain
  --help        this text";

/// How long the parent waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// A member that is silent for so long is taken for dead; a killed one is noticed at once, by its links.
const SUSPECT_AFTER: Duration = Duration::from_secs(10);
/// Keys that are put, over and over.
const KEYS: u64 = 5000;
/// Between two puts of a member.
const PUT_EVERY: Duration = Duration::from_micros(500);
/// What the parent hands to its children: the key, a name, whom to ask, and the order; an environment only its own user
/// can read.
const KEY: &str = "SQUALL_KV_KEY";
const NODE: &str = "SQUALL_KV_NODE";
const CONTACT: &str = "SQUALL_KV_CONTACT";
const ORDER: &str = "SQUALL_KV_ORDER";

type Failure = Box<dyn Error>;

#[derive(Clone, Copy)]
struct Options {
    members: usize,
    rounds: usize,
    order: Mode,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { members: 3, rounds: 5, order: Mode::Ordered };
    while let Some(flag) = arguments.next() {
        let mut number = || {
            let text = arguments.next().ok_or(format!("{flag} needs a number behind it"))?;
            text.parse::<usize>().map_err(|_| format!("{flag}: `{text}` is no number"))
        };
        match flag.as_str() {
            "--members" => options.members = number()?,
            "--rounds" => options.rounds = number()?,
            "--order" => options.order = arguments.next().ok_or("--order needs a name behind it")?.parse()?,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown flag `{other}`; see --help")),
        }
    }
    if !(3..=32).contains(&options.members) {
        return Err("--members must be 3 to 32: what is left of them must be a majority".into());
    }
    if !options.order.is_total() {
        return Err(format!("--order {}: members hold one map only if all deliver in one order", options.order));
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
            eprintln!("kv: {wrong}");
            return ExitCode::from(2);
        }
    };
    let result = if env::var_os(NODE).is_some() { member() } else { parent(options) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("kv: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The replicated state and what of it is on its way.
#[derive(Default)]
struct Map {
    entries: BTreeMap<String, String>,
    restoring: Vec<u8>,
    members: usize,
    /// Members that have put all they will.
    finished: usize,
}

impl Map {
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.entries.hash(&mut hasher);
        hasher.finish()
    }
}

impl Upcalls for Map {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        match String::from_utf8_lossy(delivery.payload).split_once('=') {
            Some((key, value)) => {
                self.entries.insert(key.to_owned(), value.to_owned());
            }
            None => self.finished += 1,
        }
    }

    fn view_installed(&mut self, view: &View) {
        self.members = view.members;
        println!("view {} {}", view.id, view.voters);
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        let lines: Vec<String> = self.entries.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        Box::new(Cursor::new(lines.concat().into_bytes()))
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        match piece {
            StatePiece::Begin => self.restoring.clear(),
            StatePiece::Bytes(bytes) => self.restoring.extend_from_slice(bytes),
            StatePiece::End => {
                let text = String::from_utf8_lossy(&self.restoring);
                self.entries =
                    text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect();
                println!("restored {}", self.entries.len());
            }
        }
    }
}

/// One member's process. It says on stdout what happens, and ends when its stdin does.
fn member() -> Result<(), Failure> {
    let (node, key) = (NodeId(env::var(NODE)?.parse()?), ClusterKey::from_hex(&env::var(KEY)?)?);
    let mesh = Mesh::open((Ipv4Addr::LOCALHOST, 0).into(), &key, node, MeshOptions::default())?;
    let membership = Some(Timeouts::after(SUSPECT_AFTER));
    let mode = env::var(ORDER)?.parse()?;
    let config = Config { mode, ring_bytes: 1 << 16, small_max: 1 << 10, membership, ..Config::new(vec![Rank(0)]) };
    let (options, fabric) = (MemberOptions { patience: SUSPECT_AFTER, ..MemberOptions::new(config) }, ShmFabric::new());
    let mut map = Map::default();
    let mut member = match env::var(CONTACT) {
        Ok(contact) => Member::join(options, fabric, mesh, &[contact.parse()?], Role::Sender, PATIENCE)?,
        Err(_) => {
            let mut alone = LocalExchange::mesh(1).remove(0);
            let member = Member::found(options, fabric, mesh, &mut alone)?;
            map.view_installed(member.view());
            member
        }
    };
    println!("listens {}", member.address());
    let (over, is_over) = channel();
    thread::spawn(move || {
        // Whatever ends it, the parent wants no more.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = over.send(());
    });
    serve(&mut member, &mut map, &is_over)
}

/// Puts values until the parent has had enough, tells the others, and leaves once all have.
fn serve(member: &mut Member<ShmFabric>, map: &mut Map, is_over: &Receiver<()>) -> Result<(), Failure> {
    let mut pace = Pace::for_members(8);
    let (mut puts, mut due, mut over, mut told) = (0u64, Instant::now(), false, false);
    while !told || map.finished < map.members {
        over |= is_over.try_recv().is_ok();
        if over && !told {
            told = member.send(b"that was all").is_ok();
        } else if !over && Instant::now() >= due {
            let (node, key) = (member.node(), puts.wrapping_mul(7919).wrapping_add(member.node().0) % KEYS);
            if member.send(format!("key{key}={puts} of {node}").as_bytes()).is_ok() {
                puts += 1;
            }
            due = Instant::now() + PUT_EVERY;
        }
        member.turn_until(map, &mut pace, Some(due))?;
    }
    println!("map {} {:016x}", map.entries.len(), map.digest());
    member.leave();
    while member.turn(map, &mut pace)? != Turn::Left {}
    Ok(())
}

/// One member's process, as the parent sees it; it is killed when it is dropped.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    node: u64,
    contact: SocketAddr,
    view: (u64, usize),
    map: Option<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and needs not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the members say: who, and a line of it; an empty one is its end.
struct Cluster {
    key: ClusterKey,
    order: Mode,
    say: Sender<(u64, String)>,
    said: Receiver<(u64, String)>,
    processes: Vec<Process>,
    next_node: u64,
}

impl Cluster {
    /// Starts a member; it is in once it listens.
    fn start(&mut self, contact: Option<SocketAddr>) -> Result<u64, Failure> {
        let node = self.next_node;
        self.next_node += 1;
        let mut command = Command::new(env::current_exe()?);
        command.env(KEY, self.key.to_hex()).env(NODE, node.to_string()).env(ORDER, self.order.name());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(contact) = contact {
            command.env(CONTACT, contact.to_string());
        }
        let mut child = command.spawn()?;
        let (stdin, stdout, say) = (child.stdin.take(), child.stdout.take().expect("it is piped"), self.say.clone());
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok).chain([String::new()]) {
                if say.send((node, line)).is_err() {
                    return;
                }
            }
        });
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.processes.push(Process { child, stdin, node, contact: nowhere, view: (0, 0), map: None });
        Ok(node)
    }

    /// Listens to the members until `done`.
    fn wait(&mut self, what: &str, done: impl Fn(&[Process]) -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.processes) {
            let left = deadline.saturating_duration_since(Instant::now());
            let (node, line) = self.said.recv_timeout(left).map_err(|_| format!("waited {PATIENCE:?} for {what}"))?;
            let Some(process) = self.processes.iter_mut().find(|process| process.node == node) else { continue };
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["listens", address] => process.contact = address.parse()?,
                ["view", id, members] => process.view = (id.parse()?, members.parse()?),
                ["restored", entries] => println!("member {node} joined with {entries} entries"),
                ["map", ..] => process.map = Some(line),
                [""] if process.map.is_none() => return Err(format!("member {node} ended while the parent waited for {what}").into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until all are in one view of `members` members.
    fn settle(&mut self, members: usize) -> Result<(), Failure> {
        let settled = |processes: &[Process]| processes.iter().all(|process| process.view == (processes[0].view.0, members));
        self.wait(&format!("a view of {members}"), settled)
    }

    /// Starts one that joins by asking member `of`.
    fn grow(&mut self, of: usize) -> Result<(), Failure> {
        let contact = self.processes[of].contact;
        self.start(Some(contact))?;
        self.wait("a newcomer", |processes| processes.iter().all(|process| process.contact.port() != 0 && process.view.1 > 0))
    }
}

fn parent(options: Options) -> Result<(), Failure> {
    let (say, said) = channel();
    let (key, order) = (ClusterKey::random(), options.order);
    let mut cluster = Cluster { key, order, say, said, processes: Vec::new(), next_node: 1 };
    cluster.start(None)?;
    cluster.wait("the first member", |processes| processes[0].contact.port() != 0)?;
    while cluster.processes.len() < options.members {
        cluster.grow(0)?;
    }
    cluster.settle(options.members)?;
    for round in 0..options.rounds {
        let victim = cluster.processes.remove(round % options.members);
        let (node, killed) = (victim.node, Instant::now());
        drop(victim);
        cluster.settle(options.members - 1)?;
        println!("killed member {node}; the others were in a view without it after {} ms", killed.elapsed().as_millis());
        cluster.grow(round % (options.members - 1))?;
        cluster.settle(options.members)?;
    }
    for process in &mut cluster.processes {
        drop(process.stdin.take().map(|mut stdin| stdin.flush()));
    }
    cluster.wait("the maps", |processes| processes.iter().all(|process| process.map.is_some()))?;
    let maps: Vec<&str> = cluster.processes.iter().filter_map(|process| process.map.as_deref()).collect();
    if maps.iter().any(|map| *map != maps[0]) {
        return Err(format!("the members disagree: {maps:?}").into());
    }
    println!("all {} members end with one map: {}", options.members, maps[0].trim_start_matches("map "));
    Ok(())
}
