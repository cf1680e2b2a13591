//! Figures of `view-change`: bandwidth around a change of view.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::figure::{Axis, Figure, Line, Mark, PATTERNS, Scale, Series};
use super::grouping::{distinct, only, subtitle};
use crate::files::file_name;
use crate::histogram::stem;
use crate::summary::PointSummary;
use crate::units;

/// The part of a trial that the file lies beside.
const ACTIVE: &str = "-active";
/// What was published, in words: another machine's milliseconds are no line in this figure.
const PUBLISHED: &str = "Derecho (TOCS 2019, figure 21: 5 nodes, 200 MB messages, 100 Gb/s RDMA) took 24 ms from the detection of a failure to the \
                         trim, and 60 ms until the next view was active.";

/// Milliseconds that are drawn on both sides of the fault: a change takes a few to some tens of them.
const REACH_MS: f64 = 100.0;

/// A line of a timeline.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Moment {
    ms_since_fault: f64,
    gigabytes_per_second_median: f64,
}

/// One figure for each fabric, message size, group and load: the last trial of each kind of change.
pub(super) fn figures(points: &[&PointSummary], timelines: &Path) -> Vec<Figure> {
    let mut figures = Vec::new();
    let active = only(points, |point| point.schedule.ends_with(ACTIVE));
    for fabric in distinct(&active, |point| point.fabric.clone()) {
        for size in distinct(&active, |point| point.message_bytes) {
            for nodes in distinct(&active, |point| point.nodes) {
                for load in ["light", "full"] {
                    let fits = format!("-{load}{ACTIVE}");
                    let chosen = only(&active, |point| {
                        (&point.fabric, point.message_bytes, point.nodes) == (&fabric, size, nodes) && point.schedule.ends_with(&fits)
                    });
                    figures.extend(timeline(&fabric, size, nodes, load, &chosen, timelines));
                }
            }
        }
    }
    figures
}

fn timeline(fabric: &str, size: u64, nodes: u32, load: &str, points: &[&PointSummary], timelines: &Path) -> Option<Figure> {
    let series: Vec<Series> = points
        .iter()
        .filter_map(|point| {
            let trial = point.trials.iter().map(|row| row.trial).max()?;
            let moments = moments(point, trial, timelines)?;
            Some((format!("{}, trial {trial}", in_words(kind(point))), moments))
        })
        .enumerate()
        .map(|(colour, (label, moments))| Series {
            label,
            colour: PATTERNS.len() + colour,
            line: Line::Curve,
            fabric: String::new(),
            marks: marks(&moments),
        })
        .collect();
    (!series.is_empty()).then(|| Figure {
        name: format!("view-change-{size}-{}-n{nodes}-{load}", file_name(fabric)),
        title: format!("Bandwidth around a change of view, {} messages, {fabric}, {nodes} members, {load} load", units::bytes(size)),
        subtitle: subtitle(points, &["delivered at the median member, in steps of 5 ms"]),
        caption: format!("The last trial of each kind. The gap is the time in which no view delivers. {PUBLISHED}"),
        x: Axis { label: "time since the fault (ms)".into(), scale: Scale::Around(REACH_MS) },
        y: Axis { label: "payload delivered at a member (GB/s, 10^9 bytes)".into(), scale: Scale::Linear },
        series,
        level: None,
        event: Some((0.0, "fault")),
    })
}

/// `kill` of `direct-kill-light-active`.
fn kind(point: &PointSummary) -> &str {
    let parts: Vec<&str> = point.point.schedule.split('-').collect();
    parts.iter().rev().nth(2).copied().unwrap_or_default()
}

/// What happens, for people: `join20+200MB` are 20 processes that take 200 MB of state each.
fn in_words(kind: &str) -> String {
    let Some(joins) = kind.strip_prefix("join") else {
        return match kind {
            "kill" => "a member is killed".to_owned(),
            "leave" => "a member leaves".to_owned(),
            other => other.to_owned(),
        };
    };
    let (count, state) = joins.split_once('+').map_or((joins, None), |(count, state)| (count, Some(state)));
    let who = if count.is_empty() { "a process joins".to_owned() } else { format!("{count} processes join") };
    state.map_or(who.clone(), |state| format!("{who}, {state} of state each"))
}

fn moments(point: &PointSummary, trial: u32, timelines: &Path) -> Option<Vec<Moment>> {
    let text = fs::read_to_string(timelines.join(format!("{}.csv", stem(&point.point, trial)))).ok()?;
    csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().ok()
}

fn marks(moments: &[Moment]) -> Vec<Mark> {
    let mark = |moment: &Moment| Mark { x: moment.ms_since_fault, y: moment.gigabytes_per_second_median, range: None, emulated: false };
    moments.iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legends_say_in_words_what_happens() {
        let words = ["kill", "leave", "join", "join+1GB", "join20+200MB"].map(in_words);
        assert_eq!(
            words,
            [
                "a member is killed",
                "a member leaves",
                "a process joins",
                "a process joins, 1GB of state each",
                "20 processes join, 200MB of state each"
            ]
        );
    }
}
