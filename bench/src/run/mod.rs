//! Running: from a request to rows, with child processes as nodes.
//!
//! ```text
//!   Request --Plan::of--> points --Workers--> nodes (child processes) --rows--> RunFolder
//!              ^ Machine            ^ Interrupt, deadlines
//! ```

pub mod cache_line;
pub mod capacity;
pub mod crowd;
mod emulated;
pub mod execute;
pub mod fault;
pub mod hosts;
pub mod interrupt;
pub mod launch;
mod look;
pub(crate) mod news;
pub mod processes;
pub mod progress;
pub(crate) mod rendezvous;
pub mod stage;
mod stderr_tail;
pub mod steps;
mod visits;
mod worker;
pub mod workers;
