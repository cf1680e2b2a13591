//! The command line.

mod chaos;
mod doctor;
mod launcher;
mod node;
mod sim;
mod witness;
mod worker;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::ask::experiment::Experiment;
use crate::ask::request::UsageError;
use crate::ask::request::{Axes, Request};
use crate::run::hosts::Hosts;
use crate::run::{self, Assignment, Ending, table};
use squall_report::{CompareOptions, compare, plot_folder};

/// Everything ran and verified.
pub const EXIT_DONE: u8 = 0;
/// Something else went wrong; standard error says what.
pub const EXIT_ERROR: u8 = 1;
/// The command line is wrong.
pub const EXIT_USAGE: u8 = 2;
/// A point failed: a node crashed, hung, or delivered something else than was sent.
pub const EXIT_POINTS_FAILED: u8 = 3;
/// `compare --fail-below`: something is slower.
pub const EXIT_BELOW: u8 = 4;
/// A point was skipped, for want of memory or a fabric; none failed.
pub const EXIT_POINTS_SKIPPED: u8 = 5;
/// Ctrl-C or SIGTERM.
pub const EXIT_INTERRUPTED: u8 = 130;

const EXIT_CODES: &str = "\
Exit status:
  0    everything ran and verified
  1    something else went wrong; standard error says what
  2    the command line is wrong
  3    a point failed: a node crashed, hung, or delivered something else than was sent; sim, chaos: a property was broken
  4    compare --fail-below: something is slower than that
  5    a point was skipped for want of memory or of a fabric; none failed
  130  ended by Ctrl-C or SIGTERM; what was measured is kept";

/// A kernel-bypass multicast toolkit and its benchmark
#[derive(Debug, Parser)]
#[command(name = "squall", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every experiment of the main job, then draw plots and a report
    #[command(after_help = REPRODUCE_EXAMPLES)]
    Reproduce(ReproduceArgs),
    /// Run one experiment: one point, or any sweep of the axes
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Draw the plots and the report of a run (or of any results.csv in a folder) anew
    #[command(after_help = "Example:\n  squall plot results/2026-11-22T10-28-05Z-reproduce")]
    Plot(PlotArgs),
    /// Compare two runs point by point
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Say what this machine offers: cores, memory, limits, fabrics
    #[command(after_help = "Examples:\n  squall doctor\n  squall doctor --json")]
    Doctor(DoctorArgs),
    /// Run the group on simulated networks, seed by seed, and check what it did
    #[command(after_help = sim::EXAMPLES)]
    Sim(sim::SimArgs),
    /// Strike groups of processes with faults, round by round, and check what they did
    #[command(after_help = chaos::EXAMPLES)]
    Chaos(chaos::ChaosArgs),
    /// Be one host of a run that spans hosts
    #[command(after_help = node::EXAMPLES)]
    Node(Box<node::NodeArgs>),
    /// Tell which of two members of a group goes on when they have lost each other
    #[command(after_help = witness::EXAMPLES)]
    Witness(witness::WitnessArgs),
    /// One node of a run, started by a run
    #[command(hide = true)]
    Worker,
}

const REPRODUCE_EXAMPLES: &str = "\
Examples:
  squall reproduce                         everything, about half an hour on a small machine
  squall reproduce --quick                 a first impression in about a minute
  squall reproduce --fabric shm --nodes 2,4
  squall reproduce --resume --out results/2026-11-22T10-28-05Z-reproduce

Exit status: 0 if every point ran and verified; see squall --help for the others.";

const RUN_EXAMPLES: &str = "\
Examples:
  squall run multicast --nodes 2 --size 1MB --senders one --ordering ordered --fabric shm
  squall run multicast --nodes 2,4,8 --size 10KB,1MB --trials 3 --seconds 0.5
  squall run smc-rate --size 1 --nodes 2 --senders one --fabric shm
  squall run latency --size 1,10KB --nodes 2 --out /tmp/latency
  squall run write --fabric tcp --size 8MB --json
  squall run write --fabric verbs --size 2,1MB --perftest

Exit status: 0 if every point ran and verified; see squall --help for the others.";

const COMPARE_EXAMPLES: &str = "\
Examples:
  squall compare results/before results/after
  squall compare before/results.csv after/results.csv --fail-below 0.9 --json

Exit status: 0, or 4 if --fail-below is given and some point's ratio is below it.";

#[derive(Debug, Args)]
struct OutputArgs {
    /// Folder for the results, used as given; it must be new, or a run to --resume [default: results/<date-time>-<name>]
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    out: Option<PathBuf>,
    /// Go on with the run in --out: measure what is missing there
    #[arg(long, requires = "out", help_heading = "Results")]
    resume: bool,
    /// Print JSON instead of the table
    #[arg(long, help_heading = "Results")]
    json: bool,
    /// Few points, short trials: about a minute for everything
    #[arg(long, help_heading = "How to measure")]
    quick: bool,
}

