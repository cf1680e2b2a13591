//! An agent: one of the other hosts. It starts, feeds and ends the nodes that the first host wants here, and knows
//! nothing of what they do.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use squall_transport::exchange::{ClusterKey, ConnectError, ConnectOptions, Session};
use squall_transport::{Exchange, NodeId, Rank};

use super::bell::Bell;
use super::local::Local;
use super::switchboard::SILENCE_MAX;
use super::talk::{FromAgent, Greeting, Hello, ToAgent, decode, encode};
use crate::jobs::control::{Reply, Told};
use crate::jobs::job::Job;
use crate::jobs::os::now_ns;
use crate::jobs::rdma::Rdma;
use crate::run::interrupt::Interrupt;
use crate::run::worker::Worker;
use squall_report::environment::Throttled;

/// How long attempts to connect last before people are told, the first one and later ones.
const FIRST_ATTEMPT: Duration = Duration::from_millis(500);
const ATTEMPT: Duration = Duration::from_secs(5);
/// Between attempts that fail at once.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the first host may take to greet.
const GREETING_MAX: Duration = Duration::from_secs(20);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an agent needs to know.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Where the first host may be, best first.
    pub rendezvous: Vec<SocketAddr>,
    /// The cluster key.
    pub key: ClusterKey,
    /// The rank it wants; without, it is given one.
    pub rank: Option<u16>,
    /// How many hosts there are.
    pub nodes: u32,
    /// How long to wait for the first host.
    pub wait: Duration,
    /// Its address for data; without, the one that its connection comes from.
    pub address: Option<IpAddr>,
    /// Its own options for RDMA.
    pub rdma: Rdma,
}

/// Why an agent ended before it was told to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
    /// Everything else.
    #[error("{0}")]
    Failed(String),
}

/// Serves the first host until it says goodbye.
///
/// # Errors
/// If the first host cannot be reached, refuses, fails or falls silent; or the user interrupts.
pub fn serve(options: &AgentOptions, interrupt: &Interrupt) -> Result<(), AgentError> {
    let (mut session, first) = connect(options, interrupt)?;
    greet(&mut session, options.nodes)?;
    let connection = session.local_addr().map_err(|error| failed(error.to_string()))?;
    let local = Local::new(options.address.unwrap_or(connection.ip()), options.rdma.clone()).map_err(AgentError::Failed);
    let local = match local {
        Ok(local) => local,
        Err(error) => {
            leave(session, error.to_string());
            return Err(error);
        }
    };
    tell(&format!("rank {} of {}: serves {first} from {}", session.rank(), options.nodes, local.address));
    let (sender, events) = mpsc::channel();
    let bell = Arc::new(Bell::new().map_err(|error| failed(format!("an event descriptor: {error}")))?);
    let agent = Agent { session, local, bell, events, sender, workers: BTreeMap::new(), heard: Instant::now(), rdma: None };
    agent.serve(interrupt)
}

fn failed(what: impl Into<String>) -> AgentError {
    AgentError::Failed(what.into())
}

