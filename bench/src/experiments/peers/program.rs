//! Other programs: started under a time limit, and what they say when they fail.

use std::process::{Command, Output, Stdio};

use anyhow::Context;

use crate::jobs::peer::PeerSaid;

/// How long one measurement may take; `timeout` ends what hangs, and outlives this process.
pub(super) const SECONDS_MAX: u64 = 60;

/// A program under a time limit.
pub(super) fn limited(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(SECONDS_MAX.to_string()).arg(program).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(super) fn run(command: &mut Command) -> anyhow::Result<Output> {
    command.output().with_context(|| format!("starting {:?}", command.get_program()))
}

/// A failure of `program`, in its own words.
pub(super) fn failed(program: &str, output: &Output) -> PeerSaid {
    PeerSaid::Failed(format!("{program} failed with {}: {}", output.status, words(output)))
}

/// What it said, of either stream that says something, in one line.
pub(super) fn words(output: &Output) -> String {
    const WORDS_MAX: usize = 60;
    let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    String::from_utf8_lossy(text).split_whitespace().take(WORDS_MAX).collect::<Vec<_>>().join(" ")
}
