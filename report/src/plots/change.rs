//! Figures of `view-change`: bandwidth around a change of view.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series};
use super::grouping::{distinct, only, subtitle};
use super::scale::{Axis, Scale};
use crate::files::file_name;
use crate::histogram::stem;
use crate::row::Point;
use crate::summary::PointSummary;
use crate::units;

/// The part of a trial that the file lies beside.
const ACTIVE: &str = "-active";
/// What was published, in words: another machine's milliseconds are no line in this figure.
const PUBLISHED: &str = "Derecho (TOCS 2019, figure 21: 5 nodes, 200 MB messages, 100 Gb/s RDMA) took 24 ms from the detection of a \
                         failure to the trim, and 60 ms until the next view was active.";

/// Milliseconds that are drawn on both sides of the fault: a change takes a few to some tens of them.
const REACH_MS: f64 = 100.0;
/// Width of a step: that of the timeline's bins, and longer where a bin holds a message or none.
const STEP_MS: f64 = 5.0;
const STEP_LARGE_MS: f64 = 20.0;
/// Messages from this size on are large for that.
const LARGE_BYTES: u64 = 1 << 20;
/// Steps of a figure that shows a whole join with state.
const STEPS_MAX: f64 = 150.0;
/// Below this rate, in GB/s, the axis is in MB/s.
const SLOW: f64 = 0.1;

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
                    let around = |state: bool| only(&chosen, |point| kind(&point.schedule).contains('+') == state);
                    let drawn = Drawn { fabric: &fabric, size, nodes, load, timelines };
                    figures.extend(drawn.fault(&around(false)));
                    figures.extend(drawn.joins(&around(true)));
                }
            }
        }
    }
    figures
}

/// The moments around one kind of fault, a curve for each point, by the name and the colour that it is given.
pub(super) fn around_kill(
    points: &[&PointSummary],
    timelines: &Path,
    fabric: &str,
    named: impl Fn(&Point) -> (String, usize),
) -> Option<Figure> {
    let first = &points.first()?.point;
    let drawn = Drawn { fabric, size: first.message_bytes, nodes: first.nodes, load: "light", timelines };
    let figure = drawn.fault(points)?;
    let series = figure.series.into_iter().zip(points.iter().filter(|point| drawn.last_moments(point).is_some()));
    let renamed = series.map(|(series, point)| {
        let (label, colour) = named(&point.point);
        Series { label, colour, ..series }
    });
    Some(Figure { series: renamed.collect(), ..figure })
}

/// What all figures of one group and load have in common.
struct Drawn<'a> {
    fabric: &'a str,
    size: u64,
    nodes: u32,
    load: &'a str,
    timelines: &'a Path,
}

impl Drawn<'_> {
    /// The moments around a fault.
    fn fault(&self, points: &[&PointSummary]) -> Option<Figure> {
        let step_ms = if self.size >= LARGE_BYTES { STEP_LARGE_MS } else { STEP_MS };
        let caption = format!("The last trial of each kind. The gap is the time in which no view delivers. {PUBLISHED}");
        let x = Axis { label: "time since the fault (ms)".into(), scale: Scale::Around(REACH_MS) };
        let draw = |moments: &[Moment]| steps(moments, -REACH_MS, step_ms, 1.0);
        let figure = self.figure(points, draw, x)?;
        let subtitle = subtitle(points, &[&format!("delivered at the median member, in steps of {step_ms} ms")]);
        Some(Figure { subtitle, caption, event: Some((0.0, "fault")), ..figure })
    }

    /// All the time from the wish to join to the end of the trial.
    fn joins(&self, points: &[&PointSummary]) -> Option<Figure> {
        let x = Axis { label: "time since processes asked to join (s)".into(), scale: Scale::Linear };
        let draw = |moments: &[Moment]| {
            let last_ms = moments.last().map_or(0.0, |moment| moment.ms_since_fault);
            steps(moments, 0.0, (last_ms / STEPS_MAX / STEP_MS).ceil().max(1.0) * STEP_MS, 1e-3)
        };
        let figure = self.figure(points, draw, x)?;
        let subtitle = subtitle(points, &["delivered at the median of the members that were there before"]);
        let caption = "The last trial of each kind. Whoever joins takes the state beside what the group delivers.".to_owned();
        Some(Figure { name: format!("{}-state", figure.name), subtitle, caption, ..figure })
    }

    /// The last trial of a point, and what it left behind.
    fn last_moments(&self, point: &PointSummary) -> Option<(u32, Vec<Moment>)> {
        let trial = point.trials.iter().map(|row| row.trial).max()?;
        Some((trial, moments(point, trial, self.timelines)?))
    }

    fn figure(&self, points: &[&PointSummary], draw: impl Fn(&[Moment]) -> Vec<Mark>, x: Axis) -> Option<Figure> {
        let curves: Vec<(String, Vec<Mark>)> = points
            .iter()
            .filter_map(|point| {
                let (trial, moments) = self.last_moments(point)?;
                Some((format!("{}, trial {trial}", in_words(kind(&point.point.schedule))), draw(&moments)))
            })
            .collect();
        let most = curves.iter().flat_map(|(_, marks)| marks).map(|mark| mark.y).fold(0.0, f64::max);
        let (factor, unit) = if most < SLOW { (1e3, "MB/s, 10^6 bytes") } else { (1.0, "GB/s, 10^9 bytes") };
        let curve = |(colour, (label, marks)): (usize, (String, Vec<Mark>))| Series {
            label,
            colour: PATTERNS.len() + colour,
            line: Line::Curve,
            fabric: String::new(),
            of: Of { pattern: String::new(), size: Some(self.size) },
            marks: marks.into_iter().map(|mark| Mark { y: mark.y * factor, ..mark }).collect(),
        };
        let series: Vec<Series> = curves.into_iter().enumerate().map(curve).collect();
        let Drawn { fabric, size, nodes, load, .. } = self;
        (!series.is_empty()).then(|| Figure {
            name: format!("view-change-{size}-{}-n{nodes}-{load}", file_name(fabric)),
            title: format!("Bandwidth around a change of view, {} messages, {fabric}, {nodes} members, {load} load", units::bytes(*size)),
            subtitle: String::new(),
            caption: String::new(),
            x,
            y: Axis { label: format!("payload delivered at a member ({unit})"), scale: Scale::Linear },
            series,
            level: None,
            event: None,
        })
    }
}

