//! Experiments on modelled clusters: the same sweeps, in virtual time, in this process.

mod points;
pub(super) mod row;

use std::path::{Path, PathBuf};

use anyhow::Context;
use squall_report::{Environment, Row, RunFolder, Summary, read_rows, units};
use squall_study::parallel::on_all_cores;
use squall_study::{Load, Outcome, Profile, Run, RunError};

use super::timeline::measure_modelled as measure_timeline;
use crate::ask::axes::Pins;
use crate::ask::effect::given_rdma;
use crate::ask::experiment::Experiment;
use crate::ask::fabric::FabricName;
use crate::ask::plan::check_axes;
use crate::ask::policy::TRIALS;
use crate::ask::request::{Axes, Request, UsageError};
use crate::run::progress::headline;
use crate::run::steps::Steps;
use points::Point;

/// Whether the request makes sense on a model.
///
/// # Errors
/// What does not, with the mend.
pub fn check(request: &Request, hosts: bool, resume: bool) -> Result<(), UsageError> {
    let axes = &request.axes;
    let refused = [
        (hosts, "squall node", "has hosts of its own: use `squall run`, with --nodes for their number"),
        (axes.pin != Pins::Usual, "--pin", "has no cores to pin to"),
        (axes.perftest, "--perftest", "has no device that perftest could measure"),
        (axes.membership, "--membership", "loses no member"),
        (axes.verify.is_some(), "--verify", "moves no payload that could be verified"),
        (axes.spin, "--spin", "waits as its profile says (cpu.spin_us)"),
        (axes.deadline.is_some(), "--deadline", "runs in virtual time and ends by itself"),
        (resume, "--resume", "repeats a run by its seeds in no more time: give a new --out"),
        (axes.lost_after.is_some(), "--lost-after", "loses no host"),
        (axes.seconds.is_some(), "--seconds", "runs in virtual time: give --messages"),
    ];
    if let Some((_, what, why)) = refused.into_iter().find(|(given, ..)| *given) {
        return Err(UsageError(format!("{what} does not go with a modelled cluster (sim-*), which {why}")));
    }
    if let Some(flag) = given_rdma(&axes.rdma).next() {
        return Err(UsageError(format!("--{flag} does not go with a modelled cluster (sim-*), which has no device; leave it out")));
    }
    if let Some(real) = axes.fabric.iter().find(|fabric| fabric.real().is_some()) {
        return Err(UsageError(format!(
            "--fabric {real} is measured and sim-* is computed: run them apart, and put them side by side with `squall compare`"
        )));
    }
    match request.experiments.as_slice() {
        [experiment] if !experiment.is_modelled() => Err(UsageError(format!(
            "{experiment} does not run on a modelled cluster; multicast, smc-rate, rdmc-schedules, rdmc-timeline, latency, \
             latency-load, delay, tcp-gap and orders do"
        ))),
        [_] => check_axes(request),
        _ => Err(UsageError("reproduce measures this machine; on a modelled cluster use `squall run` or `squall study`".into())),
    }
}

/// Runs every point: the folder, what was measured, and how many points failed.
///
/// # Errors
/// A profile that is none, a folder that cannot be used, results that cannot be written.
pub fn measure(request: &Request, out: Option<&Path>, name: &str, quiet: bool) -> anyhow::Result<(RunFolder, Summary, usize)> {
    let profiles = profiles(request)?;
    let experiment = request.experiments[0];
    if experiment == Experiment::TcpGap {
        let kernels = profiles.iter().filter(|profile| profile.kernel.is_some()).count();
        if kernels == 0 || kernels == profiles.len() {
            let why = "tcp-gap puts a fast fabric beside TCP: give both, such as --fabric sim-rdma-100g,sim-tcp-100g";
            return Err(UsageError(why.into()).into());
        }
    }
    let mut all = Vec::new();
    for profile in &profiles {
        all.extend(points::of(request, experiment, profile)?);
    }
    let asked = serde_json::to_value(request).context("the request as JSON")?;
    let mut folder = RunFolder::create(out, name, std::env::args().collect(), asked, serde_json::Value::Null)?;
    folder.write_environment(&Environment::collect())?;
    let trials = request.axes.trials.unwrap_or(TRIALS);
    let failed = match experiment {
        Experiment::RdmcTimeline => traced(&all, trials, &mut folder)?,
        _ => run(experiment, &all, trials, &mut folder, quiet)?,
    };
    let summary = Summary::of(&read_rows(folder.path())?.rows);
    Ok((folder, summary, failed))
}

