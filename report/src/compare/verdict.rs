//! Whether two samples of one metric differ: better, worse, the same, or not known.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::statistics::{median, rank_chance, scatter, trials_that_tell, trials_to_find};

/// Whether B is better than A in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// B is better by more than chance allows, over all lines together.
    Better,
    /// B is worse by more than chance allows, over all lines together.
    Worse,
    /// The whole interval of the ratio lies within the margin around 1.
    Same,
    /// Neither is known.
    Undecided(Wanted),
}

/// What it takes to decide a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many trials a side find a loss of a tenth in 95 of 100 cases.
    Trials(u32),
    /// There are as many trials already: a loss of a tenth would most likely have been found.
    Nothing,
    /// The trials lie so far apart that more than a thousand a side would be needed.
    TooNoisy,
}

/// Most trials that are worth asking for.
const TRIALS_MAX: u32 = 1000;

/// How often one comparison, all its lines together, may call equal programs worse by chance: once in ten thousand.
const CHANCE: f64 = 1e-4;

/// The loss that undecided lines ask trials for.
pub(super) const LOSS: f64 = 0.1;

/// The least trials a side of which an interval says anything: a complete separation of three happens by chance more
/// than one time in twenty.
const SAME_TRIALS_MIN: usize = 4;

/// The samples of one line. More is better in both; the rate of a latency is its inverse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides<'a> {
    pub(super) a: &'a [f64],
    pub(super) b: &'a [f64],
    /// Whether both were computed, so that no chance is in them.
    pub(super) exact: bool,
}

