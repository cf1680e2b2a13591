//! What a threshold says of one ratio.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::statistics::trials_that_tell;

/// What a threshold says of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The interval lies at or above the threshold.
    Pass,
    /// The interval lies below it, and so many lines together would hardly ever do so by chance.
    Fail,
    /// Neither: the interval holds the threshold, or there are too few trials. With so many trials a side it would be
    /// decided; none if no number that is worth asking for decides it, because the ratio is all but the threshold
    /// itself.
    Undecided(Option<u32>),
}

/// Most trials that are worth asking for.
const TRIALS_MAX: u32 = 1000;

/// How often all lines together may fail by chance.
const CHANCE: f64 = 0.01;

/// A ratio and its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) ratio: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// What it says of `ratio`, of so many trials a side, one of `lines` that gate. `chance` is how likely trials of equal
/// sides, the baseline's scaled by the threshold, would lie so far below each other.
pub(super) fn gate_of(ratio: Interval, threshold: f64, trials: usize, chance: f64, lines: usize) -> Gate {
    if ratio.low >= threshold {
        return Gate::Pass;
    }
    let allowed = CHANCE / lines.max(1) as f64;
    if ratio.high < threshold && chance <= allowed {
        return Gate::Fail;
    }
    // An interval narrows by the square root of the trials; towards the threshold it has to be narrower than the ratio
    // is away from it.
    let (from, to) = (ratio.ratio.ln(), threshold.ln());
    let reach = if from < to { ratio.high.ln() - from } else { from - ratio.low.ln() };
    let narrow = trials as f64 * (reach / (from - to)).powi(2);
    let enough = if from < to { trials_that_tell(allowed) } else { 1 };
    let wanted = narrow.ceil().max(f64::from(enough)).max((trials + 1) as f64);
    Gate::Undecided((wanted <= f64::from(TRIALS_MAX)).then_some(wanted as u32))
}

impl Gate {
    /// Of an undecided line, the trials that would decide it, if any number would.
    pub fn trials_to_decide(self) -> Option<Option<u32>> {
        if let Gate::Undecided(trials) = self { Some(trials) } else { None }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gate::Pass => f.write_str("pass"),
            Gate::Fail => f.write_str("FAIL"),
            Gate::Undecided(Some(trials)) => write!(f, "undecided ({trials} trials)"),
            Gate::Undecided(None) => f.write_str("undecided (at the threshold)"),
        }
    }
}

impl Serialize for Gate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{median_ratio, rank_chance};

    fn gate(a: &[f64], b: &[f64], threshold: f64, lines: usize) -> Gate {
        let found = median_ratio(a, b).unwrap();
        let interval = Interval { ratio: found.ratio, low: found.low, high: found.high };
        gate_of(interval, threshold, a.len().min(b.len()), rank_chance(a, b, threshold), lines)
    }

    #[test]
    fn only_an_interval_below_the_threshold_fails() {
        let fast = [10.0, 10.1, 10.2, 9.9, 9.8];
        let slow = [8.0, 8.1, 8.2, 7.9, 7.8];
        assert_eq!(gate(&fast, &slow, 0.9, 1), Gate::Fail);
        assert_eq!(gate(&fast, &slow, 0.7, 1), Gate::Pass);
        assert!(matches!(gate(&fast, &slow, 0.8, 1), Gate::Undecided(_)));
    }

    #[test]
    fn few_trials_are_undecided_and_say_how_many_decide() {
        let (fast, slow) = ([10.0, 10.1, 10.2], [8.0, 8.1, 8.2]);
        // Five trials a side are dealt out in 252 ways, four in 70: one in a hundred needs five.
        assert_eq!(gate(&fast, &slow, 0.9, 1), Gate::Undecided(Some(5)));
        // One in 10,000 needs eight: 12,870 ways.
        assert_eq!(gate(&fast, &slow, 0.9, 100), Gate::Undecided(Some(8)));
    }

    #[test]
    fn a_ratio_at_the_threshold_is_never_decided() {
        let equal = [1.0, 2.0, 3.0];
        assert_eq!(gate(&equal, &equal, 1.0, 1), Gate::Undecided(None));
    }
}
