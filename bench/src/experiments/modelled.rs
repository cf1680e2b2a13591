//! Experiments on modelled clusters: the same sweeps, in virtual time, in this process.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use squall_group::Mode;
use squall_report::bounds::{Carriage, Load as BoundLoad};
use squall_report::{Environment, Row, RunFolder, Summary, read_rows, units};
use squall_study::{Load, Outcome, Profile, Run, Senders};

use super::timeline::measure_modelled as measure_timeline;
use crate::ask::axes::{self, Pins};
use crate::ask::experiment::Experiment;
use crate::ask::fabric::FabricName;
use crate::ask::policy::TRIALS;
use crate::ask::request::{Request, UsageError};
use crate::ask::setting::AT_SENDER;
use crate::ask::size::{KB, MB};
use crate::jobs::kinds::{Ordering, Schedule};
use crate::run::progress::headline;
use crate::run::steps::Steps;

/// What the column `emulated` says.
const SIMULATED: &str = "simulated";
/// The same for the note of each row.
const NOTE: &str = "a model of a cluster, in virtual time: payloads are not moved, deliveries are compared across nodes";
/// At a light load a sender's messages are this far apart, and so many times what one takes on the line.
const LIGHT_PS: u64 = 50_000_000;
const LIGHT_TIMES: f64 = 20.0;
/// Messages whose latency is taken.
const LATENCY_MESSAGES: u64 = 300;

/// One point of a sweep.
struct Point {
    run: Run,
    pattern: axes::Senders,
    /// What is done, where an experiment does several things.
    variant: Option<&'static str>,
}

/// Whether the request makes sense on a model.
///
/// # Errors
/// What does not, with the mend.
pub fn check(request: &Request, hosts: bool, resume: bool) -> Result<(), UsageError> {
    let axes = &request.axes;
    let refused = [
        (hosts, "hosts", "runs on modelled hosts only: leave `squall node` out"),
        (axes.pin != Pins::Usual, "--pin", "has no cores to pin to"),
        (axes.perftest, "--perftest", "has no device that perftest could measure"),
        (axes.membership, "--membership", "loses no member"),
        (resume, "--resume", "repeats a run by its seeds in no more time: give a new --out"),
        (axes.lost_after.is_some(), "--lost-after", "loses no host"),
        (axes.seconds.is_some(), "--seconds", "runs in virtual time: give --messages"),
    ];
    if let Some((_, what, why)) = refused.into_iter().find(|(given, ..)| *given) {
        return Err(UsageError(format!("{what} does not go with a modelled cluster (sim-*), which {why}")));
    }
    if let Some(real) = axes.fabric.iter().find(|fabric| fabric.real().is_some()) {
        return Err(UsageError(format!(
            "--fabric {real} is measured and sim-* is computed: run them apart, and put them side by side with `squall compare`"
        )));
    }
    match request.experiments.as_slice() {
        [Experiment::Multicast | Experiment::SmcRate | Experiment::RdmcSchedules | Experiment::RdmcTimeline | Experiment::Latency] => {
            Ok(())
        }
        [other] => Err(UsageError(format!(
            "{other} does not run on a modelled cluster; multicast, smc-rate, rdmc-schedules, rdmc-timeline and latency do"
        ))),
        _ => Err(UsageError("reproduce measures this machine; on a modelled cluster use `squall run` or `squall study`".into())),
    }
}

/// Runs every point: the folder, what was measured, and how many points failed.
///
/// # Errors
/// A profile that is none, a folder that cannot be used, results that cannot be written.
pub fn measure(request: &Request, out: Option<&Path>, name: &str) -> anyhow::Result<(RunFolder, Summary, usize)> {
    let profiles = profiles(request)?;
    let experiment = request.experiments[0];
    let mut all = Vec::new();
    for profile in &profiles {
        all.extend(points(request, experiment, profile)?);
    }
    let asked = serde_json::to_value(request).context("the request as JSON")?;
    let mut folder = RunFolder::create(out, name, std::env::args().collect(), asked, serde_json::Value::Null)?;
    folder.write_environment(&Environment::collect())?;
    let mut failed = 0;
    let trials = request.axes.trials.unwrap_or(TRIALS);
    let steps = Steps::new(all.len() as u64, &format!("{} on a model of a cluster", units::counted(all.len(), "point")));
    for point in &all {
        let mut said = String::new();
        for trial in 1..=trials {
            let run = Run { seed: u64::from(trial), ..point.run.clone() };
            if experiment == Experiment::RdmcTimeline {
                traced(&mut folder, &run, &point.pattern.to_string(), trial)?;
                continue;
            }
            match run.run() {
                Ok(outcome) => {
                    let row = Row { trial, ..row(experiment, &run, &point.pattern.to_string(), point.variant, &outcome) };
                    said = format!("{}: {}", row.point(), headline(&row));
                    folder.append(&row)?;
                }
                Err(error) => {
                    failed += 1;
                    said = format!("FAILED: {error}");
                    folder
                        .append(&Row { note: error.to_string(), ..named(experiment, &run, &point.pattern.to_string(), point.variant) })?;
                    break;
                }
            }
        }
        steps.done(said);
    }
    drop(steps);
    let summary = Summary::of(&read_rows(folder.path())?.rows);
    Ok((folder, summary, failed))
}

