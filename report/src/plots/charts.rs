//! Which figures an experiment gets.

use std::path::Path;

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series, fitting};
use super::grouping::{Dimension, above_bound, distinct, lines, only, subtitle, thin_out, trials};
use super::limits::limits;
use super::scale::{Axis, Scale};
use super::{change, delay, gap, latency, offered, orders, over_time, published, replicas, study, timeline};
use crate::files::{HISTOGRAMS_FOLDER, TIMELINES_FOLDER, file_name};
use crate::summary::{Metric, PointSummary, Summary};
use crate::units;

/// Every figure of a run, with the experiment it belongs to, in the order of the experiments in the file.
pub(super) fn figures(summary: &Summary, run: &Path) -> Vec<(String, Figure)> {
    let mut experiments: Vec<&str> = Vec::new();
    for point in &summary.points {
        if !experiments.contains(&point.point.experiment.as_str()) {
            experiments.push(&point.point.experiment);
        }
    }
    let mut figures = Vec::new();
    for experiment in experiments {
        let points: Vec<&PointSummary> = summary.points.iter().filter(|point| point.point.experiment == experiment).collect();
        let found = match experiment {
            "study" => study::figures(&points),
            "multicast" => {
                let copies: Vec<&PointSummary> = summary.points.iter().filter(|point| point.point.experiment == "memcpy").collect();
                [multicast(&points), replicas::figures(&points, &copies), gap::of_bandwidth("multicast", &points)].concat()
            }
            "tcp-gap" => [gap::of_bandwidth("tcp-gap", &points), gap::of_latency("tcp-gap", &points)].concat(),
            "latency" => [latency::figures(&points, &run.join(HISTOGRAMS_FOLDER)), gap::of_latency("latency", &points)].concat(),
            "latency-load" => offered::figures(&points),
            "delay" => delay::figures(&points),
            "orders" => orders::figures(&points, &run.join(TIMELINES_FOLDER)),
            "view-change" => change::figures(&points, &run.join(TIMELINES_FOLDER)),
            "write" => write(&points),
            "smc-rate" => smc_rate(&points),
            "memcpy" => memcpy(&points),
            "rdmc-schedules" => schedules(&points),
            "rdmc-timeline" => timeline::figures(&points, &run.join(TIMELINES_FOLDER)),
            other => anything(other, &points),
        };
        let found = found.into_iter().chain(over_time::figures(&points, &run.join(TIMELINES_FOLDER)));
        figures.extend(found.map(|figure| (experiment.to_owned(), figure)));
    }
    figures
}

fn y_axis(metric: Metric, scale: Scale) -> Axis {
    let label = match metric {
        Metric::Algbw => "bandwidth of all senders (GB/s, 10^9 bytes)",
        Metric::BoundFraction => "share of the bound",
        Metric::MessagesPerSecond => "messages of all senders per second",
        Metric::LatencyP50 => "latency, median (µs)",
        other => other.column(),
    };
    Axis { label: label.into(), scale }
}

fn multicast(points: &[&PointSummary]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for size in distinct(points, |point| point.message_bytes) {
        let of_size = only(points, |point| point.message_bytes == size);
        let series = lines(&of_size, Dimension::Nodes, Metric::Algbw);
        figures.push(Figure {
            name: format!("multicast-{size}"),
            title: format!("Multicast bandwidth, {} messages", units::bytes(size)),
            subtitle: subtitle(&of_size, &[&trials(&of_size)]),
            caption: "Payload that all senders sent, per second, up to the last delivery at the last node. On a host \
                      whose cores are the limit it falls with the number of copies, n-1; on links of their own it \
                      would stay level."
                .to_owned()
                + &limits(&of_size),
            x: Axis::nodes(),
            y: y_axis(Metric::Algbw, fitting(&series)),
            series,
            level: None,
            event: None,
        });
        for fabric in distinct(&of_size, |point| point.fabric.clone()) {
            let of_fabric = only(&of_size, |point| point.fabric == fabric);
            figures.extend(multicast_bound(size, &fabric, &of_fabric));
        }
    }
    figures
}

/// What shares are shares of: a nominal rate is more than any program reaches.
const SHARES_OF: &str = "ours: of a bound measured in the run; x: of nominal 12.5 GB/s links, which no program reaches";

fn multicast_bound(size: u64, fabric: &str, points: &[&PointSummary]) -> Option<Figure> {
    let mut series = lines(points, Dimension::Nodes, Metric::BoundFraction);
    if series.iter().all(|series| series.marks.is_empty()) {
        return None;
    }
    let (network, name) = published::counterpart(fabric);
    for own in &mut series {
        own.label.push_str(" (of measured)");
    }
    for (colour, pattern) in PATTERNS.into_iter().enumerate() {
        let marks = published::bandwidths()
            .into_iter()
            .filter(|row| row.network == network && row.message_bytes == size && row.senders == pattern)
            .filter_map(|row| Mark::of_other(f64::from(row.nodes), row.bound_fraction()?))
            .collect();
        let verb = if pattern == "one" { "sends" } else { "send" };
        let label = format!("{name}: {pattern} {verb} (of nominal)");
        let of = Of { pattern: pattern.to_owned(), size: Some(size) };
        series.push(Series { label, colour, line: Line::Published, fabric: String::new(), of, marks });
    }
    Some(Figure {
        name: format!("multicast-{size}-{}-bound", file_name(fabric)),
        title: format!("Share of the bound, {} messages, {fabric}", units::bytes(size)),
        subtitle: subtitle(points, &[&trials(points), SHARES_OF]) + &above_bound(points),
        caption: "How much of what the machine could do at most is reached. Published points are drawn as shares of \
                  what their own links could carry (100 Gb/s, which is 12.5 GB/s), since gigabytes per second of \
                  different machines do not compare. A nominal rate is more than any program reaches, and a measured bound is \
                  not: the same share is the better result where it is of a nominal one."
            .to_owned()
            + &limits(points),
        x: Axis::nodes(),
        y: y_axis(Metric::BoundFraction, fitting(&series)),
        series,
        level: Some((1.0, "bound")),
        event: None,
    })
}

