//! What limits hold this process, and what they are too low for.

use squall_report::{Environment, units};

use super::finding::Finding;
use crate::ask::axes::NODES_MAX;
use crate::ask::policy;

/// Threads of a node: its loop, the one that hears its parent, those of its fabric.
const THREADS_A_NODE: u64 = 6;
/// Memory that RDMA is of no use without.
const LOCKED_BYTES_MIN: u64 = 64 << 20;
/// Raises a limit for everybody, from the next login on.
const LIMITS_FILE: &str = "/etc/security/limits.d/squall.conf";

/// Findings about limits.
pub(super) fn findings(environment: &Environment) -> Vec<Finding> {
    let limits = &environment.limits;
    let mut found = of_control_groups(environment);
    if !limits.is_known {
        found.push(Finding::note("limits", "unknown: /proc/self/limits cannot be read"));
        return found;
    }
    found.push(locked_memory(environment));
    let files = policy::open_files(NODES_MAX);
    found.push(match limits.open_files {
        Some(limit) if limit < files => {
            let what = format!("{limit} a process are allowed, and a run of {NODES_MAX} nodes needs {files}");
            Finding::advice("open files", what).mended_by(for_everybody("nofile", "65536"))
        }
        limit => Finding::note("open files", format!("{} a process", or_unlimited(limit, u64::to_string))),
    });
    let threads = u64::from(NODES_MAX) * THREADS_A_NODE;
    found.push(match (limits.processes, limits.control_group_processes) {
        (_, Some(limit)) if limit < threads => {
            let what = format!("a control group allows {limit}, and a run of {NODES_MAX} nodes needs {threads}");
            Finding::advice("processes", what).mended_by(control_group("pids.max"))
        }
        (Some(limit), _) if limit < threads => {
            let what = format!("this user may have {limit}, and a run of {NODES_MAX} nodes needs {threads}");
            Finding::advice("processes", what).mended_by(for_everybody("nproc", "unlimited"))
        }
        (limit, _) => Finding::note("processes", or_unlimited(limit, u64::to_string)),
    });
    found
}

fn of_control_groups(environment: &Environment) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(quota) = environment.cpu.quota_cores {
        let cores = units::counted(environment.cpu.allowed_count as usize, "core");
        let what = format!("a control group gives {quota} cores' worth of time of {cores}; what it holds back is marked throttled");
        found.push(Finding::advice("CPU quota", what).mended_by(control_group("cpu.max")));
    }
    if let Some(most) = environment.memory.control_group_max_bytes {
        let total = units::bytes(environment.memory.total_bytes);
        let what = format!("a control group allows {} of {total}; windows shrink to fit", units::bytes(most));
        found.push(Finding::note("memory", what));
    }
    found
}

fn locked_memory(environment: &Environment) -> Finding {
    let limits = &environment.limits;
    let Some(limit) = limits.locked_bytes else { return Finding::note("locked memory", "unlimited") };
    let most = units::bytes(limit);
    let mend = match limits.locked_bytes_hard {
        Some(hard) if hard == limit => for_everybody("memlock", "unlimited"),
        _ => "ulimit -l $(ulimit -Hl)".to_owned(),
    };
    match (environment.infiniband.is_empty(), limit < LOCKED_BYTES_MIN) {
        (false, true) => {
            Finding::wrong("locked memory", format!("RDMA locks the memory it registers, and {most} is all that may be locked"))
                .mended_by(mend)
        }
        (false, false) => {
            Finding::advice("locked memory", format!("RDMA locks the memory it registers, and {most} may be locked")).mended_by(mend)
        }
        (true, _) => Finding::advice("locked memory", format!("{most} may be locked; larger regions may be swapped out")).mended_by(mend),
    }
}

/// The command that raises a limit of users.
fn for_everybody(item: &str, value: &str) -> String {
    format!("echo '* - {item} {value}' | sudo tee -a {LIMITS_FILE}   # then log in again")
}

/// The command that shows where a control group is limited, and lifts it.
fn control_group(file: &str) -> String {
    format!("grep -vs max /sys/fs/cgroup/{file} /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/{file}; echo max | sudo tee FILE")
}

fn or_unlimited<T>(limit: Option<T>, shown: impl Fn(&T) -> String) -> String {
    limit.as_ref().map_or_else(|| "unlimited".into(), shown)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use squall_report::environment::InfinibandDevice;

    fn about<'a>(findings: &'a [Finding], about: &str) -> &'a Finding {
        findings.iter().find(|finding| finding.about == about).unwrap()
    }

    #[test]
    fn little_locked_memory_is_wrong_only_where_there_is_rdma() {
        let mut environment = Environment::default();
        environment.limits.is_known = true;
        environment.limits.locked_bytes = Some(8 << 20);
        environment.limits.locked_bytes_hard = Some(8 << 20);
        let found = findings(&environment);
        let locked = about(&found, "locked memory");
        assert_eq!(locked.level, Level::Advice);
        assert!(locked.mend.as_ref().unwrap().contains("memlock unlimited"));
        environment.infiniband.push(InfinibandDevice::default());
        assert_eq!(about(&findings(&environment), "locked memory").level, Level::Wrong);
        // What may be raised without an administrator is raised so.
        environment.limits.locked_bytes_hard = None;
        assert_eq!(about(&findings(&environment), "locked memory").mend.as_deref(), Some("ulimit -l $(ulimit -Hl)"));
        environment.limits.locked_bytes = None;
        assert_eq!(about(&findings(&environment), "locked memory").level, Level::Note);
    }

    #[test]
    fn what_cannot_be_read_is_not_unlimited() {
        let found = findings(&Environment::default());
        assert!(found.len() == 1 && found[0].what.starts_with("unknown"), "{found:?}");
    }

    #[test]
    fn each_limit_that_is_too_low_is_named_with_a_command() {
        let mut environment = Environment::default();
        environment.limits.is_known = true;
        environment.limits.open_files = Some(256);
        environment.limits.control_group_processes = Some(100);
        environment.cpu.quota_cores = Some(1.5);
        let found = findings(&environment);
        for name in ["open files", "processes", "CPU quota"] {
            let finding = about(&found, name);
            assert!(finding.level == Level::Advice && finding.mend.is_some(), "{finding:?}");
        }
        assert!(about(&found, "processes").mend.as_ref().unwrap().contains("pids.max"));
        environment.limits.control_group_processes = None;
        environment.limits.processes = Some(100);
        assert!(about(&findings(&environment), "processes").mend.as_ref().unwrap().contains("nproc"));
    }
}
