//! Plans of messages that were sent before, so that the next of the same size costs no computing and no memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::PLANNED_BLOCKS_MAX;
use crate::schedule::{Plan, ScheduleKind};

/// A bounded cache of plans for one group and schedule.
#[derive(Debug)]
pub(crate) struct Plans {
    schedule: ScheduleKind,
    members: u32,
    leaves: u32,
    known: HashMap<(u32, u32), Arc<Plan>>,
    planned_blocks: usize,
}

impl Plans {
    /// Of `members` that relay and `leaves` that do not.
    pub(crate) fn new(schedule: ScheduleKind, members: u32, leaves: u32) -> Self {
        Plans { schedule, members, leaves, known: HashMap::new(), planned_blocks: 0 }
    }

    pub(crate) fn schedule(&self) -> ScheduleKind {
        self.schedule
    }

    /// The plan of `vertex` for messages of `blocks` blocks. When the cache is full it starts over: a working set that
    /// large has no steady state to keep.
    pub(crate) fn get(&mut self, blocks: u32, vertex: u32) -> Arc<Plan> {
        if let Some(plan) = self.known.get(&(blocks, vertex)) {
            return plan.clone();
        }
        let plan = Arc::new(Plan::with_leaves(self.schedule, self.members, self.leaves, blocks, vertex));
        let sent: usize = plan.outgoing().iter().map(|outgoing| outgoing.blocks.len()).sum();
        let cost = sent + blocks as usize;
        if self.planned_blocks + cost > PLANNED_BLOCKS_MAX {
            self.known.clear();
            self.planned_blocks = 0;
        }
        self.planned_blocks += cost;
        self.known.insert((blocks, vertex), plan.clone());
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_seen_before_is_not_planned_again_and_the_cache_is_bounded() {
        let mut plans = Plans::new(ScheduleKind::Chain, 3, 0);
        let first = plans.get(5, 1);
        assert!(Arc::ptr_eq(&first, &plans.get(5, 1)));
        assert_ne!(*first, *plans.get(5, 2));
        for blocks in 1000..1400 {
            plans.get(blocks, 1);
            assert!(plans.planned_blocks <= PLANNED_BLOCKS_MAX);
        }
        assert_eq!(*plans.get(5, 1), *first);
    }
}
