//! A member's connection to its rendezvous.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::rank::Rank;

use super::Exchange;
use super::call::{Call, ConnectError, ConnectOptions};
use super::error::{ExchangeError, GatherFault};
use super::frame::{HEADER_BYTES_MAX, PROTOCOL_VERSION};
use super::gather::WHAT_BYTES_MAX;
use super::key::ClusterKey;
use super::link::LinkError;
use super::message::{ToMember, ToServer};
use super::place::Place;
use super::wire::{Wire, after};

/// Messages nobody has received yet, in frames of the largest size.
const UNREAD_FRAMES_MAX: usize = 4;

/// A member's connection to its rendezvous: an [`Exchange`], and messages to and from the owner of the rendezvous.
///
/// Its descriptor ([`AsFd`]) hangs up (`POLLRDHUP`) when the rendezvous is gone, so a watcher can notice the death of
/// the process that started this one. Dropping a session without [`finish`](Self::finish) looks to the others like a
/// crash.
pub struct Session {
    wire: Wire,
    address: Place,
    rank: Rank,
    members: usize,
    token: [u8; 32],
    frame_bytes_max: usize,
    patience: Duration,
    messages: VecDeque<Vec<u8>>,
    messages_bytes: usize,
    gathered: Option<Result<Vec<Vec<u8>>, GatherFault>>,
    farewell: bool,
}

