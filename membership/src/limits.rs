//! Everything has a limit.

use std::time::Duration;

/// Members of a view.
pub const MEMBERS_MAX: usize = 256;
/// Changes that may lie between two views. Members that are lost beyond that are dead rows of the next view, which
/// removes them.
pub const CHANGES_MAX: usize = 32;
/// Newcomers that one member may ask for in a view.
pub const REQUESTS_MAX: usize = 4;
/// The shortest time of silence that may count as death.
pub const SUSPECT_AFTER_MIN: Duration = Duration::from_millis(1);
/// How long a learner may hold up a voter if nobody says otherwise.
pub const LEARNER: Duration = Duration::from_millis(10);
/// How long a leave waits for others to have the state and a vote if nobody says otherwise.
pub const LEAVE: Duration = Duration::from_secs(60);
/// A learner that has lost a voter waits for the others to lose it too for so many times the time of silence that
/// counts as death: they may first have to ask a witness.
pub(crate) const AT_ODDS_TIMEOUTS: u64 = 8;

/// Changes of a list that are no losses, at the most: whoever is lost later, and who stays because of that, find room
/// behind them.
pub(crate) const WISHES_MAX: usize = CHANGES_MAX / 2;

const _: () = assert!(MEMBERS_MAX.is_multiple_of(64) && REQUESTS_MAX < CHANGES_MAX && CHANGES_MAX < MEMBERS_MAX);
