//! Faults on purpose: each must be caught by the checker.

use std::fmt;
use std::str::FromStr;

use squall_group::MemberMutation;
use squall_membership::Mutation;

/// A fault that is built into a run, to see whether the checker finds it.
///
/// Those of messages are made between the group and the fabric or in the notes of the trace: the protocols themselves
/// stay as they are. Those of membership switch a rule of its protocol off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A counter is posted before the data that it publishes.
    CounterFirst,
    /// A counter that publishes data goes by reference: it is read late, and may be newer than the data that has
    /// landed.
    CounterByReference,
    /// Links do not keep the order of posts.
    UnorderedLink,
    /// Over a fabric that counts, endpoints apply a word before its Spans are in.
    HastyWord,
    /// A member tells that it has delivered one turn more than it has: that ring space is used again too early.
    EarlyReuse,
    /// A member tells that it has received one large message more than it has: buffers that it is still sent from are
    /// used again too early.
    EarlyBufferReuse,
    /// A member tells that it has received one turn more than it has: others deliver before everyone has received.
    EarlyDelivery,
    /// Two deliveries of one member change places.
    SwappedDeliveries,
    /// A run of nulls is one shorter than its sender believes.
    SkippedNull,
    /// A trim counts the rows of suspects.
    SuspectsCounted,
    /// A new leader does not look for what an earlier one had proposed, and nobody for what others have acted on.
    TrimIgnored,
    /// A member acts on a trim before a majority has echoed it.
    ActsAlone,
    /// A minority installs a view.
    MinorityInstalls,
    /// Changes of two leaders are blended.
    ChangesBlended,
    /// A suspicion is forgotten.
    SuspicionForgotten,
    /// A member delivers what it has beyond the trim.
    PastTheTrim,
    /// A fabric claims that nothing lands once an endpoint is dropped, and late writes of removed members land in
    /// buffers that are used again.
    LateWrite,
    /// After the messages that were cut off a member sends one again that was delivered.
    SentTwice,
    /// Whoever gives a newcomer the state leaves the last delivery out.
    JoinerMissesOne,
    /// A new leader does not wait until the others suspect those before it.
    LeadsEarly,
    /// A member accepts what the row of its leader holds, whoever led that.
    AnyBallot,
    /// Learners count wherever voters do.
    LearnerCounted,
    /// A trim counts learners too.
    LearnerInTrim,
    /// A learner leads.
    LearnerLeads,
    /// A learner says that it is whole before it is.
    WholeEarly,
    /// The last voter leaves though others are there who have no vote.
    LeavesAtOnce,
    /// A witness sides with whoever asks.
    WitnessForgets,
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
}

impl Mutant {
    /// Those of groups.
    pub const ALL: [Mutant; 26] = [
        Mutant::CounterFirst,
        Mutant::CounterByReference,
        Mutant::UnorderedLink,
        Mutant::HastyWord,
        Mutant::EarlyReuse,
        Mutant::EarlyBufferReuse,
        Mutant::EarlyDelivery,
        Mutant::SwappedDeliveries,
        Mutant::SkippedNull,
        Mutant::SuspectsCounted,
        Mutant::TrimIgnored,
        Mutant::ActsAlone,
        Mutant::MinorityInstalls,
        Mutant::ChangesBlended,
        Mutant::SuspicionForgotten,
        Mutant::PastTheTrim,
        Mutant::LateWrite,
        Mutant::SentTwice,
        Mutant::JoinerMissesOne,
        Mutant::LeadsEarly,
        Mutant::AnyBallot,
        Mutant::LearnerCounted,
        Mutant::LearnerInTrim,
        Mutant::LearnerLeads,
        Mutant::WholeEarly,
        Mutant::LeavesAtOnce,
    ];

    /// Those of whole members.
    pub const MEMBERS: [Mutant; 6] =
        [Mutant::WitnessForgets, Mutant::AnyPieces, Mutant::StaleState, Mutant::AnyWelcome, Mutant::KeepsDead, Mutant::MeetsGone];

    /// The rule of membership that is broken, if it is one of those.
    pub(crate) fn membership(self) -> Option<Mutation> {
        match self {
            Mutant::SuspectsCounted => Some(Mutation::TrimCountsSuspects),
            Mutant::TrimIgnored => Some(Mutation::IgnoresAccepted),
            Mutant::ActsAlone => Some(Mutation::ActsAlone),
            Mutant::MinorityInstalls => Some(Mutation::MinorityActs),
            Mutant::ChangesBlended => Some(Mutation::BlendsChanges),
            Mutant::SuspicionForgotten => Some(Mutation::ForgetsSuspicion),
            Mutant::PastTheTrim => Some(Mutation::DeliversPastTrim),
            Mutant::LeadsEarly => Some(Mutation::LeadsEarly),
            Mutant::AnyBallot => Some(Mutation::FollowsAnyBallot),
            Mutant::LearnerCounted => Some(Mutation::LearnerCounts),
            Mutant::LearnerInTrim => Some(Mutation::LearnerTrims),
            Mutant::LearnerLeads => Some(Mutation::LearnerLeads),
            Mutant::WholeEarly => Some(Mutation::WholeEarly),
            Mutant::LeavesAtOnce => Some(Mutation::LeavesAtOnce),
            _ => None,
        }
    }

