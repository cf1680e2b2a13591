//! When silence counts as death, and how long members wait for each other.

use std::time::Duration;

use crate::limits::{LEARNER, LEAVE, SUSPECT_AFTER_MIN};

/// How long members wait for each other. Begin with [`Timeouts::after`] and change single ones by
/// `Timeouts { learner, ..Timeouts::after(..) }`: later versions may have more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A member that is silent for so long of my running time is suspected.
    pub suspect_after: Duration,
    /// A member that has said nothing else for so long raises its heartbeat.
    pub heartbeat: Duration,
    /// A member that has said nothing yet in this epoch may be silent for so long, if that is longer: it may still be
    /// on its way into the epoch.
    pub first_word: Duration,
    /// A learner may hold up senders, or the end of a view, for so long of a voter's running time.
    pub learner: Duration,
    /// Who wants to leave waits so long of its running time, over all views together, for others to have the state and
    /// a vote: whether it gives that state, or somebody is to be listed who takes it.
    pub leave: Duration,
}

/// Time-outs that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a heartbeat every {heartbeat:?} and suspicion after {suspect_after:?} of silence cannot work: use at least {SUSPECT_AFTER_MIN:?}, \
     and four heartbeats in it"
)]
#[non_exhaustive]
pub struct TimeoutsError {
    /// What was asked for.
    pub suspect_after: Duration,
    /// What was asked for.
    pub heartbeat: Duration,
}

impl Timeouts {
    /// Suspicion after so much silence, with eight heartbeats in it. Who is patient with silence is also patient with
    /// learners.
    pub fn after(suspect_after: Duration) -> Timeouts {
        Timeouts {
            suspect_after,
            heartbeat: suspect_after / 8,
            first_word: Duration::ZERO,
            learner: LEARNER.max(suspect_after / 16).min(suspect_after),
            leave: LEAVE.max(suspect_after),
        }
    }

    /// As [`Timeouts::after`], in nanoseconds: for callers whose clock counts them.
    pub fn after_ns(suspect_after_ns: u64) -> Timeouts {
        Timeouts::after(Duration::from_nanos(suspect_after_ns))
    }

    /// Whether they can work.
    ///
    /// # Errors
    /// They are too short for any clock, or leave no room for a heartbeat that is late.
    pub fn check(&self) -> Result<(), TimeoutsError> {
        let Timeouts { suspect_after, heartbeat, .. } = *self;
        let fine = suspect_after >= SUSPECT_AFTER_MIN && !heartbeat.is_zero() && heartbeat <= suspect_after / 4;
        if fine { Ok(()) } else { Err(TimeoutsError { suspect_after, heartbeat }) }
    }
}

/// The same as steps count time: in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) suspect_after_ns: u64,
    pub(crate) heartbeat_ns: u64,
    pub(crate) first_word_ns: u64,
    pub(crate) learner_ns: u64,
    pub(crate) leave_ns: u64,
}

impl From<Timeouts> for Limits {
    fn from(timeouts: Timeouts) -> Limits {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Limits {
            suspect_after_ns: ns(timeouts.suspect_after),
            heartbeat_ns: ns(timeouts.heartbeat),
            first_word_ns: ns(timeouts.first_word),
            learner_ns: ns(timeouts.learner),
            leave_ns: ns(timeouts.leave),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_leave_room_for_late_heartbeats() {
        assert_eq!(Timeouts::after(Duration::from_millis(1)).check(), Ok(()));
        assert_eq!(Timeouts::after_ns(1_000_000), Timeouts::after(SUSPECT_AFTER_MIN));
        assert!(Timeouts::after_ns(999_999).check().is_err());
        let late = Timeouts { heartbeat: Duration::from_nanos(1_000_001), ..Timeouts::after_ns(4_000_000) };
        assert_eq!(
            late.check().unwrap_err().to_string(),
            "a heartbeat every 1.000001ms and suspicion after 4ms of silence cannot work: use at least 1ms, and four heartbeats in it"
        );
    }

    #[test]
    fn what_no_clock_counts_is_for_ever() {
        let limits = Limits::from(Timeouts { leave: Duration::MAX, ..Timeouts::after_ns(8) });
        assert_eq!((limits.leave_ns, limits.heartbeat_ns), (u64::MAX, 1));
    }
}
