//! `squall doctor`: what this machine offers.

use serde_json::json;

use super::output::say;
use crate::ask::machine::Machine;
use crate::jobs::os::cores;
use crate::jobs::rdma::Rdma;
use crate::run::cache_line::round_trip_ns;
use squall_report::{Environment, units};

/// Prints it.
pub(super) fn print(as_json: bool) -> anyhow::Result<()> {
    let environment = Environment::collect();
    let machine = Machine::of(&environment, &Rdma::default());
    let round_trip = round_trip_ns(&cores());
    if as_json {
        let found = json!({
            "environment": environment,
            "cores": machine.cores,
            "memory_for_runs_bytes": machine.memory_bytes,
            "cache_line_round_trip_ns": round_trip,
            "verbs": machine.verbs,
        });
        return say(&serde_json::to_string_pretty(&found)?);
    }
    for line in lines(&environment, &machine, round_trip) {
        say(&line)?;
    }
    Ok(())
}

fn lines(environment: &Environment, machine: &Machine, round_trip_ns: Option<f64>) -> Vec<String> {
    let mut lines = vec![environment.headline()];
    let shown = machine.cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    lines.push(format!("cores         {} for nodes: {shown}", machine.cores.len()));
    match round_trip_ns {
        Some(ns) => {
            lines.push(format!("cache line    {ns:.0} ns a round trip between the first two cores (it varies on a virtual machine)"))
        }
        None => lines.push("cache line    one core only: nodes take turns, and figures are emulated".into()),
    }
    let memory = &environment.memory;
    lines.push(format!(
        "memory        {} in all, {} free, of which a run takes at most {}",
        units::bytes(memory.total_bytes),
        units::bytes(memory.available_bytes),
        units::bytes(machine.memory_bytes)
    ));
    let pages = &memory.huge_pages;
    lines.push(format!(
        "huge pages    transparent: {}, for shared memory: {}, reserved: {}",
        or_unknown(&pages.transparent),
        or_unknown(&pages.transparent_shared),
        pages.reserved_count
    ));
    lines.push(match environment.limits.locked_bytes {
        Some(limit) => {
            format!("locked memory {} at most; larger regions stay unlocked (raise with `ulimit -l unlimited`)", units::bytes(limit))
        }
        None => "locked memory unlimited".into(),
    });
    let verbs = &machine.verbs;
    let verbs = match &verbs.unavailable {
        None if verbs.emulated.is_empty() => format!("verbs: available, {}", verbs.chosen),
        None => format!("verbs: available, {} ({}: figures are emulated)", verbs.chosen, verbs.emulated),
        Some(why) => why.clone(),
    };
    for fabric in ["shm: available", "tcp: available", &verbs] {
        lines.push(format!("fabric        {fabric}"));
    }
    lines
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}
