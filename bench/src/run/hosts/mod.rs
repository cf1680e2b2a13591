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
pub mod arrival;
mod bell;
pub(super) mod clock;
mod listening;
pub mod local;
pub mod meeting;
mod reach;
mod switchboard;
mod talk;
mod telling;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use squall_transport::Ports;

use super::interrupt::Interrupt;
use super::look::Look;
use super::news::News;
use crate::ask::host::Facts;
use crate::ask::network::{Network, rules};
use crate::jobs::job::Job;
use crate::jobs::rdma::Rdma;
use crate::jobs::threads;
use bell::Bell;
use clock::{Clock, disagreement, unix_ms};
use local::Local;
use reach::{Offered, reach, settle};
use squall_report::environment::Throttled;
use switchboard::{Command, GatherNews, Standing, Switchboard};
use talk::{Answer, Question, ToAgent};
use telling::tell;

pub use listening::Listening;

/// How often people are told who is missing.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long describing a host may take: opening devices does.
const DESCRIBE_MAX: Duration = Duration::from_secs(30);
/// How long a look at nodes may take: a host that does not answer says something too.
const LOOK_MAX: Duration = Duration::from_secs(2);
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
    network: Network,
    interrupt: Interrupt,
    next_point: AtomicU64,
}

/// An answer, and the time of day here when it was heard.
struct Heard {
    said: Answer,
    heard_ms: u64,
}

