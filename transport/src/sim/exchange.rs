//! An exchange for members that share one thread.

use std::time::Duration;

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
    /// By rank.
    absent: Vec<bool>,
    patience: Option<Duration>,
}

impl SoloExchange {
    /// The exchange of member `rank` of `members`.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn new(rank: Rank, members: usize) -> SoloExchange {
        assert!(rank.index() < members, "rank {rank} of {members} members");
        SoloExchange { rank, members, absent: vec![false; members], patience: None }
    }

    /// This member does without those in `absent`; `patience` has run out already.
    pub fn without(mut self, absent: &[Rank], patience: Duration) -> SoloExchange {
        self.patience = Some(patience);
        absent.iter().for_each(|&rank| self.give_up(rank));
        self
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
        Ok(self.absent.iter().map(|absent| if *absent { Vec::new() } else { mine.to_vec() }).collect())
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }

    fn is_absent(&self, rank: Rank) -> bool {
        self.absent[rank.index()]
    }

    fn give_up(&mut self, rank: Rank) {
        assert!(rank != self.rank, "a member cannot do without itself");
        self.absent[rank.index()] = true;
    }
}
