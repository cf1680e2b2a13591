//! Lines for people.

use std::io::{self, Write};

/// A line for people, on standard error, in one piece: processes of a job may share it.
pub(super) fn tell(line: &str) {
    // Nobody reads it: what is told goes on.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
