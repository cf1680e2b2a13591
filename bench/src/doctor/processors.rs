//! Processors, clocks and memory: what makes figures slow or unsteady.

use squall_report::Environment;
use squall_report::environment::HugePages;

use super::finding::Finding;
use crate::ask::machine::Machine;

/// A read of the clock that costs more than this stands in the way of the latencies that it times.
const CLOCK_READ_NS_MAX: f64 = 100.0;
/// Clocks that a program reads without asking the kernel.
const CHEAP_CLOCKS: [&str; 5] = ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "timebase"];

/// Findings about processors, clocks and memory; `clock_read_ns` is what one read of the clock took.
pub(super) fn findings(environment: &Environment, machine: &Machine, clock_read_ns: f64) -> Vec<Finding> {
    let mut found = cores(environment, machine);
    found.extend(governor(environment));
    found.push(clock(environment, clock_read_ns));
    found.extend(huge_pages(&environment.memory.huge_pages));
    found
}

fn cores(environment: &Environment, machine: &Machine) -> Vec<Finding> {
    let cpu = &environment.cpu;
    let mut found = Vec::new();
    if let Some(why) = &machine.unpinned {
        found.push(Finding::advice("pinning", format!("refused, so nodes run wherever the kernel puts them ({why})")));
    }
    if machine.cores.len() == 1 {
        found.push(Finding::advice("cores", "nodes share the only one and take turns: figures are emulated"));
    }
    if cpu.hyperthreading {
        let what = format!("cores run two threads: nodes take one each of {} cores before two share one", cpu.core_count);
        found.push(Finding::note("SMT", what));
    }
    let is_virtual = !cpu.hypervisor.is_empty();
    if is_virtual {
        found.push(Finding::note("hypervisor", "this is a virtual machine: its host may take cores away at any time, which figures show"));
    } else if cpu.isolated.is_empty() {
        let last = machine.cores.len().saturating_sub(1);
        let what = "none: the kernel puts other work on the cores of nodes; for steadier figures keep it off them";
        let arguments = format!("isolcpus=managed_irq,domain,1-{last} nohz_full=1-{last}");
        let mend = format!("sudo grubby --update-kernel=ALL --args='{arguments}'   # or GRUB_CMDLINE_LINUX; then boot again");
        found.push(Finding { mend: (last > 0).then_some(mend), ..Finding::note("isolated cores", what) });
    }
    if !cpu.isolated.is_empty() {
        let what = format!("{}: nodes run there only if they are told to", cpu.isolated);
        found.push(Finding::note("isolated cores", what).mended_by(format!("taskset -c {} squall ...", cpu.isolated)));
    }
    found
}

fn governor(environment: &Environment) -> Option<Finding> {
    let governor = &environment.cpu.governor;
    match governor.as_str() {
        "" => None,
        "performance" => Some(Finding::note("governor", "performance")),
        _ => {
            let what = format!("{governor}: cores slow down when a node waits, and take their time to be fast again");
            Some(Finding::advice("governor", what).mended_by("sudo cpupower frequency-set -g performance"))
        }
    }
}

fn clock(environment: &Environment, read_ns: f64) -> Finding {
    let cpu = &environment.cpu;
    let source = if cpu.clock_source.is_empty() { "unknown" } else { &cpu.clock_source };
    let told = format!("{source}, {read_ns:.0} ns a read");
    let better = cpu.clock_sources.iter().find(|other| CHEAP_CLOCKS.contains(&other.as_str()));
    match (read_ns > CLOCK_READ_NS_MAX, better) {
        (false, _) => Finding::note("clock", told),
        (true, Some(better)) if better != &cpu.clock_source => {
            let file = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
            Finding::advice("clock", format!("{told}: short latencies are mostly the clock's"))
                .mended_by(format!("echo {better} | sudo tee {file}"))
        }
        (true, _) => Finding::advice("clock", format!("{told}: short latencies are mostly the clock's")),
    }
}

fn huge_pages(pages: &HugePages) -> Option<Finding> {
    let shared = pages.transparent_shared.as_str();
    match shared {
        "never" | "deny" => {
            let what = format!("{shared} for shared memory, which regions are: each page of 4 KB takes an entry of the TLB");
            Some(Finding::advice("huge pages", what).mended_by("echo advise | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled"))
        }
        "" => None,
        _ => Some(Finding::note("huge pages", format!("{shared} for shared memory; {} reserved", pages.reserved_count))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn of(change: impl Fn(&mut Environment), clock_read_ns: f64) -> Vec<Finding> {
        let mut environment = Environment::default();
        change(&mut environment);
        findings(&environment, &Machine { cores: vec![0, 1, 2, 3], ..Machine::default() }, clock_read_ns)
    }

    fn advice<'a>(found: &'a [Finding], about: &str) -> Option<&'a Finding> {
        found.iter().find(|finding| finding.about == about && finding.level == Level::Advice)
    }

    #[test]
    fn a_slow_clock_is_replaced_by_a_cheap_one_where_there_is_one() {
        let hpet = |environment: &mut Environment| {
            environment.cpu.clock_source = "hpet".into();
            environment.cpu.clock_sources = vec!["hpet".into(), "tsc".into()];
        };
        assert!(advice(&of(hpet, 900.0), "clock").unwrap().mend.as_ref().unwrap().starts_with("echo tsc |"));
        assert!(advice(&of(hpet, 20.0), "clock").is_none());
        let alone = |environment: &mut Environment| environment.cpu.clock_sources = vec!["hpet".into()];
        assert_eq!(advice(&of(alone, 900.0), "clock").unwrap().mend, None);
    }

    #[test]
    fn what_makes_figures_unsteady_is_named_with_its_mend() {
        let unsteady = |environment: &mut Environment| {
            environment.cpu.governor = "powersave".into();
            environment.memory.huge_pages.transparent_shared = "never".into();
        };
        let found = of(unsteady, 20.0);
        for name in ["governor", "huge pages"] {
            assert!(advice(&found, name).unwrap().mend.is_some(), "{name}");
        }
        let steady = |environment: &mut Environment| {
            environment.cpu.governor = "performance".into();
            environment.memory.huge_pages.transparent_shared = "advise".into();
        };
        assert!(of(steady, 20.0).iter().all(|finding| finding.level == Level::Note));
    }

    #[test]
    fn isolation_is_for_machines_that_are_no_guests() {
        let is_told = |found: &[Finding]| found.iter().any(|finding| finding.about == "isolated cores" && finding.mend.is_some());
        assert!(is_told(&of(|_| {}, 20.0)));
        assert!(!is_told(&of(|environment| environment.cpu.hypervisor = "virtual machine".into(), 20.0)));
        let isolated = of(|environment| environment.cpu.isolated = "2-3".into(), 20.0);
        assert!(isolated.iter().any(|finding| finding.mend.as_deref() == Some("taskset -c 2-3 squall ...")));
    }
}
