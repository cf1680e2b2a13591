//! Bandwidth over time within long trials: a link that flaps shows there, and is hidden in the mean.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series};
use super::grouping::subtitle_with;
use super::scale::{Axis, Scale};
use crate::files::file_name;
use crate::histogram::stem;
use crate::row::Row;
use crate::summary::PointSummary;

/// Points with a figure of their own: a sweep of long trials is read in its other figures.
const FIGURES_MAX: usize = 12;
/// Trials with a curve of their own: more are no longer told apart.
const CURVES_MAX: usize = 7;
/// What a row's note says of the least bandwidth.
const LEAST: &str = "least bandwidth within ";

/// A line of a timeline.
#[derive(Clone, Debug, Deserialize)]
struct Step {
    seconds: f64,
    gigabytes_per_second: f64,
}

/// A figure for each point with trials that were looked at over time.
pub(super) fn figures(points: &[&PointSummary], timelines: &Path) -> Vec<Figure> {
    if !timelines.exists() {
        return Vec::new();
    }
    points.iter().filter_map(|point| of_point(point, timelines)).take(FIGURES_MAX).collect()
}

fn of_point(point: &PointSummary, timelines: &Path) -> Option<Figure> {
    let mut series: Vec<Series> = Vec::new();
    for row in &point.trials {
        let Some(marks) = marks(point, row, timelines) else { continue };
        series.push(Series {
            label: least(row).map_or_else(|| format!("trial {}", row.trial), |least| format!("trial {}, least within {least}", row.trial)),
            colour: PATTERNS.len() + series.len(),
            line: if row.emulation().is_some() { Line::DashedCurve } else { Line::Curve },
            fabric: point.point.fabric.clone(),
            of: Of { pattern: point.point.sender_pattern.clone(), size: Some(point.point.message_bytes) },
            marks,
        });
        if series.len() == CURVES_MAX {
            break;
        }
    }
    (!series.is_empty()).then(|| Figure {
        name: format!("over-time-{}", file_name(&point.point.to_string())),
        title: format!("Bandwidth over time, {}", point.point),
        subtitle: subtitle_with(&[point], &["at the node that was served least"], "dashed"),
        caption: "Payload delivered in steps of a tenth of a second. A link that flaps, or a machine that stalls, shows as a gap; a \
                  large message counts where it ends."
            .to_owned(),
        x: Axis { label: "time since the trial began (s)".into(), scale: Scale::Linear },
        y: Axis { label: "payload delivered (GB/s, 10^9 bytes)".into(), scale: Scale::Linear },
        series,
        level: None,
        event: None,
    })
}

/// The curve of one trial; nothing if it was not looked at.
fn marks(point: &PointSummary, row: &Row, timelines: &Path) -> Option<Vec<Mark>> {
    let text = fs::read_to_string(timelines.join(format!("{}.csv", stem(&point.point, row.trial)))).ok()?;
    let steps: Vec<Step> = csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().ok()?;
    Some(steps.iter().map(|step| Mark { x: step.seconds, y: step.gigabytes_per_second, range: None, emulated: false }).collect())
}

/// `1 s 0.4400 GB/s` of a note that says so.
fn least(row: &Row) -> Option<String> {
    let part = row.note.split("; ").find_map(|part| part.strip_prefix(LEAST))?;
    Some(part.replace(" at any node", ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Summary;

    #[test]
    fn a_long_trial_is_a_curve_and_tells_its_least() {
        let row = |trial, note: &str| Row {
            experiment: "multicast".into(),
            fabric: "tcp".into(),
            nodes: 4,
            message_bytes: 1 << 20,
            trial,
            algbw_gigabytes_per_second: Some(2.0),
            note: note.into(),
            ..Row::default()
        };
        let summary = Summary::of(&[row(1, "4 nodes; least bandwidth within 1 s at any node 0.4400 GB/s"), row(2, ""), row(3, "")]);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let folder = tempfile::tempdir().unwrap();
        assert!(figures(&points, &folder.path().join("none")).is_empty() && figures(&points, folder.path()).is_empty());
        let write = |trial, text: &str| fs::write(folder.path().join(format!("{}.csv", stem(&points[0].point, trial))), text).unwrap();
        write(1, "seconds,gigabytes_per_second\n0.1,2.0\n0.2,0.0\n");
        write(2, "seconds,gigabytes_per_second\n0.1,1.0\n");
        // Another experiment's timeline.
        write(3, "ms_since_fault,gigabytes_per_second_median\n0.1,1.0\n");
        let [figure] = &figures(&points, folder.path())[..] else { panic!("one point, one figure") };
        let labels: Vec<&str> = figure.series.iter().map(|series| series.label.as_str()).collect();
        assert_eq!(labels, ["trial 1, least within 1 s 0.4400 GB/s", "trial 2"]);
        assert_eq!(figure.series[0].marks.iter().map(|mark| (mark.x, mark.y)).collect::<Vec<_>>(), [(0.1, 2.0), (0.2, 0.0)]);
    }
}
