//! The points of a sweep on modelled clusters.

use clap::ValueEnum;
use squall_group::Mode;
use squall_study::{Delay, Load, Outcome, Profile, Run, RunError, Senders};

use crate::ask::axes;
use crate::ask::experiment::Experiment;
use crate::ask::policy;
use crate::ask::request::{Request, UsageError};
use crate::ask::setting::Variant;
use crate::ask::size::{KB, MB};
use crate::jobs::kinds::{Ordering, Schedule};

/// At a light load a sender's messages are this far apart, and so many times what one takes on the line.
const LIGHT_PS: u64 = 50_000_000;
const LIGHT_TIMES: f64 = 20.0;
/// Messages whose latency is taken, of all senders.
const LATENCY_MESSAGES: u64 = 300;
/// The same at an offered load: what is late adds up over them.
const OFFERED_MESSAGES: u64 = 4000;

/// One point of a sweep.
pub(super) struct Point {
    pub(super) run: Run,
    pub(super) pattern: axes::Senders,
    pub(super) variant: Variant,
}

impl Point {
    /// Runs it by this seed; what ran, and what came out.
    pub(super) fn run(&self, seed: u64) -> Result<(Run, Outcome), RunError> {
        let run = Run { seed, ..self.run.clone() };
        let run = match self.variant {
            Variant::Offered { percent } => {
                // What is delivered at most, then a part of it or more.
                let full = run.run()?;
                let gap_ps = full.seconds / full.messages as f64 * 1e12 * 100.0 / f64::from(percent);
                Run { load: Load::Paced { interval_ps: (gap_ps as u64).max(1) }, ..run }
            }
            _ => run,
        };
        let outcome = run.run()?;
        Ok((run, outcome))
    }
}

/// What an experiment sweeps where no axis says otherwise.
struct Usual {
    sizes: Vec<u64>,
    patterns: Vec<axes::Senders>,
    orderings: Vec<Ordering>,
    nodes: Vec<u64>,
}

impl Usual {
    fn of(experiment: Experiment, quick: bool) -> Usual {
        use axes::Senders::{All, Half, One};
        let published = [10 * KB, MB, 100 * MB];
        let (sizes, patterns): (&[u64], &[axes::Senders]) = match experiment {
            Experiment::Latency => (&[1, 10 * KB, MB], &[]),
            Experiment::LatencyLoad => (&[1, 10 * KB], &[All]),
            Experiment::Delay => (&[10 * KB, MB], &[All]),
            Experiment::SmcRate => (&[1, 16, 128, KB, 10 * KB], &[One, All]),
            Experiment::RdmcSchedules => (&[10 * MB, 100 * MB], &[One]),
            Experiment::RdmcTimeline => (&[100 * MB], &[One]),
            Experiment::TcpGap => (&published, &[All]),
            _ => (&published, &[All, Half, One]),
        };
        let orderings: &[Ordering] = match experiment {
            Experiment::RdmcSchedules | Experiment::RdmcTimeline => &[Ordering::Unordered],
            Experiment::Multicast if !quick => &[Ordering::Unordered, Ordering::Ordered],
            _ => &[Ordering::Ordered],
        };
        let nodes: Vec<u64> = match (experiment, quick) {
            (Experiment::Delay | Experiment::LatencyLoad, true) => vec![4],
            (Experiment::Delay | Experiment::LatencyLoad, false) => vec![2, 4, 8, 16],
            (Experiment::RdmcTimeline, _) => vec![4, 8, 16],
            (_, true) => vec![2, 4, 8, 16],
            (_, false) => (2..=16).collect(),
        };
        Usual { sizes: sizes.to_vec(), patterns: patterns.to_vec(), orderings: orderings.to_vec(), nodes }
    }
}

/// `given`, or the usual if nothing was.
fn or<T>(given: Vec<T>, usual: Vec<T>) -> Vec<T> {
    if given.is_empty() { usual } else { given }
}

