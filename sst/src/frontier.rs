//! A monotone word of every row, as this member reads it.

use squall_transport::Rank;

use crate::layout::Column;
use crate::malformed::Malformed;
use crate::table::Table;

/// A monotone word of every row, as this member last read it. A word that goes back, or beyond what its writer can
/// know, is its writer's fault.
#[derive(Clone, Debug)]
pub struct Frontier {
    column: Column,
    name: &'static str,
    seen: Vec<u64>,
    /// Room to sort them in.
    sorted: Vec<u64>,
}

impl Frontier {
    /// The frontiers in `column`, which the layout calls `name`, in a group of `members`; 0 everywhere so far.
    pub fn new(column: Column, name: &'static str, members: usize) -> Frontier {
        Frontier { column, name, seen: vec![0; members], sorted: Vec::with_capacity(members) }
    }

    /// The least of the others' words and of `own`, which is mine as I know it and not as it stands in the table.
    /// Nobody can be beyond `most`.
    ///
    /// # Errors
    /// A word went back, or is above `most`.
    #[inline]
    pub fn least(&mut self, table: &Table, own: u64, most: u64) -> Result<u64, Malformed> {
        self.least_of(table, self.seen.len(), own, most)
    }

    /// As [`Frontier::least`], of the first `members` members only.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn least_of(&mut self, table: &Table, members: usize, own: u64, most: u64) -> Result<u64, Malformed> {
        let mut least = own;
        for (row, seen) in self.seen[..members].iter_mut().enumerate() {
            let row = Rank::new(row);
            if row == table.me() {
                continue;
            }
            let value = table.get(self.column, row);
            if value < *seen || value > most {
                return Err(Malformed { member: row, column: self.name, value });
            }
            *seen = value;
            least = least.min(value);
        }
        Ok(least)
    }

    /// What `needed` of the first `members` members have reached, and what all of them have. `own` is mine as I know
    /// it, and counts if I am one of them.
    ///
    /// Worked example: of four that are at 9, 4, 7 and 5, three have reached 5, and all have reached 4.
    ///
    /// # Errors
    /// A word went back.
    ///
    /// # Panics
    /// If none is needed, or more than there are.
    pub fn reached_by(&mut self, table: &Table, members: usize, needed: usize, own: u64) -> Result<(u64, u64), Malformed> {
        let all = self.least_of(table, members, u64::MAX, u64::MAX)?;
        let me = table.me().index();
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.seen[..members]);
        if let Some(mine) = self.sorted.get_mut(me) {
            *mine = own;
        }
        self.sorted.sort_unstable();
        Ok((self.sorted[members - needed], if me < members { all.min(own) } else { all }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::layout::LayoutBuilder;
    use squall_transport::{Region, RegionOptions};

    #[test]
    fn words_that_go_back_or_too_far_are_their_writers_fault_and_my_own_row_is_not_read() {
        let (layout, column) = LayoutBuilder::compose(3, |builder| builder.word("f"));
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        let table = Table::new(region.clone(), &layout, Rank::new(1));
        let mut frontier = Frontier::new(column, "f", 3);
        let write = |row, value| region.word(column.at(Rank::new(row))).store(value, Ordering::Release);
        write(0, 5);
        write(1, u64::MAX);
        write(2, 7);
        assert_eq!(frontier.least(&table, 6, 7), Ok(5));
        assert_eq!(frontier.least(&table, 4, 7), Ok(4));
        write(2, 8);
        assert_eq!(frontier.least(&table, 6, 7), Err(Malformed { member: Rank::new(2), column: "f", value: 8 }));
        write(2, 7);
        write(0, 4);
        assert_eq!(frontier.least(&table, 6, 7), Err(Malformed { member: Rank::new(0), column: "f", value: 4 }));
    }

    #[test]
    fn what_some_have_reached_is_counted_from_the_top() {
        let (layout, column) = LayoutBuilder::compose(5, |builder| builder.word("f"));
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        let write = |row, value| region.word(column.at(Rank::new(row))).store(value, Ordering::Release);
        [9, 4, 7, 5, 99].into_iter().enumerate().for_each(|(row, value)| write(row, value));
        let (voter, learner) = (Table::new(region.clone(), &layout, Rank::new(1)), Table::new(region.clone(), &layout, Rank::new(4)));
        let reached = |table: &Table, needed, own| Frontier::new(column, "f", 5).reached_by(table, 4, needed, own);
        assert_eq!((1..=4).map(|needed| reached(&voter, needed, 4).unwrap().0).collect::<Vec<_>>(), [9, 7, 5, 4]);
        assert_eq!(reached(&voter, 3, 8), Ok((7, 5)), "mine is 8, whatever the table says");
        assert_eq!(reached(&learner, 3, 8), Ok((5, 4)), "mine does not count");
        let mut frontier = Frontier::new(column, "f", 5);
        frontier.reached_by(&learner, 4, 3, 0).unwrap();
        write(2, 6);
        assert_eq!(frontier.reached_by(&learner, 4, 3, 0), Err(Malformed { member: Rank::new(2), column: "f", value: 6 }));
    }
}
