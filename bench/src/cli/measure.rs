//! `squall reproduce` and `squall run`: measuring what was asked for.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use super::doctor::{self, DoctorArgs};
use super::launch::args::LaunchArgs;
use super::output::say;
use super::status::{EXIT_DONE, EXIT_INTERRUPTED, EXIT_POINTS_FAILED, EXIT_POINTS_SKIPPED};
use super::table;
use crate::ask::experiment::Experiment;
use crate::ask::request::{Axes, Request};
use crate::experiments::{MEASURES, modelled};
use crate::run::execute::{Assignment, Ending, execute, how_to_resume};
use crate::run::hosts::Hosts;

pub(super) const REPRODUCE_EXAMPLES: &str = "\
Examples:
  squall reproduce                         everything, about a quarter of an hour on a small machine
  squall reproduce --quick                 a first impression in about a minute
  squall reproduce --fabric shm --nodes 2,4
  squall reproduce --hosts node1,node[3-7] --quick
  squall reproduce --resume --out results/2026-11-22T10-28-05Z-reproduce

Exit status: 0 if every point ran and verified; see squall --help for the others.";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  squall run multicast --nodes 2 --size 1MB --senders one --ordering ordered --fabric shm
  squall run multicast --nodes 2,4,8 --size 10KB,1MB --trials 3 --seconds 0.5
  squall run smc-rate --size 1 --nodes 2 --senders one --fabric shm
  squall run latency --size 1,10KB --nodes 2 --out /tmp/latency
  squall run write --fabric tcp --size 8MB --json
  squall run write --fabric verbs --size 2B,1MB --perftest
  squall run multicast --fabric sim-rdma-100g,sim-tcp-100g --nodes 2..16   on a model of a cluster, in virtual time
  squall run multicast --hosts node1,node[3-7] --nodes 2,4 --size 1MB      by ssh; the program sends itself there
  squall run multicast --hosts a,b --launch-with \"ssh -p 2222\" --interface ib0 --ports 7400-7499
  squall run multicast --launcher slurm --nodes 4     in an allocation, or with --launch-with \"srun --partition=gpu\"
  srun --ntasks-per-node=1 squall run multicast       the same, within a job: nothing else need be said

Exit status: 0 if every point ran and verified; see squall --help for the others.";

#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Folder for the results; it must be new, or a run to --resume [default: results/<date-time>-<name>]
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub(super) out: Option<PathBuf>,
    /// Continue the run in --out: measure what is missing
    #[arg(long, requires = "out", help_heading = "Results")]
    pub(super) resume: bool,
    /// Print JSON instead of the table
    #[arg(long, help_heading = "Results")]
    pub(super) json: bool,
    /// Print nothing while it runs; faults and the table are still printed
    #[arg(long, help_heading = "Results")]
    quiet: bool,
    /// Few points, short trials: about a minute for everything
    #[arg(long, help_heading = "How to measure")]
    quick: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReproduceArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    axes: Axes,
    #[command(flatten)]
    launch: LaunchArgs,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// What to measure
    #[arg(value_enum)]
    experiment: Experiment,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    axes: Axes,
    #[command(flatten)]
    launch: LaunchArgs,
}

/// A run as it was asked for on the command line.
pub(super) struct Measurement {
    pub(super) request: Request,
    pub(super) output: OutputArgs,
    /// Where it is to be.
    pub(super) launch: LaunchArgs,
    /// What its folder is named after.
    pub(super) name: String,
    /// How it is called on the command line.
    pub(super) subcommand: String,
    /// The whole command line, for the record.
    pub(super) command: Vec<String>,
    /// Whether another process takes the results to where the user is, and says so.
    pub(super) is_taken_home: bool,
    /// To look at the machine, or the hosts, instead of measuring.
    pub(super) doctor: Option<DoctorArgs>,
}

