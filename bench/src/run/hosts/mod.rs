//! A run that spans hosts: the first host runs it, agents on the others start its nodes there.
//!
//! ```text
//!   host 0   squall node: run, Workers, Hosts, rendezvous       squall worker (rank 0)
//!               |  one authenticated, encrypted connection a host     :
//!   host r   squall node: agent --stdin/stdout--> squall worker (rank r)   data, over the fabric
//! ```
//!
//! A point of n nodes takes the first n hosts, one node each.

pub mod agent;
mod bell;
pub(super) mod clock;
pub mod local;
mod switchboard;
mod talk;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use squall_transport::exchange::{BindError, ClusterKey, RendezvousServer, ServerOptions};
use squall_transport::{NodeId, Rank};

use super::interrupt::Interrupt;
use super::news::News;
use crate::ask::host::Facts;
use crate::jobs::frame::FRAME_BYTES_MAX;
use crate::jobs::job::Job;
use crate::jobs::rdma::Rdma;
use bell::Bell;
use clock::Clock;
use local::Local;
use squall_report::environment::Throttled;
use switchboard::{Command, GatherNews, Standing, Switchboard};
use talk::ToAgent;

/// What agents send around a node's frame.
const FRAME_MARGIN_BYTES: usize = 1 << 20;
/// How often people are told who is missing.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long describing a host may take: opening devices does.
const DESCRIBE_MAX: Duration = Duration::from_secs(30);
/// How long the switchboard may take to answer.
const CLOCKS_MAX: Duration = Duration::from_secs(3);
/// A clock that nobody knows.
const UNKNOWN: Clock = Clock { offset_ns: 0, uncertainty_ns: 3_600_000_000_000 };

/// The hosts of a run. Dropping it says goodbye to them.
pub struct Hosts {
    commands: Sender<Command>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
    standings: Arc<Mutex<Vec<Standing>>>,
    count: u32,
    local: Local,
    interrupt: Interrupt,
    next_point: AtomicU64,
}

/// A rendezvous that has its address and waits for nobody yet.
pub struct Listening {
    server: RendezvousServer,
    address: SocketAddr,
    count: u32,
    wait: Duration,
}

