//! How an idle member waits: spin a little, then sleep.

use std::time::{Duration, Instant};

/// How long to spin when every member has a core of its own: some times what waking a sleeper takes, and longer than a
/// block of 1 MB takes to come (80 us), so that a steady flow never pays for a wake-up a block.
const SPIN_ALONE: Duration = Duration::from_micros(200);
/// How long to look again and again when members share cores, giving the core away between two looks. A member that
/// falls asleep is woken for every batch, and finds little: waking it costs 7 to 65 us. One that lets the others run
/// first costs them a switch, and finds what they all wrote meanwhile.
const YIELD_SHARED: Duration = Duration::from_micros(50);
/// Who gets the core back later than this gave it to a program that computes, not to members: a time slice is lost with
/// every look, where whoever sleeps is woken ahead of that program.
const YIELD_LONG: Duration = Duration::from_millis(1);
/// Then so many waits in a row go without.
const WAITS_WITHOUT: u32 = 1000;
/// How long to spin in such a wait: time taken from those who have work.
const SPIN_SHARED: Duration = Duration::from_micros(2);
/// Turns between two looks at the clock.
const CLOCK_EVERY: u32 = 32;
/// The longest sleep: nothing waits for it, it only bounds how late a caller that watches something else looks again.
const PARK_MAX: Duration = Duration::from_millis(100);

/// How an idle member waits.
#[derive(Clone, Debug)]
pub struct Pace {
    spin: Duration,
    park: bool,
    yields: bool,
    /// Whether it stops yielding where that takes long.
    wary: bool,
    /// Waits that go without yielding.
    without: u32,
    idle_turns: u32,
    idle_since: Option<Instant>,
}

impl Pace {
    /// Spins for `spin`, then sleeps until something lands; without `park` it spins for ever.
    pub fn new(spin: Duration, park: bool) -> Pace {
        Pace { spin, park, yields: false, wary: false, without: 0, idle_turns: 0, idle_since: None }
    }

    /// Never sleeps: for cores that nobody else needs.
    pub fn spinning() -> Pace {
        Pace::new(Duration::MAX, false)
    }

    /// Gives the core away at each idle turn before it sleeps: for members that share cores.
    pub fn yielding(self) -> Pace {
        Pace { yields: true, ..self }
    }

    /// For members that share cores. It sleeps at once for a while where giving the core away takes long, because other
    /// programs want it too.
    pub fn sharing() -> Pace {
        Pace { wary: true, ..Pace::new(YIELD_SHARED, true).yielding() }
    }

    /// For members with a core each.
    pub fn alone() -> Pace {
        Pace::new(SPIN_ALONE, true)
    }

    /// What suits `members` members on this host.
    pub fn for_members(members: usize) -> Pace {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if members <= cores { Pace::alone() } else { Pace::sharing() }
    }

    /// Whether others need the core that this one waits on.
    #[inline]
    pub(crate) fn shares_core(&self) -> bool {
        self.yields
    }

    /// Something was done: the next wait begins anew.
    pub fn busy(&mut self) {
        self.idle_turns = 0;
        self.idle_since = None;
    }

    /// Whether to spin on rather than sleep.
    #[inline]
    pub fn spins(&mut self) -> bool {
        self.idle_turns += 1;
        if !self.park || !self.idle_turns.is_multiple_of(CLOCK_EVERY) {
            return true;
        }
        let now = Instant::now();
        let spin = if self.without > 0 { SPIN_SHARED } else { self.spin };
        let spins = now.duration_since(*self.idle_since.get_or_insert(now)) < spin;
        if !spins {
            self.without = self.without.saturating_sub(1);
        }
        spins
    }

    /// One idle turn that does not sleep.
    #[inline]
    pub fn pause(&mut self) {
        if !self.yields || self.without > 0 {
            std::hint::spin_loop();
        } else if self.wary {
            let before = Instant::now();
            std::thread::yield_now();
            self.yielded(before.elapsed());
        } else {
            std::thread::yield_now();
        }
    }

    /// The core came back after so long.
    fn yielded(&mut self, away: Duration) {
        if away > YIELD_LONG {
            self.without = WAITS_WITHOUT;
        }
    }

    /// How long to sleep at the most, given what the caller waits for besides.
    pub fn sleep_max(until: Option<Instant>) -> Duration {
        until.map_or(PARK_MAX, |until| until.saturating_duration_since(Instant::now()).min(PARK_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle turns until it sleeps, if it does within many.
    fn turns_until_sleep(pace: &mut Pace) -> Option<usize> {
        (1..10 * CLOCK_EVERY as usize).find(|_| !pace.spins())
    }

    #[test]
    fn without_time_to_spin_it_sleeps_at_its_first_look_at_the_clock() {
        let mut pace = Pace::new(Duration::ZERO, true);
        assert_eq!(turns_until_sleep(&mut pace), Some(CLOCK_EVERY as usize));
        assert!(pace.spins(), "the next look is later");
        pace.busy();
        assert_eq!(turns_until_sleep(&mut pace), Some(CLOCK_EVERY as usize), "work starts it over");
    }

    #[test]
    fn it_spins_as_long_as_it_may() {
        assert_eq!(turns_until_sleep(&mut Pace::new(Duration::MAX, true)), None);
        assert_eq!(turns_until_sleep(&mut Pace::new(Duration::ZERO, false)), None);
        assert_eq!(turns_until_sleep(&mut Pace::spinning()), None);
    }

    #[test]
    fn members_that_share_cores_spin_less() {
        let (alone, crowded) = (Pace::for_members(1), Pace::for_members(usize::MAX));
        assert!(alone.park && crowded.park && crowded.spin < alone.spin);
        assert!(crowded.yields && !alone.yields);
    }

    #[test]
    fn who_loses_its_core_for_long_sleeps_at_once_for_a_while() {
        let mut pace = Pace::sharing();
        pace.yielded(YIELD_LONG / 2);
        assert_eq!(pace.without, 0, "other members ran");
        pace.yielded(2 * YIELD_LONG);
        for wait in 0..WAITS_WITHOUT {
            assert!(pace.without > 0, "{wait}");
            pace.busy();
            while pace.spins() {
                pace.pause();
            }
        }
        assert_eq!(pace.without, 0, "it tries again");
    }

    #[test]
    fn a_sleep_is_bounded_by_what_the_caller_waits_for() {
        let now = Instant::now();
        assert_eq!(Pace::sleep_max(None), PARK_MAX);
        assert_eq!(Pace::sleep_max(Some(now)), Duration::ZERO);
        assert_eq!(Pace::sleep_max(Some(now + 1000 * PARK_MAX)), PARK_MAX);
    }
}
