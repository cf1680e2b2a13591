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
    waiting: VecDeque<Newcomer>,
}

impl Asks {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes one in, unless too many wait.
    pub(crate) fn note(&mut self, newcomer: Newcomer) -> Result<(), String> {
        self.waiting.retain(|waits| waits.node != newcomer.node);
        if self.waiting.len() == ASKS_MAX {
            return Err(format!("{ASKS_MAX} newcomers wait at this member already; ask another member, or later"));
        }
        self.waiting.push_back(newcomer);
        Ok(())
    }

    /// It is gone, or in.
    pub(crate) fn drop_of(&mut self, node: NodeId) {
        self.waiting.retain(|waits| waits.node() != node);
    }

    /// Asks the group for as many as it takes now. Those that it will never take are told to `refused`. The others stay until they are in: what a view that
    /// was over did not take is asked for again in the next one.
    pub(crate) fn press<E: Endpoint>(&mut self, group: &mut Group<E>, mut refused: impl FnMut(NodeId, JoinRefused)) {
        self.waiting.retain(|&newcomer| match group.request(newcomer) {
            Ok(()) | Err(JoinRefused::Request(RequestError::Full | RequestError::Over)) => true,
            Err(refusal) => {
                refused(newcomer.node(), refusal);
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
            asks.note(newcomer(node)).expect("there is room");
        }
        let refusal = asks.note(newcomer(999)).expect_err("it is full");
        assert!(refusal.contains("ask another member"), "{refusal}");
        asks.drop_of(NodeId(5));
        asks.note(newcomer(999)).expect("there is room again");
    }
}
