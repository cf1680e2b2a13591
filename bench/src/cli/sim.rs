//! `squall sim`: the group on simulated networks, by seed.

use std::io::{self, IsTerminal, Write};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use squall_sim::{Aim, Mutant, Options, Report, catch, run};

use super::output::say;
use super::status::{EXIT_DONE, EXIT_INTERRUPTED, EXIT_POINTS_FAILED};
use crate::ask::axes;
use crate::ask::request::UsageError;
use crate::jobs::kinds::GroupOrdering;
use crate::run::interrupt::Interrupt;
use squall_report::units;

/// Most seeds of one call: days of them.
const SEEDS_MAX: u64 = 1 << 32;
/// The last seed: as many as are run from any one on are numbers still.
const SEED_MAX: u64 = u64::MAX - SEEDS_MAX;

pub(super) const EXAMPLES: &str = "\
Examples:
  squall sim                          a thousand random clusters
  squall sim --churn                  members crash, stall, are cut off, leave and join: for safety, for liveness, whole members
  squall sim --churn safety --seed 5  one seed of that kind, again
  squall sim --ordering lamport --churn --seeds 5000
  squall sim --seed 4711
  squall sim --seeds 20 --mutant counter-first --trace broken.trace
  squall sim --mutants                the faults that can be built in, and how soon each is found

Exit status: 0 if every property held with every seed (with --mutants: if every fault was found), else 3; 130 after Ctrl-C.";

#[derive(Debug, clap::Args)]
pub(super) struct SimArgs {
    /// How many seeds from 0, or a range of them [example: 5000, 1000..2000]
    #[arg(long, value_name = "N|A..B", default_value = "1000", value_parser = seeds, conflicts_with = "seed")]
    seeds: Range<u64>,
    /// One seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=SEED_MAX))]
    seed: Option<u64>,
    /// Members come and go: for safety (any faults at any time), for liveness (faults stop, then all must be done in
    /// time), as whole members (with control connections, state and witness), or all of these
    #[arg(
        long,
        value_name = "safety|liveness|members|all",
        num_args = 0..=1,
        default_missing_value = "all",
        value_parser = aims,
        conflicts_with = "nodes"
    )]
    churn: Option<Aims>,
    /// Members of the group, 2 to 64 [default: by seed]
    #[arg(long, value_name = "N", value_parser = axes::nodes)]
    nodes: Option<u32>,
    /// Over a fabric that keeps no order of writes: a word carries how many spans it stands behind
    #[arg(long)]
    counted: bool,
    /// Members ask for linearizable reads, where order is total
    #[arg(long)]
    reads: bool,
    /// Order of delivery [default: by seed]
    #[arg(long, value_name = "ORDERING", value_enum)]
    ordering: Option<GroupOrdering>,
    /// Build this fault in; the checker must find it
    #[arg(long, value_name = "NAME", value_parser = mutant)]
    mutant: Option<Mutant>,
    /// Build in every fault, one after the other, from the first seed on
    #[arg(long, conflicts_with_all = ["mutant", "nodes", "churn", "counted", "reads", "ordering", "trace"])]
    mutants: bool,
    /// Stop after this many failed seeds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    failures: u32,
    /// Write the trace of the first seed that fails, or of the last one if none does
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// What runs are to show, one kind of run after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Aims(Vec<Aim>);

fn aims(text: &str) -> Result<Aims, String> {
    match text {
        "all" => Ok(Aims(Aim::ALL.to_vec())),
        text => text.parse().map(|aim| Aims(vec![aim])).map_err(|_| "say safety, liveness, members or all".to_owned()),
    }
}

fn mutant(text: &str) -> Result<Mutant, String> {
    text.parse().map_err(|_| format!("unknown fault; the known ones are {}", Mutant::ALL.map(Mutant::name).join(", ")))
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || "give a number of seeds, or a range such as 1000..2000".to_owned();
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let seeds = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => 0..number(text)?,
    };
    if seeds.is_empty() {
        return Err("this range has no seed; the first number is included, the last one is not".into());
    }
    if seeds.end - seeds.start > SEEDS_MAX {
        return Err(format!("at most {SEEDS_MAX} seeds at a time"));
    }
    if seeds.end > SEED_MAX {
        return Err(format!("seeds go up to {SEED_MAX}"));
    }
    Ok(seeds)
}

