//! What members and their rendezvous say to each other. The raw bytes of a message follow its header in the same frame.

use serde::{Deserialize, Serialize};

use crate::rank::{NodeId, Rank};

use super::error::GatherFault;
use super::refusal::Refusal;

/// The headers a member sends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToServer {
    /// First of all: who it is, and the rank it wants, if it cares.
    Hello { node: NodeId, rank: Option<Rank> },
    /// Its part of a gather (the payload).
    Give { what: String },
    /// The application's bytes (the payload).
    Message,
    /// Last of all: it has nothing more to say.
    Bye,
}

/// The headers a rendezvous sends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToMember {
    Welcome(Welcome),
    Refused(Refusal),
    /// All parts of a gather by rank: their lengths; the parts themselves are the payload.
    Gathered {
        lengths: Vec<u32>,
    },
    GatherFailed(GatherFault),
    /// The application's bytes (the payload).
    Message,
    /// The answer to a bye: all before it has been taken. Nothing follows.
    Farewell,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) rank: Rank,
    pub(super) members: u16,
    pub(super) token: [u8; 32],
    pub(super) frame_bytes_max: u32,
    /// How long a member waits for the end of a gather before it gives the rendezvous up; longer than the rendezvous
    /// itself waits.
    pub(super) patience_ms: u64,
    /// How long the other side's host may be silent before the connection is given up.
    pub(super) lost_after_ms: u64,
}
