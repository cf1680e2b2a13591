//! An exchange whose members are known by lasting names.

use std::time::Duration;

use super::{Exchange, ExchangeError};
use crate::rank::{NodeId, Rank};

/// Another exchange, with the names of its members, which they have told each other by it: so what is kept of one epoch
/// is found again in the next.
pub struct Named<'a> {
    exchange: &'a mut dyn Exchange,
    nodes: &'a [NodeId],
}

impl<'a> Named<'a> {
    /// `nodes` by rank, the same at all members.
    ///
    /// # Panics
    /// If it is not one name a member.
    pub fn new(exchange: &'a mut dyn Exchange, nodes: &'a [NodeId]) -> Named<'a> {
        assert_eq!(exchange.members(), nodes.len(), "one name a member");
        Named { exchange, nodes }
    }
}

impl Exchange for Named<'_> {
    fn rank(&self) -> Rank {
        self.exchange.rank()
    }

    fn members(&self) -> usize {
        self.exchange.members()
    }

    fn token(&self) -> &[u8; 32] {
        self.exchange.token()
    }

    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        self.exchange.all_gather(what, mine)
    }

    fn patience(&self) -> Option<Duration> {
        self.exchange.patience()
    }

    fn is_absent(&self, rank: Rank) -> bool {
        self.exchange.is_absent(rank)
    }

    fn give_up(&mut self, rank: Rank) {
        self.exchange.give_up(rank);
    }

    fn node(&self, rank: Rank) -> Option<NodeId> {
        self.nodes.get(rank.index()).copied()
    }
}
