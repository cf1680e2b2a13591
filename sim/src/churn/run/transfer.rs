//! A state on its way.

use squall_transport::NodeId;

/// The state with which a view begins, on its way to a process that has none.
pub(super) struct Transfer {
    pub(super) to: usize,
    pub(super) view: u64,
    /// Who is asked, by rank in the view that the one who asks is in.
    pub(super) giver: usize,
    /// Who gives what. It goes on giving that when views change.
    pub(super) gives: Option<(NodeId, u64)>,
    /// So many in a row of those that could be asked have no state either.
    pub(super) without: usize,
    pub(super) next_ns: u64,
}

impl Transfer {
    /// Nobody was asked yet.
    pub(super) fn new(to: usize, view: u64, now_ns: u64) -> Transfer {
        Transfer { to, view, giver: 0, gives: None, without: 0, next_ns: now_ns }
    }
}
