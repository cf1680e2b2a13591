//! How many strangers are told of one by one.

use std::time::{Duration, Instant};

/// Told of at once.
const AT_ONCE: u32 = 16;
/// After that one in this time.
const EVERY: Duration = Duration::from_secs(1);

/// Counts what is left out, so that a flood of strangers is not one of lines.
#[derive(Debug)]
pub(super) struct Telling {
    left: u32,
    /// Since when `left` grows.
    since: Instant,
    left_out: u64,
}

impl Telling {
    pub(super) fn new(now: Instant) -> Telling {
        Telling { left: AT_ONCE, since: now, left_out: 0 }
    }

    /// Whether one more is told of.
    pub(super) fn tells(&mut self, now: Instant) -> bool {
        self.refill(now);
        if self.left == 0 || self.left_out > 0 {
            self.left_out += 1;
            return false;
        }
        self.left -= 1;
        true
    }

    /// How many were left out, if that is to be said now; they count as one.
    pub(super) fn left_out(&mut self, now: Instant) -> Option<u64> {
        self.refill(now);
        if self.left == 0 || self.left_out == 0 {
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }

    /// When there is something to say although nothing happens.
    pub(super) fn timer(&self) -> Option<Instant> {
        (self.left_out > 0).then(|| self.since + EVERY)
    }

    fn refill(&mut self, now: Instant) {
        let grown = u32::try_from(now.saturating_duration_since(self.since).as_nanos() / EVERY.as_nanos()).unwrap_or(AT_ONCE);
        if self.left + grown.min(AT_ONCE) >= AT_ONCE {
            (self.left, self.since) = (AT_ONCE, now);
        } else {
            self.left += grown;
            self.since += grown * EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_in_few_lines_and_none_is_forgotten() {
        let start = Instant::now();
        let mut telling = Telling::new(start);
        let (mut told, mut left_out, mut lines) = (0, 0, 0);
        for millisecond in 0..60_000u32 {
            let now = start + Duration::from_millis(millisecond.into());
            if let Some(count) = telling.left_out(now) {
                (left_out, lines) = (left_out + count, lines + 1);
            }
            if millisecond < 50_000 && telling.tells(now) {
                (told, lines) = (told + 1, lines + 1);
            }
        }
        assert_eq!(told + left_out, 50_000);
        assert_eq!((told, lines <= AT_ONCE + 61), (u64::from(AT_ONCE), true), "{lines} lines");
        assert_eq!(telling.timer(), None);
    }

    #[test]
    fn what_comes_now_and_then_is_told_of_every_time() {
        let start = Instant::now();
        let mut telling = Telling::new(start);
        assert!((0..1_000u32).all(|count| telling.tells(start + count * EVERY)));
    }
}
