//! What can go wrong between the members of one epoch before the data path runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::rank::Rank;

/// Why an exchange failed. After any of these the exchange is of no more use: a gather that failed
/// once fails for every member from then on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The members' gather cannot complete.
    #[error("gathering \"{what}\" failed: {fault}")]
    Gather {
        /// What was being gathered.
        what: String,
        /// Why it cannot complete.
        fault: GatherFault,
    },
    /// [`agree`](super::agree) found different bytes.
    #[error("members disagree on {what}: {}", list_camps(.camps))]
    Differs {
        /// What should have been the same everywhere.
        what: String,
        /// Who said the same, lowest rank first; at least two.
        camps: Vec<Camp>,
    },
    /// The rendezvous closed the connection or its process is gone.
    #[error("the rendezvous at {address} is gone ({reason}): was its process ended?")]
    ServerGone {
        /// Where it was.
        address: Place,
        /// What the socket said.
        reason: String,
    },
    /// The rendezvous is connected but does not take or give anything.
    #[error("the rendezvous at {address} was silent for {} ms while {doing}", .waited.as_millis())]
    ServerSilent {
        /// Where it is.
        address: Place,
        /// How long nothing moved.
        waited: Duration,
        /// What this member waited for.
        doing: &'static str,
    },
    /// The rendezvous sent what this version does not understand.
    #[error("the rendezvous at {address} broke the protocol: {reason}")]
    Protocol {
        /// Where it is.
        address: Place,
        /// What was wrong.
        reason: String,
    },
    /// This process' own mesh is of no more use.
    #[error("the mesh of this process is broken ({reason}): open a new one")]
    MeshBroken {
        /// What broke it.
        reason: String,
    },
    /// A message is larger than one frame.
    #[error("a control message of {bytes} bytes is larger than frame_bytes_max ({bytes_max})")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The most that one message may carry.
        bytes_max: usize,
    },
}

/// Why a gather cannot complete; the same at every member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum GatherFault {
    /// A member left before it gave its part.
    #[error("rank {rank} left before it gave its part ({reason})")]
    Left {
        /// Who left.
        rank: Rank,
        /// How its leaving showed.
        reason: String,
    },
    /// A member gathers something else at this point.
    #[error(
        "rank {rank} gives \"{given}\" where the others give \"{expected}\": \
         do all members run the same program with the same options?"
    )]
    OutOfStep {
        /// Who is out of step.
        rank: Rank,
        /// What it gave.
        given: String,
        /// What the first to give gave.
        expected: String,
    },
    /// Members joined but did not give their part in time.
    #[error("{} gave nothing within {} ms", list_ranks(.ranks), .waited.as_millis())]
    Late {
        /// Who gave nothing.
        ranks: Vec<Rank>,
        /// How long the first to give waited.
        waited: Duration,
    },
    /// Members never joined.
    #[error(
        "{} never joined within {} ms: were they started, with this address and key?",
        list_ranks(.ranks),
        .waited.as_millis()
    )]
    Absent {
        /// Who is missing.
        ranks: Vec<Rank>,
        /// How long the rendezvous waited.
        waited: Duration,
    },
    /// All parts together are larger than one frame.
    #[error("all parts together are {bytes} bytes, more than frame_bytes_max allows ({bytes_max})")]
    TooLarge {
        /// All parts together.
        bytes: usize,
        /// The most that one frame carries.
        bytes_max: usize,
    },
}

/// Members that gave the same bytes to [`agree`](super::agree).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camp {
    /// Who, in order.
    pub ranks: Vec<Rank>,
    /// What they gave: its first bytes in hex.
    pub value: String,
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No member has this rank now.
    #[error("rank {rank} has not joined or has left")]
    Absent {
        /// The rank.
        rank: Rank,
    },
    /// The message is larger than one frame.
    #[error("a control message of {bytes} bytes is larger than frame_bytes_max allows ({bytes_max})")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The most that one message may carry.
        bytes_max: usize,
    },
}

/// "rank 3" or "ranks 0, 2".
pub(super) fn list_ranks(ranks: &[Rank]) -> String {
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    let numbers: Vec<String> = ranks.iter().map(Rank::to_string).collect();
    format!("{noun} {}", numbers.join(", "))
}

fn list_camps(camps: &[Camp]) -> String {
    let camps: Vec<String> = camps
        .iter()
        .map(|camp| {
            let verb = if camp.ranks.len() == 1 { "gives" } else { "give" };
            format!("{} {verb} {}", list_ranks(&camp.ranks), camp.value)
        })
        .collect();
    camps.join("; ")
}
