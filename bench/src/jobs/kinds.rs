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

/// In which order messages are delivered: any that a group has, by its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Ordering(pub Mode);

impl Ordering {
    /// By turns, once all have them.
    pub const ORDERED: Ordering = Ordering(Mode::Ordered);
    /// When received, per sender.
    pub const UNORDERED: Ordering = Ordering(Mode::Unordered);

    const EVERY: [Ordering; Mode::EVERY.len()] = {
        let (mut all, mut at) = ([Ordering::ORDERED; Mode::EVERY.len()], 0);
        while at < all.len() {
            all[at] = Ordering(Mode::EVERY[at]);
            at += 1;
        }
        all
    };

    /// All of them.
    pub fn every() -> &'static [Ordering] {
        &Ordering::EVERY
    }

    /// Those by which all members deliver the same in one order.
    pub fn total() -> Vec<Ordering> {
        Ordering::every().iter().copied().filter(|ordering| ordering.0.is_total()).collect()
    }
}

impl ValueEnum for Ordering {
    fn value_variants<'a>() -> &'a [Ordering] {
        Ordering::every()
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
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
        text.parse().map(Ordering)
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

impl fmt::Display for Ordering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
