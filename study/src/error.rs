//! Why a point has no result.

use squall_group::JoinError;
use squall_transport::Rank;

use crate::memory::TooLarge;
use crate::profile::ProfileError;

/// Why a point has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The profile does not fit.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// It does not fit this machine.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The group could not be joined.
    #[error(transparent)]
    Join(#[from] Box<JoinError>),
    /// The group ended.
    #[error("member {rank} ended in virtual time: {why}")]
    Ended {
        /// Which member.
        rank: Rank,
        /// Its reason.
        why: String,
    },
    /// Nothing is left to happen, and not all was delivered.
    #[error("nothing is left to happen, but members delivered {delivered}: a bug of the protocols or of the model")]
    Stuck {
        /// By rank.
        delivered: String,
    },
    /// Two members delivered different things.
    #[error("members 0 and {rank} delivered in different orders: a bug of the protocols")]
    Disorder {
        /// The other one.
        rank: Rank,
    },
    /// Faster than what the cards carry.
    #[error("{got:.3} GB/s is more than the bound of {bound:.3} GB/s: a bug of the model")]
    BeyondBound {
        /// What came out.
        got: f64,
        /// What can.
        bound: f64,
    },
}

impl From<JoinError> for RunError {
    fn from(error: JoinError) -> RunError {
        RunError::Join(Box::new(error))
    }
}
