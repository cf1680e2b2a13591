//! Where every column lies, the same at every member.

use squall_transport::Rank;

/// Rows start at multiples of this: two cache lines, since processors fetch lines in pairs, so that no two writers
/// share one.
const ROW_ALIGNMENT: u64 = 128;
/// Rings start at multiples of this.
const RING_ALIGNMENT: u64 = 4096;

/// One word in every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    offset: u64,
    row_bytes: u64,
}

impl Column {
    /// Byte offset of this column's word of `row` in the table's region.
    #[inline]
    pub fn at(self, row: Rank) -> u64 {
        self.offset + self.row_bytes * u64::from(row.0)
    }
}

/// A vector of words in every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    first: Column,
    len: u64,
}

impl Columns {
    /// The column of element `index`.
    ///
    /// # Panics
    /// If `index` is not below [`Columns::len`].
    #[inline]
    pub fn get(self, index: usize) -> Column {
        assert!((index as u64) < self.len, "element {index} of a vector of {}", self.len);
        Column { offset: self.first.offset + 8 * index as u64, ..self.first }
    }

    /// Elements a row.
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// A byte ring for each of some members, by the order in which they were named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingColumn {
    offset: u64,
    bytes: u64,
    rings: u64,
}

impl RingColumn {
    /// Byte offset of ring `index` in the table's region.
    ///
    /// # Panics
    /// If there is no such ring.
    pub fn at(self, index: usize) -> u64 {
        assert!((index as u64) < self.rings, "ring {index} of {}", self.rings);
        self.offset + self.bytes.next_multiple_of(RING_ALIGNMENT) * index as u64
    }

    /// Bytes of each ring.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// How many rings there are.
    pub fn rings(self) -> u64 {
        self.rings
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: &'static str,
    offset: u64,
    words: u64,
}

/// Composes a table. Every protocol adds its columns in turn, in the same order at every member.
///
/// Rings come after the rows, and the size of a row is known only once all columns are in; so columns are claimed in a
/// first pass and handed out in the second: see [`LayoutBuilder::compose`].
#[derive(Clone, Debug)]
pub struct LayoutBuilder {
    members: usize,
    columns: Vec<Named>,
    row_used: u64,
    row_bytes: u64,
    rings: Vec<(&'static str, u64, u64)>,
    rings_used: u64,
}

impl LayoutBuilder {
    /// Composes the table of `members` rows: `columns` is called twice, first to add up sizes, then to hand out the
    /// columns.
    pub fn compose<T>(members: usize, mut columns: impl FnMut(&mut LayoutBuilder) -> T) -> (Layout, T) {
        let mut first = LayoutBuilder::pass(members, 0);
        columns(&mut first);
        let row_bytes = first.row_used.max(1).next_multiple_of(ROW_ALIGNMENT);
        let mut second = LayoutBuilder::pass(members, row_bytes);
        let result = columns(&mut second);
        assert_eq!((second.row_used, &second.columns), (first.row_used, &first.columns), "both passes add the same columns");
        (second.build(), result)
    }

    fn pass(members: usize, row_bytes: u64) -> LayoutBuilder {
        LayoutBuilder { members, columns: Vec::new(), row_used: 0, row_bytes, rings: Vec::new(), rings_used: 0 }
    }

    /// Rows of the table.
    pub fn members(&self) -> usize {
        self.members
    }

    /// One word a row.
    pub fn word(&mut self, name: &'static str) -> Column {
        self.words(name, 1).first
    }

    /// `len` words a row, next to each other.
    pub fn words(&mut self, name: &'static str, len: usize) -> Columns {
        let offset = self.row_used;
        self.row_used += 8 * len as u64;
        self.columns.push(Named { name, offset, words: len as u64 });
        Columns { first: Column { offset, row_bytes: self.row_bytes }, len: len as u64 }
    }

    /// A ring of `bytes` bytes for each of `rings` senders.
    pub fn rings(&mut self, name: &'static str, rings: usize, bytes: u64) -> RingColumn {
        let start = (self.row_bytes * self.members as u64).next_multiple_of(RING_ALIGNMENT);
        let offset = start + self.rings_used;
        self.rings_used += bytes.next_multiple_of(RING_ALIGNMENT) * rings as u64;
        self.rings.push((name, rings as u64, bytes));
        RingColumn { offset, bytes, rings: rings as u64 }
    }

    fn build(self) -> Layout {
        let rows = (self.row_bytes * self.members as u64).next_multiple_of(RING_ALIGNMENT);
        let mut description = format!("members {} row {}", self.members, self.row_bytes);
        for column in &self.columns {
            description += &format!("; {} at {} words {}", column.name, column.offset, column.words);
        }
        for (name, rings, bytes) in &self.rings {
            description += &format!("; {name} rings {rings} bytes {bytes}");
        }
        Layout { members: self.members, bytes: rows + self.rings_used, description }
    }
}

/// The composed table: how large it is, and a text that is equal at two members exactly if their tables are laid out
/// alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    members: usize,
    bytes: u64,
    description: String,
}

impl Layout {
    /// Bytes of region it needs.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Rows.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Every column and ring with its place; what members compare before they write into each other's tables.
    pub fn description(&self) -> &str {
        &self.description
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_and_no_two_rings_share_a_cache_line() {
        let (layout, (a, b, rings)) = LayoutBuilder::compose(3, |builder| {
            (builder.word("a"), builder.words("b", 20), builder.rings("r", 2, 1000_u64.next_power_of_two()))
        });
        let row_end = b.get(19).at(Rank::new(0)) + 8;
        assert!(a.at(Rank::new(1)) >= row_end && a.at(Rank::new(1)).is_multiple_of(128));
        assert!(rings.at(0) >= b.get(19).at(Rank::new(2)) + 8);
        assert!(rings.at(1) >= rings.at(0) + 1024 && layout.bytes() >= rings.at(1) + 1024);
    }

    #[test]
    fn the_description_tells_layouts_apart() {
        let layout = |words| LayoutBuilder::compose(3, |builder| builder.words("b", words)).0;
        assert_eq!(layout(2), layout(2));
        assert_ne!(layout(2).description(), layout(3).description());
    }
}
