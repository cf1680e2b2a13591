//! Groups whose members come and go: what a seed stands for, and a run of it.

mod app;
mod fault;
mod process;
mod run;
mod scenario;
mod sides;

pub use fault::{Ambush, Fault, Moment, Partition, PartitionEnd};
pub use run::churn;
pub use scenario::Churn;
