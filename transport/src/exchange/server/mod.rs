//! The rendezvous: where the members of one epoch meet, and its owner talks to them.

mod admission;
mod timing;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::connection::{Connection, Phase};
use super::door::Door;
use super::error::{GatherFault, SendError};
use super::event::{LeaveReason, ServerEvent};
use super::frame::FrameError;
use super::gather::{Gather, GaveTwice, Outcome, WHAT_BYTES_MAX};
use super::key::ClusterKey;
use super::link::LinkError;
use super::message::{ToMember, ToServer};
use super::options::{BindError, ServerOptions};
use super::place::Place;
use super::refusal::Refusal;
use super::seats::Seats;
use super::stream::Listener;
use super::telling::Telling;
use super::token::random_bytes;
use super::wire::after;
use crate::rank::{NodeId, Rank};

/// The longest hello.
pub(in crate::exchange) const HELLO_BYTES_MAX: usize = 256;
/// How long a refused connection may take to read why.
const FAREWELL: Duration = Duration::from_secs(2);

/// The meeting point of one epoch: admits its members, relays their gathers, and carries messages between them and the
/// process that owns it.
///
/// It has no thread: its owner calls [`poll`](Self::poll), often, and nothing moves in between. No connection can make
/// it block. Dropping it disconnects all members.
pub struct RendezvousServer {
    door: Door,
    place: Place,
    secret: [u8; 32],
    options: ServerOptions,
    token: [u8; 32],
    seats: Seats,
    connections: Vec<Connection>,
    gather: Gather,
    /// Since when the open gather waits for members all of whom have joined.
    gather_since: Option<Instant>,
    join_deadline: Instant,
    join_over: bool,
    telling: Telling,
    events: VecDeque<ServerEvent>,
}

impl RendezvousServer {
    /// Listens at exactly `place`, an address of this host or a [name](Place::Local) that only this host knows; port 0
    /// lets the operating system choose one ([`place`](Self::place)).
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(place: impl Into<Place>, key: &ClusterKey, options: ServerOptions) -> Result<Self, BindError> {
        options.check()?;
        let place = place.into();
        let failed = |reason| BindError::Listen { address: place.clone(), reason };
        let listener = Listener::bind(&place).map_err(failed)?;
        Ok(Self {
            place: listener.place().map_err(failed)?,
            door: Door::new(listener),
            secret: key.handshake_secret(),
            token: random_bytes(),
            seats: Seats::new(options.members),
            connections: Vec::new(),
            gather: Gather::new(options.members),
            gather_since: None,
            join_deadline: after(Instant::now(), options.join_timeout),
            join_over: false,
            telling: Telling::new(Instant::now()),
            events: VecDeque::new(),
            options,
        })
    }

    /// Where it listens.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The address at which it listens.
    ///
    /// # Panics
    /// If it was bound to a name of this host: that has none.
    pub fn local_addr(&self) -> SocketAddr {
        match self.place {
            Place::Ip(address) => address,
            Place::Local(_) => panic!("{} has no address", self.place),
        }
    }

    /// Takes `rank` for the owner itself, which needs no connection: nobody else is given it.
    ///
    /// # Errors
    /// If it is taken or does not exist, or `node` has joined.
    pub fn seat(&mut self, rank: Rank, node: NodeId) -> Result<(), Refusal> {
        self.seats.admit(node, Some(rank)).map(|_| ())
    }

    /// Parts with a member that joined but is of no use to the owner, and frees its rank for another. What was sent to
    /// it before is still delivered; no event tells of it. It must not have given to a gather.
    pub fn turn_away(&mut self, rank: Rank) {
        if let Some(connection) = self.member(rank) {
            connection.close(FAREWELL);
            self.seats.vacate(rank);
        }
    }

    /// How many members have joined, those that have left since included.
    pub fn joined_count(&self) -> usize {
        self.seats.taken_count()
    }

