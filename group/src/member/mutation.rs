//! Rules that can be broken on purpose.

/// Breaks one rule of a member, for tests of the checker.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemberMutation {
    /// All rules hold.
    #[default]
    None,
    /// State is taken in whoever sends it, and from whatever beginning.
    AnyPieces,
    /// What is delivered while a snapshot is under way is not told to whoever takes it.
    StaleState,
    /// A welcome is heeded by who is in a view already.
    AnyWelcome,
    /// Newcomers that are gone are kept.
    KeepsDead,
    /// A meeting waits for members that are known to be gone.
    MeetsGone,
    /// Whoever gives state and finds no room for it looks all the time.
    FullSpins,
}
