//! What a run of whole members came through, so that one can see that runs reach what they are meant to reach.

use std::collections::BTreeSet;

/// What a run came through that its trace does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reached {
    /// A control connection broke.
    Cut,
    /// A control connection was full.
    Full,
    /// A newcomer's first contact hung, and another one took it in.
    HungContact,
    /// A witness was asked.
    WitnessAsked,
    /// A witness died while it wrote a line.
    TornLine,
    /// A newcomer began to take state anew.
    BeganAgain,
    /// A newcomer that was in no view yet followed the group into another view.
    FollowedOn,
    /// Restoring took longer than silence may.
    SlowRestore,
    /// Somebody took more state than is ever on its way at once.
    LargeState,
}

impl Reached {
    /// All.
    pub const ALL: [Reached; 9] = [
        Reached::Cut,
        Reached::Full,
        Reached::HungContact,
        Reached::WitnessAsked,
        Reached::TornLine,
        Reached::BeganAgain,
        Reached::FollowedOn,
        Reached::SlowRestore,
        Reached::LargeState,
    ];
}

/// What one run came through.
pub(super) type All = BTreeSet<Reached>;
