//! An agent: one of the other hosts. It starts, feeds and ends the nodes that the first host wants here, and knows
//! nothing of what they do.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use squall_transport::exchange::{Place, Session};
use squall_transport::{Exchange, beside};

use super::arrival::{HostError, Served, failed};
use super::bell::Bell;
use super::clock::unix_ms;
use super::local::Local;
use super::reach::{Offered, reach};
use super::switchboard::SILENCE_MAX;
use super::talk::{Answer, FromAgent, Question, ToAgent, decode, encode};
use super::telling::tell;
use crate::jobs::control::{Reply, Told};
use crate::jobs::job::{Job, Meeting};
use crate::jobs::os::now_ns;
use crate::jobs::rdma::Rdma;
use crate::run::interrupt::Interrupt;
use crate::run::look::Look;
use crate::run::worker::Worker;
use squall_report::environment::Throttled;

/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What this host's own command line and environment say of it.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Its address for data; without, the one that its connection to the first host comes from.
    pub address: Option<IpAddr>,
    /// Its own options for RDMA.
    pub rdma: Rdma,
}

/// Serves the first host until it says goodbye.
///
/// # Errors
/// If the first host fails or falls silent; or the user interrupts.
pub fn serve(served: Served, nodes: u32, site: &Site, interrupt: &Interrupt) -> Result<(), HostError> {
    let Served { session, first, held } = served;
    let connection = session.local_addr().map_err(|error| failed(error.to_string()))?;
    let local = match Local::new(site.address.unwrap_or(connection.ip()), site.rdma.clone()) {
        Ok(local) => local,
        Err(why) => {
            leave(session, why.clone());
            return Err(HostError::Failed(why));
        }
    };
    tell(&format!("rank {} of {nodes}: serves {first} from {}", session.rank(), local.address));
    let (sender, events) = mpsc::channel();
    let bell = Arc::new(Bell::new().map_err(|error| failed(format!("an event descriptor: {error}")))?);
    let agent = Agent { session, local, bell, events, sender, workers: BTreeMap::new(), heard: Instant::now(), offered: None, rdma: None };
    let served = agent.serve(interrupt);
    // Whoever comes late is still told where the first host is.
    drop(held);
    served
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
    /// Addresses of this host that are tried by the others.
    offered: Option<Offered>,
    /// What was last asked of RDMA, and what became of it here.
    rdma: Option<(Rdma, Rdma)>,
}

impl Agent {
    fn serve(mut self, interrupt: &Interrupt) -> Result<(), HostError> {
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
                return Err(HostError::Interrupted);
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

    fn obey(&mut self, order: ToAgent) -> Result<(), HostError> {
        match order {
            ToAgent::Ping(id) => {
                let Throttled { periods, waited_ns } = Throttled::now();
                self.say(&FromAgent::Pong { id, now_ns: now_ns(), throttled: (periods, waited_ns) })
            }
            ToAgent::Ask(question) => {
                let answer = self.answer(question);
                self.say(&FromAgent::Answer(answer))
            }
            ToAgent::Take(address) => {
                (self.local.address, self.offered) = (address, None);
                Ok(())
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

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Describe(asked) => {
                let facts = serde_json::to_string(&self.local.facts(&asked)).expect("facts are plain data");
                Answer::Facts(facts, unix_ms())
            }
            Question::Offer(rules, ports) => match Offered::open(&rules, ports) {
                Ok(offered) => Answer::Offers(Ok(self.offered.insert(offered).offers.clone())),
                Err(why) => Answer::Offers(Err(why)),
            },
            Question::Reach(all) => Answer::Reached(reach(&all, self.session.rank().index())),
            Question::Look { point } => Answer::Looked(self.workers.get(&point).and_then(|worker| Look::at(worker.id()))),
        }
    }

    fn start(&mut self, point: u64, mut job: Job) -> Result<(), HostError> {
        job.address = Some(self.local.address);
        if let Some(Meeting { place: Place::Ip(at), .. }) = &mut job.meeting {
            // A link-local address has an interface of the first host, and means one of this host.
            *at = here(*at, self.session.local_addr().unwrap_or(*at));
        }
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
    fn pass_on(&mut self, point: u64, reply: Option<Reply>) -> Result<(), HostError> {
        let Some(reply) = reply else {
            // One that was ended from afar is not asked for.
            let Some(mut worker) = self.workers.remove(&point) else { return Ok(()) };
            let status = worker.wait().map(ExitStatusExt::into_raw);
            return self.say(&FromAgent::Gone { point, status, stderr: worker.last_words() });
        };
        self.say(&FromAgent::Reply { point, reply })
    }

    fn say(&mut self, message: &FromAgent) -> Result<(), HostError> {
        self.session.send(&encode(message)).map_err(|error| failed(error.to_string()))
    }

    /// The run is over.
    fn part(mut self, why: Option<String>) -> Result<(), HostError> {
        self.workers.clear();
        // If the first host does not wait for it, it is over all the same.
        let _ = self.session.finish(Instant::now() + FAREWELL);
        why.map_or(Ok(()), |why| Err(failed(why)))
    }
}

/// `address` of another host as this one reaches it, whose end of a connection there is `mine`.
fn here(address: SocketAddr, mine: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            beside(mine, SocketAddrV6::new(*v6.ip(), v6.port(), v6.flowinfo(), 0).into())
        }
        other => other,
    }
}
