//! The leader's log as far as it is here.

use std::collections::VecDeque;

/// The place of the leader among the senders.
pub(super) const LEADER: usize = 0;

/// Grants in one decision at the most, a word each: as many as there are bytes for in its record.
const GRANTS_MAX: usize = 8;

/// Indices in a row of one sender: (place of the sender, the first, how many).
pub(super) type Part = (usize, u64, u64);

/// The order as the leader's stream says it: its own messages where they stand, and behind each decision the next so
/// many messages of those that it names.
///
/// ```text
///   leader's stream    m0  m1  [2 of s, 1 of t]  m3          (index 2 is a decision)
///   the order          m0  m1  [..]  s0 s1 t0    m3
/// ```
#[derive(Debug)]
pub(super) struct Log {
    /// Of each sender, the first index that is not in the order.
    next: Vec<u64>,
    /// What decisions of the leader give and is not in the order yet, oldest first.
    grants: VecDeque<Grant>,
    /// What they gave and is in the order, but not delivered.
    given: VecDeque<Grant>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    /// Index of the decision.
    record: u64,
    sender: usize,
    count: u64,
}

impl Log {
    pub(super) fn new(senders: usize) -> Log {
        Log { next: vec![0; senders], grants: VecDeque::new(), given: VecDeque::new() }
    }

    /// The leader's decision at index `record` came. Whether it can be one: it gives some messages each of some senders
    /// but the leader.
    pub(super) fn announce(&mut self, record: u64, decision: &[u8]) -> bool {
        let (words, rest) = decision.as_chunks::<8>();
        if words.is_empty() || words.len() > GRANTS_MAX || !rest.is_empty() {
            return false;
        }
        let grants = words.iter().map(|word| decode(u64::from_le_bytes(*word)));
        if grants.clone().any(|(sender, count)| sender == LEADER || sender >= self.next.len() || count == 0) {
            return false;
        }
        self.grants.extend(grants.map(|(sender, count)| Grant { record, sender, count }));
        true
    }

    /// What comes next in the order, if it lies below these ends.
    pub(super) fn next(&mut self, ends: &[u64]) -> Option<Part> {
        if let Some(grant) = self.grants.front_mut()
            && grant.record < self.next[LEADER]
        {
            let sender = grant.sender;
            let count = grant.count.min(ends[sender].saturating_sub(self.next[sender]));
            let given = Grant { count, ..*grant };
            grant.count -= count;
            if grant.count == 0 {
                self.grants.pop_front();
            }
            if count > 0 {
                self.given.push_back(given);
            }
            return self.take(sender, count);
        }
        // Up to the next decision, and with it.
        let until = self.grants.front().map_or(u64::MAX, |grant| grant.record + 1).min(ends[LEADER]);
        self.take(LEADER, until.saturating_sub(self.next[LEADER]))
    }

    fn take(&mut self, sender: usize, count: u64) -> Option<Part> {
        let first = self.next[sender];
        self.next[sender] += count;
        (count > 0).then_some((sender, first, count))
    }

    /// So many of `sender`, which are next, are delivered.
    pub(super) fn deliver(&mut self, sender: usize, mut count: u64) {
        while sender != LEADER && count > 0 {
            let Some(given) = self.given.front_mut() else { return };
            let done = count.min(given.count);
            (given.count, count) = (given.count - done, count - done);
            if given.count == 0 {
                self.given.pop_front();
            }
        }
    }

    /// What is in the order and not delivered, which begins at these indices of senders, is taken back: what gave it
    /// its place may be cut off.
    pub(super) fn take_back(&mut self, first: impl Iterator<Item = (usize, u64)>) {
        first.for_each(|(sender, index)| self.next[sender] = index.min(self.next[sender]));
        while let Some(given) = self.given.pop_back() {
            self.grants.push_front(given);
        }
    }

    /// What comes next where a view ends at `trim`: what was given a place and is cut off is passed over; behind the
    /// log comes what was given none, by index and then sender.
    pub(super) fn next_to(&mut self, trim: &[u64]) -> Option<Part> {
        loop {
            if let Some(part) = self.next(trim) {
                // It is delivered at once.
                self.given.clear();
                return Some(part);
            }
            match self.grants.front() {
                Some(grant) if grant.record < self.next[LEADER] => self.grants.pop_front(),
                _ => break,
            };
        }
        let left = (0..).zip(&self.next).filter(|(sender, next)| **next < trim[*sender]).map(|(sender, next)| (*next, sender));
        let (_, sender) = left.min()?;
        self.take(sender, 1)
    }

    /// Puts a place for everything that is here below `frontiers` into `decision`, of which the leader has `said` so
    /// much. Whether there is anything.
    pub(super) fn decide(frontiers: &[u64], said: &mut [u64], decision: &mut Vec<u8>) -> bool {
        decision.clear();
        let news = (0..).zip(said).zip(frontiers).skip(LEADER + 1).filter(|((_, said), frontier)| **said < **frontier);
        for ((sender, said), frontier) in news.take(GRANTS_MAX) {
            decision.extend_from_slice(&encode(sender, frontier - *said).to_le_bytes());
            *said = *frontier;
        }
        !decision.is_empty()
    }
}

