//! What an experiment sweeps along an axis that is not given: read off the settings that it would run.

use super::experiment::Experiment;
use super::machine::Machine;
use super::policy;
use super::request::{Axes, Request};
use super::setting::{Setting, Variant};
use super::size::ByteSize;
use super::sweep::Sweep;

/// Memory for any setting: what fits is a plan's to say.
const MEMORY_BYTES: u64 = 1 << 50;

/// Values of `axis` in a full run of `experiment` and in a quick one, for people.
pub fn of(experiment: Experiment, axis: &str) -> String {
    match axis {
        // Which there are is the machine's to say.
        "fabric" => "shm, tcp, and verbs where there is a device".into(),
        "peer" => "whatever is installed".into(),
        "window" => "by size and memory".into(),
        "block" => "chosen for each message".into(),
        _ => {
            let [full, quick] = [false, true].map(|quick| values(&settings(experiment, quick), axis));
            match (full == quick, quick.is_empty()) {
                (_, true) => "chosen for each message".into(),
                (true, _) => full,
                (false, _) => format!("{full}; with --quick {quick}"),
            }
        }
    }
}

/// Seconds of a trial in a full run of `experiment` and in a quick one, for people.
pub fn seconds(experiment: Experiment) -> String {
    let [full, quick] = [false, true].map(|quick| {
        let settings = settings(experiment, quick);
        let mut seconds: Vec<f64> = settings.iter().map(|setting| policy::trial_seconds(experiment, setting.variant, quick)).collect();
        seconds.sort_by(f64::total_cmp);
        seconds.dedup();
        seconds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
    });
    format!("{full}; with --quick {quick}")
}

fn settings(experiment: Experiment, quick: bool) -> Vec<Setting> {
    let request = Request { experiments: vec![experiment], quick, axes: Axes::default() };
    let machine = Machine { cores: vec![0, 1], memory_bytes: MEMORY_BYTES, ..Machine::default() };
    // Nothing is asked for, so nothing contradicts itself.
    Sweep { experiment, request: &request, machine: &machine }.settings().unwrap_or_default()
}

/// Each value once, in the order in which it would run.
fn values(settings: &[Setting], axis: &str) -> String {
    let mut values: Vec<String> = Vec::new();
    for setting in settings {
        let value = match axis {
            "nodes" => Some(setting.nodes.to_string()),
            "size" => Some(ByteSize(setting.message_bytes).to_string()),
            "senders" => setting.pattern.map(|pattern| pattern.to_string()),
            "ordering" => setting.ordering.map(|ordering| ordering.to_string()),
            "schedule" => setting.schedule.map(|schedule| schedule.to_string()),
            "upset" => match setting.variant {
                Variant::Change { upset, .. } => Some(upset.to_string()),
                _ => None,
            },
            _ => None,
        };
        values.extend(value.filter(|value| !values.contains(value)));
    }
    values.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn defaults_are_what_a_run_without_axes_would_sweep() {
        assert_eq!(of(Experiment::Multicast, "nodes"), "2,4,8,16; with --quick 2,4");
        assert_eq!(of(Experiment::Multicast, "size"), "10KB,1MB,100MB");
        assert_eq!(of(Experiment::Multicast, "senders"), "all,half,one; with --quick all,one");
        assert_eq!(of(Experiment::SmcRate, "ordering"), "ordered");
        assert_eq!(of(Experiment::ViewChange, "upset"), "kill,leave,join");
        assert_eq!(of(Experiment::Multicast, "schedule"), "chosen for each message");
        assert!(of(Experiment::RdmcSchedules, "schedule").starts_with("pipeline,two-trees"));
    }

    #[test]
    fn a_trial_takes_as_long_as_the_policy_says() {
        assert_eq!(seconds(Experiment::Multicast), "0.3; with --quick 0.1");
        assert_eq!(seconds(Experiment::Orders), "0.25 or 0.8; with --quick 0.05 or 0.5");
    }

    #[test]
    fn every_axis_of_every_experiment_has_a_default() {
        for experiment in Experiment::value_variants() {
            for axis in experiment.axes() {
                assert!(!of(*experiment, axis).is_empty(), "{experiment} {axis}");
            }
        }
    }
}
