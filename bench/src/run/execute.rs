//! A run from its request to its end: the loop over points.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::capacity::{self, Capacity};
use super::fault::Fault;
use super::hosts::Hosts;
use super::interrupt::{EXIT_INTERRUPTED, Interrupt};
use super::progress::{Progress, announcement};
use super::stage::Stage;
use super::visits::{Repeats, Visit, visits};
use crate::ask::machine::Machine;
use crate::ask::plan::Plan;
use crate::ask::point::PlannedPoint;
use crate::ask::request::Request;
use crate::ask::setting::Setting;
use squall_report::{Environment, RunFolder, Summary, read_rows};

/// What to run, and where results go.
pub struct Assignment {
    /// What was asked.
    pub request: Request,
    /// The folder, or one that is named by date and time.
    pub out: Option<PathBuf>,
    /// Whether to go on with the run in `out`.
    pub resume: bool,
    /// What to call the run if it has no folder yet.
    pub name: String,
    /// The command line, for the record.
    pub command: Vec<String>,
    /// Whether people want to hear nothing while it goes on.
    pub quiet: bool,
    /// The hosts to spread over, if there are others than this one.
    pub hosts: Option<Hosts>,
}

/// How what is asked for is measured.
pub struct Measures {
    /// What comes before everything else, if anything does.
    pub first: fn(&Request, &mut RunFolder, &Interrupt, &Progress) -> Result<(), Fault>,
    /// About how many seconds that takes.
    pub first_seconds: fn(&Request, &RunFolder) -> f64,
    /// What the machine can do at most, as far as the points of a plan are bound by it.
    pub capacity: fn(&Plan, &Stage<'_>) -> Result<Capacity, Fault>,
    /// The same for one point that passes its bound, while its nodes wait.
    pub beside: fn(&PlannedPoint, &Stage<'_>) -> Result<Capacity, Fault>,
    /// One point, down to its rows.
    pub point: fn(&PlannedPoint, &mut Stage<'_>) -> Result<(), Fault>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ending {
    /// Where the results are, and from which figures and a report can be made.
    pub folder: RunFolder,
    /// What was measured, point by point.
    pub summary: Summary,
    /// Why it ended before its end, if that was not the user.
    pub fault: Option<String>,
    /// Points that failed in this run.
    pub failed: usize,
    /// Points that were skipped.
    pub skipped: usize,
    /// Whether the user ended it.
    pub interrupted: bool,
}

/// Every effective setting, for `run.json`.
#[derive(Serialize, Deserialize)]
struct Effective {
    machine: Machine,
    verify: String,
    capacity: Capacity,
    points: Vec<EffectivePoint>,
}

/// One point of it.
#[derive(Serialize, Deserialize)]
struct EffectivePoint {
    setting: Setting,
    trials: u32,
    trial_seconds: f64,
    memory_bytes: u64,
    notes: Vec<String>,
    skip: Option<String>,
}

impl Effective {
    fn of(plan: &Plan, machine: &Machine, request: &Request, capacity: &Capacity) -> anyhow::Result<Value> {
        let point = |point: &PlannedPoint| EffectivePoint {
            setting: point.setting.clone(),
            trials: point.trials,
            trial_seconds: point.trial_seconds,
            memory_bytes: point.memory_bytes,
            notes: point.notes.clone(),
            skip: point.skip.clone(),
        };
        let effective = Effective {
            machine: machine.clone(),
            verify: request.axes.verify.unwrap_or_default().name().into(),
            capacity: capacity.clone(),
            points: plan.points.iter().map(point).collect(),
        };
        serde_json::to_value(effective).context("the settings as JSON")
    }
}

/// Runs everything, even if only until the user or a fault ends it. What came of it is not drawn yet.
///
/// # Errors
/// If the request contradicts itself, the folder cannot be used, or results cannot be written.
pub fn execute(assignment: &Assignment, measures: &Measures) -> anyhow::Result<Ending> {
    let environment = Environment::collect();
    let mut request = assignment.request.clone();
    let hosts = assignment.hosts.as_ref();
    let (mut machine, others) = survey(&environment, &request, hosts)?;
    let resumed = if assignment.resume { Some(resume(assignment, &mut request, &mut machine)?) } else { None };
    let machine = machine.keep_on(&request.axes.pin);
    let plan = Plan::of(&request, &machine)?;
    let mut folder = match resumed {
        Some(folder) => folder,
        None => {
            let asked = serde_json::to_value(&request).context("the request as JSON")?;
            let effective = Effective::of(&plan, &machine, &request, &Capacity::default())?;
            RunFolder::create(assignment.out.as_deref(), &assignment.name, assignment.command.clone(), asked, effective)?
        }
    };
    folder.write_environment(&environment)?;
    for (index, other) in others.iter().enumerate() {
        folder.write_environment_of(index + 1, other)?;
    }
    let interrupt = match hosts {
        Some(hosts) => hosts.interrupt().clone(),
        None => Interrupt::catch(EXIT_INTERRUPTED)?,
    };
    let mut tally = Tally::default();
    let outcome = run(measures, &plan, &request, (&machine, assignment.quiet), &mut folder, (&interrupt, hosts), &mut tally);
    let fault = outcome.err().filter(|fault| *fault != Fault::Interrupted).map(|fault| fault.to_string());
    let summary = Summary::of(&read_rows(folder.path())?.rows);
    let Tally { failed, skipped } = tally;
    Ok(Ending { folder, summary, fault, failed, skipped, interrupted: interrupt.is_set() })
}

/// What this machine and the others offer; the others' environments.
fn survey(environment: &Environment, request: &Request, hosts: Option<&Hosts>) -> anyhow::Result<(Machine, Vec<Environment>)> {
    let asked = &request.axes.rdma;
    let Some(hosts) = hosts else { return Ok((Machine::of(environment, asked), Vec::new())) };
    let facts = hosts.describe(asked)?;
    let machine = Machine::of(environment, &hosts.own_rdma(asked)).spread_over(&facts);
    Ok((machine, facts.into_iter().map(|facts| facts.environment).collect()))
}

/// Opens the run to go on with; its request counts, unless another one was given.
fn resume(assignment: &Assignment, request: &mut Request, machine: &mut Machine) -> anyhow::Result<RunFolder> {
    let Some(out) = assignment.out.as_deref() else { bail!("--resume continues a run: name its folder with --out") };
    let folder = RunFolder::resume(out)?;
    let record = folder.record();
    let asked: Request =
        serde_json::from_value(record.asked.clone()).with_context(|| format!("{}: what was asked", out.join("run.json").display()))?;
    let unspecific = Request { axes: Default::default(), quick: false, ..assignment.request.clone() };
    if assignment.request != asked && assignment.request != unspecific {
        bail!("{} was made with other axes ({}); give the same axes, or none, or another --out", out.display(), record.command.join(" "));
    }
    if asked.experiments != assignment.request.experiments {
        bail!("{} was made by `{}`; resume it by the same command", out.display(), record.command.join(" "));
    }
    *request = asked;
    if let Ok(effective) = serde_json::from_value::<Effective>(record.effective.clone()) {
        // The same windows as before, even if less memory is free now.
        machine.take_memory_of(&effective.machine)?;
    }
    Ok(folder)
}

#[derive(Debug, Default)]
struct Tally {
    failed: usize,
    skipped: usize,
}

fn run(
    measures: &Measures,
    plan: &Plan,
    request: &Request,
    (machine, quiet): (&Machine, bool),
    folder: &mut RunFolder,
    (interrupt, hosts): (&Interrupt, Option<&Hosts>),
    tally: &mut Tally,
) -> Result<(), Fault> {
    let results = |error: &dyn std::fmt::Display| Fault::Results(error.to_string());
    let is_remaining = |point: &&PlannedPoint| point.setting.points().iter().any(|key| folder.rows().trials(key) < point.trials);
    let remaining: Vec<&PlannedPoint> = plan.points.iter().filter(is_remaining).collect();
    let quick = request.quick;
    let verify = request.axes.verify.unwrap_or_default();
    let first_seconds = (measures.first_seconds)(request, folder);
    let before_seconds = first_seconds + capacity::seconds(&remaining, verify, machine, quick);
    let planned = visits(&remaining, request.axes.interleave);
    let progress = Progress::new(&planned.iter().map(|visit| &visit.point).collect::<Vec<_>>(), before_seconds, quiet);
    progress.say(&format!("results go to {}", folder.path().display()));
    if let Some(why) = &machine.unpinned {
        progress.say(&format!("  note: nodes are not pinned: {why}"));
    }
    folder.rows().notices().iter().for_each(|notice| progress.say(notice));
    announcement(plan, &remaining, before_seconds).iter().for_each(|line| progress.say(line));
    match (measures.first)(request, folder, interrupt, &progress) {
        Err(Fault::Failed(why)) => progress.say(&format!("  note: {why}")),
        other => other?,
    }
    progress.pass(first_seconds);
    let mut stage = Stage {
        interrupt,
        hosts,
        machine,
        request,
        capacity: Capacity::default(),
        beside: measures.beside,
        is_measured_beside: false,
        throttled: Cell::default(),
        folder,
        progress: &progress,
    };
    let left = Plan { points: remaining.iter().map(|&point| point.clone()).collect() };
    progress.begin_bounds();
    match (measures.capacity)(&left, &stage) {
        Ok(capacity) => stage.capacity = capacity,
        Err(Fault::Failed(why)) => progress.say(&format!("no bounds: {why}")),
        Err(fault) => return Err(fault),
    }
    let keep = |stage: &mut Stage<'_>| {
        let effective = Effective::of(plan, machine, request, &stage.capacity).map_err(|error| results(&error))?;
        stage.folder.set_effective(effective).map_err(|error| results(&error))
    };
    keep(&mut stage)?;
    progress.end_bounds(before_seconds);
    let repeats = Repeats::asked(&request.axes);
    let mut lost = BTreeSet::new();
    let mut next = planned;
    let mut done = 0;
    while !next.is_empty() {
        for Visit { at, point } in next {
            done += 1;
            if lost.contains(&at) {
                continue;
            }
            if interrupt.is_set() {
                return Err(Fault::Interrupted);
            }
            progress.begin(&point);
            let outcome = match measured(measures, &point, &mut stage, hosts)? {
                Outcome::Measured => progress.last(),
                Outcome::Skipped(why) => {
                    tally.skipped += 1;
                    lost.insert(at);
                    if point.skip.is_some() {
                        progress.pass_over();
                        continue;
                    }
                    format!("skipped: {why}")
                }
                Outcome::Failed(why) => {
                    tally.failed += 1;
                    lost.insert(at);
                    format!("FAILED: {why}")
                }
            };
            if std::mem::take(&mut stage.is_measured_beside) {
                keep(&mut stage)?;
            }
            progress.end(done, &point, &outcome);
        }
        next = match &repeats {
            Some(repeats) => repeats.next(&remaining, &lost, stage.folder)?,
            None => Vec::new(),
        };
    }
    repeats.and_then(|repeats| repeats.time_is_up()).iter().for_each(|line| progress.say(line));
    progress.finish();
    Ok(())
}

/// What came of a visit to a point.
enum Outcome {
    Measured,
    Skipped(String),
    Failed(String),
}

/// Measures a point, or writes why it has no (further) measurements.
fn measured(measures: &Measures, point: &PlannedPoint, stage: &mut Stage<'_>, hosts: Option<&Hosts>) -> Result<Outcome, Fault> {
    let lost = || hosts.filter(|_| point.setting.fabric.is_some()).and_then(|hosts| hosts.missing(point.setting.nodes));
    if let Some(why) = point.skip.clone().or_else(lost) {
        give_up(stage, point, &why)?;
        return Ok(Outcome::Skipped(why));
    }
    match (measures.point)(point, stage) {
        Ok(()) => Ok(Outcome::Measured),
        Err(Fault::Failed(why)) => {
            give_up(stage, point, &why)?;
            Ok(Outcome::Failed(why))
        }
        Err(fault) => Err(fault),
    }
}

/// Writes why a point has no (further) measurements.
fn give_up(stage: &mut Stage<'_>, point: &PlannedPoint, why: &str) -> Result<(), Fault> {
    for part in point.setting.parts() {
        let mut row = point.setting.row(*part);
        row.note = why.to_owned();
        stage.folder.append(&row).map_err(|error| Fault::Results(error.to_string()))?;
    }
    Ok(())
}

/// How to go on with a run.
pub fn how_to_resume(folder: &Path, name: &str) -> String {
    format!("continue it: squall {name} --resume --out {}", folder.display())
}
