//! From a request to the points that will run, each with its memory and its time, before anything starts.

use super::machine::Machine;
use super::memory::memory_bytes;
use super::policy;
use super::request::{Axes, Request, UsageError};
use super::setting::{CopyVariant, Setting, Variant};
use crate::ask::axes::Senders;
use crate::ask::experiment::Experiment;
use crate::ask::size::ByteSize;
use crate::ask::upset::Upset;
use crate::jobs::copy::Method;
use crate::jobs::kinds::{FabricKind, Ordering, Schedule};
use crate::jobs::shape::SMALL_MAX;
use crate::jobs::shape::Shape;
use squall_report::bounds::Warmth;
use squall_report::units;

/// Everything that will run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The points, in order.
    pub points: Vec<PlannedPoint>,
}

/// One point, and what is known of it beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedPoint {
    /// What will run.
    pub setting: Setting,
    /// Measured trials.
    pub trials: u32,
    /// Seconds one of them should take.
    pub trial_seconds: f64,
    /// Registered memory of all nodes together.
    pub memory_bytes: u64,
    /// Seconds for all of it.
    pub seconds: f64,
    /// What is not as asked or as usual, one sentence each.
    pub notes: Vec<String>,
    /// Why it will not run.
    pub skip: Option<String>,
}

impl Plan {
    /// The points that `request` asks for, on this machine.
    ///
    /// # Errors
    /// A contradiction in the request.
    pub fn of(request: &Request, machine: &Machine) -> Result<Plan, UsageError> {
        check_axes(request)?;
        check_pins(&request.axes, machine)?;
        check_hosts(&request.axes, machine)?;
        let mut points = Vec::new();
        for &experiment in &request.experiments {
            let sweep = Sweep { experiment, request, machine };
            let settings = match experiment {
                Experiment::Memcpy => sweep.memcpy(),
                Experiment::Write => sweep.write(),
                Experiment::SmcRate => sweep.smc_rate()?,
                Experiment::Multicast => sweep.multicast()?,
                Experiment::Latency => sweep.latency()?,
                Experiment::ViewChange => sweep.view_change()?,
            };
            for setting in settings {
                points.push(sweep.planned(setting)?);
            }
        }
        Ok(Plan { points })
    }

    /// Seconds for all points that run.
    pub fn seconds(&self) -> f64 {
        self.points.iter().filter(|point| point.skip.is_none()).map(|point| point.seconds).sum()
    }
}

/// The axes that were given, by their flags' names.
fn given_axes(axes: &Axes) -> Vec<&'static str> {
    let given = [
        ("fabric", !axes.fabric.is_empty()),
        ("nodes", !axes.nodes.is_empty()),
        ("size", !axes.size.is_empty()),
        ("senders", !axes.senders.is_empty()),
        ("ordering", !axes.ordering.is_empty()),
        ("window", !axes.window.is_empty()),
        ("block", !axes.block.is_empty()),
        ("schedule", !axes.schedule.is_empty()),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
}

/// One experiment by itself must take every axis that was given; `reproduce` gives each what it takes.
fn check_axes(request: &Request) -> Result<(), UsageError> {
    let [experiment] = request.experiments[..] else { return Ok(()) };
    let taken = experiment.axes();
    match given_axes(&request.axes).into_iter().find(|given| !taken.contains(given)) {
        None => Ok(()),
        Some(axis) => {
            let taken = taken.iter().map(|axis| format!("--{axis}")).collect::<Vec<_>>().join(", ");
            Err(UsageError(format!("{experiment} does not sweep --{axis}; it takes {taken}. Leave --{axis} out.")))
        }
    }
}

fn check_pins(axes: &Axes, machine: &Machine) -> Result<(), UsageError> {
    match axes.pin.iter().find(|core| !machine.pin_cores().contains(core)) {
        None => Ok(()),
        Some(core) => {
            let cores = machine.pin_cores().iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            Err(UsageError(format!("--pin {core}: this process may not run on core {core}; the cores it may run on are {cores}")))
        }
    }
}

/// A point takes a host a node.
fn check_hosts(axes: &Axes, machine: &Machine) -> Result<(), UsageError> {
    let Some(hosts) = &machine.hosts else { return Ok(()) };
    match axes.nodes.iter().find(|&&nodes| nodes > hosts.count) {
        None => Ok(()),
        Some(nodes) => {
            let count = hosts.count;
            Err(UsageError(format!("--nodes {nodes}: this run has {count} hosts, and each takes one node; use at most --nodes {count}")))
        }
    }
}

