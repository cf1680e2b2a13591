//! One line a point: median, least, greatest and spread over its trials.

use std::collections::HashMap;
use std::path::Path;

use crate::error::ResultsError;
use crate::files::replace;
use crate::row::{Point, Row, SIMULATED};
use crate::statistics::median;

/// A measured column, as it is summarised, drawn and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the column of the same name")]
pub enum Metric {
    Seconds,
    Algbw,
    Busbw,
    Bound,
    BoundFraction,
    MessagesPerSecond,
    LatencyMin,
    LatencyP50,
    LatencyP90,
    LatencyP99,
    LatencyP999,
    LatencyMax,
    CpuSeconds,
    Nulls,
    SendBatchMean,
    ReceiveBatchMean,
    DeliveryBatchMean,
}

impl Metric {
    /// Every metric, in the order of the columns.
    pub const ALL: [Metric; 17] = [
        Metric::Seconds,
        Metric::Algbw,
        Metric::Busbw,
        Metric::Bound,
        Metric::BoundFraction,
        Metric::MessagesPerSecond,
        Metric::LatencyMin,
        Metric::LatencyP50,
        Metric::LatencyP90,
        Metric::LatencyP99,
        Metric::LatencyP999,
        Metric::LatencyMax,
        Metric::CpuSeconds,
        Metric::Nulls,
        Metric::SendBatchMean,
        Metric::ReceiveBatchMean,
        Metric::DeliveryBatchMean,
    ];

    /// The column.
    pub fn column(self) -> &'static str {
        match self {
            Metric::Seconds => "seconds",
            Metric::Algbw => "algbw_gigabytes_per_second",
            Metric::Busbw => "busbw_gigabytes_per_second",
            Metric::Bound => "bound_gigabytes_per_second",
            Metric::BoundFraction => "bound_fraction",
            Metric::MessagesPerSecond => "messages_per_second",
            Metric::LatencyMin => "latency_us_min",
            Metric::LatencyP50 => "latency_us_p50",
            Metric::LatencyP90 => "latency_us_p90",
            Metric::LatencyP99 => "latency_us_p99",
            Metric::LatencyP999 => "latency_us_p999",
            Metric::LatencyMax => "latency_us_max",
            Metric::CpuSeconds => "cpu_seconds",
            Metric::Nulls => "nulls",
            Metric::SendBatchMean => "send_batch_mean",
            Metric::ReceiveBatchMean => "receive_batch_mean",
            Metric::DeliveryBatchMean => "delivery_batch_mean",
        }
    }

    /// The value in a row, if it was measured.
    pub fn of(self, row: &Row) -> Option<f64> {
        match self {
            Metric::Seconds => row.seconds,
            Metric::Algbw => row.algbw_gigabytes_per_second,
            Metric::Busbw => row.busbw_gigabytes_per_second,
            Metric::Bound => row.bound_gigabytes_per_second,
            Metric::BoundFraction => row.bound_fraction,
            Metric::MessagesPerSecond => row.messages_per_second,
            Metric::LatencyMin => row.latency_us_min,
            Metric::LatencyP50 => row.latency_us_p50,
            Metric::LatencyP90 => row.latency_us_p90,
            Metric::LatencyP99 => row.latency_us_p99,
            Metric::LatencyP999 => row.latency_us_p999,
            Metric::LatencyMax => row.latency_us_max,
            Metric::CpuSeconds => row.cpu_seconds,
            Metric::Nulls => row.nulls.map(|count| count as f64),
            Metric::SendBatchMean => row.send_batch_mean,
            Metric::ReceiveBatchMean => row.receive_batch_mean,
            Metric::DeliveryBatchMean => row.delivery_batch_mean,
        }
    }

    /// Whether a greater value is the better one.
    pub fn more_is_better(self) -> bool {
        matches!(self, Metric::Algbw | Metric::Busbw | Metric::Bound | Metric::BoundFraction | Metric::MessagesPerSecond)
    }
}

/// The values of one metric over the trials of one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Middle value, or the mean of the two in the middle.
    pub median: f64,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
}

