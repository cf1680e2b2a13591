//! Deliberate faults, so that a checker can show that it would notice them.

/// Which rule the protocol breaks.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// None: the real thing.
    #[default]
    None,
    /// The trim counts the rows of suspects too.
    TrimCountsSuspects,
    /// A new leader does not look for what an earlier one had accepted, and nobody for what others have acted on.
    IgnoresAccepted,
    /// A member acts on a trim as soon as it has it.
    ActsAlone,
    /// Suspecting half or more stops nobody, and one member is enough to agree.
    MinorityActs,
    /// A new leader adds its own changes to those of the one before.
    BlendsChanges,
    /// What a suspect says is read again.
    ForgetsSuspicion,
    /// A new leader does not wait until the others suspect those before it.
    LeadsEarly,
    /// A member delivers everything that it has, wherever the trim lies.
    DeliversPastTrim,
    /// A member goes on receiving after it has told what it had received.
    WedgesLate,
    /// A new leader makes the oldest that anyone here has accepted its own.
    AdoptsOldest,
    /// A member accepts what the row of its leader holds, whoever led that.
    FollowsAnyBallot,
    /// Learners count wherever voters do.
    LearnerCounts,
    /// A trim counts learners too.
    LearnerTrims,
    /// A learner leads.
    LearnerLeads,
    /// A learner takes for lost whom a voter suspects that is left out itself.
    HeedsOutcasts,
    /// A learner says that it is whole before it is.
    WholeEarly,
    /// The last voter leaves though others are there who have no vote.
    LeavesAtOnce,
    /// A leader never begins a change for votes and joins alone.
    RestsForEver,
    /// A leader cuts off the last message that all have received.
    CutsShort,
    /// Who has acted leaves the view before the others have heard so.
    LeavesUnheard,
    /// Who waits for a witness looks all the time.
    SplitSpins,
    /// What a view had cut off and the next one did not get to send again is forgotten.
    AgainForgotten,
    /// Who only wants to listen is refused where there are no buffers for one more sender.
    ListenersRefused,
    /// All who vote send for want of others, whatever buffers there are beside those of learners.
    SubstitutesCrowd,
    /// Where members fill each other, nobody does, and each accepts a cut and acts on it without all below.
    FillSkipped,
    /// Where members fill each other, a leader cuts at the least that voters have.
    CutsAtLeast,
    /// Where members fill each other, a view is cut before the first large message that one who goes on lacks.
    CutsLarge,
    /// Where members fill each other, one takes a large message that nobody has written yet.
    TakesUngiven,
}
