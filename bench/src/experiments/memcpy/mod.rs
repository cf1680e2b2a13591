//! `memcpy`: what one core and all cores copy, cold and cached, by the best method of each.

pub mod node;

use std::time::{Duration, Instant};

use super::show::Shown;
use crate::ask::machine::Machine;
use crate::ask::memory::copy_sets;
use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::setting::Variant;
use crate::jobs::copy::{Copied, CopyCase, CopyJob, CopyOrder, Method};
use crate::jobs::job::Work;
use crate::jobs::live::Live;
use crate::jobs::rdma::Rdma;
use crate::run::fault::Fault;
use crate::run::progress::Progress;
use crate::run::stage::Stage;
use crate::run::workers::{Workers, WorkersConfig};
use squall_report::bounds::Warmth;
use squall_report::{Row, units};

/// Setting a copy up and stopping it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process that copies.
pub struct Copier<'a> {
    workers: Workers<'a>,
    machine: &'a Machine,
}

/// The best method's copies.
#[derive(Clone, Debug)]
pub struct Best {
    /// What it copied.
    pub copied: Copied,
    /// Bytes of 10^9 a second.
    pub gigabytes_per_second: f64,
    /// Every method's rate, for people.
    pub note: String,
}

impl<'a> Copier<'a> {
    /// Starts the process.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub fn start(stage: &Stage<'a>) -> Result<Copier<'a>, Fault> {
        let config = WorkersConfig {
            works: vec![Work::Copy(CopyJob {})],
            cores: vec![None],
            meet: false,
            rdma: Rdma::default(),
            lost_after: None,
            hosts: None,
        };
        let workers = Workers::start(config, stage.interrupt, Instant::now() + PATIENCE)?;
        Ok(Copier { workers, machine: stage.machine })
    }

    /// Copies by each method for `seconds`; the best. How far it is is `shown` meanwhile.
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub fn best(
        &mut self,
        message_bytes: u64,
        warmth: Warmth,
        all_cores: bool,
        seconds: f64,
        progress: Option<&Progress>,
    ) -> Result<Best, Fault> {
        let (source_set, target_set) = copy_sets(message_bytes, warmth);
        let cores = &self.machine.cores;
        let copiers = if all_cores { cores.clone() } else { cores[..1].to_vec() };
        let reader = if all_cores { None } else { cores.get(1).copied() };
        let mut best: Option<(Copied, f64)> = None;
        let mut rates = Vec::new();
        for method in Method::ALL {
            let shown = progress.is_some();
            let case = CopyCase { message_bytes, source_set, target_set, copiers: copiers.clone(), reader, method, seconds, shown };
            let mut so_far = Shown::new(1, message_bytes, None);
            let mut watch = |rank: usize, live: Live| {
                if let Some(progress) = progress {
                    progress.live(&format!("{} {}", method.name(), so_far.hear(rank, live).text()));
                }
            };
            let deadline = Instant::now() + PATIENCE + policy::deadline(seconds);
            let copied: Vec<Copied> = self.workers.run_watched(&CopyOrder::Run(case), deadline, &mut watch)?;
            let copied = copied.first().copied().ok_or_else(|| Fault::Failed("the copying node gave no result".into()))?;
            let rate = copied.copies as f64 * message_bytes as f64 / copied.seconds / 1e9;
            rates.push(format!("{} {} GB/s", method.name(), units::number(rate)));
            if best.is_none_or(|(_, best)| rate > best) {
                best = Some((copied, rate));
            }
        }
        match best {
            Some((copied, gigabytes_per_second)) => Ok(Best { copied, gigabytes_per_second, note: rates.join(", ") }),
            None => Err(Fault::Failed("no copy method".into())),
        }
    }

    /// Ends the process.
    pub fn finish(self) {
        self.workers.dismiss(&CopyOrder::Finish);
    }
}

/// The parent's side.
///
/// # Errors
/// Why there are no (further) rows.
pub fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let setting = &point.setting;
    let Variant::Copy(copy) = setting.variant else { return Err(Fault::Failed("no variant of a copy".into())) };
    let mut copier = Copier::start(stage)?;
    for trial in stage.next_trial(setting)..=point.trials {
        stage.begin_trial();
        let best = copier.best(setting.message_bytes, copy.warmth, copy.all_cores, point.trial_seconds, stage.shown(point))?;
        let row = Row {
            trial,
            seconds: Some(best.copied.seconds),
            algbw_gigabytes_per_second: Some(best.gigabytes_per_second),
            messages_per_second: Some(best.copied.copies as f64 / best.copied.seconds),
            cpu_seconds: Some(best.copied.cpu_seconds),
            verified: "none".into(),
            note: best.note,
            ..setting.row(None)
        };
        stage.emit(point, row)?;
    }
    copier.finish();
    Ok(())
}
