//! Shared memory between two cores of this machine as a profile: the costs of this code, of a copy, and of a cache
//! line's way from core to core. A model of this very machine can be held against measurements of it.

use anyhow::{Context, bail};
use squall_report::bounds::Warmth;
use squall_study::{Profile, calibrate};

use super::memcpy::node::copied_here;
use crate::ask::memory::copy_sets;
use crate::jobs::copy::{CopyCase, Method};
use crate::jobs::os;
use crate::run::cache_line::round_trip_ns;

/// What is copied at a time: longer than what the copy of a block costs beside its bytes.
const COPY_BYTES: u64 = 1 << 20;
/// How often each copy and the line are measured. The best copy counts and the middle one of the line, which moves.
const REPEATS: usize = 5;
const COPY_SECONDS: f64 = 0.05;

/// The profile, as text with its sources.
///
/// # Errors
/// One core alone, or memory that cannot be had.
pub fn profile() -> anyhow::Result<String> {
    let cores = os::cores();
    if cores.len() < 2 {
        bail!("one core cannot show what its memory costs another; run it where this process may use two (`taskset`, --cpuset-cpus)");
    }
    let mut costs = calibrate::measure()?;
    let [cached, cold] = [Warmth::Cached, Warmth::Cold].map(|warmth| copy_ns_per_kilobyte(warmth, &cores));
    let (cached, cold) = (cached?, cold?);
    let mut trips: Vec<f64> = (0..REPEATS).filter_map(|_| round_trip_ns(&cores)).collect();
    trips.sort_by(f64::total_cmp);
    let hop_ns = trips.get(trips.len() / 2).context("no thread may be pinned to a core of its own here")? / 2.0;
    // A short record is a quarter of a line that another core has written.
    costs.record_ns += hop_ns / 4.0;
    let text = format!(
        "# Shared memory between two cores of the machine that `squall study --calibrate` measured this on: the core that
# sends copies, and what it wrote is seen one cache line's way later.
name = \"sim-shm-here\"

# Links and cards that are never the limit.
[link]
gigabits_per_second = 10000.0
packet_bytes = 65536
header_bytes = 0

[nic]
million_writes_per_second = 10000.0
pcie_gigabytes_per_second = 10000.0
burst_bytes = 1e9
doorbell_to_line_ns = 0.0
fetch_ns = 0.0
inline_bytes = 64
land_ns = 0.0
queue_writes_max = 4096

[switch]
hop_ns = {hop_ns:.1}                    # half a round trip of a cache line; it moves by several times on virtual machines

[cpu]                                   # a record's time includes the way of a quarter of a line
{costs}touch_ns_per_kilobyte = 0.0
post_ns = 0.0                           # in the costs above
doorbell_ns = 0.0
skew = 0.0

# No kernel: its place is taken by the copies of the core that sends.
[kernel]
call_ns = 0.0
look_ns = 0.0
send_ns_per_kilobyte = {cached:.1}             # within the caches; {cold:.1} where neither side is in one
receive_ns_per_kilobyte = 0.0
interrupt_us = 0.0
buffer_bytes = 1e12
intake_bytes = 1e12
"
    );
    Profile::parse(&text, "sim-shm-here").context("what was measured makes no profile")?;
    Ok(text)
}

/// One core copies, and another reads samples of what was copied; by the better method.
fn copy_ns_per_kilobyte(warmth: Warmth, cores: &[usize]) -> anyhow::Result<f64> {
    let (source_set, target_set) = copy_sets(COPY_BYTES, warmth);
    let mut best = f64::INFINITY;
    for method in Method::ALL.into_iter().cycle().take(REPEATS * Method::ALL.len()) {
        let (copiers, reader) = (vec![cores[0]], Some(cores[1]));
        let seconds = COPY_SECONDS;
        let case = CopyCase { message_bytes: COPY_BYTES, source_set, target_set, copiers, reader, method, seconds, shown: false };
        let copied = copied_here(&case)?;
        best = best.min(copied.seconds * 1e12 / (copied.copies.max(1) * COPY_BYTES) as f64);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_profile_or_says_what_it_lacks() {
        match profile() {
            Ok(text) => {
                let profile = Profile::parse(&text, "here").unwrap();
                let kernel = profile.kernel.unwrap();
                assert!(kernel.send_ns_per_kilobyte > 0.0 && profile.switch.hop_ns > 0.0, "{text}");
            }
            Err(error) => assert!(error.to_string().contains("core"), "{error:#}"),
        }
    }
}
