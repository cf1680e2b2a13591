//! What `squall run` and `squall reproduce` take to run on several hosts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use squall_transport::Ports;

use super::environment::Launched;
use crate::ask::hostlist::{self, HostListError};
use crate::ask::network::Network;
use crate::ask::request::UsageError;

/// Several hosts.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Hosts (one node each; results come back here)")]
pub(in crate::cli) struct LaunchArgs {
    /// Hosts to run on [example: node1,node[3-7]]
    #[arg(long, value_name = "LIST", conflicts_with = "hostfile")]
    hosts: Option<String>,
    /// File with hosts to run on, one a line
    #[arg(long, value_name = "FILE")]
    hostfile: Option<PathBuf>,
    /// What starts the nodes there [default: ssh for --hosts; within a job, who started this]
    #[arg(long, value_enum)]
    launcher: Option<Launcher>,
    /// The launcher and options of your own for it [example: "ssh -p 2222 -i key", "srun --partition=gpu"]
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    launch_with: Option<String>,
    /// Seconds to wait for all hosts
    #[arg(long, value_name = "S", default_value_t = WAIT_SECONDS, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(in crate::cli) wait: u64,
    /// Within a job: file with the cluster key [default: SQUALL_KEY, else ~/.config/squall/key, which is made]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) network: Network,
}

/// Seconds to wait for all hosts, unless it is said otherwise.
const WAIT_SECONDS: u64 = 60;

/// What starts nodes on hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Launcher {
    /// ssh; the program sends itself to hosts that do not have it
    Ssh,
    /// srun, in an allocation or making one
    Slurm,
    /// mpirun
    Mpi,
    /// Nothing: run on this host alone, even within a job
    None,
}

/// Where a run is to be, and who starts it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Where {
    /// On this host alone.
    Here,
    /// On the hosts of a job, of which this process is one task.
    Job,
    /// On these hosts, by a command for ssh.
    Ssh { hosts: Vec<String>, command: Vec<String> },
    /// By srun or mpirun, with a command for it; on these hosts, if some are named.
    Launched { by: Launcher, hosts: Vec<String>, command: Vec<String> },
}

impl LaunchArgs {
    /// What was asked for.
    pub(in crate::cli) fn asked(&self, launched: &Launched) -> Result<Where, UsageError> {
        let hosts = self.named().transpose().map_err(|error| UsageError(error.to_string()))?;
        let command = |program: &str| -> Result<Vec<String>, UsageError> {
            let Some(text) = &self.launch_with else { return Ok(vec![program.to_owned()]) };
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let named = words.first().map(|word| word.rsplit('/').next().unwrap_or_default().to_owned());
            match named {
                Some(named) if !named.is_empty() && !named.starts_with('-') => Ok(words),
                _ => Err(UsageError(format!("--launch-with \"{text}\": begin with the program, such as \"{program} OPTION...\""))),
            }
        };
        match (self.launcher, hosts) {
            (None | Some(Launcher::Ssh), Some(hosts)) if hosts.len() < 2 => {
                Err(UsageError(format!("{} alone: a run across hosts takes two or more; for one, run squall there", hosts[0])))
            }
            (None | Some(Launcher::Ssh), Some(hosts)) => Ok(Where::Ssh { hosts, command: command("ssh")? }),
            (Some(Launcher::Ssh), None) => {
                Err(UsageError("--launcher ssh: name the hosts, --hosts node1,node[3-7] or --hostfile FILE".into()))
            }
            (Some(by @ Launcher::Slurm), hosts) => Ok(Where::Launched { by, hosts: hosts.unwrap_or_default(), command: command("srun")? }),
            (Some(by @ Launcher::Mpi), hosts) => Ok(Where::Launched { by, hosts: hosts.unwrap_or_default(), command: command("mpirun")? }),
            (Some(Launcher::None), Some(_)) => {
                Err(UsageError("--launcher none runs here, and --hosts elsewhere: leave one of them out".into()))
            }
            (None | Some(Launcher::None), None) if self.launch_with.is_some() => {
                Err(UsageError("--launch-with has no effect without --hosts or --launcher".into()))
            }
            (None, None) if launched.task_of.is_some() => Ok(Where::Job),
            (None | Some(Launcher::None), None) => match self.of_hosts_alone() {
                None => Ok(Where::Here),
                Some(flag) => Err(UsageError(format!("--{flag} has an effect on runs across hosts only; add --hosts, or leave it out"))),
            },
        }
    }

