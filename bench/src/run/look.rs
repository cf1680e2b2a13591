//! A look at a process of this host from outside: whether it runs at all, and how much.

use std::fs;

use serde::{Deserialize, Serialize};

/// What the system says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Look {
    /// Stopped by a signal or a debugger: it does nothing until somebody has it go on.
    pub(super) is_stopped: bool,
    /// User and system time so far, in the kernel's ticks.
    ticks: u64,
}

impl Look {
    /// At the process `id`; nothing if it is gone, or `/proc` cannot be read.
    pub(super) fn at(id: u32) -> Option<Look> {
        Look::read(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// `pid (name) state ppid ... utime stime ...`: the name may hold anything, so fields count from its last bracket.
    fn read(stat: &str) -> Option<Look> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Look { is_stopped: matches!(*fields.first()?, "T" | "t"), ticks: ticks(11)? + ticks(12)? })
    }

    /// Seconds of processor time so far.
    pub(super) fn cpu_seconds(&self) -> f64 {
        self.ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// The same since `before`.
    pub(super) fn cpu_seconds_since(&self, before: &Look) -> f64 {
        self.cpu_seconds() - before.cpu_seconds()
    }
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
        assert!((stopped.cpu_seconds_since(&running) - 100.0 / ticks).abs() < 1e-9);
        assert_eq!(Look::read("nonsense"), None);
    }

    #[test]
    fn this_process_runs() {
        assert!(Look::at(std::process::id()).is_some_and(|look| !look.is_stopped));
    }
}