/// All points of an experiment on one cluster.
pub(super) fn of(request: &Request, experiment: Experiment, profile: &Profile) -> Result<Vec<Point>, UsageError> {
    let axes = &request.axes;
    let usual = Usual::of(experiment, request.quick);
    let sizes = or(axes.size.iter().map(|size| size.0).collect(), usual.sizes);
    let all_nodes = or(axes.nodes.iter().map(|&nodes| nodes.into()).collect(), usual.nodes);
    let orderings = or(axes.ordering.clone(), usual.orderings);
    let mut points = Vec::new();
    for (variant, patterns) in variants(experiment, request.quick, usual.patterns) {
        let sizes =
            if experiment == Experiment::TcpGap && variant == Variant::Closed && axes.size.is_empty() { vec![1] } else { sizes.clone() };
        for &message_bytes in &sizes {
            for &pattern in &or(axes.senders.clone(), patterns.clone()) {
                for &ordering in &orderings {
                    for &nodes in &all_nodes {
                        let Some(senders) = pattern.count(nodes as u32) else {
                            return Err(UsageError(format!("{pattern} senders do not fit into {nodes} nodes; use fewer --senders")));
                        };
                        profile.check_nodes(nodes as usize).map_err(|error| UsageError(error.to_string()))?;
                        let run = Run {
                            senders: senders as usize,
                            mode: if ordering == Ordering::Ordered { Mode::Ordered } else { Mode::Unordered },
                            messages: axes.messages,
                            ..Run::stream(profile, nodes as usize, Senders::One, message_bytes)
                        };
                        for variant in for_nodes(variant, nodes as u32, request.quick) {
                            let run = loaded(run.clone(), variant);
                            if run.delay.idle < run.senders {
                                points.extend(shaped(request, experiment, run).into_iter().map(|run| Point { run, pattern, variant }));
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(points)
}

/// What an experiment does at each place of its axes, and who sends then.
fn variants(experiment: Experiment, quick: bool, patterns: Vec<axes::Senders>) -> Vec<(Variant, Vec<axes::Senders>)> {
    use axes::Senders::{All, One};
    match experiment {
        Experiment::Latency => vec![(Variant::Closed, vec![One]), (Variant::Light, vec![All]), (Variant::Saturated, vec![All])],
        Experiment::LatencyLoad => {
            let loads = policy::offered_loads(quick).iter();
            loads.map(|&percent| (Variant::Offered { percent }, patterns.clone())).collect()
        }
        Experiment::Delay => vec![(Variant::Delayed(Default::default()), patterns)],
        Experiment::TcpGap => vec![(Variant::Plain, patterns), (Variant::Closed, vec![One])],
        _ => vec![(Variant::Plain, patterns)],
    }
}

/// The variants that depend on the size of the group.
fn for_nodes(variant: Variant, nodes: u32, quick: bool) -> Vec<Variant> {
    match variant {
        Variant::Delayed(_) => policy::delays(nodes, quick).into_iter().map(Variant::Delayed).collect(),
        other => vec![other],
    }
}

/// The same with what a variant does.
fn loaded(run: Run, variant: Variant) -> Run {
    let each = |total: u64| run.messages.or(Some(total / run.senders as u64 + 20));
    match variant {
        Variant::Closed => Run { load: Load::Closed, messages: each(LATENCY_MESSAGES), ..run },
        Variant::Light => {
            let line_ps = run.message_bytes as f64 * run.nodes as f64 / run.bound_bytes_per_s() * 1e12;
            let interval_ps = LIGHT_PS.max((LIGHT_TIMES * line_ps) as u64);
            Run { load: Load::Paced { interval_ps }, messages: each(LATENCY_MESSAGES), ..run }
        }
        Variant::Offered { .. } => {
            let window = run.window.or_else(|| (!run.is_relayed()).then_some(policy::SATURATED_WINDOW));
            Run { window, messages: if run.is_relayed() { run.messages } else { each(OFFERED_MESSAGES) }, ..run }
        }
        Variant::Delayed(delay) => {
            let (slow, idle) = (delay.slow as usize, delay.idle as usize);
            Run { delay: Delay { slow, slower_by: f64::from(delay.percent) / 100.0, idle }, ..run }
        }
        _ => run,
    }
}

/// The same with every window, block and schedule that was given.
fn shaped(request: &Request, experiment: Experiment, run: Run) -> Vec<Run> {
    let axes = &request.axes;
    let windows: Vec<Option<u64>> = if axes.window.is_empty() { vec![run.window] } else { axes.window.iter().copied().map(Some).collect() };
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