/// One experiment's part of a request.
struct Sweep<'a> {
    experiment: Experiment,
    request: &'a Request,
    machine: &'a Machine,
}

/// `given`, or the default if nothing was.
fn or<T: Clone>(given: &[T], default: &[T]) -> Vec<T> {
    if given.is_empty() { default.to_vec() } else { given.to_vec() }
}

/// Each value, or one that is not given.
fn optional<T: Clone>(given: &[T]) -> Vec<Option<T>> {
    if given.is_empty() { vec![None] } else { given.iter().cloned().map(Some).collect() }
}

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const PUBLISHED_SIZES: [ByteSize; 3] = [ByteSize(10 * KB), ByteSize(MB), ByteSize(100 * MB)];

impl Sweep<'_> {
    fn axes(&self) -> &Axes {
        &self.request.axes
    }

    fn fabrics(&self) -> Vec<FabricKind> {
        let verbs = self.machine.verbs.unavailable.is_none().then_some(FabricKind::Verbs);
        let shm = self.machine.hosts.is_none().then_some(FabricKind::Shm);
        let all: Vec<FabricKind> = shm.into_iter().chain([FabricKind::Tcp]).chain(verbs).collect();
        or(&self.axes().fabric, &all)
    }

    fn sizes(&self, full: &[u64], quick: &[u64]) -> Vec<u64> {
        let default = if self.request.quick { quick } else { full };
        let default: Vec<ByteSize> = default.iter().copied().map(ByteSize).collect();
        or(&self.axes().size, &default).into_iter().map(|size| size.0).collect()
    }

    fn nodes(&self, full: &[u32], quick: &[u32]) -> Vec<u32> {
        let usual = if self.request.quick { quick } else { full };
        let Some(hosts) = &self.machine.hosts else { return or(&self.axes().nodes, usual) };
        let usual: Vec<u32> = usual.iter().copied().filter(|&nodes| nodes < hosts.count).chain([hosts.count]).collect();
        or(&self.axes().nodes, &usual)
    }

    fn bare(&self, message_bytes: u64, variant: Variant) -> Setting {
        Setting {
            experiment: self.experiment,
            fabric: None,
            ordering: None,
            nodes: 1,
            pattern: None,
            senders: 1,
            message_bytes,
            window: None,
            shape: None,
            block_bytes: None,
            schedule: None,
            variant,
        }
    }

    fn memcpy(&self) -> Vec<Setting> {
        let sizes = self.sizes(&[KB, 10 * KB, 100 * KB, MB, 10 * MB, 100 * MB], &PUBLISHED_SIZES.map(|size| size.0));
        let mut settings = Vec::new();
        for message_bytes in sizes {
            for all_cores in [false, true] {
                for warmth in [Warmth::Cold, Warmth::WarmSource, Warmth::Cached] {
                    let cores = if all_cores { self.machine.cores.len() as u32 } else { 1 };
                    let bare = self.bare(message_bytes, Variant::Copy(CopyVariant { all_cores, warmth }));
                    settings.push(Setting { nodes: cores, senders: cores, ..bare });
                }
            }
        }
        settings
    }

    fn write(&self) -> Vec<Setting> {
        let every_fourth: Vec<u64> = (0..12).map(|step| 2 << (2 * step)).collect();
        let sizes = self.sizes(&every_fourth, &[2, 8 * KB, MB]);
        let mut settings = Vec::new();
        for fabric in self.fabrics() {
            for &message_bytes in &sizes {
                for window in optional(&self.axes().window) {
                    let window = window.unwrap_or_else(|| policy::write_window(message_bytes));
                    let bare = self.bare(message_bytes, Variant::Bandwidth);
                    settings.push(Setting { fabric: Some(fabric), nodes: 2, window: Some(window), ..bare });
                }
                let bare = self.bare(message_bytes, Variant::PingPong);
                settings.push(Setting { fabric: Some(fabric), nodes: 2, window: Some(1), ..bare });
            }
        }
        settings
    }

    fn smc_rate(&self) -> Result<Vec<Setting>, UsageError> {
        let sizes = self.sizes(&[1, 16, 128, KB, 10 * KB], &[1, KB]);
        let (sizes, large): (Vec<u64>, Vec<u64>) = sizes.into_iter().partition(|&bytes| bytes <= SMALL_MAX);
        // `reproduce` gives each experiment what it takes.
        if let ([_], Some(large)) = (&self.request.experiments[..], large.first()) {
            let (size, max) = (ByteSize(*large), ByteSize(SMALL_MAX));
            return Err(UsageError(format!(
                "smc-rate measures small messages, up to {max}: --size {size} is relayed; use `squall run multicast`"
            )));
        }
        let senders: &[Senders] = &[Senders::One, Senders::All];
        self.groups(&sizes, &self.nodes(&[2, 4, 8], &[2]), senders, &[Ordering::Ordered], Variant::Plain)
    }

    fn multicast(&self) -> Result<Vec<Setting>, UsageError> {
        let sizes = self.sizes(&PUBLISHED_SIZES.map(|size| size.0), &PUBLISHED_SIZES.map(|size| size.0));
        let senders: &[Senders] = match self.request.quick {
            true => &[Senders::All, Senders::One],
            false => &[Senders::All, Senders::Half, Senders::One],
        };
        let orderings = [Ordering::Unordered, Ordering::Ordered];
        self.groups(&sizes, &self.nodes(&[2, 4, 8, 16], &[2, 4]), senders, &orderings, Variant::Plain)
    }

    fn latency(&self) -> Result<Vec<Setting>, UsageError> {
        let sizes = self.sizes(&[1, 10 * KB, MB, 100 * MB], &[1, 10 * KB]);
        let nodes = self.nodes(&[2, 4, 8, 16], &[2]);
        let mut settings = Vec::new();
        for (variant, senders) in [(Variant::Closed, Senders::One), (Variant::Light, Senders::All), (Variant::Saturated, Senders::All)] {
            if self.request.quick && variant == Variant::Saturated {
                continue;
            }
            settings.extend(self.groups(&sizes, &nodes, &[senders], &[Ordering::Ordered], variant)?);
        }
        Ok(settings)
    }

    /// Small messages at a constant rate and as fast as the window lets; large ones as fast as it lets.
    fn view_change(&self) -> Result<Vec<Setting>, UsageError> {
        let nodes = self.nodes(&[5], &[5]);
        if let Some(few) = nodes.iter().find(|&&nodes| nodes < 3) {
            return Err(UsageError(format!("--nodes {few}: neither of two members is a majority when the other is lost; use 3 or more")));
        }
        let mut settings = Vec::new();
        for size in self.sizes(&[KB, 20 * MB], &[KB]) {
            for full in [false, true] {
                if !full && size > SMALL_MAX {
                    continue;
                }
                for upset in Upset::ALL {
                    let variant = Variant::Change { upset, full };
                    settings.extend(self.groups(&[size], &nodes, &[Senders::All], &[Ordering::Ordered], variant)?);
                }
            }
        }
        Ok(settings)
    }

    fn groups(
        &self,
        sizes: &[u64],
        nodes: &[u32],
        senders: &[Senders],
        orderings: &[Ordering],
        variant: Variant,
    ) -> Result<Vec<Setting>, UsageError> {
        let patterns = or(&self.axes().senders, senders);
        let mut settings = Vec::new();
        for fabric in self.fabrics() {
            for &message_bytes in sizes {
                for &pattern in &patterns {
                    for ordering in or(&self.axes().ordering, orderings) {
                        for &nodes in nodes {
                            let Some(senders) = pattern.count(nodes) else {
                                return Err(UsageError(format!(
                                    "{pattern} senders do not fit into {nodes} nodes; use --nodes {pattern} or more, or fewer --senders"
                                )));
                            };
                            let bare = self.bare(message_bytes, variant);
                            let group =
                                Setting { fabric: Some(fabric), ordering: Some(ordering), nodes, pattern: Some(pattern), senders, ..bare };
                            settings.extend(self.shapes(group)?);
                        }
                    }
                }
            }
        }
        Ok(settings)
    }

    /// The same group with every window, block and schedule.
    fn shapes(&self, group: Setting) -> Result<Vec<Setting>, UsageError> {
        let mut settings = Vec::new();
        for window in optional(&self.axes().window) {
            let saturated = group.variant == Variant::Saturated || self.experiment == Experiment::ViewChange;
            let usual = policy::usual_window(group.message_bytes, group.nodes, group.senders, saturated);
            let shape = Shape::of(group.message_bytes, window.or(usual));
            let group = Setting { window: Some(shape.window), shape: Some(shape), ..group.clone() };
            if !shape.is_relayed() {
                settings.push(group);
                continue;
            }
            for block in optional(&self.axes().block) {
                for schedule in or(&self.axes().schedule, &[Schedule::Pipeline]) {
                    let block = block.map(|block| block.0);
                    let config = shape.config(group.senders, Ordering::Ordered, block, schedule);
                    config.check(group.nodes as usize).map_err(|error| UsageError(error.to_string()))?;
                    let block_bytes = config.block_bytes_of(group.message_bytes, group.nodes as usize);
                    settings.push(Setting { block_bytes: Some(block_bytes.into()), schedule: Some(schedule), ..group.clone() });
                }
            }
        }
        Ok(settings)
    }

    /// Fits a setting into memory and says how long it will take.
    fn planned(&self, mut setting: Setting) -> Result<PlannedPoint, UsageError> {
        let axes = self.axes();
        let mut notes = Vec::new();
        let mut skip = if setting.fabric == Some(FabricKind::Verbs) { self.machine.verbs.unavailable.clone() } else { None };
        if setting.fabric == Some(FabricKind::Shm) && self.machine.hosts.is_some() {
            skip = Some("shared memory does not span hosts; use --fabric tcp or verbs".into());
        }
        if self.experiment == Experiment::ViewChange && self.machine.hosts.is_some() {
            skip = Some("view-change measures processes of one host".into());
        }
        if skip.is_none() {
            skip = self.fit(&mut setting, &mut notes);
        }
        let trial_seconds = axes.seconds.unwrap_or_else(|| policy::trial_seconds(self.experiment, self.request.quick));
        let memory_bytes = memory_bytes(&setting);
        let messages = axes.messages.unwrap_or(policy::MESSAGES_MIN);
        let least =
            policy::moving_seconds(setting.message_bytes * messages * u64::from(setting.senders), setting.nodes - 1, setting.is_tcp());
        let timed = if axes.messages.is_some() { least } else { least.max(trial_seconds) };
        // Warming up takes about one trial more.
        let trials = axes.trials.unwrap_or(policy::TRIALS);
        let methods = if self.experiment == Experiment::Memcpy { Method::ALL.len() as f64 } else { 1.0 };
        let seconds = policy::set_up_seconds(setting.nodes, memory_bytes) + timed * methods * f64::from(trials + 1);
        Ok(PlannedPoint { setting, trials, trial_seconds: timed, memory_bytes, seconds, notes, skip })
    }

    /// Makes the window smaller until all nodes fit into memory; why it cannot run if they do not.
    fn fit(&self, setting: &mut Setting, notes: &mut Vec<String>) -> Option<String> {
        let budget = self.machine.memory_for(setting.nodes);
        let asked = setting.window;
        let wanted = memory_bytes(setting);
        while memory_bytes(setting) > budget {
            match setting.window {
                Some(window) if window > 1 => {
                    let smaller = window / 2;
                    setting.window = Some(smaller);
                    if setting.shape.is_some() {
                        setting.shape = Some(Shape::of(setting.message_bytes, Some(smaller)));
                    }
                }
                _ => {
                    let (needed, budget) = (units::bytes(memory_bytes(setting)), units::bytes(budget));
                    return Some(format!(
                        "needs {needed} of memory for {} nodes even with a window of 1, and {budget} may be used",
                        setting.nodes
                    ));
                }
            }
        }
        if setting.window != asked {
            let (before, now) = (asked.unwrap_or(0), setting.window.unwrap_or(0));
            notes.push(format!("window {now} instead of {before}, which needs {} of memory", units::bytes(wanted)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::verbs::Verbs;
    use proptest::prelude::*;

    fn machine(memory_bytes: u64) -> Machine {
        let verbs = Verbs { unavailable: Some("verbs is unavailable: no device".into()), ..Verbs::default() };
        Machine { cores: vec![0, 1], memory_bytes, last_level_cache_bytes: 32 << 20, verbs, hosts: None }
    }

    fn request(experiments: &[Experiment], axes: Axes) -> Request {
        Request { experiments: experiments.to_vec(), quick: false, axes }
    }

    fn plan(experiment: Experiment, axes: Axes, memory_bytes: u64) -> Plan {
        Plan::of(&request(&[experiment], axes), &machine(memory_bytes)).unwrap()
    }

    #[test]
    fn the_main_experiment_is_every_combination() {
        let plan = plan(Experiment::Multicast, Axes::default(), 64 << 30);
        // Sizes x patterns x orderings x nodes x fabrics.
        assert_eq!(plan.points.len(), 3 * 3 * 2 * 4 * 2);
        assert!(plan.seconds() > 100.0);
    }

    #[test]
    fn a_window_shrinks_until_it_fits_and_says_so() {
        let axes = Axes { size: vec![ByteSize(100 << 20)], nodes: vec![4], senders: vec![Senders::All], ..Axes::default() };
        let axes = Axes { fabric: vec![FabricKind::Shm], ordering: vec![Ordering::Ordered], window: vec![8], ..axes };
        let roomy = plan(Experiment::Multicast, axes.clone(), 64 << 30);
        assert_eq!((roomy.points[0].setting.window, roomy.points[0].notes.len()), (Some(8), 0));
        let tight = plan(Experiment::Multicast, axes.clone(), 7 << 30);
        assert_eq!(tight.points[0].setting.window, Some(4));
        assert!(tight.points[0].notes[0].contains("window 4 instead of 8"), "{:?}", tight.points[0].notes);
        let none = plan(Experiment::Multicast, axes, 1 << 30);
        assert!(none.points[0].skip.as_ref().is_some_and(|why| why.contains("memory")), "{:?}", none.points[0].skip);
    }

    #[test]
    fn an_axis_that_an_experiment_does_not_take_is_named() {
        let axes = Axes { nodes: vec![4], ..Axes::default() };
        let error = Plan::of(&request(&[Experiment::Write], axes.clone()), &machine(1 << 30)).unwrap_err();
        assert!(error.0.contains("write does not sweep --nodes") && error.0.contains("--fabric"), "{error}");
        assert!(Plan::of(&request(&Experiment::ALL, axes), &machine(1 << 30)).is_ok());
    }

    #[test]
    fn a_size_that_one_experiment_does_not_take_is_no_matter_to_reproduce() {
        let axes = Axes { size: vec![ByteSize(MB)], ..Axes::default() };
        let plan = Plan::of(&request(&Experiment::ALL, axes), &machine(1 << 30)).unwrap();
        assert!(plan.points.iter().all(|point| point.setting.experiment != Experiment::SmcRate));
    }

    #[test]
    fn more_senders_than_nodes_are_refused() {
        let axes = Axes { nodes: vec![2, 4], senders: vec![Senders::Count(3)], ..Axes::default() };
        let error = Plan::of(&request(&[Experiment::Multicast], axes), &machine(1 << 30)).unwrap_err();
        assert!(error.0.contains("3 senders do not fit into 2 nodes"), "{error}");
    }

    #[test]
    fn verbs_are_skipped_with_the_reason() {
        let plan = plan(Experiment::Write, Axes { fabric: vec![FabricKind::Verbs], ..Axes::default() }, 1 << 30);
        assert!(plan.points.iter().all(|point| point.skip.as_deref() == Some("verbs is unavailable: no device")));
        assert_eq!(plan.seconds(), 0.0);
    }

    #[test]
    fn small_messages_do_not_multiply_by_blocks_and_schedules() {
        let axes = Axes { size: vec![ByteSize(KB)], nodes: vec![2], schedule: vec![Schedule::Tree, Schedule::Chain], ..Axes::default() };
        let plan = plan(Experiment::Multicast, axes, 1 << 30);
        assert_eq!(plan.points.len(), 3 * 2 * 2);
        assert!(plan.points.iter().all(|point| point.setting.row(None).schedule == "direct"));
    }

    #[test]
    fn every_point_is_planned_once() {
        let request = Request { experiments: Experiment::ALL.to_vec(), quick: false, axes: Axes::default() };
        let plan = Plan::of(&request, &machine(64 << 30)).unwrap();
        let mut points: Vec<_> = plan.points.iter().flat_map(|point| point.setting.points()).collect();
        let count = points.len();
        points.sort();
        points.dedup();
        assert_eq!(points.len(), count);
    }

    proptest! {
        #[test]
        fn what_runs_fits_into_memory(memory in 1u64 << 20..1 << 36, size in 1u64..1 << 28, nodes in 2u32..40, window in prop::option::of(1u64..200)) {
            let axes = Axes { size: vec![ByteSize(size)], nodes: vec![nodes], window: window.into_iter().collect(), ..Axes::default() };
            for point in plan(Experiment::Multicast, axes, memory).points {
                prop_assert!(point.skip.is_some() || point.memory_bytes <= memory);
                prop_assert!(point.setting.window >= Some(1));
            }
        }
    }
}
