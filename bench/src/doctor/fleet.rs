//! Several hosts side by side: what differs between them, who reaches whom, and who stands out.

use serde::Serialize;
use squall_report::{Environment, units};

use super::finding::{Finding, Level};
use super::limits;
use super::outliers::outliers;
use super::reach::{Link, Reach};
use crate::ask::machine::Machine;
use crate::ask::verbs::Verbs;
use crate::jobs::kinds::FabricKind;
use crate::jobs::rdma::Rdma;
use crate::run::fault::Fault;
use crate::run::hosts::Hosts;

/// Up to so many hosts every pair is tried; of more each host tries those 1, 2, 4, ... further on.
const EVERY_PAIR_MAX: u32 = 16;

/// Several hosts side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Fleet {
    /// The hosts, by rank.
    pub hosts: Vec<Host>,
    /// What is not the same on all of them.
    pub differences: Vec<Difference>,
    /// Who reaches whom, by fabric.
    pub matrices: Vec<Matrix>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Where the others reach it.
    pub name: String,
    /// What it told.
    pub environment: Environment,
    /// RDMA there.
    pub verbs: Verbs,
}

/// Something that is not the same on all hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What: `kernel`, `firmware`.
    pub what: String,
    /// By rank.
    pub values: Vec<String>,
}

/// Who reaches whom over a fabric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Matrix {
    /// The fabric.
    pub fabric: String,
    /// What was tried.
    pub links: Vec<Link>,
    /// Why nothing could be tried, if nothing could.
    pub failed: Option<String>,
}

