//! A gate without a baseline: a bandwidth that every point has to reach.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use crate::error::ResultsError;
use crate::reader::read_rows;
use crate::row::Point;
use crate::summary::{Metric, Summary, Unmeasured};
use crate::units;

/// A bandwidth as the command line takes it: `12GB/s`, `1.5 GB/s`, `800MB/s`; units are powers of 1,000, as in results.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// In 10^9 bytes a second.
    pub gigabytes_per_second: f64,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let form = || "give a bandwidth such as 12GB/s or 800MB/s (10^9 and 10^6 bytes a second)".to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(form)?;
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim() {
            "GB/s" => 1.0,
            "MB/s" => 1e-3,
            "KB/s" => 1e-6,
            _ => return Err(form()),
        };
        let number: f64 = number.parse().map_err(|_| form())?;
        if number > 0.0 && number.is_finite() { Ok(Rate { gigabytes_per_second: number * factor }) } else { Err(form()) }
    }
}

/// A run against a bandwidth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtLeast {
    /// The run, as given.
    pub run: PathBuf,
    /// What every point has to reach.
    pub floor: Rate,
    /// Points with a bandwidth.
    pub points: usize,
    /// Those whose median does not reach it.
    pub below: Vec<BelowFloor>,
    /// Points that were asked for and have no measurement.
    pub unmeasured: Vec<String>,
    /// Things that were put right while reading, one sentence each.
    pub notices: Vec<String>,
    /// Whether no point is surely below, and none is missing.
    pub passed: bool,
}

/// A point whose median is below the floor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BelowFloor {
    /// The point.
    pub point: Point,
    /// Median of its trials, in 10^9 bytes a second.
    pub median: f64,
    /// The best of them.
    pub max: f64,
    /// How many there are.
    pub trials: usize,
    /// Whether it fails: no trial reaches the floor. Where one does, it is undecided.
    pub failed: bool,
}

/// Holds every point of a run that has a bandwidth to `floor`: a point fails if none of its trials reaches it.
///
/// # Errors
/// As [`read_rows`], and [`ResultsError::Incomparable`] if the run measured no bandwidth.
pub fn at_least(run: &Path, floor: Rate, allow_missing: bool) -> Result<AtLeast, ResultsError> {
    let found = read_rows(run)?;
    let summary = Summary::of(&found.rows);
    let spreads: Vec<_> = summary.points.iter().filter_map(|point| Some((point, point.spread(Metric::Algbw)?))).collect();
    if spreads.is_empty() {
        let reason = "it measured no bandwidth".to_owned();
        return Err(ResultsError::Incomparable { a: run.display().to_string(), b: "a bandwidth".into(), reason });
    }
    let below: Vec<BelowFloor> = spreads
        .iter()
        .filter(|(_, spread)| spread.median < floor.gigabytes_per_second)
        .map(|(point, spread)| BelowFloor {
            point: point.point.clone(),
            median: spread.median,
            max: spread.max,
            trials: point.values(Metric::Algbw).len(),
            failed: spread.max < floor.gigabytes_per_second,
        })
        .collect();
    let shown = |unmeasured: &Unmeasured| format!("{}: {}", unmeasured.point, unmeasured.reason);
    let unmeasured: Vec<String> = summary.unmeasured.iter().map(shown).collect();
    let passed = !below.iter().any(|below| below.failed) && (allow_missing || unmeasured.is_empty());
    Ok(AtLeast { run: run.to_path_buf(), floor, points: spreads.len(), below, unmeasured, notices: found.notices, passed })
}

impl AtLeast {
    /// For a terminal.
    pub fn text(&self) -> String {
        let failed = self.below.iter().filter(|below| below.failed).count();
        let verdict = if self.passed { "passed" } else { "FAILED" };
        let floor = format!("{} GB/s", self.floor.gigabytes_per_second);
        let points = units::counted(self.points, "point");
        let mut text = format!("{verdict}: {failed} of {points} of {} below {floor}\n", self.run.display());
        for below in &self.below {
            let how = if below.failed { "FAIL" } else { "undecided: some trial reaches it; measure more --trials" };
            let (median, max) = (units::number(below.median), units::number(below.max));
            text.push_str(&format!(
                "  {}: {median} GB/s, at best {max} of {}, {how}\n",
                below.point,
                units::counted(below.trials, "trial")
            ));
        }
        for unmeasured in &self.unmeasured {
            text.push_str(&format!("  not measured: {unmeasured}\n"));
        }
        for notice in &self.notices {
            text.push_str(&format!("notice: {notice}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_in_powers_of_a_thousand() {
        let of = |text: &str| text.parse::<Rate>().map(|rate| rate.gigabytes_per_second);
        assert_eq!((of("12GB/s"), of("1.5 GB/s"), of("800MB/s")), (Ok(12.0), Ok(1.5), Ok(0.8)));
        for wrong in ["12", "12GB", "GB/s", "1,5GB/s", "0GB/s", "-1GB/s", "12Gb/s", "1.2.3GB/s"] {
            assert!(of(wrong).is_err_and(|why| why.contains("12GB/s")), "{wrong}");
        }
    }
}
