//! Figures of latency: percentiles by group size, growth beside the published one, and whole distributions.

use std::fs;
use std::path::Path;

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series};
use super::grouping::{Dimension, common, distinct, label, lines, only, splitting, subtitle, subtitle_with, thin_out, trials};
use super::published;
use super::scale::{Axis, Scale};
use crate::files::file_name;
use crate::histogram::{read_percentile_text, stem};
use crate::summary::{Metric, PointSummary};
use crate::units;

/// The figures of each message size and fabric.
pub(super) fn figures(points: &[&PointSummary], histograms: &Path) -> Vec<Figure> {
    let mut figures = Vec::new();
    for size in distinct(points, |point| point.message_bytes) {
        for fabric in distinct(points, |point| point.fabric.clone()) {
            let chosen = only(points, |point| point.fabric == fabric && point.message_bytes == size);
            let name = format!("latency-{size}-{}", file_name(&fabric));
            let subject = format!("{} messages, {fabric}", units::bytes(size));
            let distribution = distribution(&name, &subject, &chosen, histograms);
            // Of one group size the distribution says more.
            if distinct(&chosen, |point| point.nodes).len() > 1 || distribution.is_none() {
                figures.push(percentiles(&name, &subject, &chosen));
            }
            figures.extend(growth(&name, &subject, &fabric, size, &chosen));
            figures.extend(distribution);
        }
    }
    figures
}

fn microseconds() -> Axis {
    Axis { label: "latency (µs)".into(), scale: Scale::Log }
}

fn percentiles(name: &str, subject: &str, points: &[&PointSummary]) -> Figure {
    const LINES_MAX: usize = 12;
    let shown =
        [(Metric::LatencyP50, "p50", Line::Solid), (Metric::LatencyP99, "p99", Line::Dashed), (Metric::LatencyP999, "p99.9", Line::Dotted)];
    let settings = lines(points, Dimension::Nodes, Metric::LatencyP50).len().max(1);
    let mut series = Vec::new();
    for (metric, percentile, line) in shown.into_iter().take((LINES_MAX / settings).max(1)) {
        let found = lines(points, Dimension::Nodes, metric);
        let alone = found.len() == 1;
        series.extend(found.into_iter().map(|series| Series {
            label: if alone { percentile.to_owned() } else { format!("{}, {percentile}", series.label) },
            line,
            ..series
        }));
    }
    // Lines of one setting beside each other in the legend, percentiles in order within it.
    series.sort_by_key(|series| series.colour);
    Figure {
        name: format!("{name}-nodes"),
        title: format!("Latency by group size, {subject}"),
        subtitle: subtitle(points, &[&trials(points), "latency from the intended send to delivery"]),
        caption: "Percentiles over the messages of a trial. Latency of small messages with every node sending grows \
                  about linearly with the group."
            .into(),
        x: Axis::nodes(),
        y: microseconds(),
        series,
        level: None,
        event: None,
    }
}

/// Median latency over that of the smallest group, measured and published: growth has no unit and so compares.
fn growth(name: &str, subject: &str, fabric: &str, size: u64, points: &[&PointSummary]) -> Option<Figure> {
    let mut series: Vec<Series> = lines(points, Dimension::Nodes, Metric::LatencyP50).into_iter().filter_map(over_first).collect();
    if series.iter().all(|series| series.marks.len() < 2) {
        return None;
    }
    let marks = published::latencies(fabric, size)
        .into_iter()
        .map(|row| Mark { x: f64::from(row.nodes), y: row.latency_us, range: None, emulated: false })
        .collect();
    let (_, name_of_theirs) = published::counterpart(fabric);
    let colour = series.iter().map(|series| series.colour + 1).max().unwrap_or(0);
    series.extend(over_first(Series {
        label: format!("{name_of_theirs}, all send (published)"),
        colour,
        line: Line::Published,
        fabric: String::new(),
        of: Of { pattern: String::new(), size: Some(size) },
        marks,
    }));
    Some(Figure {
        name: format!("{name}-growth"),
        title: format!("Growth of median latency with the group, {subject}"),
        subtitle: subtitle(points, &[&trials(points), "each line over its own smallest group"]),
        caption: "Median latency over that of the smallest group of the same line. Published lines are TOCS figures \
                  12b and 13b, read from the figure to about 5 %."
            .into(),
        x: Axis::nodes(),
        y: Axis { label: "times the latency of the smallest group".into(), scale: Scale::Log },
        series,
        level: None,
        event: None,
    })
}

/// The series over its leftmost value.
fn over_first(mut series: Series) -> Option<Series> {
    series.marks.sort_by(|a, b| a.x.total_cmp(&b.x));
    let first = series.marks.first()?.y;
    if first <= 0.0 {
        return None;
    }
    for mark in &mut series.marks {
        mark.y /= first;
        mark.range = mark.range.map(|(low, high)| (low / first, high / first));
    }
    Some(series)
}

/// The whole distribution of the last trial of each point that the run kept one of.
fn distribution(name: &str, subject: &str, points: &[&PointSummary], histograms: &Path) -> Option<Figure> {
    const LINES_MAX: usize = 8;
    let mut group_sizes = distinct(points, |point| point.nodes);
    let settings = points.len().div_ceil(group_sizes.len().max(1)).max(1);
    thin_out(&mut group_sizes, (LINES_MAX / settings).max(1));
    let mut splitting = splitting(points, Dimension::Nodes);
    splitting.splice(0..0, (group_sizes.len() > 1).then_some(Dimension::Nodes));
    let mut series: Vec<Series> = Vec::new();
    for point in only(points, |point| group_sizes.contains(&point.nodes)) {
        let kept = point.trials.iter().rev().find_map(|row| {
            let name = format!("{}.hgrm", stem(&point.point, row.trial));
            fs::read_to_string(histograms.join(name)).ok()
        });
        let Some(text) = kept else {
            continue;
        };
        let marks = read_percentile_text(&text)
            .into_iter()
            .map(|percentile| Mark { x: percentile.quantile, y: percentile.latency_us, range: None, emulated: false })
            .collect();
        let line = if point.emulation().is_some() { Line::DashedCurve } else { Line::Curve };
        let (label, fabric) = (label(&point.point, &splitting, points), point.point.fabric.clone());
        series.push(Series { label, colour: 0, line, fabric, of: common(&[point]), marks });
    }
    for (colour, series) in series.iter_mut().enumerate() {
        series.colour = PATTERNS.len() + colour;
    }
    let shown = only(points, |point| group_sizes.contains(&point.nodes));
    let sizes = group_sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    (!series.is_empty()).then(|| Figure {
        name: format!("{name}-distribution"),
        title: format!("Distribution of latency, {subject}, groups of {sizes}"),
        subtitle: subtitle_with(&shown, &["last trial of each point that kept its histogram"], "dashed lines"),
        caption: "Latency that a share of the messages stays within: the further right, the rarer the messages above \
                  the line."
            .into(),
        x: Axis { label: "share of the messages".into(), scale: Scale::Nines },
        y: microseconds(),
        series,
        level: None,
        event: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_one_at_the_left_end() {
        let mark = |x, y| Mark { x, y, range: None, emulated: false };
        let series = Series {
            label: String::new(),
            colour: 0,
            line: Line::Solid,
            fabric: String::new(),
            of: Of::default(),
            marks: vec![mark(4.0, 30.0), mark(2.0, 10.0)],
        };
        let marks = over_first(series).unwrap().marks;
        assert_eq!((marks[0].y, marks[1].y), (1.0, 3.0));
    }
}
