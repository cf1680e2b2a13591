//! `squall worker`: what a child process does. It is one node of one point.

use std::ffi::CString;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use crate::doctor;
use crate::experiments;
use crate::jobs::control::Control;
use crate::jobs::job::{Job, PARENT_VARIABLE, Work};
use crate::jobs::os;
use crate::jobs::reason::reason;

/// Runs as a node: `squall worker`, started by a run and by nothing else.
pub(super) fn main() -> ExitCode {
    let parent = std::env::var(PARENT_VARIABLE).ok().and_then(|parent| parent.parse().ok());
    let Some(parent) = parent else {
        eprintln!("squall worker is started by squall itself; run `squall run EXPERIMENT` or `squall reproduce`");
        return ExitCode::from(super::status::EXIT_USAGE);
    };
    let control = os::die_with(parent).map_err(|what| anyhow!(what)).and_then(|()| Ok(Control::listen()?));
    let mut control = match control {
        Ok(control) => control,
        Err(error) => {
            eprintln!("{}", reason(&error));
            return ExitCode::FAILURE;
        }
    };
    match work(&mut control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            control.failed(reason(&error));
            ExitCode::FAILURE
        }
    }
}

fn work(control: &mut Control) -> anyhow::Result<()> {
    let job: Job = control.next().context("the job")?;
    if let Ok(name) = CString::new(format!("squall node {}", job.rank)) {
        os::call_myself(&name);
    }
    if let Some(core) = job.core {
        let notice = os::pin_if_allowed(core).map_err(|what| anyhow!(what))?;
        notice.into_iter().for_each(|notice| control.note(notice));
    }
    match &job.work {
        Work::Group(group) => experiments::group::node::node(&job, group, control),
        Work::Omnipaxos(group) => experiments::omnipaxos::node(&job, group, control),
        Work::Write(write) => experiments::write::node::node(&job, write, control),
        Work::Copy(copy) => experiments::memcpy::node::node(copy, control),
        Work::Perftest(perftest) => experiments::write::perftest::node(&job, perftest, control),
        Work::Wire(wire) => experiments::capacity::wire::node(&job, wire, control),
        Work::Stream(stream) => experiments::capacity::stream::node(stream, control),
        Work::Change(change) => experiments::view_change::node::node(&job, change, control),
        Work::Peer(peer) => experiments::peers::node::node(&job, peer, control),
        Work::Reach(reach) => doctor::node::node(&job, reach, control),
        Work::Chaos(chaos) => crate::chaos::process::node(&job, chaos, control),
    }
}
