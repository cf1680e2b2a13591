//! `latency-load`, the parent's side: latency while messages come at a constant rate, from a small part of what the
//! group delivers at most to more than that.
//!
//! Each message is timed twice: from when it was due, which counts what it waited for its sender, and from the call
//! that sent it, which is what a loop sees that waits for room before it looks at the clock. The second one leaves out
//! just the messages that would have been slow (*coordinated omission*).

use std::time::{Duration, SystemTime};

use super::group::Members;
use super::latencies::with_latencies;
use super::latency::{delivered_at_sender, over_messages};
use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::setting::{FROM_CALL, FROM_DUE, Variant};
use crate::jobs::group::{Load, Seen};
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use squall_report::{HistogramLog, Row, units};

/// The parent's side.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let setting = &point.setting;
    let Variant::Offered { percent } = setting.variant else { return Err(Fault::Failed("no offered load".into())) };
    let mut members = Members::start(point, stage)?;
    stage.progress.notices(&members.notices());
    let asked = stage.request.axes.messages;
    let most = policy::latencies_max(setting.senders);
    let saturating = members.warm_up(Load::Full, point.trial_seconds, asked.map(|asked| asked.min(most)))?.min(most);
    for trial in stage.next_trial(setting)..=point.trials {
        // What it delivers at most moves from second to second on some machines: it is measured beside each trial, with
        // the clock read as often.
        let full = members.run(saturating, Load::Full, true)?;
        let rate = full.messages as f64 / full.seconds * f64::from(percent) / 100.0;
        let interval_ns = (1e9 / rate).round().max(1.0) as u64;
        let messages = asked.unwrap_or((point.trial_seconds * rate) as u64).clamp(policy::MESSAGES_MIN, most);
        stage.begin_trial();
        let before = stage.probe();
        let began = SystemTime::now();
        let outcome = members.run(messages, Load::Paced(interval_ns), true)?;
        let offered = format!("offered {} messages/s a sender", units::number(1e9 / interval_ns as f64));
        let note =
            members.noted([offered, stage.probed(before)].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join("; "));
        let took = Duration::from_secs_f64(outcome.seconds);
        let due: fn(&Seen) -> &Vec<u64> = |node| &node.sends_ns;
        let call: fn(&Seen) -> &Vec<u64> = |node| &node.calls_ns;
        for (part, sent_ns) in [(FROM_DUE, due), (FROM_CALL, call)] {
            let latency_ns = over_messages(&outcome, setting, sent_ns, |sender, index| delivered_at_sender(&outcome, sender, index))?;
            let row = Row { trial, note: note.clone(), ..outcome.row(stage, setting, Some(part)) };
            if stage.folder.rows().trials(&row.point()) < trial {
                stage.emit_with_histogram(
                    point,
                    with_latencies(row, &latency_ns),
                    &HistogramLog { latency_ns: &latency_ns, began, took },
                )?;
            }
        }
    }
    members.finish();
    Ok(())
}