impl Listening {
    /// Listens at `address` for `count - 1` other hosts, for up to `wait`.
    ///
    /// # Errors
    /// If it cannot.
    pub fn at(address: SocketAddr, key: &ClusterKey, count: u32, wait: Duration) -> Result<Listening, BindError> {
        let frame_bytes_max = FRAME_BYTES_MAX + FRAME_MARGIN_BYTES;
        let options = ServerOptions { join_timeout: wait, frame_bytes_max, ..ServerOptions::new(count as usize) };
        let mut server = RendezvousServer::bind(address, key, options)?;
        server.seat(Rank(0), NodeId(u64::MAX)).expect("nobody has joined yet");
        Ok(Listening { address: server.local_addr(), server, count, wait })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for all hosts, telling people on standard error who comes and who is missing. `local` is this host.
    ///
    /// # Errors
    /// If not all come in time, one fails, or the user interrupts.
    pub fn gather(self, local: Local, interrupt: Interrupt) -> anyhow::Result<Hosts> {
        let (commands, orders) = mpsc::channel();
        let (gatherer, news) = mpsc::channel();
        let bell = Arc::new(Bell::new().context("an event descriptor")?);
        let standings = Arc::new(Mutex::new(vec![Standing::default(); self.count as usize]));
        let switchboard = Switchboard::new(self.server, self.count, Arc::clone(&bell), orders, gatherer, Arc::clone(&standings));
        let thread = thread::Builder::new().name("switchboard".into()).spawn(move || switchboard.serve())?;
        let (count, next_point) = (self.count, AtomicU64::new(0));
        let mut hosts = Hosts { commands, bell, thread: Some(thread), standings, count, local, interrupt, next_point };
        match hosts.await_all(&news, self.address, self.wait) {
            Ok(()) => Ok(hosts),
            Err(error) => {
                hosts.close(Some(format!("the run never began: {error:#}")));
                Err(error)
            }
        }
    }
}

impl Hosts {
    fn await_all(&self, news: &Receiver<GatherNews>, address: SocketAddr, wait: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + wait;
        let mut missing: Vec<usize> = (1..self.count as usize).collect();
        let mut refusals: Vec<String> = Vec::new();
        let mut tell_at = Instant::now() + TELL_EVERY;
        tell(&format!("rank 0 waits at {address} for {} more", hosts_in_words(missing.len())));
        while !missing.is_empty() {
            if self.interrupt.is_set() {
                bail!("interrupted");
            }
            let now = Instant::now();
            if now >= deadline {
                let refused = if refusals.is_empty() { String::new() } else { format!("; {}", refusals.join("; ")) };
                let (who, seconds) = (ranks_in_words(&missing), wait.as_secs());
                bail!("{who} did not come within {seconds} s (--wait): does `squall node` run there, with this address and key?{refused}");
            }
            if now >= tell_at {
                tell(&format!("rank 0 still waits for {}", ranks_in_words(&missing)));
                tell_at = now + TELL_EVERY;
            }
            match news.recv_timeout(Duration::from_millis(50)) {
                Ok(GatherNews::Line(line)) => {
                    tell(&line);
                    refusals.push(line);
                    refusals.dedup();
                }
                Ok(GatherNews::Here(rank)) => {
                    missing.retain(|&other| other != rank);
                    tell(&format!("rank {rank} came from {}, {} to come", self.name(rank), missing.len()));
                }
                Ok(GatherNews::Failed(why)) => bail!("{why}"),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the thread that talks to the other hosts is gone"),
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The address at which the others reach this host for data.
    pub fn address(&self) -> IpAddr {
        self.local.address
    }

    /// Ctrl-C.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// `asked` as this host does it.
    pub fn own_rdma(&self, asked: &Rdma) -> Rdma {
        self.local.rdma(asked)
    }

    /// Where a host is.
    pub fn name(&self, rank: usize) -> String {
        let standings = self.standings();
        match standings.get(rank).and_then(|standing| standing.address) {
            Some(address) => address.ip().to_string(),
            None => self.local.address.to_string(),
        }
    }

    /// Why a point of so many nodes cannot run, if one of its hosts is lost.
    pub fn missing(&self, nodes: u32) -> Option<String> {
        let standings = self.standings();
        let lost = standings.iter().take(nodes as usize).enumerate().find_map(|(rank, standing)| Some((rank, standing.lost.clone()?)));
        let (rank, why) = lost?;
        drop(standings);
        Some(format!("host {rank} at {} is lost: {why}", self.name(rank)))
    }

    /// What each of the other hosts offers, from rank 1 on, with RDMA devices used as `asked`.
    ///
    /// # Errors
    /// If one does not say.
    pub fn describe(&self, asked: &Rdma) -> anyhow::Result<Vec<Facts>> {
        let (answer, answers) = mpsc::channel();
        self.command(Command::Describe { message: ToAgent::Describe(asked.clone()), answer });
        let mut facts: Vec<Option<Facts>> = (1..self.count).map(|_| None).collect();
        let deadline = Instant::now() + DESCRIBE_MAX;
        while let Some(missing) = facts.iter().position(Option::is_none) {
            if self.interrupt.is_set() {
                bail!("interrupted");
            }
            match answers.recv_timeout(Duration::from_millis(50)) {
                Ok((rank, Ok(described))) => facts[rank - 1] = Some(*described),
                Ok((rank, Err(why))) => bail!("host {rank} at {}: {why}", self.name(rank)),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => bail!("host {} at {} did not describe itself in time", missing + 1, self.name(missing + 1)),
            }
        }
        Ok(facts.into_iter().flatten().collect())
    }

    /// The clocks of the first `nodes` hosts, now.
    pub(super) fn clocks(&self, nodes: usize) -> Vec<Clock> {
        let (answer, answers) = mpsc::channel();
        self.command(Command::Clocks { nodes, answer });
        match answers.recv_timeout(CLOCKS_MAX) {
            Ok(clocks) => clocks.into_iter().map(|clock| clock.unwrap_or(UNKNOWN)).collect(),
            Err(_) => vec![UNKNOWN; nodes],
        }
    }

    /// How far quotas of processor time have held the other hosts back so far, all together.
    pub(super) fn throttled(&self) -> Throttled {
        // They say so with every answer.
        self.clocks(self.count as usize);
        let standings = self.standings();
        standings.iter().map(|standing| standing.throttled).fold(Throttled::default(), |sum, of_one| sum.and(&of_one))
    }

    /// Has `news` told of the nodes that are started for a new point; its number.
    pub(super) fn begin(&self, nodes: usize, news: Sender<(usize, News)>) -> u64 {
        // Relaxed: only a number of its own.
        let point = self.next_point.fetch_add(1, Ordering::Relaxed);
        self.command(Command::Begin { point, nodes, news });
        point
    }

    /// Starts a point's node on the host of that rank.
    pub(super) fn start(&self, rank: usize, point: u64, job: Job) {
        self.command(Command::Tell { rank, message: ToAgent::Start { point, job: Box::new(job) } });
    }

    /// Gives it an order.
    pub(super) fn order(&self, rank: usize, point: u64, clock_offset_ns: i64, order: Vec<u8>) {
        self.command(Command::Tell { rank, message: ToAgent::Order { point, clock_offset_ns, order } });
    }

    /// Ends all nodes of a point on other hosts.
    pub(super) fn end(&self, point: u64) {
        self.command(Command::End { point });
    }

    fn standings(&self) -> std::sync::MutexGuard<'_, Vec<Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, command: Command) {
        // If the switchboard is gone, so are the agents, and listeners have been told.
        let _ = self.commands.send(command);
        self.bell.ring();
    }

    /// Says goodbye to all, and why if the run failed.
    pub fn close(&mut self, why: Option<String>) {
        if let Some(thread) = self.thread.take() {
            self.command(Command::Close(why));
            // A panic in it has been printed; the agents noticed.
            let _ = thread.join();
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.close(None);
    }
}

/// A line for people.
fn tell(line: &str) {
    // Nobody reads it: the run goes on.
    let _ = writeln!(io::stderr(), "{line}");
}

fn hosts_in_words(count: usize) -> String {
    squall_report::units::counted(count, "host")
}

fn ranks_in_words(ranks: &[usize]) -> String {
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{noun} {}", ranks.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}