impl Spread {
    pub(crate) fn over(values: &[f64]) -> Option<Spread> {
        Some(Spread {
            median: median(values)?,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// `(max - min) / median`; 0 where the median is 0.
    pub fn relative(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / self.median }
    }
}

/// One point over its trials.
#[derive(Clone, Debug, PartialEq)]
pub struct PointSummary {
    /// The point.
    pub point: Point,
    /// Its measured trials, in file order.
    pub trials: Vec<Row>,
}

impl PointSummary {
    /// The values of one metric, if any trial measured it.
    pub fn spread(&self, metric: Metric) -> Option<Spread> {
        Spread::over(&self.values(metric))
    }

    /// One metric in every trial that measured it. A percentile for which some trial has too few samples is blank: of
    /// the other trials alone it could lie above the greatest latency of all.
    pub fn values(&self, metric: Metric) -> Vec<f64> {
        let values: Vec<f64> = self.trials.iter().filter_map(|row| metric.of(row)).collect();
        let timed = self.trials.iter().filter(|row| row.latency_us_p50.is_some()).count();
        let is_of_samples = matches!(metric, Metric::LatencyP90 | Metric::LatencyP99 | Metric::LatencyP999);
        if is_of_samples && values.len() < timed { Vec::new() } else { values }
    }

    /// Whether a model computed all of its trials, so that no chance is in them.
    pub fn is_simulated(&self) -> bool {
        self.trials.iter().all(|row| row.emulated == SIMULATED)
    }

    /// The different values of a text column, joined with ` / `.
    pub fn text(&self, of: impl Fn(&Row) -> &str) -> String {
        let mut found: Vec<&str> = Vec::new();
        for text in self.trials.iter().map(of) {
            if !text.is_empty() && !found.contains(&text) {
                found.push(text);
            }
        }
        found.join(" / ")
    }

    /// Whether any trial came out above its bound.
    pub fn passes_bound(&self) -> bool {
        self.trials.iter().any(Row::passes_bound)
    }

    /// What stands in for the hardware in any of the trials.
    pub fn emulation(&self) -> Option<&str> {
        self.trials.iter().find_map(Row::emulation)
    }

    /// All that stands in for the hardware, or held it back, in any of the trials, each once.
    pub fn emulations(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for label in self.trials.iter().filter_map(Row::emulation).flat_map(|labels| labels.split('+')) {
            if !found.contains(&label) {
                found.push(label);
            }
        }
        found
    }
}

/// A point that was skipped or failed and was not measured afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Unmeasured {
    /// The point.
    pub point: Point,
    /// Why there is no measurement.
    pub reason: String,
}

/// A run, point by point, in the order in which the points were first measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Points with at least one measured trial.
    pub points: Vec<PointSummary>,
    /// Points whose last row says why there is no measurement.
    pub unmeasured: Vec<Unmeasured>,
}

impl Summary {
    /// Gathers the trials of each point.
    pub fn of(rows: &[Row]) -> Summary {
        let mut summary = Summary::default();
        let mut place: HashMap<Point, usize> = HashMap::new();
        for row in rows {
            let point = row.point();
            summary.unmeasured.retain(|unmeasured| !unmeasured.point.covers(&point));
            if !row.is_measured() {
                let reason = row.note.clone();
                summary.unmeasured.push(Unmeasured { point, reason });
                continue;
            }
            let at = *place.entry(point.clone()).or_insert_with(|| {
                summary.points.push(PointSummary { point, trials: Vec::new() });
                summary.points.len() - 1
            });
            summary.points[at].trials.push(row.clone());
        }
        summary
    }

    /// Points that were not measured, those with one reason together, in file order.
    pub fn unmeasured_by_reason(&self) -> Vec<(String, String)> {
        let mut found: Vec<(&str, Vec<&Point>)> = Vec::new();
        for Unmeasured { point, reason } in &self.unmeasured {
            match found.iter_mut().find(|known| known.0 == reason) {
                Some(known) => known.1.push(point),
                None => found.push((reason, vec![point])),
            }
        }
        let reason = |reason: &str| if reason.is_empty() { "no reason given".to_owned() } else { reason.to_owned() };
        found.into_iter().map(|(why, points)| (together(&points), reason(why))).collect()
    }

    /// Writes `summary.csv`: the columns that name the point, then `<column>_median`, `_min`, `_max` and `_spread` of
    /// every measured column.
    ///
    /// # Errors
    /// [`ResultsError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), ResultsError> {
        let bytes = self.csv().map_err(|error| ResultsError::io(path, "write")(std::io::Error::other(error)))?;
        replace(path, &bytes)
    }

    fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut header: Vec<String> = POINT_COLUMNS.iter().map(|&name| name.into()).collect();
        for metric in Metric::ALL {
            for suffix in ["median", "min", "max", "spread"] {
                header.push(format!("{}_{suffix}", metric.column()));
            }
        }
        writer.write_record(&header)?;
        for point in &self.points {
            let mut record = point_fields(point);
            for metric in Metric::ALL {
                match point.spread(metric) {
                    Some(spread) => {
                        record.extend([spread.median, spread.min, spread.max, spread.relative()].map(|value| value.to_string()))
                    }
                    None => record.extend([const { String::new() }; 4]),
                }
            }
            writer.write_record(&record)?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }
}

