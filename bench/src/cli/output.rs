//! Standard output, and what was odd on standard error.

use std::io::{self, Write};

use anyhow::Context;

/// A text on standard output; a reader that has left is no error.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Tells people what was odd.
pub(super) fn notice(notices: &[String]) {
    for notice in notices {
        // Nobody reads it: the rest is as good.
        let _ = writeln!(io::stderr(), "{notice}");
    }
}
