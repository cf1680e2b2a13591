//! A look at a process of this host from outside: whether it runs at all, and how much.

use std::fs;

use serde::{Deserialize, Serialize};

/// Share of a core that a node takes at the least while it has work, even if it shares the core with many; one that
/// waits sleeps.
const BUSY_SHARE: f64 = 0.05;
/// While a group gets on, one of its nodes at the least runs or waits for a core: n nodes each do for 1/n of the time.
/// Whoever comes to less than this part of that sleeps, and wakes up in between to look.
const PART: f64 = 0.5;

/// What the system says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Look {
    /// Stopped by a signal or a debugger: it does nothing until somebody has it go on.
    pub(super) is_stopped: bool,
    /// User and system time so far, in the kernel's ticks.
    ticks: u64,
    /// How long its threads have waited for a core so far, together; 0 if the system does not say.
    waited_ns: u64,
}

impl Look {
    /// At the process `id`; nothing if it is gone, or `/proc` cannot be read.
    pub(super) fn at(id: u32) -> Option<Look> {
        let look = Look::read(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?;
        let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
        let waited = threads.filter_map(|thread| waited_ns(&fs::read_to_string(thread.path().join("schedstat")).ok()?));
        Some(Look { waited_ns: waited.fold(0, u64::saturating_add), ..look })
    }

    /// `pid (name) state ppid ... utime stime ...`: the name may hold anything, so fields count from its last bracket.
    fn read(stat: &str) -> Option<Look> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Look { is_stopped: matches!(*fields.first()?, "T" | "t"), ticks: ticks(11)? + ticks(12)?, waited_ns: 0 })
    }

    /// Seconds of processor time so far.
    pub(super) fn cpu_seconds(&self) -> f64 {
        self.ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Whether it had something to do in the `seconds` since `before`, as one of so many `nodes` that wait for each
    /// other: it took its share of a core, or of the time in which any of them ran or waited for a core.
    pub(super) fn worked_since(&self, before: &Look, seconds: f64, nodes: usize) -> bool {
        let cpu = self.cpu_seconds() - before.cpu_seconds();
        let waited = self.waited_ns.saturating_sub(before.waited_ns) as f64 / 1e9;
        cpu > BUSY_SHARE * seconds || cpu + waited > BUSY_SHARE.max(PART / nodes as f64) * seconds
    }
}

/// `ran waited turns`, the first two in nanoseconds: of a thread.
fn waited_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_process_is_told_from_one_that_runs() {
        let running = Look::read("7 (a) b) R 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1").unwrap();
        assert!(!running.is_stopped);
        let stopped = Look::read("7 (squall) T 1 7 7 0 -1 4194560 1 0 0 0 150 150 0 0 20 0 1").unwrap();
        assert!(stopped.is_stopped);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert!((stopped.cpu_seconds() - running.cpu_seconds() - 100.0 / ticks).abs() < 1e-9);
        assert_eq!(Look::read("nonsense"), None);
    }

    #[test]
    fn a_process_that_waits_for_a_core_works_and_one_that_sleeps_does_not() {
        let per_second = rustix::param::clock_ticks_per_second();
        let look = |cpu_percent: u64, waited_ms: u64| Look {
            is_stopped: false,
            ticks: 10 * per_second * cpu_percent / 100,
            waited_ns: waited_ms * 1_000_000,
        };
        let worked = |look: Look, nodes| look.worked_since(&Look { is_stopped: false, ticks: 0, waited_ns: 0 }, 10.0, nodes);
        assert!(worked(look(10, 0), 2), "a tenth of a core");
        assert!(worked(look(2, 4_000), 2) && worked(look(2, 1_000), 8), "a busy machine left it little");
        assert!(!worked(look(2, 1_000), 2), "it woke up in between to look, and waited for a core each time");
        assert!(!worked(look(0, 0), 64));
    }

    #[test]
    fn the_time_that_a_thread_waited_is_read() {
        assert_eq!(waited_ns("72072557 162333592 249\n"), Some(162_333_592));
        assert_eq!(["", "7", "a b c"].map(waited_ns), [None; 3]);
    }

    #[test]
    fn this_process_runs() {
        assert!(Look::at(std::process::id()).is_some_and(|look| !look.is_stopped));
    }
}
