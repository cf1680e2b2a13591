//! What a rendezvous tells its owner.

use crate::rank::{NodeId, Rank};

use super::error::GatherFault;
use super::place::Place;
use super::refusal::Refusal;

/// What happened at a rendezvous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A member proved itself and has a rank now.
    Joined {
        /// Its rank in this epoch.
        rank: Rank,
        /// Who it says it is.
        node: NodeId,
        /// Where it connected from.
        address: Place,
    },
    /// A member sent this.
    Message {
        /// Who.
        rank: Rank,
        /// The application's bytes.
        bytes: Vec<u8>,
    },
    /// A member is gone; nothing more comes from it.
    Left {
        /// Who.
        rank: Rank,
        /// How that showed.
        reason: LeaveReason,
    },
    /// A connection did not become a member.
    Refused {
        /// Where it came from.
        address: Place,
        /// Why.
        reason: Refusal,
    },
    /// More connections did not become members than are told of one by one.
    RefusedMore {
        /// How many since the last that was told of.
        count: u64,
    },
    /// The time to join is over; those who wait for the missing have been told.
    JoinTimedOut {
        /// Who never joined.
        missing: Vec<Rank>,
    },
    /// The members' gather failed; those who wait have been told.
    GatherFailed {
        /// What was being gathered.
        what: String,
        /// Why it failed.
        fault: GatherFault,
    },
    /// There was no descriptor or memory for a new connection. Who waits is told, and tries again; accepting goes on
    /// after a pause.
    AcceptFailed {
        /// What it said.
        reason: String,
    },
}

/// How a member left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveReason {
    /// It said that it had finished.
    #[error("it finished")]
    Finished,
    /// Its connection ended: it was killed, or its host or network failed.
    #[error("{0}")]
    Lost(String),
    /// It sent what no member sends.
    #[error("it broke the protocol: {0}")]
    Violation(String),
    /// It does not read what is sent to it.
    #[error("it left {unsent_bytes} bytes unread")]
    Stalled {
        /// What waits for it.
        unsent_bytes: usize,
    },
}
