//! Standard output.

use std::io::{self, Write};

use anyhow::Context;

/// A text on standard output; a reader that has left is no error.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
