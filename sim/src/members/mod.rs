//! Whole members of groups that change, on simulated control connections too: what a seed stands for, and a run of it.

mod app;
mod fabric;
mod process;
mod reached;
mod run;
mod scenario;
mod watch;
mod witness;

pub use reached::Reached;
pub use run::{members, members_reaching};
pub use scenario::{Blow, MembersScenario};
