//! Memory copies between regions of shared memory, with somebody reading what was copied: what `memcpy` measures, and
//! the bound of shared memory.
//!
//! ```text
//!   copying thread:  source --copy--> target, message after message around a working set, then raise its counter
//!   reading thread:  follows the counter, reads head, tail and one line of every 64 KiB of each message
//! ```
//!
//! With all cores, each thread copies and reads what its neighbour copied. The reader is there because copies that
//! bypass the cache look best as long as nobody reads the destination.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use squall_transport::region::{CopyMethod, copy_between};
use squall_transport::{Region, RegionOptions};

use crate::experiments::show::Show;
use crate::jobs::control::Control;
use crate::jobs::copy::{Copied, CopyCase, CopyJob, CopyOrder, Method, stride};
use crate::jobs::group::Counted;
use crate::jobs::live::SHOWN_EVERY_NS;
use crate::jobs::os;
use crate::jobs::threads::{self, RaisedAtEnd};

/// A line is read at the start of each stretch of this many bytes.
const SAMPLE_BYTES: u64 = 64 << 10;
/// A copier raises its counter after this many bytes, or one message, as a batching sender does.
const PUBLISH_BYTES: u64 = 64 << 10;

/// The node's side.
///
/// # Errors
/// If memory or a core cannot be had, or the parent is gone.
pub fn node(_job: &CopyJob, control: &mut Control) -> anyhow::Result<()> {
    control.ready(Vec::new())?;
    let mut lanes = Vec::new();
    loop {
        match control.next()? {
            CopyOrder::Run(case) => {
                Lane::provide(&mut lanes, &case)?;
                let show = case.shown.then(|| Show::begin(control.live_line()));
                let copied = run(&case, &lanes, show)?;
                control.done(&copied)?;
            }
            CopyOrder::Finish => return Ok(()),
        }
    }
}

/// The same in this process.
///
/// # Errors
/// If memory or a core cannot be had.
pub fn copied_here(case: &CopyCase) -> anyhow::Result<Copied> {
    let mut lanes = Vec::new();
    Lane::provide(&mut lanes, case)?;
    run(case, &lanes, None)
}

/// One thread's part.
struct Lane {
    source: Region,
    target: Region,
    /// Messages copied.
    copied: AtomicU64,
}

fn run(case: &CopyCase, lanes: &[Lane], show: Option<Show>) -> anyhow::Result<Copied> {
    let stride = stride(case.message_bytes);
    let (go, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let cpu_before = os::cpu_ns();
    let (copies, took) = thread::scope(|scope| -> anyhow::Result<(u64, Duration)> {
        // Whoever was started ends, too, if another cannot be.
        let _ends = [&stop, &go].map(RaisedAtEnd);
        let mut copiers = Vec::new();
        for own in 0..lanes.len() {
            let (go, stop) = (&go, &stop);
            copiers.push(threads::start(scope, move || copy_until(case, stride, lanes, own, go, stop))?);
        }
        if let (Some(core), [lane]) = (case.reader, lanes) {
            let stop = &stop;
            threads::start(scope, move || read_until(case, stride, core, lane, stop))?;
        }
        let began = Instant::now();
        // Relaxed: go and stop publish nothing.
        go.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs_f64(case.seconds), lanes, show);
        stop.store(true, Ordering::Relaxed);
        let mut copies = 0;
        for copier in copiers {
            copies += copier.join().map_err(|_| anyhow!("a copying thread panicked"))??;
        }
        Ok((copies, began.elapsed()))
    })?;
    Ok(Copied { copies, seconds: took.as_secs_f64(), cpu_seconds: os::seconds(os::cpu_ns() - cpu_before) })
}

/// Sleeps for so long; shows meanwhile how far the copies are.
fn sleep(time: Duration, lanes: &[Lane], show: Option<Show>) {
    let Some(mut show) = show else { return thread::sleep(time) };
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(Duration::from_nanos(SHOWN_EVERY_NS)));
        // Relaxed: nothing is read but the counts.
        let delivered = lanes.iter().map(|lane| lane.copied.load(Ordering::Relaxed)).sum();
        show.show(0, || Counted { delivered, ..Counted::default() });
    }
}

