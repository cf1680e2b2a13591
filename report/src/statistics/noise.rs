//! What is odd about the trials of one point: how well their median is known, a drift, outliers.

use super::middle::{median, median_of_sorted, quantile_of_sorted};
use super::normal;
use super::random::SplitMix;

/// A median with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MedianInterval {
    /// The median.
    pub median: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl MedianInterval {
    /// The greater distance of an end, as a share of the median; 0 where that is 0.
    pub fn half_width(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.high - self.median).max(self.median - self.low) / self.median.abs() }
    }
}

const RESAMPLES: usize = 2000;
const SEED: u64 = 0x6d65_6469_616e_2121;

/// The median and its interval by percentile bootstrap, from a fixed seed. Below six values no resampling makes up for
/// those that were not taken: the interval is their whole range, which holds the true median with a chance of
/// `1 - 2^(1 - n)`: 75 % for three values, 94 % for five. Nothing for fewer than two values.
pub fn median_interval(values: &[f64]) -> Option<MedianInterval> {
    const TOO_FEW: usize = 6;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let [first, .., last] = sorted[..] else { return None };
    let median = median_of_sorted(&sorted);
    if sorted.len() < TOO_FEW {
        return Some(MedianInterval { median, low: first, high: last });
    }
    let mut random = SplitMix(SEED);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut drawn: Vec<f64> = (0..sorted.len()).map(|_| sorted[random.below(sorted.len())]).collect();
            drawn.sort_by(f64::total_cmp);
            median_of_sorted(&drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    Some(MedianInterval { median, low: quantile_of_sorted(&medians, 0.025), high: quantile_of_sorted(&medians, 0.975) })
}

/// The standard deviation of the logarithms of values, over samples that each have their own mean, as large as it may
/// well be: of few values it comes out too small by chance, so that the upper end of its 95 % interval is given. None
/// unless some sample has two values, all above 0.
pub fn scatter(samples: &[&[f64]]) -> Option<f64> {
    const CHANCE: f64 = 0.025;
    let mut squares = 0.0;
    let mut freedom = 0;
    for sample in samples.iter().filter(|sample| sample.len() > 1) {
        let logarithms: Vec<f64> = sample.iter().map(|value| value.ln()).collect();
        let mean = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
        squares += logarithms.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        freedom += logarithms.len() - 1;
    }
    // The quantile of chi squared by Wilson and Hilferty.
    let part = 2.0 / (9.0 * freedom as f64);
    let low = freedom as f64 * (1.0 - part - normal::above(CHANCE) * part.sqrt()).powi(3);
    (freedom > 0 && squares.is_finite()).then(|| (squares / low.max(f64::MIN_POSITIVE)).sqrt())
}

/// A change of values from the first trial to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// From the first to the last, as a share of the median: the middle slope of all pairs (Theil and Sen).
    pub share: f64,
    /// The two-sided chance that values in any order rise or fall so steadily (Mann and Kendall).
    pub chance: f64,
}