    /// Sends `bytes` to a member, whose [`Session::recv`](super::Session::recv) returns them. It does not wait: what
    /// the socket does not take goes out in later calls of [`poll`](Self::poll).
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&mut self, rank: Rank, bytes: &[u8]) -> Result<(), SendError> {
        self.check_length(bytes)?;
        let connection = self.member(rank).ok_or(SendError::Absent { rank })?;
        connection.send(&ToMember::Message, &[bytes]);
        Ok(())
    }

    /// Sends `bytes` to all members that are there.
    ///
    /// # Errors
    /// [`SendError::TooLarge`].
    pub fn broadcast(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.check_length(bytes)?;
        for connection in &mut self.connections {
            if connection.rank().is_some() {
                connection.send(&ToMember::Message, &[bytes]);
            }
        }
        Ok(())
    }

    /// Moves everything that can move, waits up to `timeout` for something to happen, and returns what happened;
    /// nothing if the time is over or a signal came.
    ///
    /// # Errors
    /// Only if the operating system cannot wait for sockets (out of memory).
    pub fn poll(&mut self, timeout: Duration) -> io::Result<Vec<ServerEvent>> {
        self.poll_until(timeout, None)
    }

    /// As [`poll`](Self::poll), but also returns as soon as `other` can be read, by which another thread may wake this
    /// one.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_beside(&mut self, timeout: Duration, other: BorrowedFd<'_>) -> io::Result<Vec<ServerEvent>> {
        self.poll_until(timeout, Some(other))
    }

    fn poll_until(&mut self, timeout: Duration, other: Option<BorrowedFd<'_>>) -> io::Result<Vec<ServerEvent>> {
        let deadline = after(Instant::now(), timeout);
        loop {
            let interrupted = self.wait_and_move(deadline, other)?;
            if !self.events.is_empty() || interrupted || Instant::now() >= deadline {
                return Ok(self.events.drain(..).collect());
            }
        }
    }

    /// One round: whether a signal or `other` ended its wait.
    fn wait_and_move(&mut self, deadline: Instant, other: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        let now = Instant::now();
        let until = self.timers().fold(deadline, Instant::min);
        let wait = if self.events.is_empty() { until.saturating_duration_since(now) } else { Duration::ZERO };
        let accepting = self.door.is_open(now);
        let (ready, called) = match self.wait(accepting, wait, other) {
            Ok(ready) => ready,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        for (index, flags) in ready.iter().enumerate() {
            if !flags.is_empty() {
                self.turn(index);
            }
        }
        if accepting {
            self.accept();
        }
        self.expire(Instant::now());
        self.connections.retain(|connection| !matches!(connection.phase, Phase::Gone));
        Ok(called)
    }

    /// Waits until a socket is ready: for each connection, with what; and whether `other` is.
    fn wait(&self, accepting: bool, timeout: Duration, other: Option<BorrowedFd<'_>>) -> io::Result<(Vec<PollFlags>, bool)> {
        let mut fds: Vec<_> = self.connections.iter().map(|connection| PollFd::new(&connection.wire, connection.wire.interest())).collect();
        if accepting {
            fds.push(PollFd::new(&self.door, PollFlags::IN));
        }
        fds.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
        let timeout = timeout.try_into().ok();
        rustix::event::poll(&mut fds, timeout.as_ref())?;
        let called = other.is_some() && fds.last().is_some_and(|fd| !fd.revents().is_empty());
        Ok((fds[..self.connections.len()].iter().map(PollFd::revents).collect(), called))
    }

    /// Reads and writes what one connection is ready for.
    fn turn(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !connection.is_heard() {
            return connection.wire.discard();
        }
        let mut failed = connection.wire.fill().err();
        loop {
            let connection = &mut self.connections[index];
            if !connection.is_heard() {
                return;
            }
            match connection.wire.link.next() {
                Ok(Some((header, payload))) => self.hear(index, header, payload),
                Ok(None) => break,
                Err(error) => {
                    failed.get_or_insert(error);
                    break;
                }
            }
        }
        match failed {
            Some(error) => self.fault(index, error),
            None => self.connections[index].wire.flush(),
        }
    }

    fn hear(&mut self, index: usize, header: ToServer, payload: Vec<u8>) {
        match (self.connections[index].rank(), header) {
            (None, ToServer::Hello { node, rank }) => self.admit(index, node, rank),
            (None, _) => self.refuse(index, Refusal::Malformed { reason: "it does not begin with a hello".to_owned() }),
            (Some(_), ToServer::Hello { .. }) => self.end(index, LeaveReason::Violation("a second hello".to_owned())),
            (Some(_), ToServer::Bye) => {
                self.connections[index].send(&ToMember::Farewell, &[]);
                self.end(index, LeaveReason::Finished);
            }
            (Some(rank), ToServer::Message) => self.events.push_back(ServerEvent::Message { rank, bytes: payload }),
            (Some(_), ToServer::Give { what }) if what.len() > WHAT_BYTES_MAX => {
                self.end(index, LeaveReason::Violation("a gather with too long a name".to_owned()));
            }
            (Some(rank), ToServer::Give { what }) => match self.gather.give(rank, &what, payload) {
                Ok(outcome) => self.tell(outcome),
                Err(GaveTwice) => self.end(index, LeaveReason::Violation(format!("it gave twice to \"{what}\""))),
            },
        }
    }

    /// What a connection sent cannot be understood.
    fn fault(&mut self, index: usize, error: LinkError) {
        if self.connections[index].rank().is_some() {
            return self.end(index, LeaveReason::Violation(error.to_string()));
        }
        let reason = match error {
            LinkError::WrongKey => Refusal::WrongKey,
            // A notice is for those who call.
            LinkError::NotNoise | LinkError::Tampered | LinkError::Crowded | LinkError::NoDescriptor => Refusal::NotSquall,
            LinkError::Frame(FrameError::Version { theirs, ours }) => Refusal::WrongVersion { theirs, ours },
            LinkError::Frame(error) => Refusal::Malformed { reason: error.to_string() },
        };
        self.refuse(index, reason);
    }

    /// A member is gone.
    fn end(&mut self, index: usize, reason: LeaveReason) {
        let connection = &mut self.connections[index];
        let Some(rank) = connection.rank() else {
            return;
        };
        connection.close(FAREWELL);
        let outcome = self.gather.leave(rank, &reason.to_string());
        self.events.push_back(ServerEvent::Left { rank, reason });
        self.tell(outcome);
    }

    /// Lets the members know how their gather ended.
    fn tell(&mut self, outcome: Outcome) {
        let (waiting, header, parts) = match outcome {
            Outcome::Open => return,
            Outcome::Complete(parts) => {
                let bytes = parts.iter().map(|part| part.len() + size_of::<u32>() + 1).sum();
                let bytes_max = self.options.payload_bytes_max();
                let everybody = (0..self.options.members).map(Rank::new).collect();
                if bytes > bytes_max {
                    let fault = GatherFault::TooLarge { bytes, bytes_max };
                    self.gather.fail(fault.clone());
                    self.notice(&fault);
                    (everybody, ToMember::GatherFailed(fault), vec![])
                } else {
                    let lengths = parts.iter().map(|part| part.len() as u32).collect();
                    (everybody, ToMember::Gathered { lengths }, parts)
                }
            }
            Outcome::Failed { waiting, fault } => {
                if !waiting.is_empty() {
                    self.notice(&fault);
                }
                (waiting, ToMember::GatherFailed(fault), vec![])
            }
        };
        self.gather_since = None;
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        for connection in &mut self.connections {
            if connection.rank().is_some_and(|rank| waiting.contains(&rank)) {
                connection.send(&header, &parts);
            }
        }
    }

    fn notice(&mut self, fault: &GatherFault) {
        let (what, fault) = (self.gather.what().to_owned(), fault.clone());
        self.events.push_back(ServerEvent::GatherFailed { what, fault });
    }

    fn member(&mut self, rank: Rank) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.rank() == Some(rank))
    }

    fn check_length(&self, bytes: &[u8]) -> Result<(), SendError> {
        let (bytes, bytes_max) = (bytes.len(), self.options.payload_bytes_max());
        if bytes > bytes_max { Err(SendError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }
}

impl fmt::Debug for RendezvousServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("RendezvousServer");
        server.field("place", &self.place).field("options", &self.options).field("seats", &self.seats);
        server.finish_non_exhaustive()
    }
}
