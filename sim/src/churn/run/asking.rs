//! A newcomer that asks to become a member.

use squall_group::Newcomer;

/// A newcomer on its way.
pub(super) struct Asking {
    pub(super) newcomer: Newcomer,
    pub(super) comes: bool,
    pub(super) ask_at_ns: u64,
    /// It is a member of a view of which nobody could tell it.
    pub(super) missed: bool,
}

impl Asking {
    pub(super) fn new(newcomer: Newcomer, comes: bool, ask_at_ns: u64) -> Asking {
        Asking { newcomer, comes, ask_at_ns, missed: false }
    }
}
