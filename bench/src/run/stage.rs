//! What a running experiment stands on: the request, the machine, its bounds, and where rows go.

use std::time::{Duration, Instant};

use super::cache_line::round_trip_ns;
use super::capacity::Capacity;
use super::fault::Fault;
use super::hosts::Hosts;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::workers::{Workers, WorkersConfig};
use crate::ask::machine::Machine;
use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::request::Request;
use crate::ask::setting::Setting;
use crate::jobs::job::Work;
use crate::jobs::kinds::FabricKind;
use crate::jobs::kinds::Verify;
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

    /// The first trial of a point that was not measured yet, from 1.
    pub fn next_trial(&self, setting: &Setting) -> u32 {
        let measured = setting.points().iter().map(|point| self.folder.rows().trials(point)).min();
        measured.unwrap_or(0) + 1
    }

    /// How long to wait for something that should take `seconds`.
    pub fn patience(&self, seconds: f64) -> Duration {
        self.request.axes.deadline.map_or_else(|| policy::deadline(seconds), Duration::from_secs_f64)
    }

    /// Nodes that meet to open a fabric, each with its work: on this host, or spread over the hosts of the run.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub fn workers(&self, works: Vec<Work>, deadline: Instant) -> Result<Workers<'a>, Fault> {
        let axes = &self.request.axes;
        let cores = self.machine.cores_for(works.len() as u32, &axes.pin);
        let config = WorkersConfig { works, cores, meet: true, rdma: axes.rdma.clone(), hosts: self.hosts };
        Workers::start(config, self.interrupt, deadline)
    }

    /// The round trip of a cache line now, for [`probed`](Stage::probed); none if nodes spin, which would be in its way, or do not share this host.
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

    /// Writes a row, after it is complete but for what is the same in every row of `point`.
    ///
    /// # Errors
    /// [`Fault::Results`].
    pub fn emit(&mut self, point: &PlannedPoint, row: Row) -> Result<(), Fault> {
        let row = self.completed(point, row);
        self.progress.row(&row);
        self.folder.append(&row).map_err(|error| Fault::Results(error.to_string()))
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

    fn completed(&self, point: &PlannedPoint, mut row: Row) -> Row {
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
        let crowded = self.machine.is_crowded(setting.nodes);
        match setting.fabric {
            Some(FabricKind::Shm) if crowded => row.emulated = "oversubscribed".into(),
            Some(FabricKind::Verbs) => row.emulated.clone_from(&self.machine.verbs.emulated),
            _ => {}
        }
        let mut notes = point.notes.clone();
        if crowded && setting.fabric.is_some() {
            notes.push(format!("{} nodes share {} cores", setting.nodes, self.machine.cores.len()));
        }
        if self.machine.hosts.as_ref().is_some_and(|hosts| hosts.same_machine) && setting.nodes > 1 {
            notes.push("several hosts are one machine".to_owned());
        }
        notes.extend((!row.note.is_empty()).then(|| row.note.clone()));
        row.note = notes.join("; ");
        row
    }
}
