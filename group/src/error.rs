//! What can go wrong, with what to do about it.

use squall_membership::{RequestError, Stop};
use squall_rdmc::DescriptorError;
use squall_sst::Malformed;
use squall_transport::exchange::ExchangeError;
use squall_transport::region::RegionError;
use squall_transport::{OpenError, Rank};

use crate::config::ConfigError;

/// Why a group could not be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The members do not agree, or one of them is gone.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// Memory could not be had.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The fabric could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why a message was not taken. All but the last three pass by themselves: turn the loop and try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The window is full.
    #[error("the window is full; turn the loop until more is delivered")]
    WindowFull,
    /// All buffers for large messages are in use.
    #[error("all buffers for large messages are in use; turn the loop until more is delivered")]
    PoolExhausted,
    /// The message is longer than the group agreed.
    #[error("a message of {bytes} bytes is longer than the group's {max}; raise `large_max` at every member")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The longest.
        max: u64,
    },
    /// This member is not among the senders.
    #[error("this member does not send; name it in `senders` at every member")]
    NotASender,
    /// The group is over.
    #[error("the group is over")]
    Ended,
}

impl SendError {
    /// Whether the same message may be taken later.
    pub fn is_full(&self) -> bool {
        matches!(self, SendError::WindowFull | SendError::PoolExhausted)
    }
}

/// Why a newcomer was not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefused {
    /// The members never change.
    #[error("the members of this group never change; configure `membership` at every member")]
    Fixed,
    /// There are no buffers for one more sender.
    #[error(
        "there are buffers for the large messages of {senders_max} senders, and this one would be sender {needed}; configure \
         `senders_max` of at least {needed} at every member, or join as a receiver"
    )]
    Senders {
        /// The limit: the larger one of [`Config::senders_max`](crate::Config::senders_max) and the first senders.
        senders_max: usize,
        /// What would do for all that send or wait to.
        needed: usize,
    },
    /// Membership does not take it.
    #[error(transparent)]
    Request(RequestError),
}

/// Why the group is over at this member. Where membership is fixed, the loss of any member ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The link to a member broke: its process ended or its host is gone.
    #[error("member {0} is gone (its process ended or the link to it broke); start the group again without it")]
    MemberDown(Rank),
    /// A member's memory holds what no member writes.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A member announced a message that breaks the group's limits.
    #[error("member {sender} announced an invalid large message: {error}")]
    Refused {
        /// Who.
        sender: Rank,
        /// What is wrong with it.
        error: DescriptorError,
    },
    /// A member ended the group because of what another wrote, which this one has not seen itself.
    #[error(
        "member {by} ended the group, because member {member} wrote an invalid value; see the error of member {by}{}",
        if told_by == by { String::new() } else { format!(" (as member {told_by} said, which passed it on)") }
    )]
    Accused {
        /// Whom it accuses.
        member: Rank,
        /// Who saw it, and ended because of it.
        by: Rank,
        /// From whom this member has it: from `by` itself, or from one that passed it on before it went. Whoever
        /// passes on what was never said is named here.
        told_by: Rank,
    },
    /// The group goes on without this member, or cannot be sure to be the only one that does.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// This member left.
    #[error("this member has left the group")]
    Closed,
    /// This member left, and nobody stays who has the group's state.
    #[error(
        "this member left the group before any other member had the application's state; the state is lost to {learners} joining members"
    )]
    LastLeft {
        /// Members without a vote that stayed behind.
        learners: usize,
    },
    /// One of two members is lost, and there is no witness to ask which of them goes on.
    #[error(
        "one of the two members of this group is lost, and no witness decides which of them continues; name a witness, or have three \
         members"
    )]
    NoWitness,
    /// A learner could not keep what the group delivered while it had no state.
    #[error(
        "the group delivered more than {bytes_max} bytes before this joining member had its state; raise `held_bytes_max`, or join \
         when less is sent"
    )]
    HeldBack {
        /// [`Config::held_bytes_max`](crate::Config::held_bytes_max).
        bytes_max: u64,
    },
    /// A learner did not get the last messages of a sender in a view that is over.
    #[error("member {sender} was gone before its last messages reached this joining member; join again under a new name")]
    Stranded {
        /// Whose messages are missing.
        sender: Rank,
    },
}

impl Ended {
    /// Who wrote what no member writes, as far as this member has seen it itself.
    pub fn blames(&self) -> Option<Rank> {
        match self {
            Ended::Malformed(malformed) => Some(malformed.member),
            Ended::Refused { sender, .. } => Some(*sender),
            _ => None,
        }
    }
}
