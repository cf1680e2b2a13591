//! The points of a sweep on modelled clusters.

use clap::ValueEnum;
use squall_group::Mode;
use squall_study::{Delay, Load, Outcome, Profile, Run, RunError, Senders};

use crate::ask::axes;
use crate::ask::experiment::Experiment;
use crate::ask::orders::{self, Part};
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

/// `given`, or the usual if nothing was.
fn or<T>(given: Vec<T>, usual: Vec<T>) -> Vec<T> {
    if given.is_empty() { usual } else { given }
}

/// A group and what it sends, apart from when and how.
#[derive(Clone, Copy)]
struct Place {
    message_bytes: u64,
    pattern: axes::Senders,
    mode: Mode,
    nodes: u32,
    senders: u32,
}

/// All points of an experiment on one cluster.
pub(super) fn of(request: &Request, experiment: Experiment, profile: &Profile) -> Result<Vec<Point>, UsageError> {
    let mut points = Vec::new();
    for part in parts(experiment, request.quick) {
        let places = places(request, experiment, &part)?;
        for variant in part.variants {
            for &Place { message_bytes, pattern, mode, nodes, senders } in &places {
                profile.check_nodes(nodes as usize).map_err(|error| UsageError(error.to_string()))?;
                let bare = Run::stream(profile, nodes as usize, Senders::One, message_bytes);
                let run = Run { senders: senders as usize, mode, messages: request.axes.messages, ..bare };
                for variant in for_nodes(experiment, variant, nodes, request.quick) {
                    let run = loaded(run.clone(), variant);
                    if run.delay.idle < run.senders {
                        points.extend(shaped(request, experiment, run).into_iter().map(|run| Point { run, pattern, variant }));
                    }
                }
            }
        }
    }
    Ok(points)
}

/// Every place of a part's axes, as far as they were not given otherwise.
fn places(request: &Request, experiment: Experiment, part: &Part) -> Result<Vec<Place>, UsageError> {
    let axes = &request.axes;
    let sizes = or(axes.size.iter().map(|size| size.0).collect(), part.sizes.clone());
    let patterns = or(axes.senders.clone(), part.senders.clone());
    let orderings = or(axes.ordering.clone(), usual_orderings(experiment, request.quick));
    let all_nodes = or(axes.nodes.clone(), part.nodes.clone());
    let mut places = Vec::new();
    for &message_bytes in &sizes {
        for &pattern in &patterns {
            for &ordering in &orderings {
                let Some(mode) = ordering.mode() else {
                    return Err(UsageError(format!(
                        "--ordering {ordering} runs on no modelled cluster; leave it out, or the sim- fabrics"
                    )));
                };
                for &nodes in &all_nodes {
                    let Some(senders) = pattern.count(nodes) else {
                        return Err(UsageError(format!("{pattern} senders do not fit into {nodes} nodes; use fewer --senders")));
                    };
                    places.push(Place { message_bytes, pattern, mode, nodes, senders });
                }
            }
        }
    }
    Ok(places)
}

fn usual_orderings(experiment: Experiment, quick: bool) -> Vec<Ordering> {
    match experiment {
        Experiment::RdmcSchedules | Experiment::RdmcTimeline => vec![Ordering::UNORDERED],
        Experiment::Multicast if !quick => vec![Ordering::UNORDERED, Ordering::ORDERED],
        Experiment::Orders => Ordering::of_groups().to_vec(),
        _ => vec![Ordering::ORDERED],
    }
}

/// What an experiment does, and what it sweeps there if no axis says otherwise.
fn parts(experiment: Experiment, quick: bool) -> Vec<Part> {
    use axes::Senders::{All, Half, One};
    let published = [10 * KB, MB, 100 * MB];
    let (sizes, senders): (&[u64], &[axes::Senders]) = match experiment {
        Experiment::Latency => (&[1, 10 * KB, MB], &[All]),
        Experiment::LatencyLoad => (&[1, 10 * KB], &[All]),
        Experiment::Delay => (&[10 * KB, MB], &[All]),
        Experiment::SmcRate => (&[1, 16, 128, KB, 10 * KB], &[One, All]),
        Experiment::RdmcSchedules => (&[10 * MB, 100 * MB], &[One]),
        Experiment::RdmcTimeline => (&[100 * MB], &[One]),
        Experiment::TcpGap => (&published, &[All]),
        _ => (&published, &[All, Half, One]),
    };
    let nodes: Vec<u32> = match (experiment, quick) {
        (Experiment::Delay | Experiment::LatencyLoad, true) => vec![4],
        (Experiment::Delay | Experiment::LatencyLoad, false) => vec![2, 4, 8, 16],
        (Experiment::RdmcTimeline, _) => vec![4, 8, 16],
        (_, true) => vec![2, 4, 8, 16],
        (_, false) => (2..=16).collect(),
    };
    let part = |variants: Vec<Variant>| Part { variants, sizes: sizes.to_vec(), nodes: nodes.clone(), senders: senders.to_vec() };
    match experiment {
        Experiment::Latency => {
            vec![Part { senders: vec![One], ..part(vec![Variant::Closed]) }, part(vec![Variant::Light, Variant::Saturated])]
        }
        Experiment::LatencyLoad => {
            vec![part(policy::offered_loads(quick).iter().map(|&percent| Variant::Offered { percent }).collect())]
        }
        Experiment::Delay => vec![part(vec![Variant::Delayed(Default::default())])],
        Experiment::TcpGap => {
            vec![part(vec![Variant::Plain]), Part { sizes: vec![1], senders: vec![One], ..part(vec![Variant::Closed]) }]
        }
        Experiment::Orders => orders::parts(quick, true),
        _ => vec![part(vec![Variant::Plain])],
    }
}

/// The variants that depend on the size of the group.
fn for_nodes(experiment: Experiment, variant: Variant, nodes: u32, quick: bool) -> Vec<Variant> {
    match variant {
        Variant::Delayed(_) if experiment == Experiment::Delay => policy::delays(nodes, quick).into_iter().map(Variant::Delayed).collect(),
        other => vec![other],
    }
}

/// The same with what a variant does.
fn loaded(run: Run, variant: Variant) -> Run {
    let each = |total: u64| run.messages.or(Some(total / run.senders as u64 + 20));
    match variant {
        Variant::Closed => Run { load: Load::Closed, messages: each(LATENCY_MESSAGES), ..run },
        Variant::ClosedDelayed(delay) => {
            let run = loaded(run, Variant::Delayed(delay));
            loaded(run, Variant::Closed)
        }
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
