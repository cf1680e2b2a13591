//! The command line.

mod chaos;
mod compare;
mod conducted;
mod doctor;
mod draw;
mod exchange;
mod launch;
mod manual;
mod measure;
mod node;
mod output;
mod sim;
mod start;
pub mod status;
mod study;
mod table;
mod witness;
mod worker;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::ask::axes::MODELLED_NODES_MAX;
use crate::ask::request::UsageError;
use crate::jobs::os;
use crate::jobs::reason::reason;
use measure::{REPRODUCE_EXAMPLES, RUN_EXAMPLES, ReproduceArgs, RunArgs};
use status::{EXIT_CODES, EXIT_ERROR, EXIT_USAGE};

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
    #[command(after_help = draw::EXAMPLES)]
    Plot(draw::PlotArgs),
    /// Compare runs point by point with one of them or a committed baseline, or hold one to a bandwidth
    #[command(after_help = compare::EXAMPLES)]
    Compare(compare::CompareArgs),
    /// Make an index page over the runs in a folder, perhaps of several machines
    #[command(after_help = "Example:\n  squall gallery results")]
    Gallery(draw::GalleryArgs),
    /// Read what another benchmark printed into rows, to draw and compare them like ours
    #[command(after_help = exchange::IMPORT_EXAMPLES)]
    Import(exchange::ImportArgs),
    /// Print a run in the format of a tool that watches benchmarks
    #[command(after_help = exchange::EXPORT_EXAMPLES)]
    Export(exchange::ExportArgs),
    /// Say what this machine offers, try its fabrics, and say what mends what is wrong
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
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
    /// Print what completes commands in a shell
    #[command(after_help = manual::EXAMPLES)]
    Completions(manual::CompletionsArgs),
    /// Write the manual pages of all commands into a folder
    #[command(after_help = "Example:\n  squall man ~/.local/share/man/man1")]
    Man(manual::ManArgs),
    /// One node of a run, started by a run
    #[command(hide = true)]
    Worker,
}

/// Bytes of the stack that the program runs on: as many as a main thread has where nobody limits them.
const STACK_BYTES: usize = 8 << 20;

/// The program: parses the command line, does what it says, and gives the exit status.
///
/// It runs on a thread of its own, because the main one has the stack that `ulimit -s` leaves it; where there can be no
/// further thread it makes do with that.
pub fn main() -> ExitCode {
    let started = thread::Builder::new().name("squall".into()).stack_size(STACK_BYTES).spawn(obey);
    match started {
        Ok(program) => program.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(_) => obey(),
    }
}

/// Does what the command line says.
fn obey() -> ExitCode {
    let args = written_out(std::env::args_os());
    if let Some(strange) = args.iter().find(|arg| arg.to_str().is_none()) {
        // What is kept of a run and told to its nodes is JSON.
        let _ = writeln!(io::stderr(), "error: the argument {strange:?} is not UTF-8, and all that squall keeps of a run is; rename it");
        return ExitCode::from(EXIT_USAGE);
    }
    let matches = manual::command_for(&args, Cli::command()).get_matches_from(args);
    let command = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command;
    // Children inherit it: the usual limit is for programs that still use `select`.
    os::raise_open_files();
    os::outlive_limits_of_files();
    let status = match command {
        Command::Reproduce(args) => start::start(args.measured()),
        Command::Run(args) => start::start(args.measured()),
        Command::Node(args) if args.conducted => conducted::serve(),
        Command::Node(args) => node::join(*args),
        Command::Plot(args) => draw::plot(&args),
        Command::Gallery(args) => draw::index(&args),
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Man(args) => manual::pages(&args, Cli::command()),
        Command::Compare(args) => compare::compare_runs(&args),
        Command::Import(args) => exchange::import_files(&args),
        Command::Export(args) => exchange::export(&args),
        Command::Doctor(args) => start::start(args.into()),
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
            let _ = writeln!(io::stderr(), "error: {}", reason(&error));
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
