//! Coming to the rendezvous: who is the first host is decided there, by meeting.
//!
//! ```text
//!   who is to lead     can listen at the rendezvous: the first host, there
//!                      cannot: another process holds it, and says who is
//!   everybody else     finds the first host there, or is told where it is;
//!                      finds nobody, and can listen there: holds a meeting until the first host comes
//! ```
//!
//! So it does not matter which of several processes of a host takes the port, or which host rank 0 is on, as long as
//! one of them has the address.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use squall_transport::exchange::{BindError, ClusterKey, ConnectError, ConnectOptions, Session};
use squall_transport::{NodeId, Rank, beside};

use super::listening::Listening;
use super::meeting::{Held, Meeting};
use super::talk::{At, Greeting, Hello};
use super::telling::tell;
use crate::run::interrupt::Interrupt;

/// How long attempts to connect last before people are told, the first one and later ones.
const FIRST_ATTEMPT: Duration = Duration::from_millis(500);
const ATTEMPT: Duration = Duration::from_secs(5);
/// Between attempts that fail at once.
const PAUSE: Duration = Duration::from_millis(200);
/// How long who is not to lead looks for somebody else at the rendezvous before it holds a meeting there. The first
/// host mostly comes meanwhile, and nobody needs one.
const HOLD_AFTER: Duration = Duration::from_secs(4);
/// How long whoever holds the rendezvous may take to greet.
const GREETING_MAX: Duration = Duration::from_secs(20);
/// How often a wait for a greeting looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a host has no part in the run, or no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
    /// Everything else.
    #[error("{0}")]
    Failed(String),
}

/// A process that comes to the rendezvous.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Where all meet, best first.
    pub rendezvous: Vec<SocketAddr>,
    /// The cluster key.
    pub key: ClusterKey,
    /// The rank it wants; without, it is given one.
    pub rank: Option<u16>,
    /// Whether it is to be the first host if nobody else is: it was told that it is rank 0, or has no rank and
    /// something to run.
    pub leads: bool,
    /// How many hosts there are.
    pub nodes: u32,
    /// How long to wait for the others.
    pub wait: Duration,
}

/// What a process is, once it has come.
pub enum Arrived {
    /// The first host, which listens.
    First(Box<Listening>),
    /// The first host, which is to listen somewhere else than at the rendezvous, and to say where.
    Leads(Leading),
    /// One of the others.
    Served(Served),
}

/// The first host's line to who holds the rendezvous.
pub struct Leading {
    session: Session,
    address: SocketAddr,
}

/// The line of one of the others to the first host.
pub struct Served {
    pub(super) session: Session,
    /// Where the first host is.
    pub(super) first: SocketAddr,
    /// The meeting that this process holds.
    pub(super) held: Option<Held>,
}

impl Leading {
    /// This host's address as who holds the rendezvous sees it; its port means nothing.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says where the first host listens.
    ///
    /// # Errors
    /// If who holds the rendezvous is gone.
    pub fn tell(mut self, at: SocketAddr) -> Result<(), HostError> {
        let at = serde_json::to_vec(&At(at)).expect("an address is plain data");
        self.session.send(&at).map_err(|error| failed(error.to_string()))?;
        // It parts with us once it has heard.
        let _ = self.session.finish(Instant::now() + GREETING_MAX);
        Ok(())
    }
}

/// What came of an attempt to be heard at the rendezvous.
enum Knock {
    Heard(Box<Session>, SocketAddr),
    /// Nobody is there, or nobody answers yet.
    Nobody(String),
}

