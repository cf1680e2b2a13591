//! What a running experiment stands on: the request, the machine, its bounds, and where rows go.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::cache_line::round_trip_ns;
use super::capacity::Capacity;
use super::emulated;
use super::fault::Fault;
use super::hosts::Hosts;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::workers::{Workers, WorkersConfig};
use crate::ask::axes::Pins;
use crate::ask::machine::Machine;
use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::request::Request;
use crate::ask::setting::Setting;
use crate::jobs::job::Work;
use crate::jobs::kinds::Verify;
use squall_report::environment::Throttled;
use squall_report::{HistogramLog, Row, RunFolder};

/// What a running experiment stands on.
pub struct Stage<'a> {
    /// Ctrl-C.
    pub interrupt: &'a Interrupt,
    /// The hosts that the run spans, if there are others than this one.
    pub hosts: Option<&'a Hosts>,
    /// This machine.
    pub machine: &'a Machine,
    /// What was asked.
    pub request: &'a Request,
    /// What the machine can do at most.
    pub capacity: Capacity,
    /// Measures what bounds one point again, beside it.
    pub(super) beside: fn(&PlannedPoint, &Stage<'_>) -> Result<Capacity, Fault>,
    /// Whether that was done for the point that runs.
    pub(super) is_measured_beside: bool,
    /// How much a quota had held this run back when the trial began.
    pub(super) throttled: Cell<Throttled>,
    /// Where rows go.
    pub folder: &'a mut RunFolder,
    /// What the user sees meanwhile.
    pub progress: &'a Progress,
}

impl<'a> Stage<'a> {
    /// How much of each payload is written and checked.
    pub fn verify(&self) -> Verify {
        self.request.axes.verify.unwrap_or_default()
    }

