//! Faults on purpose: each must be caught by the checker.

use std::fmt;
use std::str::FromStr;

use squall_group::{MemberMutation, Mode, OrderMutation, ReadMutation};
use squall_membership::Mutation;

use crate::aim::Aim;
use crate::property::Property;

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
    /// A leader never begins a change for newcomers alone.
    RestsForEver,
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
    /// A new leader makes the oldest that anyone has accepted its own.
    OldestAdopted,
    /// Who has acted leaves the view before the others have heard so.
    LeavesUnheard,
    /// What a view had cut off and the next one did not get to send again is forgotten.
    AgainForgotten,
    /// Who only wants to listen is refused where there are no buffers for one more sender.
    ListenersRefused,
    /// Members send for want of others for whom there are no buffers beside those of learners.
    SubstitutesCrowd,
    /// Who waits for a witness looks all the time.
    SplitSpins,
    /// Whoever gives state and finds no room for it looks all the time.
    FullSpins,
    /// In Lamport's order a sender takes its own stamp for the latest.
    WrongMaximum,
    /// In Lamport's order what is open, and may come before, is not waited for.
    OpenIgnored,
    /// In Lamport's order a message is delivered before all know its place.
    KnownEarly,
    /// In Lamport's order a clock does not hear of final times.
    ClockForgotten,
    /// In Lamport's order what is undecided when a view ends comes here so and there otherwise.
    TailBySender,
    /// In the order by a leader's log, what one member alone has is delivered.
    BelowMajority,
    /// There a member tells that it has accepted a slot more than it has.
    GapAccepted,
    /// There a view is cut before the first large message that one who goes on lacks.
    LargeCut,
    /// There buffers of large messages are given back that some may have to be given from.
    LargeForgotten,
    /// There a sender takes a slot for another large message before all have delivered the last one in it.
    LargeWindowIgnored,
    /// There a member takes a large message that others are to give before anybody has written it.
    LargeUngiven,
    /// There a member agrees to a cut before it has all below.
    FillSkipped,
    /// There a leader cuts a view at the least that voters have.
    CutAtLeast,
    /// There a member that has wedged goes on accepting what the old leader says.
    OldLeaderAccepted,
    /// A member of a chain says to have what has a place in the log before its own copy is whole.
    ForwardedEarly,
    /// The member behind the head of a chain answers for those behind itself without having heard of them.
    LinkSkipped,
    /// A member of a chain delivers what it has before the tail has it.
    TailIgnored,
    /// The head of a chain gives one message more a place in the log than it has.
    DecidedAhead,
    /// In a chain decisions count at the end of a view that others do not have.
    CutDecisionsCount,
    /// A read goes by what is delivered where it is asked for.
    ReadOfDelivered,
    /// A read is answered before anybody has heard of it.
    ReadUnheard,
    /// In the order by a leader's log, a read goes by what its member has.
    ReadOfOwn,
}