/// Orders side by side on one cluster, as rows of `orders` in the folder of another run; how many points failed. Who
/// wants to hear nothing meanwhile is `quiet`.
///
/// # Errors
/// A profile that is not built in, results that cannot be written.
pub fn compare_orders(profile: &str, quick: bool, folder: &mut RunFolder, quiet: bool) -> anyhow::Result<usize> {
    let request = Request { experiments: vec![Experiment::Orders], quick, axes: Axes::default() };
    let points = points::of(&request, Experiment::Orders, &Profile::built_in(profile)?)?;
    run(Experiment::Orders, &points, 1, folder, quiet)
}

/// Runs the points, each by as many seeds as there are trials; how many failed.
fn run(experiment: Experiment, points: &[Point], trials: u32, folder: &mut RunFolder, quiet: bool) -> anyhow::Result<usize> {
    let orders = experiment == Experiment::Orders;
    let experiment = experiment.to_string();
    let all: Vec<(&Point, u32)> = points.iter().flat_map(|point| (1..=trials).map(move |trial| (point, trial))).collect();
    let mut failed = 0;
    let first = format!("{} on a model of a cluster", units::counted(points.len(), "point"));
    let steps = Steps::new(all.len() as u64, &first, quiet);
    let each = |(point, trial): &(&Point, u32), done: Result<(Run, Outcome), RunError>| -> anyhow::Result<()> {
        let pattern = point.pattern.to_string();
        match done {
            Ok((run, outcome)) => {
                let costs = orders.then(|| row::beside_the_rule(&run, &outcome));
                for &part in row::parts(point.variant) {
                    let row = Row { trial: *trial, ..row::row(&experiment, &run, &pattern, (point.variant, part), &outcome) };
                    let row =
                        Row { note: [Some(row.note.clone()), costs.clone()].into_iter().flatten().collect::<Vec<_>>().join("; "), ..row };
                    folder.append(&row)?;
                    steps.done(format!("{} #{trial}: {}", row.point(), headline(&row)));
                }
            }
            // What cannot run cannot by any seed: it is told once.
            Err(_) if *trial > 1 => {}
            Err(error) => {
                failed += 1;
                steps.done(format!("FAILED: {error}"));
                for &part in row::parts(point.variant) {
                    let named = row::named(&experiment, &point.run, &pattern, point.variant, part);
                    folder.append(&Row { note: error.to_string(), ..named })?;
                }
            }
        }
        Ok(())
    };
    on_all_cores(&all, |(point, trial)| point.run(u64::from(*trial)), each)?;
    Ok(failed)
}

/// Runs the points of `rdmc-timeline`, of which each trial has files of its own; how many failed.
fn traced(points: &[Point], trials: u32, folder: &mut RunFolder) -> anyhow::Result<usize> {
    let experiment = Experiment::RdmcTimeline.to_string();
    for (point, trial) in points.iter().flat_map(|point| (1..=trials).map(move |trial| (point, trial))) {
        let run = Run { messages: Some(1), load: Load::Closed, seed: trial.into(), ..point.run.clone() };
        let pattern = point.pattern.to_string();
        let row = |part: &str, outcome: Option<&Outcome>| {
            let bare = match outcome {
                Some(outcome) => row::row(&experiment, &run, &pattern, (point.variant, None), outcome),
                None => row::named(&experiment, &run, &pattern, point.variant, None),
            };
            Row { schedule: format!("{}-{part}", bare.schedule), ..bare }
        };
        measure_timeline(folder, &run, trial, row)?;
    }
    Ok(0)
}

/// Those that were named, and those in files.
fn profiles(request: &Request) -> anyhow::Result<Vec<Profile>> {
    let axes = &request.axes;
    let read = |path: &PathBuf| -> anyhow::Result<Profile> {
        let bytes = squall_report::read_file(path).context("--profile")?;
        let text = String::from_utf8(bytes).with_context(|| format!("--profile {}", path.display()))?;
        let own = Profile::parse(&text, &path.display().to_string())?;
        match Profile::built_in(&own.name) {
            Ok(known) if known != own => {
                let why = format!(
                    "profile {}: `name` is `{}`, that of a built-in profile, whose rows these would be taken for; give it another name",
                    path.display(),
                    own.name
                );
                Err(UsageError(why).into())
            }
            _ => Ok(own),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_across_hosts_is_told_that_a_model_has_its_own() {
        let axes = Axes { fabric: vec![FabricName::Modelled("sim-rdma-100g".into())], ..Axes::default() };
        let request = Request { experiments: vec![Experiment::Multicast], quick: false, axes };
        let error = check(&request, true, false).unwrap_err();
        assert!(error.0.contains("squall node") && error.0.contains("--nodes"), "{error}");
        check(&request, false, false).unwrap();
    }
}
