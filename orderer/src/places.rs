//! The order as far as it is known here and not delivered everywhere.

use std::collections::VecDeque;

use crate::orderer::Run;

/// The order as far as it is known here: what is to be delivered next, and where my own stream stands in it.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Known and not delivered, oldest first.
    runs: VecDeque<Run>,
    ordered: u64,
    delivered: u64,
    /// Mine that some member may not have delivered, and the index before which all have.
    own: VecDeque<Run>,
    own_done: u64,
}

impl Places {
    /// The next ones of `sender` come behind all others.
    pub(crate) fn push(&mut self, sender: usize, index: u64, count: u64, is_mine: bool) {
        let run = Run { seq: self.ordered, sender, index, count };
        self.ordered += count;
        self.runs.push_back(run);
        if is_mine {
            self.own.push_back(run);
        }
    }

    /// First position that is not known.
    pub(crate) fn ordered(&self) -> u64 {
        self.ordered
    }

    /// First position that is not delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Takes the next ones, `max` at the most, below position `stable`.
    pub(crate) fn next(&mut self, max: u64, stable: u64) -> Option<Run> {
        let first = self.runs.front_mut()?;
        let count = first.count.min(max).min(stable.saturating_sub(first.seq));
        if count == 0 {
            return None;
        }
        let run = Run { count, ..*first };
        if count == first.count {
            self.runs.pop_front();
        } else {
            *first = Run { seq: first.seq + count, index: first.index + count, count: first.count - count, ..*first };
        }
        self.delivered += count;
        Some(run)
    }

    /// Takes what is known and not delivered: it is delivered by another rule.
    pub(crate) fn take_known(&mut self) -> impl Iterator<Item = Run> {
        self.runs.drain(..)
    }

    /// The next `count` positions are delivered by another rule, from here on: the first of them.
    pub(crate) fn pass(&mut self, count: u64) -> u64 {
        self.delivered += count;
        self.delivered - count
    }

    /// Index of mine that lies at position `seq` or behind it, and nothing of mine before.
    pub(crate) fn own_below(&self, seq: u64) -> u64 {
        let before = |run: &&Run| run.seq < seq;
        self.own.iter().take_while(before).last().map_or(self.own_done, |run| run.index + run.count.min(seq - run.seq))
    }

    /// The same; what lies before it is not asked for again.
    pub(crate) fn forget_own(&mut self, seq: u64) -> u64 {
        while let Some(&run) = self.own.front().filter(|run| run.seq + run.count <= seq) {
            self.own.pop_front();
            self.own_done = run.index + run.count;
        }
        self.own_below(seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mine_are_found_by_their_place_in_the_order() {
        let mut places = Places::default();
        // Positions 0..2 are mine, 2..5 another's, 5..8 mine.
        places.push(1, 0, 2, true);
        places.push(0, 0, 3, false);
        places.push(1, 2, 3, true);
        let below: Vec<u64> = (0..10).map(|seq| places.own_below(seq)).collect();
        assert_eq!(below, [0, 1, 2, 2, 2, 2, 3, 4, 5, 5]);
        assert_eq!((places.forget_own(6), places.own_below(2), places.own_below(7)), (3, 2, 4));
    }

    #[test]
    fn a_run_is_taken_in_pieces_and_not_beyond_what_is_stable() {
        let mut places = Places::default();
        places.push(0, 4, 5, false);
        places.push(1, 0, 1, true);
        assert_eq!(places.next(2, 3), Some(Run { seq: 0, sender: 0, index: 4, count: 2 }));
        assert_eq!(places.next(9, 3), Some(Run { seq: 2, sender: 0, index: 6, count: 1 }));
        assert_eq!((places.next(9, 3), places.next(0, 9)), (None, None));
        assert_eq!(places.next(9, 9), Some(Run { seq: 3, sender: 0, index: 7, count: 2 }));
        assert_eq!(places.next(9, 9), Some(Run { seq: 5, sender: 1, index: 0, count: 1 }));
        assert_eq!((places.delivered(), places.ordered(), places.pass(3), places.delivered()), (6, 6, 6, 9));
    }
}