    /// Where to show what goes on within the trials of a point, if people watch and have the time to read it.
    pub fn shown(&self, point: &PlannedPoint) -> Option<&'a Progress> {
        /// Seconds of a trial from which on they have.
        const SECONDS_MIN: f64 = 1.0;
        (self.progress.is_watched() && point.trial_seconds >= SECONDS_MIN).then_some(self.progress)
    }

    /// The first trial of a point that was not measured yet, from 1.
    pub fn next_trial(&self, setting: &Setting) -> u32 {
        let measured = setting.points().iter().map(|point| self.folder.rows().trials(point)).min();
        measured.unwrap_or(0) + 1
    }

    /// How long to wait for something that should take `seconds`.
    pub fn patience(&self, seconds: f64) -> Duration {
        self.request.axes.deadline.map_or_else(|| policy::deadline(seconds), Duration::from_secs_f64)
    }

    /// Seconds that so many messages of each sender take at the least, as far as the bound of `point` was measured.
    pub fn seconds_at_bound(&self, point: &PlannedPoint, messages: u64) -> f64 {
        let setting = &point.setting;
        let is_bounded = setting.nodes > 1 && setting.shape.is_some();
        let bound = is_bounded.then(|| self.capacity.bound(point, self.verify(), self.machine)).flatten();
        let Some(bound) = bound else { return 0.0 };
        let bytes = messages as f64 * f64::from(setting.sending()) * setting.message_bytes as f64;
        bytes / (bound.gigabytes_per_second * 1e9 * setting.load().factor()).max(1.0)
    }

    /// Nodes that meet to open a fabric, each with its work: on this host, or spread over the hosts of the run.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub fn workers(&self, works: Vec<Work>, deadline: Instant) -> Result<Workers<'a>, Fault> {
        let cores = self.machine.cores_for(works.len() as u32, &self.request.axes.pin);
        self.workers_on(works, cores, deadline)
    }

    /// The same wherever the kernel puts them; one alone meets nobody.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub fn workers_anywhere(&self, works: Vec<Work>, deadline: Instant) -> Result<Workers<'a>, Fault> {
        let cores = vec![None; works.len()];
        self.workers_on(works, cores, deadline)
    }

    fn workers_on(&self, works: Vec<Work>, cores: Vec<Option<usize>>, deadline: Instant) -> Result<Workers<'a>, Fault> {
        let axes = &self.request.axes;
        let meet = works.len() > 1;
        let config = WorkersConfig { works, cores, meet, rdma: axes.rdma.clone(), lost_after: axes.lost_after(), hosts: self.hosts };
        Workers::start(config, self.interrupt, deadline)
    }

    /// A trial begins: from here on a quota that holds it back counts as its own.
    pub fn begin_trial(&self) {
        self.throttled.set(self.throttled_so_far());
    }

    /// How far quotas have held this host and the others back.
    fn throttled_so_far(&self) -> Throttled {
        Throttled::now().and(&self.hosts.map(Hosts::throttled).unwrap_or_default())
    }

    /// The round trip of a cache line now, for [`probed`](Stage::probed); none if nodes spin, which would be in its
    /// way, or do not share this host.
    pub fn probe(&self) -> Option<f64> {
        if self.request.axes.spin || self.hosts.is_some() { None } else { round_trip_ns(&self.machine.cores) }
    }

    /// The round trips before and after a trial, as a note.
    pub fn probed(&self, before: Option<f64>) -> String {
        match (before, self.probe()) {
            (Some(before), Some(after)) => format!("cache-line round trip {before:.0} ns before, {after:.0} ns after"),
            _ => String::new(),
        }
    }

    /// Writes a row, after it is complete but for what is the same in every row of `point`. If it passes its bound, the
    /// bound is measured again first.
    ///
    /// # Errors
    /// [`Fault::Results`], or what ends the run meanwhile.
    pub fn emit(&mut self, point: &PlannedPoint, row: Row) -> Result<(), Fault> {
        let held_back = self.throttled_so_far().since(&self.throttled.get());
        let mut completed = self.completed(point, row.clone(), held_back);
        if completed.passes_bound() && !self.is_measured_beside {
            self.is_measured_beside = true;
            self.measure_beside(point)?;
            completed = self.completed(point, row, held_back);
        }
        self.progress.row(&completed, completed.fabric != point.setting.row(None).fabric);
        self.folder.append(&completed).map_err(|error| Fault::Results(error.to_string()))
    }

    fn measure_beside(&mut self, point: &PlannedPoint) -> Result<(), Fault> {
        self.progress.say("  above its bound: measuring the bound again");
        match (self.beside)(point, self) {
            Ok(capacity) => self.capacity.raise(capacity),
            Err(Fault::Failed(why)) => self.progress.say(&format!("  note: the bound could not be measured again: {why}")),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Writes a row and the histogram behind it.
    ///
    /// # Errors
    /// [`Fault::Results`].
    pub fn emit_with_histogram(&mut self, point: &PlannedPoint, row: Row, log: &HistogramLog<'_>) -> Result<(), Fault> {
        let written = self.folder.write_histogram(&row.point(), row.trial, log);
        written.map_err(|error| Fault::Results(error.to_string()))?;
        self.emit(point, row)
    }

    fn completed(&self, point: &PlannedPoint, mut row: Row, held_back: Throttled) -> Row {
        let setting = &point.setting;
        if let Some(algbw) = row.algbw_gigabytes_per_second
            && setting.nodes > 1
            && setting.fabric.is_some()
        {
            let busbw = setting.load().busbw(algbw);
            row.busbw_gigabytes_per_second = Some(busbw);
            if let Some(bound) = self.capacity.bound(point, self.verify(), self.machine) {
                row.bound_fraction = bound.fraction(busbw);
                row.bound_gigabytes_per_second = Some(bound.gigabytes_per_second);
                row.bound_kind = bound.kind;
            }
        }
        let mut notes = point.notes.clone();
        if row.passes_bound() {
            notes.push("ABOVE ITS BOUND, which was measured again beside it: do not trust the share".to_owned());
        }
        notes.extend(emulated::mark(&mut row, setting.fabric, self.machine, held_back));
        if let (Some(why), Pins::Usual, Some(_)) = (&self.machine.unpinned, &self.request.axes.pin, setting.fabric) {
            notes.push(format!("nodes are not pinned: {why}"));
        }
        if self.machine.hosts.as_ref().is_some_and(|hosts| hosts.same_machine) && setting.nodes > 1 {
            notes.push("several hosts are one machine".to_owned());
        }
        notes.extend((!row.note.is_empty()).then(|| row.note.clone()));
        notes.extend(setting.by_rule());
        row.note = notes.join("; ");
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::experiment::Experiment;
    use crate::ask::fabric::FabricName;
    use crate::ask::plan::Plan;
    use crate::ask::request::Axes;
    use crate::ask::size::{ByteSize, MB};
    use crate::jobs::kinds::FabricKind;
    use crate::run::capacity::Streams;
    use serde_json::Value;

    type Beside = fn(&PlannedPoint, &Stage<'_>) -> Result<Capacity, Fault>;

    /// A point of one sender over TCP that is bound by 2 GB/s, in a run whose bound is `beside` when it is measured
    /// again.
    fn staged<T>(experiment: Experiment, nodes: u32, beside: Beside, run: impl FnOnce(&mut Stage<'_>, &PlannedPoint) -> T) -> T {
        let root = tempfile::tempdir().unwrap();
        let axes =
            Axes { fabric: vec![FabricName::Real(FabricKind::Tcp)], nodes: vec![nodes], size: vec![ByteSize(MB)], ..Axes::default() };
        let request = Request { experiments: vec![experiment], quick: true, axes };
        let machine = Machine { cores: vec![0, 1], memory_bytes: 8 << 30, ..Machine::default() };
        let plan = Plan::of(&request, &machine).unwrap();
        let point = plan.points.iter().find(|point| point.setting.senders == 1).unwrap();
        let mut folder = RunFolder::create(Some(root.path()), "test", Vec::new(), Value::Null, Value::Null).unwrap();
        let (interrupt, progress) = (Interrupt::default(), Progress::new(&[point], 0.0, false));
        let mut stage = Stage {
            interrupt: &interrupt,
            hosts: None,
            machine: &machine,
            request: &request,
            capacity: Capacity { streams: Some(Streams { one: 2.0, all: 2.0 }), ..Capacity::default() },
            beside,
            is_measured_beside: false,
            throttled: Cell::default(),
            folder: &mut folder,
            progress: &progress,
        };
        run(&mut stage, point)
    }

    /// What is written of a point whose senders reach 3 GB/s of what was measured as 2.
    fn emitted(beside: Beside) -> Vec<Row> {
        staged(Experiment::Multicast, 2, beside, |stage, point| {
            stage.begin_trial();
            for trial in 1..=2 {
                let row = Row { trial, algbw_gigabytes_per_second: Some(3.0), ..point.setting.row(None) };
                stage.emit(point, row).unwrap();
            }
            squall_report::read_rows(stage.folder.path()).unwrap().rows
        })
    }

    #[test]
    fn what_a_message_takes_at_its_bound_is_known_beforehand() {
        let seconds =
            |experiment, nodes| staged(experiment, nodes, |_, _| Ok(Capacity::default()), |stage, point| stage.seconds_at_bound(point, 6));
        let mb_seconds = MB as f64 / 2e9;
        assert!((seconds(Experiment::Multicast, 2) / (6.0 * mb_seconds) - 1.0).abs() < 1e-9);
        // Every copy to each of 15 others goes over the same loopback.
        assert!((seconds(Experiment::RdmcSchedules, 16) / (6.0 * 15.0 * mb_seconds) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_bound_that_is_passed_is_measured_again_beside_the_point() {
        let higher =
            |_: &PlannedPoint, _: &Stage<'_>| Ok(Capacity { streams: Some(Streams { one: 4.0, all: 4.0 }), ..Capacity::default() });
        for row in emitted(higher) {
            assert_eq!((row.bound_fraction, row.bound_gigabytes_per_second), (Some(0.75), Some(4.0)));
            assert!(!row.note.contains("ABOVE"), "{}", row.note);
        }
    }

    #[test]
    fn what_still_passes_its_bound_is_marked() {
        for row in emitted(|_, _| Ok(Capacity::default())) {
            assert_eq!(row.bound_fraction, Some(1.5));
            assert!(row.note.contains("ABOVE ITS BOUND"), "{}", row.note);
        }
    }
}
