//! The one verb's operand: a [`Write`] into a peer's memory.

/// Names one of the regions that an endpoint was opened with; the same index means the same role at every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionId(pub u16);

/// The shared state table with its rings: new in each epoch.
pub const TABLE: RegionId = RegionId(0);
/// The buffers of large messages: outlives epochs.
pub const POOL: RegionId = RegionId(1);

/// A byte position in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which region.
    pub region: RegionId,
    /// Bytes from its start.
    pub offset: u64,
}

impl Place {
    /// Byte `offset` of `region`.
    pub const fn new(region: RegionId, offset: u64) -> Place {
        Place { region, offset }
    }
}

/// One write into a peer's memory.
///
/// Data goes by `Span`, then the counter that publishes it by `Word`, to the same peer, in that order (rules T1 and
/// T3): a counter sent by reference could overtake its own data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Copies `len` of my bytes at `from` to `to` at the peer. By reference: the source may be read at any time between
    /// the post and the landing. Bytes land in any order.
    Span {
        /// Where the bytes are in my regions.
        from: Place,
        /// Where they go in the peer's regions.
        to: Place,
        /// How many bytes, above 0.
        len: u64,
    },
    /// Sets the 8-byte word at `at` of the peer to `value`. By value: later changes of any local word do not matter.
    /// Never tears.
    Word {
        /// Where the word is in the peer's regions; a multiple of 8.
        at: Place,
        /// The value that lands.
        value: u64,
    },
}
