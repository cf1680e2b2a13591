//! How far another host's clock is from the first host's.
//!
//! ```text
//!   first host   sent ----------------- received          rtt = received - sent
//!   agent               answered                          offset = middle of sent and received - answered,
//!                                                       off by rtt / 2 at most
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

/// How far apart times of day may be before people are told: what they are for, names of folders and files of logs, is
/// not finer.
const DISAGREE_MS: u64 = 2_000;

/// This host's time of day, in milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// What to say of another host's time of day, which has just come from it: nothing if it agrees.
pub(super) fn disagreement(host: &str, theirs_ms: u64, ours_ms: u64) -> Option<String> {
    let seconds = theirs_ms.abs_diff(ours_ms) / 1000;
    let way = if theirs_ms > ours_ms { "ahead of" } else { "behind" };
    let mend = "the run goes by the first host's clock, but logs and times of files differ; set both by NTP (`chronyc tracking` says \
                how far off one is)";
    (theirs_ms.abs_diff(ours_ms) >= DISAGREE_MS).then(|| format!("note: the clock of {host} is {seconds} s {way} this host's: {mend}"))
}

/// What to add to another host's clock to have the first host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::run) struct Clock {
    /// To be added, in nanoseconds.
    pub(in crate::run) offset_ns: i64,
    /// How wrong that may be.
    pub(in crate::run) uncertainty_ns: u64,
}

impl Clock {
    /// From one question and its answer. Whatever the two ways took, the answer was given between `sent_ns` and
    /// `received_ns`.
    pub(super) fn of(sent_ns: u64, answered_ns: u64, received_ns: u64) -> Clock {
        let way_ns = received_ns.saturating_sub(sent_ns).div_ceil(2);
        Clock { offset_ns: (sent_ns + way_ns).wrapping_sub(answered_ns) as i64, uncertainty_ns: way_ns }
    }

    /// The better one.
    pub(super) fn or_better(self, other: Option<Clock>) -> Clock {
        other.filter(|other| other.uncertainty_ns < self.uncertainty_ns).unwrap_or(self)
    }

    /// How wrong times may be that were taken with this offset until `later` was found: clocks drift.
    pub(in crate::run) fn uncertainty_until(&self, later: &Clock) -> u64 {
        let drift_ns = self.offset_ns.abs_diff(later.offset_ns);
        self.uncertainty_ns.max(drift_ns + later.uncertainty_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_true_offset_lies_within_the_uncertainty(
            sent in 0u64..1 << 40, there in 0u64..1 << 20, back in 0u64..1 << 20, theirs_ahead in -(1i64 << 39)..1 << 39,
        ) {
            let answered = (sent + there).wrapping_add_signed(theirs_ahead);
            let clock = Clock::of(sent, answered, sent + there + back);
            prop_assert!(clock.offset_ns.abs_diff(-theirs_ahead) <= clock.uncertainty_ns);
            prop_assert_eq!(clock.uncertainty_ns, (there + back).div_ceil(2));
        }
    }

    #[test]
    fn times_of_day_that_disagree_are_said_with_the_mend() {
        assert_eq!(disagreement("host 1 at b", 10_500, 10_000), None);
        let ahead = disagreement("host 1 at b", 100_000, 10_000).unwrap();
        assert!(ahead.contains("the clock of host 1 at b is 90 s ahead of this host's") && ahead.contains("NTP"), "{ahead}");
        assert!(disagreement("host 1 at b", 10_000, 100_000).unwrap().contains("90 s behind"));
    }

    #[test]
    fn drift_adds_to_what_is_not_known() {
        let (before, after) = (Clock { offset_ns: 1000, uncertainty_ns: 50 }, Clock { offset_ns: 1200, uncertainty_ns: 30 });
        assert_eq!(before.uncertainty_until(&after), 230);
        assert_eq!(before.uncertainty_until(&before), 50);
        assert_eq!(before.or_better(Some(after)), after);
        assert_eq!(after.or_better(Some(before)), after);
        assert_eq!(after.or_better(None), after);
    }
}
