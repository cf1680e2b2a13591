//! Figures of `view-change`: bandwidth over time around a leave, a join and a kill.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::folder::file_name;
use super::super::histogram::stem;
use super::super::row::Point;
use super::super::summary::PointSummary;
use super::super::timeline::Timeline;
use super::super::units;
use super::figure::{Axis, Figure, Line, Mark, Scale, Series};

/// One figure for each group whose last trial kept its timeline.
pub(super) fn figures(points: &[&PointSummary], timelines: &Path) -> Vec<Figure> {
    let mut seen = BTreeSet::new();
    points
        .iter()
        .filter_map(|point| {
            let group = group_of(&point.point);
            let last = point.trials.iter().map(|row| row.trial).max()?;
            let name = stem(&group, last);
            if !seen.insert(name.clone()) {
                return None;
            }
            // A timeline that cannot be read makes no picture; the times are in the rows.
            let timeline = Timeline::read(&timelines.join(format!("{name}.csv"))).ok()??;
            Some(figure(&group, &timeline))
        })
        .collect()
}

/// The group of a row: its `schedule` without what happened and the stage.
fn group_of(point: &Point) -> Point {
    let mut parts: Vec<&str> = point.schedule.split('-').collect();
    parts.truncate(parts.len().saturating_sub(2));
    Point { schedule: parts.join("-"), ..point.clone() }
}

fn figure(group: &Point, timeline: &Timeline) -> Figure {
    let highest = timeline.rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max).max(1e-6);
    let mark = |x: f64, y: f64| Mark { x, y, range: None };
    let rates = timeline.rates.iter().map(|(ms, rate)| mark(*ms, *rate)).collect();
    let mut series = vec![Series { label: "delivered at a member that stays".into(), colour: 0, line: Line::Curve, marks: rates }];
    series.extend(timeline.events.iter().enumerate().map(|(at, (ms, event))| Series {
        label: event.clone(),
        colour: at + 1,
        line: Line::Curve,
        marks: vec![mark(*ms, 0.0), mark(ms + 1e-3, highest)],
    }));
    let size = units::bytes(group.message_bytes);
    Figure {
        name: file_name(&format!("view-change-{}-n{}-{}-{}B", group.fabric, group.nodes, group.schedule, group.message_bytes)),
        title: format!("Bandwidth around changes of the view, {} nodes, {size} messages", group.nodes),
        subtitle: format!("{}, {}, last trial; bins of 5 ms", group.fabric, group.schedule),
        caption: "Payload that a member which stays delivers, while another one leaves, joins again, and a third one is killed. Published for \
                  200 MB messages on 5 nodes with RDMA (Derecho, TOCS 2019, figures 20a and 21): 24 ms from the detection to the trim, 60 ms until the group is active again."
            .into(),
        x: Axis { label: "time (ms)".into(), scale: Scale::Linear },
        y: Axis { label: "bandwidth (GB/s, 10^9 bytes)".into(), scale: Scale::Linear },
        series,
        level: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_trial_share_their_group() {
        let point = |schedule: &str| super::super::super::Row { schedule: schedule.into(), ..Default::default() }.point();
        assert_eq!(group_of(&point("direct-light-kill-trimmed")), group_of(&point("direct-light-leave-stopped")));
        assert_eq!(group_of(&point("pipeline-saturated-kill-trimmed")).schedule, "pipeline-saturated");
    }
}
