//! How long moving messages takes, before anything is measured: for estimates, and for when to give up.
//!
//! The figures are rounded medians of a virtual machine with two cores. Another machine is faster or slower as a whole,
//! which the time left follows once some of the run is done.

use super::experiment::Experiment;
use super::machine::Machine;
use super::policy::{self, LIGHT_LOAD_GAP};
use super::setting::{Setting, Variant};
use crate::jobs::kinds::FabricKind;

/// What carries messages costs.
struct Costs {
    /// Bytes copied a second, all copies of all nodes together, where relays or all nodes send.
    bytes_per_second: f64,
    /// The same of one sender of small messages, who waits for nodes that are not running.
    lone_bytes_per_second: f64,
    /// Seconds of one copy of a message, whatever its length.
    message: f64,
    /// Seconds from the send of one message to its delivery, with nothing else under way.
    turn: f64,
}

/// Messages up to this size stay in the caches of two nodes.
const CACHED_BYTES: u64 = 8 << 20;
/// A round of all nodes over the cores that they share: one is woken after the other.
const CROWDED_TURN: f64 = 30e-6;

impl Costs {
    fn of(setting: &Setting, machine: &Machine) -> Costs {
        let crowded = setting.fabric.is_some() && machine.is_crowded(setting.nodes);
        let emulated = setting.fabric == Some(FabricKind::Verbs) && !machine.verbs.emulated.is_empty();
        let costs =
            |bytes_per_second, lone_bytes_per_second, message, turn| Costs { bytes_per_second, lone_bytes_per_second, message, turn };
        match setting.fabric {
            // Every packet is the kernel's, on a core that all share.
            Some(FabricKind::Verbs) if emulated => costs(0.1e9, 0.1e9, 20e-6, 400e-6),
            Some(FabricKind::Verbs) => costs(10e9, 10e9, 0.1e-6, 3e-6),
            Some(FabricKind::Tcp) if crowded => costs(2.3e9, 0.7e9, 65e-9, 40e-6),
            Some(FabricKind::Tcp) => costs(2.5e9, 2.0e9, 65e-9, 20e-6),
            Some(FabricKind::Shm) | None if crowded => costs(13e9, 2.5e9, 30e-9, CROWDED_TURN),
            Some(FabricKind::Shm) | None if setting.message_bytes > CACHED_BYTES => costs(12e9, 12e9, 30e-9, 0.5e-6),
            Some(FabricKind::Shm) | None => costs(28e9, 23e9, 30e-9, 0.5e-6),
        }
    }
}

