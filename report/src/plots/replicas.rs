//! A group's bandwidth beside that of one core that copies within its own memory.

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series};
use super::grouping::{Dimension, distinct, lines, only, subtitle, trials};
use super::published;
use super::scale::{Axis, Scale};
use crate::summary::{Metric, PointSummary};
use crate::units;

/// What one core of the published test bed copied a second, in 10^9 bytes.
const PUBLISHED_COPY: f64 = 3.75;
/// The copies that count: neither side in a cache.
const COPY: &str = "one-core-cold";
/// Smaller messages are not what is copied at one time.
const LEAST_BYTES: u64 = 1 << 20;

/// A figure for each size whose copies were measured in the same run; of modelled clusters, with the copies that were
/// published for such a machine.
pub(super) fn figures(points: &[&PointSummary], copies: &[&PointSummary]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for size in distinct(points, |point| point.message_bytes).into_iter().filter(|&size| size >= LEAST_BYTES) {
        let copied = only(copies, |point| point.message_bytes == size && point.schedule == COPY);
        let copied = copied.first().and_then(|point| point.spread(Metric::Algbw)).map(|spread| spread.median);
        let (modelled, measured) = (
            only(points, |point| point.message_bytes == size && point.fabric.starts_with("sim-")),
            only(points, |point| point.message_bytes == size && !point.fabric.starts_with("sim-")),
        );
        figures.extend(copied.and_then(|copied| figure(size, "here", copied, &measured)));
        figures.extend(figure(size, "modelled", PUBLISHED_COPY, &modelled));
    }
    figures
}

fn figure(size: u64, what: &str, copied: f64, points: &[&PointSummary]) -> Option<Figure> {
    let mut series = lines(points, Dimension::Nodes, Metric::Algbw);
    if series.is_empty() || copied <= 0.0 {
        return None;
    }
    for mark in series.iter_mut().flat_map(|series| &mut series.marks) {
        mark.y /= copied;
        mark.range = mark.range.map(|(least, most)| (least / copied, most / copied));
    }
    let (network, name) = published::counterpart("verbs");
    for (colour, pattern) in PATTERNS.into_iter().enumerate() {
        let rows = published::bandwidths().into_iter().filter(|row| row.is(network, size) && row.senders == pattern);
        let marks = rows.filter_map(|row| Mark::of_other(f64::from(row.nodes), row.gigabytes_per_second / PUBLISHED_COPY)).collect();
        series.push(Series {
            label: format!("{name}: {pattern} (published)"),
            colour,
            line: Line::Published,
            fabric: String::new(),
            of: Of::default(),
            marks,
        });
    }
    let of = format!("a copy by one core, cold: {} GB/s ({what}), {PUBLISHED_COPY} GB/s (published)", units::number(copied));
    Some(Figure {
        name: format!("multicast-{size}-copies-{what}"),
        title: format!("Replicas beside one copy in memory, {} messages", units::bytes(size)),
        subtitle: subtitle(points, &[&trials(points), &of]),
        caption: "How many times the bandwidth of one core that copies within its own memory a group delivers to all its \
                  members, in one order. Published: 16 consistent replicas at 2.5 times one copy. Where members share cores \
                  every one of their copies is made by the same cores, so it falls with their number."
            .into(),
        x: Axis::nodes(),
        y: Axis { label: "times one copy".into(), scale: Scale::Log },
        series,
        level: Some((1.0, "one copy")),
        event: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Summary};

    #[test]
    fn bandwidth_is_counted_in_copies_of_the_same_run() {
        let of = |experiment: &str, fabric: &str, schedule: &str, nodes, gigabytes| Row {
            experiment: experiment.into(),
            fabric: fabric.into(),
            schedule: schedule.into(),
            nodes,
            message_bytes: 104_857_600,
            sender_pattern: "all".into(),
            trial: 1,
            algbw_gigabytes_per_second: Some(gigabytes),
            ..Row::default()
        };
        let rows = [
            of("multicast", "shm", "pipeline", 2, 6.0),
            of("multicast", "sim-rdma-100g", "two-trees", 16, 12.0),
            of("memcpy", "memory", COPY, 1, 4.0),
        ];
        let summary = Summary::of(&rows);
        let of = |experiment: &str| summary.points.iter().filter(|point| point.point.experiment == experiment).collect::<Vec<_>>();
        let found = figures(&of("multicast"), &of("memcpy"));
        assert_eq!(found.iter().map(|figure| figure.series[0].marks[0].y).collect::<Vec<_>>(), [1.5, 3.2]);
        let published = found[0].series.iter().find(|series| series.line == Line::Published).unwrap();
        let at_16 = published.marks.iter().find(|mark| mark.x == 16.0).unwrap();
        assert!((2.3..2.7).contains(&at_16.y), "2.5 as published: {at_16:?}");
        assert!(figures(&of("multicast"), &[]).len() == 1, "without copies there is nothing to count in");
    }
}
