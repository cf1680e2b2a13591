//! Many seeds, one report.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use squall_group::{Config, ConfigError, Mode};

use crate::aim::Aim;
use crate::checker::Violation;
use crate::churn::{Churn, churn};
use crate::members::{MembersScenario, members};
use crate::mutant::Mutant;
use crate::scenario::Scenario;
use crate::simulation::{Outcome, simulate};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which seeds.
    pub seeds: Range<u64>,
    /// Groups whose members come and go, with this aim; else groups whose members stay.
    pub churn: Option<Aim>,
    /// Over a fabric that keeps no order of writes and counts them.
    pub counted: bool,
    /// Members read, where order is total.
    pub reads: bool,
    /// With this order of delivery; as the seed says if not given.
    pub ordering: Option<Mode>,
    /// With which fault. One that shows only where members come and go brings that with it.
    pub mutant: Option<Mutant>,
    /// With how many members, where they stay; as the seed says if not given.
    pub members: Option<usize>,
    /// Stop after so many seeds that fail.
    pub failures_max: usize,
    /// Where to write the trace of the first seed that fails, or, if none does, of the last one.
    pub trace: Option<PathBuf>,
}

impl Options {
    /// Those seeds, nothing special.
    pub fn new(seeds: Range<u64>) -> Options {
        Options {
            seeds,
            churn: None,
            ordering: None,
            counted: false,
            reads: false,
            mutant: None,
            members: None,
            failures_max: 10,
            trace: None,
        }
    }

    /// Those seeds of groups whose members come and go.
    pub fn churn(seeds: Range<u64>, aim: Aim) -> Options {
        Options { churn: Some(aim), ..Options::new(seeds) }
    }

    /// With what aim members come and go, if they do.
    fn aim(&self) -> Option<Aim> {
        self.churn.or(self.mutant.and_then(Mutant::aim))
    }

    /// Runs one seed.
    fn run(&self, seed: u64) -> Outcome {
        match self.aim() {
            Some(Aim::Members) => {
                let mut scenario = MembersScenario { counted: self.counted, ..MembersScenario::new(seed) };
                self.configure(&mut scenario.options.config, scenario.founders);
                members(&scenario, self.mutant)
            }
            Some(aim) => {
                let mut scenario = Churn { counted: self.counted, ..Churn::new(seed, aim) };
                self.configure(&mut scenario.config, scenario.members);
                churn(&scenario, self.mutant)
            }
            None => {
                let mut scenario = Scenario { counted: self.counted, ..Scenario::new(seed, self.members) };
                self.configure(&mut scenario.config, scenario.members);
                simulate(&scenario, self.mutant)
            }
        }
    }

    /// The order that was asked for in the place of the seed's, and reads; all else stays, but for rings that are too
    /// small for it.
    fn configure(&self, config: &mut Config, members: usize) {
        config.mode = self.ordering().unwrap_or(config.mode);
        config.reads = self.reads() && config.mode.is_total();
        if let Err(ConfigError::Ring { least, .. }) = config.check(members) {
            config.ring_bytes = least;
        }
    }

    /// The order that is asked for: a fault of one shows in that one only.
    fn ordering(&self) -> Option<Mode> {
        self.mutant.and_then(Mutant::ordering).or(self.ordering)
    }

    /// Whether members read: a fault of reads shows in no other run.
    fn reads(&self) -> bool {
        self.reads || self.mutant.and_then(Mutant::read).is_some()
    }

    /// The command line that runs one seed again, exactly.
    pub fn replay_line(&self, seed: u64) -> String {
        let churn = self.aim().map(|aim| format!(" --churn {aim}")).unwrap_or_default();
        let counted = if self.counted { " --counted" } else { "" };
        let reads = if self.reads() { " --reads" } else { "" };
        let ordering = self.ordering().map(|mode| format!(" --ordering {mode}")).unwrap_or_default();
        let members = self.members.map(|members| format!(" --nodes {members}")).unwrap_or_default();
        let mutant = self.mutant.map(|mutant| format!(" --mutant {mutant}")).unwrap_or_default();
        format!("squall sim{churn} --seed {seed}{members}{ordering}{counted}{reads}{mutant}")
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
    /// Views installed in all runs.
    pub views: u64,
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

/// Runs every seed and shows `each` what it came to, as it goes, until that breaks it off.
///
/// # Errors
/// The trace cannot be written where it was asked for.
pub fn run(options: &Options, mut each: impl FnMut(u64, &Outcome) -> ControlFlow<()>) -> io::Result<Report> {
    let (start, mut report) = (Instant::now(), Report::default());
    for seed in options.seeds.clone() {
        let outcome = options.run(seed);
        report.seeds += 1;
        report.sends += outcome.verdict.sends;
        report.deliveries += outcome.verdict.deliveries;
        report.nulls += outcome.verdict.nulls;
        report.views += outcome.verdict.views;
        report.steps += outcome.steps;
        report.virtual_ns += outcome.virtual_ns;
        let flow = each(seed, &outcome);
        if let Some(path) = &options.trace
            && report.failures.is_empty()
            && (!outcome.verdict.holds() || flow.is_break() || seed + 1 == options.seeds.end)
        {
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("the trace cannot be written to {}: {error}", path.display()));
            write_trace(&outcome, path).map_err(named)?;
        }
        if !outcome.verdict.holds() {
            let replay = options.replay_line(seed);
            report.failures.push(Failure { seed, replay, violations: outcome.verdict.violations });
        }
        if flow.is_break() || report.failures.len() >= options.failures_max {
            break;
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

/// How a mutant was caught.
#[derive(Clone, Debug)]
pub struct Catch {
    /// Seeds that it took.
    pub seeds: u64,
    /// The last of them, and what it broke.
    pub failure: Failure,
}

/// Runs the mutant from seed `from` on until the checker finds what it breaks, for as many seeds as it may take.
pub fn catch(mutant: Mutant, from: u64) -> Option<Catch> {
    let options = Options { mutant: Some(mutant), failures_max: usize::MAX, ..Options::new(from..from + mutant.seeds_max()) };
    let is_it = |violations: &[Violation]| violations.first().is_some_and(|first| mutant.breaks().contains(&first.property));
    let flow = |_, outcome: &Outcome| if is_it(&outcome.verdict.violations) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let report = run(&options, flow).expect("no trace is written");
    let failure = report.failures.into_iter().find(|failure| is_it(&failure.violations))?;
    Some(Catch { seeds: report.seeds, failure })
}
