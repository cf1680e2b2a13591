//! The nodes of one point: started, ordered about, watched, and ended whatever happens.
//!
//! ```text
//!   Workers --stdin/stdout--> Worker                       a node on this host
//!        --Hosts--> agent --stdin/stdout--> Worker      a node on another host
//! ```

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{Fault, NodeEnd};
use super::hosts::Hosts;
use super::hosts::clock::Clock;
use super::interrupt::Interrupt;
use super::look::Look;
use super::news::{End, News};
use super::rendezvous::Rendezvous;
use super::worker::Worker;
use crate::jobs::control::{Reply, Told};
use crate::jobs::frame;
use crate::jobs::job::{Job, Work};
use crate::jobs::live::Live;
use crate::jobs::os;
use crate::jobs::rdma::Rdma;
use squall_report::units;
use squall_transport::Ports;

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long nodes that are well are listened to after one failed, to learn which failed first.
const CAUSE_WAIT: Duration = Duration::from_millis(1500);
/// How long nodes may take to end by themselves.
const LEAVE: Duration = Duration::from_secs(3);

/// The nodes of one point, each a process. Dropping it ends them all.
pub struct Workers<'a> {
    members: Vec<Member>,
    news: Receiver<(usize, News)>,
    interrupt: &'a Interrupt,
    rendezvous: Option<Rendezvous>,
    notices: Vec<String>,
    remote: Option<Remote<'a>>,
}

enum Member {
    Here(Worker),
    /// On another host; how it ended, if it did.
    There(Option<End>),
}

/// The nodes on other hosts.
struct Remote<'a> {
    hosts: &'a Hosts,
    /// Names this point to the agents.
    point: u64,
    /// What was known of each host's clock, by rank, when the last order was given.
    clocks: Vec<Clock>,
    /// How wrong the times of the last order may be.
    uncertainty_ns: u64,
}

/// What the nodes of a point are to do.
pub struct WorkersConfig<'a> {
    /// The work of each node, by rank.
    pub works: Vec<Work>,
    /// The core of each node, by rank.
    pub cores: Vec<Option<usize>>,
    /// Whether they meet to open a fabric.
    pub meet: bool,
    /// How to use RDMA devices.
    pub rdma: Rdma,
    /// How long a host may be silent before TCP gives it up, if that was asked for.
    pub lost_after: Option<Duration>,
    /// The hosts to spread over, one node each; without, all nodes are on this host. A single node always is.
    pub hosts: Option<&'a Hosts>,
}