/// A drift over trials in their order, if there are at least five and it is hardly chance: less than one in a hundred.
pub fn drift(values: &[f64]) -> Option<Drift> {
    const TRIALS_MIN: usize = 5;
    const CHANCE_MAX: f64 = 0.01;
    let middle = median(values).filter(|middle| *middle > 0.0 && values.len() >= TRIALS_MIN)?;
    let pairs = || (0..values.len()).flat_map(|first| (first + 1..values.len()).map(move |second| (first, second)));
    let rises: i64 =
        pairs().map(|(first, second)| i64::from(values[second] > values[first]) - i64::from(values[second] < values[first])).sum();
    let slopes: Vec<f64> = pairs().map(|(first, second)| (values[second] - values[first]) / (second - first) as f64).collect();
    let count = values.len() as f64;
    let deviation = (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
    // Half a step towards none, since the sum moves in steps.
    let chance = 2.0 * normal::below(-((rises.abs() - 1).max(0) as f64) / deviation);
    let share = median(&slopes)? * (count - 1.0) / middle;
    (chance < CHANCE_MAX).then_some(Drift { share, chance })
}

/// Which values lie far from the others: more than 3.5 scaled median deviations from the median (Iglewicz and Hoaglin),
/// and more than a twentieth of it. Nothing among fewer than five.
pub fn outliers(values: &[f64]) -> Vec<usize> {
    const TRIALS_MIN: usize = 5;
    const DEVIATIONS: f64 = 3.5 / 0.6745;
    const SHARE: f64 = 0.05;
    let Some(middle) = median(values).filter(|_| values.len() >= TRIALS_MIN) else { return Vec::new() };
    let deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let usual = median(&deviations).unwrap_or(0.0);
    let is_far = |at: &usize| deviations[*at] > DEVIATIONS * usual && deviations[*at] > SHARE * middle.abs();
    (0..values.len()).filter(is_far).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_their_range_and_many_less() {
        assert_eq!(median_interval(&[1.0]), None);
        let few = median_interval(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((few.median, few.low, few.high), (2.0, 1.0, 3.0));
        assert_eq!(few.half_width(), 0.5);
        let values: Vec<f64> = (1..=101).map(f64::from).collect();
        let many = median_interval(&values).unwrap();
        assert!(many.low > 30.0 && many.low < 51.0 && many.high > 51.0 && many.high < 72.0, "{many:?}");
    }

    #[test]
    fn an_interval_holds_the_median_about_as_often_as_it_says() {
        let mut random = SplitMix(3);
        let mut sample = || -> Vec<f64> { (0..15).map(|_| random.below(1_000_001) as f64).collect() };
        let held = (0..200).filter(|_| median_interval(&sample()).is_some_and(|found| found.low <= 5e5 && 5e5 <= found.high)).count();
        assert!(held >= 180, "{held} of 200");
    }

    #[test]
    fn a_steady_rise_is_a_drift_and_scatter_is_none() {
        let rising: Vec<f64> = (0..8).map(|at| 100.0 + 2.0 * f64::from(at)).collect();
        let found = drift(&rising).unwrap();
        assert!((found.share - 14.0 / 107.0).abs() < 1e-9 && found.chance < 0.01, "{found:?}");
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        assert!(drift(&falling).unwrap().share < 0.0);
        assert_eq!(drift(&[3.0, 1.0, 4.0, 1.5, 5.0, 2.0, 6.0, 1.0]), None);
        assert_eq!(drift(&[1.0, 2.0, 3.0]), None, "three trials rise by chance");
        assert_eq!(drift(&[2.0; 9]), None);
    }

    #[test]
    fn a_value_far_from_the_others_is_an_outlier() {
        assert_eq!(outliers(&[10.0, 10.1, 9.9, 4.0, 10.0, 10.2]), [3]);
        assert!(outliers(&[10.0, 12.0, 9.0, 7.0, 11.0]).is_empty());
        assert!(outliers(&[10.0, 10.0, 10.0, 10.0, 10.001]).is_empty(), "a thousandth is none");
        assert!(outliers(&[1.0, 9.0, 1.0]).is_empty());
    }

    #[test]
    fn scatter_is_pooled_over_samples_and_rather_too_large() {
        let sample: Vec<f64> = (0..400).map(|at| (0.1 * (f64::from(at % 20) - 9.5) / 5.766).exp()).collect();
        let wide: Vec<f64> = sample.iter().map(|value| 50.0 * value).collect();
        let found = scatter(&[&sample, &wide]).unwrap();
        assert!((0.1..0.106).contains(&found), "{found}");
        let few = scatter(&[&sample[..3], &wide[..3]]).unwrap();
        let plain = scatter(&[&sample[..3]]).unwrap();
        assert!(few < plain, "fewer values are less sure: {few} {plain}");
        assert_eq!(scatter(&[&[1.0], &[]]), None);
        assert_eq!(scatter(&[&[0.0, 1.0]]), None);
        assert_eq!(scatter(&[&[2.0, 2.0]]), Some(0.0));
    }
}
