//! Latencies as histograms and as columns of a row.

use hdrhistogram::Histogram;

use crate::run::fault::Fault;
use squall_report::{Row, carries};

/// Three significant digits: a thousandth is finer than any two trials agree.
const DIGITS: u8 = 3;

/// An empty histogram of nanoseconds, which grows as needed.
///
/// # Errors
/// If there is no memory for it.
pub(super) fn histogram() -> Result<Histogram<u64>, Fault> {
    Histogram::new(DIGITS).map_err(|error| Fault::Failed(format!("no histogram: {error}")))
}

/// A histogram of values with their counts.
///
/// # Errors
/// As [`histogram`], or a value that it cannot hold.
pub(super) fn histogram_of(counts: &[(u64, u64)]) -> Result<Histogram<u64>, Fault> {
    let mut all = histogram()?;
    for &(value, count) in counts {
        all.record_n(value, count).map_err(|error| Fault::Failed(format!("a latency of {value} ns: {error}")))?;
    }
    Ok(all)
}

/// The row with its latency columns filled from a histogram of nanoseconds; as it was if that is empty.
pub(super) fn with_latencies(row: Row, latency_ns: &Histogram<u64>) -> Row {
    if latency_ns.is_empty() {
        return row;
    }
    let microseconds = |ns: u64| Some(ns as f64 / 1e3);
    // A percentile that no sample lies beyond is the maximum by another name.
    let carried =
        |quantile: f64| carries(latency_ns.len(), quantile).then(|| microseconds(latency_ns.value_at_quantile(quantile))).flatten();
    Row {
        latency_us_min: microseconds(latency_ns.min()),
        latency_us_p50: microseconds(latency_ns.value_at_quantile(0.5)),
        latency_us_p90: carried(0.9),
        latency_us_p99: carried(0.99),
        latency_us_p999: carried(0.999),
        latency_us_max: microseconds(latency_ns.max()),
        ..row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_percentiles_in_microseconds() {
        let counts: Vec<(u64, u64)> = (1..=1000).map(|ns| (ns * 1000, 1)).collect();
        let row = with_latencies(Row::default(), &histogram_of(&counts).unwrap());
        let p50 = row.latency_us_p50.unwrap();
        assert!((499.0..=501.5).contains(&p50), "{p50}");
        assert!(row.latency_us_min <= row.latency_us_p50 && row.latency_us_p999 <= row.latency_us_max);
    }

    #[test]
    fn few_samples_have_no_rare_percentiles() {
        let counts: Vec<(u64, u64)> = (1..=40).map(|ns| (ns * 1000, 1)).collect();
        let row = with_latencies(Row::default(), &histogram_of(&counts).unwrap());
        assert!(row.latency_us_p90.is_some() && row.latency_us_max.is_some());
        assert_eq!((row.latency_us_p99, row.latency_us_p999), (None, None));
    }

    #[test]
    fn no_latencies_leave_the_columns_empty() {
        assert_eq!(with_latencies(Row::default(), &histogram_of(&[]).unwrap()).latency_us_p50, None);
    }
}