impl Session {
    /// Joins the group that meets at `place`. Tries again while nothing listens there, or others crowd it out, up to
    /// the timeout.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(place: impl Into<Place>, key: &ClusterKey, options: &ConnectOptions) -> Result<Self, ConnectError> {
        Self::connect_as(PROTOCOL_VERSION, place.into(), key, options)
    }

    pub(super) fn connect_as(version: u8, address: Place, key: &ClusterKey, options: &ConnectOptions) -> Result<Self, ConnectError> {
        let (mut wire, welcome) = Call::new(address.clone(), options.timeout).join(version, key, options)?;
        let frame_bytes_max = welcome.frame_bytes_max as usize;
        wire.link.set_frame_bytes_max(frame_bytes_max);
        // It took such values when it was set up; a socket that does not any more is one that is over, which shows at
        // its next use.
        let _ = wire.give_up_after(Duration::from_millis(welcome.lost_after_ms));
        Ok(Self {
            wire,
            address,
            rank: welcome.rank,
            members: usize::from(welcome.members),
            token: welcome.token,
            frame_bytes_max,
            patience: Duration::from_millis(welcome.patience_ms),
            messages: VecDeque::new(),
            messages_bytes: 0,
            gathered: None,
            farewell: false,
        })
    }

    /// The address of this host that its connection to the rendezvous comes from, which the other members of the
    /// network can reach.
    ///
    /// # Errors
    /// What the socket says; a Unix socket has no address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.wire.local_addr()
    }

    /// Sends `bytes` to the owner of the rendezvous, who gets them as a
    /// [`ServerEvent::Message`](super::ServerEvent::Message). Returns once the socket has taken them.
    ///
    /// # Errors
    /// [`ExchangeError::TooLarge`], or the rendezvous is gone or silent.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        self.say(&ToServer::Message, bytes)
    }

    /// The next message from the owner of the rendezvous; `None` if none has come by the deadline.
    ///
    /// # Errors
    /// At once when the rendezvous is gone, after all that it sent before has been received.
    pub fn recv(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>, ExchangeError> {
        self.advance_until(deadline, |session| !session.messages.is_empty())?;
        let message = self.messages.pop_front();
        self.messages_bytes -= message.as_ref().map_or(0, Vec::len);
        Ok(message)
    }

    /// Says that this member has finished, and waits until the owner of the rendezvous has taken all that was sent.
    ///
    /// # Errors
    /// [`ExchangeError::ServerSilent`] if it has not by the deadline, or the rendezvous is gone.
    pub fn finish(mut self, deadline: Instant) -> Result<(), ExchangeError> {
        let started = Instant::now();
        self.wire.link.send(&ToServer::Bye, &[]);
        let finished = self.advance_until(deadline, |session| session.farewell)?;
        if finished { Ok(()) } else { Err(self.silent(started, "finishing")) }
    }

    fn say(&mut self, header: &ToServer, payload: &[u8]) -> Result<(), ExchangeError> {
        let (bytes, bytes_max) = (payload.len(), self.frame_bytes_max - HEADER_BYTES_MAX);
        if bytes > bytes_max {
            return Err(ExchangeError::TooLarge { bytes, bytes_max });
        }
        self.wire.link.send(header, &[payload]);
        let started = Instant::now();
        // The other side may have answered and gone already: what it said is for `recv`.
        let sent = self.advance_until(after(started, self.patience), |session| session.wire.has_said())?;
        if sent { Ok(()) } else { Err(self.silent(started, "sending")) }
    }

    /// Reads and writes until `done` (true) or the deadline (false).
    fn advance_until(&mut self, deadline: Instant, done: impl Fn(&Self) -> bool) -> Result<bool, ExchangeError> {
        loop {
            self.advance()?;
            if done(self) {
                return Ok(true);
            }
            if let Some(reason) = self.wire.ended() {
                return Err(self.gone(reason.to_owned()));
            }
            if !self.wire.wait(deadline).map_err(|error| self.gone(error.to_string()))? {
                return Ok(false);
            }
        }
    }

    /// Reads and writes what the socket is ready for.
    fn advance(&mut self) -> Result<(), ExchangeError> {
        self.wire.flush();
        let filled = self.wire.fill();
        while let Some((header, payload)) = self.wire.link.next().map_err(|error| self.broke(&error))? {
            self.hear(header, payload)?;
        }
        filled.map_err(|error| self.broke(&error))
    }

    fn hear(&mut self, header: ToMember, payload: Vec<u8>) -> Result<(), ExchangeError> {
        match header {
            ToMember::Message => {
                self.messages_bytes += payload.len();
                self.messages.push_back(payload);
                if self.messages_bytes > UNREAD_FRAMES_MAX * self.frame_bytes_max {
                    return Err(self.protocol(format!("{} bytes of messages wait to be received", self.messages_bytes)));
                }
            }
            ToMember::Gathered { lengths } => {
                let parts = split(&payload, &lengths).filter(|parts| parts.len() == self.members);
                self.gathered = Some(Ok(parts.ok_or_else(|| self.protocol("the parts of a gather do not fit".to_owned()))?));
            }
            ToMember::Farewell => self.farewell = true,
            ToMember::GatherFailed(fault) => self.gathered = Some(Err(fault)),
            ToMember::Welcome(_) | ToMember::Refused(_) => {
                return Err(self.protocol("it answered a hello that was not said".to_owned()));
            }
        }
        Ok(())
    }

    fn gone(&self, reason: String) -> ExchangeError {
        ExchangeError::ServerGone { address: self.address.clone(), reason }
    }

    fn silent(&self, since: Instant, doing: &'static str) -> ExchangeError {
        ExchangeError::ServerSilent { address: self.address.clone(), waited: since.elapsed(), doing }
    }

    fn broke(&self, error: &LinkError) -> ExchangeError {
        self.protocol(error.to_string())
    }

    fn protocol(&self, reason: String) -> ExchangeError {
        ExchangeError::Protocol { address: self.address.clone(), reason }
    }
}

impl Exchange for Session {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn members(&self) -> usize {
        self.members
    }

    fn token(&self) -> &[u8; 32] {
        &self.token
    }

    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        assert!(what.len() <= WHAT_BYTES_MAX, "the name of a gather is short");
        self.say(&ToServer::Give { what: what.to_owned() }, mine)?;
        let started = Instant::now();
        self.advance_until(after(started, self.patience), |session| session.gathered.is_some())?;
        match self.gathered.take() {
            Some(Ok(parts)) => Ok(parts),
            Some(Err(fault)) => Err(ExchangeError::Gather { what: what.to_owned(), fault }),
            None => Err(self.silent(started, "gathering")),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut session = f.debug_struct("Session");
        session.field("address", &self.address).field("rank", &self.rank).field("members", &self.members);
        session.finish_non_exhaustive()
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

/// `bytes` cut into pieces of these lengths; `None` if they do not fit exactly.
fn split(bytes: &[u8], lengths: &[u32]) -> Option<Vec<Vec<u8>>> {
    let mut rest = bytes;
    let mut pieces = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (piece, behind) = rest.split_at_checked(length as usize)?;
        pieces.push(piece.to_vec());
        rest = behind;
    }
    rest.is_empty().then_some(pieces)
}
