//! A monotone word of one's own row that everyone else reads.

use squall_transport::{Outbox, Place, Rank, TABLE, Write};

use crate::layout::Column;
use crate::table::Table;

/// A monotone word of my row, pushed by value to every other member, or to those who read it.
///
/// Pushes coalesce: however often it was raised since the last push, one Word a reader goes out, and a reader whose
/// queue is full gets the then newest value later.
#[derive(Clone, Debug)]
pub struct Counter {
    column: Column,
    value: u64,
    behind: bool,
    /// Who reads it, and what each was told.
    readers: Vec<(Rank, u64)>,
}

impl Counter {
    /// The counter of `column`, 0 everywhere, in a group of `members` who all read it.
    pub fn new(column: Column, members: usize) -> Counter {
        Counter::read_by(column, (0..members).map(Rank::new))
    }

    /// The counter of `column`, 0 everywhere, of which only `readers` are told: a Word costs its sender and its reader,
    /// and wakes the reader.
    pub fn read_by(column: Column, readers: impl IntoIterator<Item = Rank>) -> Counter {
        Counter { column, value: 0, behind: false, readers: readers.into_iter().map(|reader| (reader, 0)).collect() }
    }

    /// Its value.
    #[inline]
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Where it lies.
    #[inline]
    pub fn column(&self) -> Column {
        self.column
    }

    /// The least value over all rows: the others' as they stand in the table, mine as I know it.
    #[inline]
    pub fn least(&self, table: &Table) -> u64 {
        let others = (0..table.members()).map(Rank::new).filter(|&row| row != table.me());
        others.map(|row| table.get(self.column, row)).fold(self.value, u64::min)
    }

    /// Raises it to `value` here; whether that is news.
    ///
    /// # Panics
    /// If `value` is below the present one: frontiers do not go back.
    #[inline]
    pub fn raise(&mut self, table: &Table, value: u64) -> bool {
        assert!(value >= self.value, "a counter does not go back");
        if value == self.value {
            return false;
        }
        self.value = value;
        self.behind = true;
        table.set(self.column, value);
        true
    }

    /// Tells every reader that does not have the newest value. Whether anything was pushed.
    #[inline]
    pub fn push(&mut self, table: &Table, outbox: &mut Outbox) -> bool {
        if !self.behind {
            return false;
        }
        let at = Place::new(TABLE, self.column.at(table.me()));
        let mut pushed = false;
        self.behind = false;
        for (reader, told) in &mut self.readers {
            if *reader == table.me() || *told == self.value {
                continue;
            }
            if outbox.push(*reader, Write::Word { at, value: self.value }).is_ok() {
                *told = self.value;
                pushed = true;
            } else {
                self.behind = true;
            }
        }
        pushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LayoutBuilder;
    use squall_transport::outbox::OUTBOX_WRITES_MAX;
    use squall_transport::{Region, RegionOptions};

    fn table() -> (Table, Column) {
        let (layout, column) = LayoutBuilder::compose(3, |builder| builder.word("a"));
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        (Table::new(region, &layout, Rank::new(1)), column)
    }

    #[test]
    fn raises_between_two_pushes_cost_one_word_a_peer() {
        let (table, column) = table();
        let (mut counter, mut outbox) = (Counter::new(column, 3), Outbox::new(3));
        assert!(counter.raise(&table, 1) && counter.raise(&table, 5) && !counter.raise(&table, 5));
        assert!(counter.push(&table, &mut outbox) && !counter.push(&table, &mut outbox));
        for peer in [0, 2] {
            assert_eq!(outbox.pop(Rank::new(peer)), Some(Write::Word { at: table.place(column), value: 5 }));
            assert_eq!(outbox.pop(Rank::new(peer)), None);
        }
        assert_eq!((table.get(column, Rank::new(1)), counter.least(&table)), (5, 0));
    }

    #[test]
    fn a_peer_whose_queue_is_full_gets_the_newest_value_later() {
        let (table, column) = table();
        let (mut counter, mut outbox) = (Counter::new(column, 3), Outbox::new(3));
        for i in 0..OUTBOX_WRITES_MAX as u64 {
            outbox.push(Rank::new(2), Write::Word { at: Place::new(TABLE, 8 * (100 + i)), value: 0 }).unwrap();
        }
        counter.raise(&table, 1);
        assert!(counter.push(&table, &mut outbox));
        outbox.discard(Rank::new(2));
        counter.raise(&table, 2);
        counter.push(&table, &mut outbox);
        assert_eq!(outbox.pop(Rank::new(2)), Some(Write::Word { at: table.place(column), value: 2 }));
    }
}
