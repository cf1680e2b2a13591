//! A run in the formats of tools that watch benchmarks over time.

use serde_json::{Map, Value, json};

use crate::statistics::{MedianInterval, median, median_interval};
use crate::summary::{Metric, PointSummary, Summary};

/// Bencher's metric format: by benchmark and measure, the median with the ends of its interval. Bandwidth is in bytes a
/// second, latency in nanoseconds, as Bencher's own measures `throughput` and `latency` are.
pub fn bencher(summary: &Summary) -> Value {
    const MEASURES: [(&str, Metric, f64); 4] = [
        ("bandwidth", Metric::Algbw, 1e9),
        ("throughput", Metric::MessagesPerSecond, 1.0),
        ("latency", Metric::LatencyP50, 1e3),
        ("latency-p99", Metric::LatencyP99, 1e3),
    ];
    let mut benchmarks = Map::new();
    for point in &summary.points {
        let mut measures = Map::new();
        for (name, metric, factor) in MEASURES {
            let values: Vec<f64> = point.values(metric).iter().map(|value| value * factor).collect();
            if let Some(found) = interval(&values) {
                measures.insert(name.into(), json!({ "value": found.median, "lower_value": found.low, "upper_value": found.high }));
            }
        }
        if !measures.is_empty() {
            benchmarks.insert(point.point.to_string(), Value::Object(measures));
        }
    }
    Value::Object(benchmarks)
}

/// The messages of `cargo criterion --message-format=json`, one a point: nanoseconds of a message (or of its median
/// latency, where that was measured), with the bytes that it carries.
pub fn criterion(summary: &Summary) -> Vec<Value> {
    summary.points.iter().filter_map(benchmark_complete).collect()
}

fn benchmark_complete(point: &PointSummary) -> Option<Value> {
    let latencies: Vec<f64> = point.values(Metric::LatencyP50).iter().map(|us| us * 1e3).collect();
    let values = match latencies.is_empty() {
        true => point.values(Metric::MessagesPerSecond).iter().filter(|rate| **rate > 0.0).map(|rate| 1e9 / rate).collect(),
        false => latencies,
    };
    let found = interval(&values)?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let deviations: Vec<f64> = values.iter().map(|value| (value - found.median).abs()).collect();
    let estimate = |value: f64, low: f64, high: f64| json!({ "estimate": value, "lower_bound": low, "upper_bound": high, "unit": "ns" });
    let of_median = estimate(found.median, found.low, found.high);
    let deviation = median(&deviations)?;
    Some(json!({
        "reason": "benchmark-complete",
        "id": point.point.to_string(),
        "report_directory": null,
        "iteration_count": point.trials.iter().map(|row| row.messages_per_sender.unwrap_or(1)).collect::<Vec<_>>(),
        "measured_values": values,
        "unit": "ns",
        "throughput": [{ "per_iteration": point.point.message_bytes, "unit": "bytes" }],
        "typical": of_median,
        "mean": estimate(mean, found.low, found.high),
        "median": of_median,
        "median_abs_dev": estimate(deviation, deviation, deviation),
        "slope": null,
        "change": null,
    }))
}

/// The interval of the median; of one value, itself.
fn interval(values: &[f64]) -> Option<MedianInterval> {
    match values {
        [only] => Some(MedianInterval { median: *only, low: *only, high: *only }),
        values => median_interval(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;

    fn summary() -> Summary {
        let row = |trial, rate: f64| Row {
            experiment: "multicast".into(),
            fabric: "shm".into(),
            nodes: 2,
            message_bytes: 1000,
            trial,
            messages_per_sender: Some(500),
            algbw_gigabytes_per_second: Some(rate * 1e3 / 1e9),
            messages_per_second: Some(rate),
            ..Row::default()
        };
        Summary::of(&[row(1, 1e6), row(2, 2e6), row(3, 4e6)])
    }

    #[test]
    fn bencher_hears_each_measure_with_its_interval() {
        let found = bencher(&summary());
        let name = "multicast shm n=2 1000 B";
        assert_eq!(found[name]["bandwidth"], json!({ "value": 2e9, "lower_value": 1e9, "upper_value": 4e9 }));
        assert_eq!(found[name]["throughput"]["value"], json!(2e6));
        assert!(found[name].get("latency").is_none());
    }

    #[test]
    fn criterion_hears_nanoseconds_of_a_message() {
        let found = criterion(&summary());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["median"], json!({ "estimate": 500.0, "lower_bound": 250.0, "upper_bound": 1000.0, "unit": "ns" }));
        assert_eq!(found[0]["measured_values"], json!([1000.0, 500.0, 250.0]));
        assert_eq!(found[0]["throughput"][0]["per_iteration"], json!(1000));
    }
}
