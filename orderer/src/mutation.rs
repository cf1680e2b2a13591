//! Rules that tests of the checker switch off.

/// A rule of an order that is broken on purpose.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// None.
    #[default]
    None,
    /// A sender takes its own stamp for the latest.
    WrongMaximum,
    /// What is open may come before, and is not waited for.
    OpenIgnored,
    /// What has its place here is delivered before the others know it.
    KnownEarly,
    /// A clock does not hear of final times.
    ClockForgotten,
    /// What is undecided at the end of a view comes in another order at every other member.
    TailBySender,
    /// What one member alone has is delivered.
    BelowMajority,
    /// A member tells that it has what lies in the log behind what it lacks.
    AcceptsGaps,
    /// Buffers of large messages are given back that some may have to be given from.
    LargeForgotten,
    /// A sender takes a slot for another large message before all have delivered the last one in it.
    LargeWindowIgnored,
    /// Who is no leader gives places too.
    AnyLeader,
    /// A member of a chain says to have what has a place in the log, though it is not all here.
    ForwardedEarly,
    /// The member behind the head of a chain does not wait for those behind itself.
    LinkSkipped,
    /// A member of a chain does not wait for the tail.
    TailIgnored,
    /// The head of a chain gives one message more a place in the log than it has.
    DecidedAhead,
    /// What a decision behind the trim says counts.
    CutDecisionsCount,
}