/// A line for people.
fn tell(line: &str) {
    // Nobody reads it: the agent goes on.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Tries every address again and again until the time is over.
fn connect(options: &AgentOptions, interrupt: &Interrupt) -> Result<(Session, SocketAddr), AgentError> {
    let deadline = Instant::now() + options.wait;
    let mut said_at: Option<Instant> = None;
    loop {
        let mut unreachable = String::new();
        for &address in &options.rendezvous {
            let attempt = if said_at.is_none() { FIRST_ATTEMPT } else { ATTEMPT };
            let timeout = attempt.min(deadline.saturating_duration_since(Instant::now())).max(PAUSE);
            // Random rather than the process id: those of two hosts may be the same.
            let node = NodeId(node_id());
            match Session::connect(address, &options.key, &ConnectOptions { node, rank: options.rank.map(Rank), timeout }) {
                Ok(session) => return Ok((session, address)),
                Err(error @ ConnectError::Unreachable { .. }) => unreachable = error.to_string(),
                // It is there, and slow, or has its hands full of strangers.
                Err(error @ ConnectError::Overrun { .. }) => unreachable = error.to_string(),
                Err(error @ ConnectError::NoAnswer { waited, .. }) if waited >= timeout => unreachable = error.to_string(),
                Err(error) => return Err(failed(error.to_string())),
            }
            if interrupt.is_set() {
                return Err(AgentError::Interrupted);
            }
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(failed(format!("{unreachable} (gave up after {} s, --wait)", options.wait.as_secs())));
        }
        if said_at.is_none_or(|said| now.duration_since(said) >= ATTEMPT) {
            let left = deadline.duration_since(now).as_secs();
            tell(&format!("waiting for the first host at {}, {left} s more", options.rendezvous[0]));
            said_at = Some(now);
        }
        thread::sleep(PAUSE);
    }
}

/// A number that no other agent has.
fn node_id() -> u64 {
    let random = ClusterKey::random().to_hex();
    u64::from_str_radix(&random[..15], 16).unwrap_or_else(|_| u64::from(std::process::id()))
}

/// Says hello, and hears whether this host is wanted.
fn greet(session: &mut Session, nodes: u32) -> Result<(), AgentError> {
    let hello = serde_json::to_vec(&Hello::of(nodes)).expect("a hello is plain data");
    session.send(&hello).map_err(|error| failed(error.to_string()))?;
    let greeting = session.recv(Instant::now() + GREETING_MAX).map_err(|error| failed(error.to_string()))?;
    match greeting.map(|greeting| serde_json::from_slice(&greeting)) {
        Some(Ok(Greeting::Accepted)) => Ok(()),
        Some(Ok(Greeting::Refused(why))) => Err(failed(format!("the first host refused this one: {why}"))),
        Some(Err(_)) => Err(failed("the first host does not greet as Squall does: is it the same build?")),
        None => Err(failed(format!("the first host did not greet within {} s", GREETING_MAX.as_secs()))),
    }
}

/// Last words; the first host gives them as the reason.
fn leave(mut session: Session, why: String) {
    // If it is gone, nobody wants to know.
    if session.send(&encode(&FromAgent::Leaving(why))).is_ok() {
        let _ = session.finish(Instant::now() + FAREWELL);
    }
}

struct Agent {
    session: Session,
    local: Local,
    bell: Arc<Bell>,
    events: Receiver<(u64, Option<Reply>)>,
    sender: Sender<(u64, Option<Reply>)>,
    /// The nodes that run, by their points: that of a point, and while it waits that of a bound measured beside it.
    workers: BTreeMap<u64, Worker>,
    heard: Instant,
    /// What was last asked of RDMA, and what became of it here.
    rdma: Option<(Rdma, Rdma)>,
}

impl Agent {
    fn serve(mut self, interrupt: &Interrupt) -> Result<(), AgentError> {
        loop {
            while let Some(bytes) = self.session.recv(Instant::now()).map_err(|error| failed(error.to_string()))? {
                self.heard = Instant::now();
                let order = decode(&bytes).map_err(|what| failed(format!("the first host sent {what}")))?;
                if let ToAgent::Goodbye(why) = order {
                    return self.part(why);
                }
                self.obey(order)?;
            }
            self.bell.silence();
            while let Ok((point, reply)) = self.events.try_recv() {
                self.pass_on(point, reply)?;
            }
            if interrupt.is_set() {
                // The nodes first: they must not outlive what is said of them.
                self.workers.clear();
                leave(self.session, "it was interrupted there".into());
                return Err(AgentError::Interrupted);
            }
            let silent = self.heard.elapsed();
            if silent >= SILENCE_MAX {
                return Err(failed(format!("the first host has been silent for {} s: is it down, or the network?", silent.as_secs())));
            }
            self.sleep(SILENCE_MAX - silent);
        }
    }

    /// Until there is something to read or to pass on.
    fn sleep(&self, most: Duration) {
        let mut fds = [PollFd::new(&self.session, PollFlags::IN), PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN)];
        let timeout = Timespec { tv_sec: most.as_secs() as i64, tv_nsec: i64::from(most.subsec_nanos()) };
        // A signal ends it too; whatever it was, the loop looks.
        let _ = poll(&mut fds, Some(&timeout));
    }

    fn obey(&mut self, order: ToAgent) -> Result<(), AgentError> {
        match order {
            ToAgent::Ping(id) => {
                let Throttled { periods, waited_ns } = Throttled::now();
                self.say(&FromAgent::Pong { id, now_ns: now_ns(), throttled: (periods, waited_ns) })
            }
            ToAgent::Describe(asked) => {
                let facts = serde_json::to_string(&self.local.facts(&asked)).expect("facts are plain data");
                self.say(&FromAgent::Facts(facts))
            }
            ToAgent::Start { point, job } => self.start(point, *job),
            ToAgent::Order { point, clock_offset_ns, order } => {
                if let Some(worker) = self.workers.get_mut(&point) {
                    let told = worker.tell(&Told::Clock(clock_offset_ns)).and_then(|_| worker.tell(&Told::Order(order)));
                    // If its line is closed, its end is passed on.
                    told.map_err(|error| failed(format!("cannot talk to the node: {error}")))?;
                }
                Ok(())
            }
            ToAgent::End { point } => {
                self.workers.remove(&point);
                Ok(())
            }
            ToAgent::Goodbye(_) => Ok(()),
        }
    }

    fn start(&mut self, point: u64, mut job: Job) -> Result<(), AgentError> {
        job.address = Some(self.local.address);
        job.rdma = self.rdma_as_asked(job.rdma);
        let (sender, bell) = (self.sender.clone(), Arc::clone(&self.bell));
        let hear = move |reply| {
            let is_heard = sender.send((point, reply)).is_ok();
            bell.ring();
            is_heard
        };
        let started = Worker::start(job.rank as usize, hear).and_then(|mut worker| {
            let job = postcard::to_stdvec(&job).map_err(io::Error::other)?;
            worker.tell(&Told::Order(job))?;
            Ok(worker)
        });
        match started {
            Ok(worker) => drop(self.workers.insert(point, worker)),
            Err(error) => {
                let what = format!("cannot start a node: {error}");
                self.say(&FromAgent::Reply { point, reply: Reply::Failed(what) })?;
            }
        }
        Ok(())
    }

    fn rdma_as_asked(&mut self, asked: Rdma) -> Rdma {
        match &self.rdma {
            Some((known, own)) if *known == asked => own.clone(),
            _ => {
                let own = self.local.rdma(&asked);
                self.rdma = Some((asked, own.clone()));
                own
            }
        }
    }

    /// What a node said, or that it is gone.
    fn pass_on(&mut self, point: u64, reply: Option<Reply>) -> Result<(), AgentError> {
        let Some(reply) = reply else {
            // One that was ended from afar is not asked for.
            let Some(mut worker) = self.workers.remove(&point) else { return Ok(()) };
            let status = worker.wait().map(ExitStatusExt::into_raw);
            return self.say(&FromAgent::Gone { point, status, stderr: worker.last_words() });
        };
        self.say(&FromAgent::Reply { point, reply })
    }

    fn say(&mut self, message: &FromAgent) -> Result<(), AgentError> {
        self.session.send(&encode(message)).map_err(|error| failed(error.to_string()))
    }

    /// The run is over.
    fn part(mut self, why: Option<String>) -> Result<(), AgentError> {
        self.workers.clear();
        // If the first host does not wait for it, it is over all the same.
        let _ = self.session.finish(Instant::now() + FAREWELL);
        why.map_or(Ok(()), |why| Err(failed(why)))
    }
}