impl Lane {
    /// Makes `lanes` fit `case`, keeping memory that does: populating it takes longer than measuring.
    fn provide(lanes: &mut Vec<Lane>, case: &CopyCase) -> anyhow::Result<()> {
        let page = rustix::param::page_size();
        let (source, target) = (stride(case.message_bytes) * case.source_set, stride(case.message_bytes) * case.target_set);
        let fits = |region: &Region, bytes: u64| region.bytes() == (bytes as usize).next_multiple_of(page);
        lanes.retain(|lane| fits(&lane.source, source) && fits(&lane.target, target));
        lanes.truncate(case.copiers.len());
        while lanes.len() < case.copiers.len() {
            lanes.push(Lane::new(source, target)?);
        }
        lanes.iter().for_each(|lane| lane.copied.store(0, Ordering::Relaxed));
        Ok(())
    }

    fn new(source_bytes: u64, target_bytes: u64) -> anyhow::Result<Lane> {
        let options = RegionOptions { lock: false, ..RegionOptions::data_path() };
        let region = |bytes| Region::allocate(bytes as usize, &options).context("memory for copies");
        Ok(Lane { source: region(source_bytes)?, target: region(target_bytes)?, copied: AtomicU64::new(0) })
    }
}

/// Copies around the working set of lane `own` until told to stop; with more lanes, also reads the next lane's
/// messages.
fn copy_until(case: &CopyCase, stride: u64, lanes: &[Lane], own: usize, go: &AtomicBool, stop: &AtomicBool) -> anyhow::Result<u64> {
    // Where pinning is refused the kernel places the thread, as the node has said.
    os::pin_if_allowed(case.copiers[own]).map_err(|what| anyhow!(what))?;
    while !go.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
    let method = match case.method {
        Method::Plain => CopyMethod::Plain,
        Method::Streaming => CopyMethod::Streaming,
    };
    let lane = &lanes[own];
    let neighbour = (lanes.len() > 1).then(|| &lanes[(own + 1) % lanes.len()]);
    let batch = (PUBLISH_BYTES / case.message_bytes).clamp(1, case.target_set);
    let (mut count, mut seen) = (0, 0);
    loop {
        for _ in 0..batch {
            let (from, to) = (count % case.source_set * stride, count % case.target_set * stride);
            copy_between(&lane.source, from, &lane.target, to, case.message_bytes, method);
            count += 1;
        }
        // Release: pairs with the acquire of the reader below.
        lane.copied.store(count, Ordering::Release);
        if let Some(neighbour) = neighbour {
            seen = read_new(case, stride, neighbour, seen);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(count);
        }
    }
}

fn read_until(case: &CopyCase, stride: u64, core: usize, lane: &Lane, stop: &AtomicBool) {
    if os::pin_if_allowed(core).is_err() {
        return;
    }
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        let before = seen;
        seen = read_new(case, stride, lane, seen);
        if seen == before {
            std::hint::spin_loop();
        }
    }
}

/// Reads samples of the messages that `lane` has and the caller has not seen (of those still there); how many there are
/// now.
fn read_new(case: &CopyCase, stride: u64, lane: &Lane, seen: u64) -> u64 {
    // Acquire: pairs with the release of the copier.
    let copied = lane.copied.load(Ordering::Acquire);
    let mut sum = 0;
    for message in seen.max(copied.saturating_sub(case.target_set))..copied {
        let start = message % case.target_set * stride;
        let mut at = 0;
        while at < case.message_bytes {
            sum ^= lane.target.word(start + at).load(Ordering::Relaxed);
            at += SAMPLE_BYTES;
        }
        sum ^= lane.target.word(start + (case.message_bytes - 1) / 8 * 8).load(Ordering::Relaxed);
    }
    std::hint::black_box(sum);
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_and_all_cores_copy() {
        let cores = os::cores();
        for (copiers, reader) in [(vec![cores[0]], cores.get(1).copied()), (cores.clone(), None)] {
            for method in Method::ALL {
                let case = CopyCase {
                    message_bytes: 10_240,
                    source_set: 4,
                    target_set: 2,
                    copiers: copiers.clone(),
                    reader,
                    method,
                    seconds: 0.001,
                    shown: false,
                };
                let copied = copied_here(&case).unwrap();
                assert!(copied.copies > 0 && copied.seconds > 0.0);
            }
        }
    }
}