impl SimArgs {
    /// Which runs: where members stay, or for each aim.
    fn options(&self) -> anyhow::Result<Vec<Options>> {
        if let (Some(mutant), Some(_)) = (self.mutant, &self.churn)
            && mutant.aim().is_none()
        {
            return Err(UsageError(format!("{mutant} is a fault of groups whose members stay: leave --churn out")).into());
        }
        let aims = match &self.churn {
            Some(Aims(aims)) => aims.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        let options = |churn| Options {
            seeds: self.first_to_last(),
            churn,
            counted: self.counted,
            reads: self.reads,
            ordering: self.ordering.map(|ordering| ordering.0),
            mutant: self.mutant,
            members: self.nodes.map(|nodes| nodes as usize),
            failures_max: self.failures as usize,
            trace: self.trace.clone(),
        };
        Ok(aims.into_iter().map(options).collect())
    }

    fn first_to_last(&self) -> Range<u64> {
        self.seed.map_or(self.seeds.clone(), |seed| seed..seed + 1)
    }
}

/// Runs the seeds; whether every one holds.
pub(super) fn simulate(args: &SimArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::catch(EXIT_INTERRUPTED)?;
    if args.mutants {
        return find_mutants(args.first_to_last().start, &interrupt);
    }
    let mut status = EXIT_DONE;
    for mut options in args.options()? {
        // The trace that was asked for is that of the first failure.
        options.trace = options.trace.filter(|_| status == EXIT_DONE);
        let report = run_shown(&options, &interrupt)?;
        tell(&options, &report)?;
        if !report.failures.is_empty() {
            status = EXIT_POINTS_FAILED;
        }
        if interrupt.is_set() {
            return Ok(EXIT_INTERRUPTED);
        }
    }
    Ok(status)
}

/// Runs them with a bar, if there is a terminal for it, and says at once what fails.
fn run_shown(options: &Options, interrupt: &Interrupt) -> anyhow::Result<Report> {
    let bar = io::stderr().is_terminal().then(|| {
        let seeds = options.seeds.end - options.seeds.start;
        let bar = ProgressBar::with_draw_target(Some(seeds), ProgressDrawTarget::stderr_with_hz(5));
        // The template is a constant, so the default style is never what is shown.
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds {elapsed_precise}, {per_sec}, {eta} left");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    let report = run(options, |seed, outcome| {
        if let Some(first) = outcome.verdict.violations.first() {
            let line = format!("seed {seed}: {first}");
            match &bar {
                Some(bar) => bar.println(line),
                // Nobody reads it: the table below says it again.
                None => drop(writeln!(io::stderr(), "{line}")),
            }
        }
        if let Some(bar) = &bar {
            bar.inc(1);
        }
        if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(report)
}

fn tell(options: &Options, report: &Report) -> anyhow::Result<()> {
    let (rate, hours) = (units::number(report.seeds_per_s()), units::number(report.virtual_s_per_hour() / 3600.0));
    let counted = if options.counted { "counted, " } else { "" };
    let what = options.churn.map_or(counted.to_owned(), |aim| format!("{counted}churn for {aim}: "));
    let views = options.churn.map(|_| format!("{} views, ", report.views)).unwrap_or_default();
    say(&format!(
        "{what}{} run ({rate} a second, {hours} virtual hours an hour): {views}{} sent, {} delivered, {} nulls",
        units::counted(report.seeds as usize, "seed"),
        report.sends,
        report.deliveries,
        report.nulls
    ))?;
    for failure in &report.failures {
        say(&failure.to_string())?;
    }
    say(&format!("{} failed", units::counted(report.failures.len(), "seed")))
}

/// Builds every fault in, and says how soon the checker bit, and what it named.
fn find_mutants(first: u64, interrupt: &Interrupt) -> anyhow::Result<u8> {
    let (mut table, mut missed) = (Table::new(), 0);
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header([
        "fault",
        "what is wrong",
        "seeds",
        "at most",
        "property",
    ]);
    for mutant in Mutant::ALL {
        if interrupt.is_set() {
            return Ok(EXIT_INTERRUPTED);
        }
        let (seeds, property) = match catch(mutant, first) {
            Some(caught) => (caught.seeds.to_string(), caught.failure.violations[0].property.to_string()),
            None => {
                missed += 1;
                ("missed".into(), String::new())
            }
        };
        table.add_row([mutant.name().into(), mutant.fault().into(), seeds, mutant.seeds_max().to_string(), property]);
    }
    say(&table.trim_fmt())?;
    Ok(if missed == 0 { EXIT_DONE } else { EXIT_POINTS_FAILED })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_number_or_a_range() {
        assert_eq!(seeds("5"), Ok(0..5));
        assert_eq!(seeds("7..9"), Ok(7..9));
        for wrong in ["0", "9..7", "x", "..", "-1", "1..x", "18446744073709551610..18446744073709551615"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn churn_is_for_one_aim_or_all() {
        assert_eq!(aims("all"), Ok(Aims(Aim::ALL.to_vec())));
        assert_eq!(aims("safety"), Ok(Aims(vec![Aim::Safety])));
        assert!(aims("luck").unwrap_err().contains("liveness"));
    }
}
