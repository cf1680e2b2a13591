//! Many seeds, one report.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::checker::Violation;
use crate::churn::{Churn, churn};
use crate::mutant::Mutant;
use crate::scenario::Scenario;
use crate::simulation::{Outcome, simulate};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which seeds.
    pub seeds: Range<u64>,
    /// With which fault.
    pub mutant: Option<Mutant>,
    /// With how many members; as the seed says if not given.
    pub members: Option<usize>,
    /// Stop after so many seeds that fail.
    pub failures_max: usize,
    /// Where to write the trace of the first seed that fails, or, if none does, of the last one.
    pub trace: Option<PathBuf>,
}

impl Options {
    /// Those seeds, nothing special.
    pub fn new(seeds: Range<u64>) -> Options {
        Options { seeds, mutant: None, members: None, failures_max: 10, trace: None }
    }
}

/// A seed whose run breaks a property.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The command line that runs it again.
    pub replay: String,
    /// What is broken, first things first.
    pub violations: Vec<Violation>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.violations.first() {
            Some(first) => write!(f, "{}   # {first}", self.replay),
            None => f.write_str(&self.replay),
        }
    }
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// Those of them that broke a property.
    pub failures: Vec<Failure>,
    /// Messages sent in all runs.
    pub sends: u64,
    /// Messages delivered in all runs.
    pub deliveries: u64,
    /// Nulls sent in all runs.
    pub nulls: u64,
    /// Steps of all members in all runs.
    pub steps: u64,
    /// Virtual time of all runs.
    pub virtual_ns: u64,
    /// Real time.
    pub elapsed: Duration,
}

impl Report {
    /// Seeds a second of real time.
    pub fn seeds_per_s(&self) -> f64 {
        self.seeds as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Seconds of virtual time in an hour of real time.
    pub fn virtual_s_per_hour(&self) -> f64 {
        self.virtual_ns as f64 / 1e9 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE) * 3600.0
    }
}

/// Runs every seed and shows `each` what it came to, as it goes.
///
/// # Errors
/// The trace cannot be written where it was asked for.
pub fn run(options: &Options, mut each: impl FnMut(u64, &Outcome)) -> io::Result<Report> {
    let (start, mut report) = (Instant::now(), Report::default());
    for seed in options.seeds.clone() {
        let outcome = match options.mutant {
            // Where nobody comes or goes there is nothing that these could break.
            Some(mutant) if mutant.needs_churn() => churn(&Churn::new(seed), Some(mutant)),
            mutant => simulate(&Scenario::new(seed, options.members), mutant),
        };
        report.seeds += 1;
        report.sends += outcome.verdict.sends;
        report.deliveries += outcome.verdict.deliveries;
        report.nulls += outcome.verdict.nulls;
        report.steps += outcome.steps;
        report.virtual_ns += outcome.virtual_ns;
        each(seed, &outcome);
        if let Some(path) = &options.trace
            && report.failures.is_empty()
            && (!outcome.verdict.holds() || seed + 1 == options.seeds.end)
        {
            write_trace(&outcome, path)?;
        }
        if !outcome.verdict.holds() {
            let replay = replay_line(seed, options.members, options.mutant);
            report.failures.push(Failure { seed, replay, violations: outcome.verdict.violations });
            if report.failures.len() >= options.failures_max {
                break;
            }
        }
    }
    report.elapsed = start.elapsed();
    Ok(report)
}

fn write_trace(outcome: &Outcome, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    outcome.trace.write(&mut file)?;
    file.flush()
}

/// The command line that runs one seed again, exactly.
pub fn replay_line(seed: u64, members: Option<usize>, mutant: Option<Mutant>) -> String {
    let members = members.map(|members| format!(" --nodes {members}")).unwrap_or_default();
    let mutant = mutant.map(|mutant| format!(" --mutant {mutant}")).unwrap_or_default();
    format!("squall sim --seed {seed}{members}{mutant}")
}
