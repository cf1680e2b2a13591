//! `squall sim`: the group on simulated networks, by seed.

use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;

use squall_sim::{Mutant, Options, run};

use super::{EXIT_DONE, EXIT_POINTS_FAILED, say};
use crate::results::units;
use crate::run::axes;

/// Most seeds of one call: days of them.
const SEEDS_MAX: u64 = 1 << 32;

#[derive(Debug, clap::Args)]
pub(super) struct SimArgs {
    /// How many seeds from 0, or a range of them [example: 5000, 1000..2000]
    #[arg(long, value_name = "N|A..B", default_value = "1000", value_parser = seeds, conflicts_with = "seed")]
    seeds: Range<u64>,
    /// One seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Members of the group, 2 to 64 [default: as the seed says]
    #[arg(long, value_name = "N", value_parser = axes::nodes)]
    nodes: Option<u32>,
    /// Build this fault in, to see the checker find it
    #[arg(long, value_name = "NAME", value_parser = mutant)]
    mutant: Option<Mutant>,
    /// Stop after so many seeds that fail
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    failures: u32,
    /// Write the trace of the first seed that fails, or, if none does, of the last one
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn mutant(text: &str) -> Result<Mutant, String> {
    text.parse().map_err(|_| format!("no such fault; there are {}", Mutant::ALL.map(Mutant::name).join(", ")))
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || "give a number of seeds, or a range such as 1000..2000".to_owned();
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let seeds = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => 0..number(text)?,
    };
    if seeds.is_empty() {
        return Err("this is no seed at all; the first number is included, the last one is not".into());
    }
    if seeds.end - seeds.start > SEEDS_MAX {
        return Err(format!("at most {SEEDS_MAX} seeds at a time"));
    }
    Ok(seeds)
}

/// Runs the seeds; whether every one holds.
pub(super) fn simulate(args: &SimArgs) -> anyhow::Result<u8> {
    let options = Options {
        seeds: args.seed.map_or(args.seeds.clone(), |seed| seed..seed.saturating_add(1)),
        churn: None,
        mutant: args.mutant,
        members: args.nodes.map(|nodes| nodes as usize),
        failures_max: args.failures as usize,
        trace: args.trace.clone(),
    };
    let report = run(&options, |seed, outcome| {
        if let Some(first) = outcome.verdict.violations.first() {
            // Nobody reads it: the table below says it again.
            let _ = writeln!(io::stderr(), "seed {seed}: {first}");
        }
        ControlFlow::Continue(())
    })?;
    let (rate, hours) = (units::number(report.seeds_per_s()), units::number(report.virtual_s_per_hour() / 3600.0));
    say(&format!(
        "{} run ({rate} a second, {hours} virtual hours an hour): {} sent, {} delivered, {} nulls",
        units::counted(report.seeds as usize, "seed"),
        report.sends,
        report.deliveries,
        report.nulls
    ))?;
    for failure in &report.failures {
        say(&failure.to_string())?;
    }
    say(&format!("{} failed", units::counted(report.failures.len(), "seed")))?;
    Ok(if report.failures.is_empty() { EXIT_DONE } else { EXIT_POINTS_FAILED })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_number_or_a_range() {
        assert_eq!(seeds("5"), Ok(0..5));
        assert_eq!(seeds("7..9"), Ok(7..9));
        for wrong in ["0", "9..7", "x", "..", "-1", "1..x"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }
}
