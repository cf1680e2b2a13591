//! One connection as the rendezvous sees it.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::rank::Rank;

use super::crowd::Standing;
use super::place::Place;
use super::wire::Wire;

pub(super) struct Connection {
    pub(super) wire: Wire,
    pub(super) from: Place,
    pub(super) phase: Phase,
}

/// How far a connection has come.
pub(super) enum Phase {
    /// Accepted; its handshake and hello are due by the deadline.
    Greeting { deadline: Instant },
    /// It has proved itself and holds a rank.
    Member(Rank),
    /// All is said but what its socket has yet to take; it is dropped at the deadline at the latest.
    Closing { deadline: Instant },
    /// To be dropped.
    Gone,
}

impl Connection {
    /// The rank of a member.
    pub(super) fn rank(&self) -> Option<Rank> {
        if let Phase::Member(rank) = self.phase { Some(rank) } else { None }
    }

    /// Whether it holds no rank: it is new, or was turned away.
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. } | Phase::Closing { .. })
    }

    /// How far one without a rank has come. One that was turned away has nothing more to prove.
    pub(super) fn standing(&self) -> Standing {
        match self.phase {
            Phase::Closing { .. } => Standing::Silent,
            _ => self.wire.link.standing(),
        }
    }

    /// Whether what it sends still counts.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. } | Phase::Member(_))
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Greeting { deadline } | Phase::Closing { deadline } => Some(deadline),
            Phase::Member(_) | Phase::Gone => None,
        }
    }

    /// Sends a frame as far as the socket takes it now.
    pub(super) fn send(&mut self, header: &impl Serialize, payload: &[&[u8]]) {
        self.wire.link.send(header, payload);
        self.wire.flush();
    }

    /// Listens no more; what was sent has up to `farewell` to be read.
    pub(super) fn close(&mut self, farewell: Duration) {
        self.wire.say_all();
        let ended = self.wire.ended().is_some();
        self.phase = if ended { Phase::Gone } else { Phase::Closing { deadline: Instant::now() + farewell } };
    }
}
