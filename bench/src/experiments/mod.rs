//! The experiments: what each runs, and how a measurement becomes rows. `README.md` beside this file says how one is
//! added.
//!
//! Each experiment has two sides. The parent's side (`measure`) starts nodes, tells them what to do and writes rows;
//! the node's side (`node`) does it.

pub mod capacity;
pub mod group;
mod latencies;
mod latency;
pub mod memcpy;
pub mod modelled;
mod multicast;
pub mod payload;
mod timeline;
pub mod view_change;
mod warm_up;
pub mod write;

use crate::ask::experiment::Experiment;
use crate::ask::point::PlannedPoint;
use crate::run::execute::Measures;
use crate::run::fault::Fault;
use crate::run::stage::Stage;

/// How each experiment is measured, and what bounds them.
pub const MEASURES: Measures = Measures { capacity: capacity::measure, beside: capacity::measure_beside, point: measure };

/// Measures one point and writes its rows.
fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    match point.setting.experiment {
        Experiment::Memcpy => memcpy::measure(point, stage),
        Experiment::Write => write::measure(point, stage),
        Experiment::SmcRate | Experiment::RdmcSchedules | Experiment::Multicast => multicast::measure(point, stage),
        Experiment::RdmcTimeline => timeline::measure(point, stage),
        Experiment::Latency => latency::measure(point, stage),
        Experiment::ViewChange => view_change::measure(point, stage),
    }
}
