//! The command line.

mod chaos;
mod doctor;
mod launcher;
mod measure;
mod node;
mod output;
mod sim;
pub mod status;
mod study;
mod table;
mod witness;
mod worker;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::ask::axes::MODELLED_NODES_MAX;
use crate::ask::request::UsageError;
use crate::jobs::os;
use measure::{REPRODUCE_EXAMPLES, RUN_EXAMPLES, ReproduceArgs, RunArgs};
use output::say;
use squall_report::{CompareOptions, Rate, at_least, compare, plot_folder};
use status::{EXIT_BELOW, EXIT_CODES, EXIT_DONE, EXIT_ERROR, EXIT_USAGE};

/// A kernel-bypass multicast toolkit and its benchmark
#[derive(Debug, Parser)]
#[command(name = "squall", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every experiment, then draw figures and a report
    #[command(after_help = REPRODUCE_EXAMPLES)]
    Reproduce(ReproduceArgs),
    /// Run one experiment: one point, or any sweep of the axes
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Draw the figures and the report of a run again, or of any folder with a results.csv
    #[command(after_help = "Example:\n  squall plot results/2026-11-22T10-28-05Z-reproduce")]
    Plot(PlotArgs),
    /// Compare two runs point by point, or hold one to a bandwidth
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Say what this machine offers: cores, memory, limits, fabrics
    #[command(after_help = "Examples:\n  squall doctor\n  squall doctor --json")]
    Doctor(DoctorArgs),
    /// Run groups on simulated networks, seed by seed, and check every run
    #[command(after_help = sim::EXAMPLES)]
    Sim(sim::SimArgs),
    /// Inject faults into groups of processes, round by round, and check their traces
    #[command(after_help = chaos::EXAMPLES)]
    Chaos(chaos::ChaosArgs),
    /// The published figures on a model of a cluster: what was published, the model's error, and what Squall does
    #[command(after_help = study::EXAMPLES)]
    Study(study::StudyArgs),
    /// Be one host of a run that spans hosts
    #[command(after_help = node::EXAMPLES)]
    Node(Box<node::NodeArgs>),
    /// Decide which of two members continues when they lose each other
    #[command(after_help = witness::EXAMPLES)]
    Witness(witness::WitnessArgs),
    /// One node of a run, started by a run
    #[command(hide = true)]
    Worker,
}

const COMPARE_EXAMPLES: &str = "\
Examples:
  squall compare results/before results/after
  squall compare before/results.csv after/results.csv --fail-below 0.9 --json
  squall compare results/after --at-least 12GB/s

Exit status: 0; 4 if a point is surely below --fail-below or --at-least, or is missing. What scatter may
explain is undecided, passes, and says how many trials would decide.";

#[derive(Debug, Args)]
struct PlotArgs {
    /// A folder with results.csv
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// The baseline: a run's folder or a results.csv
    a: PathBuf,
    /// What is compared with it; may be left out with --at-least
    #[arg(required_unless_present = "at_least")]
    b: Option<PathBuf>,
    /// Fail if a point is surely below this share of the baseline, or missing [example: 0.9]
    #[arg(long, value_name = "R", value_parser = share, requires = "b")]
    fail_below: Option<f64>,
    /// Fail if no trial of a point reaches this bandwidth [example: 12GB/s]
    #[arg(long, value_name = "RATE")]
    at_least: Option<Rate>,
    /// Let points be missing that were measured before, or were asked for
    #[arg(long)]
    allow_missing: bool,
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
    os::raise_open_files();
    let status = match Cli::parse_from(written_out(std::env::args_os())).command {
        Command::Reproduce(args) => args.measured().measure(None),
        Command::Run(args) => args.measured().measure(None),
        Command::Node(args) => node::join(*args),
        Command::Plot(args) => plot(&args),
        Command::Compare(args) => compare_runs(&args),
        Command::Doctor(args) => doctor::print(args.json).map(|()| EXIT_DONE),
        Command::Sim(args) => sim::simulate(&args),
        Command::Study(args) => study::draw(&args),
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

/// The arguments with the ranges of `--nodes` written out: `2..5` is `2,3,4,5`.
fn written_out(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    const FLAG: &str = "--nodes";
    let mut follows = false;
    let mut written = Vec::new();
    for arg in args {
        let text = arg.to_str().unwrap_or_default();
        let prefix = if follows { Some("") } else { text.starts_with("--nodes=").then_some("--nodes=") };
        follows = text == FLAG;
        written.push(match prefix.and_then(|prefix| text.strip_prefix(prefix)).and_then(ranges) {
            Some(list) => format!("{}{list}", prefix.unwrap_or_default()).into(),
            None => arg,
        });
    }
    written
}

/// A list with its ranges written out; `None` if there is none, or one that makes no sense, which the parser then says.
fn ranges(list: &str) -> Option<String> {
    let item = |item: &str| match item.split_once("..") {
        None => Some(vec![item.to_owned()]),
        Some((first, last)) => {
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last && last <= MODELLED_NODES_MAX).then(|| (first..=last).map(|nodes| nodes.to_string()).collect())
        }
    };
    let items: Option<Vec<Vec<String>>> = list.contains("..").then(|| list.split(',').map(item).collect())?;
    Some(items?.concat().join(","))
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
    let options = CompareOptions { fail_below: args.fail_below, allow_missing: args.allow_missing };
    let comparison = args.b.as_ref().map(|b| compare(&args.a, b, &options)).transpose()?;
    let held = args.b.as_ref().unwrap_or(&args.a);
    let floor = args.at_least.map(|rate| at_least(held, rate, args.allow_missing)).transpose()?;
    let passed = comparison.as_ref().is_none_or(|found| found.passed) && floor.as_ref().is_none_or(|found| found.passed);
    if args.json {
        let found = match (&comparison, &floor) {
            (Some(comparison), None) => serde_json::to_value(comparison)?,
            (None, Some(floor)) => serde_json::to_value(floor)?,
            _ => serde_json::json!({ "comparison": comparison, "at_least": floor }),
        };
        say(&format!("{found:#}"))?;
    } else {
        let texts = [floor.map(|found| found.text()), comparison.map(|found| found.text())];
        say(&texts.into_iter().flatten().collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if passed { EXIT_DONE } else { EXIT_BELOW })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_nodes_are_written_out_and_nothing_else_is() {
        let written = |line: &str| {
            let args = written_out(line.split(' ').map(OsString::from));
            args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(written("squall run latency --nodes 2..4,8 --size 1"), "squall run latency --nodes 2,3,4,8 --size 1");
        assert_eq!(written("squall run latency --nodes=2..3"), "squall run latency --nodes=2,3");
        for same in ["squall sim --seeds 2..4", "squall run latency --nodes 4..2", "squall run latency --nodes 2..x"] {
            assert_eq!(written(same), same);
        }
    }
}
