//! From a request to the points that will run, each with its memory and its time, before anything starts.

use std::collections::BTreeSet;

use super::axes::{NODES_MAX, Pins};
use super::effect;
use super::machine::Machine;
use super::point::PlannedPoint;
use super::request::{Axes, Request, UsageError};
use super::sweep::Sweep;

/// Everything that will run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The points, in order.
    pub points: Vec<PlannedPoint>,
}

impl Plan {
    /// The points that `request` asks for, on this machine.
    ///
    /// # Errors
    /// A contradiction in the request.
    pub fn of(request: &Request, machine: &Machine) -> Result<Plan, UsageError> {
        check_axes(request)?;
        check_nodes(&request.axes)?;
        check_pins(&request.axes, machine)?;
        check_hosts(&request.axes, machine)?;
        let mut points = Vec::new();
        for &experiment in &request.experiments {
            let sweep = Sweep { experiment, request, machine };
            points.extend(sweep.settings()?.into_iter().map(|setting| PlannedPoint::of(setting, request, machine)));
        }
        // A value that was given twice, or windows that memory has made equal, are one point.
        let mut known = BTreeSet::new();
        points.retain(|point| known.insert(point.setting.row(None).point()));
        effect::check(request, &points)?;
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
        ("upset", !axes.upset.is_empty()),
        ("peer", !axes.peer.is_empty()),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
}

/// One experiment by itself must take every axis that was given; `reproduce` gives each what it takes.
///
/// # Errors
/// If it does not.
pub fn check_axes(request: &Request) -> Result<(), UsageError> {
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

/// Real nodes are processes of a host, or hosts.
fn check_nodes(axes: &Axes) -> Result<(), UsageError> {
    match axes.nodes.iter().find(|&&nodes| nodes > NODES_MAX) {
        None => Ok(()),
        Some(nodes) => Err(UsageError(format!(
            "--nodes {nodes}: at most {NODES_MAX} nodes can be measured; larger groups run on modelled clusters, such as --fabric \
             sim-rdma-100g"
        ))),
    }
}

fn check_pins(axes: &Axes, machine: &Machine) -> Result<(), UsageError> {
    let Pins::Cores(asked) = &axes.pin else { return Ok(()) };
    if let Some(why) = &machine.unpinned {
        return Err(UsageError(format!("--pin {}: {why}; give --pin none, or leave it out", axes.pin)));
    }
    match asked.iter().find(|core| !machine.pin_cores().contains(core)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::axes::Senders;
    use crate::ask::experiment::Experiment;
    use crate::ask::fabric::FabricName;
    use crate::ask::size::{ByteSize, KB, MB};
    use crate::ask::verbs::Verbs;
    use crate::jobs::kinds::{FabricKind, Ordering, Schedule};
    use crate::jobs::rdma::Rdma;
    use proptest::prelude::*;

    fn machine(memory_bytes: u64) -> Machine {
        let verbs = Verbs { unavailable: Some("verbs is unavailable: no device".into()), ..Verbs::default() };
        Machine { cores: vec![0, 1], memory_bytes, last_level_cache_bytes: 32 << 20, verbs, ..Machine::default() }
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
        let axes = Axes { fabric: vec![FabricKind::Shm.into()], ordering: vec![Ordering::ORDERED], window: vec![8], ..axes };
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
        let plan = plan(Experiment::Write, Axes { fabric: vec![FabricKind::Verbs.into()], ..Axes::default() }, 1 << 30);
        assert!(plan.points.iter().all(|point| point.skip.as_deref() == Some("verbs is unavailable: no device")));
        assert_eq!(plan.seconds(), 0.0);
    }

    #[test]
    fn a_copy_is_called_cached_where_a_cache_holds_both_sides_of_it() {
        let axes = Axes { size: vec![ByteSize(MB), ByteSize(10 * MB), ByteSize(100 * MB)], ..Axes::default() };
        let plan = plan(Experiment::Memcpy, axes, 4 << 30);
        let names = |size: u64| -> Vec<String> {
            let rows = plan.points.iter().map(|point| point.setting.row(None)).filter(|row| row.message_bytes == size);
            rows.map(|row| row.schedule).filter(|schedule| schedule.ends_with("cached")).collect()
        };
        assert_eq!(names(MB), ["one-core-cached", "all-core-cached"]);
        assert_eq!(names(10 * MB), ["one-core-cached"], "two cores copy 40 MB, and the cache has 32");
        assert_eq!(names(100 * MB), [""; 0]);
    }

    #[test]
    fn small_messages_do_not_multiply_by_blocks_and_schedules() {
        let axes = Axes {
            size: vec![ByteSize(KB), ByteSize(MB)],
            nodes: vec![2],
            schedule: vec![Schedule::Tree, Schedule::Chain],
            ..Axes::default()
        };
        let plan = plan(Experiment::Multicast, axes, 1 << 30);
        let count = |schedule: &str| plan.points.iter().filter(|point| point.setting.row(None).schedule == schedule).count();
        // At two nodes half of them is one: patterns x orderings x fabrics.
        assert_eq!(["direct", "tree", "chain"].map(count), [3 * 2 * 2; 3]);
    }

    #[test]
    fn a_value_given_twice_is_one_point() {
        let axes = Axes { nodes: vec![2, 2], size: vec![ByteSize(MB), ByteSize(MB)], senders: vec![Senders::One], ..Axes::default() };
        let axes = Axes { fabric: vec![FabricName::Real(FabricKind::Shm)], ordering: vec![Ordering::ORDERED], ..axes };
        assert_eq!(plan(Experiment::Multicast, axes.clone(), 8 << 30).points.len(), 1);
        let shrunk = Axes { size: vec![ByteSize(100 * MB)], window: vec![8, 16], nodes: vec![4], ..axes };
        assert_eq!(plan(Experiment::Multicast, shrunk, 2 << 30).points.len(), 1);
    }

    #[test]
    fn where_pinning_is_refused_nodes_run_anywhere_unless_it_was_asked_for() {
        let refused = Machine { unpinned: Some("cannot run on core 0: EPERM".into()), ..machine(8 << 30) };
        assert_eq!(refused.cores_for(2, &Pins::Usual), [None, None]);
        assert_eq!(machine(8 << 30).cores_for(2, &Pins::Usual), [Some(0), Some(1)]);
        assert_eq!(machine(8 << 30).cores_for(2, &Pins::None), [None, None]);
        assert_eq!(machine(8 << 30).cores_for(3, &Pins::Cores(vec![1, 0])), [Some(1), Some(0), Some(1)]);
        let asked = Axes { pin: Pins::Cores(vec![0]), ..Axes::default() };
        let error = Plan::of(&request(&[Experiment::Multicast], asked), &refused).unwrap_err();
        assert!(error.0.contains("EPERM; give --pin none"), "{error}");
    }

    #[test]
    fn more_nodes_than_there_may_be_open_files_for_are_skipped_with_the_mend() {
        let few = Machine { open_files: Some(128), ..machine(8 << 30) };
        let axes = Axes { nodes: vec![2, 64], size: vec![ByteSize(KB)], senders: vec![Senders::One], ..Axes::default() };
        let axes = Axes { fabric: vec![FabricName::Real(FabricKind::Tcp)], ordering: vec![Ordering::ORDERED], ..axes };
        let plan = Plan::of(&request(&[Experiment::Multicast], axes), &few).unwrap();
        let skips: Vec<bool> = plan.points.iter().map(|point| point.skip.is_some()).collect();
        assert_eq!(skips, [false, true]);
        assert!(plan.points[1].skip.as_ref().is_some_and(|why| why.contains("ulimit -Hn")), "{:?}", plan.points[1].skip);
    }

    #[test]
    fn flags_without_effect_are_refused_and_those_with_some_are_not() {
        let refused = |experiment, axes: Axes| Plan::of(&request(&[experiment], axes), &machine(8 << 30)).unwrap_err().0;
        let shm = Axes { fabric: vec![FabricName::Real(FabricKind::Shm)], ..Axes::default() };
        let mtu = Rdma { mtu: Some(1024), ..Rdma::default() };
        let error = refused(Experiment::Multicast, Axes { rdma: mtu.clone(), ..shm.clone() });
        assert!(error.contains("--mtu has an effect over --fabric verbs only"), "{error}");
        assert!(
            refused(Experiment::Write, Axes { perftest: true, ..shm.clone() }).contains("--perftest has an effect over --fabric verbs")
        );
        assert!(refused(Experiment::Multicast, Axes { perftest: true, ..shm.clone() }).contains("no effect on multicast"));
        assert!(refused(Experiment::Multicast, Axes { lost_after: Some(3.0), ..shm.clone() }).contains("--lost-after has an effect over"));
        assert!(refused(Experiment::Memcpy, Axes { spin: true, ..Axes::default() }).contains("--spin has no effect on memcpy"));
        let small = Axes { size: vec![ByteSize(KB)], schedule: vec![Schedule::Tree], ..shm.clone() };
        assert!(refused(Experiment::Multicast, small).contains("--schedule has an effect on messages that are relayed"));
        let verbs = Axes { fabric: vec![FabricName::Real(FabricKind::Verbs)], rdma: mtu, perftest: true, ..Axes::default() };
        assert!(Plan::of(&request(&[Experiment::Write], verbs), &machine(8 << 30)).is_ok());
        let spinning = Axes { spin: true, ..shm };
        assert!(Plan::of(&request(&Experiment::ALL, spinning), &machine(8 << 30)).is_ok());
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
        fn what_runs_fits_into_memory(
            memory in 1u64 << 20..1 << 36,
            size in 1u64..1 << 28,
            nodes in 2u32..40,
            window in prop::option::of(1u64..200),
        ) {
            let axes = Axes { size: vec![ByteSize(size)], nodes: vec![nodes], window: window.into_iter().collect(), ..Axes::default() };
            for point in plan(Experiment::Multicast, axes, memory).points {
                prop_assert!(point.skip.is_some() || point.memory_bytes <= memory);
                prop_assert!(point.setting.window >= Some(1));
            }
        }
    }
}
