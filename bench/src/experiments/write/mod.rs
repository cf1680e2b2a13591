//! `write`, the parent's side: counts, trials and rows of raw writes.

pub mod node;
pub mod perftest;

use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;

use super::latencies::{histogram_of, with_latencies};
use super::show::Shown;
use super::warm_up::WarmUp;
use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::setting::Setting;
use crate::jobs::job::Work;
use crate::jobs::kinds::FabricKind;
use crate::jobs::live::Live;
use crate::jobs::os;
use crate::jobs::write::{IN_WORD_BYTES_MAX, WriteJob, WriteOrder, Written};
use crate::run::fault::Fault;
use crate::run::progress::Progress;
use crate::run::stage::Stage;
use crate::run::workers::Workers;
use perftest::Perftest;
use squall_report::{HistogramLog, Row};

/// The two nodes of raw writes.
pub(super) struct Pair<'a> {
    workers: Workers<'a>,
    ping_pong: bool,
    patience: Duration,
    /// For people who watch.
    shown: Option<(&'a Progress, Shown)>,
}

impl<'a> Pair<'a> {
    /// Starts them for a point.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub(super) fn start(point: &PlannedPoint, stage: &Stage<'a>) -> Result<Pair<'a>, Fault> {
        let setting = &point.setting;
        let ping_pong = setting.is_in_turns();
        let shown = stage.shown(point);
        let job = WriteJob {
            fabric: setting.fabric.unwrap_or(FabricKind::Shm),
            message_bytes: setting.message_bytes,
            window: setting.window.unwrap_or(1),
            verify: stage.verify(),
            spin: stage.request.axes.spin,
            own_core: stage.machine.own_core(2),
            in_word: ping_pong && setting.message_bytes <= IN_WORD_BYTES_MAX,
            shown: shown.is_some(),
        };
        let pair = Pair::of(job, ping_pong, stage.patience(point.trial_seconds), stage)?;
        let shown = shown.map(|progress| (progress, Shown::new(2, setting.message_bytes, setting.window)));
        Ok(Pair { shown, ..pair })
    }

    /// Writes that fit into a trial of a point.
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub(super) fn warm_up(&mut self, point: &PlannedPoint, stage: &Stage<'_>) -> Result<u64, Fault> {
        self.approach(point.setting.message_bytes, stage.request.axes.messages, point.trial_seconds)
    }

    /// One trial of so many writes as a row, with the latencies behind it if they went in turns.
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub(super) fn trial(
        &mut self,
        setting: &Setting,
        trial: u32,
        count: u64,
        stage: &Stage<'_>,
    ) -> Result<(Row, Option<Histogram<u64>>), Fault> {
        let note = stage.probe();
        let written = self.run(count)?;
        let seconds = took(&written);
        let row = Row {
            trial,
            messages_per_sender: Some(count),
            seconds: Some(seconds),
            cpu_seconds: Some(written.iter().map(|written| os::seconds(written.cpu_ns)).sum()),
            verified: stage.verify().name().into(),
            note: self.workers.noted(stage.probed(note)),
            ..setting.row(None)
        };
        if !self.ping_pong {
            let bytes = setting.message_bytes as f64 * count as f64;
            let messages_per_second = Some(count as f64 / seconds);
            return Ok((Row { algbw_gigabytes_per_second: Some(bytes / seconds / 1e9), messages_per_second, ..row }, None));
        }
        let histogram = histogram_of(written.first().map_or(&[][..], |first| &first.half_round_trips))?;
        let spread = format!("mean {:.2} us, deviation {:.2} us", histogram.mean() / 1e3, histogram.stdev() / 1e3);
        let note = [spread, row.note.clone()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        Ok((with_latencies(Row { note, ..row }, &histogram), Some(histogram)))
    }

    fn of(job: WriteJob, ping_pong: bool, patience: Duration, stage: &Stage<'a>) -> Result<Pair<'a>, Fault> {
        let works = vec![Work::Write(job.clone()), Work::Write(job)];
        let workers = stage.workers(works, Instant::now() + patience)?;
        Ok(Pair { workers, ping_pong, patience, shown: None })
    }

    fn run(&mut self, count: u64) -> Result<Vec<Written>, Fault> {
        let order = if self.ping_pong { WriteOrder::Latency(count) } else { WriteOrder::Bandwidth(count) };
        let (shown, ping_pong) = (&mut self.shown, self.ping_pong);
        let mut watch = |rank: usize, live: Live| {
            if let Some((progress, shown)) = shown {
                let shown = shown.hear(rank, live);
                progress.live(&if ping_pong { shown.text_in_turns() } else { shown.text() });
            }
        };
        self.workers.run_watched(&order, Instant::now() + self.patience, &mut watch)
    }

    /// Writes so many in a trial of `seconds`; approached in growing steps.
    fn approach(&mut self, message_bytes: u64, asked: Option<u64>, seconds: f64) -> Result<u64, Fault> {
        let mut steps = WarmUp::new(policy::warm_up_messages(message_bytes, 1), seconds, asked);
        loop {
            let written = self.run(steps.messages())?;
            if let Some(count) = steps.next(took(&written)) {
                return Ok(count);
            }
        }
    }

    /// Ends them.
    pub(super) fn finish(self) {
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
        shown: false,
    };
    let mut writers = Pair::of(job, false, stage.patience(seconds), stage)?;
    let count = writers.approach(message_bytes, None, seconds)?;
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
    let in_turns = stage.request.axes.perftest && setting.fabric == Some(FabricKind::Verbs);
    let mut kept: Option<(Pair<'_>, u64)> = None;
    for trial in stage.next_trial(setting)..=point.trials {
        let (mut writers, count) = match kept.take() {
            Some(kept) => kept,
            None => {
                let mut writers = Pair::start(point, stage)?;
                let count = writers.warm_up(point, stage)?;
                (writers, count)
            }
        };
        stage.begin_trial();
        let began = SystemTime::now();
        let (ours, latencies) = writers.trial(setting, trial, count, stage)?;
        match &latencies {
            Some(latency_ns) => {
                let took = Duration::from_secs_f64(ours.seconds.unwrap_or(0.0));
                stage.emit_with_histogram(point, ours.clone(), &HistogramLog { latency_ns, began, took })?;
            }
            None => stage.emit(point, ours.clone())?,
        }
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
