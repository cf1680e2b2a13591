//! What the others have stamped of my stream, and what I have decided on it.

use std::collections::VecDeque;

use squall_sst::{Column, Malformed, Table};
use squall_transport::Rank;

use crate::columns::Columns;

/// What the others have stamped of my stream, and what I have decided on it.
#[derive(Debug)]
pub(super) struct Answers {
    /// What each member said last: below which index it has stamped, and its latest stamp.
    seen: Vec<(u64, u64)>,
    /// The first index that I have not decided on and that is no decision.
    open: u64,
    /// Indices of my decisions behind that.
    decisions: VecDeque<u64>,
}

impl Answers {
    pub(super) fn new(members: usize) -> Answers {
        Answers { seen: vec![(0, 0); members], open: 0, decisions: VecDeque::new() }
    }

    /// A decision of mine is at `index`.
    pub(super) fn put(&mut self, index: u64) {
        self.decisions.push_back(index);
        self.pass_decisions();
    }

    /// The first index of mine that is open.
    pub(super) fn next_open(&self) -> u64 {
        self.open
    }

    fn pass_decisions(&mut self) {
        while let Some(&index) = self.decisions.front().filter(|&&index| index <= self.open) {
            self.decisions.pop_front();
            self.open += u64::from(index == self.open);
        }
    }

    /// Below which index all of the first `voters` members have stamped, of which I `stamped` so much of what I have
    /// `sent`; `None` if nothing open is.
    ///
    /// # Errors
    /// A member has stamped what I have not sent, or takes back what it has stamped.
    pub(super) fn until(
        &mut self,
        table: &Table,
        column: Column,
        voters: usize,
        (stamped, sent): (u64, u64),
    ) -> Result<Option<u64>, Malformed> {
        let mut least = stamped;
        for (row, seen) in self.others(table, voters) {
            let value = table.get(column, row);
            if value < seen.0 || value > sent {
                return Err(Malformed { member: row, column: Columns::STAMPED, value });
            }
            seen.0 = value;
            least = least.min(value);
        }
        Ok((least > self.open).then_some(least))
    }

    /// The latest stamp of the first `voters` members, mine among them. Read behind what it is about.
    ///
    /// # Errors
    /// A clock goes back, or comes to `end`.
    pub(super) fn latest(&mut self, table: &Table, column: Column, voters: usize, own: u64, end: u64) -> Result<u64, Malformed> {
        let mut latest = own;
        for (row, seen) in self.others(table, voters) {
            let value = table.get(column, row);
            if value < seen.1 || value >= end {
                return Err(Malformed { member: row, column: Columns::STAMP, value });
            }
            seen.1 = value;
            latest = latest.max(value);
        }
        Ok(latest)
    }

    fn others(&mut self, table: &Table, voters: usize) -> impl Iterator<Item = (Rank, &mut (u64, u64))> {
        let me = table.me();
        self.seen[..voters].iter_mut().enumerate().map(|(row, seen)| (Rank::new(row), seen)).filter(move |(row, _)| *row != me)
    }

    /// Whether a decision on what lies below `until` leaves nothing open below `end`.
    pub(super) fn would_leave_none(&self, until: u64, end: u64) -> bool {
        let behind = self.decisions.iter().filter(|&&index| index >= until).count() as u64;
        until + behind >= end
    }

    /// I decide on what lies below `until`.
    pub(super) fn say(&mut self, until: u64) {
        self.open = until;
        self.pass_decisions();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_not_open() {
        let mut answers = Answers::new(2);
        answers.say(2);
        // 2 is a message, 3 and 4 are decisions.
        [3, 4].into_iter().for_each(|index| answers.put(index));
        assert_eq!(answers.next_open(), 2);
        assert!(!answers.would_leave_none(2, 5) && answers.would_leave_none(3, 5) && !answers.would_leave_none(3, 6));
        answers.say(3);
        assert_eq!(answers.next_open(), 5);
        answers.put(5);
        assert_eq!(answers.next_open(), 6);
    }
}
