//! `view-change`: how long a group is held up when a member is killed, leaves or joins.
//!
//! ```text
//!          load                    the fault                                                      load goes on
//!   --------------------------------- | ------ wedged -- trimmed -- met -- installed -- active --------------->
//!                                    t0        ^ at the first member: times of the later steps count from here
//!   <-- calm: the longest silence --> | <------------ gap: the longest silence -------- newcomer -- voter ---->
//! ```
//!
//! Every trial is a group of its own. Its processes share a clock: that of their host, or, on several hosts, that of
//! the first as far as the others know it.

mod cluster;
pub mod node;
mod outcome;
mod state;

use std::time::Instant;

use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::setting::Variant;
use crate::ask::upset::ACTIVE;
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use cluster::Cluster;
use squall_report::Row;

/// Measures one point.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let setting = &point.setting;
    let Variant::Change { upset, full } = setting.variant else { return Err(Fault::Failed("no fault is named".into())) };
    for trial in stage.next_trial(setting)..=point.trials {
        let patience = stage.patience(point.trial_seconds + policy::set_up_seconds(setting.nodes + upset.newcomers(), point.memory_bytes));
        let mut cluster = Cluster::found(point, upset, full, stage, Instant::now() + patience)?;
        stage.begin_trial();
        let outcome = cluster.upset(
            upset,
            stage.request.axes.seconds.unwrap_or_else(|| policy::trial_seconds(setting.experiment, setting.variant, stage.request.quick)),
        )?;
        drop(cluster);
        let missing = || Fault::Failed("the view changed without a record of how; is it another build?".to_owned());
        for part in outcome.parts().ok_or_else(missing)? {
            let name = part.name;
            let row = part.in_row(Row { trial, verified: stage.verify().name().into(), ..setting.row(Some(name)) });
            let note = [Some(row.note.clone()).filter(|note| !note.is_empty()), outcome.note.clone()];
            let row = Row { note: note.into_iter().flatten().collect::<Vec<_>>().join("; "), ..row };
            if name == ACTIVE {
                let written = stage.folder.write_timeline(&row.point(), trial, &outcome.timeline());
                written.map_err(|error| Fault::Results(error.to_string()))?;
            }
            if stage.folder.rows().trials(&row.point()) < trial {
                stage.emit(point, row)?;
            }
        }
    }
    Ok(())
}
