//! In which order points are measured, and until when.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::fault::Fault;
use crate::ask::point::PlannedPoint;
use crate::ask::request::Axes;
use squall_report::{RunFolder, Summary, precision, read_rows};

/// Trials of each point in one visit that is made because it is not known well enough.
const STEP: u32 = 2;
/// Trials of which an interval says something.
const TRIALS_MIN: usize = 3;
/// Most trials of a point, as `--trials` takes them.
const TRIALS_MAX: u32 = 1000;
/// Seconds for repeating, unless `--time-limit` says otherwise.
const TIME_LIMIT_SECONDS: f64 = 600.0;

/// A part of the trials of one point.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Visit {
    /// Which point of the run.
    pub(super) at: usize,
    /// The point, with the trials that it has after the visit.
    pub(super) point: PlannedPoint,
}

/// The visits that measure these points: one each, or, in turns, one a trial.
pub(super) fn visits(points: &[&PlannedPoint], in_turns: bool) -> Vec<Visit> {
    if !in_turns {
        return points.iter().enumerate().map(|(at, &point)| Visit { at, point: point.clone() }).collect();
    }
    let most = points.iter().map(|point| point.trials).max().unwrap_or(0).max(1);
    let round = |trial: u32| {
        let has_turn = move |point: &PlannedPoint| trial == 1 || (trial <= point.trials && point.skip.is_none());
        let visit = move |(at, &point): (usize, &&PlannedPoint)| Visit {
            at,
            point: PlannedPoint { trials: trial, seconds: point.seconds / f64::from(point.trials.max(1)), ..point.clone() },
        };
        points.iter().enumerate().filter(move |(_, point)| has_turn(point)).map(visit)
    };
    (1..=most).flat_map(round).collect()
}

/// Repeats points until their medians are known as well as `--until-ci` asks, or time is up.
pub(super) struct Repeats {
    target: f64,
    deadline: Instant,
}

impl Repeats {
    /// What was asked for, if it was.
    pub(super) fn asked(axes: &Axes) -> Option<Repeats> {
        let seconds = axes.time_limit.unwrap_or(TIME_LIMIT_SECONDS);
        axes.until_ci.map(|target| Repeats { target, deadline: Instant::now() + Duration::from_secs_f64(seconds) })
    }

    /// The points that are not known well enough, each with a few more trials; none when time is up.
    ///
    /// # Errors
    /// [`Fault::Results`].
    pub(super) fn next(&self, points: &[&PlannedPoint], lost: &BTreeSet<usize>, folder: &RunFolder) -> Result<Vec<Visit>, Fault> {
        if Instant::now() >= self.deadline {
            return Ok(Vec::new());
        }
        let rows = read_rows(folder.path()).map_err(|error| Fault::Results(error.to_string()))?.rows;
        let summary = Summary::of(&rows);
        let is_known = |point: &PlannedPoint| {
            let keys = point.setting.points();
            let mut own = summary.points.iter().filter(|found| keys.contains(&found.point));
            own.all(|found| found.trials.len() >= TRIALS_MIN && precision(found).is_none_or(|half_width| half_width <= self.target))
        };
        let again = |(at, point): (usize, &&PlannedPoint)| {
            let trials = point.setting.points().iter().map(|key| folder.rows().trials(key)).min().unwrap_or(0) + STEP;
            let seconds = point.seconds / f64::from(point.trials.max(1)) * f64::from(STEP);
            Visit { at, point: PlannedPoint { trials, seconds, ..(*point).clone() } }
        };
        let wanted = points.iter().enumerate().filter(|(at, point)| point.skip.is_none() && !lost.contains(at) && !is_known(point));
        Ok(wanted.map(again).filter(|visit| visit.point.trials <= TRIALS_MAX).collect())
    }

    /// What is said if points are left that are not known well enough.
    pub(super) fn time_is_up(&self) -> Option<String> {
        (Instant::now() >= self.deadline)
            .then(|| "time is up: some points are not known as well as --until-ci asks; give more --time-limit".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::experiment::Experiment;
    use crate::ask::machine::Machine;
    use crate::ask::plan::Plan;
    use crate::ask::request::Request;
    use serde_json::Value;
    use squall_report::Row;

    fn plan(trials: u32) -> Plan {
        let axes = Axes { trials: Some(trials), ..Axes::default() };
        let request = Request { experiments: vec![Experiment::Memcpy], quick: true, axes };
        Plan::of(&request, &Machine { cores: vec![0, 1], memory_bytes: 8 << 30, ..Machine::default() }).unwrap()
    }

    #[test]
    fn in_turns_each_round_is_one_trial_of_every_point() {
        let plan = plan(3);
        let points: Vec<&PlannedPoint> = plan.points.iter().collect();
        let order =
            |in_turns| -> Vec<(usize, u32)> { visits(&points, in_turns).iter().map(|visit| (visit.at, visit.point.trials)).collect() };
        assert_eq!(order(false)[..2], [(0, 3), (1, 3)]);
        let in_turns = order(true);
        assert_eq!(in_turns.len(), 3 * points.len());
        assert_eq!((in_turns[0], in_turns[1], in_turns[points.len()]), ((0, 1), (1, 1), (0, 2)));
    }

    #[test]
    fn only_what_is_not_known_is_repeated_and_only_while_there_is_time() {
        let plan = plan(3);
        let points: Vec<&PlannedPoint> = plan.points.iter().take(2).collect();
        let root = tempfile::tempdir().unwrap();
        let mut folder = RunFolder::create(Some(root.path()), "test", Vec::new(), Value::Null, Value::Null).unwrap();
        for (point, values) in points.iter().zip([[1.0, 1.01, 1.02], [1.0, 2.0, 3.0]]) {
            for (at, value) in values.into_iter().enumerate() {
                let row = Row { trial: at as u32 + 1, algbw_gigabytes_per_second: Some(value), ..point.setting.row(None) };
                folder.append(&row).unwrap();
            }
        }
        let repeats = |seconds| Repeats::asked(&Axes { until_ci: Some(0.02), time_limit: Some(seconds), ..Axes::default() }).unwrap();
        let found = repeats(3600.0).next(&points, &BTreeSet::new(), &folder).unwrap();
        assert_eq!(found.iter().map(|visit| (visit.at, visit.point.trials)).collect::<Vec<_>>(), [(1, 5)]);
        assert!(repeats(3600.0).next(&points, &BTreeSet::from([1]), &folder).unwrap().is_empty(), "what failed is not repeated");
        assert!(repeats(0.0).next(&points, &BTreeSet::new(), &folder).unwrap().is_empty());
        assert!(repeats(0.0).time_is_up().is_some() && Repeats::asked(&Axes::default()).is_none());
    }
}
