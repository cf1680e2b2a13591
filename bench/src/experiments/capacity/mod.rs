//! What this machine can do at most, measured at the start of each run: the bounds of everything that follows.

pub mod stream;
pub mod wire;

use std::time::{Duration, Instant};

use crate::ask::plan::Plan;
use crate::ask::point::PlannedPoint;
use crate::ask::policy::{BOUND_REPEATS, BOUND_SECONDS, BOUND_SECONDS_QUICK, STREAM_FACTOR};
use crate::ask::setting::warmth_name;
use crate::experiments::memcpy::Copier;
use crate::experiments::write::best_bandwidth;
use crate::jobs::job::Work;
use crate::jobs::kinds::FabricKind;
use crate::jobs::rdma::Rdma;
use crate::jobs::stream::{StreamCase, StreamJob, StreamOrder, Streamed, Threads};
use crate::run::capacity::{BoundSeconds, Capacity, RAW_WRITE_BYTES, SizedCopies, Streams, copies_of_all};
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use crate::run::workers::{Workers, WorkersConfig};
use squall_report::bounds::{CopyCapacity, Warmth};
use squall_report::units;

/// How often a figure is measured beside a point that passes its bound.
const REPEATS_BESIDE: u32 = 2;

const STREAM_WRITES: [u64; 2] = [128 << 10, 1 << 20];
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures what the points of `plan` are bound by.
///
/// # Errors
/// If the measuring processes fail, or the user interrupts.
pub(super) fn measure(plan: &Plan, stage: &Stage<'_>) -> Result<Capacity, Fault> {
    let seconds = BoundSeconds::of(stage.request.quick, stage.hosts.is_some());
    measure_best(plan, stage, BOUND_REPEATS, &|step, part| match step {
        Step::Begins(what) => stage.progress.probing(what, part(&seconds)),
        Step::Ended(line) => stage.progress.bound(line, part(&seconds)),
    })
}

/// Measures what `point` is bound by once more, while its nodes wait.
///
/// # Errors
/// As [`measure`].
pub(super) fn measure_beside(point: &PlannedPoint, stage: &Stage<'_>) -> Result<Capacity, Fault> {
    measure_best(&Plan { points: vec![point.clone()] }, stage, REPEATS_BESIDE, &|_, _| {})
}

/// Of measuring one bound.
enum Step<'a> {
    /// What is about to be measured.
    Begins(&'a str),
    /// What came out.
    Ended(&'a str),
}

/// Hears what is and what was measured, and which part of the time that takes.
type Told<'a> = dyn Fn(Step<'_>, fn(&BoundSeconds) -> f64) + 'a;

fn measure_best(plan: &Plan, stage: &Stage<'_>, repeats: u32, told: &Told<'_>) -> Result<Capacity, Fault> {
    let runs = |point: &&PlannedPoint| point.skip.is_none();
    let over = |fabric| plan.points.iter().filter(runs).filter(move |point| point.setting.fabric == Some(fabric));
    let verify = stage.verify();
    let wanted = copies_of_all(plan.points.iter(), verify, stage.machine);
    let mut capacity = Capacity::default();
    let seconds = if stage.request.quick { BOUND_SECONDS_QUICK } else { BOUND_SECONDS };
    if !wanted.is_empty() {
        let mut copier = Copier::start(stage)?;
        for (copy_bytes, warmth) in wanted {
            let copies = format!("copies of {}, {}", units::bytes(copy_bytes), warmth_name(warmth));
            told(Step::Begins(&copies), |seconds| seconds.copies);
            let one_core = best_copy(&mut copier, copy_bytes, warmth, false, (repeats, seconds))?;
            let all_core = best_copy(&mut copier, copy_bytes, warmth, true, (repeats, seconds))?;
            let (one, all) = (units::number(one_core), units::number(all_core));
            told(Step::Ended(&format!("{copies}: {one} GB/s by one core, {all} by all")), |seconds| seconds.copies);
            let cores = stage.machine.cores.len() as u32;
            capacity.copies.push(SizedCopies { copy_bytes, capacity: CopyCapacity { one_core, all_core, cores, warmth } });
        }
        copier.finish();
    }
    if over(FabricKind::Tcp).next().is_some() {
        let seconds = STREAM_FACTOR * seconds;
        capacity.streams = Some(if stage.hosts.is_some() {
            told(Step::Begins("TCP streams to the second host"), |seconds| seconds.streams);
            let streams = wire::streams(stage, seconds)?;
            let (one, all) = (units::number(streams.one), units::number(streams.all));
            let line = format!("TCP streams to the second host: {one} GB/s by one, {all} by several");
            told(Step::Ended(&line), |seconds| seconds.streams);
            streams
        } else {
            streams(stage, repeats, seconds, told)?
        });
    }
    if over(FabricKind::Verbs).next().is_some() {
        told(Step::Begins("raw RDMA writes"), |seconds| seconds.raw_write);
        let rate = best_bandwidth(stage, FabricKind::Verbs, RAW_WRITE_BYTES, STREAM_FACTOR * seconds, repeats)?;
        told(Step::Ended(&format!("raw RDMA writes: {} GB/s", units::number(rate))), |seconds| seconds.raw_write);
        capacity.raw_write = Some(rate);
    }
    Ok(capacity)
}

fn best_copy(copier: &mut Copier<'_>, bytes: u64, warmth: Warmth, all_cores: bool, (repeats, seconds): (u32, f64)) -> Result<f64, Fault> {
    let mut best: f64 = 0.0;
    for _ in 0..repeats {
        best = best.max(copier.best(bytes, warmth, all_cores, seconds, None)?.gigabytes_per_second);
    }
    Ok(best)
}

fn streams(stage: &Stage<'_>, repeats: u32, seconds: f64, told: &Told<'_>) -> Result<Streams, Fault> {
    let config = WorkersConfig {
        works: vec![Work::Stream(StreamJob {})],
        cores: vec![None],
        meet: false,
        rdma: Rdma::default(),
        lost_after: None,
        hosts: None,
    };
    let mut workers = Workers::start(config, stage.interrupt, Instant::now() + PATIENCE)?;
    let cores = &stage.machine.cores;
    let mut most = |what: &str, threads: Threads| -> Result<f64, Fault> {
        told(Step::Begins(what), |seconds| seconds.streams / 4.0);
        let mut most: f64 = 0.0;
        for _ in 0..repeats {
            for write_bytes in STREAM_WRITES {
                let case = StreamCase { write_bytes, threads: threads.clone(), seconds };
                let streamed: Vec<Streamed> = workers.run(&StreamOrder::Run(case), Instant::now() + PATIENCE)?;
                most = streamed.iter().map(|streamed| streamed.bytes as f64 / streamed.seconds / 1e9).fold(most, f64::max);
            }
        }
        told(Step::Ended(&format!("{what}: {} GB/s", units::number(most))), |seconds| seconds.streams / 4.0);
        Ok(most)
    };
    let mut one = most("a TCP stream whose ends sleep", Threads::Sleeping(1))?;
    let mut all = most("several TCP streams whose ends sleep", Threads::Sleeping((cores.len() as u32).max(2)))?;
    // Two threads that poll one core would only be in each other's way.
    if let [first, second, ..] = cores[..] {
        one = one.max(most("a TCP stream whose ends poll", Threads::Polling(first, second))?);
        all = all.max(most("a ring of TCP streams over all cores that poll", Threads::Ring(cores.clone()))?);
    }
    workers.dismiss(&StreamOrder::Finish);
    Ok(Streams { one, all: all.max(one) })
}
