//! The experiments: what each runs, and how a measurement becomes rows. `README.md` beside this file says how one is
//! added.
//!
//! Each experiment has two sides. The parent's side (`measure`) starts nodes, tells them what to do and writes rows;
//! the node's side (`node`) does it.

pub mod capacity;
pub mod group;
pub mod here;
mod latencies;
mod latency;
pub mod memcpy;
pub mod modelled;
mod multicast;
mod offered;
pub mod omnipaxos;
pub mod payload;
pub mod peers;
mod show;
pub mod study;
mod timeline;
pub mod view_change;
mod warm_up;
pub mod write;

use crate::ask::experiment::Experiment;
use crate::ask::point::PlannedPoint;
use crate::ask::setting::Variant;
use crate::run::execute::Measures;
use crate::run::fault::Fault;
use crate::run::stage::Stage;

/// How each experiment is measured, what bounds them, and what comes first.
pub const MEASURES: Measures = Measures {
    first: study::first,
    first_seconds: study::first_seconds,
    capacity: capacity::measure,
    beside: capacity::measure_beside,
    point: measure,
};

/// Measures one point and writes its rows.
fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    match point.setting.experiment {
        Experiment::Memcpy => memcpy::measure(point, stage),
        Experiment::Write => write::measure(point, stage),
        Experiment::SmcRate | Experiment::RdmcSchedules | Experiment::Multicast | Experiment::Delay => multicast::measure(point, stage),
        Experiment::RdmcTimeline => timeline::measure(point, stage),
        Experiment::Latency => latency::measure(point, stage),
        Experiment::LatencyLoad => offered::measure(point, stage),
        Experiment::TcpGap if point.setting.variant == Variant::Plain => multicast::measure(point, stage),
        Experiment::TcpGap => latency::measure(point, stage),
        Experiment::Orders => match point.setting.variant {
            Variant::Change { .. } => view_change::measure(point, stage),
            Variant::Offered { .. } => offered::measure(point, stage),
            Variant::Closed | Variant::ClosedDelayed(_) | Variant::Reading => latency::measure(point, stage),
            _ => multicast::measure(point, stage),
        },
        Experiment::Peers => peers::measure(point, stage),
        Experiment::ViewChange => view_change::measure(point, stage),
    }
}
