//! Who a node is: forever ([`NodeId`]), and in one epoch ([`Rank`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A row of one epoch: members are numbered `0..members` without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rank(pub u16);

impl Rank {
    /// The rank with this row number.
    ///
    /// # Panics
    /// If `index` does not fit 16 bits; groups are far smaller than that.
    pub const fn new(index: usize) -> Self {
        assert!(index <= u16::MAX as usize, "a rank has 16 bits");
        Self(index as u16)
    }

    /// The row number, for indexing.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One incarnation of a process, forever: a node that restarts comes back under a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
