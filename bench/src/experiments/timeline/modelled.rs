//! `rdmc-timeline` on a modelled cluster: in virtual time, where nothing disturbs.

use squall_report::{Row, RunFolder};
use squall_study::{Outcome, Run};

use super::message::{Message, with_times};
use crate::ask::setting::TIMELINE_PARTS;
use crate::jobs::traced::events;
use crate::run::fault::Fault;

/// Runs one message and writes its rows and files; `row` makes the row of a part, with what was measured or without.
///
/// # Errors
/// A point that has no result, or results that cannot be written.
pub(in crate::experiments) fn measure(
    folder: &mut RunFolder,
    run: &Run,
    trial: u32,
    row: impl Fn(&str, Option<&Outcome>) -> Row,
) -> Result<(), Fault> {
    let (outcome, records) = run.traced().map_err(|error| Fault::Failed(error.to_string()))?;
    let message = Message::of(records.iter().map(|records| events(records)).collect())?;
    for (part, times) in TIMELINE_PARTS.into_iter().zip(message.times()) {
        let is_whole = part == TIMELINE_PARTS[0];
        let row = Row { trial, ..with_times(row(part, is_whole.then_some(&outcome)), times) };
        if is_whole {
            message.write(folder, &row, trial)?;
        }
        folder.append(&row).map_err(|error| Fault::Results(error.to_string()))?;
    }
    Ok(())
}