impl From<DoctorArgs> for Measurement {
    fn from(args: DoctorArgs) -> Measurement {
        let axes = Axes { rdma: args.rdma.clone(), ..Axes::default() };
        let output = OutputArgs { out: None, resume: false, json: args.json, quiet: false, quick: false };
        let request = Request { experiments: Vec::new(), quick: false, axes };
        let (launch, name) = (args.launch.clone(), "doctor".to_owned());
        Measurement { doctor: Some(args), ..Measurement::of(request, output, launch, name.clone(), name) }
    }
}

impl ReproduceArgs {
    pub(super) fn measured(self) -> Measurement {
        let request = Request { experiments: Experiment::ALL.to_vec(), quick: self.output.quick, axes: self.axes };
        Measurement::of(request, self.output, self.launch, "reproduce".into(), "reproduce".into())
    }
}

impl RunArgs {
    pub(super) fn measured(self) -> Measurement {
        let request = Request { experiments: vec![self.experiment], quick: self.output.quick, axes: self.axes };
        let name = self.experiment.to_string();
        Measurement::of(request, self.output, self.launch, name.clone(), format!("run {name}"))
    }
}

impl Measurement {
    /// As the command line of this process asks for it.
    fn of(request: Request, output: OutputArgs, launch: LaunchArgs, name: String, subcommand: String) -> Measurement {
        let command = std::env::args().collect();
        Measurement { request, output, launch, name, subcommand, command, is_taken_home: false, doctor: None }
    }

    /// Runs it, on these hosts if it spans any.
    pub(super) fn measure(self, hosts: Option<Hosts>) -> anyhow::Result<u8> {
        let Measurement { request, output, name, subcommand, command, is_taken_home, doctor, .. } = self;
        if let Some(mut args) = doctor {
            args.rdma = request.axes.rdma;
            return hosts.map_or_else(|| doctor::examine(&args), |hosts| doctor::examine_hosts(&args, &hosts));
        }
        if request.axes.is_modelled() {
            modelled::check(&request, hosts.is_some(), output.resume)?;
            let (folder, summary, failed) = modelled::measure(&request, output.out.as_deref(), &name, output.quiet)?;
            return tell(&output, &Ending { folder, summary, fault: None, failed, skipped: 0, interrupted: false }, Some(&subcommand));
        }
        let (out, resume, quiet) = (output.out.clone(), output.resume, output.quiet);
        let assignment = Assignment { request, out, resume, name, command, quiet, hosts };
        tell(&output, &execute(&assignment, &MEASURES)?, (!is_taken_home).then_some(&subcommand))
    }
}

/// Says what came of it, and with a `subcommand` also where it is and how it goes on; the exit status. The figures come
/// last: what was measured is told even if there is no room for them.
fn tell(output: &OutputArgs, ending: &Ending, subcommand: Option<&String>) -> anyhow::Result<u8> {
    let folder = ending.folder.path();
    if output.json {
        say(&format!("{:#}", table::json(&ending.summary, &folder.display().to_string())))?;
    } else {
        say(&table::text(&ending.summary))?;
    }
    let rendered = ending.folder.render();
    if let Some(subcommand) = subcommand.filter(|_| ending.interrupted) {
        let _ = writeln!(io::stderr(), "interrupted; {}", how_to_resume(folder, subcommand));
    }
    if let Some(fault) = &ending.fault {
        bail!("{fault}; what was measured before is in {}", folder.display());
    }
    let mend = || format!("no figures and no report; `squall plot {}` makes them", folder.display());
    let report = rendered.with_context(mend)?.report;
    if !output.json && subcommand.is_some() {
        say(&format!("report: {}", report.display()))?;
    }
    Ok(status(ending))
}

fn status(ending: &Ending) -> u8 {
    match ending {
        Ending { interrupted: true, .. } => EXIT_INTERRUPTED,
        Ending { failed: 1.., .. } => EXIT_POINTS_FAILED,
        Ending { skipped: 1.., .. } => EXIT_POINTS_SKIPPED,
        _ => EXIT_DONE,
    }
}