impl<'a> Workers<'a> {
    /// Starts the nodes and waits until all are set up.
    ///
    /// Call it from a thread that lives as long as the workers: the kernel ends children with the thread that made
    /// them.
    ///
    /// # Errors
    /// If a node cannot be started, fails, or is not ready by `deadline`.
    pub fn start(config: WorkersConfig<'a>, interrupt: &'a Interrupt, deadline: Instant) -> Result<Workers<'a>, Fault> {
        let (sender, news) = mpsc::channel();
        let nodes = config.works.len();
        let hosts = config.hosts.filter(|_| nodes > 1);
        let address = hosts.map(Hosts::address);
        let ports = hosts.map_or(Ports::ANY, Hosts::ports);
        let open = || match address {
            Some(address) => Rendezvous::of_hosts(nodes, address, ports),
            None => Rendezvous::of_this_host(nodes),
        };
        let rendezvous = config.meet.then(open).transpose().map_err(Fault::Failed)?;
        let remote = hosts.map(|hosts| Remote::begin(hosts, nodes, &sender));
        let mut workers = Workers { members: Vec::with_capacity(nodes), news, interrupt, rendezvous, notices: Vec::new(), remote };
        for (rank, work) in config.works.into_iter().enumerate() {
            let meeting = workers.rendezvous.as_ref().map(Rendezvous::meeting);
            let core = config.cores.get(rank).copied().flatten();
            let rdma = hosts.map_or_else(|| config.rdma.clone(), |hosts| hosts.own_rdma(&config.rdma));
            // An agent fills in its own address, and puts its own options for RDMA before these.
            let lost_after = config.lost_after;
            let mut job = Job { rank: rank as u32, nodes: nodes as u32, core, meeting, address, ports, rdma, lost_after, work };
            match &workers.remote {
                Some(remote) if rank > 0 => {
                    job.rdma = config.rdma.clone();
                    remote.hosts.start(rank, remote.point, job);
                    workers.members.push(Member::There(None));
                }
                _ => {
                    let worker = here(rank, &sender)
                        .map_err(|error| Fault::Failed(format!("cannot start node {rank}: {error}{}", os::mend(&error))))?;
                    workers.members.push(Member::Here(worker));
                    workers.tell(rank, &job)?;
                }
            }
        }
        drop(sender);
        let ready = workers.replies(deadline, &mut |_, _| {})?;
        for (rank, reply) in ready.into_iter().enumerate() {
            let Reply::Ready(notices) = reply else {
                return Err(Fault::Failed(format!("node {rank} answered before it was asked")));
            };
            workers.notices.extend(notices.into_iter().map(|notice| format!("node {rank}: {notice}")));
        }
        // Every link stands: nobody meets any more.
        workers.rendezvous = None;
        Ok(workers)
    }

    /// What the nodes could not have as asked.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Process ids of the nodes on this host, by rank.
    pub fn ids(&self) -> Vec<u32> {
        let here = |member: &Member| if let Member::Here(worker) = member { Some(worker.id()) } else { None };
        self.members.iter().filter_map(here).collect()
    }

    /// How far times of different nodes in the last results may be apart by mistake, in nanoseconds; 0 on one host.
    pub fn clock_uncertainty_ns(&self) -> u64 {
        self.remote.as_ref().map_or(0, |remote| remote.uncertainty_ns)
    }

    /// `note` with what it takes to read times across hosts.
    pub fn noted(&self, note: String) -> String {
        let Some(remote) = &self.remote else { return note };
        let clocks = format!("clocks of the hosts agree within {} us", units::number(remote.uncertainty_ns as f64 / 1e3));
        if note.is_empty() { clocks } else { format!("{note}; {clocks}") }
    }

    /// Orders every node to do `order` and waits for all results, by rank.
    ///
    /// # Errors
    /// If a node fails, dies, or has not answered by `deadline`; or the user interrupts.
    pub fn run<R: DeserializeOwned>(&mut self, order: &impl Serialize, deadline: Instant) -> Result<Vec<R>, Fault> {
        self.run_watched(order, deadline, &mut |_, _| {})
    }

    /// The same; `watch` is told what a node shows of it meanwhile, with the node's rank.
    ///
    /// # Errors
    /// As [`run`](Workers::run).
    pub fn run_watched<R: DeserializeOwned>(
        &mut self,
        order: &impl Serialize,
        deadline: Instant,
        watch: &mut dyn FnMut(usize, Live),
    ) -> Result<Vec<R>, Fault> {
        if let Some(remote) = &mut self.remote {
            remote.clocks = remote.hosts.clocks(self.members.len());
        }
        for rank in 0..self.members.len() {
            self.tell(rank, order)?;
        }
        let replies = self.replies(deadline, watch)?;
        if let Some(remote) = &mut self.remote {
            remote.see_drift();
        }
        let results = replies.into_iter().enumerate().map(|(rank, reply)| match reply {
            Reply::Done(bytes) => frame::decode(&bytes).map_err(|error| Fault::Failed(format!("node {rank}: {error}"))),
            _ => Err(Fault::Failed(format!("node {rank} answered something else than was asked"))),
        });
        results.collect()
    }

    /// Gives `order`, after which the nodes end by themselves, and sees to it that they do.
    pub fn dismiss(mut self, order: &impl Serialize) {
        for rank in 0..self.members.len() {
            if self.tell(rank, order).is_err() {
                return;
            }
        }
        let deadline = Instant::now() + LEAVE;
        let mut left = self.members.len();
        while left > 0 && !self.interrupt.is_set() {
            match self.news.recv_timeout(deadline.saturating_duration_since(Instant::now()).min(LOOK_EVERY)) {
                Ok((_, News::Gone(_))) => left -= 1,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => return,
            }
        }
        for member in &mut self.members {
            if let Member::Here(worker) = member {
                // Its pipe is closed, so it is ending: this takes no time.
                worker.wait();
            }
        }
    }

    fn tell(&mut self, rank: usize, order: &impl Serialize) -> Result<(), Fault> {
        let order = postcard::to_stdvec(order).map_err(|error| Fault::Failed(format!("an order that cannot be written: {error}")))?;
        match (&mut self.members[rank], &self.remote) {
            (Member::Here(worker), _) => match worker.tell(&Told::Order(order)) {
                Ok(true) => Ok(()),
                // It is gone: its end says why.
                Ok(false) => Err(self.cause()),
                Err(error) => Err(Fault::Failed(format!("cannot talk to node {rank}: {error}"))),
            },
            (Member::There(_), Some(remote)) => {
                // If its host is lost, there is or will be news of it.
                let clock_offset_ns = remote.clocks.get(rank).map_or(0, |clock| clock.offset_ns);
                remote.hosts.order(rank, remote.point, clock_offset_ns, order);
                Ok(())
            }
            (Member::There(_), None) => Ok(()),
        }
    }

    /// One reply of each node, by rank.
    fn replies(&mut self, deadline: Instant, watch: &mut dyn FnMut(usize, Live)) -> Result<Vec<Reply>, Fault> {
        let began = Instant::now();
        let looks = self.looks();
        let mut replies: Vec<Option<Reply>> = self.members.iter().map(|_| None).collect();
        loop {
            if replies.iter().all(Option::is_some) {
                return Ok(replies.into_iter().flatten().collect());
            }
            if self.interrupt.is_set() {
                return Err(Fault::Interrupted);
            }
            let now = Instant::now();
            if now >= deadline {
                let silent: Vec<usize> = (0..replies.len()).filter(|&rank| replies[rank].is_none()).collect();
                return Err(Fault::Failed(self.blame(&silent, &looks, began.elapsed().as_secs_f64())));
            }
            match self.news.recv_timeout((deadline - now).min(LOOK_EVERY)) {
                Ok((rank, News::Reply(Reply::Failed(what)))) => return Err(self.cause_after(rank, Some(what))),
                Ok((rank, News::Reply(Reply::Live(live)))) => watch(rank, live),
                Ok((rank, News::Reply(reply))) => replies[rank] = Some(reply),
                Ok((rank, News::Gone(end))) => {
                    self.reap(rank, end);
                    return Err(self.cause_after(rank, None));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.cause()),
            }
        }
    }

    /// A look at each node of this host, by rank.
    fn looks(&self) -> Vec<Option<Look>> {
        let look = |member: &Member| if let Member::Here(worker) = member { Look::at(worker.id()) } else { None };
        self.members.iter().map(look).collect()
    }

    /// Why `silent` nodes have not answered for so many seconds, as far as it shows from outside: a node that is
    /// stopped holds up all others.
    fn blame(&self, silent: &[usize], before: &[Option<Look>], seconds: f64) -> String {
        let mut now = self.looks();
        if let Some(remote) = &self.remote {
            for (rank, look) in remote.hosts.looks(remote.point, now.len()).into_iter().enumerate().skip(1) {
                now[rank] = look;
            }
        }
        let names = |ranks: &[usize]| ranks.iter().map(|&rank| self.name(rank)).collect::<Vec<_>>().join(", ");
        let stopped: Vec<usize> = (0..now.len()).filter(|&rank| now[rank].is_some_and(|look| look.is_stopped)).collect();
        if !stopped.is_empty() {
            let is = if stopped.len() == 1 { "is" } else { "are" };
            return format!(
                "{} {is} stopped (by SIGSTOP, or a debugger), and no other gets on without; SIGCONT has it go on",
                names(&stopped)
            );
        }
        let worked = |rank: usize| now[rank].zip(before[rank]).map(|(now, before)| now.worked_since(&before, seconds, self.members.len()));
        let (busy, idle): (Vec<usize>, Vec<usize>) = silent.iter().copied().partition(|&rank| worked(rank) == Some(true));
        let mut text = format!("no answer from {} within {seconds:.1} s", names(silent));
        if !busy.is_empty() {
            let mend = "slow rather than stuck: give --deadline more, or fewer --messages";
            text.push_str(&format!("; {} worked all the while, so it is {mend}", names(&busy)));
        }
        let idle: Vec<usize> = idle.into_iter().filter(|&rank| worked(rank).is_some()).collect();
        if !idle.is_empty() {
            text.push_str(&format!("; {} waited for something that did not come", names(&idle)));
        }
        text
    }

    /// A node for people.
    fn name(&self, rank: usize) -> String {
        match &self.remote {
            Some(remote) => format!("node {rank} at {}", remote.hosts.name(rank)),
            None => format!("node {rank}"),
        }
    }

    fn reap(&mut self, rank: usize, end: Option<End>) {
        if let Member::There(known) = &mut self.members[rank] {
            *known = end;
        }
    }

    fn cause_after(&mut self, rank: usize, what: Option<String>) -> Fault {
        let (mut said, mut gone) = (vec![None; self.members.len()], vec![false; self.members.len()]);
        gone[rank] = what.is_none();
        said[rank] = what;
        self.find_cause(rank, said, gone)
    }

    fn cause(&mut self) -> Fault {
        self.find_cause(0, vec![None; self.members.len()], vec![false; self.members.len()])
    }

    /// Finds out what went wrong: when one node dies the others fail soon after, because they miss it, and the reason
    /// is the first one's. By rank, what each has said, and whether its line is closed.
    fn find_cause(&mut self, first: usize, mut said: Vec<Option<String>>, mut gone: Vec<bool>) -> Fault {
        let until = Instant::now() + CAUSE_WAIT;
        while gone.contains(&false) {
            match self.news.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((rank, News::Reply(Reply::Failed(what)))) => said[rank] = Some(what),
                Ok((rank, News::Gone(end))) => {
                    self.reap(rank, end);
                    gone[rank] = true;
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => gone.fill(true),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        if self.interrupt.is_set() {
            // Whoever is gone went because of that too.
            return Fault::Interrupted;
        }
        let names: Vec<String> = (0..self.members.len()).map(|rank| self.name(rank)).collect();
        let mut ends: Vec<(usize, NodeEnd)> = Vec::new();
        for (rank, ((member, said), node)) in self.members.iter_mut().zip(said).zip(names).enumerate() {
            let (status, stderr, lost) = match member {
                Member::Here(worker) => {
                    // The line is closed a moment before the process has ended.
                    let status = if gone[rank] { worker.status_until(until) } else { worker.status() };
                    let stderr = if status.is_some() { worker.last_words() } else { String::new() };
                    (status, stderr, None)
                }
                Member::There(end) => end.take().map_or((None, String::new(), None), |end| (end.status, end.stderr, end.lost)),
            };
            ends.push((rank, NodeEnd { node, status, said, stderr, lost }));
        }
        ends.sort_by_key(|(rank, _)| *rank != first);
        self.end();
        Fault::of(&ends.into_iter().map(|(_, node)| node).collect::<Vec<_>>())
    }

    /// Ends every node, now.
    fn end(&mut self) {
        if let Some(remote) = &self.remote {
            remote.hosts.end(remote.point);
        }
        for member in &mut self.members {
            if let Member::Here(worker) = member {
                worker.kill();
            }
        }
        for member in &mut self.members {
            if let Member::Here(worker) = member {
                worker.wait();
            }
        }
    }
}

impl Drop for Workers<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<'a> Remote<'a> {
    fn begin(hosts: &'a Hosts, nodes: usize, news: &Sender<(usize, News)>) -> Remote<'a> {
        let point = hosts.begin(nodes, news.clone());
        Remote { hosts, point, clocks: Vec::new(), uncertainty_ns: 0 }
    }

    /// Asks for the clocks again: between two answers they have drifted by what differs.
    fn see_drift(&mut self) {
        let after = self.hosts.clocks(self.clocks.len());
        let uncertainties = self.clocks.iter().zip(&after).map(|(before, after)| before.uncertainty_until(after));
        let mut largest: Vec<u64> = uncertainties.collect();
        largest.sort_unstable();
        // Two nodes, neither the first, may both be wrong, in opposite directions.
        self.uncertainty_ns = largest.iter().rev().take(2).sum();
    }
}

/// A node on this host.
fn here(rank: usize, news: &Sender<(usize, News)>) -> std::io::Result<Worker> {
    let news = news.clone();
    // Nobody listens any more if the workers are gone.
    Worker::start(rank, move |reply| news.send((rank, reply.map_or(News::Gone(None), News::Reply))).is_ok())
}
