//! Two runs, joined: what came of it.

use std::path::PathBuf;

use serde::Serialize;

use super::verdict::Verdict;
use crate::row::Point;

/// How to compare.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompareOptions {
    /// Points whose gated ratio is surely below this make [`Comparison::passed`] false.
    pub fail_below: Option<f64>,
    /// Whether points that only the baseline measured are no reason to fail.
    pub allow_missing: bool,
}

/// Two runs, joined.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The baseline, as given.
    pub a: PathBuf,
    /// The candidate, as given.
    pub b: PathBuf,
    /// What the ratios mean.
    pub orientation: &'static str,
    /// Points on both sides, a line for each metric that both measured.
    pub lines: Vec<ComparedMetric>,
    /// Points that only the baseline measured, or of which the candidate lacks what gates.
    pub only_a: Vec<Point>,
    /// Points that only the candidate measured.
    pub only_b: Vec<Point>,
    /// Settings and facts about the machines that differ.
    pub differences: Vec<Difference>,
    /// Things that were put right while reading, one sentence each.
    pub notices: Vec<String>,
    /// The threshold that was asked for.
    pub fail_below: Option<f64>,
    /// Whether nothing is surely below the threshold, and nothing is missing that should not be. Without a threshold,
    /// always.
    pub passed: bool,
    /// Whether points that only the baseline measured are a reason to fail.
    pub missing_fails: bool,
}

/// One metric of one point on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedMetric {
    /// The point.
    pub point: Point,
    /// The column.
    pub metric: &'static str,
    /// Median of the baseline, in the unit of the column.
    pub a_median: f64,
    /// Trials of the baseline.
    pub a_trials: usize,
    /// Median of the candidate.
    pub b_median: f64,
    /// Trials of the candidate.
    pub b_trials: usize,
    /// How many times better the candidate is: B over A where more is better, A over B where less is.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub ratio_low: f64,
    /// Upper end of its 95 % interval.
    pub ratio_high: f64,
    /// `*`: more than scatter. `(*)`: apart, but of too few trials to say so. Empty: may be scatter.
    pub mark: &'static str,
    /// Whether the threshold applies to this line. Tails do not gate: a few trials say little about them.
    pub gated: bool,
    /// What the threshold says of this line; nothing if it does not apply.
    pub verdict: Option<Verdict>,
}

/// A setting that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where it stands, such as `environment.json cpu.model`.
    pub name: String,
    /// In the baseline.
    pub a: String,
    /// In the candidate.
    pub b: String,
}
