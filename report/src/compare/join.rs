//! Joining two runs, point by point.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::baseline::{Surroundings, surroundings};
use super::comparison::{CompareOptions, ComparedMetric, Comparison, Difference};
use super::gate::{Gate, Interval, gate_of};
use super::verdict::{Sides, Verdict, Wanted, verdict_of};
use crate::error::ResultsError;
use crate::reader::read_rows;
use crate::row::{Point, Row};
use crate::statistics::{median_ratio, rank_chance};
use crate::summary::{Metric, PointSummary, Summary};

const ORIENTATION: &str = "ratio: above 1 means that B is better (B/A for rates, A/B for latencies); \
     * is more than scatter, (*) is apart but of fewer than about 4 trials a side";

/// Joins two runs (folders, `results.csv` files or baselines) by point and compares their medians.
///
/// # Errors
/// What [`read_rows`] finds wrong with either file (among it another schema), and [`ResultsError::Incomparable`] where
/// a point was verified differently or where no point is on both sides.
pub fn compare(a: &Path, b: &Path, options: &CompareOptions) -> Result<Comparison, ResultsError> {
    let (a_rows, b_rows) = (read_rows(a)?, read_rows(b)?);
    let (a_points, b_points) = (Summary::of(&a_rows.rows), Summary::of(&b_rows.rows));
    let by_point: BTreeMap<&Point, &PointSummary> = b_points.points.iter().map(|point| (&point.point, point)).collect();
    let mut lines = Vec::new();
    let mut only_a = Vec::new();
    for left in &a_points.points {
        let Some(right) = by_point.get(&left.point) else {
            only_a.push(left.point.clone());
            continue;
        };
        check_verified(a, b, left, right)?;
        let of_both = compared(left, right);
        if metrics(left, left).iter().any(|(_, gates)| *gates) && !of_both.iter().any(|line| line.gated) {
            only_a.push(left.point.clone());
        }
        lines.extend(of_both);
    }
    let on_left: BTreeSet<&Point> = a_points.points.iter().map(|point| &point.point).collect();
    let only_b: Vec<Point> =
        b_points.points.iter().filter(|point| !on_left.contains(&point.point)).map(|point| point.point.clone()).collect();
    if lines.is_empty() {
        return Err(incomparable(a, b, nothing_in_common(&only_a, &only_b)));
    }
    judge(&mut lines, options, &a_points, &by_point);
    let gates = options.fail_below.is_some() || options.fail_if_worse;
    let missing_fails = gates && !options.allow_missing;
    let (about_a, about_b) = (surroundings(a)?, surroundings(b)?);
    let mut differences = row_differences(&a_points, &b_points);
    differences.extend(file_differences(&about_a, &about_b));
    let notices = a_rows.notices.into_iter().chain(b_rows.notices).chain(other_machine(&differences, &about_a));
    let fails = |line: &ComparedMetric| line.gate == Some(Gate::Fail) || (options.fail_if_worse && line.verdict == Some(Verdict::Worse));
    Ok(Comparison {
        a: a.to_path_buf(),
        b: b.to_path_buf(),
        orientation: ORIENTATION,
        passed: !lines.iter().any(fails) && (!missing_fails || only_a.is_empty()),
        missing_fails,
        lines,
        only_a,
        only_b,
        notices: notices.collect(),
        differences,
        margin: options.margin,
        fail_below: options.fail_below,
        fail_if_worse: options.fail_if_worse,
    })
}

fn incomparable(a: &Path, b: &Path, reason: String) -> ResultsError {
    ResultsError::Incomparable { a: a.display().to_string(), b: b.display().to_string(), reason }
}

fn nothing_in_common(only_a: &[Point], only_b: &[Point]) -> String {
    match (only_a.first(), only_b.first()) {
        (None, _) => "the first measured nothing".into(),
        (_, None) => "the second measured nothing".into(),
        (Some(a), Some(b)) => {
            format!("no point is on both sides with a metric in common; the first of each: {a} and {b}")
        }
    }
}

fn check_verified(a: &Path, b: &Path, left: &PointSummary, right: &PointSummary) -> Result<(), ResultsError> {
    let (on_a, on_b) = (left.text(|row| &row.verified), right.text(|row| &row.verified));
    if on_a == on_b {
        return Ok(());
    }
    let reason =
        format!("{} was verified {on_a:?} on the first and {on_b:?} on the second; measure both with the same --verify", left.point);
    Err(incomparable(a, b, reason))
}

/// Metrics that are compared, and whether they gate. Time, bandwidth and rate of one point say the same: the first of
/// bandwidth and rate that both sides measured is taken.
fn metrics(left: &PointSummary, right: &PointSummary) -> Vec<(Metric, bool)> {
    let both = |metric: &Metric| !left.values(*metric).is_empty() && !right.values(*metric).is_empty();
    let throughput = match left.point.experiment.as_str() {
        "smc-rate" => [Metric::MessagesPerSecond, Metric::Algbw],
        _ => [Metric::Algbw, Metric::MessagesPerSecond],
    };
    throughput
        .into_iter()
        .find(both)
        .map(|metric| (metric, true))
        .into_iter()
        .chain([(Metric::LatencyP50, true), (Metric::LatencyP99, false)].into_iter().filter(|(metric, _)| both(metric)))
        .collect()
}