/// The sender in the low 16 bits, above it how many.
fn encode(sender: usize, count: u64) -> u64 {
    count << 16 | sender as u64
}

fn decode(word: u64) -> (usize, u64) {
    ((word & 0xFFFF) as usize, word >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decision(grants: &[(usize, u64)]) -> Vec<u8> {
        grants.iter().flat_map(|&(sender, count)| encode(sender, count).to_le_bytes()).collect()
    }

    fn all(mut next: impl FnMut() -> Option<Part>) -> Vec<Part> {
        std::iter::from_fn(&mut next).collect()
    }

    #[test]
    fn the_leaders_own_messages_have_their_place_and_decisions_give_one_to_others() {
        let mut log = Log::new(3);
        assert!(log.announce(2, &decision(&[(1, 2), (2, 1)])));
        assert_eq!(all(|| log.next(&[2, 9, 9])), [(0, 0, 2)], "the decision is not here");
        assert_eq!(all(|| log.next(&[4, 1, 9])), [(0, 2, 1), (1, 0, 1)], "it waits for what it lacks");
        assert_eq!(all(|| log.next(&[4, 2, 9])), [(1, 1, 1), (2, 0, 1), (0, 3, 1)]);
    }

    #[test]
    fn at_the_end_what_is_lost_is_passed_over_and_what_has_no_place_comes_last() {
        let mut log = Log::new(3);
        log.announce(0, &decision(&[(1, 3)]));
        log.announce(2, &decision(&[(2, 1), (1, 1)]));
        let trim = [4, 1, 3];
        let expected = [(0, 0, 1), (1, 0, 1), (0, 1, 2), (2, 0, 1), (0, 3, 1), (2, 1, 1), (2, 2, 1)];
        assert_eq!(all(|| log.next_to(&trim)), expected, "1 and 2 of sender 1 are lost");
        let mut short = Log::new(3);
        short.announce(0, &decision(&[(1, 3)]));
        assert_eq!(all(|| short.next_to(&[0, 2, 2])), [(1, 0, 1), (2, 0, 1), (1, 1, 1), (2, 1, 1)], "the decision is lost");
    }

    #[test]
    fn a_decision_is_about_senders_that_do_not_lead() {
        let mut log = Log::new(3);
        for bad in [decision(&[]), decision(&[(0, 1)]), decision(&[(3, 1)]), decision(&[(1, 0)]), decision(&[(1, 1); 9]), vec![1; 9]] {
            assert!(!log.announce(0, &bad), "{bad:?}");
        }
        assert!(log.announce(0, &decision(&[(1, 1); 8])));
    }

    #[test]
    fn everything_is_given_a_place_once() {
        let (mut said, mut bytes) = (vec![0; 11], Vec::new());
        let frontiers = [5, 1, 0, 3, 1, 1, 1, 1, 1, 1, 1];
        assert!(Log::decide(&frontiers, &mut said, &mut bytes));
        assert_eq!(bytes, decision(&[(1, 1), (3, 3), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1)]));
        assert!(Log::decide(&frontiers, &mut said, &mut bytes));
        assert_eq!(bytes, decision(&[(10, 1)]));
        assert!(!Log::decide(&frontiers, &mut said, &mut bytes));
    }

    proptest! {
        #[test]
        fn whoever_knows_more_knows_the_same_beginning_and_the_end_keeps_it(
            grants in proptest::collection::vec((0u64..4, 1usize..4, 1u64..4), 0..12),
            known in proptest::collection::vec(0u64..12, 4),
            more in proptest::collection::vec(0u64..6, 4),
            keep in 0usize..5,
        ) {
            let mut record = 0;
            let mut logs = [Log::new(4), Log::new(4)];
            for (skip, sender, count) in grants {
                record += skip;
                logs.iter_mut().for_each(|log| assert!(log.announce(record, &decision(&[(sender, count)]))));
                record += 1;
            }
            let each = |(sender, first, count): Part| (first..first + count).map(move |index| (sender, index));
            let single = |parts: Vec<Part>| parts.into_iter().flat_map(each).collect::<Vec<_>>();
            let trim: Vec<u64> = known.iter().zip(&more).map(|(known, more)| known + more).collect();
            let [mut less, mut whole] = logs;
            let accepted = all(|| less.next(&known));
            // Some of it is delivered.
            let (delivered, open) = accepted.split_at(accepted.len() * keep / 4);
            delivered.iter().for_each(|&(sender, _, count)| less.deliver(sender, count));
            less.take_back(open.iter().map(|&(sender, index, _)| (sender, index)));
            let beginning = single(delivered.to_vec());
            let mut mine = beginning.clone();
            mine.extend(single(all(|| {
                less.take_back(std::iter::empty());
                less.next_to(&trim)
            })));
            let theirs = single(all(|| whole.next_to(&trim)));
            prop_assert_eq!(&mine, &theirs);
            prop_assert!(theirs.starts_with(&beginning));
            prop_assert_eq!(theirs.len() as u64, trim.iter().sum::<u64>());
        }
    }
}
