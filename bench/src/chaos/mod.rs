//! `squall chaos`: real processes under load, struck by real faults, and their traces checked.
//!
//! ```text
//!   seed --> Odds --strikes--> Cluster --SIGKILL, SIGSTOP, cut, join, leave--> processes, each a Member under load
//!                                ^                                                   |
//!                                '------ at rest: all in one view, all delivered     v
//!   findings <-- examine <-------------------------------- traces, written as it happens
//! ```
//!
//! A group lives some rounds. A round fills the group up, lets some faults happen at random moments, stops the load,
//! waits until everything has come to rest, and gives all traces to the simulator's checker. A seed stands for the
//! faults of a group; when exactly what meets what is up to the machine.
//!
//! What it does not do: cut shared memory or queue pairs (there only control connections are cut), or lose packets.

mod application;
mod cluster;
mod cut;
mod evidence;
mod options;
mod plan;
pub mod process;
mod process_state;
mod rest;
mod state;
mod strikes;
mod trace_file;
mod trace_writer;
mod witness;

pub use application::BYTES_MIN;
pub use options::Options;
pub use plan::{Kind, Odds, Strike};

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use squall_transport::sim::{Random, mix};

use crate::run::interrupt::Interrupt;
use cluster::{Cluster, Halt};
use evidence::{Findings, examine};

/// One round in so many may break up because the system did not let live members run for too long; with more of them
/// something else is wrong.
pub const BREAKUPS_EVERY: u64 = 20;
/// Rounds that a group lives: long enough for a chain of views, short enough to be checked again after each.
pub const ROUNDS_A_GROUP: u64 = 10;

/// A round that broke a property.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed of its group.
    pub seed: u64,
    /// Which round of its group, from 0.
    pub round: u64,
    /// What happened in it.
    pub strikes: Vec<Strike>,
    /// What is broken, one line each.
    pub broken: Vec<String>,
    /// Where the traces are.
    pub folder: PathBuf,
}

/// What was done and found.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Rounds that came to an end.
    pub rounds: u64,
    /// Groups.
    pub groups: u64,
    /// Faults by kind.
    pub faults: BTreeMap<Kind, u64>,
    /// Views that anybody installed.
    pub views: u64,
    /// Messages sent.
    pub sends: u64,
    /// Messages handed to applications.
    pub deliveries: u64,
    /// States that newcomers took in.
    pub transfers: u64,
    /// Members that the others went on without, and that came back.
    pub returns: u64,
    /// Times that somebody asked and did not get in at once.
    pub refusals: u64,
    /// What could not be done here.
    pub skipped: BTreeSet<String>,
    /// Rounds that broke a property.
    pub failures: Vec<Failure>,
    /// Rounds in which members that nothing was done to took each other for dead until too few were left. All that was
    /// asked of safety held.
    pub breakups: Vec<Failure>,
    /// Whether the user ended it.
    pub interrupted: bool,
    /// How long it took.
    pub elapsed: Duration,
}

/// One round that came to an end, for people who wait.
#[derive(Clone, Debug)]
pub struct Round<'a> {
    /// The seed of its group.
    pub seed: u64,
    /// Which round of its group, from 0.
    pub round: u64,
    /// What happened.
    pub strikes: &'a [Strike],
    /// Members at the end.
    pub members: usize,
}

