//! Figures of `rdmc-timeline`: one message at every node, and what the nodes spent its time on.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series};
use super::grouping::{distinct, median_of, only, subtitle};
use super::scale::{Axis, Scale};
use crate::files::file_name;
use crate::histogram::stem;
use crate::summary::{Metric, PointSummary};
use crate::units;

/// The part of a trial that the file lies beside.
const WHOLE: &str = "-whole";
/// The parts of a message's time, with their names and colours. The lecture's slide on offloading has blue for moving
/// data and orange for waiting for software.
const PARTS: [(&str, &str, usize); 4] = [
    ("whole", "the whole message", 7),
    ("moving", "moving data", 0),
    ("data", "waiting for data", 2),
    ("software", "waiting for software", 4),
];
/// Nodes with a curve of their own: more are no longer told apart.
const CURVES_MAX: usize = 10;
/// What was published, in words: another machine's milliseconds are no line in these figures.
const PUBLISHED: &str = "Counterparts: the lecture's slide on offloading (blue: moving data, orange: waiting for software) and figure \
                         20b of Derecho (TOCS 2019).";

/// A line of a timeline.
#[derive(Clone, Debug, Deserialize)]
struct Event {
    node: usize,
    what: String,
    us: f64,
}

/// For each fabric and size: where the time went, by group size; for each group size, the last trial block by block.
pub(super) fn figures(points: &[&PointSummary], timelines: &Path) -> Vec<Figure> {
    let mut figures = Vec::new();
    for fabric in distinct(points, |point| point.fabric.clone()) {
        for size in distinct(points, |point| point.message_bytes) {
            let of_size = only(points, |point| (&point.fabric, point.message_bytes) == (&fabric, size));
            figures.extend(split(&fabric, size, &of_size));
            for whole in only(&of_size, |point| point.schedule.ends_with(WHOLE)) {
                figures.extend(blocks(&fabric, size, whole, timelines));
            }
        }
    }
    figures
}

fn split(fabric: &str, size: u64, points: &[&PointSummary]) -> Option<Figure> {
    let mut series = Vec::new();
    for how in distinct(points, |point| how(&point.schedule).to_owned()) {
        for (part, label, colour) in PARTS {
            let of_part = only(points, |point| point.schedule == format!("{how}-{part}"));
            let mark = |point: &&PointSummary| {
                let spread = |metric| point.spread(metric).map(|spread| spread.median / 1e3);
                let range = spread(Metric::LatencyMin).zip(spread(Metric::LatencyMax));
                let emulated = point.trials.iter().any(|row| row.emulated != "no");
                Some(Mark { x: f64::from(point.point.nodes), y: spread(Metric::LatencyP50)?, range, emulated })
            };
            let marks: Vec<Mark> = of_part.iter().filter_map(mark).collect();
            if !marks.is_empty() {
                series.push(Series {
                    label: format!("{label}, {how}"),
                    colour,
                    line: Line::Solid,
                    fabric: fabric.to_owned(),
                    of: Of::default(),
                    marks,
                });
            }
        }
    }
    (!series.is_empty()).then(|| Figure {
        name: format!("rdmc-timeline-{size}-{}-split", file_name(fabric)),
        title: format!("Where the time of one {} message goes, {fabric}", units::bytes(size)),
        subtitle: subtitle(points, &[&median_of(points), "marks: the median node; bars: the least and the greatest of the nodes"]),
        caption: format!(
            "Moving: some block is on its way to or from the node. Waiting for software: none is, although a block is here and the \
             node that it goes to next is ready. Waiting for data: all else. The three add up to the whole. {PUBLISHED}"
        ),
        x: Axis::nodes(),
        y: Axis { label: "time at a node (ms)".into(), scale: Scale::Linear },
        series,
        level: None,
        event: None,
    })
}

/// `two-trees` of `two-trees-whole`.
fn how(schedule: &str) -> &str {
    schedule.rsplit_once('-').map_or(schedule, |(how, _)| how)
}

fn blocks(fabric: &str, size: u64, whole: &PointSummary, timelines: &Path) -> Option<Figure> {
    let trial = whole.trials.iter().map(|row| row.trial).max()?;
    let text = fs::read_to_string(timelines.join(format!("{}.csv", stem(&whole.point, trial)))).ok()?;
    let events: Vec<Event> = csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().ok()?;
    let nodes = events.iter().map(|event| event.node + 1).max()?;
    // The root, the last one, and some between.
    let step = nodes.div_ceil(CURVES_MAX);
    let shown = (0..nodes).filter(|node| node % step == 0 || node + 1 == nodes);
    let series = shown.map(|node| {
        let what = if node == 0 { "posted" } else { "landed" };
        let of_node = events.iter().filter(|event| event.node == node && event.what == what);
        let marks = of_node.zip(1..).map(|(event, count)| Mark { x: event.us / 1e3, y: f64::from(count), range: None, emulated: false });
        let marks = marks.collect();
        Series {
            label: format!("node {node}: {what}"),
            colour: PATTERNS.len() + node,
            line: Line::Curve,
            fabric: String::new(),
            of: Of::default(),
            marks,
        }
    });
    Some(Figure {
        name: format!("rdmc-timeline-{size}-{}-{}-n{nodes}", file_name(fabric), how(&whole.point.schedule)),
        title: format!("One {} message block by block, {fabric}, {}, {nodes} nodes", units::bytes(size), how(&whole.point.schedule)),
        subtitle: subtitle(&[whole], &[&format!("trial {trial}")]),
        caption: format!(
            "Blocks that the root has posted, and that have landed at the others, over time. The trace beside the timeline's CSV opens in \
             Perfetto (ui.perfetto.dev): a process a node, with the blocks on their way in and out. {PUBLISHED}"
        ),
        x: Axis { label: "time since the message began (ms)".into(), scale: Scale::Linear },
        y: Axis { label: "blocks".into(), scale: Scale::Linear },
        series: series.collect(),
        level: None,
        event: None,
    })
}
