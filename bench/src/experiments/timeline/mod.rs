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

mod message;
mod modelled;
mod split;
mod trace;

use squall_report::Row;

pub(super) use modelled::measure as measure_modelled;

use super::group::{Members, Outcome};
use crate::ask::point::PlannedPoint;
use crate::ask::setting::TIMELINE_PARTS;
use crate::jobs::group::Load;
use crate::jobs::traced::Event;
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use message::{Message, with_times};

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
        let (message, lost) = message_of(&outcome)?;
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
fn message_of(outcome: &Outcome) -> Result<(Message, u64), Fault> {
    let nodes: Vec<Vec<Event>> = outcome.nodes.iter().map(|seen| seen.events.clone()).collect();
    let lost = outcome.nodes.iter().map(|seen| seen.events_lost).sum();
    Message::of(nodes).map(|message| (message, lost))
}