fn compared(left: &PointSummary, right: &PointSummary) -> Vec<ComparedMetric> {
    let line = |(metric, gated): (Metric, bool)| {
        let (a, b) = (left.values(metric), right.values(metric));
        let ratio = if metric.more_is_better() { median_ratio(&a, &b)? } else { median_ratio(&b, &a)? };
        Some(ComparedMetric {
            point: left.point.clone(),
            metric: metric.column(),
            a_median: left.spread(metric)?.median,
            a_trials: a.len(),
            b_median: right.spread(metric)?.median,
            b_trials: b.len(),
            ratio: ratio.ratio,
            ratio_low: ratio.low,
            ratio_high: ratio.high,
            mark: ratio.significance.mark(),
            gated,
            verdict: None,
            trials_wanted: None,
            gate: None,
        })
    };
    metrics(left, right).into_iter().filter_map(line).collect()
}

/// Gives every line that gates its verdict, and what the threshold says if there is one.
fn judge(lines: &mut [ComparedMetric], options: &CompareOptions, a: &Summary, b: &BTreeMap<&Point, &PointSummary>) {
    let on_a: BTreeMap<&Point, &PointSummary> = a.points.iter().map(|point| (&point.point, point)).collect();
    let count = lines.iter().filter(|line| line.gated).count();
    for line in lines.iter_mut().filter(|line| line.gated) {
        let (Some(left), Some(right)) = (on_a.get(&line.point), b.get(&line.point)) else { continue };
        let Some(metric) = Metric::ALL.into_iter().find(|metric| metric.column() == line.metric) else { continue };
        let exact = left.is_simulated() && right.is_simulated();
        // As more is better: the rate of a latency is its inverse.
        let goods = |point: &PointSummary| -> Vec<f64> {
            let values = point.values(metric).into_iter();
            if metric.more_is_better() { values.collect() } else { values.map(|value| 1.0 / value).collect() }
        };
        let (left, right) = (goods(left), goods(right));
        let verdict = verdict_of(Sides { a: &left, b: &right, exact }, (line.ratio_low, line.ratio_high), options.margin, count);
        line.verdict = Some(verdict);
        line.trials_wanted = match verdict {
            Verdict::Undecided(Wanted::Trials(trials)) => Some(trials),
            _ => None,
        };
        line.gate = options.fail_below.map(|threshold| {
            let chance = if exact { 0.0 } else { rank_chance(&left, &right, threshold) };
            let (low, high) = if exact { (line.ratio, line.ratio) } else { (line.ratio_low, line.ratio_high) };
            let interval = Interval { ratio: line.ratio, low, high };
            gate_of(interval, threshold, line.a_trials.min(line.b_trials), chance, count)
        });
    }
}

/// Facts in the rows that no key holds but that move numbers.
fn row_differences(a: &Summary, b: &Summary) -> Vec<Difference> {
    [
        difference("column emulated", texts(a, |row| &row.emulated), texts(b, |row| &row.emulated)),
        difference("column bound_kind", texts(a, |row| &row.bound_kind), texts(b, |row| &row.bound_kind)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn texts(summary: &Summary, of: impl Fn(&Row) -> &str) -> String {
    let rows = summary.points.iter().flat_map(|point| &point.trials);
    let found: BTreeSet<&str> = rows.map(of).collect();
    found.into_iter().collect::<Vec<_>>().join(", ")
}

fn difference(name: &str, a: String, b: String) -> Option<Difference> {
    (a != b).then(|| Difference { name: name.to_owned(), a, b })
}

/// What differs in `run.json` and `environment.json`, where both sides have them.
fn file_differences(a: &Surroundings, b: &Surroundings) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, a, b) in [("run.json", &a.effective, &b.effective), ("environment.json", &a.environment, &b.environment)] {
        if let (Some(a), Some(b)) = (a, b) {
            collect_differences(name, a, b, &mut found);
        }
    }
    found
}

/// Facts by which one machine is told from another.
const MACHINE: [&str; 3] = ["cpu.model", "cpu.online_count", "infiniband"];

/// That the two sides are of different machines, if they are.
fn other_machine(differences: &[Difference], a: &Surroundings) -> Option<String> {
    let of_machine = |found: &&Difference| found.name.strip_prefix("environment.json ").is_some_and(|name| MACHINE.contains(&name));
    let found: Vec<String> = differences
        .iter()
        .filter(of_machine)
        .map(|found| format!("{}: {}, here {}", found.name.trim_start_matches("environment.json "), found.a, found.b))
        .collect();
    (!found.is_empty()).then(|| {
        format!(
            "{}: the baseline was measured on another machine ({}); ratios compare machines as much as programs. Measure \
             a baseline on this one: squall compare RUN --save-baseline FILE",
            a.told_by,
            found.join("; ")
        )
    })
}

/// Facts that change from minute to minute and mean nothing.
const FLEETING: [&str; 4] = ["available_bytes", "control_group_free_bytes", "free_count", "reserved_count"];

fn collect_differences(name: &str, a: &Value, b: &Value, found: &mut Vec<Difference>) {
    match (a, b) {
        (Value::Object(on_a), Value::Object(on_b)) => {
            let keys: BTreeSet<&String> = on_a.keys().chain(on_b.keys()).collect();
            for key in keys.into_iter().filter(|key| !FLEETING.contains(&key.as_str())) {
                let separator = if name.ends_with(".json") { ' ' } else { '.' };
                let (a, b) = (on_a.get(key), on_b.get(key));
                let below = format!("{name}{separator}{key}");
                collect_differences(&below, a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null), found);
            }
        }
        _ => {
            let text = |value: &Value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            found.extend(difference(name, text(a), text(b)));
        }
    }
}
