//! A loop that is slow on purpose.

use std::time::{Duration, Instant};

use crate::ask::policy;
use crate::jobs::group::GroupJob;
use crate::jobs::os;

/// Makes a loop slower: behind each turn it waits for a part of what that took.
pub(super) struct Drag {
    /// Of a turn.
    part: f64,
    /// Whether others may need the core meanwhile. Then a turn took what it had of a core: the rest others had.
    gives_way: bool,
    /// By [`clock_ns`](Self::clock_ns): when the last wait was over.
    since_ns: u64,
}

impl Drag {
    pub(super) fn of(group_job: &GroupJob) -> Drag {
        let mut drag = Drag { part: f64::from(group_job.delay.percent) / 100.0, gives_way: !group_job.own_core, since_ns: 0 };
        drag.rest();
        drag
    }

    /// What this process has had of a core, or the time where it has one to itself.
    fn clock_ns(&self) -> u64 {
        if self.gives_way { os::cpu_ns() } else { os::now_ns() }
    }

    /// Waits, busily: the loop is slow, and does not sleep.
    pub(super) fn hold(&mut self) {
        let worked = Duration::from_nanos(self.clock_ns().saturating_sub(self.since_ns));
        let until = Instant::now() + worked.min(policy::TURN_MAX).mul_f64(self.part);
        while Instant::now() < until {
            if self.gives_way { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        self.rest();
    }

    /// What has passed was no work.
    pub(super) fn rest(&mut self) {
        self.since_ns = self.clock_ns();
    }
}