impl Listening {
    /// Waits for all hosts, telling people on standard error who comes and who is missing. `local` is this host, and
    /// `network` what holds for all.
    ///
    /// # Errors
    /// If not all come in time, one fails, or the user interrupts.
    pub fn gather(self, local: Local, network: Network, interrupt: Interrupt) -> anyhow::Result<Hosts> {
        let (commands, orders) = mpsc::channel();
        let (gatherer, news) = mpsc::channel();
        let bell = Arc::new(Bell::new().context("an event descriptor")?);
        let standings = Arc::new(Mutex::new(vec![Standing::default(); self.count as usize]));
        let switchboard = Switchboard::new(self.server, self.count, Arc::clone(&bell), orders, gatherer, Arc::clone(&standings));
        let thread = threads::begin("switchboard", move || switchboard.serve())?;
        let (count, next_point) = (self.count, AtomicU64::new(0));
        let mut hosts = Hosts { commands, bell, thread: Some(thread), standings, count, local, network, interrupt, next_point };
        match hosts.await_all(&news, self.address, self.wait).and_then(|()| hosts.settle_addresses()) {
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

    /// The ports at which hosts may listen.
    pub fn ports(&self) -> Ports {
        self.network.ports
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

    /// Why a point of so many nodes cannot run, if hosts of it are lost: each of them, and why.
    pub fn missing(&self, nodes: u32) -> Option<String> {
        let whys: Vec<_> = self.standings().iter().take(nodes as usize).map(|standing| standing.lost.clone()).collect();
        let lost = whys.into_iter().enumerate().filter_map(|(rank, why)| Some(format!("{} is lost: {}", self.place(rank), why?)));
        let lost: Vec<_> = lost.collect();
        (!lost.is_empty()).then(|| lost.join("; "))
    }

    /// What each of the other hosts offers, from rank 1 on, with RDMA devices used as `asked`.
    ///
    /// # Errors
    /// If one does not say.
    pub fn describe(&self, asked: &Rdma) -> anyhow::Result<Vec<Facts>> {
        let mut facts = Vec::new();
        for (rank, answer) in self.ask_all(&Question::Describe(asked.clone()), DESCRIBE_MAX)?.into_iter().enumerate() {
            let Answer::Facts(described, unix_ms) = answer.said else { bail!("{} answered something else", self.place(rank + 1)) };
            disagreement(&self.place(rank + 1), unix_ms, answer.heard_ms).iter().for_each(|line| tell(line));
            facts.push(serde_json::from_str(&described).with_context(|| format!("what {} says of itself", self.place(rank + 1)))?);
        }
        Ok(facts)
    }

    /// Has each host use the first of its addresses that the rules take and that all others reach, if there are rules.
    ///
    /// # Errors
    /// If a host has none.
    fn settle_addresses(&mut self) -> anyhow::Result<()> {
        let Network { interface, ports } = &self.network;
        if interface.is_empty() {
            return Ok(());
        }
        let of_host = |rank: usize, why: String| anyhow!("{}: {why}", self.place(rank));
        let own = Offered::open(interface, *ports).map_err(|why| of_host(0, why))?;
        let mut all = vec![own.offers.clone()];
        for (index, answer) in self.ask_all(&Question::Offer(interface.clone(), *ports), DESCRIBE_MAX)?.into_iter().enumerate() {
            let Answer::Offers(offers) = answer.said else { bail!("{} answered something else", self.place(index + 1)) };
            all.push(offers.map_err(|why| of_host(index + 1, why))?);
        }
        let mut reached = vec![reach(&all, 0)];
        for (index, answer) in self.ask_all(&Question::Reach(all.clone()), DESCRIBE_MAX)?.into_iter().enumerate() {
            match answer.said {
                Answer::Reached(by_it) if by_it.iter().map(Vec::len).eq(all.iter().map(Vec::len)) => reached.push(by_it),
                _ => bail!("{} answered something else", self.place(index + 1)),
            }
        }
        let settled = settle(&all, &reached, &rules(interface)).map_err(|why| anyhow!(why))?;
        settled.left_out.iter().for_each(|line| tell(line));
        for (rank, own) in settled.addresses.iter().enumerate() {
            match rank {
                0 => self.local.address = own.address,
                _ => self.command(Command::Tell { rank, message: ToAgent::Take(own.address) }),
            }
        }
        Ok(())
    }

    /// How the nodes of a point on other hosts look, by rank; nothing of those of whom nothing is known.
    pub(super) fn looks(&self, point: u64, nodes: usize) -> Vec<Option<Look>> {
        let questions = (1..nodes).map(|rank| (rank, Question::Look { point })).collect();
        let mut looks = vec![None; nodes];
        for (rank, answer) in self.ask(questions, LOOK_MAX) {
            if let Ok(Answer::Looked(look)) = answer.map(|heard| heard.said) {
                looks[rank] = look;
            }
        }
        looks
    }

    /// The answers of all other hosts, from rank 1 on.
    fn ask_all(&self, question: &Question, patience: Duration) -> anyhow::Result<Vec<Heard>> {
        let mut answers: Vec<Option<Heard>> = (1..self.count).map(|_| None).collect();
        for (rank, answer) in self.ask((1..self.count as usize).map(|rank| (rank, question.clone())).collect(), patience) {
            answers[rank - 1] = Some(answer.map_err(|why| anyhow!("{}: {why}", self.place(rank)))?);
        }
        match answers.iter().position(Option::is_none) {
            Some(_) if self.interrupt.is_set() => bail!("interrupted"),
            Some(missing) => bail!("{} did not answer within {} s", self.place(missing + 1), patience.as_secs()),
            None => Ok(answers.into_iter().flatten().collect()),
        }
    }

    /// What comes of questions within `patience`, or until the user interrupts.
    fn ask(&self, questions: Vec<(usize, Question)>, patience: Duration) -> Vec<(usize, Result<Heard, String>)> {
        let (mut missing, deadline) = (questions.len(), Instant::now() + patience);
        let (answer, answers) = mpsc::channel();
        self.command(Command::Ask { questions, answer });
        let mut heard = Vec::new();
        while missing > 0 && !self.interrupt.is_set() {
            match answers.recv_timeout(Duration::from_millis(50)) {
                Ok((rank, answer)) => {
                    heard.push((rank, answer.map(|said| Heard { said, heard_ms: unix_ms() })));
                    missing -= 1;
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => break,
            }
        }
        heard
    }

    /// A host for people.
    fn place(&self, rank: usize) -> String {
        format!("host {rank} at {}", self.name(rank))
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

fn hosts_in_words(count: usize) -> String {
    squall_report::units::counted(count, "host")
}

fn ranks_in_words(ranks: &[usize]) -> String {
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{noun} {}", ranks.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}
