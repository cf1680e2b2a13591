//! The experiments: what each sweeps by default, what it runs, and how a measurement becomes rows.
//!
//! Each experiment has two sides. The parent's side (`measure`) starts nodes, tells them what to do and writes rows; the node's side
//! (`node`) does it.

pub mod capacity;
pub mod change;
pub mod copies;
mod group;
mod latencies;
mod latency;
pub mod member;
pub mod memcpy;
mod multicast;
pub mod perftest;
mod raw;
pub mod stage;
pub mod stream;
pub mod wire;
pub mod write;

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::run::fault::Fault;
use crate::run::plan::PlannedPoint;
use stage::Stage;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// Memory copies of one core and of all cores
    Memcpy,
    /// Raw one-sided writes without a group: bandwidth and latency
    Write,
    /// Small-message multicast: messages per second
    SmcRate,
    /// The main experiment: bandwidth of a group
    Multicast,
    /// From the send to the delivery: closed loop, light load, saturated
    Latency,
    /// How long a group is held up when a member is killed, leaves or joins; not part of `reproduce`
    ViewChange,
}

impl Experiment {
    /// Those of `reproduce`, in the order in which it runs them.
    pub const ALL: [Experiment; 5] =
        [Experiment::Memcpy, Experiment::Write, Experiment::SmcRate, Experiment::Multicast, Experiment::Latency];

    /// The axes it sweeps, by their flags' names; giving another is an error.
    pub fn axes(self) -> &'static [&'static str] {
        match self {
            Experiment::Memcpy => &["size"],
            Experiment::Write => &["fabric", "size", "window"],
            Experiment::SmcRate => &["fabric", "nodes", "size", "senders", "ordering", "window"],
            Experiment::ViewChange => &["fabric", "nodes", "size", "window", "block", "schedule"],
            Experiment::Multicast | Experiment::Latency => {
                &["fabric", "nodes", "size", "senders", "ordering", "window", "block", "schedule"]
            }
        }
    }
}

/// Measures one point and writes its rows.
///
/// # Errors
/// Why there are no (further) rows.
pub fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    match point.setting.experiment {
        Experiment::Memcpy => memcpy::measure(point, stage),
        Experiment::Write => raw::measure(point, stage),
        Experiment::SmcRate | Experiment::Multicast => multicast::measure(point, stage),
        Experiment::Latency => latency::measure(point, stage),
        Experiment::ViewChange => change::measure(point, stage),
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}
