//! The exit status of the program.

pub use crate::run::interrupt::EXIT_INTERRUPTED;

/// Everything ran and verified.
pub const EXIT_DONE: u8 = 0;

/// Something else went wrong; standard error says what.
pub const EXIT_ERROR: u8 = 1;

/// The command line is wrong.
pub const EXIT_USAGE: u8 = 2;

/// A point failed: a node crashed, hung, or delivered something else than was sent.
pub const EXIT_POINTS_FAILED: u8 = 3;

/// `compare --baseline`, `--fail-below` or `--at-least`: something is surely slower, or missing.
pub const EXIT_BELOW: u8 = 4;

/// A point was skipped, for want of memory or a fabric; none failed.
pub const EXIT_POINTS_SKIPPED: u8 = 5;

/// `doctor` found something that does not work, or with `--strict` something that could work better.
pub const EXIT_FOUND: u8 = 6;

/// All of them, for people.
pub(super) const EXIT_CODES: &str = "\
Exit status:
  0    everything ran and verified
  1    something else went wrong; standard error says what
  2    the command line is wrong
  3    a point failed: a node crashed, hung, or delivered something else than was sent; sim, chaos: a property was broken
  4    compare --baseline, --fail-below, --at-least: something is surely slower than that, or missing
  5    a point was skipped because memory or a fabric was missing; none failed
  6    doctor: something does not work, or with --strict could work better; each finding says what mends it
  130  ended by Ctrl-C or SIGTERM; what was measured is kept";
