//! Where a run that was asked for is started: here, as a task of a job, or on other hosts.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use squall_report::{Moment, new_folder};

use super::launch::args::{Launcher, Where};
use super::launch::environment::Launched;
use super::measure::Measurement;
use super::node;
use super::output::say;
use super::status::EXIT_INTERRUPTED;
use crate::ask::request::UsageError;
use crate::run::execute::how_to_resume;
use crate::run::interrupt::Interrupt;
use crate::run::launch::batch::BatchRun;
use crate::run::launch::ssh::SshRun;

/// Runs it where it is to be; the exit status.
pub(super) fn start(measurement: Measurement) -> anyhow::Result<u8> {
    let launched = Launched::here()?;
    let place = measurement.launch.asked(&launched)?;
    if place != Where::Here && measurement.request.axes.is_modelled() {
        return Err(UsageError(
            "modelled clusters are one process on one host: leave --hosts out, or within a job give --launcher none".into(),
        )
        .into());
    }
    match place {
        Where::Here => measurement.measure(None),
        Where::Job => node::within_job(launched, &measurement),
        Where::Ssh { hosts, command } => by_ssh(measurement, hosts, command),
        Where::Launched { by, hosts, command } => by_launcher(&measurement, by, &hosts, &command),
    }
}

/// On hosts that ssh reaches; results come to the folder here.
fn by_ssh(measurement: Measurement, hosts: Vec<String>, command: Vec<String>) -> anyhow::Result<u8> {
    let Measurement { output, launch, name, subcommand, command: words, doctor, .. } = measurement;
    let folder = match (output.resume, output.out) {
        // It leaves no results: the folder stays empty, and goes.
        _ if doctor.is_some() => {
            new_folder(Some(&std::env::temp_dir().join(format!("squall-{}", std::process::id()))), &name, &Moment::now())?
        }
        (true, Some(out)) => out,
        (true, None) => return Err(UsageError("--resume continues a run: name its folder with --out".into()).into()),
        (false, out) => new_folder(out.as_deref(), &name, &Moment::now())?,
    };
    let interrupt = Interrupt::catch(EXIT_INTERRUPTED)?;
    let wait = Duration::from_secs(launch.wait);
    let run = SshRun { command, hosts, words, folder: folder.clone(), resume: output.resume, wait, network: launch.network };
    let status = run.conduct(&interrupt)?;
    if status == EXIT_INTERRUPTED {
        let _ = writeln!(io::stderr(), "interrupted; {}", how_to_resume(&folder, &format!("{subcommand} --hosts ...")));
    }
    let report = folder.join("report.html");
    if report.exists() && !output.json {
        say(&format!("report: {}", report.display()))?;
    }
    Ok(status)
}

/// By srun or mpirun, which start this same command everywhere. Results are where rank 0 runs, in a folder that all
/// hosts mostly share.
fn by_launcher(measurement: &Measurement, by: Launcher, hosts: &[String], command: &[String]) -> anyhow::Result<u8> {
    let program = std::env::current_exe().context("the path of this program, for the other hosts")?;
    let (name, own) = command.split_first().context("no program to start the processes with")?;
    let most = measurement.request.axes.nodes.iter().copied().max();
    let mut words = vec![name.clone()];
    let list = hosts.join(",");
    let count = most.or_else(|| u32::try_from(hosts.len()).ok().filter(|&count| count > 0));
    match by {
        Launcher::Slurm => {
            words.extend(["--ntasks-per-node=1", "--cpu-bind=none", "--kill-on-bad-exit=0", "--export=ALL"].map(str::to_owned));
            words.extend(count.into_iter().flat_map(|count| [format!("--nodes={count}"), format!("--ntasks={count}")]));
            words.extend((!list.is_empty()).then(|| format!("--nodelist={list}")));
        }
        _ => {
            words.extend(["-x", "SQUALL_KEY", "-x", "SQUALL_RENDEZVOUS"].map(str::to_owned));
            // Given twice they are an error.
            let usual = [["--map-by", "ppr:1:node"], ["--bind-to", "none"]];
            words.extend(usual.into_iter().filter(|[name, _]| !own.iter().any(|word| word == name)).flatten().map(str::to_owned));
            words.extend(count.into_iter().flat_map(|count| ["-n".to_owned(), count.to_string()]));
            words.extend((!list.is_empty()).then(|| ["--host".to_owned(), list.clone()]).into_iter().flatten());
        }
    }
    words.extend(own.iter().cloned());
    // The tasks are told by the launcher that they are tasks; how they were started means nothing to them.
    let inner = without_launcher(&measurement.command[1..]);
    let started = [program.display().to_string()].into_iter().chain(inner).collect();
    let run = BatchRun { command: words, words: started, network: measurement.launch.network.clone() };
    run.conduct(&Interrupt::catch(EXIT_INTERRUPTED)?)
}

/// The words of a command line without those that say how it is started elsewhere.
fn without_launcher(words: &[String]) -> Vec<String> {
    const FLAGS: [&str; 4] = ["--launcher", "--launch-with", "--hosts", "--hostfile"];
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            None if FLAGS.contains(&word.as_str()) => drop(words.next()),
            Some((flag, _)) if FLAGS.contains(&flag) => {}
            _ => kept.push(word.clone()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_started_without_what_started_them() {
        let words: Vec<String> = "run write --launcher slurm --size 1 --hosts=a,b --launch-with x".split(' ').map(str::to_owned).collect();
        assert_eq!(without_launcher(&words).join(" "), "run write --size 1");
    }
}
