//! What a member can come to, and what it is told when it asks.

use squall_transport::{NodeId, Rank};

use crate::limits::{MEMBERS_MAX, REQUESTS_MAX};
use crate::row::Change;

/// Why a member stops for good: it delivers nothing more and installs nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// Another member suspects this one: the group goes on without it.
    #[error("member {by} suspects this one, so the group goes on without it; join again under a new name")]
    Excluded {
        /// Who said so first.
        by: Rank,
    },
    /// So many are suspected that the rest is no majority: another part of the group may go on.
    #[error("only {left} of {members} members with a vote are left here and {needed} are needed: another part of the group may go on")]
    NoQuorum {
        /// Voters not suspected, this one among them.
        left: usize,
        /// Voters of the view.
        members: usize,
        /// How many it takes.
        needed: usize,
    },
    /// A learner reaches no voter any more, or the last one has left.
    #[error("this member has no vote yet, and no member with a vote is left that it can reach; join again under a new name")]
    NoVoters,
    /// A learner has lost a voter that the other voters have not, or most other learners.
    #[error("this member has no vote yet and has lost member {with}, which the others have not; join again under a new name")]
    AtOdds {
        /// Whom it has lost.
        with: Rank,
    },
}

/// What a tie-break witness said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Witness {
    /// It sides with this member, and in this view with no other, ever.
    Sides,
    /// It has sided with the other member, or cannot be asked.
    Refuses,
}

/// Why a newcomer cannot be asked for here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is a member.
    #[error("{0} is a member already; a process that comes back needs a new name")]
    Member(NodeId),
    /// Too many wait.
    #[error("{REQUESTS_MAX} processes already wait to join through this member; ask another member, or later")]
    Full,
    /// The view is full.
    #[error("the view has {MEMBERS_MAX} members, and no more are supported")]
    ViewFull,
    /// The next view is decided, or this member has stopped: ask again in the next view, or another member.
    #[error("this view is over; ask again in the next one")]
    Over,
}

/// What follows this view, the same at every member that learns it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Who led it.
    pub leader: Rank,
    /// What happens to the list of members.
    pub changes: Vec<Change>,
    /// Where each sender's messages end in this view, exclusive.
    pub trim: Vec<u64>,
    /// Members of the next view by rank.
    pub members: Vec<NodeId>,
    /// How many of them vote: the first ones.
    pub voters: usize,
}

/// Where a member is on its way from one view to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing is to be changed.
    Steady,
    /// The view is to end: stop sending, receiving and delivering, then [`Protocol::freeze`](crate::Protocol::freeze).
    Wedging,
    /// Frozen, and waiting for the others.
    Wedged,
    /// One of two members is alone: only a witness can tell which of them goes on.
    Split,
    /// The next view is decided: deliver up to the trim, then [`Protocol::install`](crate::Protocol::install).
    Decided,
    /// Acted upon; this epoch is kept only as long as others need it.
    Installed,
    /// Over.
    Stopped(Stop),
}
