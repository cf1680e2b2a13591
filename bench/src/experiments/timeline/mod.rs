//! `rdmc-timeline`: one large message, block by block at every node: when it was posted, landed and was relayed, and
//! what each node spent its time on.
//!
//! ```text
//!   node 0   posted b0 --------.          posted b1 ---.
//!   node 1                     landed b0, relayed ----- landed b1, ...     moving: a block is on its way in or out
//!   node 2   waits for data ----------------- landed b0 ...                software: one could be sent on, and is not
//! ```
//!
//! The nodes record (`squall_rdmc::Timeline`); the parent puts together what they saw, on the clock that they share.

mod modelled;
mod split;
mod trace;

use squall_report::{Row, RunFolder};

pub(super) use modelled::measure as measure_modelled;

use super::group::{Members, Outcome};
use crate::ask::point::PlannedPoint;
use crate::ask::setting::TIMELINE_PARTS;
use crate::jobs::group::Load;
use crate::jobs::traced::{Event, What};
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use split::Split;

/// Messages before the first trial: every buffer of the window is touched, and every member knows the others' pace.
const WARM_UP_MESSAGES: u64 = 3;

/// The parent's side.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let setting = &point.setting;
    let mut members = Members::start(point, stage)?;
    stage.progress.notices(&members.notices());
    members.run(WARM_UP_MESSAGES, Load::Closed, false)?;
    for trial in stage.next_trial(setting)..=point.trials {
        stage.begin_trial();
        let outcome = members.trace()?;
        let (message, lost) = message(&outcome)?;
        let mut note = members.noted(String::new());
        if lost > 0 {
            note.push_str(&format!("{lost} events found no room in the record; use larger blocks"));
        }
        let whole = Row { trial, note, ..outcome.row(stage, setting, Some(TIMELINE_PARTS[0])) };
        message.write(stage.folder, &whole, trial)?;
        for (part, times) in TIMELINE_PARTS.into_iter().zip(message.times()) {
            let row = match part == TIMELINE_PARTS[0] {
                true => whole.clone(),
                false => Row { trial, verified: whole.verified.clone(), ..setting.row_as(outcome.relayed(), Some(part)) },
            };
            let row = with_times(row, times);
            if stage.folder.rows().trials(&row.point()) < trial {
                stage.emit(point, row)?;
            }
        }
    }
    members.finish();
    Ok(())
}

/// What all nodes saw of one message, and how many events were lost.
fn message(outcome: &Outcome) -> Result<(Message, u64), Fault> {
    let nodes: Vec<Vec<Event>> = outcome.nodes.iter().map(|seen| seen.events.clone()).collect();
    let lost = outcome.nodes.iter().map(|seen| seen.events_lost).sum();
    Message::of(nodes).map(|message| (message, lost))
}

/// One message.
struct Message {
    nodes: Vec<Vec<Event>>,
    flights: Vec<split::Flight>,
    splits: Vec<Split>,
    origin_ns: u64,
}

impl Message {
    fn of(nodes: Vec<Vec<Event>>) -> Result<Message, Fault> {
        let flights = split::flights(&nodes);
        let splits: Option<Vec<Split>> = nodes.iter().enumerate().map(|(node, events)| split::split(node, events, &flights)).collect();
        let splits = splits.ok_or_else(|| Fault::Failed("a node has no record of the message".into()))?;
        let begun = nodes.iter().flatten().filter(|event| event.what == What::Begun).map(|event| event.at_ns);
        let origin_ns = begun.min().unwrap_or(0);
        Ok(Message { nodes, flights, splits, origin_ns })
    }

    /// Of each part of [`TIMELINE_PARTS`] the times of all nodes.
    fn times(&self) -> [Vec<u64>; TIMELINE_PARTS.len()] {
        let of = |time: fn(&Split) -> u64| self.splits.iter().map(time).collect();
        [of(|split| split.whole_ns), of(|split| split.moving_ns), of(|split| split.data_ns), of(|split| split.software_ns)]
    }

    /// Its files, beside the row of the whole.
    fn write(&self, folder: &RunFolder, whole: &Row, trial: u32) -> Result<(), Fault> {
        let point = whole.point();
        let csv = trace::csv(&self.nodes, self.origin_ns);
        folder.write_timeline(&point, trial, &csv).map_err(|error| Fault::Results(error.to_string()))?;
        let perfetto = trace::perfetto(&self.splits, &self.flights, self.origin_ns);
        folder.write_trace(&point, trial, &perfetto).map_err(|error| Fault::Results(error.to_string()))
    }
}

/// Least, median and greatest of the nodes' times.
fn with_times(row: Row, mut times_ns: Vec<u64>) -> Row {
    times_ns.sort_unstable();
    let us = |ns: Option<&u64>| ns.map(|ns| *ns as f64 / 1e3);
    Row {
        latency_us_min: us(times_ns.first()),
        latency_us_p50: us(times_ns.get(times_ns.len() / 2)),
        latency_us_max: us(times_ns.last()),
        ..row
    }
}
