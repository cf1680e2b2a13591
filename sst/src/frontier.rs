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
}

impl Frontier {
    /// The frontiers in `column`, which the layout calls `name`, in a group of `members`; 0 everywhere so far.
    pub fn new(column: Column, name: &'static str, members: usize) -> Frontier {
        Frontier { column, name, seen: vec![0; members] }
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
}
