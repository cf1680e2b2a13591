//! What a run remembers of its processes to judge them by.

use std::collections::BTreeMap;

use squall_transport::{NodeId, Rank};

/// What a run remembers of its processes.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// By process: since when, in which view, it reaches no majority.
    pub(super) cornered: BTreeMap<usize, (u64, u64)>,
    /// By process: writes beyond heartbeats that were posted at rest.
    pub(super) idle_posts: BTreeMap<usize, u64>,
}

impl Observed {
    /// Writes that the process posted at rest, heartbeats aside.
    pub(super) fn idle_posts(&self, index: usize) -> u64 {
        self.idle_posts.get(&index).copied().unwrap_or(0)
    }
}

/// A member that is to hear no more of its leader once it has its list, or what it has cut.
#[derive(Debug)]
pub(super) struct Deaf {
    pub(super) node: NodeId,
    /// In which view.
    pub(super) view: u64,
    pub(super) leader: Rank,
    pub(super) hears_cut: bool,
}
