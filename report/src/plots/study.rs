//! Figures of the study: what was published, the same limits in the model, and Squall in the model. All three are of
//! links of the same rate, so that gigabytes a second compare.

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series};
use super::grouping::{distinct, only, subtitle};
use super::published;
use super::scale::{Axis, Scale};
use crate::files::file_name;
use crate::row::Point;
use crate::summary::{Metric, PointSummary};
use crate::units;

/// What the fabric of the peer in the model begins with.
const PEER: &str = "derecho-in-";

/// Figures of bandwidth, then of latency, for each modelled cluster and message size, the largest first as the paper
/// has them.
pub(super) fn figures(points: &[&PointSummary]) -> Vec<Figure> {
    let mut fabrics = distinct(points, |point| point.fabric.clone());
    fabrics.retain(|fabric| !fabric.starts_with(PEER));
    let mut figures = Vec::new();
    for latency in [false, true] {
        for fabric in &fabrics {
            let peer = format!("{PEER}{fabric}");
            let own = |point: &Point| [fabric, &peer].contains(&&point.fabric) && point.schedule.ends_with("-sender") == latency;
            let chosen = only(points, own);
            for size in distinct(&chosen, |point| point.message_bytes).into_iter().rev() {
                let of_size = only(&chosen, |point| point.message_bytes == size);
                figures.push(if latency { of_latency(fabric, size, &of_size) } else { of_bandwidth(fabric, size, &of_size) });
            }
        }
    }
    figures
}

fn marks(points: &[&PointSummary], metric: Metric) -> Vec<Mark> {
    let mark = |point: &&PointSummary| Mark::of_other(f64::from(point.point.nodes), point.spread(metric)?.median);
    points.iter().filter_map(mark).collect()
}

/// How many send. Where two patterns are the same senders, one of them has the point.
fn senders(pattern: &str, nodes: u32) -> u32 {
    match pattern {
        "all" => nodes,
        "half" => (nodes / 2).max(1),
        _ => 1,
    }
}

fn of_bandwidth(fabric: &str, size: u64, points: &[&PointSummary]) -> Figure {
    let (network, name) = published::counterpart(fabric);
    let mut series = Vec::new();
    for (colour, pattern) in PATTERNS.into_iter().enumerate() {
        let rows = published::bandwidths().into_iter().filter(|row| row.is(network, size) && row.senders == pattern);
        let published = rows.filter_map(|row| Mark::of_other(f64::from(row.nodes), row.gigabytes_per_second)).collect();
        let verb = if pattern == "one" { "sends" } else { "send" };
        let drawn = |peer: bool| {
            let own = only(points, |point| {
                point.fabric.starts_with(PEER) == peer && senders(&point.sender_pattern, point.nodes) == senders(pattern, point.nodes)
            });
            marks(&own, Metric::Algbw)
        };
        let of = |label: String, line, marks| Series { label, colour, line, fabric: String::new(), of: Of::default(), marks };
        series.push(of(format!("{name}: {pattern} {verb} (published)"), Line::Published, published));
        series.push(of(format!("Derecho's limits in the model: {pattern} {verb}"), Line::Dashed, drawn(true)));
        series.push(of(format!("Squall in the model: {pattern} {verb}"), Line::Solid, drawn(false)));
    }
    Figure {
        name: format!("study-{size}-{}", file_name(fabric)),
        title: format!("Published and modelled bandwidth, {} messages, {fabric}", units::bytes(size)),
        subtitle: subtitle(points, &["crosses: published (TOCS 2019, figures 12a and 13a, and the project's data)"]),
        caption: "The very protocol code on a model of a cluster, in virtual time. With Derecho's limits as settings it should \
                  draw the crosses: its few costs are fitted at 2, 4 and 16 nodes only. Without them it is what Squall does on \
                  the same links. Nothing but the crosses was measured."
            .into(),
        x: Axis::nodes(),
        y: Axis { label: "bandwidth of all senders (GB/s, 10^9 bytes)".into(), scale: Scale::Linear },
        series,
        level: None,
        event: None,
    }
}

fn of_latency(fabric: &str, size: u64, points: &[&PointSummary]) -> Figure {
    let (_, name) = published::counterpart(fabric);
    let rows = published::latencies(fabric, size).into_iter();
    let published = rows.filter_map(|row| Mark::of_other(f64::from(row.nodes), row.latency_us)).collect();
    let drawn = |peer: bool| marks(&only(points, |point| point.fabric.starts_with(PEER) == peer), Metric::LatencyP50);
    let of = |label: &str, colour, line, marks| Series {
        label: label.to_owned(),
        colour,
        line,
        fabric: String::new(),
        of: Of::default(),
        marks,
    };
    Figure {
        name: format!("study-latency-{size}-{}", file_name(fabric)),
        title: format!("Published and modelled latency, {} messages, {fabric}, all send", units::bytes(size)),
        subtitle: subtitle(points, &["from the send to the ordered delivery at the sender"]),
        caption: "The published latencies are those of streams, waiting in the window included, and so are those of its limits \
                  in the model; Squall's are of one message of each sender at a time."
            .into(),
        x: Axis::nodes(),
        y: Axis { label: "latency (µs)".into(), scale: Scale::Log },
        series: vec![
            of(&format!("{name} (published)"), 0, Line::Published, published),
            of("Derecho's limits in the model, a stream, p50", 0, Line::Dashed, drawn(true)),
            of("Squall in the model, one at a time, p50", 2, Line::Solid, drawn(false)),
        ],
        level: None,
        event: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Summary};

    #[test]
    fn the_published_points_lie_beside_both_lines_of_the_model() {
        let of = |fabric: &str, nodes| Row {
            experiment: "study".into(),
            fabric: fabric.into(),
            nodes,
            sender_pattern: "half".into(),
            message_bytes: 10_240,
            schedule: "direct".into(),
            trial: 1,
            algbw_gigabytes_per_second: Some(5.0),
            emulated: "simulated".into(),
            ..Row::default()
        };
        let rows = [of("sim-rdma-100g", 2), of("derecho-in-sim-rdma-100g", 2), of("sim-rdma-100g", 4)];
        let summary = Summary::of(&rows);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let found = figures(&points);
        assert_eq!(found.len(), 1);
        let count = |what: &str| found[0].series.iter().find(|series| series.label.contains(what)).map(|series| series.marks.len());
        assert_eq!(count("half send (published)"), Some(15));
        assert_eq!(
            (count("limits in the model: half"), count("limits in the model: one"), count("Squall in the model: half")),
            (Some(1), Some(1), Some(2))
        );
        assert!(found[0].subtitle.contains("simulated"), "{}", found[0].subtitle);
    }
}