    /// A flag that was given on the command line and means nothing on one host: what the environment says holds for
    /// every run of the host.
    fn of_hosts_alone(&self) -> Option<&'static str> {
        let from_environment = |name: &str| std::env::var_os(name).is_some();
        given([
            ("interface", !self.network.interface.is_empty() && !from_environment("SQUALL_INTERFACE")),
            ("ports", self.network.ports != Ports::ANY && !from_environment("SQUALL_PORTS")),
            ("key-file", self.key_file.is_some()),
            ("wait", self.wait != WAIT_SECONDS),
        ])
    }

    /// Fails for what was given to a run that a host of `squall node` begins: which hosts take part, and how they reach
    /// each other, is settled by then.
    pub(in crate::cli) fn check_behind_node(&self) -> Result<(), UsageError> {
        let of_conductors = given([
            ("hosts", self.hosts.is_some()),
            ("hostfile", self.hostfile.is_some()),
            ("launcher", self.launcher.is_some()),
            ("launch-with", self.launch_with.is_some()),
        ]);
        if let Some(flag) = of_conductors {
            return Err(UsageError(format!(
                "--{flag} behind `--` has no effect: `squall node` is one host of a run already; leave it out"
            )));
        }
        match self.of_hosts_alone() {
            None => Ok(()),
            Some(flag) => {
                Err(UsageError(format!("--{flag} behind `--` has no effect: give it in front, squall node --{flag} ... -- run ...")))
            }
        }
    }

    fn named(&self) -> Option<Result<Vec<String>, HostListError>> {
        match (&self.hosts, &self.hostfile) {
            (Some(list), _) => Some(hostlist::hosts(list)),
            (None, Some(path)) => Some(hostlist::hosts_of_file(path)),
            (None, None) => None,
        }
    }
}

/// The first of some flags that was given.
fn given<const N: usize>(flags: [(&'static str, bool); N]) -> Option<&'static str> {
    flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        launch: LaunchArgs,
    }

    fn asked(line: &str, task_of: Option<&'static str>) -> Result<Where, String> {
        let words = line.split('|').filter(|word| !word.is_empty());
        let line = Line::try_parse_from([""].into_iter().chain(words)).unwrap();
        line.launch.asked(&Launched { task_of, ..Launched::default() }).map_err(|error| error.to_string())
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn hosts_are_reached_by_ssh_unless_another_launcher_is_named() {
        let ssh = Where::Ssh { hosts: words("a b3 b4"), command: words("ssh") };
        assert_eq!(asked("--hosts|a,b[3-4]", None), Ok(ssh.clone()));
        assert_eq!(asked("--hosts|a,b[3-4]", Some("Slurm")), Ok(ssh), "what is named goes before who started this");
        let own = Where::Ssh { hosts: words("a b"), command: words("ssh -p 2222") };
        assert_eq!(asked("--hosts|a,b|--launch-with|ssh -p 2222", None), Ok(own));
        let slurm = Where::Launched { by: Launcher::Slurm, hosts: words("a b"), command: words("srun") };
        assert_eq!(asked("--hosts|a,b|--launcher|slurm", None), Ok(slurm));
    }

    #[test]
    fn within_a_job_the_job_is_meant_unless_it_is_said_otherwise() {
        assert_eq!(asked("", None), Ok(Where::Here));
        assert_eq!(asked("", Some("Slurm")), Ok(Where::Job));
        assert_eq!(asked("--launcher|none", Some("Slurm")), Ok(Where::Here));
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_mend() {
        for (line, expected) in [
            ("--launcher|ssh", "name the hosts"),
            ("--hosts|a", "two or more"),
            ("--hosts|a[", "not closed"),
            ("--hosts|a,b|--launcher|none", "leave one of them out"),
            ("--launch-with|ssh -v", "no effect"),
            ("--interface|ib0", "--interface has an effect on runs across hosts only"),
            ("--ports|7400-7499", "--ports has an effect on runs across hosts only"),
            ("--key-file|key", "--key-file has an effect on runs across hosts only"),
            ("--wait|5", "--wait has an effect on runs across hosts only"),
            ("--hosts|a,b|--launch-with|-p 7", "begin with the program"),
        ] {
            let error = asked(line, None).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
