//! Plans of messages that were sent before, so that the next of the same size costs no computing and no memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::PLANNED_BLOCKS_MAX;
use crate::schedule::{Plan, ScheduleKind};

/// A bounded cache of plans for one group.
#[derive(Debug)]
pub(crate) struct Plans {
    members: u32,
    leaves: u32,
    /// By schedule, blocks and vertex.
    known: HashMap<(ScheduleKind, u32, u32), Arc<Plan>>,
    planned_blocks: usize,
}

impl Plans {
    /// Of `members` that relay and `leaves` that do not.
    pub(crate) fn new(members: u32, leaves: u32) -> Self {
        Plans { members, leaves, known: HashMap::new(), planned_blocks: 0 }
    }

    /// The plan of `vertex` for messages of `blocks` blocks. When the cache is full it starts over: a working set that
    /// large has no steady state to keep.
    pub(crate) fn get(&mut self, schedule: ScheduleKind, blocks: u32, vertex: u32) -> Arc<Plan> {
        if let Some(plan) = self.known.get(&(schedule, blocks, vertex)) {
            return plan.clone();
        }
        let plan = Arc::new(Plan::with_leaves(schedule, self.members, self.leaves, blocks, vertex));
        let sent: usize = plan.outgoing().iter().map(|outgoing| outgoing.blocks.len()).sum();
        let cost = sent + blocks as usize;
        if self.planned_blocks + cost > PLANNED_BLOCKS_MAX {
            self.known.clear();
            self.planned_blocks = 0;
        }
        self.planned_blocks += cost;
        self.known.insert((schedule, blocks, vertex), plan.clone());
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_seen_before_is_not_planned_again_and_the_cache_is_bounded() {
        let (mut plans, chain) = (Plans::new(3, 0), ScheduleKind::Chain);
        let first = plans.get(chain, 5, 1);
        assert!(Arc::ptr_eq(&first, &plans.get(chain, 5, 1)));
        assert_ne!(*first, *plans.get(chain, 5, 2));
        assert_ne!(*first, *plans.get(ScheduleKind::Sequential, 5, 1));
        for blocks in 1000..1400 {
            plans.get(chain, blocks, 1);
            assert!(plans.planned_blocks <= PLANNED_BLOCKS_MAX);
        }
        assert_eq!(*plans.get(chain, 5, 1), *first);
    }
}
