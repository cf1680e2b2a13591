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

use crate::ask::experiment::Experiment;
use crate::ask::point::PlannedPoint;
use crate::run::fault::Fault;
use stage::Stage;

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
