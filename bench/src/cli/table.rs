//! The short table of a run on standard output, and the same for machines.

use std::collections::BTreeSet;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde_json::{Map, Value, json};

use crate::ask::experiment::Experiment;
use crate::ask::setting::cost;
use crate::experiments::study::STUDY;
use crate::jobs::kinds::Ordering;
use squall_report::{Metric, NOISY, PointSummary, Summary, advice, precision, units};

const HEADER: [&str; 14] = [
    "experiment",
    "fabric",
    "ordering",
    "nodes",
    "senders",
    "size",
    "window",
    "how",
    "emulated",
    "GB/s",
    "min..max",
    "of bound",
    "messages/s",
    "p50 us",
];
const FIRST_NUMBER: usize = 9;

/// The same latencies that `ib_write_lat` prints, and two more.
const LATENCY_HEADER: [&str; 13] =
    ["latency, us", "fabric", "ordering", "nodes", "size", "how", "emulated", "min", "p50", "p90", "p99", "p99.9", "max"];
const FIRST_LATENCY: usize = 7;
const LATENCIES: [Metric; 6] =
    [Metric::LatencyMin, Metric::LatencyP50, Metric::LatencyP90, Metric::LatencyP99, Metric::LatencyP999, Metric::LatencyMax];

/// Writes and hops are those of a message that travels alone.
const RULES_HEADER: [&str; 7] = ["by rule", "nodes", "senders", "writes", "hops", "to the last", "copies at the busiest port"];
const FIRST_RULE: usize = 1;

/// Behind the share of a point of which a trial passes its bound.
const ABOVE_BOUND: &str = " !";

/// The points of a run, one a line, then the latencies of those that have some, and below it what was not measured.
pub(super) fn text(summary: &Summary) -> String {
    let (drawn, measured): (Vec<_>, Vec<_>) = summary.points.iter().partition(|point| point.point.experiment == STUDY);
    let mut text = table(&HEADER, FIRST_NUMBER, measured.iter().copied().map(line));
    let latencies: Vec<_> = measured.into_iter().filter(|point| point.spread(Metric::LatencyP50).is_some()).map(latency_line).collect();
    if !drawn.is_empty() {
        text = format!("{} of the published figures are drawn on a model in the report\n\n{text}", units::counted(drawn.len(), "point"));
    }
    if !latencies.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table(&LATENCY_HEADER, FIRST_LATENCY, latencies.into_iter()));
    }
    let rules = rules(summary);
    if !rules.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table(&RULES_HEADER, FIRST_RULE, rules.into_iter()));
    }
    if summary.points.iter().any(PointSummary::passes_bound) {
        text.push_str("\n! above its bound, though that was measured again beside it: the bound is wrong there, do not trust the share");
    }
    for (points, reason) in summary.unmeasured_by_reason() {
        text.push_str(&format!("\nnot measured: {points}: {reason}"));
    }
    text.push_str(&noise(summary));
    text
}

/// What a small message costs by the rule of its order, a line for each group of `orders`.
fn rules(summary: &Summary) -> Vec<Vec<String>> {
    let orders = Experiment::Orders.to_string();
    let streams = summary.points.iter().filter(|point| point.point.experiment == orders);
    let groups: BTreeSet<(String, u32, u32)> =
        streams.filter_map(|point| Some((point.point.ordering.clone(), point.point.nodes, point.trials.first()?.senders))).collect();
    let line = |(ordering, nodes, senders): (String, u32, u32)| {
        let cost = cost(Ordering::try_from(ordering.clone()).ok()?, nodes, senders);
        let counts = [u64::from(nodes), u64::from(senders), cost.writes, cost.hops, cost.hops_to_last].map(|count| count.to_string());
        Some([ordering].into_iter().chain(counts).chain([units::number(cost.copies)]).collect())
    };
    groups.into_iter().filter_map(line).collect()
}

/// How many points are too noisy to be believed, or drift, and what helps; nothing if none is.
fn noise(summary: &Summary) -> String {
    let noisy = summary.points.iter().filter(|point| precision(point).is_some_and(|half_width| half_width > NOISY)).count();
    let odd = advice(summary).len();
    let mut text = String::new();
    if noisy > 0 {
        let (noisy, of) = (units::counted(noisy, "point"), summary.points.len());
        let known = units::percent(NOISY);
        text.push_str(&format!(
            "\nnoisy: {noisy} of {of} not known to {known}; --until-ci 5% repeats them, --interleave takes them in turns"
        ));
    }
    if odd > noisy {
        text.push_str(&format!(
            "\nodd: {} of drift or outliers; the report lists them with what helps",
            units::counted(odd - noisy, "sign")
        ));
    }
    text
}

/// Lines of text below a header.
pub(super) fn plain(header: &[String], lines: impl Iterator<Item = Vec<String>>) -> String {
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    table(&header, header.len(), lines)
}

/// Lines below a header; numbers, from column `first_number` on, are flushed right.
fn table(header: &[&str], first_number: usize, lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for line in lines {
        table.add_row(line);
    }
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn latency_line(summary: &PointSummary) -> Vec<String> {
    let point = &summary.point;
    let names = [&point.experiment, &point.fabric, &point.ordering].map(Clone::clone);
    let more = [point.nodes.to_string(), units::bytes(point.message_bytes), point.schedule.clone(), emulated(summary)];
    let median = |metric| summary.spread(metric).map(|spread| units::number(spread.median)).unwrap_or_default();
    names.into_iter().chain(more).chain(LATENCIES.map(median)).collect()
}

/// What any trial of the point was emulated by, or held back by.
fn emulated(summary: &PointSummary) -> String {
    summary.emulations().join(" / ")
}

fn line(summary: &PointSummary) -> Vec<String> {
    let point = &summary.point;
    let median = |metric| summary.spread(metric).map(|spread| spread.median);
    let number = |value: Option<f64>| value.map(units::number).unwrap_or_default();
    let mark = if summary.passes_bound() { ABOVE_BOUND } else { "" };
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
        emulated(summary),
        number(median(Metric::Algbw)),
        range.unwrap_or_default(),
        median(Metric::BoundFraction).map(|share| units::percent(share) + mark).unwrap_or_default(),
        number(median(Metric::MessagesPerSecond)),
        number(median(Metric::LatencyP50)),
    ]
}

/// The same for machines: each point with median, least and greatest of every metric it has.
pub(super) fn json(summary: &Summary, folder: &str) -> Value {
    let point = |summary: &PointSummary| {
        let mut metrics = Map::new();
        for metric in Metric::ALL {
            if let Some(spread) = summary.spread(metric) {
                metrics.insert(metric.column().into(), json!({ "median": spread.median, "min": spread.min, "max": spread.max }));
            }
        }
        let text = |of: fn(&squall_report::Row) -> &str| summary.text(of);
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