fn write(points: &[&PointSummary]) -> Vec<Figure> {
    let title = "Raw one-sided write";
    let mut figures =
        [by_size("write", title, points, Metric::Algbw, Scale::Log), by_size("write", title, points, Metric::LatencyP50, Scale::Log)]
            .concat();
    for figure in figures.iter_mut().filter(|figure| figure.name.ends_with(short(Metric::Algbw))) {
        figure.y.label = "bandwidth of the one that writes (GB/s, 10^9 bytes)".into();
    }
    figures
}

fn smc_rate(points: &[&PointSummary]) -> Vec<Figure> {
    const GROUP_SIZES_MAX: usize = 7;
    let metric = Metric::MessagesPerSecond;
    let mut figures = Vec::new();
    for fabric in distinct(points, |point| point.fabric.clone()) {
        for pattern in distinct(points, |point| point.sender_pattern.clone()) {
            let chosen = only(points, |point| point.sender_pattern == pattern && point.fabric == fabric);
            let Some(first) = chosen.first() else {
                continue;
            };
            let name = format!("smc-rate-{}-{}", file_name(&fabric), file_name(&pattern));
            let title = format!("Small messages (SMC), {fabric}, {}", Dimension::Senders.of(&first.point));
            let mut group_sizes = distinct(&chosen, |point| point.nodes);
            thin_out(&mut group_sizes, GROUP_SIZES_MAX);
            let few = only(&chosen, |point| group_sizes.contains(&point.nodes));
            figures.extend(by_size(&name, &title, &few, metric, Scale::Log));
            figures.extend(by_nodes(&name, &title, &chosen, metric));
        }
    }
    figures
}

fn memcpy(points: &[&PointSummary]) -> Vec<Figure> {
    let mut figures = by_size("memcpy", "Memory copy", points, Metric::Algbw, Scale::Linear);
    for figure in &mut figures {
        figure.title = "Memory copy, by the size of one copy".into();
        for series in &mut figure.series {
            // The variant names the cores; the columns for nodes and senders say the same again.
            if let Some((_, variant)) = series.label.rsplit_once(", ").filter(|(_, variant)| variant.contains("-core ")) {
                series.label = variant.to_owned();
            }
        }
        figure.y.label = "bytes copied (GB/s, 10^9 bytes)".into();
        figure.x.label = "bytes of one copy".into();
        figure.caption = "What copying alone can do here, with one core and with all: the bound of everything that \
                          goes over shared memory."
            .into();
    }
    figures
}

fn schedules(points: &[&PointSummary]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for fabric in distinct(points, |point| point.fabric.clone()) {
        for size in distinct(points, |point| point.message_bytes) {
            let chosen = only(points, |point| point.fabric == fabric && point.message_bytes == size);
            figures.extend(by_nodes(
                &format!("rdmc-schedules-{size}-{}", file_name(&fabric)),
                &format!("Relay schedules, {} messages of one sender, {fabric}", units::bytes(size)),
                &chosen,
                Metric::Algbw,
            ));
        }
    }
    figures
}

/// An experiment without figures of its own: what it measured, by nodes and by size.
fn anything(experiment: &str, points: &[&PointSummary]) -> Vec<Figure> {
    let name = file_name(experiment);
    let has = |metric| points.iter().any(|point| !point.values(metric).is_empty());
    let Some(metric) = [Metric::Algbw, Metric::MessagesPerSecond, Metric::LatencyP50].into_iter().find(|metric| has(*metric)) else {
        return Vec::new();
    };
    [by_nodes(&name, experiment, points, metric), by_size(&name, experiment, points, metric, Scale::Log)].concat()
}

fn by_size(name: &str, title: &str, points: &[&PointSummary], metric: Metric, scale: Scale) -> Vec<Figure> {
    let series = lines(points, Dimension::Size, metric);
    if series.iter().all(|series| series.marks.len() < 2) {
        return Vec::new();
    }
    vec![Figure {
        name: format!("{name}-size-{}", short(metric)),
        title: format!("{title}: {} by message size", noun(metric)),
        subtitle: subtitle(points, &[&trials(points)]),
        caption: limits(points).trim_start().to_owned(),
        x: Axis::sizes(),
        y: y_axis(metric, scale),
        series,
        level: None,
        event: None,
    }]
}

fn by_nodes(name: &str, title: &str, points: &[&PointSummary], metric: Metric) -> Vec<Figure> {
    let series = lines(points, Dimension::Nodes, metric);
    if series.iter().all(|series| series.marks.len() < 2) {
        return Vec::new();
    }
    vec![Figure {
        name: format!("{name}-nodes-{}", short(metric)),
        title: format!("{title}: {} by group size", noun(metric)),
        subtitle: subtitle(points, &[&trials(points)]),
        caption: limits(points).trim_start().to_owned(),
        x: Axis::nodes(),
        y: y_axis(metric, fitting(&series)),
        series,
        level: None,
        event: None,
    }]
}

fn noun(metric: Metric) -> &'static str {
    match metric {
        Metric::MessagesPerSecond => "messages per second",
        Metric::LatencyP50 => "latency",
        _ => "bandwidth",
    }
}

fn short(metric: Metric) -> &'static str {
    match metric {
        Metric::MessagesPerSecond => "rate",
        Metric::LatencyP50 => "latency",
        _ => "bandwidth",
    }
}