/// Seconds for so many messages of each sender of `setting`, or for the most that it sends in a trial.
pub(super) fn moving_seconds(setting: &Setting, messages: u64, machine: &Machine) -> f64 {
    let messages = if setting.variant.keeps_latencies() { messages.min(policy::latencies_max(setting.senders)) } else { messages };
    let costs = Costs::of(setting, machine);
    let copies = f64::from(setting.nodes.saturating_sub(1).max(1));
    let of_each = messages as f64;
    let all = of_each * f64::from(setting.senders);
    let lone = setting.senders == 1 && setting.shape.is_some() && !setting.is_relayed();
    let rate = if lone { costs.lone_bytes_per_second } else { costs.bytes_per_second };
    let moving = |messages: f64| messages * setting.message_bytes as f64 * copies / rate;
    // More nodes than cores: each turn of a node serves fewer messages.
    let crowding = (f64::from(setting.nodes) / machine.cores.len().max(1) as f64).max(1.0).sqrt();
    let turns = |messages: f64| messages * costs.turn * copies.max(1.0) + moving(messages);
    match (setting.experiment, setting.variant) {
        _ if setting.is_in_turns() => turns(2.0 * of_each),
        (_, Variant::Closed | Variant::ClosedDelayed(_) | Variant::Reading) => turns(of_each) * crowding,
        // So many times what one takes in the closed loop, in which all senders have one under way.
        (Experiment::Latency, Variant::Light) => (of_each * costs.turn * copies * crowding + moving(all)) * LIGHT_LOAD_GAP as f64,
        _ => all * costs.message * copies * crowding + moving(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::axes::Senders;
    use crate::ask::fabric::FabricName;
    use crate::ask::plan::Plan;
    use crate::ask::request::{Axes, Request};
    use crate::ask::size::{ByteSize, KB, MB};
    use crate::jobs::kinds::Ordering;

    fn setting(experiment: Experiment, fabric: FabricKind, nodes: u32, senders: Senders, bytes: u64, machine: &Machine) -> Setting {
        let axes = Axes { fabric: vec![FabricName::Real(fabric)], nodes: vec![nodes], size: vec![ByteSize(bytes)], ..Axes::default() };
        let axes = Axes { senders: vec![senders], ordering: vec![Ordering::ORDERED], ..axes };
        let plan = Plan::of(&Request { experiments: vec![experiment], quick: false, axes }, machine).unwrap();
        plan.points[0].setting.clone()
    }

    #[test]
    fn an_estimate_is_close_to_what_was_measured() {
        let machine = Machine { cores: vec![0, 1], memory_bytes: 16 << 30, ..Machine::default() };
        let (shm, tcp) = (FabricKind::Shm, FabricKind::Tcp);
        // Gigabytes a second of all senders.
        for (fabric, nodes, senders, bytes, measured) in [
            (shm, 2, Senders::One, MB, 30.0),
            (shm, 4, Senders::One, MB, 4.5),
            (shm, 16, Senders::All, MB, 1.1),
            (shm, 2, Senders::One, 100 * MB, 12.0),
            (shm, 8, Senders::All, 100 * MB, 1.3),
            (shm, 4, Senders::All, 10 * KB, 3.0),
            (shm, 8, Senders::One, 10 * KB, 0.26),
            (tcp, 2, Senders::One, MB, 2.5),
            (tcp, 8, Senders::One, MB, 0.38),
            (tcp, 16, Senders::All, MB, 0.15),
            (tcp, 4, Senders::One, 10 * KB, 0.3),
        ] {
            let setting = setting(Experiment::Multicast, fabric, nodes, senders, bytes, &machine);
            let estimated = 1000.0 * bytes as f64 * f64::from(setting.senders) / 1e9 / moving_seconds(&setting, 1000, &machine);
            let off = (estimated / measured).max(measured / estimated);
            assert!(off < 1.6, "{fabric} n={nodes} {senders} of {bytes}: {estimated:.2} estimated, {measured:.2} measured");
        }
        // Millions of one-byte messages a second.
        for (fabric, nodes, senders, measured) in [
            (shm, 2, Senders::One, 30.0),
            (shm, 4, Senders::All, 9.7),
            (shm, 8, Senders::All, 3.0),
            (tcp, 2, Senders::One, 15.0),
            (tcp, 8, Senders::One, 1.5),
        ] {
            let setting = setting(Experiment::SmcRate, fabric, nodes, senders, 1, &machine);
            let estimated = 1000.0 * f64::from(setting.senders) / 1e6 / moving_seconds(&setting, 1000, &machine);
            let off = (estimated / measured).max(measured / estimated);
            assert!(off < 1.6, "{fabric} n={nodes} {senders}: {estimated:.2} M/s estimated, {measured:.2} measured");
        }
    }

    #[test]
    fn more_messages_take_longer_whatever_is_done() {
        let machine = Machine { cores: vec![0, 1], memory_bytes: 16 << 30, ..Machine::default() };
        let request = Request { experiments: Experiment::ALL.to_vec(), quick: false, axes: Axes::default() };
        for point in Plan::of(&request, &machine).unwrap().points {
            let (few, many) = (moving_seconds(&point.setting, 10, &machine), moving_seconds(&point.setting, 10_000, &machine));
            assert!(few > 0.0 && many > few && many.is_finite(), "{:?}: {few} and {many}", point.setting);
        }
    }

    #[test]
    fn latencies_of_more_messages_than_are_kept_take_no_longer() {
        let machine = Machine { cores: vec![0, 1], memory_bytes: 16 << 30, ..Machine::default() };
        let request = Request { experiments: vec![Experiment::Latency], quick: false, axes: Axes::default() };
        for point in Plan::of(&request, &machine).unwrap().points {
            let seconds = |messages| moving_seconds(&point.setting, messages, &machine);
            let most = policy::latencies_max(point.setting.senders);
            assert_eq!(seconds(policy::MESSAGES_MAX), seconds(most), "{:?}", point.setting);
        }
    }
}
