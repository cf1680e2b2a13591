//! One message as all its nodes saw it: its times, and its files.

use squall_report::{Row, RunFolder};

use super::split::{self, Split};
use super::trace;
use crate::ask::setting::TIMELINE_PARTS;
use crate::jobs::traced::{Event, What};
use crate::run::fault::Fault;

/// One message.
pub(super) struct Message {
    nodes: Vec<Vec<Event>>,
    flights: Vec<split::Flight>,
    splits: Vec<Split>,
    origin_ns: u64,
}

impl Message {
    /// Puts together what each node saw.
    ///
    /// # Errors
    /// A node that has no record of it.
    pub(super) fn of(nodes: Vec<Vec<Event>>) -> Result<Message, Fault> {
        let flights = split::flights(&nodes);
        let splits: Option<Vec<Split>> = nodes.iter().enumerate().map(|(node, events)| split::split(node, events, &flights)).collect();
        let splits = splits.ok_or_else(|| Fault::Failed("a node has no record of the message".into()))?;
        let begun = nodes.iter().flatten().filter(|event| event.what == What::Begun).map(|event| event.at_ns);
        let origin_ns = begun.min().unwrap_or(0);
        Ok(Message { nodes, flights, splits, origin_ns })
    }

    /// Of each part of [`TIMELINE_PARTS`] the times of all nodes.
    pub(super) fn times(&self) -> [Vec<u64>; TIMELINE_PARTS.len()] {
        let of = |time: fn(&Split) -> u64| self.splits.iter().map(time).collect();
        [of(|split| split.whole_ns), of(|split| split.moving_ns), of(|split| split.data_ns), of(|split| split.software_ns)]
    }

    /// Its files, beside the row of the whole.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(super) fn write(&self, folder: &RunFolder, whole: &Row, trial: u32) -> Result<(), Fault> {
        let point = whole.point();
        let csv = trace::csv(&self.nodes, self.origin_ns);
        folder.write_timeline(&point, trial, &csv).map_err(|error| Fault::Results(error.to_string()))?;
        let perfetto = trace::perfetto(&self.splits, &self.flights, self.origin_ns);
        folder.write_trace(&point, trial, &perfetto).map_err(|error| Fault::Results(error.to_string()))
    }
}

/// Least, median and greatest of the nodes' times.
pub(super) fn with_times(row: Row, mut times_ns: Vec<u64>) -> Row {
    times_ns.sort_unstable();
    let us = |ns: Option<&u64>| ns.map(|ns| *ns as f64 / 1e3);
    Row {
        latency_us_min: us(times_ns.first()),
        latency_us_p50: us(times_ns.get(times_ns.len() / 2)),
        latency_us_max: us(times_ns.last()),
        ..row
    }
}
