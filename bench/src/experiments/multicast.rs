//! `multicast`, `smc-rate` and others like them, the parent's side: how fast a group delivers what its senders send as
//! fast as the window lets.

use super::group::Members;
use super::group::over_time::OverTime;
use crate::ask::experiment::Experiment;
use crate::ask::point::PlannedPoint;
use crate::jobs::group::Load;
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use squall_report::Row;

/// The parent's side.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let setting = &point.setting;
    let mut members = Members::start(point, stage)?;
    stage.progress.notices(&members.notices());
    let messages = members.warm_up(Load::Full, point.trial_seconds, stage.request.axes.messages)?;
    for trial in stage.next_trial(setting)..=point.trials {
        stage.begin_trial();
        let before = stage.probe();
        let outcome = members.run(messages, Load::Full, false)?;
        let over_time = OverTime::of(&outcome.nodes, setting.message_bytes);
        let probed = Some(stage.probed(before)).filter(|note| !note.is_empty());
        let written = (setting.experiment == Experiment::Orders).then(|| outcome.written(setting.sending()));
        let notes = [outcome.requests(setting.sending()), written, over_time.as_ref().map(OverTime::note), probed];
        let note = members.noted(notes.into_iter().flatten().collect::<Vec<_>>().join("; "));
        let row = Row { trial, note, ..outcome.row(stage, setting, None) };
        if let Some(over_time) = &over_time {
            let written = stage.folder.write_timeline(&row.point(), trial, &over_time.csv());
            written.map_err(|error| Fault::Results(error.to_string()))?;
        }
        stage.emit(point, row)?;
    }
    members.finish();
    Ok(())
}
