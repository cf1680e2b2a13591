//! `squall doctor`: what this machine offers, what stands in the way, and which command mends it.

use clap::Args;

use super::launch::args::LaunchArgs;
use super::output::say;
use super::status::{EXIT_DONE, EXIT_FOUND, EXIT_INTERRUPTED};
use super::table;
use crate::doctor::{Diagnosis, Fabric, Finding, Fleet, Level, Matrix, Port, worst};
use crate::jobs::os;
use crate::jobs::rdma::Rdma;
use crate::run::fault::Fault;
use crate::run::hosts::Hosts;
use crate::run::interrupt::Interrupt;
use squall_report::units;

pub(super) const EXAMPLES: &str = "\
Examples:
  squall doctor
  squall doctor --all                   with what is as it should be
  squall doctor --strict                for CI: what is only slow counts too
  squall doctor --json
  squall doctor --ib-dev mlx5_1         what would be used of that device
  squall doctor --hosts node1,node[3-7]  all hosts side by side: what differs, and who reaches whom; within a job:
  srun --ntasks-per-node=1 squall doctor

Exit status: 6 if something does not work, or with --strict could work better; else 0.";

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Print notes too: what is as it should be, or worth knowing
    #[arg(long)]
    all: bool,
    /// Count advice as a failure too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    pub(super) rdma: Rdma,
    #[command(flatten)]
    pub(super) launch: LaunchArgs,
}

/// Looks at all hosts, prints what was found, and gives the exit status.
pub(super) fn examine_hosts(args: &DoctorArgs, hosts: &Hosts) -> anyhow::Result<u8> {
    let fleet = match Fleet::examine(hosts, &args.rdma) {
        Ok(fleet) => fleet,
        Err(Fault::Interrupted) => return Ok(EXIT_INTERRUPTED),
        Err(fault) => anyhow::bail!("{fault}"),
    };
    if args.json {
        say(&serde_json::to_string_pretty(&fleet)?)?;
    } else {
        say(&fleet_text(&fleet, args.all))?;
    }
    Ok(status(&fleet.findings, args.strict))
}

/// Looks at this machine, prints what was found, and gives the exit status.
pub(super) fn examine(args: &DoctorArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::catch(EXIT_INTERRUPTED)?;
    let diagnosis = match Diagnosis::of_this_machine(&args.rdma, &interrupt) {
        Ok(diagnosis) => diagnosis,
        Err(Fault::Interrupted) => return Ok(EXIT_INTERRUPTED),
        Err(fault) => anyhow::bail!("{fault}"),
    };
    if args.json {
        say(&serde_json::to_string_pretty(&diagnosis)?)?;
    } else {
        say(&text(&diagnosis, args.all))?;
    }
    Ok(status(&diagnosis.findings, args.strict))
}

pub(super) fn status(findings: &[Finding], is_strict: bool) -> u8 {
    let least = if is_strict { Level::Advice } else { Level::Wrong };
    if worst(findings).is_some_and(|worst| worst >= least) { EXIT_FOUND } else { EXIT_DONE }
}

