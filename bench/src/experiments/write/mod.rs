//! `write`, the parent's side: counts, trials and rows of raw writes.

pub mod node;
pub mod perftest;

use std::time::{Duration, Instant, SystemTime};

use super::latencies::{histogram_of, with_latencies};
use super::warm_up::WarmUp;
use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::setting::Variant;
use crate::jobs::job::Work;
use crate::jobs::kinds::FabricKind;
use crate::jobs::os;
use crate::jobs::write::{IN_WORD_BYTES_MAX, WriteJob, WriteOrder, Written};
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use crate::run::workers::Workers;
use perftest::Perftest;
use squall_report::{HistogramLog, Row};

/// The two nodes of raw writes.
struct Writers<'a> {
    workers: Workers<'a>,
    ping_pong: bool,
    patience: Duration,
}

impl<'a> Writers<'a> {
    fn start(job: WriteJob, ping_pong: bool, patience: Duration, stage: &Stage<'a>) -> Result<Writers<'a>, Fault> {
        let works = vec![Work::Write(job.clone()), Work::Write(job)];
        let workers = stage.workers(works, Instant::now() + patience)?;
        Ok(Writers { workers, ping_pong, patience })
    }

    fn run(&mut self, count: u64) -> Result<Vec<Written>, Fault> {
        let order = if self.ping_pong { WriteOrder::Latency(count) } else { WriteOrder::Bandwidth(count) };
        self.workers.run(&order, Instant::now() + self.patience)
    }

    /// Writes so many in a trial of `seconds`; approached in growing steps.
    fn warm_up(&mut self, message_bytes: u64, asked: Option<u64>, seconds: f64) -> Result<u64, Fault> {
        let mut steps = WarmUp::new(policy::warm_up_messages(message_bytes, 1), seconds, asked);
        loop {
            let written = self.run(steps.messages())?;
            if let Some(count) = steps.next(took(&written)) {
                return Ok(count);
            }
        }
    }

    fn finish(self) {
        self.workers.dismiss(&WriteOrder::Finish);
    }
}

/// The best of `repeats` times what raw writes of one size carry, in 10^9 bytes a second.
///
/// # Errors
/// As [`Workers::run`].
pub(super) fn best_bandwidth(stage: &Stage<'_>, fabric: FabricKind, message_bytes: u64, seconds: f64, repeats: u32) -> Result<f64, Fault> {
    let axes = &stage.request.axes;
    let job = WriteJob {
        fabric,
        message_bytes,
        window: policy::write_window(message_bytes),
        verify: stage.verify(),
        spin: axes.spin,
        own_core: stage.machine.own_core(2),
        in_word: false,
    };
    let mut writers = Writers::start(job, false, stage.patience(seconds), stage)?;
    let count = writers.warm_up(message_bytes, None, seconds)?;
    let mut best: f64 = 0.0;
    for _ in 0..repeats {
        let written = writers.run(count)?;
        best = best.max(message_bytes as f64 * count as f64 / took(&written) / 1e9);
    }
    writers.finish();
    Ok(best)
}

/// The parent's side.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let setting = &point.setting;
    let axes = &stage.request.axes;
    let ping_pong = setting.variant == Variant::PingPong;
    let job = WriteJob {
        fabric: setting.fabric.unwrap_or(FabricKind::Shm),
        message_bytes: setting.message_bytes,
        window: setting.window.unwrap_or(1),
        verify: stage.verify(),
        spin: axes.spin,
        own_core: stage.machine.own_core(2),
        in_word: ping_pong && setting.message_bytes <= IN_WORD_BYTES_MAX,
    };
    let in_turns = axes.perftest && setting.fabric == Some(FabricKind::Verbs);
    let mut kept: Option<(Writers<'_>, u64)> = None;
    for trial in stage.next_trial(setting)..=point.trials {
        let (mut writers, count) = match kept.take() {
            Some(kept) => kept,
            None => {
                let mut writers = Writers::start(job.clone(), ping_pong, stage.patience(point.trial_seconds), stage)?;
                let count = writers.warm_up(setting.message_bytes, axes.messages, point.trial_seconds)?;
                (writers, count)
            }
        };
        stage.begin_trial();
        let note = stage.probe();
        let began = SystemTime::now();
        let written = writers.run(count)?;
        let seconds = took(&written);
        let bytes = setting.message_bytes as f64 * count as f64;
        let row = Row {
            trial,
            messages_per_sender: Some(count),
            seconds: Some(seconds),
            cpu_seconds: Some(written.iter().map(|written| os::seconds(written.cpu_ns)).sum()),
            verified: stage.verify().name().into(),
            note: writers.workers.noted(stage.probed(note)),
            ..setting.row(None)
        };
        let ours = if ping_pong {
            let counts = written.first().map_or(&[][..], |first| &first.half_round_trips);
            let histogram = histogram_of(counts)?;
            let took = Duration::from_secs_f64(seconds);
            let spread = format!("mean {:.2} us, deviation {:.2} us", histogram.mean() / 1e3, histogram.stdev() / 1e3);
            let note = [spread, row.note.clone()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
            let row = with_latencies(Row { note, ..row }, &histogram);
            stage.emit_with_histogram(point, row.clone(), &HistogramLog { latency_ns: &histogram, began, took })?;
            row
        } else {
            let messages_per_second = Some(count as f64 / seconds);
            let row = Row { algbw_gigabytes_per_second: Some(bytes / seconds / 1e9), messages_per_second, ..row };
            stage.emit(point, row.clone())?;
            row
        };
        if !in_turns {
            kept = Some((writers, count));
            continue;
        }
        // One program at a time: a host has one node.
        writers.finish();
        stage.progress.doing(&format!("{}: trial {trial} of {}", perftest::NAME, point.trials));
        let mut peer = Perftest::start(setting, stage)?;
        match peer.run(setting, trial, count)? {
            Ok(row) => stage.emit(point, perftest::compared(row, &ours))?,
            Err(why) => stage.progress.say(&format!("  note: {why}")),
        }
        peer.finish();
    }
    if let Some((writers, _)) = kept {
        writers.finish();
    }
    Ok(())
}

/// Seconds from the first node's beginning to the last one's end: the second node begins by waiting.
fn took(written: &[Written]) -> f64 {
    let began = written.first().map_or(0, |first| first.began_ns);
    let ended = written.iter().map(|written| written.ended_ns).max().unwrap_or(0);
    os::seconds(ended.saturating_sub(began).max(1))
}
