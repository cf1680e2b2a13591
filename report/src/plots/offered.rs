//! Figures of `latency-load`: latency as the offered load grows.

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series};
use super::grouping::{distinct, only, subtitle, trials};
use super::scale::{Axis, Scale};
use crate::files::file_name;
use crate::row::Point;
use crate::summary::{Metric, PointSummary};
use crate::units;

/// Timed from when a message was due, and from the call that sent it.
const PARTS: [(&str, &str, Line); 2] = [("due", "from when it was due", Line::Solid), ("call", "from the call", Line::Dashed)];
const PERCENTILES: [(Metric, &str); 2] = [(Metric::LatencyP50, "p50"), (Metric::LatencyP99, "p99")];

/// The load of `direct-load-80-due`, in percent, and its part.
fn load(point: &Point) -> Option<(f64, &str)> {
    let (_, load) = point.schedule.split_once("load-")?;
    let (percent, part) = load.split_once('-')?;
    Some((percent.parse().ok()?, part))
}

/// One for each fabric and message size.
pub(super) fn figures(points: &[&PointSummary]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for fabric in distinct(points, |point| point.fabric.clone()) {
        for size in distinct(points, |point| point.message_bytes) {
            let chosen = only(points, |point| point.fabric == fabric && point.message_bytes == size && load(point).is_some());
            figures.extend(figure(&fabric, size, &chosen));
        }
    }
    figures
}

fn figure(fabric: &str, size: u64, points: &[&PointSummary]) -> Option<Figure> {
    let mut series = Vec::new();
    for (at, nodes) in distinct(points, |point| point.nodes).into_iter().enumerate() {
        for (place, (metric, percentile)) in PERCENTILES.into_iter().enumerate() {
            for (part, words, line) in PARTS {
                let own = only(points, |point| point.nodes == nodes && load(point).is_some_and(|(_, own)| own == part));
                let mark = |point: &&PointSummary| {
                    let (spread, (x, _)) = (point.spread(metric)?, load(&point.point)?);
                    let range = (spread.max > spread.min).then_some((spread.min, spread.max));
                    Some(Mark { x, y: spread.median, range, emulated: point.emulation().is_some() })
                };
                let mut marks: Vec<Mark> = own.iter().filter_map(mark).collect();
                marks.sort_by(|a, b| a.x.total_cmp(&b.x));
                series.push(Series {
                    label: format!("{}, {percentile}, {words}", units::counted(nodes as usize, "node")),
                    colour: PATTERNS.len() + PERCENTILES.len() * at + place,
                    line,
                    fabric: fabric.to_owned(),
                    of: Of::default(),
                    marks,
                });
            }
        }
    }
    series.iter().any(|series| series.marks.len() > 1).then(|| Figure {
        name: format!("latency-load-{size}-{}", file_name(fabric)),
        title: format!("Latency by offered load, {} messages, {fabric}, all send", units::bytes(size)),
        subtitle: subtitle(points, &[&trials(points), "messages at a constant rate; delivery at the sender"]),
        caption: "Up to the knee both ways of timing say the same. Past it messages wait for their sender: from when they were \
                  due they take the longer the longer the trial is; from the call they seem to take no longer than a full \
                  window does, because the call itself is late (coordinated omission). No such figure was published: the \
                  latencies of the paper are those of streams, at full load."
            .into(),
        x: Axis { label: "offered load (percent of what is delivered at full load)".into(), scale: Scale::Linear },
        y: Axis { label: "latency (µs)".into(), scale: Scale::Log },
        series,
        level: None,
        event: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Summary};

    #[test]
    fn both_ways_of_timing_are_lines_of_their_own() {
        let of = |percent: u32, part: &str, us| Row {
            experiment: "latency-load".into(),
            fabric: "shm".into(),
            schedule: format!("direct-load-{percent}-{part}"),
            nodes: 2,
            message_bytes: 1,
            trial: 1,
            latency_us_p50: Some(us),
            latency_us_p99: Some(2.0 * us),
            ..Row::default()
        };
        let rows = [of(30, "due", 1.0), of(30, "call", 1.0), of(120, "due", 900.0), of(120, "call", 3.0)];
        let summary = Summary::of(&rows);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let found = figures(&points);
        let lines: Vec<(&str, Vec<f64>)> =
            found[0].series.iter().map(|series| (&*series.label, series.marks.iter().map(|mark| mark.y).collect())).collect();
        assert_eq!(lines[0], ("2 nodes, p50, from when it was due", vec![1.0, 900.0]));
        assert_eq!(lines[3], ("2 nodes, p99, from the call", vec![2.0, 6.0]));
    }
}
