//! What is odd about the trials of points, and what helps.

use crate::row::Point;
use crate::statistics::{drift, median_interval, outliers};
use crate::summary::{Metric, PointSummary, Summary};
use crate::units;

/// Something odd about the trials of a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// The point.
    pub point: Point,
    /// What is odd.
    pub what: String,
    /// What helps.
    pub advice: &'static str,
}

/// From this half width of its interval on, as a share, a median is too noisy to be believed.
pub const NOISY: f64 = 0.1;

/// What is odd about the trials of each point: a median that is not known to a tenth, a drift over the trials,
/// outliers. Each metric of bandwidth, rate and median latency is looked at once, the first of them that was measured.
pub fn advice(summary: &Summary) -> Vec<Advice> {
    summary.points.iter().flat_map(of_point).collect()
}

/// How well the median of a point is known: the half width of its interval as a share, of bandwidth, rate or median
/// latency, the first of them that was measured. Nothing for fewer than two trials.
pub fn precision(summary: &PointSummary) -> Option<f64> {
    median_interval(&main_values(summary)?.1).map(|interval| interval.half_width())
}

fn main_values(summary: &PointSummary) -> Option<(Metric, Vec<f64>)> {
    let main = [Metric::Algbw, Metric::MessagesPerSecond, Metric::LatencyP50];
    main.into_iter().map(|metric| (metric, summary.values(metric))).find(|(_, values)| !values.is_empty())
}

fn of_point(summary: &PointSummary) -> Vec<Advice> {
    let Some((metric, values)) = main_values(summary) else { return Vec::new() };
    let mut found = Vec::new();
    let mut say = |what: String, advice| found.push(Advice { point: summary.point.clone(), what, advice });
    if let Some(interval) = median_interval(&values).filter(|interval| interval.half_width() > NOISY) {
        let what = format!(
            "{} known to ± {} from {}",
            metric.column(),
            units::percent(interval.half_width()),
            units::counted(values.len(), "trial")
        );
        say(what, "repeat until it is known: --until-ci 5%, or more --trials, or longer --seconds");
    }
    if let Some(drift) = drift(&values) {
        let way = if drift.share > 0.0 { "rises" } else { "falls" };
        let what = format!("{} {way} by {} from the first trial to the last", metric.column(), units::percent(drift.share.abs()));
        say(what, "the machine changes meanwhile (heat, neighbours, memory): take points in turns, --interleave");
    }
    let odd = outliers(&values);
    if !odd.is_empty() {
        let trials: Vec<String> = odd.iter().map(|at| format!("{}", at + 1)).collect();
        let what = format!("{} of trial {} lies far from the others", metric.column(), trials.join(", "));
        say(what, "something else ran: look at the note of that trial, pin nodes to idle cores, repeat");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;

    fn found(values: &[f64]) -> Vec<String> {
        let row = |(at, value): (usize, &f64)| Row {
            experiment: "write".into(),
            fabric: "shm".into(),
            trial: at as u32 + 1,
            algbw_gigabytes_per_second: Some(*value),
            ..Row::default()
        };
        let rows: Vec<Row> = values.iter().enumerate().map(row).collect();
        advice(&Summary::of(&rows)).into_iter().map(|found| found.what).collect()
    }

    #[test]
    fn noise_drift_and_outliers_are_told() {
        assert!(found(&[1.0, 1.01, 1.02]).is_empty());
        assert_eq!(found(&[1.0, 2.0, 1.5]), ["algbw_gigabytes_per_second known to ± 33.3 % from 3 trials"]);
        let rising: Vec<f64> = (0..9).map(|at| 10.0 + 0.1 * f64::from(at)).collect();
        assert_eq!(found(&rising), ["algbw_gigabytes_per_second rises by 7.7 % from the first trial to the last"]);
        assert_eq!(found(&[5.0, 5.01, 4.99, 5.0, 3.0, 5.02, 5.0]), ["algbw_gigabytes_per_second of trial 5 lies far from the others"]);
    }
}