/// One message of `rdmc-timeline`.
fn traced(folder: &mut RunFolder, run: &Run, pattern: &str, trial: u32) -> anyhow::Result<()> {
    let run = Run { messages: Some(1), load: Load::Closed, ..run.clone() };
    let row = |part: &str, outcome: Option<&Outcome>| {
        let bare = match outcome {
            Some(outcome) => row(Experiment::RdmcTimeline, &run, pattern, None, outcome),
            None => named(Experiment::RdmcTimeline, &run, pattern, None),
        };
        Row { schedule: format!("{}-{part}", bare.schedule), ..bare }
    };
    Ok(measure_timeline(folder, &run, trial, row)?)
}

/// Those that were named, and those in files.
fn profiles(request: &Request) -> anyhow::Result<Vec<Profile>> {
    let axes = &request.axes;
    let read = |path: &PathBuf| -> anyhow::Result<Profile> {
        let text = std::fs::read_to_string(path).with_context(|| format!("--profile {}", path.display()))?;
        Ok(Profile::parse(&text, &path.display().to_string())?)
    };
    let mut own = axes.profile.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let mut profiles = Vec::new();
    for name in axes.fabric.iter().filter_map(FabricName::modelled) {
        match own.iter().position(|profile| profile.name == name) {
            Some(at) => profiles.push(own.remove(at)),
            None => profiles.push(Profile::built_in(name)?),
        }
    }
    profiles.append(&mut own);
    Ok(profiles)
}

fn points(request: &Request, experiment: Experiment, profile: &Profile) -> Result<Vec<Point>, UsageError> {
    let (axes, quick) = (&request.axes, request.quick);
    let or = |given: Vec<u64>, usual: &[u64]| if given.is_empty() { usual.to_vec() } else { given };
    let (sizes, patterns, orderings): (&[u64], Vec<axes::Senders>, Vec<Ordering>) = match experiment {
        Experiment::Latency => (&[1, 10 * KB, MB], vec![], vec![Ordering::Ordered]),
        Experiment::SmcRate => (&[1, 16, 128, KB, 10 * KB], vec![axes::Senders::One, axes::Senders::All], vec![Ordering::Ordered]),
        Experiment::RdmcSchedules => (&[10 * MB, 100 * MB], vec![axes::Senders::One], vec![Ordering::Unordered]),
        Experiment::RdmcTimeline => (&[100 * MB], vec![axes::Senders::One], vec![Ordering::Unordered]),
        _ => (
            &[10 * KB, MB, 100 * MB],
            vec![axes::Senders::All, axes::Senders::Half, axes::Senders::One],
            if quick { vec![Ordering::Ordered] } else { vec![Ordering::Unordered, Ordering::Ordered] },
        ),
    };
    let sizes = or(axes.size.iter().map(|size| size.0).collect(), sizes);
    let every: Vec<u64> = match experiment {
        Experiment::RdmcTimeline => vec![4, 8, 16],
        _ if quick => vec![2, 4, 8, 16],
        _ => (2..=16).collect(),
    };
    let nodes = or(axes.nodes.iter().map(|&nodes| nodes.into()).collect(), &every);
    let given = |usual: Vec<axes::Senders>| if axes.senders.is_empty() { usual } else { axes.senders.clone() };
    let orderings = if axes.ordering.is_empty() { orderings } else { axes.ordering.clone() };
    let variants: Vec<(Option<&'static str>, Vec<axes::Senders>)> = match experiment {
        Experiment::Latency => vec![
            (Some("closed"), given(vec![axes::Senders::One])),
            (Some("light"), given(vec![axes::Senders::All])),
            (Some("saturated"), given(vec![axes::Senders::All])),
        ],
        _ => vec![(None, given(patterns))],
    };
    let mut points = Vec::new();
    for (variant, patterns) in variants {
        for &message_bytes in &sizes {
            for &pattern in &patterns {
                for &ordering in &orderings {
                    for &nodes in &nodes {
                        let Some(senders) = pattern.count(nodes as u32) else {
                            return Err(UsageError(format!("{pattern} senders do not fit into {nodes} nodes; use fewer --senders")));
                        };
                        let run = Run {
                            senders: senders as usize,
                            mode: if ordering == Ordering::Ordered { Mode::Ordered } else { Mode::Unordered },
                            messages: axes.messages,
                            ..Run::stream(profile, nodes as usize, Senders::One, message_bytes)
                        };
                        let run = loaded(run, variant);
                        points.extend(shaped(request, experiment, run).into_iter().map(|run| Point { run, pattern, variant }));
                    }
                }
            }
        }
    }
    Ok(points)
}

