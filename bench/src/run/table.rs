//! The short table of a run on standard output, and the same for machines.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde_json::{Map, Value, json};

use crate::results::{Metric, PointSummary, Summary, units};

const HEADER: [&str; 13] = [
    "experiment",
    "fabric",
    "ordering",
    "nodes",
    "senders",
    "size",
    "window",
    "how",
    "GB/s",
    "min..max",
    "of bound",
    "messages/s",
    "p50 us",
];
const FIRST_NUMBER: usize = 8;

/// The points of a run, one a line, and below it what was not measured.
pub fn text(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(HEADER);
    for point in &summary.points {
        table.add_row(line(point));
    }
    for column in table.column_iter_mut().skip(FIRST_NUMBER) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.trim_fmt();
    for unmeasured in &summary.unmeasured {
        text.push_str(&format!("\nnot measured: {}: {}", unmeasured.point, unmeasured.reason));
    }
    text
}

fn line(summary: &PointSummary) -> Vec<String> {
    let point = &summary.point;
    let median = |metric| summary.spread(metric).map(|spread| spread.median);
    let number = |value: Option<f64>| value.map(units::number).unwrap_or_default();
    let range = summary.spread(Metric::Algbw).map(|spread| format!("{}..{}", units::number(spread.min), units::number(spread.max)));
    vec![
        point.experiment.clone(),
        point.fabric.clone(),
        point.ordering.clone(),
        point.nodes.to_string(),
        point.sender_pattern.clone(),
        units::bytes(point.message_bytes),
        point.window.map(|window| window.to_string()).unwrap_or_default(),
        point.schedule.clone(),
        number(median(Metric::Algbw)),
        range.unwrap_or_default(),
        median(Metric::BoundFraction).map(units::percent).unwrap_or_default(),
        number(median(Metric::MessagesPerSecond)),
        number(median(Metric::LatencyP50)),
    ]
}

/// The same for machines: each point with median, least and greatest of every metric it has.
pub fn json(summary: &Summary, folder: &str) -> Value {
    let point = |summary: &PointSummary| {
        let mut metrics = Map::new();
        for metric in Metric::ALL {
            if let Some(spread) = summary.spread(metric) {
                metrics.insert(metric.column().into(), json!({ "median": spread.median, "min": spread.min, "max": spread.max }));
            }
        }
        let text = |of: fn(&crate::results::Row) -> &str| summary.text(of);
        json!({
            "point": summary.point,
            "trials": summary.trials.len(),
            "metrics": metrics,
            "bound_kind": text(|row| &row.bound_kind),
            "verified": text(|row| &row.verified),
            "emulated": text(|row| &row.emulated),
        })
    };
    let unmeasured = summary.unmeasured.iter().map(|unmeasured| json!({ "point": unmeasured.point, "reason": unmeasured.reason }));
    json!({
        "folder": folder,
        "points": summary.points.iter().map(point).collect::<Vec<_>>(),
        "unmeasured": unmeasured.collect::<Vec<_>>(),
    })
}
