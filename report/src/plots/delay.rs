//! Figures of `delay`: what is left of a group's bandwidth when some of its members are slow, or send nothing.

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series};
use super::grouping::{distinct, only, subtitle, trials};
use super::scale::{Axis, Scale};
use crate::files::file_name;
use crate::row::Point;
use crate::summary::{Metric, PointSummary};
use crate::units;

/// The published point: what 10 KB messages keep where one member's loop is slowed by so many percent.
const PUBLISHED: (f64, f64) = (50.0, 0.7);

/// Who is held up, and how, by the column `schedule`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    Nobody,
    Slow { members: u32, percent: u32 },
    Idle { senders: u32 },
}

impl Held {
    /// Of `direct-1-slow-50`, `pipeline-2-idle`, `direct-even`.
    fn of(point: &Point) -> Option<Held> {
        let parts: Vec<&str> = point.schedule.split('-').collect();
        match parts[..] {
            [.., members, "slow", percent] => Some(Held::Slow { members: members.parse().ok()?, percent: percent.parse().ok()? }),
            [.., senders, "idle"] => Some(Held::Idle { senders: senders.parse().ok()? }),
            [.., "even"] => Some(Held::Nobody),
            _ => None,
        }
    }
}

/// Two figures for each fabric: by how slow one member is, and by group size.
pub(super) fn figures(points: &[&PointSummary]) -> Vec<Figure> {
    distinct(points, |point| point.fabric.clone())
        .iter()
        .flat_map(|fabric| {
            let of_fabric = only(points, |point| point.fabric == *fabric);
            [by_slowness(fabric, &of_fabric), by_nodes(fabric, &of_fabric)]
        })
        .flatten()
        .collect()
}

/// The bandwidth of a point as a part of that of the same group when nobody is held up.
fn kept(point: &PointSummary, all: &[&PointSummary], x: f64) -> Option<Mark> {
    let same = |other: &Point| {
        Held::of(other) == Some(Held::Nobody) && (other.nodes, other.message_bytes) == (point.point.nodes, point.point.message_bytes)
    };
    let even = only(all, same).first()?.spread(Metric::Algbw)?.median;
    let own = point.spread(Metric::Algbw)?;
    let range = (own.max > own.min).then_some((own.min / even, own.max / even));
    Some(Mark { x, y: own.median / even, range, emulated: point.emulation().is_some() })
}

fn figure(name: String, title: String, points: &[&PointSummary], x: Axis, series: Vec<Series>) -> Option<Figure> {
    series.iter().any(|series| !series.marks.is_empty()).then(|| Figure {
        name,
        title,
        subtitle: subtitle(points, &[&trials(points)]),
        caption: "Bandwidth of all that send, as a part of what the same group reaches when nobody is held up. A slow loop \
                  waits, busily, behind each of its turns; in the model its turns are longer. Nulls stand in for senders \
                  that send nothing. Published: with one member's loop slowed by 50 %, 10 KB messages keep 70 % (TOCS 2019, \
                  figure 19)."
            .into(),
        x,
        y: Axis { label: "part of the bandwidth that is kept".into(), scale: Scale::Linear },
        series,
        level: Some((1.0, "nobody is held up")),
        event: None,
    })
}

fn by_slowness(fabric: &str, points: &[&PointSummary]) -> Option<Figure> {
    let slow = |point: &Point| match Held::of(point) {
        Some(Held::Slow { members: 1, percent }) => Some(f64::from(percent)),
        _ => None,
    };
    let chosen = only(points, |point| slow(point).is_some());
    let mut series: Vec<Series> = distinct(&chosen, |point| (point.message_bytes, point.nodes))
        .into_iter()
        .enumerate()
        .map(|(at, (size, nodes))| {
            let own = only(&chosen, |point| (point.message_bytes, point.nodes) == (size, nodes));
            let marks = own.iter().filter_map(|point| kept(point, points, slow(&point.point)?)).collect();
            let label = format!("{}, {}", units::bytes(size), units::counted(nodes as usize, "node"));
            Series { label, colour: PATTERNS.len() + at, line: Line::Solid, fabric: fabric.to_owned(), of: Of::default(), marks }
        })
        .collect();
    if series.iter().all(|series| series.marks.is_empty()) {
        return None;
    }
    series.push(Series {
        label: "Derecho over RDMA, 10 KB (published)".into(),
        colour: 0,
        line: Line::Published,
        fabric: String::new(),
        of: Of::default(),
        marks: Mark::of_other(PUBLISHED.0, PUBLISHED.1).into_iter().collect(),
    });
    let x = Axis { label: "turns of one member's loop take longer by (percent)".into(), scale: Scale::Log };
    figure(format!("delay-slow-{}", file_name(fabric)), format!("One member with a slow loop, {fabric}"), &chosen, x, series)
}

fn by_nodes(fabric: &str, points: &[&PointSummary]) -> Option<Figure> {
    let kind = |point: &Point| match Held::of(point)? {
        Held::Idle { senders: 1 } => Some((0, "one idle sender".to_owned())),
        Held::Idle { .. } => Some((1, "half of the senders idle".to_owned())),
        Held::Slow { members: 2.., percent } => Some((2, format!("half of the loops slower by {percent} %"))),
        _ => None,
    };
    let chosen = only(points, |point| kind(point).is_some());
    let series = distinct(&chosen, |point| (point.message_bytes, kind(point)))
        .into_iter()
        .enumerate()
        .filter_map(|(at, (size, held))| {
            let own = only(&chosen, |point| point.message_bytes == size && kind(point) == held);
            let marks = own.iter().filter_map(|point| kept(point, points, f64::from(point.point.nodes))).collect();
            let label = format!("{}, {}", units::bytes(size), held?.1);
            Some(Series { label, colour: PATTERNS.len() + at, line: Line::Solid, fabric: fabric.to_owned(), of: Of::default(), marks })
        })
        .collect();
    figure(format!("delay-idle-{}", file_name(fabric)), format!("Idle senders and slow halves, {fabric}"), &chosen, Axis::nodes(), series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Summary};

    #[test]
    fn what_is_kept_is_a_part_of_the_even_group() {
        let of = |schedule: &str, nodes, gigabytes| Row {
            experiment: "delay".into(),
            fabric: "shm".into(),
            schedule: schedule.into(),
            nodes,
            message_bytes: 10_240,
            trial: 1,
            algbw_gigabytes_per_second: Some(gigabytes),
            ..Row::default()
        };
        let rows = [
            of("direct-even", 4, 10.0),
            of("direct-1-slow-50", 4, 8.0),
            of("direct-2-slow-50", 4, 7.0),
            of("direct-2-idle", 4, 5.0),
            of("direct-even", 2, 20.0),
            of("direct-1-slow-50", 2, 5.0),
        ];
        let summary = Summary::of(&rows);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let found = figures(&points);
        let marks = |figure: &Figure| figure.series.iter().map(|series| (series.marks[0].x, series.marks[0].y)).collect::<Vec<_>>();
        assert_eq!(marks(&found[0]), [(50.0, 0.25), (50.0, 0.8), (50.0, 0.7)]);
        assert_eq!(marks(&found[1]), [(4.0, 0.5), (4.0, 0.7)]);
    }
}
