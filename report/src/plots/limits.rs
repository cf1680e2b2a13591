//! What a figure says of its bound, and of what limited its points.

use std::collections::BTreeSet;

use crate::row::Row;
use crate::summary::{Metric, PointSummary};
use crate::units;

/// The share of the bound from which on the bound itself is what limits.
const AT_BOUND: f64 = 0.7;
/// Messages up to which the cost of each message, not of its bytes, limits.
const SMALL_BYTES_MAX: u64 = 16 << 10;

/// What bounds these points, how much of it they reach, and what limits those that stay below; nothing if no point has
/// a bound.
pub(super) fn limits(points: &[&PointSummary]) -> String {
    let bounded: Vec<(&PointSummary, f64)> =
        points.iter().filter_map(|point| Some((*point, point.spread(Metric::BoundFraction)?.median))).collect();
    if bounded.is_empty() {
        return String::new();
    }
    let all: Vec<&PointSummary> = bounded.iter().map(|(point, _)| *point).collect();
    let bounds = || all.iter().filter_map(|point| point.spread(Metric::Bound)).map(|spread| spread.median);
    let (least, most) = (bounds().fold(f64::INFINITY, f64::min), bounds().fold(0.0, f64::max));
    let shares = || bounded.iter().map(|(_, share)| *share);
    let (low, high) = (shares().fold(f64::INFINITY, f64::min), shares().fold(0.0, f64::max));
    let mut limited: Vec<(&str, usize)> = Vec::new();
    for why in bounded.iter().map(|(point, share)| limited_by(point, *share)) {
        match limited.iter_mut().find(|found| found.0 == why) {
            Some(found) => found.1 += 1,
            None => limited.push((why, 1)),
        }
    }
    limited.sort_by_key(|found| std::cmp::Reverse(found.1));
    let limited: Vec<String> = limited.iter().map(|(why, count)| format!("{why} ({})", units::counted(*count, "point"))).collect();
    format!(
        " Bound: {} ({} to {} GB/s); {} to {} of it are reached. Limited by {}.",
        distinct_texts(&all, |row| &row.bound_kind).join(", "),
        units::number(least),
        units::number(most),
        units::percent(low),
        units::percent(high),
        limited.join(", "),
    )
}

/// The different values of a text column over points.
fn distinct_texts(points: &[&PointSummary], of: impl Fn(&Row) -> &str) -> Vec<String> {
    let rows = points.iter().flat_map(|point| &point.trials);
    let found: BTreeSet<&str> = rows.map(of).filter(|text| !text.is_empty()).collect();
    found.into_iter().map(str::to_owned).collect()
}

/// What holds a point at its share of the bound, as far as its row tells.
fn limited_by(point: &PointSummary, share: f64) -> &'static str {
    let held = |label: &str| point.emulations().contains(&label);
    if held("throttled") {
        "a processor quota"
    } else if share >= AT_BOUND {
        "the bound"
    } else if held("oversubscribed") {
        "cores that several nodes share"
    } else if point.point.message_bytes <= SMALL_BYTES_MAX {
        "the cost of each message"
    } else {
        "copies and waits between nodes"
    }
}

/// What stood in for the hardware of these points, each with its reason.
pub(crate) fn reasons(points: &[&PointSummary]) -> String {
    let labels: BTreeSet<&str> = points.iter().flat_map(|point| point.emulations()).collect();
    labels.into_iter().map(|label| format!("{label}: {}", reason(label))).collect::<Vec<_>>().join("; ")
}

/// Why a number is emulated: what a label of the column `emulated` means.
fn reason(label: &str) -> &str {
    match label {
        "oversubscribed" => "more nodes than cores",
        "soft-roce" | "soft-RoCE" => "RDMA by software over Ethernet",
        "soft-iwarp" => "iWARP by software over TCP",
        "shaped" => "links slowed to a set rate",
        "throttled" => "a processor quota held it back",
        _ => "computed or stood in for",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Summary;

    #[test]
    fn a_figure_says_its_bound_and_what_limits() {
        let row = |nodes, bytes, share: f64, emulated: &str| Row {
            experiment: "multicast".into(),
            fabric: "shm".into(),
            nodes,
            message_bytes: bytes,
            trial: 1,
            bound_gigabytes_per_second: Some(10.0),
            bound_fraction: Some(share),
            bound_kind: "one-core copy (cold)".into(),
            emulated: emulated.into(),
            ..Row::default()
        };
        let rows = [
            row(2, 1 << 20, 0.9, "no"),
            row(3, 1 << 20, 0.8, "oversubscribed"),
            row(4, 1 << 20, 0.3, "oversubscribed"),
            row(2, 1, 0.01, "no"),
        ];
        let summary = Summary::of(&rows);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let text = limits(&points);
        assert!(text.starts_with(" Bound: one-core copy (cold) (10.0 to 10.0 GB/s); 1.0 % to 90.0 % of it are reached."), "{text}");
        assert!(text.contains("the bound (2 points)") && text.contains("cores that several nodes share (1 point)"), "{text}");
        assert!(text.contains("the cost of each message (1 point)"), "{text}");
        let unbound = Summary::of(&[Row { bound_fraction: None, ..row(2, 1, 0.5, "no") }]);
        assert_eq!(limits(&unbound.points.iter().collect::<Vec<_>>()), "");
    }
}
