//! One member's copy of the table.

use std::sync::atomic::Ordering;

use squall_transport::region::{Region, Ring};
use squall_transport::{Place, Rank, TABLE};

use crate::layout::{Column, Layout, RingColumn};

/// One member's copy of the table, in a region that the others may write.
#[derive(Clone, Debug)]
pub struct Table {
    region: Region,
    me: Rank,
    members: usize,
}

impl Table {
    /// The copy of member `me` in `region`.
    ///
    /// # Panics
    /// If the region is smaller than the layout.
    pub fn new(region: Region, layout: &Layout, me: Rank) -> Table {
        assert!(region.bytes() as u64 >= layout.bytes(), "the table does not fit its region");
        Table { region, me, members: layout.members() }
    }

    /// My row.
    #[inline]
    pub fn me(&self) -> Rank {
        self.me
    }

    /// Rows.
    #[inline]
    pub fn members(&self) -> usize {
        self.members
    }

    /// What `row` last told me in `column`.
    #[inline]
    pub fn get(&self, column: Column, row: Rank) -> u64 {
        // Acquire: pairs with the release of the Word that landed here; what that peer wrote to me before it is visible
        // after this load.
        self.region.word(column.at(row)).load(Ordering::Acquire)
    }

    /// Sets my own word here, without telling anybody.
    #[inline]
    pub fn set(&self, column: Column, value: u64) {
        self.region.word(column.at(self.me)).store(value, Ordering::Release);
    }

    /// The least value of `column` over all rows.
    #[inline]
    pub fn min(&self, column: Column) -> u64 {
        self.min_of(column, self.members)
    }

    /// The least value of `column` over the first `rows` rows.
    #[inline]
    pub fn min_of(&self, column: Column, rows: usize) -> u64 {
        (0..rows).map(|row| self.get(column, Rank::new(row))).min().unwrap_or(0)
    }

    /// Where my word of `column` lies at every member.
    #[inline]
    pub fn place(&self, column: Column) -> Place {
        Place::new(TABLE, column.at(self.me))
    }

    /// Ring `index` of `column` in my copy.
    pub fn ring(&self, column: RingColumn, index: usize) -> Ring {
        Ring::new(&self.region, column.at(index), column.bytes())
    }
}
