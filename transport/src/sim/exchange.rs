//! An exchange for members that share one thread.

use crate::exchange::{Exchange, ExchangeError};
use crate::rank::Rank;

/// An exchange that waits for nobody: it answers for all members with what the asking one gave.
///
/// A simulation makes its members one after the other in one thread, where a real gather would wait for ever. Good for
/// what is the same at every member, which is all that a group compares; nothing that differs can be learnt from it.
#[derive(Clone, Debug)]
pub struct SoloExchange {
    rank: Rank,
    members: usize,
}

impl SoloExchange {
    /// The exchange of member `rank` of `members`.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn new(rank: Rank, members: usize) -> SoloExchange {
        assert!(rank.index() < members, "rank {rank} of {members} members");
        SoloExchange { rank, members }
    }
}

impl Exchange for SoloExchange {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn members(&self) -> usize {
        self.members
    }

    fn token(&self) -> &[u8; 32] {
        &[0; 32]
    }

    fn all_gather(&mut self, _what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        Ok(vec![mine.to_vec(); self.members])
    }
}
