//! What a child process does: one node of one point.
//!
//! ```text
//!   parent --stdin:  Job, order, order, ...--> node
//!          <-stdout: Ready, Done, Done, ...--
//! ```
//!
//! Across hosts the parent is the host's agent, which passes all this on (see `run::hosts`).
//!
//! A node ends when its standard input does, when the kernel tells it that its parent is gone, or when it fails; it never outlives its parent.

pub mod control;
pub mod fabric;
pub mod frame;
pub mod job;
pub mod machine;

use std::ffi::CString;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use crate::experiments;
use control::Control;
use job::{Job, Work};

/// Name of the environment variable that tells a node its parent's process id.
pub const PARENT_VARIABLE: &str = "SQUALL_PARENT";

/// Name of the environment variable with the cluster key of a run across hosts. Nodes do not get it: each point has a key of its own.
pub const KEY_VARIABLE: &str = "SQUALL_KEY";

/// Runs as a node: `squall worker`, started by a run and by nothing else.
pub fn main() -> ExitCode {
    let parent = std::env::var(PARENT_VARIABLE).ok().and_then(|parent| parent.parse().ok());
    let Some(parent) = parent else {
        eprintln!("squall worker is started by squall itself; run `squall run EXPERIMENT` or `squall reproduce`");
        return ExitCode::from(crate::cli::EXIT_USAGE);
    };
    let control = machine::die_with(parent).map_err(|what| anyhow!(what)).and_then(|()| Ok(Control::listen()?));
    let mut control = match control {
        Ok(control) => control,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    match work(&mut control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            control.failed(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn work(control: &mut Control) -> anyhow::Result<()> {
    let job: Job = control.next().context("the job")?;
    if let Ok(name) = CString::new(format!("squall node {}", job.rank)) {
        machine::call_myself(&name);
    }
    if let Some(core) = job.core {
        machine::pin(core).map_err(|what| anyhow!(what))?;
    }
    match &job.work {
        Work::Group(group) => experiments::member::node(&job, group, control),
        Work::Write(write) => experiments::write::node(&job, write, control),
        Work::Copy(copy) => experiments::copies::node(copy, control),
        Work::Perftest(perftest) => experiments::perftest::node(&job, perftest, control),
        Work::Wire(wire) => experiments::wire::node(&job, wire, control),
        Work::Stream(stream) => experiments::stream::node(stream, control),
        Work::Change(change) => experiments::change::member::node(&job, change, control),
        Work::Chaos(chaos) => crate::chaos::process::node(&job, chaos, control),
    }
}
