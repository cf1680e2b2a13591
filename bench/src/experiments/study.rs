//! The study: each published point of Derecho, what its limits give there in the model, and what Squall does there.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::thread::available_parallelism;

use squall_report::{Point, Row, RunFolder};
use squall_study::parallel::on_all_cores;
use squall_study::published::{self, Bandwidth, Latency};
use squall_study::{Outcome, Peer, Profile, ProfileError, Published, Run, RunError, Senders, goals};

use super::modelled::row::{named, row};
use crate::ask::request::Request;
use crate::ask::setting::{AT_SENDER, Variant};
use crate::run::fault::Fault;
use crate::run::interrupt::Interrupt;
use crate::run::progress::Progress;

/// What its rows are called.
pub const STUDY: &str = "study";
/// The peer's rows are told apart from Squall's by this.
const PEER_PREFIX: &str = "derecho-in-";
/// Group sizes of a quick one.
const QUICK_NODES: [usize; 4] = [2, 4, 8, 16];
/// What one run of the study takes of one core on the whole, in seconds: on a virtual machine, rounded.
const TASK_SECONDS: f64 = 0.12;
/// Large messages whose latency is taken of Squall; each is a stream of blocks of its own.
const LARGE_LATENCIES: u64 = 5;

/// A published network, and the profile that stands for it.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// The name of its bandwidths.
    pub bandwidth: &'static str,
    /// The figure of its latencies, if there is one.
    pub latency: Option<&'static str>,
    /// The profile.
    pub profile: &'static str,
}

/// All that the model has a profile for.
pub static NETWORKS: [Network; 5] = [
    Network { bandwidth: "ib100g-libfabric", latency: Some("rdma_TOCS_fig12b"), profile: "sim-rdma-100g" },
    Network { bandwidth: "tcp-eth100g", latency: Some("tcp_TOCS_fig13b"), profile: "sim-tcp-100g" },
    Network { bandwidth: "ib100g-verbs", latency: None, profile: "sim-rdma-100g" },
    Network { bandwidth: "roce100g-libfabric", latency: None, profile: "sim-rdma-100g" },
    Network { bandwidth: "tcp-eth10g", latency: None, profile: "sim-tcp-10g" },
];

/// The networks of the figures of the paper: those of a quick study, and of `reproduce`.
pub fn paper() -> &'static [Network] {
    &NETWORKS[..2]
}

/// One run of the study.
#[derive(Clone, Debug)]
pub struct Task {
    run: Run,
    variant: Variant,
}

impl Task {
    /// The peer at a published point, and Squall there.
    pub fn of_bandwidth(profile: &Profile, peer: &Peer, point: &Bandwidth) -> [Task; 2] {
        let squall = Run::stream(profile, point.nodes, point.senders, point.message_bytes);
        [Task { run: point.run(profile, peer), variant: Variant::Plain }, Task { run: squall, variant: Variant::Plain }]
    }

    /// The peer in a stream, as its latency was published; Squall with one message of each sender at a time.
    pub fn of_latency(profile: &Profile, peer: &Peer, point: &Latency) -> [Task; 2] {
        let light = goals::light(profile, point.nodes, Senders::All, point.message_bytes);
        let squall = if light.is_relayed() { Run { messages: Some(LARGE_LATENCIES), ..light } } else { light };
        [Task { run: point.run(profile, peer), variant: Variant::Saturated }, Task { run: squall, variant: Variant::Closed }]
    }

    /// Where they are equal, all send rather than half, and half rather than one.
    fn pattern(&self) -> &'static str {
        Senders::EVERY.into_iter().find(|pattern| pattern.of(self.run.nodes) == self.run.senders).map_or("", Senders::name)
    }

    fn part(&self) -> Option<&'static str> {
        (self.variant != Variant::Plain).then_some(AT_SENDER)
    }

    /// The same row by the name of whose limits it has.
    fn by_whom(&self, row: Row) -> Row {
        let prefix = if self.run.peer.is_some() { PEER_PREFIX } else { "" };
        Row { fabric: format!("{prefix}{}", row.fabric), ..row }
    }

    /// What names it.
    pub fn key(&self) -> Point {
        self.by_whom(named(STUDY, &self.run, self.pattern(), self.variant, self.part())).point()
    }

    fn row(&self, outcome: &Outcome) -> Row {
        let row = row(STUDY, &self.run, self.pattern(), (self.variant, self.part()), outcome);
        Row { trial: 1, ..self.by_whom(row) }
    }

    /// What tells its figure from others.
    fn figure(&self) -> (&str, Variant, u64) {
        let kind = if self.variant == Variant::Plain { Variant::Plain } else { Variant::Closed };
        (&self.run.profile.name, kind, self.run.message_bytes)
    }

    /// What came out, in the unit of what was published.
    pub fn value(&self, outcome: &Outcome) -> f64 {
        if self.variant == Variant::Plain { outcome.bytes_per_s / 1e9 } else { outcome.latency.mean_us() }
    }
}

/// The published bandwidths of a network that are drawn.
pub fn bandwidths(network: &Network, quick: bool) -> Vec<Bandwidth> {
    let wanted = |point: &Bandwidth| point.network == network.bandwidth && (!quick || QUICK_NODES.contains(&point.nodes));
    published::bandwidth().into_iter().filter(wanted).collect()
}

/// The published latencies of a network that are drawn.
pub fn latencies(network: &Network, quick: bool) -> Vec<Latency> {
    let wanted = |point: &Latency| Some(point.source) == network.latency && (!quick || QUICK_NODES.contains(&point.nodes));
    published::latency().into_iter().filter(wanted).collect()
}

