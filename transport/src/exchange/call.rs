//! How a member gets its connection to its rendezvous.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::address::lacks_interface;
use crate::lost::LOST_AFTER;
use crate::rank::{NodeId, Rank};

use super::door::is_short;
use super::frame::FrameError;
use super::key::ClusterKey;
use super::link::{Link, LinkError};
use super::message::{ToMember, ToServer, Welcome};
use super::place::Place;
use super::refusal::Refusal;
use super::stream::{Stream, connect_unix};
use super::wire::{Wire, after};

/// The longest answer to a hello.
const WELCOME_BYTES_MAX: usize = 1024;
/// Between attempts to connect; each pause is twice the last.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(5);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(250);
/// How long the first attempt to connect lasts; each is longer by as much. TCP itself would ask again only after one
/// second, three, seven.
const CONNECT_MIN: Duration = Duration::from_secs(1);

/// Who wants to join.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// This incarnation of this process; no other member may have it.
    pub node: NodeId,
    /// The rank it wants; without, it gets the lowest that is free. In one group either all ask for theirs or none
    /// does.
    pub rank: Option<Rank>,
    /// How long to try, until the rendezvous has answered.
    pub timeout: Duration,
}

/// Why a member did not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing accepts connections there.
    #[error(
        "cannot reach the rendezvous at {address}, tried for {} ms ({reason}): is it running, is this its address, \
         does a firewall stand between?",
        .waited.as_millis()
    )]
    Unreachable {
        /// Where it should be.
        address: Place,
        /// How long this side tried.
        waited: Duration,
        /// What the last attempt said.
        reason: String,
    },
    /// Something accepts connections there but does not answer as a rendezvous does.
    #[error(
        "connected to {address} but got no Noise answer within {} ms ({reason}): is this a Squall rendezvous? Is its process stopped?",
        .waited.as_millis()
    )]
    NoAnswer {
        /// Where.
        address: Place,
        /// How long this side tried.
        waited: Duration,
        /// What came instead.
        reason: String,
    },
    /// The rendezvous is there but let nobody in who is not in already.
    #[error("the rendezvous at {address} refused all {attempts} attempts to join within {} ms: {reason}", .waited.as_millis())]
    Overrun {
        /// Where it is.
        address: Place,
        /// How often this side tried.
        attempts: u32,
        /// How long this side tried.
        waited: Duration,
        /// What it said.
        reason: String,
    },
    /// The rendezvous holds another cluster key.
    #[error("handshake with the rendezvous at {address} failed: wrong cluster key? Give all nodes the same key file")]
    WrongKey {
        /// Where it is.
        address: Place,
    },
    /// The rendezvous knows the key but does not take this member.
    #[error("the rendezvous at {address} refused this node: {reason}")]
    Refused {
        /// Where it is.
        address: Place,
        /// Why.
        reason: Refusal,
    },
}

/// A member on its way to its rendezvous.
pub(super) struct Call {
    address: Place,
    started: Instant,
    timeout: Duration,
}

/// What came of one attempt that led to nothing.
enum Setback {
    /// Another would not do better.
    Final(ConnectError),
    /// There is no connection.
    Unreachable(String),
    /// The connection ended before the other side had shown that it is a rendezvous.
    Closed(String),
    /// The rendezvous has no place for one more to be heard.
    Overrun(String),
    /// The time is over.
    Late(String),
}

impl Call {
    pub(super) fn new(address: Place, timeout: Duration) -> Self {
        Self { address, started: Instant::now(), timeout }
    }

    /// Connects, proves that both sides hold the key, and takes a rank; however often that has to be tried.
    pub(super) fn join(&self, version: u8, key: &ClusterKey, options: &ConnectOptions) -> Result<(Wire, Welcome), ConnectError> {
        let (mut pause, mut attempts) = (RETRY_PAUSE_MIN, 0);
        // What the rendezvous said once explains its silence later, too.
        let mut overrun = None;
        loop {
            attempts += 1;
            let setback = match self.attempt(version, key, options, attempts) {
                Ok(joined) => return Ok(joined),
                Err(Setback::Final(error)) => return Err(error),
                Err(setback) => setback,
            };
            let is_over = matches!(setback, Setback::Late(_)) || self.left().is_none_or(|left| left <= pause);
            if let Setback::Overrun(reason) = &setback {
                overrun = Some(reason.clone());
            }
            if is_over {
                return Err(self.give_up(overrun.map_or(setback, Setback::Overrun), attempts));
            }
            thread::sleep(pause);
            pause = (2 * pause).min(RETRY_PAUSE_MAX);
        }
    }

    fn attempt(&self, version: u8, key: &ClusterKey, options: &ConnectOptions, attempts: u32) -> Result<(Wire, Welcome), Setback> {
        let stream = self.reach(attempts)?;
        let link = Link::initiator(&key.handshake_secret(), version, WELCOME_BYTES_MAX);
        let mut wire = Wire::new(stream, link, LOST_AFTER).map_err(|error| Setback::Closed(error.to_string()))?;
        let hello = ToServer::Hello { node: options.node, rank: options.rank };
        let welcome = self.introduce(&mut wire, &hello)?;
        Ok((wire, welcome))
    }

