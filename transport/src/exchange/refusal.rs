//! Why a rendezvous turns a connection away.

use serde::{Deserialize, Serialize};

use crate::rank::{NodeId, Rank};

/// Why a connection did not become a member. The other side is told, as far as it has proved itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It does not hold the cluster key.
    #[error("handshake failed: wrong cluster key?")]
    WrongKey,
    /// What it sends is not the handshake of a rendezvous.
    #[error("it does not speak the rendezvous protocol")]
    NotSquall,
    /// It did not finish its handshake in time.
    #[error("its handshake was not finished within {timeout_ms} ms")]
    Stalled {
        /// The time it had, in milliseconds.
        timeout_ms: u64,
    },
    /// It closed the connection before it had joined.
    #[error("it closed the connection before it had joined ({reason})")]
    Closed {
        /// What the socket said.
        reason: String,
    },
    /// It speaks another version of the protocol.
    #[error("it speaks protocol version {theirs}, the rendezvous {ours}: run the same build of Squall on all nodes")]
    WrongVersion {
        /// Its version.
        theirs: u8,
        /// The rendezvous' version.
        ours: u8,
    },
    /// It holds the key but does not say what a new member says.
    #[error("its hello is invalid: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// Its identity has joined already.
    #[error("node {node} has already joined, as rank {rank}: each process needs a node id of its own")]
    DuplicateNode {
        /// The identity.
        node: NodeId,
        /// The rank that holds it.
        rank: Rank,
    },
    /// The rank it wants is taken.
    #[error("rank {rank} is already taken, by node {node}: was a process started twice?")]
    DuplicateRank {
        /// The rank.
        rank: Rank,
        /// Who holds it.
        node: NodeId,
    },
    /// The rank it wants does not exist.
    #[error("rank {rank} does not exist: the group has {members} members, ranks count from 0")]
    NoSuchRank {
        /// The rank.
        rank: Rank,
        /// The size of the group.
        members: usize,
    },
    /// All ranks are taken.
    #[error("the group is full: all its {members} members have joined")]
    Full {
        /// The size of the group.
        members: usize,
    },
    /// The time to join is over.
    #[error("too late: the group formed, or gave up, within {timeout_ms} ms")]
    TooLate {
        /// The time there was, in milliseconds.
        timeout_ms: u64,
    },
    /// Too many connections that have not joined.
    #[error("more than {greeting_max} connections are waiting to join: is the rendezvous flooded by strangers?")]
    Crowded {
        /// How many may wait at once.
        greeting_max: usize,
    },
}
