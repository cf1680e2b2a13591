//! What a node is told and what it answers, as plain data, and the ground that every node stands on.
//!
//! ```text
//!   parent --stdin:  Job, order, order, ...--> node
//!          <-stdout: Ready, Done, Done, ...--
//! ```
//!
//! A job has its [`Work`](job::Work): one kind of it a module here, with the orders and answers of that kind. Across
//! hosts the parent is the host's agent, which passes all this on (see `run::hosts`).
//!
//! A node ends when its standard input does, when the kernel tells it that its parent is gone, or when it fails; it
//! never outlives its parent.

pub mod change;
pub mod chaos;
pub mod control;
pub mod copy;
pub mod fabric;
pub mod frame;
pub mod group;
pub mod job;
pub mod kinds;
pub mod live;
pub mod os;
pub mod peer;
pub mod perftest;
pub mod rdma;
pub mod reach;
pub mod reason;
pub mod shape;
pub mod stream;
pub mod threads;
pub mod traced;
pub mod wire;
pub mod write;
