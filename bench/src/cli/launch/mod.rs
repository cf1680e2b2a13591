//! How processes on several hosts become one run: what launchers tell, and what is asked on the command line.

pub(super) mod args;
pub(super) mod environment;
pub(super) mod key;
