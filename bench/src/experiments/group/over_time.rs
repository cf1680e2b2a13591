//! Bandwidth over time within a long trial, and the least of it: a link that flaps shows there and not in the mean.

use crate::jobs::group::Seen;

/// Seconds of a trial from which on it is looked at over time.
const LONG_SECONDS: f64 = 5.0;
/// The window whose least bandwidth is told.
const WINDOW_SECONDS: f64 = 1.0;

/// Whether a trial of so many seconds is looked at.
pub(in crate::experiments) fn is_long(seconds: f64) -> bool {
    seconds >= LONG_SECONDS
}

/// Payload delivered at the least served node over time: at the end of each step, seconds since the first and gigabytes
/// a second in the step.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::experiments) struct OverTime {
    steps: Vec<(f64, f64)>,
    /// Over any window, gigabytes a second.
    least: f64,
}

impl OverTime {
    /// What the nodes of a trial saw; nothing if it was too short for a window.
    pub(in crate::experiments) fn of(nodes: &[Seen], message_bytes: u64) -> Option<OverTime> {
        let nodes = nodes.iter().filter_map(|seen| of_node(&seen.looks, message_bytes));
        nodes.min_by(|a, b| a.least.total_cmp(&b.least))
    }

    /// For the note of a row.
    pub(in crate::experiments) fn note(&self) -> String {
        format!("least bandwidth within {WINDOW_SECONDS} s at any node {:.4} GB/s", self.least)
    }

    /// For `timelines/`.
    pub(in crate::experiments) fn csv(&self) -> String {
        let lines = self.steps.iter().map(|(seconds, rate)| format!("{seconds:.3},{rate:.6}\n"));
        std::iter::once("seconds,gigabytes_per_second\n".to_owned()).chain(lines).collect()
    }
}

/// Looks hold a time in nanoseconds and the messages delivered until then.
fn of_node(looks: &[(u64, u64)], message_bytes: u64) -> Option<OverTime> {
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
    let rate = |from: &(u64, u64), to: &(u64, u64)| (to.1 - from.1) as f64 * message_bytes as f64 / 1e9 / seconds(from.0, to.0);
    let first = looks.first()?.0;
    let steps = looks.windows(2).map(|pair| (seconds(first, pair[1].0), rate(&pair[0], &pair[1]))).collect();
    let window = |(at, from): (usize, &(u64, u64))| {
        let to = looks[at..].iter().find(|to| seconds(from.0, to.0) >= WINDOW_SECONDS)?;
        Some(rate(from, to))
    };
    let least = looks.iter().enumerate().filter_map(window).min_by(f64::total_cmp)?;
    Some(OverTime { steps, least })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_shows_in_the_least_window_of_the_least_served_node() {
        // A message of 1 MB every 100 ms, but for half a second in which none came to the second node.
        let looks = |gap: std::ops::Range<u64>| -> Vec<(u64, u64)> {
            let mut delivered = 0;
            let mut look = |at: u64| {
                delivered += u64::from(!gap.contains(&at));
                (at * 100_000_000, delivered)
            };
            (0..60).map(&mut look).collect()
        };
        let nodes = [0..0, 20..25].map(|gap| Seen { looks: looks(gap), ..Seen::default() });
        let found = OverTime::of(&nodes, 1_000_000).unwrap();
        assert!((found.least - 0.005).abs() < 1e-9, "{}", found.least);
        assert_eq!(found.csv().lines().count(), 60);
        assert!(found.note().contains("0.0050 GB/s"), "{}", found.note());
        let short = Seen { looks: looks(0..0)[..5].to_vec(), ..Seen::default() };
        assert_eq!(OverTime::of(&[short], 1), None);
    }
}
