//! What can be chosen of a fabric, an order, a schedule and a check, by the names of the command line.

use std::fmt;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Deserialize, Serialize};
use squall_group::{Mode, ScheduleKind};

/// What writes into the peers' memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
pub enum FabricKind {
    /// Shared memory of this host.
    Shm,
    /// TCP over loopback.
    Tcp,
    /// RDMA hardware or soft-RoCE.
    Verbs,
}

/// In which order a group delivers messages, by its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct GroupOrdering(pub Mode);

impl GroupOrdering {
    const EVERY: [GroupOrdering; Mode::EVERY.len()] = {
        let (mut all, mut at) = ([GroupOrdering(Mode::Ordered); Mode::EVERY.len()], 0);
        while at < all.len() {
            all[at] = GroupOrdering(Mode::EVERY[at]);
            at += 1;
        }
        all
    };

    /// Those by which all members deliver the same in one order.
    pub fn total() -> Vec<GroupOrdering> {
        GroupOrdering::EVERY.into_iter().filter(|ordering| ordering.0.is_total()).collect()
    }
}

impl ValueEnum for GroupOrdering {
    fn value_variants<'a>() -> &'a [GroupOrdering] {
        &GroupOrdering::EVERY
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

impl From<GroupOrdering> for String {
    fn from(ordering: GroupOrdering) -> String {
        ordering.to_string()
    }
}

impl TryFrom<String> for GroupOrdering {
    type Error = String;

    fn try_from(text: String) -> Result<GroupOrdering, String> {
        text.parse().map(GroupOrdering)
    }
}

/// In which order messages are delivered: any that a group has, or another program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Ordering {
    /// A group's.
    Of(Mode),
    /// That of OmniPaxos, between whose replicas our links are.
    Omnipaxos,
}

impl Ordering {
    /// By turns, once all have them.
    pub const ORDERED: Ordering = Ordering::Of(Mode::Ordered);
    /// When received, per sender.
    pub const UNORDERED: Ordering = Ordering::Of(Mode::Unordered);
    /// As OmniPaxos is called.
    pub const OMNIPAXOS: &str = "omnipaxos";

    const EVERY: [Ordering; Mode::EVERY.len() + 1] = {
        let (mut all, mut at) = ([Ordering::Omnipaxos; Mode::EVERY.len() + 1], 0);
        while at < Mode::EVERY.len() {
            all[at] = Ordering::Of(Mode::EVERY[at]);
            at += 1;
        }
        all
    };

    /// All of them.
    pub fn every() -> &'static [Ordering] {
        &Ordering::EVERY
    }

    /// Those of groups.
    pub fn of_groups() -> &'static [Ordering] {
        &Ordering::EVERY[..Mode::EVERY.len()]
    }

    /// A group's, if it is one.
    pub fn mode(self) -> Option<Mode> {
        match self {
            Ordering::Of(mode) => Some(mode),
            Ordering::Omnipaxos => None,
        }
    }

    /// As it is given and printed.
    pub fn name(self) -> &'static str {
        self.mode().map_or(Ordering::OMNIPAXOS, Mode::name)
    }

    /// Whether all members deliver all messages in one order.
    pub fn is_total(self) -> bool {
        self.mode().is_none_or(Mode::is_total)
    }

    /// Whether small messages pass from member to member.
    pub fn is_relayed(self) -> bool {
        self.mode().is_some_and(Mode::is_relayed)
    }
}

impl ValueEnum for Ordering {
    fn value_variants<'a>() -> &'a [Ordering] {
        Ordering::every()
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl From<Ordering> for String {
    fn from(ordering: Ordering) -> String {
        ordering.to_string()
    }
}

impl TryFrom<String> for Ordering {
    type Error = String;

    fn try_from(text: String) -> Result<Ordering, String> {
        if text == Ordering::OMNIPAXOS { Ok(Ordering::Omnipaxos) } else { text.parse().map(Ordering::Of) }
    }
}

/// How large messages are relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
pub enum Schedule {
    /// Binomial pipeline.
    Pipeline,
    /// Two binary trees, half of the blocks down each.
    TwoTrees,
    /// Binomial tree.
    Tree,
    /// One after the other.
    Chain,
    /// The root to each.
    Sequential,
}

impl Schedule {
    /// As the library names it.
    pub fn kind(self) -> ScheduleKind {
        match self {
            Schedule::Pipeline => ScheduleKind::Pipeline,
            Schedule::TwoTrees => ScheduleKind::TwoTrees,
            Schedule::Tree => ScheduleKind::Tree,
            Schedule::Chain => ScheduleKind::Chain,
            Schedule::Sequential => ScheduleKind::Sequential,
        }
    }

    /// That of the library.
    pub fn of(kind: ScheduleKind) -> Schedule {
        match kind {
            ScheduleKind::Pipeline => Schedule::Pipeline,
            ScheduleKind::TwoTrees => Schedule::TwoTrees,
            ScheduleKind::Tree => Schedule::Tree,
            ScheduleKind::Chain => Schedule::Chain,
            ScheduleKind::Sequential => Schedule::Sequential,
        }
    }
}

impl fmt::Display for FabricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self))
    }
}

impl fmt::Display for GroupOrdering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Ordering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self))
    }
}

/// The name of a value as on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// How much of each payload is written and checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
pub enum Verify {
    /// Head, tail and one cache line of every 64 KiB.
    #[default]
    Sampled,
    /// Every byte.
    Full,
    /// Only the order of delivery.
    None,
}

impl Verify {
    /// The name in the command line and in rows.
    pub fn name(self) -> &'static str {
        match self {
            Verify::Sampled => "sampled",
            Verify::Full => "full",
            Verify::None => "none",
        }
    }
}
