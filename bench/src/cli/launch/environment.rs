//! Rank, size and meeting point as the program that started this one on many hosts tells them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::ask::hostlist;
use crate::ask::request::UsageError;
use crate::jobs::os;

/// What a launcher tells in the environment.
struct Launcher {
    name: &'static str,
    rank: &'static str,
    /// Where the size stands, the first that is there. Kubernetes tells none: who writes the manifest says it.
    sizes: &'static [&'static str],
    /// Without this one the others mean something else: Slurm tells a rank to a job's script too, which is no task, and
    /// anybody may call a variable `RANK`.
    only_with: Option<&'static str>,
}

/// Those that are known. Slurm is last: `mpirun` in a Slurm job hands on the variables of the job's script.
const LAUNCHERS: [Launcher; 9] = [
    Launcher { name: "Squall", rank: "SQUALL_NODE_RANK", sizes: &[OWN_SIZE], only_with: None },
    Launcher { name: "Open MPI", rank: "OMPI_COMM_WORLD_RANK", sizes: &["OMPI_COMM_WORLD_SIZE"], only_with: None },
    Launcher { name: "PMI", rank: "PMI_RANK", sizes: &["PMI_SIZE"], only_with: None },
    Launcher { name: "PALS", rank: "PALS_RANKID", sizes: &["PALS_SIZE", "PMI_SIZE"], only_with: None },
    Launcher { name: "Flux", rank: "FLUX_TASK_RANK", sizes: &["FLUX_JOB_SIZE"], only_with: None },
    Launcher { name: "torchrun", rank: "RANK", sizes: &["WORLD_SIZE"], only_with: Some("MASTER_ADDR") },
    Launcher { name: "Kubernetes", rank: "JOB_COMPLETION_INDEX", sizes: &[OWN_SIZE], only_with: None },
    Launcher { name: "PMIx", rank: "PMIX_RANK", sizes: &["PMIX_SIZE", "SLURM_STEP_NUM_TASKS"], only_with: None },
    Launcher { name: SLURM, rank: "SLURM_PROCID", sizes: &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"], only_with: None },
];
const SLURM: &str = "Slurm";
const OWN_SIZE: &str = "SQUALL_NODES";
/// Slurm sets it for the tasks of a step alone.
const SLURM_STEP: &str = "SLURM_STEP_ID";

/// Where jobs are told apart: by these, whichever are there.
const JOBS: [&str; 9] = [
    "SLURM_JOB_ID",
    SLURM_STEP,
    "PMIX_NAMESPACE",
    "PMI_JOBID",
    "PALS_APID",
    "FLUX_JOB_ID",
    "TORCHELASTIC_RUN_ID",
    "PBS_JOBID",
    "LSB_JOBID",
];
/// Those of a size and of a number of tasks on this host that are the same where all tasks share it.
const SHARED: [(&str, &str); 4] = [
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_SIZE", "MPI_LOCALNRANKS"),
    ("PMI_SIZE", "PMI_LOCAL_SIZE"),
    ("WORLD_SIZE", "LOCAL_WORLD_SIZE"),
];
/// Ports where jobs meet: below those that the kernel hands out by itself.
const PORT_FIRST: u16 = 20_000;
const PORTS: u64 = 10_000;
/// Where jobs meet that have a meeting point and no port of their own.
const PORT_USUAL: u16 = 7400;

/// What a launcher told, as far as it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Launched {
    pub(in crate::cli) rank: Option<u32>,
    pub(in crate::cli) nodes: Option<u32>,
    /// Where the tasks meet, HOST:PORT.
    pub(in crate::cli) rendezvous: Option<String>,
    /// Who started this process as one task of several, which all run the same.
    pub(in crate::cli) task_of: Option<&'static str>,
}

impl Launched {
    /// From this process' environment.
    pub(in crate::cli) fn here() -> Result<Launched, UsageError> {
        Launched::of(|name| std::env::var(name).ok())
    }

    /// From the environment that `variable` reads.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Launched, UsageError> {
        let text = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let number = |name: &str| {
            let Some(text) = text(name) else { return Ok(None) };
            let wrong = |_| {
                UsageError(format!("the environment variable {name} is {text:?}, which is no number; unset it, or give --rank and --nodes"))
            };
            text.parse().map(Some).map_err(wrong)
        };
        let size = |launcher: &Launcher| -> Result<Option<u32>, UsageError> {
            launcher.sizes.iter().chain([&OWN_SIZE]).map(|name| number(name)).find(|size| *size != Ok(None)).unwrap_or(Ok(None))
        };
        for launcher in LAUNCHERS.iter().filter(|launcher| launcher.only_with.is_none_or(|name| text(name).is_some())) {
            if let Some(rank) = number(launcher.rank)? {
                let nodes = size(launcher)?;
                let is_task = nodes.is_some_and(|nodes| nodes > 1) && (launcher.name != SLURM || text(SLURM_STEP).is_some());
                return Ok(Launched { rank: Some(rank), nodes, rendezvous: rendezvous(&text), task_of: is_task.then_some(launcher.name) });
            }
        }
        // Slurm's size also stands where it has started no tasks, in the shell of an allocation.
        let nodes = ["SQUALL_NODES", "SLURM_NTASKS"].into_iter().map(number).find(|size| *size != Ok(None)).unwrap_or(Ok(None))?;
        Ok(Launched { nodes, ..Launched::default() })
    }

    /// The names of all variables, for people.
    pub(in crate::cli) fn variables() -> String {
        LAUNCHERS.map(|launcher| format!("{}/{}", launcher.rank, launcher.sizes.join("|"))).join(", ")
    }
}

