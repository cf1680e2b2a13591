//! Lines for people.

use std::io::{self, Write};

/// A line for people, on standard error.
pub(super) fn tell(line: &str) {
    // Nobody reads it: what is told goes on.
    let _ = writeln!(io::stderr(), "{line}");
}
