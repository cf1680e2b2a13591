//! What this machine can do at most, measured at the start of each run: the bounds of everything that follows.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::memcpy::Copier;
use super::raw;
use super::stage::Stage;
use super::wire;
use crate::ask::machine::Machine;
use crate::ask::plan::Plan;
use crate::ask::point::PlannedPoint;
use crate::ask::setting::Setting;
use crate::jobs::job::Work;
use crate::jobs::kinds::FabricKind;
use crate::jobs::kinds::Verify;
use crate::jobs::rdma::Rdma;
use crate::jobs::stream::{StreamCase, StreamJob, StreamOrder, Streamed, Threads};
use crate::run::crew::{Crew, Muster};
use crate::run::fault::Fault;
use squall_report::bounds::{Bound, CopyCapacity, Warmth};

/// What this machine can do at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Copies, by size and warmth.
    pub copies: Vec<SizedCopies>,
    /// Streams over TCP.
    pub streams: Option<Streams>,
    /// Raw RDMA writes of [`RAW_WRITE_BYTES`] from one node to another, in 10^9 bytes a second.
    #[serde(default)]
    pub raw_write: Option<f64>,
}

/// Copies of one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizedCopies {
    /// Bytes of one copy.
    pub copy_bytes: u64,
    /// What they reach.
    pub capacity: CopyCapacity,
}

/// Streams over TCP, in 10^9 bytes a second: over loopback, or from the first host to the second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Streams {
    /// One stream alone.
    pub one: f64,
    /// As many as there are cores; between hosts a few.
    pub all: f64,
}

/// Each figure is measured so often, and the best counts: a bound is the most that was ever seen.
const REPEATS: u32 = 5;
/// Blocks of this size reach what a device can.
pub const RAW_WRITE_BYTES: u64 = 1 << 20;
const STREAM_WRITES: [u64; 2] = [128 << 10, 1 << 20];
const PATIENCE: Duration = Duration::from_secs(60);
/// Small messages of a batch are copied together: no smaller copies are made.
const BATCH_BYTES: u64 = 4 << 10;
/// Streams take longer to settle than copies.
const STREAM_FACTOR: f64 = 2.5;
const SECONDS: f64 = 0.1;
const SECONDS_QUICK: f64 = 0.04;

/// Which copies bound a point: their size and what is warm.
pub fn copies_of(setting: &Setting, memory_bytes: u64, verify: Verify, machine: &Machine) -> (u64, Warmth) {
    // A group ships what was committed since the last turn in one copy.
    let copy_bytes = if setting.shape.is_some() { setting.message_bytes.max(BATCH_BYTES) } else { setting.message_bytes };
    let possible = Warmth::possible(memory_bytes, machine.last_level_cache_bytes);
    // Beyond the caches a source is warm only if its sender has just written all of it: blocks land past the cache, so a relay reads from memory.
    match possible {
        Warmth::Cached => (copy_bytes, Warmth::Cached),
        _ if verify == Verify::Full => (copy_bytes, Warmth::WarmSource),
        _ => (copy_bytes, Warmth::Cold),
    }
}

impl Capacity {
    /// Measures what the points of `plan` are bound by.
    ///
    /// # Errors
    /// If the measuring processes fail, or the user interrupts.
    pub fn measure(plan: &Plan, stage: &Stage<'_>) -> Result<Capacity, Fault> {
        let runs = |point: &&PlannedPoint| point.skip.is_none();
        let over = |fabric| plan.points.iter().filter(runs).filter(move |point| point.setting.fabric == Some(fabric));
        let verify = stage.verify();
        let mut wanted: Vec<(u64, Warmth)> = Vec::new();
        for point in over(FabricKind::Shm) {
            let copies = copies_of(&point.setting, point.memory_bytes, verify, stage.machine);
            if !wanted.contains(&copies) {
                wanted.push(copies);
            }
        }
        let mut capacity = Capacity::default();
        let seconds = if stage.request.quick { SECONDS_QUICK } else { SECONDS };
        if !wanted.is_empty() {
            let mut copier = Copier::start(stage)?;
            for (copy_bytes, warmth) in wanted {
                let one_core = best_copy(&mut copier, copy_bytes, warmth, false, seconds)?;
                let all_core = best_copy(&mut copier, copy_bytes, warmth, true, seconds)?;
                let cores = stage.machine.cores.len() as u32;
                capacity.copies.push(SizedCopies { copy_bytes, capacity: CopyCapacity { one_core, all_core, cores, warmth } });
            }
            copier.finish();
        }
        if over(FabricKind::Tcp).next().is_some() {
            let seconds = STREAM_FACTOR * seconds;
            let measured = if stage.hosts.is_some() { wire::streams(stage, seconds) } else { streams(stage, seconds) };
            capacity.streams = Some(measured?);
        }
        if over(FabricKind::Verbs).next().is_some() {
            capacity.raw_write = Some(raw::best_bandwidth(stage, FabricKind::Verbs, RAW_WRITE_BYTES, STREAM_FACTOR * seconds, REPEATS)?);
        }
        Ok(capacity)
    }

