//! The tables of a report.

use serde_json::Value;

use super::markup::{Column, plain_table, table};
use crate::advice::advice;
use crate::summary::{Metric, PointSummary, Spread, Summary};
use crate::units;

const fn text(name: &'static str) -> Column {
    Column { name, is_number: false }
}

const fn number(name: &'static str) -> Column {
    Column { name, is_number: true }
}

/// The best of each experiment and fabric: greatest bandwidth, greatest rate, least median latency.
pub(super) fn best(summary: &Summary) -> String {
    let mut groups: Vec<(&str, &str, Vec<&PointSummary>)> = Vec::new();
    for point in &summary.points {
        let (experiment, fabric) = (point.point.experiment.as_str(), point.point.fabric.as_str());
        match groups.iter_mut().find(|group| (group.0, group.1) == (experiment, fabric)) {
            Some(group) => group.2.push(point),
            None => groups.push((experiment, fabric, vec![point])),
        }
    }
    let columns = [text("experiment"), text("fabric"), text("what"), number("median"), number("spread"), text("at")];
    let wanted = [
        (Metric::Algbw, "greatest bandwidth", "GB/s"),
        (Metric::MessagesPerSecond, "greatest rate", "messages/s"),
        (Metric::LatencyP50, "least median latency", "µs"),
    ];
    let rows = groups.iter().flat_map(|(experiment, fabric, points)| {
        wanted.iter().filter_map(move |(metric, what, unit)| {
            let (point, spread) = extreme(points, *metric)?;
            Some(vec![
                (*experiment).to_owned(),
                (*fabric).to_owned(),
                (*what).to_owned(),
                format!("{} {unit}", units::number(spread.median)),
                units::percent(spread.relative()),
                point.point.to_string(),
            ])
        })
    });
    table(&columns, rows)
}

fn extreme<'a>(points: &[&'a PointSummary], metric: Metric) -> Option<(&'a PointSummary, Spread)> {
    let found = points.iter().filter_map(|point| Some((*point, point.spread(metric)?)));
    let by_median = |a: &(&PointSummary, Spread), b: &(&PointSummary, Spread)| a.1.median.total_cmp(&b.1.median);
    if metric.more_is_better() { found.max_by(by_median) } else { found.min_by(by_median) }
}

/// Signs of noise that a page lists.
const NOISE_MAX: usize = 100;

/// What is odd about the trials of points, with advice; empty if nothing is.
pub(super) fn noise(summary: &Summary) -> String {
    let found = advice(summary);
    if found.is_empty() {
        return String::new();
    }
    let more = found.len().saturating_sub(NOISE_MAX);
    let rows = found.into_iter().take(NOISE_MAX).map(|found| vec![found.point.to_string(), found.what, found.advice.to_owned()]);
    let table = plain_table(&["point", "what", "what helps"], rows);
    if more > 0 { format!("{table}<p>and {more} more, which the column ± shows.</p>\n") } else { table }
}

/// A JSON value as name and value, names of nested values joined with dots. Empty values are left out.
pub(super) fn facts(value: &Value) -> String {
    let mut rows = Vec::new();
    collect("", value, &mut rows);
    if rows.is_empty() {
        return "<p>Nothing recorded.</p>\n".into();
    }
    plain_table(&["name", "value"], rows.into_iter())
}

fn collect(name: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    let joined = |key: &str| {
        if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }
    };
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (key, value) in fields {
                collect(&joined(key), value, rows);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (at, item) in items.iter().enumerate() {
                collect(&joined(&at.to_string()), item, rows);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(scalar).collect();
            push(name, items.join(", "), rows);
        }
        other => push(name, scalar(other), rows),
    }
}

fn push(name: &str, value: String, rows: &mut Vec<Vec<String>>) {
    if !value.is_empty() {
        let readable = match value.parse::<u64>() {
            Ok(count) if name.ends_with("bytes") && count >= 1024 => {
                format!("{value} ({})", units::bytes(count))
            }
            _ => value,
        };
        rows.push(vec![name.to_owned(), readable]);
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_flattened_and_empty_ones_left_out() {
        let mut rows = Vec::new();
        let value = json!({"cpu": {"caches": [{"bytes": 32768}], "turbo": ""}, "ids": [1, 2], "none": null});
        collect("", &value, &mut rows);
        let expected = [["cpu.caches.0.bytes", "32768 (32 KB)"], ["ids", "1, 2"]];
        assert_eq!(rows, expected.map(|row| row.map(str::to_owned).to_vec()));
    }
}
