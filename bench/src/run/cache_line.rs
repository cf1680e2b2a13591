//! The round trip of a cache line between two cores, probed before and after short trials: on a virtual machine it
//! moves by several times within seconds, and small-message figures move with it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::jobs::os;
use crate::jobs::threads::{self, RaisedAtEnd};

const ROUND_TRIPS: u64 = 2000;

/// A counter alone on its line and on the one that the CPU fetches with it.
#[repr(align(128))]
struct Line(AtomicU64);

/// Nanoseconds of one round trip between the first two of `cores`; none if there is only one, or a thread cannot run
/// there.
pub fn round_trip_ns(cores: &[usize]) -> Option<f64> {
    let [first, second, ..] = *cores else { return None };
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Whoever was started ends, too, if the other cannot be.
        let ends = RaisedAtEnd(&over);
        let echo = threads::start(scope, || {
            let pinned = os::pin(second).is_ok();
            for count in 1..=ROUND_TRIPS {
                // Acquire and release: as the counters that the fabric publishes with.
                while there.0.load(Ordering::Acquire) < count {
                    if over.load(Ordering::Relaxed) {
                        return false;
                    }
                    std::hint::spin_loop();
                }
                back.0.store(count, Ordering::Release);
            }
            pinned
        })
        .ok()?;
        let probe = threads::start(scope, || {
            let pinned = os::pin(first).is_ok();
            let mut began = Instant::now();
            for count in 1..=ROUND_TRIPS {
                there.0.store(count, Ordering::Release);
                while back.0.load(Ordering::Acquire) < count {
                    std::hint::spin_loop();
                }
                if count == ROUND_TRIPS / 4 {
                    // What came before was warming up and waiting for the other thread.
                    began = Instant::now();
                }
            }
            pinned.then(|| began.elapsed().as_nanos() as f64 / (ROUND_TRIPS - ROUND_TRIPS / 4) as f64)
        })
        .ok()?;
        let echoed = echo.join().unwrap_or(false);
        let probed = probe.join().ok().flatten().filter(|_| echoed);
        drop(ends);
        probed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_have_a_round_trip_and_one_has_none() {
        let cores = os::cores();
        assert_eq!(round_trip_ns(&cores[..1]), None);
        if cores.len() > 1 {
            assert!(round_trip_ns(&cores).is_some_and(|ns| ns > 0.0));
        }
    }
}