impl Mutant {
    /// All.
    pub const ALL: [Mutant; 62] = [
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
        Mutant::AgainForgotten,
        Mutant::JoinerMissesOne,
        Mutant::LeadsEarly,
        Mutant::AnyBallot,
        Mutant::OldestAdopted,
        Mutant::LearnerCounted,
        Mutant::LearnerInTrim,
        Mutant::LearnerLeads,
        Mutant::WholeEarly,
        Mutant::LeavesAtOnce,
        Mutant::RestsForEver,
        Mutant::SubstitutesCrowd,
        Mutant::LeavesUnheard,
        Mutant::WitnessForgets,
        Mutant::AnyPieces,
        Mutant::StaleState,
        Mutant::AnyWelcome,
        Mutant::KeepsDead,
        Mutant::MeetsGone,
        Mutant::ListenersRefused,
        Mutant::SplitSpins,
        Mutant::FullSpins,
        Mutant::WrongMaximum,
        Mutant::OpenIgnored,
        Mutant::KnownEarly,
        Mutant::ClockForgotten,
        Mutant::TailBySender,
        Mutant::BelowMajority,
        Mutant::GapAccepted,
        Mutant::LargeCut,
        Mutant::LargeForgotten,
        Mutant::LargeWindowIgnored,
        Mutant::LargeUngiven,
        Mutant::FillSkipped,
        Mutant::CutAtLeast,
        Mutant::OldLeaderAccepted,
        Mutant::ForwardedEarly,
        Mutant::LinkSkipped,
        Mutant::TailIgnored,
        Mutant::DecidedAhead,
        Mutant::CutDecisionsCount,
        Mutant::ReadOfDelivered,
        Mutant::ReadUnheard,
        Mutant::ReadOfOwn,
    ];

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
            Mutant::RestsForEver => Some(Mutation::RestsForEver),
            Mutant::OldestAdopted => Some(Mutation::AdoptsOldest),
            Mutant::LeavesUnheard => Some(Mutation::LeavesUnheard),
            Mutant::AgainForgotten => Some(Mutation::AgainForgotten),
            Mutant::ListenersRefused => Some(Mutation::ListenersRefused),
            Mutant::SubstitutesCrowd => Some(Mutation::SubstitutesCrowd),
            Mutant::SplitSpins => Some(Mutation::SplitSpins),
            Mutant::FillSkipped => Some(Mutation::FillSkipped),
            Mutant::CutAtLeast => Some(Mutation::CutsAtLeast),
            Mutant::LargeCut => Some(Mutation::CutsLarge),
            Mutant::LargeUngiven => Some(Mutation::TakesUngiven),
            Mutant::OldLeaderAccepted => Some(Mutation::WedgesLate),
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
            Mutant::FullSpins => Some(MemberMutation::FullSpins),
            _ => None,
        }
    }

    /// The rule of reads that is broken, if it is one of those.
    pub(crate) fn read(self) -> Option<ReadMutation> {
        match self {
            Mutant::ReadOfDelivered => Some(ReadMutation::DeliveredPoint),
            Mutant::ReadUnheard => Some(ReadMutation::Unheard),
            Mutant::ReadOfOwn => Some(ReadMutation::OwnPoint),
            _ => None,
        }
    }

    /// The order in which it is looked for, if it is a fault of one order.
    pub(crate) fn ordering(self) -> Option<Mode> {
        use Mutant::{BelowMajority, CutAtLeast, FillSkipped, GapAccepted, OldLeaderAccepted};
        use Mutant::{CutDecisionsCount, DecidedAhead, ForwardedEarly, LinkSkipped, TailIgnored};
        use Mutant::{LargeCut, LargeForgotten, LargeUngiven, LargeWindowIgnored};
        use Mutant::{ReadOfDelivered, ReadOfOwn, ReadUnheard};
        match self {
            BelowMajority | GapAccepted | FillSkipped | CutAtLeast | OldLeaderAccepted | ReadOfOwn => Some(Mode::Paxos),
            LargeCut | LargeForgotten | LargeUngiven | LargeWindowIgnored => Some(Mode::Paxos),
            ForwardedEarly | LinkSkipped | TailIgnored | DecidedAhead | CutDecisionsCount => Some(Mode::Chain),
            ReadOfDelivered | ReadUnheard => Some(Mode::Ordered),
            _ => self.order().map(|_| Mode::Lamport),
        }
    }

    /// The rule of an order that is broken, if it is one of those.
    pub(crate) fn order(self) -> Option<OrderMutation> {
        let rule = match self {
            Mutant::BelowMajority => OrderMutation::BelowMajority,
            Mutant::GapAccepted => OrderMutation::AcceptsGaps,
            Mutant::LargeForgotten => OrderMutation::LargeForgotten,
            Mutant::LargeWindowIgnored => OrderMutation::LargeWindowIgnored,
            Mutant::ForwardedEarly => OrderMutation::ForwardedEarly,
            Mutant::LinkSkipped => OrderMutation::LinkSkipped,
            Mutant::TailIgnored => OrderMutation::TailIgnored,
            Mutant::DecidedAhead => OrderMutation::DecidedAhead,
            Mutant::CutDecisionsCount => OrderMutation::CutDecisionsCount,
            Mutant::WrongMaximum => OrderMutation::WrongMaximum,
            Mutant::OpenIgnored => OrderMutation::OpenIgnored,
            Mutant::KnownEarly => OrderMutation::KnownEarly,
            Mutant::ClockForgotten => OrderMutation::ClockForgotten,
            Mutant::TailBySender => OrderMutation::TailBySender,
            _ => return None,
        };
        Some(rule)
    }

    /// The runs in which it is looked for: with which aim members come and go, or none where they stay.
    pub fn aim(self) -> Option<Aim> {
        use Mutant::{
            CutDecisionsCount, JoinerMissesOne, KnownEarly, LargeForgotten, LargeWindowIgnored, LateWrite, LeavesUnheard, ListenersRefused,
            RestsForEver, SentTwice, SplitSpins, TailBySender, WitnessForgets,
        };
        match self {
            LeavesUnheard | ListenersRefused | RestsForEver | SplitSpins | WitnessForgets => Some(Aim::Members),
            _ if self.member().is_some() => Some(Aim::Members),
            Mutant::ReadUnheard => Some(Aim::Safety),
            LateWrite | SentTwice | JoinerMissesOne | KnownEarly | TailBySender | CutDecisionsCount => Some(Aim::Liveness),
            LargeForgotten | LargeWindowIgnored => Some(Aim::Liveness),
            _ => self.membership().map(|_| Aim::Liveness),
        }
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

    /// What it breaks: a run in which something else breaks first has not caught it.
    pub fn breaks(self) -> &'static [Property] {
        self.entry().3
    }

    fn entry(self) -> (&'static str, &'static str, u64, &'static [Property]) {
        use Property::*;
        match self {
            Mutant::CounterFirst => ("counter-first", "a counter is posted before its data", 200, &[Integrity]),
            Mutant::CounterByReference => ("counter-by-reference", "a counter is pushed by reference", 80, &[Integrity, BufferSafety]),
            Mutant::UnorderedLink => ("unordered-link", "a link does not keep the order of posts", 120, &[Integrity]),
            Mutant::HastyWord => ("hasty-word", "a counted word is applied before its spans are in", 120, &[Integrity]),
            // The reuse has to meet somebody who still reads: tight rings and a straggler.
            Mutant::EarlyReuse => ("early-reuse", "ring bytes are used again one message early", 1400, &[Integrity, BufferSafety]),
            // And here a relay that lags behind, in one of the runs with large messages.
            Mutant::EarlyBufferReuse => {
                ("early-buffer-reuse", "buffers are used again one large message early", 200, &[Integrity, BufferSafety])
            }
            Mutant::EarlyDelivery => ("early-delivery", "messages are delivered before all have them", 40, &[Stability]),
            Mutant::SwappedDeliveries => ("swapped-deliveries", "two deliveries change places", 20, &[Fifo, TotalOrder, RoundRobin]),
            Mutant::SkippedNull => ("skipped-null", "a null is skipped", 30, &[Nulls]),
            Mutant::SuspectsCounted => ("suspects-counted", "a trim counts the rows of suspects", 50, &[TrimAgreement]),
            // Two faults have to meet within one change of views.
            Mutant::TrimIgnored => {
                ("trim-ignored", "a new leader ignores the old one's trim", 300, &[ViewIdentity, Majority, TrimAgreement])
            }
            Mutant::ActsAlone => ("acts-alone", "a trim is acted on before a majority echoed it", 50, &[Wedge]),
            Mutant::MinorityInstalls => ("minority-installs", "a minority installs a view", 50, &[ViewIdentity, Majority, Wedge]),
            Mutant::ChangesBlended => ("changes-blended", "two leaders' changes are blended", 250, &[Adoption]),
            Mutant::SuspicionForgotten => ("suspicion-forgotten", "a suspicion is forgotten", 300, &[Suspicion]),
            Mutant::PastTheTrim => ("past-the-trim", "what lies beyond the trim is delivered", 50, &[TrimAgreement]),
            // A block has to be on its way to a buffer for so long that it is used again.
            Mutant::LateWrite => {
                ("late-write", "a removed node's late write lands in memory that is used again", 1200, &[Integrity, BufferSafety])
            }
            Mutant::SentTwice => ("sent-twice", "what was delivered is sent again behind what was cut off", 100, &[NoDuplication]),
            Mutant::AgainForgotten => {
                ("again-forgotten", "what a view cut off and the next could not send again is forgotten", 200, &[CutNotice])
            }
            Mutant::JoinerMissesOne => ("joiner-misses-one", "a newcomer's state lacks one message", 50, &[StateTransfer]),
            Mutant::LeadsEarly => ("leads-early", "a leader does not wait until others suspect those before it", 100, &[Leaders]),
            Mutant::AnyBallot => ("any-ballot", "a member accepts what its leader has from another one", 2000, &[Leaders]),
            Mutant::OldestAdopted => {
                ("oldest-adopted", "a new leader adopts the oldest that anybody accepted", 1500, &[Majority, TrimAgreement, Uniformity])
            }
            Mutant::LearnerCounted => ("learner-counted", "learners count wherever voters do", 120, &[Wedge]),
            Mutant::LearnerInTrim => ("learner-in-trim", "a trim counts learners", 100, &[TrimAgreement]),
            Mutant::LearnerLeads => ("learner-leads", "a learner leads", 50, &[Leaders]),
            Mutant::WholeEarly => ("whole-early", "a learner says that it is whole before it is", 50, &[StateContinuity]),
            Mutant::LeavesAtOnce => ("leaves-at-once", "the last voter leaves though others still learn", 400, &[StateContinuity]),
            Mutant::RestsForEver => {
                ("rests-for-ever", "a leader never begins a change for newcomers alone", 50, &[JoinProgress, ViewProgress])
            }
            Mutant::SubstitutesCrowd => {
                ("substitutes-crowd", "who sends for want of others takes learners' buffers", 250, &[DeliveryProgress, SendProgress])
            }
            Mutant::LeavesUnheard => ("leaves-unheard", "who has acted leaves the view before others have heard so", 350, &[ViewProgress]),
            Mutant::WitnessForgets => ("witness-forgets", "a witness sides with whoever asks", 450, &[ViewIdentity, Majority]),
            Mutant::AnyPieces => ("any-pieces", "state of another giver or an older beginning is taken in", 600, &[StateTransfer]),
            Mutant::StaleState => ("stale-state", "a giver goes on giving the old state", 50, &[StateTransfer]),
            Mutant::AnyWelcome => ("any-welcome", "a welcome is heeded by who is in a view already", 50, &[JoinProgress]),
            Mutant::KeepsDead => ("keeps-dead", "newcomers that are gone are kept", 300, &[ChangeDerivation]),
            Mutant::MeetsGone => ("meets-gone", "a meeting waits for members that are known to be gone", 600, &[ViewProgress]),
            Mutant::ListenersRefused => {
                ("listeners-refused", "who only listens is refused where buffers for senders are short", 100, &[JoinProgress])
            }
            Mutant::SplitSpins => ("split-spins", "who waits for a witness looks all the time", 350, &[Quiescence]),
            Mutant::FullSpins => ("full-spins", "who gives state and finds no room looks all the time", 2500, &[Quiescence]),
            Mutant::WrongMaximum => ("wrong-maximum", "a sender takes its own stamp for the latest", 50, &[TotalOrder]),
            Mutant::OpenIgnored => ("open-ignored", "what is open, and may come before, is not waited for", 50, &[TotalOrder]),
            Mutant::KnownEarly => ("known-early", "a message is delivered before all know its place", 100, &[TotalOrder]),
            Mutant::ClockForgotten => ("clock-forgotten", "a clock does not hear of final times", 60, &[TotalOrder]),
            Mutant::BelowMajority => ("below-majority", "what one member alone has is delivered", 50, &[Stability]),
            Mutant::GapAccepted => ("gap-accepted", "a member accepts a slot more than it has", 50, &[Stability]),
            Mutant::LargeCut => ("large-cut", "a view is cut before the first large message that one lacks", 200, &[TrimAgreement]),
            Mutant::LargeForgotten => {
                ("large-forgotten", "buffers go back that some are to be given from", 450, &[SendProgress, ViewProgress])
            }
            Mutant::LargeWindowIgnored => (
                "large-window-ignored",
                "slots are used again before all have delivered what was there",
                700,
                &[Integrity, SendProgress, ViewProgress],
            ),
            Mutant::LargeUngiven => ("large-ungiven", "a large message is taken before it is given", 120, &[Integrity]),
            Mutant::FillSkipped => ("fill-skipped", "a member agrees to a cut and acts on it without what it lacks", 50, &[ViewProgress]),
            Mutant::CutAtLeast => ("cut-at-least", "a view is cut at the least that voters have", 200, &[TrimAgreement]),
            Mutant::OldLeaderAccepted => ("old-leader-accepted", "who has wedged accepts what the old leader says", 300, &[TrimAgreement]),
            Mutant::ForwardedEarly => {
                ("forwarded-early", "a member of a chain says to have what is not all here", 50, &[Stability, TotalOrder])
            }
            Mutant::LinkSkipped => ("link-skipped", "who is behind a chain's head does not wait for those behind it", 50, &[Stability]),
            Mutant::TailIgnored => ("tail-ignored", "a member of a chain does not wait for the tail", 50, &[Stability]),
            Mutant::DecidedAhead => {
                ("decided-ahead", "a chain's head gives one message more a place than it has", 50, &[DeliveryProgress, SendProgress])
            }
            Mutant::CutDecisionsCount => ("cut-decisions-count", "what a decision behind the trim says counts", 200, &[TotalOrder]),
            Mutant::ReadOfDelivered => ("read-of-delivered", "a read goes by what is delivered where it is asked for", 50, &[Reads]),
            Mutant::ReadUnheard => ("read-unheard", "a read is answered before anybody has heard of it", 3000, &[Reads]),
            Mutant::ReadOfOwn => ("read-of-own", "a read goes by what its member has", 50, &[Reads]),
            Mutant::TailBySender => ("tail-by-sender", "what is undecided at the end comes here so, there otherwise", 300, &[TotalOrder]),
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
        Mutant::ALL.into_iter().find(|mutant| mutant.name() == text).ok_or_else(|| format!("`{text}` is no mutant; there are {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_is_found_by_its_name() {
        for mutant in Mutant::ALL {
            assert_eq!(mutant.to_string().parse(), Ok(mutant));
        }
        assert!("none".parse::<Mutant>().unwrap_err().contains("counter-first"));
    }
}
