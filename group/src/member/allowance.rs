//! How much state a member may give now: so much a second, whoever it is for, and what it takes to keep up with
//! deliveries.
//!
//! Giving is not urgent, and it costs its processor (encryption, copies, the kernel's TCP) as deliveries do. So it is
//! bounded by time rather than by turns, of which there are more the less there is to do.

/// For how long it may be saved up: a state that is no longer goes at once.
const SAVED_NS: u64 = 20_000_000;
const NS_PER_SECOND: i128 = 1_000_000_000;

/// Bytes that may be given now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    /// Below zero: more was given than there was.
    bytes: i64,
    /// The most that is saved up.
    saved_max: i64,
    /// Up to when time has been counted; none: it begins full.
    since_ns: Option<u64>,
}

fn bytes_in(ns: u64, bytes_per_second: u64) -> i64 {
    (i128::from(ns) * i128::from(bytes_per_second) / NS_PER_SECOND).min(i64::MAX.into()) as i64
}

impl Allowance {
    /// Time passes, at so many bytes a second; and `owed` bytes are to be given in any case.
    pub(crate) fn pass(&mut self, now_ns: u64, bytes_per_second: u64, owed: u64) {
        self.saved_max = bytes_in(SAVED_NS, bytes_per_second).max(1);
        match self.since_ns {
            None => (self.bytes, self.since_ns) = (self.saved_max, Some(now_ns)),
            Some(since_ns) => {
                let earned = bytes_in(now_ns.saturating_sub(since_ns), bytes_per_second);
                if earned > 0 {
                    // What is owed may be more than the most, and is not lost.
                    self.bytes = self.bytes.max(self.bytes.saturating_add(earned).min(self.saved_max));
                    self.since_ns = Some(now_ns);
                }
            }
        }
        self.bytes = self.bytes.saturating_add(i64::try_from(owed).unwrap_or(i64::MAX));
    }

    /// Gives so much, which may be more than there is.
    pub(crate) fn spend(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.bytes <= 0
    }

    /// Whether those who are given state leave much of it: then another one may begin.
    pub(crate) fn is_ample(&self) -> bool {
        self.bytes >= self.saved_max / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1 << 20;

    #[test]
    fn so_much_a_second_however_often_it_is_looked_at() {
        for steps in [1, 3, 1000, 99_983] {
            let mut allowance = Allowance::default();
            allowance.pass(0, RATE, 0);
            assert!(allowance.is_ample());
            allowance.spend(2 * RATE);
            assert!(allowance.is_spent() && !allowance.is_ample());
            let before = allowance.bytes;
            (1..=steps).for_each(|step| allowance.pass(step * 1_000_000_000 / steps, RATE, 0));
            let earned = allowance.bytes - before;
            assert!(earned <= RATE as i64 && earned >= RATE as i64 - steps as i64, "{earned} in {steps} steps");
        }
    }

    #[test]
    fn nothing_is_saved_up_beyond_the_most_but_what_is_owed() {
        let mut allowance = Allowance::default();
        allowance.pass(0, 1000, 0);
        allowance.pass(u64::MAX, 1000, 0);
        assert_eq!(allowance.bytes, 20);
        allowance.pass(u64::MAX, 1000, 5);
        allowance.pass(7, 1000, 0);
        assert_eq!(allowance.bytes, 25, "a clock that goes back does no harm");
        allowance.spend(u64::MAX);
        allowance.pass(8, u64::MAX, u64::MAX);
        assert!(!allowance.is_ample());
    }
}