impl Fleet {
    /// Looks at all `hosts` and tries their pairs, with RDMA devices used as `asked`.
    ///
    /// # Errors
    /// If a host does not describe itself, or the user interrupts.
    pub fn examine(hosts: &Hosts, asked: &Rdma) -> Result<Fleet, Fault> {
        let own = Environment::collect();
        let machine = Machine::of(&own, &hosts.own_rdma(asked));
        let others = hosts.describe(asked).map_err(|error| Fault::Failed(format!("{error:#}")))?;
        let machine = machine.clone().spread_over(&others);
        let mut all = vec![Host { name: hosts.name(0), environment: own, verbs: machine.verbs.clone() }];
        all.extend(others.into_iter().enumerate().map(|(index, facts)| Host {
            name: hosts.name(index + 1),
            environment: facts.environment,
            verbs: facts.verbs,
        }));
        let mut kinds = vec![FabricKind::Tcp];
        kinds.extend(machine.verbs.unavailable.is_none().then_some(FabricKind::Verbs));
        let mut matrices = Vec::new();
        for kind in kinds {
            matrices.push(matrix(kind, hosts, &machine, asked)?);
        }
        let names: Vec<String> = all.iter().map(|host| host.name.clone()).collect();
        let differences = differences(&all);
        let mut findings: Vec<Finding> = differences.iter().filter_map(|difference| judged(difference, &names)).collect();
        findings.extend(of_hosts(&all));
        for matrix in &matrices {
            findings.extend(matrix.failed.as_ref().map(|why| Finding::wrong(format!("fabric {}", matrix.fabric), why.clone())));
            findings.extend(outliers(&matrix.fabric, &matrix.links, &names));
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Ok(Fleet { hosts: all, differences, matrices, findings })
    }
}

/// Pairs that are tried among so many hosts.
fn pairs(count: u32) -> Vec<(u32, u32)> {
    let is_tried = |from: u32, to: u32| {
        let ahead = (to + count - from) % count;
        ahead > 0 && (count <= EVERY_PAIR_MAX || ahead.is_power_of_two())
    };
    (0..count).flat_map(|from| (0..count).filter(move |&to| is_tried(from, to)).map(move |to| (from, to))).collect()
}

fn matrix(kind: FabricKind, hosts: &Hosts, machine: &Machine, asked: &Rdma) -> Result<Matrix, Fault> {
    let mut matrix = Matrix { fabric: kind.to_string(), links: Vec::new(), failed: None };
    let tried = (|| {
        let mut reach = Reach::open(kind, hosts.count(), machine, asked, Some(hosts), hosts.interrupt())?;
        for (from, to) in pairs(hosts.count()) {
            matrix.links.push(reach.link(from, to)?);
        }
        reach.finish();
        Ok(())
    })();
    match tried {
        Err(Fault::Interrupted) => Err(Fault::Interrupted),
        Err(fault) => Ok(Matrix { failed: Some(fault.to_string()), ..matrix }),
        Ok(()) => Ok(matrix),
    }
}

/// What hosts are compared by.
fn traits_of(host: &Host) -> Vec<(&'static str, String)> {
    let Environment { squall, cpu, memory, kernel, limits, network, infiniband, .. } = &host.environment;
    let limit = |limit: Option<u64>, shown: fn(u64) -> String| limit.map_or_else(|| "unlimited".into(), shown);
    let joined = |values: Vec<String>| values.join(", ");
    let is_real = |name: &str| name != "lo" && !name.starts_with("veth") && !name.starts_with("docker");
    let mtus = network.iter().filter(|one| one.state == "up" && is_real(&one.name)).map(|one| one.mtu_bytes.to_string());
    let rates = infiniband.iter().flat_map(|device| &device.ports).map(|port| port.rate.clone());
    vec![
        ("squall", squall.headline()),
        ("kernel", kernel.release.clone()),
        ("distribution", kernel.distribution.clone()),
        ("processor", format!("{} ({} cores)", cpu.model, cpu.core_count)),
        ("memory", units::bytes(memory.total_bytes >> 30 << 30)),
        ("governor", cpu.governor.clone()),
        ("clock source", cpu.clock_source.clone()),
        ("huge pages", memory.huge_pages.transparent_shared.clone()),
        ("locked memory", limit(limits.locked_bytes, units::bytes)),
        ("open files", limit(limits.open_files, |count| count.to_string())),
        ("MTU", joined(mtus.collect())),
        ("RDMA devices", joined(infiniband.iter().map(|device| device.adapter.clone()).collect())),
        ("firmware", joined(infiniband.iter().map(|device| device.firmware.clone()).collect())),
        ("RDMA rate", joined(rates.collect())),
    ]
}

fn differences(hosts: &[Host]) -> Vec<Difference> {
    let traits: Vec<_> = hosts.iter().map(traits_of).collect();
    let Some(first) = traits.first() else { return Vec::new() };
    let at = |index: usize| Difference { what: first[index].0.to_owned(), values: traits.iter().map(|own| own[index].1.clone()).collect() };
    (0..first.len()).map(at).filter(|difference| difference.values.iter().any(|value| *value != difference.values[0])).collect()
}

/// What a difference means; nothing if it is only one of hardware.
fn judged(difference: &Difference, names: &[String]) -> Option<Finding> {
    let usual = most_common(&difference.values);
    let odd: Vec<String> = difference
        .values
        .iter()
        .zip(names)
        .filter(|(value, _)| **value != usual)
        .map(|(value, name)| format!("{name} has {}", if value.is_empty() { "none" } else { value }))
        .collect();
    let what = format!("{}; most have {}", odd.join(", "), if usual.is_empty() { "none" } else { &usual });
    let about = difference.what.clone();
    let (level, mend) = match difference.what.as_str() {
        "squall" => (Level::Wrong, Some("install the same squall on all hosts".to_owned())),
        "MTU" => (Level::Wrong, Some(format!("sudo ip link set dev INTERFACE mtu {}", usual.split(", ").next().unwrap_or_default()))),
        "RDMA rate" => (Level::Advice, Some("ibstat; sudo mlxlink -d DEVICE -m   # a bad cable trains to a lower rate".into())),
        "firmware" => (Level::Advice, Some("sudo mlxfwmanager -u".into())),
        "governor" => (Level::Advice, Some(format!("sudo cpupower frequency-set -g {usual}"))),
        "clock source" => {
            (Level::Advice, Some(format!("echo {usual} | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource")))
        }
        "huge pages" => (Level::Advice, Some(format!("echo {usual} | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled"))),
        "locked memory" => (Level::Advice, Some("ulimit -l unlimited   # on the hosts with less".into())),
        "open files" => (Level::Advice, Some("ulimit -n 65536   # on the hosts with less".into())),
        _ => (Level::Note, None),
    };
    Some(Finding { level, about, what, mend })
}

fn most_common(values: &[String]) -> String {
    let count = |value: &String| values.iter().filter(|other| *other == value).count();
    // Of equally common ones the first host's.
    values.iter().rev().max_by_key(|value| count(value)).cloned().unwrap_or_default()
}

/// What is wrong with the limits of hosts, told once of all that have it.
fn of_hosts(hosts: &[Host]) -> Vec<Finding> {
    let mut found: Vec<(Finding, Vec<&str>)> = Vec::new();
    for host in hosts {
        for finding in limits::findings(&host.environment).into_iter().filter(|finding| finding.level > Level::Note) {
            match found.iter_mut().find(|(known, _)| *known == finding) {
                Some((_, names)) => names.push(&host.name),
                None => found.push((finding, vec![&host.name])),
            }
        }
    }
    let told = |(finding, names): (Finding, Vec<&str>)| {
        let where_ = if names.len() == hosts.len() { "all hosts".to_owned() } else { names.join(", ") };
        Finding { about: format!("{} on {where_}", finding.about), ..finding }
    };
    found.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_report::environment::NetworkInterface;

    fn host(name: &str, mtu_bytes: u64, kernel: &str) -> Host {
        let mut environment = Environment::default();
        environment.kernel.release = kernel.into();
        environment.limits.is_known = true;
        environment.limits.locked_bytes = Some(8 << 20);
        let interface = NetworkInterface { name: "eth0".into(), state: "up".into(), mtu_bytes, ..NetworkInterface::default() };
        environment.network.push(interface);
        Host { name: name.into(), environment, verbs: Verbs::default() }
    }

    #[test]
    fn what_differs_is_named_with_the_host_that_is_alone_with_it() {
        let hosts = [host("a", 1500, "6.1"), host("b", 9000, "6.1"), host("c", 9000, "6.1")];
        let names = ["a", "b", "c"].map(str::to_owned);
        let found = differences(&hosts);
        assert_eq!(found, [Difference { what: "MTU".into(), values: ["1500", "9000", "9000"].map(str::to_owned).to_vec() }]);
        let finding = judged(&found[0], &names).unwrap();
        assert_eq!((finding.level, finding.what.as_str()), (Level::Wrong, "a has 1500; most have 9000"));
        assert!(finding.mend.unwrap().ends_with("mtu 9000"));
        let kernels = differences(&[host("a", 1500, "6.1"), host("b", 1500, "6.2")]);
        assert_eq!(judged(&kernels[0], &names[..2]).unwrap().level, Level::Note);
    }

    #[test]
    fn what_all_hosts_lack_is_said_once() {
        let found = of_hosts(&[host("a", 1500, "6.1"), host("b", 1500, "6.1")]);
        let locked: Vec<_> = found.iter().filter(|finding| finding.about.starts_with("locked memory")).collect();
        assert_eq!(locked.len(), 1);
        assert_eq!(locked[0].about, "locked memory on all hosts");
    }

    #[test]
    fn every_pair_is_tried_of_few_hosts_and_a_part_of_many() {
        assert_eq!(pairs(3), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
        let many = pairs(64);
        assert_eq!(many.len(), 64 * 6);
        assert!(many.iter().all(|(from, to)| from != to));
    }
}
