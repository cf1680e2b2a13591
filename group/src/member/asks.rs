//! Newcomers that asked this member, until they are in.

use std::collections::VecDeque;

use squall_membership::{Newcomer, RequestError};
use squall_transport::{Endpoint, NodeId};

use crate::error::JoinRefused;
use crate::group::Group;

/// Newcomers that may wait at one member; the next one is told to try another.
pub(crate) const ASKS_MAX: usize = 64;

/// Newcomers in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    /// With the transfer that each asked for.
    waiting: VecDeque<(Newcomer, u64)>,
}

impl Asks {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes one in, unless too many wait.
    pub(crate) fn note(&mut self, newcomer: Newcomer, transfer: u64) -> Result<(), String> {
        self.drop_of(newcomer.node());
        if self.waiting.len() == ASKS_MAX {
            return Err(format!("{ASKS_MAX} processes already wait to join through this member; ask another member, or later"));
        }
        self.waiting.push_back((newcomer, transfer));
        Ok(())
    }

    /// It is gone, or in.
    pub(crate) fn drop_of(&mut self, node: NodeId) {
        self.waiting.retain(|(waits, _)| waits.node() != node);
    }

    /// Asks the group for as many as it takes now. Those that it will never take are told to `refused`. The others stay
    /// until they are in: what a view that was over did not take is asked for again in the next one.
    pub(crate) fn press<E: Endpoint>(&mut self, group: &mut Group<E>, mut refused: impl FnMut(NodeId, u64, JoinRefused)) {
        self.waiting.retain(|&(newcomer, transfer)| match group.request(newcomer) {
            Ok(()) | Err(JoinRefused::Request(RequestError::Full | RequestError::Over)) => true,
            Err(refusal) => {
                refused(newcomer.node(), transfer, refusal);
                false
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_twice_waits_once_and_a_flood_is_refused() {
        let mut asks = Asks::default();
        let newcomer = |node| Newcomer { node, contact: [0; 3] };
        for node in (0..ASKS_MAX as u64).chain([5, 5]) {
            asks.note(newcomer(node), 1).expect("there is room");
        }
        let refusal = asks.note(newcomer(999), 1).expect_err("it is full");
        assert!(refusal.contains("ask another member"), "{refusal}");
        asks.drop_of(NodeId(5));
        asks.note(newcomer(999), 1).expect("there is room again");
    }
}