impl Newcomer {
    /// Comes to the rendezvous, and is what is decided there.
    ///
    /// # Errors
    /// If nobody is met in time, this process is refused, or the user interrupts.
    pub fn arrive(mut self, interrupt: &Interrupt) -> Result<Arrived, HostError> {
        let began = Instant::now();
        let deadline = began + self.wait;
        let (mut said_at, mut held): (Option<Instant>, Option<Held>) = (None, None);
        loop {
            if self.leads
                && let Some(listening) = self.take_place()?
            {
                return Ok(Arrived::First(Box::new(listening)));
            }
            let attempt = if said_at.is_none() { FIRST_ATTEMPT } else { ATTEMPT };
            let nobody = match self.knock(attempt, deadline, interrupt)? {
                Knock::Heard(mut session, first) => match greeted(&mut session, &self, deadline, interrupt)? {
                    Greeting::Elsewhere(at) => {
                        let mine = session.local_addr().map_err(|error| failed(error.to_string()))?;
                        // Whoever leads came before: this process is one of the others.
                        (self.rendezvous, self.leads) = (vec![beside(mine, at)], false);
                        continue;
                    }
                    Greeting::Lead => {
                        let address = session.local_addr().map_err(|error| failed(error.to_string()))?;
                        return Ok(Arrived::Leads(Leading { session: *session, address }));
                    }
                    Greeting::Refused(why) => return Err(failed(format!("the first host refused this one: {why}"))),
                    Greeting::Accepted | Greeting::Wait => return Ok(Arrived::Served(Served { session: *session, first, held })),
                },
                Knock::Nobody(why) => why,
            };
            let now = Instant::now();
            if now >= deadline {
                return Err(failed(format!("{nobody} (gave up after {} s, --wait)", self.wait.as_secs())));
            }
            if !self.leads && held.is_none() && now.duration_since(began) >= HOLD_AFTER {
                held = self.hold();
            }
            if said_at.is_none_or(|said| now.duration_since(said) >= ATTEMPT) {
                let left = deadline.duration_since(now).as_secs();
                tell(&format!("waiting for the first host at {}, {left} s more", self.rendezvous[0]));
                said_at = Some(now);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Listens at the rendezvous as the first host; none if it is another host's, or somebody else does.
    fn take_place(&self) -> Result<Option<Listening>, HostError> {
        for &address in &self.rendezvous {
            match Listening::at(address, &self.key, self.nodes, self.wait) {
                Ok(listening) => return Ok(Some(listening)),
                Err(BindError::Listen { reason, .. }) if reason.kind() == ErrorKind::AddrNotAvailable => {}
                // At another of its addresses two would be the first host.
                Err(BindError::Listen { reason, .. }) if reason.kind() == ErrorKind::AddrInUse => return Ok(None),
                Err(error) => return Err(failed(format!("rank 0 serves the rendezvous: {error}"))),
            }
        }
        Ok(None)
    }

    /// Holds a meeting at the rendezvous, if it is an address of this host, and nobody else does.
    fn hold(&self) -> Option<Held> {
        for &address in &self.rendezvous {
            match Meeting::at(address, &self.key) {
                Ok(meeting) => return meeting.hold().ok(),
                Err(BindError::Listen { reason, .. }) if reason.kind() == ErrorKind::AddrNotAvailable => {}
                // The next attempt says what is the matter there.
                Err(_) => return None,
            }
        }
        None
    }

    /// Tries every address.
    fn knock(&self, attempt: Duration, deadline: Instant, interrupt: &Interrupt) -> Result<Knock, HostError> {
        let mut nobody = String::new();
        for &address in &self.rendezvous {
            let timeout = attempt.min(deadline.saturating_duration_since(Instant::now())).max(PAUSE);
            // Random rather than the process id: those of two hosts may be the same.
            let node = NodeId(node_id());
            match Session::connect(address, &self.key, &ConnectOptions { node, rank: self.rank.map(Rank), timeout }) {
                Ok(session) => return Ok(Knock::Heard(Box::new(session), address)),
                // It is there, and slow, or has its hands full of strangers.
                Err(error @ (ConnectError::Unreachable { .. } | ConnectError::Overrun { .. })) => nobody = error.to_string(),
                Err(error @ ConnectError::NoAnswer { waited, .. }) if waited >= timeout => nobody = error.to_string(),
                Err(error) => return Err(failed(error.to_string())),
            }
            if interrupt.is_set() {
                return Err(HostError::Interrupted);
            }
        }
        Ok(Knock::Nobody(nobody))
    }
}

/// Says hello, and waits for the greeting that decides.
fn greeted(session: &mut Session, newcomer: &Newcomer, deadline: Instant, interrupt: &Interrupt) -> Result<Greeting, HostError> {
    let hello = serde_json::to_vec(&Hello::of(newcomer.nodes, newcomer.leads)).expect("a hello is plain data");
    session.send(&hello).map_err(|error| failed(error.to_string()))?;
    let (mut until, mut waits) = (Instant::now() + GREETING_MAX, false);
    loop {
        match session.recv((Instant::now() + LOOK_EVERY).min(until)).map_err(|error| failed(error.to_string()))? {
            Some(bytes) => match serde_json::from_slice(&bytes) {
                Ok(Greeting::Wait) => (until, waits) = (deadline, true),
                Ok(greeting) => return Ok(greeting),
                Err(_) => return Err(failed("the first host does not greet as Squall does: is it the same build?")),
            },
            None if interrupt.is_set() => return Err(HostError::Interrupted),
            None if Instant::now() < until => {}
            None if waits => {
                let seconds = newcomer.wait.as_secs();
                return Err(failed(format!(
                    "no first host came within {seconds} s (--wait): rank 0, or a process that has something to run"
                )));
            }
            None => return Err(failed(format!("the first host did not greet within {} s", GREETING_MAX.as_secs()))),
        }
    }
}

pub(super) fn failed(what: impl Into<String>) -> HostError {
    HostError::Failed(what.into())
}

/// A number that no other process has.
fn node_id() -> u64 {
    let random = ClusterKey::random().to_hex();
    u64::from_str_radix(&random[..15], 16).unwrap_or_else(|_| u64::from(std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::local::Local;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn newcomer(at: SocketAddr, key: &ClusterKey, rank: Option<u16>, leads: bool) -> Newcomer {
        Newcomer { rendezvous: vec![at], key: key.clone(), rank, leads, nodes: 3, wait: PATIENCE }
    }

    /// Where no process of this host can listen, because the meeting does.
    fn held(key: &ClusterKey) -> (Held, SocketAddr) {
        let meeting = Meeting::at((Ipv4Addr::LOCALHOST, 0).into(), key).unwrap();
        let at = meeting.address();
        (meeting.hold().unwrap(), at)
    }

    /// What all come to be, the one that leads as the first host at an address of its own. Nobody leaves before all are
    /// there.
    fn arrive(newcomers: Vec<Newcomer>) -> Vec<Result<&'static str, HostError>> {
        let come = |newcomer: Newcomer| {
            move || match newcomer.clone().arrive(&Interrupt::default())? {
                Arrived::First(_) => Ok(("first", None)),
                Arrived::Leads(leading) => {
                    let at = SocketAddr::new(leading.address().ip(), 0);
                    let listening = Listening::at(at, &newcomer.key, newcomer.nodes, PATIENCE).unwrap();
                    leading.tell(listening.address())?;
                    let local = Local::new(at.ip(), Default::default()).unwrap();
                    listening.gather(local, Default::default(), Interrupt::default()).unwrap();
                    Ok(("leads", None))
                }
                Arrived::Served(served) => Ok(("serves", Some(served))),
            }
        };
        let threads: Vec<_> = newcomers.into_iter().map(|newcomer| thread::spawn(come(newcomer))).collect();
        let came: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        came.into_iter().map(|came| came.map(|(what, _served)| what)).collect()
    }

    #[test]
    fn rank_0_leads_wherever_the_rendezvous_is() {
        let key = ClusterKey::random();
        let (_held, at) = held(&key);
        let came = arrive(vec![newcomer(at, &key, Some(2), false), newcomer(at, &key, Some(0), true), newcomer(at, &key, Some(1), false)]);
        assert_eq!(came, [Ok("serves"), Ok("leads"), Ok("serves")]);
    }

    #[test]
    fn of_those_without_ranks_one_leads() {
        let key = ClusterKey::random();
        let (_held, at) = held(&key);
        let mut came = arrive((0..3).map(|_| newcomer(at, &key, None, true)).collect());
        came.sort_by_key(|came| came.as_ref().ok().copied());
        assert_eq!(came, [Ok("leads"), Ok("serves"), Ok("serves")]);
    }

    #[test]
    fn without_a_first_host_it_is_said_that_none_came() {
        let key = ClusterKey::random();
        let (_held, at) = held(&key);
        let alone = Newcomer { wait: Duration::from_millis(10), ..newcomer(at, &key, Some(1), false) };
        let error = alone.arrive(&Interrupt::default()).err().unwrap().to_string();
        assert!(error.contains("no first host came within 0 s (--wait)"), "{error}");
    }
}