/// Points in one text: what they share, and the sizes, groups and patterns that differ, as a sweep is asked for.
fn together(points: &[&Point]) -> String {
    let [first, ..] = points else { return String::new() };
    let same = |of: fn(&Point) -> String| points.iter().all(|point| of(point) == of(first));
    let each = |of: fn(&Point) -> String| {
        let mut found: Vec<String> = Vec::new();
        for text in points.iter().map(|point| of(point)) {
            if !text.is_empty() && !found.contains(&text) {
                found.push(text);
            }
        }
        found.join(",")
    };
    if points.len() == 1 || !same(|point| point.experiment.clone()) {
        return points.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    }
    let parts = [
        first.experiment.clone(),
        each(|point| point.fabric.clone()),
        each(|point| point.ordering.clone()),
        format!("n={}", each(|point| point.nodes.to_string())),
        each(|point| point.sender_pattern.clone()),
        each(|point| crate::units::bytes(point.message_bytes)),
        each(|point| point.schedule.clone()),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{} ({})", parts.join(" "), crate::units::counted(points.len(), "point"))
}

const POINT_COLUMNS: [&str; 14] = [
    "experiment",
    "fabric",
    "ordering",
    "nodes",
    "senders",
    "sender_pattern",
    "message_bytes",
    "window",
    "block_bytes",
    "schedule",
    "trials",
    "bound_kind",
    "verified",
    "emulated",
];

fn point_fields(summary: &PointSummary) -> Vec<String> {
    let point = &summary.point;
    let optional = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    vec![
        point.experiment.clone(),
        point.fabric.clone(),
        point.ordering.clone(),
        point.nodes.to_string(),
        summary.trials.first().map_or(0, |row| row.senders).to_string(),
        point.sender_pattern.clone(),
        point.message_bytes.to_string(),
        optional(point.window),
        optional(point.block_bytes),
        point.schedule.clone(),
        summary.trials.len().to_string(),
        summary.text(|row| &row.bound_kind),
        summary.text(|row| &row.verified),
        summary.text(|row| &row.emulated),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(nodes: u32, trial: u32, algbw: f64) -> Row {
        Row {
            experiment: "multicast".into(),
            fabric: "shm".into(),
            nodes,
            trial,
            algbw_gigabytes_per_second: (trial > 0).then_some(algbw),
            note: if trial == 0 { "no memory".into() } else { String::new() },
            ..Row::default()
        }
    }

    #[test]
    fn trials_are_summarised_by_point_in_file_order() {
        let rows = [trial(4, 1, 2.0), trial(2, 1, 9.0), trial(4, 2, 3.0), trial(4, 3, 7.0)];
        let summary = Summary::of(&rows);
        assert_eq!(summary.points.len(), 2);
        let spread = summary.points[0].spread(Metric::Algbw).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (3.0, 2.0, 7.0));
        assert!((spread.relative() - 5.0 / 3.0).abs() < 1e-12);
        assert!(summary.points[0].spread(Metric::LatencyP50).is_none());
    }

    #[test]
    fn a_failure_is_listed_until_a_later_trial_succeeds() {
        let failed = Summary::of(&[trial(4, 0, 0.0)]);
        assert!(failed.points.is_empty());
        assert_eq!(failed.unmeasured[0].reason, "no memory");
        let mended = Summary::of(&[trial(4, 0, 0.0), trial(4, 1, 1.0)]);
        assert!(mended.unmeasured.is_empty());
        let again = Summary::of(&[trial(4, 1, 1.0), trial(4, 0, 0.0)]);
        assert_eq!((again.points.len(), again.unmeasured.len()), (1, 1));
    }

    #[test]
    fn points_that_failed_alike_are_told_together() {
        let other = Row { note: "no device".into(), ..trial(2, 0, 0.0) };
        let found = Summary::of(&[trial(4, 0, 0.0), trial(8, 0, 0.0), other]).unmeasured_by_reason();
        assert_eq!(
            found,
            [
                ("multicast shm n=4,8 0 B (2 points)".to_owned(), "no memory".to_owned()),
                ("multicast shm n=2 0 B".to_owned(), "no device".to_owned())
            ]
        );
    }

    #[test]
    fn a_percentile_is_one_of_all_trials_or_blank() {
        let timed =
            |number, p99, max| Row { latency_us_p50: Some(2.0), latency_us_p99: p99, latency_us_max: Some(max), ..trial(2, number, 1.0) };
        let of = |p99| Summary::of(&[timed(1, Some(449.0), 460.0), timed(2, p99, 9.0), timed(3, p99, 8.0)]).points[0].clone();
        assert_eq!(of(Some(7.0)).spread(Metric::LatencyP99).unwrap().median, 7.0);
        assert_eq!(of(None).spread(Metric::LatencyP99), None);
        assert_eq!(of(None).spread(Metric::LatencyMax).unwrap().median, 9.0);
    }

    #[test]
    fn summary_has_one_line_a_point_and_as_many_values_as_names() {
        let bytes = Summary::of(&[trial(4, 1, 2.0), trial(2, 1, 9.0)]).csv().unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let names = reader.headers().unwrap().len();
        assert_eq!(names, POINT_COLUMNS.len() + 4 * Metric::ALL.len());
        let records: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), 2);
        assert!(records.iter().all(|record| record.len() == names));
    }
}
