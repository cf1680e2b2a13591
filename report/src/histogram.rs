//! Latency histograms of one trial, as files other tools read.

use std::fmt::Write;
use std::io;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use crate::files::file_name;
use crate::row::Point;

const NS_PER_US: f64 = 1e3;
/// The unit of the column of maxima in an interval log, by the convention of HdrHistogram's tools.
const NS_PER_MS: f64 = 1e6;

/// Latencies of one trial in nanoseconds, and when they were taken.
#[derive(Clone, Copy, Debug)]
pub struct HistogramLog<'a> {
    /// The latencies, nanoseconds.
    pub latency_ns: &'a Histogram<u64>,
    /// When the timed part began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// File name of a point's histogram, without its ending.
pub(super) fn stem(point: &Point, trial: u32) -> String {
    let mut parts = vec![
        point.experiment.clone(),
        point.fabric.clone(),
        point.ordering.clone(),
        format!("n{}", point.nodes),
        point.sender_pattern.clone(),
        format!("{}B", point.message_bytes),
    ];
    parts.extend(point.window.map(|window| format!("w{window}")));
    parts.extend(point.block_bytes.map(|block| format!("b{block}")));
    parts.push(point.schedule.clone());
    parts.push(format!("t{trial}"));
    parts.retain(|part| !part.is_empty());
    file_name(&parts.join("-"))
}

impl HistogramLog<'_> {
    /// The trial as an interval log with one interval, values in nanoseconds.
    pub(super) fn interval_log(&self, point: &Point) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment(&format!("[Latency in nanoseconds of {point}]"))
            .with_start_time(self.began)
            .with_max_value_divisor(NS_PER_MS)
            .begin_log_with(&mut bytes, &mut serializer)
            .map_err(io::Error::other)?;
        let start = self.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        log.write_histogram(self.latency_ns, start, self.took, None).map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(bytes)
    }

    /// The percentiles as text in microseconds, laid out as HdrHistogram's own tools do (`.hgrm`).
    pub fn percentile_text(&self) -> String {
        const TICKS_PER_HALF_DISTANCE: u32 = 5;
        let histogram = self.latency_ns;
        let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
        let mut total = 0;
        for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
            total += step.count_since_last_iteration();
            let value = step.value_iterated_to() as f64 / NS_PER_US;
            let quantile = step.quantile_iterated_to();
            let _ = write!(text, "{value:>12.3} {quantile:>2.12} {total:>10}");
            if quantile < 1.0 {
                let _ = write!(text, " {:>14.2}", 1.0 / (1.0 - quantile));
            }
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]",
            histogram.mean() / NS_PER_US,
            histogram.stdev() / NS_PER_US,
            histogram.max() as f64 / NS_PER_US,
            histogram.len(),
        );
        text
    }
}

/// One line of a percentile text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Percentile {
    /// Share of the messages that took at most this long, below 1.
    pub(super) quantile: f64,
    /// Microseconds.
    pub(super) latency_us: f64,
}

/// The percentiles of a `.hgrm` text, without the maximum (whose share of 1 has no place on the usual axis). Lines that
/// are something else are passed over.
pub(super) fn read_percentile_text(text: &str) -> Vec<Percentile> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let latency_us: f64 = fields.next()?.parse().ok()?;
        let quantile: f64 = fields.next()?.parse().ok()?;
        (latency_us.is_finite() && latency_us > 0.0 && (0.0..1.0).contains(&quantile)).then_some(Percentile { quantile, latency_us })
    };
    text.lines().filter_map(line).collect()
}

/// How many values a percentile text is of.
pub(super) fn samples(text: &str) -> Option<u64> {
    let (_, after) = text.split_once("Total count    =")?;
    after.split(']').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Row;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn sample() -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        for latency_ns in 1..=1000u64 {
            histogram.record(latency_ns * 1000).unwrap();
        }
        histogram
    }

    fn log(latency_ns: &Histogram<u64>) -> HistogramLog<'_> {
        HistogramLog { latency_ns, began: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000), took: Duration::from_millis(1500) }
    }

    #[test]
    fn interval_log_reads_back_as_one_interval() {
        let histogram = sample();
        let bytes = log(&histogram).interval_log(&Row::default().point()).unwrap();
        let intervals: Vec<_> = IntervalLogIterator::new(&bytes)
            .map(Result::unwrap)
            .filter_map(|entry| match entry {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        assert_eq!(intervals.len(), 1);
        assert_eq!(intervals[0].duration(), Duration::from_millis(1500));
        assert!((intervals[0].max() - 1.0).abs() < 0.01, "the maximum is 1 ms");
        // Base64 of the cookie of a compressed V2 histogram, by which other tools know it.
        assert!(intervals[0].encoded_histogram().starts_with("HISTFAAA"));
    }

    #[test]
    fn percentile_text_holds_the_percentiles_in_microseconds() {
        let histogram = sample();
        let text = log(&histogram).percentile_text();
        let percentiles = read_percentile_text(&text);
        assert!(percentiles.len() > 20);
        let median = percentiles.iter().find(|p| p.quantile >= 0.5).unwrap();
        assert!((median.latency_us - 500.0).abs() < 1.0, "{median:?}");
        assert!(text.contains("Total count    =         1000"), "{text}");
        assert!(percentiles.is_sorted_by(|a, b| a.quantile <= b.quantile));
    }

    #[test]
    fn text_that_is_no_percentile_is_passed_over() {
        assert!(read_percentile_text("Value Percentile\n\n#[Mean = 1]\nNaN 0.5\n1 2\n").is_empty());
    }

    #[test]
    fn stems_are_file_names_and_tell_points_apart() {
        let row =
            Row { experiment: "latency".into(), fabric: "shm".into(), nodes: 4, message_bytes: 10_240, window: Some(1), ..Row::default() };
        assert_eq!(stem(&row.point(), 2), "latency-shm-n4-10240B-w1-t2");
    }
}
