//! One connection as the thread of a mesh sees it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::atomic::Ordering;
use crate::exchange::crowd::Standing;
use crate::exchange::wire::Wire;
use crate::rank::NodeId;

use super::message::{Header, Hello};
use super::shared::Queued;

pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) phase: Phase,
    /// Where it came from, if somebody else made it.
    pub(super) from: Option<IpAddr>,
    /// Whether this side's hello was said.
    pub(super) greeted: bool,
    /// Whether it is not read for now: too many of its messages wait.
    pub(super) paused: bool,
}

/// How far a connection has come.
pub(super) enum Phase {
    /// Accepted; its handshake and hello are due by the deadline.
    Greeting { deadline: Instant },
    /// Accepted, but this side's own dial to the same node comes first.
    Parked { hello: Hello, deadline: Instant },
    /// An attempt of a dial; who answered, once this side's hello was said to it.
    Dialling { dial: u64, told: Option<Hello> },
    /// It stands.
    Up { node: NodeId, since: Instant, unsent_bytes: Arc<AtomicUsize> },
    /// All is said but what its socket has yet to take; it is dropped at the deadline at the latest.
    Leaving { deadline: Instant, stranger: bool },
    /// To be dropped.
    Gone,
}

impl Connection {
    pub(super) fn new(wire: Wire, phase: Phase) -> Self {
        Self { wire, phase, from: None, greeted: false, paused: false }
    }

    /// Who is at the other end of one that stands.
    pub(super) fn up(&self) -> Option<NodeId> {
        if let Phase::Up { node, .. } = self.phase { Some(node) } else { None }
    }

    /// To whom a dial has said its hello.
    pub(super) fn told(&self) -> Option<NodeId> {
        if let Phase::Dialling { told: Some(hello), .. } = &self.phase { Some(hello.node) } else { None }
    }

    /// The dial that this is an attempt of.
    pub(super) fn dial(&self) -> Option<u64> {
        if let Phase::Dialling { dial, .. } = self.phase { Some(dial) } else { None }
    }

    /// Whether it came from outside and does not stand.
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. } | Phase::Parked { .. } | Phase::Leaving { stranger: true, .. })
    }

    /// How far one from outside has come. One that leaves has nothing more to prove.
    pub(super) fn standing(&self) -> Standing {
        match self.phase {
            Phase::Leaving { .. } => Standing::Silent,
            _ => self.wire.link.standing(),
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    /// Whether what it sends still counts.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. } | Phase::Dialling { .. } | Phase::Up { .. })
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> PollFlags {
        let mut interest = self.wire.interest();
        interest.set(PollFlags::IN, interest.contains(PollFlags::IN) && !self.paused);
        interest
    }

    /// When something is due although its socket is not ready: at once if it ended while this side wrote.
    pub(super) fn timer(&self) -> Option<Instant> {
        if self.wire.ended().is_some() { Some(Instant::now()) } else { self.deadline() }
    }

    /// Until when its phase may last.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Greeting { deadline } | Phase::Parked { deadline, .. } | Phase::Leaving { deadline, .. } => Some(deadline),
            Phase::Dialling { .. } | Phase::Up { .. } | Phase::Gone => None,
        }
    }

    pub(super) fn say(&mut self, header: &Header, payload: &[u8]) {
        self.wire.link.send(header, &[payload]);
    }

    pub(super) fn say_queued(&mut self, queue: &[Queued]) {
        for queued in queue {
            self.say(&queued.header, &queued.payload);
        }
        self.flush();
    }

    /// Writes what the socket takes, and lets callers know how much is left.
    pub(super) fn flush(&mut self) {
        self.wire.flush();
        if let Phase::Up { unsent_bytes, .. } = &self.phase {
            unsent_bytes.store(self.wire.link.unsent().len(), Ordering::Relaxed);
        }
    }

    /// Listens no more; what was said has up to `farewell` to be read.
    pub(super) fn leave(&mut self, farewell: Duration, stranger: bool) {
        self.wire.say_all();
        let ended = self.wire.ended().is_some();
        self.phase = if ended { Phase::Gone } else { Phase::Leaving { deadline: Instant::now() + farewell, stranger } };
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use crate::exchange::link::Link;
    use crate::lost::LOST_AFTER;

    use super::*;

    #[test]
    fn one_that_ends_while_this_side_writes_is_due_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let wire = Wire::new(stream, Link::initiator(&[1; 32], 1, 512), LOST_AFTER).expect("a socket");
        let mut connection = Connection::new(wire, Phase::Dialling { dial: 1, told: None });
        assert_eq!(connection.timer(), None);
        let (accepted, _) = listener.accept().expect("one dials");
        socket2::SockRef::from(&accepted).set_linger(Some(Duration::ZERO)).expect("a socket");
        // It is reset.
        drop(accepted);
        connection.flush();
        assert!(connection.wire.ended().is_some() && connection.interest().is_empty(), "no socket will wake the thread");
        assert!(connection.timer().is_some_and(|at| at <= Instant::now()));
    }
}
