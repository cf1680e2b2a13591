//! Groups whose members come and go: what a seed stands for, and a run of it.

mod app;
mod fault;
mod join;
mod process;
mod run;
mod scenario;
mod sides;
mod state;
mod strike;
mod watch;

pub use fault::{Ambush, Fault, Moment, Partition, PartitionEnd};
pub use run::churn;
pub use scenario::{Aim, Churn};
