//! Everything has a limit.

/// Members of a view.
pub const MEMBERS_MAX: usize = 256;
/// Changes that may lie between two views. Members that are lost beyond that are dead rows of the next view, which removes them.
pub const CHANGES_MAX: usize = 32;
/// Newcomers that one member may ask for in a view.
pub const REQUESTS_MAX: usize = 4;
/// The shortest time of silence that may count as death, in nanoseconds.
pub const SUSPECT_AFTER_NS_MIN: u64 = 1_000_000;

const _: () = assert!(MEMBERS_MAX.is_multiple_of(64) && REQUESTS_MAX < CHANGES_MAX && CHANGES_MAX < MEMBERS_MAX);