/// The same with what a variant of `latency` does.
fn loaded(run: Run, variant: Option<&str>) -> Run {
    let messages = run.messages.or(Some(LATENCY_MESSAGES / run.senders as u64 + 20));
    match variant {
        Some("closed") => Run { load: Load::Closed, messages, ..run },
        Some("light") => {
            let line_ps = run.message_bytes as f64 * run.nodes as f64 / run.bound_bytes_per_s() * 1e12;
            Run { load: Load::Paced { interval_ps: LIGHT_PS.max((LIGHT_TIMES * line_ps) as u64) }, messages, ..run }
        }
        _ => run,
    }
}

/// The same with every window, block and schedule that was given.
fn shaped(request: &Request, experiment: Experiment, run: Run) -> Vec<Run> {
    let axes = &request.axes;
    let windows: Vec<Option<u64>> = if axes.window.is_empty() { vec![None] } else { axes.window.iter().copied().map(Some).collect() };
    let blocks: Vec<Option<u64>> = if axes.block.is_empty() { vec![None] } else { axes.block.iter().map(|block| Some(block.0)).collect() };
    let schedules: Vec<Option<Schedule>> = match (&axes.schedule[..], experiment) {
        ([], Experiment::RdmcSchedules) => Schedule::value_variants().iter().copied().map(Some).collect(),
        ([], _) => vec![None],
        (given, _) => given.iter().copied().map(Some).collect(),
    };
    let mut runs = Vec::new();
    for &window in &windows {
        for &block in &blocks {
            for &schedule in &schedules {
                let block_bytes = block.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
                let schedule = schedule.and_then(|schedule| schedule.to_string().parse().ok());
                runs.push(Run { window, block_bytes, schedule, ..run.clone() });
            }
        }
    }
    runs
}

/// A row that names the point.
fn named(experiment: Experiment, run: &Run, pattern: &str, variant: Option<&str>) -> Row {
    let how = if run.is_relayed() { run.schedule().name() } else { "direct" };
    let part = variant.map(|_| AT_SENDER);
    Row {
        experiment: experiment.to_string(),
        fabric: run.profile.name.clone(),
        ordering: if run.mode == Mode::Ordered { "ordered" } else { "unordered" }.into(),
        nodes: run.nodes as u32,
        senders: run.senders as u32,
        sender_pattern: pattern.to_owned(),
        message_bytes: run.message_bytes,
        window: Some(run.window()),
        block_bytes: run.is_relayed().then(|| run.block_bytes().into()),
        schedule: [Some(how), variant, part].into_iter().flatten().collect::<Vec<_>>().join("-"),
        emulated: SIMULATED.into(),
        ..Row::default()
    }
}

/// The row of one run.
pub fn row(experiment: Experiment, run: &Run, pattern: &str, variant: Option<&str>, outcome: &Outcome) -> Row {
    let relayed = run.is_relayed() && run.schedule() != squall_rdmc::schedule::ScheduleKind::Sequential;
    let carriage = if relayed { Carriage::Relayed } else { Carriage::Direct };
    let load = BoundLoad { nodes: run.nodes as u32, senders: run.senders as u32, carriage };
    let algbw = outcome.bytes_per_s / 1e9;
    let (busbw, bound) = (load.busbw(algbw), run.profile.payload_bytes_per_s() / 1e9);
    let sum = |of: fn(&squall_group::Stats) -> u64| outcome.stats.iter().map(of).sum::<u64>();
    let mean = |total: u64, batches: u64| (batches > 0).then(|| total as f64 / batches as f64);
    let us = |at| (outcome.latency.count() > 0 && variant.is_some()).then(|| outcome.latency.us(at));
    let streams = variant.is_none_or(|variant| variant == "saturated");
    Row {
        messages_per_sender: Some(outcome.messages),
        seconds: Some(outcome.seconds),
        algbw_gigabytes_per_second: streams.then_some(algbw),
        busbw_gigabytes_per_second: streams.then_some(busbw),
        bound_gigabytes_per_second: streams.then_some(bound),
        bound_kind: if streams { "modelled links".into() } else { String::new() },
        bound_fraction: streams.then_some(busbw / bound),
        messages_per_second: Some(outcome.messages as f64 * run.senders as f64 / outcome.seconds),
        latency_us_min: us(0.0),
        latency_us_p50: us(0.5),
        latency_us_p90: us(0.9),
        latency_us_p99: us(0.99),
        latency_us_p999: us(0.999),
        latency_us_max: us(1.0),
        cpu_seconds: Some(outcome.core_busy.iter().sum::<f64>() * outcome.seconds),
        nulls: Some(sum(|stats| stats.nulls_sent)),
        send_batch_mean: mean(sum(|stats| stats.messages_sent + stats.nulls_sent), sum(|stats| stats.send_batches)),
        receive_batch_mean: mean(sum(|stats| stats.received), sum(|stats| stats.receive_batches)),
        delivery_batch_mean: mean(sum(|stats| stats.delivered), sum(|stats| stats.delivery_batches)),
        verified: "none".into(),
        note: NOTE.into(),
        ..named(experiment, run, pattern, variant)
    }
}