/// `kill` of `direct-kill-light-active`.
fn kind(schedule: &str) -> &str {
    let parts: Vec<&str> = schedule.split('-').collect();
    parts.iter().rev().nth(2).copied().unwrap_or_default()
}

/// What happens, for people: `join20+200MB` are 20 processes that take 200 MB of state each.
fn in_words(kind: &str) -> String {
    let Some(joins) = kind.strip_prefix("join") else {
        return match kind {
            "kill" => "a member is killed".to_owned(),
            "kill@first" => "the first member is killed".to_owned(),
            "kill@middle" => "a member in the middle is killed".to_owned(),
            "leave" => "a member leaves".to_owned(),
            other => other.to_owned(),
        };
    };
    let (count, state) = joins.split_once('+').map_or((joins, None), |(count, state)| (count, Some(state)));
    let who = if count.is_empty() { "a process joins".to_owned() } else { format!("{count} processes join") };
    let each = if count.is_empty() { "" } else { " each" };
    state.map_or(who.clone(), |state| format!("{who}, {} of state{each}", spaced(state)))
}

/// `200 MB` of `200MB`.
fn spaced(size: &str) -> String {
    let digits = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
    format!("{} {}", &size[..digits], &size[digits..])
}

fn moments(point: &PointSummary, trial: u32, timelines: &Path) -> Option<Vec<Moment>> {
    let text = fs::read_to_string(timelines.join(format!("{}.csv", stem(&point.point, trial)))).ok()?;
    csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().ok()
}

/// Steps of a width of `step_ms`, one of which begins at the fault, from `from_ms` on: the mean of the moments in each.
/// `unit` is how much of the axis' unit a millisecond is.
fn steps(moments: &[Moment], from_ms: f64, step_ms: f64, unit: f64) -> Vec<Mark> {
    // What a bin holds was delivered behind its beginning; half a bin decides to which step it belongs.
    let step_of = |moment: &Moment| ((moment.ms_since_fault + STEP_MS / 2.0) / step_ms).floor();
    let drawn: Vec<&Moment> = moments.iter().filter(|moment| step_of(moment) * step_ms >= from_ms).collect();
    let mark = |ms: f64, y: f64| Mark { x: ms * unit, y, range: None, emulated: false };
    drawn
        .chunk_by(|one, other| step_of(one) == step_of(other))
        .flat_map(|bins| {
            let mean = bins.iter().map(|bin| bin.gigabytes_per_second_median).sum::<f64>() / bins.len() as f64;
            let start_ms = step_of(bins[0]) * step_ms;
            [mark(start_ms, mean), mark(start_ms + step_ms, mean)]
        })
        .collect()
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
                "a process joins, 1 GB of state",
                "20 processes join, 200 MB of state each"
            ]
        );
    }

    #[test]
    fn steps_begin_at_the_fault_and_hold_the_mean_of_their_bins() {
        let moment = |ms: f64, rate: f64| Moment { ms_since_fault: ms, gigabytes_per_second_median: rate };
        let moments = [moment(-10.0, 1.0), moment(-5.0, 3.0), moment(0.0, 0.0), moment(5.0, 4.0)];
        let places = |step_ms| steps(&moments, -10.0, step_ms, 1.0).iter().map(|mark| (mark.x, mark.y)).collect::<Vec<_>>();
        assert_eq!(places(10.0), [(-10.0, 2.0), (0.0, 2.0), (0.0, 2.0), (10.0, 2.0)]);
        assert_eq!(places(5.0)[2..6], [(-5.0, 3.0), (0.0, 3.0), (0.0, 0.0), (5.0, 0.0)]);
    }
}