#[derive(Debug, Args)]
struct ReproduceArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    axes: Axes,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// What to measure
    #[arg(value_enum)]
    experiment: Experiment,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    axes: Axes,
}

#[derive(Debug, Args)]
struct PlotArgs {
    /// A folder with results.csv
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// The baseline: a run's folder or a results.csv
    a: PathBuf,
    /// What is compared with it
    b: PathBuf,
    /// Fail if a point's median is below this share of the baseline's [example: 0.9]
    #[arg(long, value_name = "R", value_parser = share)]
    fail_below: Option<f64>,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 10.0 => Ok(share),
        _ => Err("give a share above 0, such as 0.9".into()),
    }
}

/// The program: parses the command line, does what it says, and gives the exit status.
pub fn main() -> ExitCode {
    let status = match Cli::parse().command {
        Command::Reproduce(args) => args.measured().measure(None),
        Command::Run(args) => args.measured().measure(None),
        Command::Node(args) => node::join(*args),
        Command::Plot(args) => plot(&args),
        Command::Compare(args) => compare_runs(&args),
        Command::Doctor(args) => doctor::print(args.json).map(|()| EXIT_DONE),
        Command::Sim(args) => sim::simulate(&args),
        Command::Chaos(args) => chaos::strike(args),
        Command::Witness(args) => witness::serve(&args),
        Command::Worker => return worker::main(),
    };
    match status {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let usage = error.downcast_ref::<UsageError>().is_some();
            // Nobody reads it: the status still says it.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(if usage { EXIT_USAGE } else { EXIT_ERROR })
        }
    }
}

/// A run as it was asked for on the command line.
struct Measurement {
    request: Request,
    output: OutputArgs,
    /// What its folder is named after.
    name: String,
    /// How it is called on the command line.
    subcommand: String,
}

impl ReproduceArgs {
    fn measured(self) -> Measurement {
        let request = Request { experiments: Experiment::ALL.to_vec(), quick: self.output.quick, axes: self.axes };
        Measurement { request, output: self.output, name: "reproduce".into(), subcommand: "reproduce".into() }
    }
}

impl RunArgs {
    fn measured(self) -> Measurement {
        let request = Request { experiments: vec![self.experiment], quick: self.output.quick, axes: self.axes };
        let name = self.experiment.to_string();
        Measurement { request, output: self.output, subcommand: format!("run {name}"), name }
    }
}

impl Measurement {
    /// Runs it, on these hosts if it spans any.
    fn measure(self, hosts: Option<Hosts>) -> anyhow::Result<u8> {
        let Measurement { request, output, name, subcommand } = self;
        let assignment = Assignment { request, out: output.out, resume: output.resume, name, hosts };
        let ending = run::execute(&assignment)?;
        let folder = ending.folder.display().to_string();
        if output.json {
            say(&format!("{:#}", table::json(&ending.rendered.summary, &folder)))?;
        } else {
            say(&table::text(&ending.rendered.summary))?;
            say(&format!("report: {}", ending.rendered.report.display()))?;
        }
        if ending.interrupted {
            let _ = writeln!(io::stderr(), "interrupted; {}", run::how_to_resume(&ending.folder, &subcommand));
        }
        Ok(status(&ending))
    }
}

fn status(ending: &Ending) -> u8 {
    match ending {
        Ending { interrupted: true, .. } => EXIT_INTERRUPTED,
        Ending { failed: 1.., .. } => EXIT_POINTS_FAILED,
        Ending { skipped: 1.., .. } => EXIT_POINTS_SKIPPED,
        _ => EXIT_DONE,
    }
}

fn plot(args: &PlotArgs) -> anyhow::Result<u8> {
    let rendered = plot_folder(&args.dir)?;
    for notice in &rendered.notices {
        let _ = writeln!(io::stderr(), "{notice}");
    }
    say(&rendered.report.display().to_string())?;
    Ok(EXIT_DONE)
}

fn compare_runs(args: &CompareArgs) -> anyhow::Result<u8> {
    let comparison = compare(&args.a, &args.b, &CompareOptions { fail_below: args.fail_below })?;
    if args.json {
        say(&serde_json::to_string_pretty(&comparison)?)?;
    } else {
        say(&comparison.text())?;
    }
    Ok(if comparison.passed { EXIT_DONE } else { EXIT_BELOW })
}

/// A text on standard output; a reader that has left is no error.
fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
