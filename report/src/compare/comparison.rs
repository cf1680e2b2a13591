//! Two runs, joined: what came of it.

use std::path::PathBuf;

use serde::Serialize;

use super::gate::Gate;
use super::verdict::Verdict;
use crate::row::Point;

/// How to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareOptions {
    /// Points whose gated ratio is surely below this make [`Comparison::passed`] false.
    pub fail_below: Option<f64>,
    /// Whether a line that is [`Verdict::Worse`] makes it false, as against a committed baseline.
    pub fail_if_worse: bool,
    /// Whether points that only the baseline measured are no reason to fail.
    pub allow_missing: bool,
    /// How far from 1 a ratio may lie and count as the same.
    pub margin: f64,
}

impl Default for CompareOptions {
    fn default() -> CompareOptions {
        CompareOptions { fail_below: None, fail_if_worse: false, allow_missing: false, margin: 0.05 }
    }
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
    /// Things that were put right while reading, and that the two sides are of different machines, one sentence each.
    pub notices: Vec<String>,
    /// How far from 1 a ratio may lie and count as the same.
    pub margin: f64,
    /// The threshold that was asked for.
    pub fail_below: Option<f64>,
    /// Whether a line that is worse is a reason to fail.
    pub fail_if_worse: bool,
    /// Whether nothing is surely below the threshold or worse, where that was asked for, and nothing is missing that
    /// should not be.
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
    /// Whether verdict and threshold apply to this line. Tails have none: a few trials say little about them.
    pub gated: bool,
    /// Whether B is better, worse or the same.
    pub verdict: Option<Verdict>,
    /// Of an undecided line, the trials a side that find a loss of a tenth; none if more than a thousand would be
    /// needed, or if there are as many already.
    pub trials_wanted: Option<u32>,
    /// What the threshold says of this line; nothing if it does not apply.
    pub gate: Option<Gate>,
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