/// How many of `tasks`, from the first on, are points of one figure.
pub fn of_one_figure(tasks: &[Task]) -> usize {
    tasks.chunk_by(|a, b| a.figure() == b.figure()).next().map_or(0, <[Task]>::len)
}

/// Everything that is to run for these networks, each once: figure by figure, of each network the largest messages
/// first.
///
/// # Errors
/// A profile that is not built in.
pub fn tasks(networks: &[Network], quick: bool) -> Result<Vec<Task>, ProfileError> {
    let mut tasks = Vec::new();
    for network in networks {
        let profile = Profile::built_in(network.profile)?;
        let peer = Peer::on(&profile);
        let mut bandwidths = bandwidths(network, quick);
        bandwidths.sort_by_key(|point| Reverse(point.message_bytes));
        tasks.extend(bandwidths.iter().flat_map(|point| Task::of_bandwidth(&profile, &peer, point)));
        tasks.extend(latencies(network, quick).iter().flat_map(|point| Task::of_latency(&profile, &peer, point)));
    }
    let mut known = HashSet::new();
    tasks.retain(|task| known.insert(task.key()));
    Ok(tasks)
}

/// Runs what `folder` does not have yet, and writes its rows.
///
/// # Errors
/// A point that cannot run, rows that cannot be written, and what `each` says.
pub fn draw(tasks: &[Task], folder: &mut RunFolder, mut each: impl FnMut(&Task, &Outcome) -> Result<(), Fault>) -> Result<(), Fault> {
    let left: Vec<&Task> = tasks.iter().filter(|task| !is_drawn(task, folder)).collect();
    on_all_cores(
        &left,
        |task| task.run.run(),
        |task, outcome: Result<Outcome, RunError>| -> Result<(), Fault> {
            let outcome = outcome.map_err(|error| Fault::Failed(error.to_string()))?;
            folder.append(&task.row(&outcome)).map_err(|error| Fault::Results(error.to_string()))?;
            each(task, &outcome)
        },
    )
}

/// What `reproduce` begins with: the figures of the paper, unless it was told which fabrics to measure.
fn firsts(request: &Request) -> Result<Vec<Task>, ProfileError> {
    if request.experiments.len() < 2 || !request.axes.fabric.is_empty() {
        return Ok(Vec::new());
    }
    tasks(paper(), request.quick)
}

fn is_drawn(task: &Task, folder: &RunFolder) -> bool {
    folder.rows().trials(&task.key()) > 0
}

/// About how many seconds it takes to draw what a folder lacks of that.
pub(super) fn first_seconds(request: &Request, folder: &RunFolder) -> f64 {
    let left = firsts(request).map_or(0, |tasks| tasks.iter().filter(|task| !is_drawn(task, folder)).count());
    left as f64 * TASK_SECONDS / available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

/// Draws it.
///
/// # Errors
/// As [`draw`], or [`Fault::Interrupted`].
pub(super) fn first(request: &Request, folder: &mut RunFolder, interrupt: &Interrupt, progress: &Progress) -> Result<(), Fault> {
    let tasks = firsts(request).map_err(|error| Fault::Failed(error.to_string()))?;
    if tasks.is_empty() {
        return Ok(());
    }
    let what = "drawing the published figures on a model of a cluster, in virtual time";
    progress.doing(what);
    let mut drawn = tasks.iter().filter(|task| is_drawn(task, folder)).count();
    draw(&tasks, folder, |_, _| {
        drawn += 1;
        progress.so_far(what, drawn, tasks.len());
        if interrupt.is_set() { Err(Fault::Interrupted) } else { Ok(()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::experiment::Experiment;
    use crate::ask::request::Axes;

    #[test]
    fn every_point_runs_once_and_has_a_row_of_its_own() {
        let tasks = tasks(&NETWORKS, true).unwrap();
        // Sizes x patterns x group sizes of 3 profiles, of which half is one at two members; 4 sizes x group sizes of
        // latency of two; the peer and Squall.
        assert_eq!(tasks.len(), 2 * (3 * (3 * 3 * 4 - 3) + 2 * 4 * 4));
        // The first figure: one size, all patterns and group sizes.
        let first = of_one_figure(&tasks);
        assert_eq!((first, tasks[0].run.message_bytes), (2 * (3 * 4 - 1), 104_857_600));
        let peers = tasks.iter().filter(|task| task.key().fabric.starts_with(PEER_PREFIX)).count();
        assert_eq!(2 * peers, tasks.len());
    }

    #[test]
    fn what_a_folder_has_is_not_run_again() {
        let root = tempfile::tempdir().unwrap();
        let mut folder =
            RunFolder::create(Some(root.path()), "test", Vec::new(), serde_json::Value::Null, serde_json::Value::Null).unwrap();
        let whole = Request { experiments: Experiment::ALL.to_vec(), quick: true, axes: Axes::default() };
        let seconds = first_seconds(&whole, &folder);
        let alone = Request { experiments: vec![Experiment::Write], ..whole.clone() };
        assert!(seconds > 1.0 && first_seconds(&alone, &folder) == 0.0, "one experiment begins with itself");
        let tasks: Vec<Task> = tasks(paper(), true).unwrap().into_iter().take(3).collect();
        let mut values = Vec::new();
        let mut run = |tasks: &[Task]| {
            let before = values.len();
            draw(tasks, &mut folder, |task, outcome| {
                values.push(task.value(outcome));
                Ok(())
            })
            .unwrap();
            values.len() - before
        };
        assert_eq!((run(&tasks[..2]), run(&tasks), run(&tasks)), (2, 1, 0));
        assert!(values.iter().all(|value| *value > 0.0));
        assert!(first_seconds(&whole, &folder) < seconds);
    }
}
