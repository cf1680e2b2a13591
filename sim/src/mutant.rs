//! Faults on purpose: each must be caught by the checker.

use std::fmt;
use std::str::FromStr;

use squall_membership::Mutation;

/// A fault that is built into a run, to see whether the checker bites.
///
/// Those of messages are made between the group and the fabric or in the notes of the trace: the protocols themselves stay as they are. Those of membership
/// switch a rule of its protocol off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A counter is posted before the data that it publishes.
    CounterFirst,
    /// A counter that publishes data goes by reference: it is read late, and may be newer than the data that has landed.
    CounterByReference,
    /// Links do not keep the order of posts.
    UnorderedLink,
    /// A member tells that it has delivered one turn more than it has: that ring space is used again too early.
    EarlyReuse,
    /// A member tells that it has received one large message more than it has: buffers that it is still sent from are used again too early.
    EarlyBufferReuse,
    /// A member tells that it has received one turn more than it has: others deliver before everyone has received.
    EarlyDelivery,
    /// Two deliveries of one member change places.
    SwappedDeliveries,
    /// A run of nulls is one shorter than its sender believes.
    SkippedNull,
    /// A trim counts the rows of suspects.
    SuspectsCounted,
    /// A new leader does not look for what an earlier one had proposed.
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
    /// A fabric claims that nothing lands once an endpoint is dropped, and late writes of removed members land in buffers that are used again.
    LateWrite,
    /// After the messages that were cut off a member sends one again that was delivered.
    SentTwice,
    /// Whoever gives a newcomer the state leaves the last delivery out.
    JoinerMissesOne,
    /// A new leader does not wait until the others suspect those before it.
    LeadsEarly,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 19] = [
        Mutant::CounterFirst,
        Mutant::CounterByReference,
        Mutant::UnorderedLink,
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
            _ => None,
        }
    }

    /// Whether it shows only where members come and go.
    pub fn needs_churn(self) -> bool {
        self.membership().is_some() || matches!(self, Mutant::LateWrite | Mutant::SentTwice | Mutant::JoinerMissesOne)
    }

    /// The name that users give it.
    pub fn name(self) -> &'static str {
        match self {
            Mutant::CounterFirst => "counter-first",
            Mutant::CounterByReference => "counter-by-reference",
            Mutant::UnorderedLink => "unordered-link",
            Mutant::EarlyReuse => "early-reuse",
            Mutant::EarlyBufferReuse => "early-buffer-reuse",
            Mutant::EarlyDelivery => "early-delivery",
            Mutant::SwappedDeliveries => "swapped-deliveries",
            Mutant::SkippedNull => "skipped-null",
            Mutant::SuspectsCounted => "suspects-counted",
            Mutant::TrimIgnored => "trim-ignored",
            Mutant::ActsAlone => "acts-alone",
            Mutant::MinorityInstalls => "minority-installs",
            Mutant::ChangesBlended => "changes-blended",
            Mutant::SuspicionForgotten => "suspicion-forgotten",
            Mutant::PastTheTrim => "past-the-trim",
            Mutant::LateWrite => "late-write",
            Mutant::SentTwice => "sent-twice",
            Mutant::JoinerMissesOne => "joiner-misses-one",
            Mutant::LeadsEarly => "leads-early",
        }
    }

    /// Within so many seeds, whichever they are, the checker must have caught it.
    pub fn seeds_max(self) -> u64 {
        match self {
            Mutant::CounterFirst | Mutant::UnorderedLink | Mutant::EarlyDelivery | Mutant::SwappedDeliveries => 20,
            Mutant::CounterByReference | Mutant::SkippedNull => 30,
            // The reuse has to meet somebody who still reads: tight rings and a straggler.
            Mutant::EarlyReuse => 80,
            // And here a relay that lags behind, in one of the runs with large messages.
            Mutant::EarlyBufferReuse => 400,
            Mutant::SuspectsCounted | Mutant::PastTheTrim | Mutant::MinorityInstalls => 100,
            Mutant::SuspicionForgotten | Mutant::ChangesBlended | Mutant::LeadsEarly => 300,
            Mutant::SentTwice | Mutant::JoinerMissesOne => 100,
            // Two faults have to meet within one change of views.
            Mutant::TrimIgnored | Mutant::ActsAlone => 2000,
            // And here a block has to be on its way to a buffer for so long that it is used again.
            Mutant::LateWrite => 2000,
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