/// Where the tasks of a job meet, if the launcher names a host that some of them are on. Which rank that is does not
/// matter.
fn rendezvous(text: &impl Fn(&str) -> Option<String>) -> Option<String> {
    if let Some(own) = text("SQUALL_RENDEZVOUS") {
        return Some(own);
    }
    let port = port(text);
    if let Some(master) = text("MASTER_ADDR") {
        // The port itself is torch's.
        let beside = text("MASTER_PORT").and_then(|port| port.parse::<u16>().ok()).and_then(|port| port.checked_add(1));
        return Some(format!("{master}:{}", beside.unwrap_or(PORT_USUAL)));
    }
    if SHARED.iter().any(|(all, here)| text(all).is_some_and(|all| text(here).is_some_and(|here| all == here))) {
        return Some(on_this_host(port));
    }
    if text("FLUX_JOB_NNODES").as_deref() == Some("1") {
        return Some(on_this_host(port));
    }
    let first = |list: String| hostlist::hosts(&list).ok()?.into_iter().next();
    let of_file = |path: String| {
        let text = String::from_utf8(squall_report::read_file(Path::new(&path)).ok()?).ok()?;
        text.split_whitespace().next().map(str::to_owned)
    };
    let host = text("SLURM_STEP_NODELIST").filter(|_| text("OMPI_COMM_WORLD_RANK").is_none()).and_then(first);
    let host = host.or_else(|| text("SLURM_JOB_NODELIST").and_then(first)).or_else(|| text("PBS_NODEFILE").and_then(of_file));
    let host = host.or_else(|| text("LSB_HOSTS").and_then(|hosts| hosts.split_whitespace().next().map(str::to_owned)));
    host.map(|host| format!("{host}:{port}"))
}

/// Where tasks of one host meet.
fn on_this_host(port: u16) -> String {
    SocketAddr::new(os::loopback().unwrap_or(Ipv4Addr::LOCALHOST.into()), port).to_string()
}

/// A port that hardly any other job of this host meets at.
fn port(text: &impl Fn(&str) -> Option<String>) -> u16 {
    let job: Vec<String> = JOBS.iter().filter_map(|name| text(name)).collect();
    // FNV-1a: all tasks must come to the same, whatever they run on.
    let hash = job.join("/").bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    PORT_FIRST + (hash % PORTS) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Launched, UsageError> {
        Launched::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn rank_and_size(variables: &[(&str, &str)]) -> (Option<u32>, Option<u32>, Option<&'static str>) {
        let launched = of(variables).unwrap();
        (launched.rank, launched.nodes, launched.task_of)
    }

    #[test]
    fn each_launcher_is_understood() {
        for launcher in &LAUNCHERS {
            for size in launcher.sizes {
                let only_with = launcher.only_with.unwrap_or("NOTHING");
                let variables = [(launcher.rank, "2"), (size, "4"), (only_with, "node1"), (SLURM_STEP, "0")];
                assert_eq!(rank_and_size(&variables), (Some(2), Some(4), Some(launcher.name)));
            }
        }
        assert_eq!(of(&[]), Ok(Launched::default()));
        assert_eq!(rank_and_size(&[("SLURM_NTASKS", "8")]), (None, Some(8), None));
        assert_eq!(rank_and_size(&[("JOB_COMPLETION_INDEX", "1"), ("SQUALL_NODES", "3")]), (Some(1), Some(3), Some("Kubernetes")));
    }

    #[test]
    fn mpirun_in_a_slurm_job_goes_before_the_job() {
        let nested = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1"), ("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "4")];
        assert_eq!(rank_and_size(&nested), (Some(3), Some(4), Some("Open MPI")));
    }

    #[test]
    fn a_jobs_script_a_single_task_and_a_strangers_rank_are_no_tasks() {
        let script = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4"), ("SLURM_JOB_ID", "7")];
        assert_eq!(rank_and_size(&script), (Some(0), Some(4), None));
        let shell = [("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "1"), (SLURM_STEP, "0")];
        assert_eq!(rank_and_size(&shell), (Some(0), Some(1), None));
        assert_eq!(rank_and_size(&[("RANK", "colonel"), ("WORLD_SIZE", "8")]), (None, None, None));
    }

    #[test]
    fn all_tasks_of_a_job_meet_at_a_host_of_it() {
        let at = |variables: &[(&str, &str)]| of(variables).unwrap().rendezvous.unwrap_or_default();
        let torch = [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "node1"), ("MASTER_PORT", "29500")];
        assert_eq!(at(&torch), "node1:29501");
        let slurm = [("SLURM_PROCID", "1"), ("SLURM_STEP_NODELIST", "gpu[07-09],login"), ("SLURM_JOB_ID", "4711")];
        let (host, port) = at(&slurm).split_once(':').map(|(host, port)| (host.to_owned(), port.parse::<u16>().unwrap())).unwrap();
        assert!(host == "gpu07" && (20_000..30_000).contains(&port), "{host}:{port}");
        let next: Vec<_> = slurm.iter().map(|&(name, value)| (name, if name == "SLURM_JOB_ID" { "4712" } else { value })).collect();
        assert_ne!(at(&next), at(&slurm), "jobs that share a host do not share a port");
        let here = [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_LOCAL_SIZE", "4")];
        assert_eq!(at(&here).parse::<SocketAddr>().unwrap().ip(), os::loopback().unwrap());
        assert_eq!(at(&[("PMI_RANK", "1"), ("PMI_SIZE", "4"), ("SQUALL_RENDEZVOUS", "a:1")]), "a:1");
        assert_eq!(at(&[("PMI_RANK", "1"), ("PMI_SIZE", "4")]), "", "nobody says which hosts there are");
    }

    #[test]
    fn what_is_no_number_is_named() {
        let error = of(&[("PMI_RANK", "first")]).unwrap_err();
        assert!(error.0.contains("PMI_RANK is \"first\""), "{error}");
    }
}
