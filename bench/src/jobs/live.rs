//! What a node shows of a trial while it goes on, for people who watch.

use serde::{Deserialize, Serialize};

use super::group::Counted;

/// How often a node shows something.
pub const SHOWN_EVERY_NS: u64 = 250_000_000;

/// A look into a trial that goes on, from its beginning on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Nanoseconds since the trial began.
    pub since_ns: u64,
    /// Messages of its own that are sent and not yet delivered to itself.
    pub in_flight: u64,
    /// What was counted.
    pub counted: Counted,
}