    fn reach(&self, attempts: u32) -> Result<Stream, Setback> {
        let left = self.left().ok_or_else(|| Setback::Unreachable("there was no time to try".to_owned()))?;
        let connected = match &self.address {
            Place::Ip(address) if lacks_interface(*address) => {
                let reason = "a link-local address means nothing without its interface: write [fe80::1%2]:PORT, with the number that \
                              `ip link` shows";
                return Err(Setback::Final(self.unreachable(reason.to_owned())));
            }
            Place::Ip(address) => connect(*address, left.min(CONNECT_MIN * attempts)).map(Stream::from),
            Place::Local(name) => connect_unix(name.as_bytes()).map(Stream::from),
        };
        connected.map_err(|error| match error.kind() {
            _ if is_short(&error) => Setback::Final(self.unreachable(format!("{error} here: raise this process' limit (ulimit -n)"))),
            _ if is_final(&error) => Setback::Final(self.unreachable(error.to_string())),
            ErrorKind::WouldBlock => Setback::Overrun(LinkError::Crowded.to_string()),
            _ => Setback::Unreachable(error.to_string()),
        })
    }

    /// The handshake, the hello and its answer.
    fn introduce(&self, wire: &mut Wire, hello: &ToServer) -> Result<Welcome, Setback> {
        let deadline = after(self.started, self.timeout);
        let mut said_hello = false;
        loop {
            wire.flush();
            let filled = wire.fill();
            if wire.link.is_open() && !said_hello {
                said_hello = true;
                wire.link.send(hello, &[]);
                wire.flush();
            }
            match wire.link.next() {
                Ok(Some((ToMember::Welcome(welcome), _))) => return Ok(welcome),
                Ok(Some((ToMember::Refused(reason), _))) => return Err(Setback::Final(self.refused(reason))),
                Ok(Some(_)) => return Err(Setback::Final(self.no_answer("it did not answer the hello".to_owned()))),
                Ok(None) => {}
                Err(error) => return Err(self.misheard(error)),
            }
            filled.map_err(|error| self.misheard(error))?;
            match wire.ended() {
                // Whom it has heard it may have taken in.
                Some(reason) if said_hello => return Err(Setback::Final(self.no_answer(reason.to_owned()))),
                Some(reason) => return Err(Setback::Closed(reason.to_owned())),
                None => {}
            }
            if !wire.wait(deadline).map_err(|error| Setback::Final(self.no_answer(error.to_string())))? {
                return Err(Setback::Late("nothing came".to_owned()));
            }
        }
    }

    fn give_up(&self, setback: Setback, attempts: u32) -> ConnectError {
        match setback {
            Setback::Final(error) => error,
            Setback::Unreachable(reason) => self.unreachable(reason),
            Setback::Closed(reason) => self.no_answer(format!("{reason}, {attempts} times")),
            Setback::Late(reason) => self.no_answer(reason),
            Setback::Overrun(reason) => ConnectError::Overrun { address: self.address.clone(), attempts, waited: self.waited(), reason },
        }
    }

    fn left(&self) -> Option<Duration> {
        self.timeout.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
    }

    fn waited(&self) -> Duration {
        self.started.elapsed()
    }

    fn misheard(&self, error: LinkError) -> Setback {
        Setback::Final(match error {
            error if error.is_passing() => return Setback::Overrun(error.to_string()),
            LinkError::WrongKey => ConnectError::WrongKey { address: self.address.clone() },
            LinkError::Frame(FrameError::Version { theirs, ours }) => {
                // Named from the rendezvous' side, as it would itself.
                self.refused(Refusal::WrongVersion { theirs: ours, ours: theirs })
            }
            error => self.no_answer(error.to_string()),
        })
    }

    fn refused(&self, reason: Refusal) -> ConnectError {
        ConnectError::Refused { address: self.address.clone(), reason }
    }

    fn unreachable(&self, reason: String) -> ConnectError {
        ConnectError::Unreachable { address: self.address.clone(), waited: self.waited(), reason }
    }

    fn no_answer(&self, reason: String) -> ConnectError {
        ConnectError::NoAnswer { address: self.address.clone(), waited: self.waited(), reason }
    }
}

/// One attempt to connect. With nothing listening at a local port, TCP may pick that very port for this side and
/// connect it to itself.
fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, limit)?;
    match stream.local_addr().ok() == stream.peer_addr().ok() {
        true => Err(io::Error::other("nothing listens there")),
        false => Ok(stream),
    }
}

/// Whether trying again is of no use.
pub(crate) fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::AddrNotAvailable | ErrorKind::InvalidInput | ErrorKind::Unsupported)
}