    /// The bound of a point, if what bounds it was measured.
    pub fn bound(&self, point: &PlannedPoint, verify: Verify, machine: &Machine) -> Option<Bound> {
        let setting = &point.setting;
        let load = setting.load();
        match setting.fabric? {
            FabricKind::Shm => {
                let (copy_bytes, warmth) = copies_of(setting, point.memory_bytes, verify, machine);
                let sized = self.copies.iter().find(|sized| sized.copy_bytes == copy_bytes && sized.capacity.warmth == warmth)?;
                Some(Bound::of_copies(load, &sized.capacity))
            }
            FabricKind::Tcp if machine.hosts.is_some() => self.streams.map(|streams| match load.nodes {
                2 => Bound::of_links(streams.one, "tcp stream"),
                _ => Bound::of_links(streams.all, "tcp streams"),
            }),
            FabricKind::Verbs if machine.hosts.is_some() => self.raw_write.map(|rate| Bound::of_links(rate, "raw write")),
            FabricKind::Tcp => self.streams.map(|streams| Bound::of_loopback_streams(load, streams.one, streams.all)),
            // All nodes share one device, which every copy of a message passes.
            FabricKind::Verbs => self.raw_write.map(|rate| Bound::of_host(load, rate, "raw write")),
        }
    }
}

fn best_copy(copier: &mut Copier<'_>, bytes: u64, warmth: Warmth, all_cores: bool, seconds: f64) -> Result<f64, Fault> {
    let mut best: f64 = 0.0;
    for _ in 0..REPEATS {
        best = best.max(copier.best(bytes, warmth, all_cores, seconds)?.gigabytes_per_second);
    }
    Ok(best)
}

fn streams(stage: &Stage<'_>, seconds: f64) -> Result<Streams, Fault> {
    let muster = Muster { works: vec![Work::Stream(StreamJob {})], cores: vec![None], meet: false, rdma: Rdma::default(), hosts: None };
    let mut crew = Crew::start(muster, stage.interrupt, Instant::now() + PATIENCE)?;
    let cores = &stage.machine.cores;
    let mut most = |threads: Threads| -> Result<f64, Fault> {
        let mut most: f64 = 0.0;
        for _ in 0..REPEATS {
            for write_bytes in STREAM_WRITES {
                let case = StreamCase { write_bytes, threads: threads.clone(), seconds };
                let streamed: Vec<Streamed> = crew.run(&StreamOrder::Run(case), Instant::now() + PATIENCE)?;
                most = streamed.iter().map(|streamed| streamed.bytes as f64 / streamed.seconds / 1e9).fold(most, f64::max);
            }
        }
        Ok(most)
    };
    let mut one = most(Threads::Sleeping(1))?;
    let mut all = most(Threads::Sleeping((cores.len() as u32).max(2)))?;
    // Two threads that poll one core would only be in each other's way.
    if let [first, second, ..] = cores[..] {
        one = one.max(most(Threads::Polling(first, second))?);
        all = all.max(most(Threads::Ring(cores.clone()))?);
    }
    crew.dismiss(&StreamOrder::Finish);
    Ok(Streams { one, all: all.max(one) })
}