fn text(diagnosis: &Diagnosis, all: bool) -> String {
    let mut lines = vec![diagnosis.environment.headline(), String::new()];
    lines.extend(resources(diagnosis));
    lines.push(String::new());
    lines.push(format!("topology ({})", or_unknown(&diagnosis.environment.topology.source)));
    let picture = diagnosis.environment.topology.picture();
    // A kernel for a single processor may say nothing of it.
    lines.extend(picture.is_empty().then(|| "  nothing is known of packages, cores and cards".to_owned()));
    lines.extend(picture.into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    lines.extend(diagnosis.rdma.ports.iter().flat_map(port_lines));
    lines.extend(diagnosis.fabrics.iter().map(|fabric| fabric_line(fabric, diagnosis)));
    lines.push(String::new());
    lines.extend(findings(&diagnosis.findings, all));
    lines.join("\n")
}

fn resources(diagnosis: &Diagnosis) -> Vec<String> {
    let Diagnosis { environment, machine, .. } = diagnosis;
    let shown = machine.cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let mut lines = vec![format!("cores         {} for nodes, in this order: {shown}", machine.cores.len())];
    lines.push(match diagnosis.cache_line_round_trip_ns {
        Some(ns) => format!("cache line    {ns:.0} ns a round trip between the first two cores (it varies on a virtual machine)"),
        None => "cache line    one core only: nodes take turns, and figures are emulated".into(),
    });
    if let Some(card) = &machine.card {
        let near = machine.near_cores().iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        lines.push(format!("network       data goes by {card}; with --pin near nodes take cores in this order: {near}"));
    }
    lines.push(format!("clock         {}, {:.0} ns a read", or_unknown(&environment.cpu.clock_source), diagnosis.clock_read_ns));
    let memory = &environment.memory;
    let at_most = units::bytes(machine.memory_bytes);
    lines.push(match memory.total_bytes {
        0 => format!("memory        unknown, /proc/meminfo cannot be read; a run takes at most {at_most}"),
        total => {
            let (total, free) = (units::bytes(total), units::bytes(memory.available_bytes));
            format!("memory        {total} in all, {free} free, of which a run takes at most {at_most}")
        }
    });
    let pages = &memory.huge_pages;
    lines.push(format!(
        "huge pages    transparent: {}, for shared memory: {}, reserved: {}",
        or_unknown(&pages.transparent),
        or_unknown(&pages.transparent_shared),
        pages.reserved_count
    ));
    lines.push(match os::locked_bytes_max() {
        Some(limit) => format!("locked memory {} at most", units::bytes(limit)),
        None => "locked memory unlimited".into(),
    });
    lines
}

fn port_lines(port: &Port) -> Vec<String> {
    let gigabits = port.rate_mbps as f64 / 1000.0;
    let firmware = if port.firmware.is_empty() { String::new() } else { format!(", firmware {}", port.firmware) };
    let mtu = port.mtu_bytes.map(|mtu| format!(", interface MTU {mtu}")).unwrap_or_default();
    let node = port.numa_node.map(|node| format!(", NUMA node {node}")).unwrap_or_default();
    let partitions = match port.partitions.is_empty() {
        true => String::new(),
        false => format!(", partitions {}", port.partitions.join(" ")),
    };
    let (device, number, link, state) = (&port.device, port.port, &port.link, &port.state);
    let mut lines =
        vec![format!("RDMA          {device} port {number}: {link}, {state}, {gigabits} Gb/s{firmware}{mtu}{node}{partitions}")];
    lines.extend(port.gids.iter().map(|gid| {
        let chosen = if gid.is_chosen { "*" } else { " " };
        let interface = gid.interface.as_deref().map(|name| format!(" on {name}")).unwrap_or_default();
        format!("            {chosen} GID {} = {}{interface}: {}", gid.index, gid.address, gid.merit)
    }));
    lines
}

fn fabric_line(fabric: &Fabric, diagnosis: &Diagnosis) -> String {
    let name = &fabric.name;
    let Some(link) = &fabric.link else {
        let why = diagnosis.machine.verbs.unavailable.as_deref().unwrap_or("not tried");
        return format!("fabric        {why}");
    };
    if let Some(why) = &link.failed {
        return format!("fabric        {name}: FAILED: {why}");
    }
    let number = |value: Option<f64>| value.map_or_else(|| "?".into(), units::number);
    let mtu = fabric.path_mtu_bytes.map(|mtu| format!(", packets of {mtu} bytes")).unwrap_or_default();
    let emulated = match (name.as_str(), diagnosis.machine.verbs.emulated.as_str()) {
        ("verbs", emulated) if !emulated.is_empty() => format!(" ({emulated}: figures are emulated)"),
        _ => String::new(),
    };
    format!(
        "fabric        {name}: works, {} GB/s, {} us{mtu}{emulated}; writes land {}",
        number(link.gigabytes_per_second),
        number(link.latency_us),
        fabric.order
    )
}

/// Hosts side by side: what differs, who reaches whom, and what was found.
fn fleet_text(fleet: &Fleet, all: bool) -> String {
    let mut lines = Vec::new();
    let names: Vec<&str> = fleet.hosts.iter().map(|host| host.name.as_str()).collect();
    lines.push(format!("{}: {}", units::counted(names.len(), "host"), names.join(", ")));
    lines.push(String::new());
    let header: Vec<String> = ["differs"].iter().chain(&names).map(|name| (*name).to_owned()).collect();
    let rows = fleet.differences.iter().map(|difference| [vec![difference.what.clone()], difference.values.clone()].concat());
    match fleet.differences.is_empty() {
        true => lines.push("nothing differs between them".into()),
        false => lines.push(table::plain(&header, rows)),
    }
    for matrix in &fleet.matrices {
        lines.push(String::new());
        lines.push(match &matrix.failed {
            Some(why) => format!("{}: {why}", matrix.fabric),
            None => matrix_text(matrix, &names),
        });
    }
    lines.push(String::new());
    lines.extend(findings(&fleet.findings, all));
    lines.join("\n")
}

/// From the hosts at the left to those above: gigabytes a second, and microseconds.
fn matrix_text(matrix: &Matrix, names: &[&str]) -> String {
    let header: Vec<String> =
        [format!("{}, GB/s (us)", matrix.fabric)].into_iter().chain(names.iter().map(|name| (*name).to_owned())).collect();
    let cell = |from: usize, to: usize| {
        let link = matrix.links.iter().find(|link| (link.from as usize, link.to as usize) == (from, to));
        match link {
            Some(link) if link.failed.is_some() => "FAILS".to_owned(),
            Some(link) => {
                let number = |value: Option<f64>| value.map_or_else(|| "?".into(), units::number);
                format!("{} ({})", number(link.gigabytes_per_second), number(link.latency_us))
            }
            None => "-".to_owned(),
        }
    };
    let row = |from: usize| [vec![names[from].to_owned()], (0..names.len()).map(|to| cell(from, to)).collect()].concat();
    table::plain(&header, (0..names.len()).map(row))
}

/// The findings that count, each with its mend below it.
pub(super) fn findings(findings: &[Finding], all: bool) -> Vec<String> {
    let shown = findings.iter().filter(|finding| all || finding.level > Level::Note);
    let mut lines: Vec<String> = shown
        .flat_map(|finding| {
            let line = format!("{:<6}  {}: {}", finding.level, finding.about, finding.what);
            [Some(line), finding.mend.as_ref().map(|mend| format!("          $ {mend}"))].into_iter().flatten()
        })
        .collect();
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let notes = match (all, count(Level::Note)) {
        (false, notes @ 1..) => format!(", {} with --all", units::counted(notes, "note")),
        _ => String::new(),
    };
    let (wrong, advice) = (units::counted(count(Level::Wrong), "fault"), count(Level::Advice));
    lines.push(format!("{wrong}, {advice} that could be better{notes}"));
    lines
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Link;

    #[test]
    fn advice_fails_only_where_it_is_asked_to() {
        let advice = [Finding::note("a", "b"), Finding::advice("c", "d").mended_by("mend c")];
        assert_eq!((status(&advice, false), status(&advice, true)), (EXIT_DONE, EXIT_FOUND));
        assert_eq!(status(&[Finding::wrong("e", "f")], false), EXIT_FOUND);
        assert_eq!(status(&[], true), EXIT_DONE);
    }

    #[test]
    fn a_matrix_has_a_line_a_host_and_shows_what_fails() {
        let link = |from, to, rate| Link {
            from,
            to,
            gigabytes_per_second: rate,
            latency_us: rate.map(|_| 12.0),
            failed: rate.is_none().then(|| "no".into()),
        };
        let matrix = Matrix { fabric: "tcp".into(), links: vec![link(0, 1, Some(1.5)), link(1, 0, None)], failed: None };
        let text = matrix_text(&matrix, &["a", "b"]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].trim_start().starts_with("tcp, GB/s (us)") && lines[1].contains("1.50 (12.0)") && lines[2].contains("FAILS"),
            "{text}"
        );
    }

    #[test]
    fn each_finding_stands_above_its_mend_and_notes_wait_to_be_asked() {
        let found = [Finding::wrong("loopback", "down").mended_by("ip link set lo up"), Finding::note("SMT", "on")];
        let shown = findings(&found, false).join("\n");
        assert_eq!(shown, "WRONG   loopback: down\n          $ ip link set lo up\n1 fault, 0 that could be better, 1 note with --all");
        assert!(findings(&found, true).join("\n").contains("note    SMT: on"));
    }
}
