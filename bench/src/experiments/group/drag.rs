//! A loop that is slow on purpose.

use std::time::{Duration, Instant};

use squall_group::Pace;

use super::engine::Engine;
use super::receiver::Receiver;
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

    /// One turn of a slow loop, and if nothing happened, a wait as `pace` says.
    pub(super) fn turn(&mut self, engine: &mut impl Engine, receiver: &mut Receiver, pace: &mut Pace) -> anyhow::Result<()> {
        let is_busy = engine.step(receiver)?;
        self.hold();
        if !is_busy {
            // The loop looks once more before it waits. What it finds then makes a turn like any other.
            if engine.turn(receiver, pace, None)? { self.hold() } else { self.rest() }
        }
        Ok(())
    }

    /// What this process has had of a core, or the time where it has one to itself.
    fn clock_ns(&self) -> u64 {
        if self.gives_way { os::cpu_ns() } else { os::now_ns() }
    }

    /// Waits, busily: the loop is slow, and does not sleep.
    fn hold(&mut self) {
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

#[cfg(test)]
mod tests {
    use squall_group::Stats;

    use super::*;
    use crate::jobs::group::Delay;
    use crate::jobs::kinds::Ordering;

    /// How many times as long as it should a slow turn takes.
    const TIMES: u32 = 11;
    /// What the second turn takes without.
    const BUSY: Duration = Duration::from_micros(500);

    /// Finds nothing in its first turn and something in its second, which takes [`BUSY`].
    struct SecondTurn(u32);

    impl Engine for SecondTurn {
        fn send(&mut self, _bytes: u64, _fill: impl FnOnce(&mut [u8])) -> anyhow::Result<bool> {
            Ok(false)
        }

        fn step(&mut self, _receiver: &mut Receiver) -> anyhow::Result<bool> {
            self.0 += 1;
            let (is_busy, begin, begin_ns) = (self.0 == 2, Instant::now(), os::cpu_ns());
            // By either clock of a slow loop.
            while is_busy && (begin.elapsed() < BUSY || os::cpu_ns() - begin_ns < BUSY.as_nanos() as u64) {}
            Ok(is_busy)
        }

        fn turn(&mut self, receiver: &mut Receiver, _pace: &mut Pace, _until: Option<Instant>) -> anyhow::Result<bool> {
            self.step(receiver)
        }

        fn raise_mark(&mut self, _mark: u64) {}

        fn mark_of_all(&self) -> u64 {
            0
        }

        fn stats(&self) -> Stats {
            Stats::default()
        }

        fn close(self, _receiver: &mut Receiver, _pace: &mut Pace) -> anyhow::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_turn_right_behind_an_idle_one_is_slowed_as_any_other() {
        for own_core in [true, false] {
            let delay = Delay { slow: 1, percent: 100 * (TIMES - 1), idle: 0 };
            let job = GroupJob { own_core, delay, ..GroupJob::of_small(Ordering::ORDERED) };
            let (mut receiver, mut drag) = (Receiver::new(1, &job), Drag::of(&job));
            let (mut engine, begin) = (SecondTurn(0), Instant::now());
            drag.turn(&mut engine, &mut receiver, &mut Pace::spinning()).unwrap();
            assert!(engine.0 == 2 && begin.elapsed() >= TIMES * BUSY, "{:?}, own core: {own_core}", begin.elapsed());
        }
    }
}
