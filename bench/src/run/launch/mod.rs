//! Starting `squall node` on other hosts, and being there until all have ended.
//!
//! ```text
//!   by ssh    this process --ssh--> squall node on each host: its orders go in by standard input, output comes back;
//!             the first host says where it listens, and the others are told; results are fetched at the end
//!   by srun, mpirun    they start `squall node` everywhere; this process holds the rendezvous
//! ```

pub mod batch;
pub mod orders;
mod program;
mod remote;
pub mod ssh;
