//! Where my own messages stand in the log.

use std::collections::VecDeque;

use crate::orderer::Run;

/// Where my own messages stand in the log, as long as some member may not have delivered them.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    runs: VecDeque<Run>,
    /// Index before the first of them.
    done: u64,
}

impl Own {
    pub(super) fn push(&mut self, run: Run) {
        self.runs.push_back(run);
    }

    /// My index below which all stands before `position`.
    pub(super) fn below(&self, position: u64) -> u64 {
        let before = self.runs.iter().take_while(|run| run.seq < position).last();
        before.map_or(self.done, |run| run.index + run.count.min(position - run.seq))
    }

    /// The same, and forgets what stands before `position`.
    pub(super) fn forget(&mut self, position: u64) -> u64 {
        while let Some(run) = self.runs.front().filter(|run| run.seq + run.count <= position) {
            self.done = run.index + run.count;
            self.runs.pop_front();
        }
        self.below(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_become_indices() {
        let mut own = Own::default();
        own.push(Run { seq: 2, sender: 1, index: 0, count: 3 });
        own.push(Run { seq: 9, sender: 1, index: 3, count: 1 });
        assert_eq!([0, 2, 3, 5, 9, 10, 99].map(|position| own.below(position)), [0, 0, 1, 3, 3, 4, 4]);
        assert_eq!([4, 9, 99].map(|position| own.forget(position)), [2, 3, 4]);
        assert!(own.runs.is_empty());
    }
}