    /// The rule of whole members that is broken, if it is one of those.
    pub(crate) fn member(self) -> Option<MemberMutation> {
        match self {
            Mutant::AnyPieces => Some(MemberMutation::AnyPieces),
            Mutant::StaleState => Some(MemberMutation::StaleState),
            Mutant::AnyWelcome => Some(MemberMutation::AnyWelcome),
            Mutant::KeepsDead => Some(MemberMutation::KeepsDead),
            Mutant::MeetsGone => Some(MemberMutation::MeetsGone),
            _ => None,
        }
    }

    /// Whether it shows only where members are whole.
    pub(crate) fn needs_members(self) -> bool {
        self.member().is_some() || self == Mutant::WitnessForgets
    }

    /// Whether it shows only where members come and go.
    pub fn needs_churn(self) -> bool {
        self.needs_members()
            || self.membership().is_some()
            || matches!(self, Mutant::LateWrite | Mutant::SentTwice | Mutant::JoinerMissesOne)
    }

    /// The name that users give it.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// What is wrong, in a line.
    pub fn fault(self) -> &'static str {
        self.entry().1
    }

    /// Within so many seeds, whichever they are, the checker must have caught it.
    pub fn seeds_max(self) -> u64 {
        self.entry().2
    }

    fn entry(self) -> (&'static str, &'static str, u64) {
        match self {
            Mutant::CounterFirst => ("counter-first", "a counter is posted before its data", 20),
            Mutant::CounterByReference => ("counter-by-reference", "a counter is pushed by reference", 30),
            Mutant::UnorderedLink => ("unordered-link", "a link does not keep the order of posts", 20),
            Mutant::HastyWord => ("hasty-word", "a counted word is applied before its spans are in", 20),
            // The reuse has to meet somebody who still reads: tight rings and a straggler.
            Mutant::EarlyReuse => ("early-reuse", "ring bytes are used again one message early", 80),
            // And here a relay that lags behind, in one of the runs with large messages.
            Mutant::EarlyBufferReuse => ("early-buffer-reuse", "buffers are used again one large message early", 400),
            Mutant::EarlyDelivery => ("early-delivery", "messages are delivered before all have them", 20),
            Mutant::SwappedDeliveries => ("swapped-deliveries", "two deliveries change places", 20),
            Mutant::SkippedNull => ("skipped-null", "a null is skipped", 30),
            Mutant::SuspectsCounted => ("suspects-counted", "a trim counts the rows of suspects", 50),
            // Two faults have to meet within one change of views.
            Mutant::TrimIgnored => ("trim-ignored", "a new leader ignores the old one's trim", 1000),
            Mutant::ActsAlone => ("acts-alone", "a trim is acted on before a majority echoed it", 50),
            Mutant::MinorityInstalls => ("minority-installs", "a minority installs a view", 50),
            Mutant::ChangesBlended => ("changes-blended", "two leaders' changes are blended", 300),
            Mutant::SuspicionForgotten => ("suspicion-forgotten", "a suspicion is forgotten", 400),
            Mutant::PastTheTrim => ("past-the-trim", "what lies beyond the trim is delivered", 50),
            // A block has to be on its way to a buffer for so long that it is used again.
            Mutant::LateWrite => ("late-write", "a removed node's late write lands in memory that is used again", 1500),
            Mutant::SentTwice => ("sent-twice", "what was delivered is sent again behind what was cut off", 100),
            Mutant::JoinerMissesOne => ("joiner-misses-one", "a newcomer's state lacks one message", 50),
            Mutant::WitnessForgets => ("witness-forgets", "a witness sides with whoever asks", 300),
            Mutant::AnyPieces => ("any-pieces", "state of another giver or an older beginning is taken in", 300),
            Mutant::StaleState => ("stale-state", "a giver goes on giving the old state", 50),
            Mutant::AnyWelcome => ("any-welcome", "a welcome is heeded by who is in a view already", 50),
            Mutant::KeepsDead => ("keeps-dead", "newcomers that are gone are kept", 300),
            Mutant::MeetsGone => ("meets-gone", "a meeting waits for members that are known to be gone", 100),
            Mutant::LeadsEarly => ("leads-early", "a leader does not wait until others suspect those before it", 100),
            Mutant::AnyBallot => ("any-ballot", "a member accepts what its leader has from another one", 1000),
            Mutant::LearnerCounted => ("learner-counted", "learners count wherever voters do", 200),
            Mutant::LearnerInTrim => ("learner-in-trim", "a trim counts learners", 100),
            Mutant::LearnerLeads => ("learner-leads", "a learner leads", 50),
            Mutant::WholeEarly => ("whole-early", "a learner says that it is whole before it is", 50),
            Mutant::LeavesAtOnce => ("leaves-at-once", "the last voter leaves though others still learn", 600),
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mutant {
    type Err = String;

    fn from_str(text: &str) -> Result<Mutant, String> {
        let names = || Mutant::ALL.map(Mutant::name).join(", ");
        Mutant::ALL
            .into_iter()
            .chain(Mutant::MEMBERS)
            .find(|mutant| mutant.name() == text)
            .ok_or_else(|| format!("`{text}` is no mutant; there are {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_is_found_by_its_name() {
        for mutant in Mutant::ALL.into_iter().chain(Mutant::MEMBERS) {
            assert_eq!(mutant.to_string().parse(), Ok(mutant));
        }
        assert!("none".parse::<Mutant>().unwrap_err().contains("counter-first"));
    }
}
