//! One point of a plan, and what is known of it beforehand.

use squall_report::units;

use super::estimate::moving_seconds;
use super::experiment::Experiment;
use super::machine::Machine;
use super::memory::memory_bytes;
use super::policy;
use super::request::Request;
use super::setting::{Setting, Variant};
use crate::jobs::copy::Method;
use crate::jobs::kinds::FabricKind;
use crate::jobs::peer::Peer;
use crate::jobs::shape::Shape;

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

impl PlannedPoint {
    /// Fits a setting into memory and says how long it will take.
    pub(super) fn of(mut setting: Setting, request: &Request, machine: &Machine) -> PlannedPoint {
        let axes = &request.axes;
        let mut notes = Vec::new();
        let mut skip = if setting.fabric == Some(FabricKind::Verbs) { machine.verbs.unavailable.clone() } else { None };
        if setting.fabric == Some(FabricKind::Shm) && machine.hosts.is_some() {
            skip = Some("shared memory does not span hosts; use --fabric tcp or verbs".into());
        }
        if let Variant::Peer(peer) = setting.variant {
            skip = skip.or_else(|| peer.missing()).or_else(|| peer.refuses(setting.message_bytes));
            if matches!(peer, Peer::Openmpi | Peer::Corosync) && machine.hosts.is_some() {
                skip = Some(format!("{peer} starts its own processes, on this host alone; run it without other hosts"));
            }
        }
        let newcomers = if let Variant::Change { upset, .. } = setting.variant { upset.newcomers() } else { 0 };
        skip = skip.or_else(|| too_few_files(setting.nodes + newcomers, machine));
        if skip.is_none() {
            skip = fit(&mut setting, machine, &mut notes);
        }
        let trial_seconds = axes.seconds.unwrap_or_else(|| policy::trial_seconds(setting.experiment, setting.variant, request.quick));
        let memory_bytes = memory_bytes(&setting);
        let messages = axes.messages.unwrap_or(policy::MESSAGES_MIN);
        let moving = |messages: u64| moving_seconds(&setting, messages, machine);
        let least = moving(messages);
        let trial_seconds = trial_seconds + policy::joining_seconds(setting.variant, axes.restore.map(|rate| rate.0));
        let timed = if axes.messages.is_some() { least } else { least.max(trial_seconds) };
        // The first warm-ups move what touches every buffer, if that does not take too long; those after them approach
        // the length of a trial.
        let touching = moving(policy::WARM_UP_MESSAGES_MIN);
        let touching = if touching > policy::TOUCHING_SECONDS_MAX { moving(1) } else { touching };
        let warm_up = match (setting.experiment, axes.messages) {
            (Experiment::Memcpy, _) => 0.0,
            _ if setting.variant.is_change() => 0.0,
            (_, Some(messages)) => moving(policy::warm_up_messages(setting.message_bytes, setting.senders).min(messages)),
            (_, None) => touching + policy::WARM_UP_SHARE * timed,
        };
        let trials = axes.trials.unwrap_or(policy::TRIALS);
        let methods = if setting.experiment == Experiment::Memcpy { Method::ALL.len() as f64 } else { 1.0 };
        // Where members change every trial is a group of its own.
        let set_ups = if setting.variant.is_change() { trials } else { 1 };
        let set_up = policy::set_up_seconds(setting.nodes, memory_bytes) * f64::from(set_ups);
        let in_turns = axes.perftest && setting.fabric == Some(FabricKind::Verbs);
        let of_perftest = if in_turns { policy::PERFTEST_SECONDS * f64::from(trials) } else { 0.0 };
        let of_peers = match setting.experiment {
            Experiment::Peers => (policy::PEER_SECONDS + set_up + warm_up + timed) * f64::from(trials),
            _ => 0.0,
        };
        let seconds = set_up + warm_up + timed * methods * f64::from(trials) + of_perftest + of_peers;
        PlannedPoint { setting, trials, trial_seconds: timed, memory_bytes, seconds, notes, skip }
    }
}

/// Why so many nodes cannot all be connected, if they cannot: the limit is told before anything hangs on it.
fn too_few_files(nodes: u32, machine: &Machine) -> Option<String> {
    let needed = policy::open_files(nodes);
    let limit = machine.open_files.filter(|&limit| limit < needed)?;
    Some(format!("{nodes} nodes need about {needed} open files a process, and {limit} are allowed; raise the hard limit, `ulimit -Hn`"))
}

/// Makes the window smaller until all nodes fit into memory; why it cannot run if they do not.
fn fit(setting: &mut Setting, machine: &Machine, notes: &mut Vec<String>) -> Option<String> {
    let budget = machine.memory_for(setting.nodes);
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
