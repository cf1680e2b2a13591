//! What can be chosen of a fabric, an order, a schedule and a check, by the names of the command line.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use squall_group::ScheduleKind;

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

/// In which order messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
pub enum Ordering {
    /// When received, per sender.
    Unordered,
    /// In one total order, once all have them.
    Ordered,
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
        f.write_str(&name(self))
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
