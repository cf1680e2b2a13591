//! One sender's stream as the order has it: what was stamped here, and what is decided.

use std::collections::VecDeque;

/// One sender's stream as the order has it. Indices, oldest first:
///
/// ```text
///   delivered      ordered        decided          stamped     frontier
///   ---|--------------|--------------|----------------|-----------|----
///      | in the order | final times  | open: my stamp | decisions | not here
///                     | are known    | is a bound     |
/// ```
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// Everything below is here.
    pub(super) frontier: u64,
    /// My stamps of what is open, a batch each.
    stamps: VecDeque<Batch>,
    /// Everything below has a stamp of mine; the last one.
    pub(super) stamped: u64,
    pub(super) last_stamp: u64,
    /// Decisions that came and lie beyond the frontier.
    pending: VecDeque<Ruling>,
    /// Indices of decisions that no ruling covers yet.
    records: VecDeque<u64>,
    /// What is decided and not delivered, and how many of these are in the order.
    rulings: VecDeque<Ruling>,
    ordered_rulings: usize,
    /// Index below which all is in the order; index below which final times are known; index below which all is
    /// delivered.
    pub(super) ordered: u64,
    pub(super) decided: u64,
    pub(super) delivered: u64,
    /// The newest decision that came: below which index, and its time.
    last: (u64, u64),
}

/// Indices up to `until` that I stamped at one time.
#[derive(Clone, Copy, Debug)]
struct Batch {
    until: u64,
    time: u64,
}

/// A decision: what is below `until` and was not decided before has this final time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) until: u64,
    pub(super) time: u64,
    /// The index of the decision itself.
    pub(super) record: u64,
}

impl Source {
    /// A decision came. Whether it can be one: it is about what lies before it, and more of it than the last one, at no
    /// earlier time.
    pub(super) fn announce(&mut self, ruling: Ruling) -> bool {
        let (until, time) = self.last;
        if ruling.until <= until || ruling.until > ruling.record || ruling.time < time {
            return false;
        }
        self.last = (ruling.until, ruling.time);
        self.records.push_back(ruling.record);
        self.pending.push_back(ruling);
        true
    }

    /// Everything below `frontier` is here: decisions among it count. Whether any message came that is no decision; the
    /// latest final time that came.
    pub(super) fn advance(&mut self, frontier: u64) -> (bool, Option<u64>) {
        let came = frontier - self.frontier;
        self.frontier = frontier;
        let (mut decisions, mut latest) = (0, None);
        while let Some(&ruling) = self.pending.front().filter(|ruling| ruling.record < frontier) {
            self.pending.pop_front();
            (decisions, latest) = (decisions + 1, Some(ruling.time));
            self.rule(ruling);
        }
        (came > decisions, latest)
    }

    /// Decisions that follow what is decided go with it: nobody asked for their time.
    fn rule(&mut self, mut ruling: Ruling) {
        while let Some(&record) = self.records.front().filter(|&&record| record <= ruling.until.min(ruling.record)) {
            self.records.pop_front();
            ruling.until += u64::from(record == ruling.until);
        }
        self.decided = ruling.until;
        self.rulings.push_back(ruling);
        while self.stamps.front().is_some_and(|batch| batch.until <= self.decided) {
            self.stamps.pop_front();
        }
    }

    /// Everything up to the frontier that has no stamp gets this one.
    pub(super) fn stamp(&mut self, time: u64) {
        (self.stamped, self.last_stamp) = (self.frontier, time);
        self.stamps.push_back(Batch { until: self.frontier, time });
    }

    /// My stamp of what lies before `until` and was not decided, if it is open here.
    pub(super) fn stamp_before(&self, until: u64) -> Option<u64> {
        self.stamps.iter().find(|batch| batch.until >= until).map(|batch| batch.time)
    }

    /// My stamp of the first message that is open: its final time is not before it.
    pub(super) fn open(&self) -> Option<u64> {
        self.stamps.front().map(|batch| batch.time)
    }

    /// The next ruling that is not in the order.
    pub(super) fn next_ruling(&self) -> Option<Ruling> {
        self.rulings.get(self.ordered_rulings).copied()
    }

    /// It is in the order: its first index, and how many.
    pub(super) fn order(&mut self, ruling: Ruling) -> (u64, u64) {
        let first = std::mem::replace(&mut self.ordered, ruling.until);
        self.ordered_rulings += 1;
        (first, ruling.until - first)
    }

    /// The first ruling that is not delivered, if its decision lies below `trim`.
    pub(super) fn ruling_below(&self, trim: u64) -> Option<Ruling> {
        self.rulings.front().copied().filter(|ruling| ruling.record < trim)
    }

    /// Everything below `until` is delivered.
    pub(super) fn deliver(&mut self, until: u64) {
        self.delivered = until;
        while self.rulings.front().is_some_and(|ruling| ruling.until <= until) {
            self.rulings.pop_front();
            self.ordered_rulings = self.ordered_rulings.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_go_with_what_lies_before_them() {
        let mut source = Source::default();
        // 0 and 1 are messages, 2 decides on 0, 3 on 1, 4 is a message.
        assert!(source.announce(Ruling { until: 1, time: 5, record: 2 }));
        assert!(source.announce(Ruling { until: 2, time: 7, record: 3 }));
        assert_eq!(source.advance(2), (true, None));
        source.stamp(3);
        assert_eq!((source.open(), source.next_ruling()), (Some(3), None), "no decision is received yet");
        assert_eq!(source.advance(3), (false, Some(5)));
        assert_eq!(source.next_ruling().map(|ruling| source.order(ruling)), Some((0, 1)));
        assert_eq!(source.open(), Some(3), "of index 1");
        assert_eq!(source.advance(5), (true, Some(7)));
        assert_eq!(source.next_ruling().map(|ruling| source.order(ruling)), Some((1, 3)), "with both decisions");
        assert_eq!((source.open(), source.decided), (None, 4));
        source.stamp(9);
        assert_eq!((source.open(), source.last_stamp), (Some(9), 9));
    }

    #[test]
    fn a_decision_is_about_what_lies_before_it_and_never_earlier_than_the_last() {
        let mut source = Source::default();
        assert!(!source.announce(Ruling { until: 0, time: 1, record: 3 }), "about nothing");
        assert!(!source.announce(Ruling { until: 4, time: 1, record: 3 }), "about itself");
        assert!(source.announce(Ruling { until: 2, time: 4, record: 3 }));
        assert!(!source.announce(Ruling { until: 2, time: 5, record: 4 }), "again");
        assert!(!source.announce(Ruling { until: 3, time: 3, record: 4 }), "earlier");
    }

    #[test]
    fn what_is_delivered_is_forgotten_and_a_ruling_beyond_the_trim_is_none() {
        let mut source = Source::default();
        source.announce(Ruling { until: 2, time: 4, record: 2 });
        source.announce(Ruling { until: 5, time: 6, record: 6 });
        source.advance(7);
        assert_eq!(source.ruling_below(3).map(|ruling| ruling.until), Some(3));
        source.deliver(1);
        assert_eq!(source.ruling_below(3).map(|ruling| ruling.until), Some(3), "a part of it is left");
        source.deliver(3);
        assert_eq!((source.ruling_below(6), source.ruling_below(7).map(|ruling| ruling.until)), (None, Some(5)));
    }
}
