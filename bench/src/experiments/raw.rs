//! `write`, the parent's side: counts, trials and rows of raw writes.

use std::time::{Instant, SystemTime};

use super::latencies::{histogram_of, with_latencies};
use super::stage::Stage;
use super::write::{WriteJob, WriteOrder, Written};
use crate::node::job::Work;
use crate::node::machine;
use crate::results::{HistogramLog, Row};
use crate::run::axes::FabricKind;
use crate::run::crew::{Crew, Muster};
use crate::run::fault::Fault;
use crate::run::plan::PlannedPoint;
use crate::run::policy;
use crate::run::setting::Variant;

/// The parent's side.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let setting = &point.setting;
    let axes = &stage.request.axes;
    let job = WriteJob {
        fabric: setting.fabric.unwrap_or(FabricKind::Shm),
        message_bytes: setting.message_bytes,
        window: setting.window.unwrap_or(1),
        verify: stage.verify(),
        spin: axes.spin,
    };
    let works = vec![Work::Write(job.clone()), Work::Write(job)];
    let cores = policy::cores(2, &stage.machine.cores, &axes.pin);
    let asked = axes.messages;
    let patience = stage.patience(point.trial_seconds);
    let mut crew = Crew::start(Muster { works, cores, meet: true }, stage.interrupt, Instant::now() + patience)?;
    let ping_pong = setting.variant == Variant::PingPong;
    let order = |count| if ping_pong { WriteOrder::Latency(count) } else { WriteOrder::Bandwidth(count) };
    let mut count = asked.unwrap_or_else(|| policy::warm_up_messages(setting.message_bytes, 1)).min(policy::WARM_UP_WRITES_MAX);
    // The first warm-up also pays for page faults; the second one tells the rate.
    for _ in 0..2 {
        let written: Vec<Written> = crew.run(&order(count), Instant::now() + patience)?;
        let seconds = took(&written);
        count = asked.unwrap_or_else(|| policy::messages_for(count, seconds, point.trial_seconds));
    }
    for trial in stage.next_trial(setting)..=point.trials {
        let note = stage.probe();
        let began = SystemTime::now();
        let written: Vec<Written> = crew.run(&order(count), Instant::now() + patience)?;
        let seconds = took(&written);
        let bytes = setting.message_bytes as f64 * count as f64;
        let row = Row {
            trial,
            messages_per_sender: Some(count),
            seconds: Some(seconds),
            cpu_seconds: Some(written.iter().map(|written| machine::seconds(written.cpu_ns)).sum()),
            verified: stage.verify().name().into(),
            note: stage.probed(note),
            ..setting.row(None)
        };
        if ping_pong {
            let counts = written.first().map_or(&[][..], |first| &first.half_round_trips);
            let histogram = histogram_of(counts)?;
            let took = std::time::Duration::from_secs_f64(seconds);
            let row = with_latencies(row, &histogram);
            stage.emit_with_histogram(point, row, &HistogramLog { latency_ns: &histogram, began, took })?;
        } else {
            let messages_per_second = Some(count as f64 / seconds);
            stage.emit(point, Row { algbw_gigabytes_per_second: Some(bytes / seconds / 1e9), messages_per_second, ..row })?;
        }
    }
    crew.dismiss(&WriteOrder::Finish);
    Ok(())
}

/// Seconds from the first node's beginning to the last one's end: the second node begins by waiting.
fn took(written: &[Written]) -> f64 {
    let began = written.first().map_or(0, |first| first.began_ns);
    let ended = written.iter().map(|written| written.ended_ns).max().unwrap_or(0);
    machine::seconds(ended.saturating_sub(began).max(1))
}
