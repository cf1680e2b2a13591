//! A ratio of two medians, and how sure one may be of it.

use super::middle::{median, median_of_sorted, quantile_of_sorted};
use super::random::SplitMix;
use super::ranks::combinations;

/// Ratio of two medians with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MedianRatio {
    /// Median of the second sample over the median of the first.
    pub ratio: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How much the difference from 1 means.
    pub significance: Significance,
}

/// Whether two samples differ by more than their scatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Significance {
    /// The interval holds 1: the difference may be scatter.
    None,
    /// The interval leaves 1 out, but so few trials would do so by chance more often than one time in twenty.
    TooFewTrials,
    /// The interval leaves 1 out, and there are enough trials for that to mean something.
    Significant,
}

impl Significance {
    /// `*`, `(*)` or nothing.
    pub fn mark(self) -> &'static str {
        match self {
            Significance::None => "",
            Significance::TooFewTrials => "(*)",
            Significance::Significant => "*",
        }
    }
}

const RESAMPLES: usize = 4000;
const CONFIDENCE: f64 = 0.95;
const SEED: u64 = 0x5371_7561_6c6c_2121;

/// `median(b) / median(a)` with a percentile bootstrap interval: both samples are drawn again with replacement,
/// thousands of times, from a fixed seed, so that the same files always give the same answer. Nothing if a sample is
/// empty or the median of `a` is not above 0.
///
/// With few trials an interval by bootstrap is too narrow, so significance also asks whether so many trials could show
/// a difference at all: of the `C(a + b, a)` ways to deal out the values, two separate the samples completely, so that
/// the least possible two-sided p-value of a permutation test is `2 / C(a + b, a)`. Four trials a side reach 2/70.
pub fn median_ratio(a: &[f64], b: &[f64]) -> Option<MedianRatio> {
    let base = median(a)?;
    let ratio = median(b)? / base;
    if !ratio.is_finite() || base <= 0.0 {
        return None;
    }
    let mut random = SplitMix(SEED);
    let mut drawn = Vec::with_capacity(a.len().max(b.len()));
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let below = resampled_median(a, &mut random, &mut drawn);
            let above = resampled_median(b, &mut random, &mut drawn);
            (below > 0.0).then_some(above / below)
        })
        .filter(|ratio| ratio.is_finite())
        .collect();
    ratios.sort_by(f64::total_cmp);
    if ratios.is_empty() {
        return None;
    }
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let low = quantile_of_sorted(&ratios, tail);
    let high = quantile_of_sorted(&ratios, 1.0 - tail);
    let significance = if low <= 1.0 && 1.0 <= high {
        Significance::None
    } else if 2.0 / combinations(a.len() + b.len(), a.len()) > 1.0 - CONFIDENCE {
        Significance::TooFewTrials
    } else {
        Significance::Significant
    };
    Some(MedianRatio { ratio, low, high, significance })
}

impl MedianRatio {
    /// The ratio the other way round.
    pub fn inverse(self) -> MedianRatio {
        MedianRatio { ratio: 1.0 / self.ratio, low: 1.0 / self.high, high: 1.0 / self.low, significance: self.significance }
    }
}

fn resampled_median(values: &[f64], random: &mut SplitMix, drawn: &mut Vec<f64>) -> f64 {
    drawn.clear();
    drawn.extend((0..values.len()).map(|_| values[random.below(values.len())]));
    drawn.sort_by(f64::total_cmp);
    median_of_sorted(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::random::SplitMix;
    use proptest::prelude::*;

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(median_ratio(&[], &[1.0]), None);
        assert_eq!(median_ratio(&[0.0], &[1.0]), None);
    }

    #[test]
    fn equal_samples_are_not_different() {
        let found = median_ratio(&[1.0, 2.0, 3.0, 4.0, 5.0], &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(found.ratio, 1.0);
        assert!(found.low < 1.0 && found.high > 1.0);
        assert_eq!(found.significance, Significance::None);
    }

    #[test]
    fn constant_samples_have_an_interval_without_width() {
        let found = median_ratio(&[2.0; 5], &[3.0; 5]).unwrap();
        assert_eq!((found.ratio, found.low, found.high), (1.5, 1.5, 1.5));
        assert_eq!(found.significance, Significance::Significant);
    }

    #[test]
    fn three_trials_a_side_are_too_few_and_four_are_enough() {
        let (a, b) = ([1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3]);
        let three = median_ratio(&a[..3], &b[..3]).unwrap();
        assert_eq!(three.significance, Significance::TooFewTrials);
        let four = median_ratio(&a, &b).unwrap();
        assert_eq!(four.significance, Significance::Significant);
    }

    #[test]
    fn same_samples_give_the_same_interval() {
        let (a, b) = ([1.0, 1.5, 0.9], [1.2, 1.1, 1.4]);
        assert_eq!(median_ratio(&a, &b), median_ratio(&a, &b));
    }

    /// For three different values the bootstrap median is the least value when at least two of three draws hit it:
    /// 1/27 + 3 * 2/27 = 7/27, above 2.5 %, so against a constant the interval is the whole range.
    #[test]
    fn interval_of_three_trials_is_their_range() {
        let found = median_ratio(&[1.0; 3], &[2.0, 3.0, 5.0]).unwrap();
        assert_eq!((found.low, found.ratio, found.high), (2.0, 3.0, 5.0));
    }

    /// The interval of a ratio of medians covers the true ratio about as often as it says.
    #[test]
    fn interval_covers_the_truth_about_as_often_as_it_says() {
        const EXPERIMENTS: usize = 200;
        let mut random = SplitMix(7);
        let mut sample = |scale: f64| -> Vec<f64> { (0..15).map(|_| scale * (1.0 + random.below(1_000_000) as f64 / 1e6)).collect() };
        let covered = (0..EXPERIMENTS)
            .filter(|_| {
                let (a, b) = (sample(1.0), sample(2.0));
                let found = median_ratio(&a, &b).unwrap();
                found.low <= 2.0 && 2.0 <= found.high
            })
            .count();
        assert!((176..=200).contains(&covered), "{covered} of {EXPERIMENTS}");
    }

    proptest! {
        #[test]
        fn interval_holds_the_ratio_of_odd_samples(
            a in prop::collection::vec(0.1f64..1e3, 1..9),
            b in prop::collection::vec(0.1f64..1e3, 1..9),
        ) {
            let found = median_ratio(&a, &b).unwrap();
            prop_assert!(found.low <= found.ratio * (1.0 + 1e-12));
            prop_assert!(found.ratio <= found.high * (1.0 + 1e-12));
            let back = found.inverse();
            prop_assert!(back.low <= back.high * (1.0 + 1e-12));
        }
    }
}