/// Runs groups, round by round, and calls `each` after every round.
///
/// # Errors
/// Processes cannot be started, or traces not written or read.
pub fn run(options: &Options, interrupt: &Interrupt, mut each: impl FnMut(&Round<'_>)) -> anyhow::Result<Tally> {
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut left = options.rounds;
    while left > 0 && !tally.interrupted {
        let seed = options.seed.wrapping_add(tally.groups);
        let rounds = left.min(ROUNDS_A_GROUP);
        run_group(options, seed, rounds, interrupt, &mut tally, &mut each)?;
        tally.groups += 1;
        left -= rounds;
        tally.elapsed = began.elapsed();
    }
    Ok(tally)
}

fn run_group(
    options: &Options,
    seed: u64,
    rounds: u64,
    interrupt: &Interrupt,
    tally: &mut Tally,
    each: &mut impl FnMut(&Round<'_>),
) -> anyhow::Result<()> {
    let folder = options.folder.join(format!("group-{seed}"));
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut cluster = match Cluster::found(options, seed, &folder, interrupt) {
        Ok(cluster) => cluster,
        Err(halt) => return stopped_early(halt, tally, &folder),
    };
    let odds = Odds {
        kinds: options.kinds.clone(),
        nodes: options.nodes,
        suspect_after: options.suspect_after,
        has_witness: options.has_witness,
        state_bytes: cluster.load.state_bytes,
    };
    let mut found = None;
    for round in 0..rounds {
        let (strikes, halt) = run_round(&mut cluster, &odds, seed, round);
        match halt {
            Ok(()) | Err(Halt::Violated) => {}
            Err(halt) => return stopped_early(halt, tally, &folder),
        }
        if halt.is_err() {
            cluster.freeze();
        }
        let findings = examine(&cluster.lives, cluster.at_rest)?;
        tally.rounds += 1;
        for strike in &strikes {
            *tally.faults.entry(strike.fault.kind()).or_default() += 1;
        }
        if halt.is_err() || !cluster.wrong.is_empty() || !findings.hold() {
            let gave_up = cluster.wrong.is_empty() && findings.hold();
            let list = if gave_up { &mut tally.breakups } else { &mut tally.failures };
            list.push(keep(seed, round, strikes, &cluster, &findings, &folder)?);
            found = Some(findings);
            break;
        }
        each(&Round { seed, round, strikes: &strikes, members: cluster.size() });
        found = Some(findings);
    }
    if let Some(findings) = found {
        let verdict = findings.verdict;
        tally.views += verdict.views;
        tally.sends += verdict.sends;
        tally.deliveries += verdict.deliveries;
        tally.transfers += findings.transfers;
    }
    tally.returns += cluster.returns;
    tally.refusals += cluster.refusals;
    tally.skipped.append(&mut cluster.skipped);
    let failed = tally.failures.iter().chain(&tally.breakups).any(|failure| failure.seed == seed);
    drop(cluster);
    if !failed && !options.keep {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

fn run_round(cluster: &mut Cluster<'_>, odds: &Odds, seed: u64, round: u64) -> (Vec<Strike>, Result<(), Halt>) {
    if let Err(halt) = cluster.fill_up() {
        return (Vec::new(), Err(halt));
    }
    let strikes = odds.round(&mut Random::new(mix(seed) ^ mix(!round)), cluster.size());
    let halt = cluster.apply(&strikes).and_then(|()| cluster.rest());
    (strikes, halt)
}

fn stopped_early(halt: Halt, tally: &mut Tally, folder: &Path) -> anyhow::Result<()> {
    match halt {
        Halt::Interrupted => {
            tally.interrupted = true;
            // Half a round proves nothing.
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
        }
        Halt::Failed(reason) => Err(anyhow::anyhow!(reason)),
        Halt::Violated => Err(anyhow::anyhow!("a group of processes did not start; its traces are in {}", folder.display())),
    }
}

/// Writes down what is broken beside the traces.
fn keep(seed: u64, round: u64, strikes: Vec<Strike>, cluster: &Cluster<'_>, findings: &Findings, folder: &Path) -> anyhow::Result<Failure> {
    let told = cluster.wrong.iter().chain(&cluster.gave_up).cloned();
    let broken: Vec<String> = told.chain(findings.lines()).collect();
    let text: String = broken.iter().map(|line| format!("{line}\n")).collect();
    let path = folder.join("broken.txt");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let path = folder.join("merged.trace");
    let file = fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    findings.trace.write(std::io::BufWriter::new(file)).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Failure { seed, round, strikes, broken, folder: folder.to_owned() })
}
