//! How a member gets its connection to its rendezvous.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::lost::LOST_AFTER;
use crate::rank::{NodeId, Rank};

use super::frame::FrameError;
use super::key::ClusterKey;
use super::link::{Link, LinkError};
use super::message::{ToMember, ToServer, Welcome};
use super::refusal::Refusal;
use super::wire::{Wire, after};

/// The longest answer to a hello.
const WELCOME_BYTES_MAX: usize = 1024;
/// Between attempts to connect; each pause is twice the last.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(5);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(250);

/// Who wants to join.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// This incarnation of this process; no other member may have it.
    pub node: NodeId,
    /// The rank it wants; without, it gets the lowest that is free. In one group either all ask for theirs or none does.
    pub rank: Option<Rank>,
    /// How long to try, until the rendezvous has answered.
    pub timeout: Duration,
}

/// Why a member did not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nothing accepts connections there.
    #[error(
        "cannot reach the rendezvous at {address}, tried for {waited_ms} ms ({reason}): is it running, is this its address, \
         does a firewall stand between?"
    )]
    Unreachable {
        /// Where it should be.
        address: SocketAddr,
        /// How long this side tried, in milliseconds.
        waited_ms: u64,
        /// What the last attempt said.
        reason: String,
    },
    /// Something accepts connections there but does not answer as a rendezvous does.
    #[error("connected to {address} but got no Noise answer within {waited_ms} ms ({reason}): is this a Squall rendezvous?")]
    NoAnswer {
        /// Where.
        address: SocketAddr,
        /// How long this side tried, in milliseconds.
        waited_ms: u64,
        /// What came instead.
        reason: String,
    },
    /// The rendezvous holds another cluster key.
    #[error("handshake with the rendezvous at {address} failed: wrong cluster key? Give all nodes the same key file")]
    WrongKey {
        /// Where it is.
        address: SocketAddr,
    },
    /// The rendezvous knows the key but does not take this member.
    #[error("the rendezvous at {address} refused this node: {reason}")]
    Refused {
        /// Where it is.
        address: SocketAddr,
        /// Why.
        reason: Refusal,
    },
}

/// One attempt to join.
pub(super) struct Call {
    address: SocketAddr,
    started: Instant,
    timeout: Duration,
}

impl Call {
    pub(super) fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self { address, started: Instant::now(), timeout }
    }

    /// Connects, proves that both sides hold the key, and takes a rank.
    pub(super) fn join(&self, version: u8, key: &ClusterKey, options: &ConnectOptions) -> Result<(Wire, Welcome), ConnectError> {
        let stream = self.reach()?;
        let link = Link::initiator(&key.handshake_secret(), version, WELCOME_BYTES_MAX);
        let mut wire = Wire::new(stream, link, LOST_AFTER).map_err(|error| self.no_answer(error.to_string()))?;
        let hello = ToServer::Hello { node: options.node, rank: options.rank };
        let welcome = self.introduce(&mut wire, &hello)?;
        Ok((wire, welcome))
    }

    /// A connection, however often it has to be tried.
    fn reach(&self) -> Result<TcpStream, ConnectError> {
        let mut pause = RETRY_PAUSE_MIN;
        let mut reason = "there was no time to try".to_owned();
        while let Some(left) = self.left() {
            match TcpStream::connect_timeout(&self.address, left) {
                // With nothing listening at a local port, TCP may pick that very port for this side and connect it to itself.
                Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => reason = "nothing listens there".to_owned(),
                Ok(stream) => return Ok(stream),
                Err(error) if is_final(&error) => return Err(self.unreachable(error.to_string())),
                Err(error) => reason = error.to_string(),
            }
            thread::sleep(pause.min(self.left().unwrap_or_default()));
            pause = (2 * pause).min(RETRY_PAUSE_MAX);
        }
        Err(self.unreachable(reason))
    }

    /// The handshake, the hello and its answer.
    fn introduce(&self, wire: &mut Wire, hello: &ToServer) -> Result<Welcome, ConnectError> {
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
                Ok(Some((ToMember::Refused(reason), _))) => return Err(self.refused(reason)),
                Ok(Some(_)) => return Err(self.no_answer("it did not answer the hello".to_owned())),
                Ok(None) => {}
                Err(error) => return Err(self.misheard(error)),
            }
            filled.map_err(|error| self.misheard(error))?;
            if let Some(reason) = wire.ended() {
                return Err(self.no_answer(reason.to_owned()));
            }
            if !wire.wait(deadline).map_err(|error| self.no_answer(error.to_string()))? {
                return Err(self.no_answer("nothing came".to_owned()));
            }
        }
    }

    fn left(&self) -> Option<Duration> {
        self.timeout.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
    }

    fn waited_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn misheard(&self, error: LinkError) -> ConnectError {
        match error {
            LinkError::WrongKey => ConnectError::WrongKey { address: self.address },
            LinkError::Frame(FrameError::Version { theirs, ours }) => {
                // Named from the rendezvous' side, as it would itself.
                self.refused(Refusal::WrongVersion { theirs: ours, ours: theirs })
            }
            error => self.no_answer(error.to_string()),
        }
    }

    fn refused(&self, reason: Refusal) -> ConnectError {
        ConnectError::Refused { address: self.address, reason }
    }

    fn unreachable(&self, reason: String) -> ConnectError {
        ConnectError::Unreachable { address: self.address, waited_ms: self.waited_ms(), reason }
    }

    fn no_answer(&self, reason: String) -> ConnectError {
        ConnectError::NoAnswer { address: self.address, waited_ms: self.waited_ms(), reason }
    }
}

/// Whether trying again is of no use.
pub(crate) fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::AddrNotAvailable | ErrorKind::InvalidInput | ErrorKind::Unsupported)
}