/// The verdict on two samples, whose ratio has this 95 % interval; one of `lines` lines that have a verdict. Ratios
/// within `margin` of 1 count as the same.
///
/// `Better` and `Worse` lean on the ranks alone, which hold for any distribution; `Same` on the interval of the ratio,
/// from four trials a side on, since fewer have none. What was computed needs neither.
pub(super) fn verdict_of(sides: Sides<'_>, interval: (f64, f64), margin: f64, lines: usize) -> Verdict {
    let Sides { a, b, exact } = sides;
    let allowed = CHANCE / lines.max(1) as f64;
    let ratio = median(b).zip(median(a)).map_or(1.0, |(b, a)| b / a);
    if exact {
        return match ratio {
            ratio if ratio < 1.0 - margin => Verdict::Worse,
            ratio if ratio > 1.0 / (1.0 - margin) => Verdict::Better,
            _ => Verdict::Same,
        };
    }
    let is_worse = ratio < 1.0 && rank_chance(a, b, 1.0) <= allowed;
    let is_better = ratio > 1.0 && rank_chance(b, a, 1.0) <= allowed;
    let is_within = interval.0 >= 1.0 - margin && interval.1 <= 1.0 / (1.0 - margin);
    if is_within && a.len().min(b.len()) >= SAME_TRIALS_MIN {
        return Verdict::Same;
    }
    if is_worse {
        return Verdict::Worse;
    }
    if is_better {
        return Verdict::Better;
    }
    let trials = scatter(&[a, b]).and_then(|scatter| trials_to_find(1.0 - LOSS, scatter, allowed));
    Verdict::Undecided(match trials {
        Some(trials) if trials as usize <= a.len().min(b.len()) => Wanted::Nothing,
        Some(trials) if trials <= TRIALS_MAX => Wanted::Trials(trials),
        Some(_) => Wanted::TooNoisy,
        None if a.len().min(b.len()) < 2 => Wanted::Trials(trials_that_tell(allowed)),
        None => Wanted::TooNoisy,
    })
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Same => "same",
            Verdict::Undecided(_) => "undecided",
        })
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;
    use crate::statistics::median_ratio;
    use crate::summary::{Metric, Summary};
    use std::collections::BTreeMap;
    use std::path::Path;

    const MARGIN: f64 = 0.05;

    fn verdict(a: &[f64], b: &[f64]) -> Verdict {
        let interval = median_ratio(a, b).map_or((0.0, f64::INFINITY), |found| (found.low, found.high));
        verdict_of(Sides { a, b, exact: false }, interval, MARGIN, 1)
    }

    #[test]
    fn each_verdict_has_its_samples() {
        let fast: Vec<f64> = (0..10).map(|at| 10.0 + 0.01 * f64::from(at)).collect();
        let slow: Vec<f64> = fast.iter().map(|value| 0.8 * value).collect();
        assert_eq!(verdict(&fast, &slow), Verdict::Worse);
        assert_eq!(verdict(&slow, &fast), Verdict::Better);
        assert_eq!(verdict(&fast, &fast), Verdict::Same);
        let little: Vec<f64> = fast.iter().map(|value| 0.98 * value).collect();
        assert_eq!(verdict(&fast, &little), Verdict::Same, "2 % are surely a loss, and within the margin");
        assert!(matches!(verdict(&fast[..3], &slow[..3]), Verdict::Undecided(Wanted::Trials(8..30))));
        let wild = [1.0, 30.0, 4.0, 0.1];
        assert_eq!(verdict(&wild, &wild), Verdict::Undecided(Wanted::TooNoisy));
        assert_eq!(verdict(&[1.0], &[2.0]), Verdict::Undecided(Wanted::Trials(8)));
    }

    #[test]
    fn what_was_computed_needs_no_trials() {
        let computed = |a: f64, b: f64| verdict_of(Sides { a: &[a], b: &[b], exact: true }, (0.0, f64::INFINITY), MARGIN, 1000);
        assert_eq!(computed(10.0, 10.0), Verdict::Same);
        assert_eq!(computed(10.0, 9.6), Verdict::Same, "within the margin");
        assert_eq!(computed(10.0, 9.4), Verdict::Worse);
        assert_eq!(computed(10.0, 10.6), Verdict::Better);
    }

    /// Bandwidths and latencies of real points, as more is better, each over the median of its point, by experiment,
    /// fabric and whether cores were shared: the shapes in which real trials scatter.
    fn real_shapes() -> Vec<Vec<f64>> {
        let mut shapes: BTreeMap<(String, String, String, &str), Vec<f64>> = BTreeMap::new();
        for run in ["2-core-vm", "2-core-vm-to-16-nodes"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results").join(run);
            let rows: Vec<Row> = crate::read_rows(&folder).unwrap().rows;
            for point in Summary::of(&rows).points.into_iter().filter(|point| !point.is_simulated()) {
                for metric in [Metric::Algbw, Metric::LatencyP50] {
                    let values = point.values(metric);
                    let Some(middle) = median(&values).filter(|_| values.len() == 3) else { continue };
                    let of = |value: &f64| if metric.more_is_better() { value / middle } else { middle / value };
                    let emulated = point.text(|row| &row.emulated);
                    let key = (point.point.experiment.clone(), point.point.fabric.clone(), emulated, metric.column());
                    shapes.entry(key).or_default().extend(values.iter().map(of));
                }
            }
        }
        shapes.into_values().filter(|shape| shape.len() >= 30).collect()
    }

    /// A linear congruential generator: which value is drawn.
    fn draws() -> impl FnMut(&[f64], u32, f64) -> Vec<f64> {
        let mut state = 0x5eed_u64;
        move |shape, count, scale| {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                shape[(state >> 33) as usize % shape.len()] * scale
            };
            (0..count).map(|_| next()).collect()
        }
    }

    #[test]
    fn a_against_a_is_never_worse_in_a_thousand_pairs_of_real_samples() {
        let shapes = real_shapes();
        assert!(shapes.len() >= 6, "{}", shapes.len());
        let mut draw = draws();
        for pair in 0..1000 {
            let shape = &shapes[pair % shapes.len()];
            let count = [3, 5, 8, 12, 20, 40][pair / shapes.len() % 6];
            let (a, b) = (draw(shape, count, 1.0), draw(shape, count, 1.0));
            // No interval, so that nothing is called the same that ranks would call worse.
            let found = verdict_of(Sides { a: &a, b: &b, exact: false }, (0.0, f64::INFINITY), MARGIN, 1);
            assert!(!matches!(found, Verdict::Worse | Verdict::Better), "pair {pair}: {a:?} {b:?}");
        }
    }

    #[test]
    fn a_loss_of_a_tenth_is_found_in_95_of_100_with_the_trials_that_are_asked_for() {
        let mut draw = draws();
        let (mut found, mut asked, mut too_noisy) = (0, 0, 0);
        for shape in &real_shapes() {
            for _ in 0..60 {
                // What a first comparison of five trials a side asks for.
                let (a, b) = (draw(shape, 5, 1.0), draw(shape, 5, 1.0 - LOSS));
                match verdict(&a, &b) {
                    Verdict::Undecided(Wanted::Trials(trials)) => {
                        let (a, b) = (draw(shape, trials, 1.0), draw(shape, trials, 1.0 - LOSS));
                        asked += 1;
                        // The interval could only call it the same, which a tenth is not.
                        let told = verdict_of(Sides { a: &a, b: &b, exact: false }, (0.0, f64::INFINITY), MARGIN, 1);
                        found += u32::from(told == Verdict::Worse);
                    }
                    Verdict::Undecided(Wanted::TooNoisy) => too_noisy += 1,
                    other => panic!("{other:?} of five trials"),
                }
            }
        }
        assert!(asked >= 200, "{asked} asked, {too_noisy} too noisy");
        assert!(f64::from(found) >= 0.95 * f64::from(asked), "{found} of {asked} found, {too_noisy} too noisy");
    }
}
