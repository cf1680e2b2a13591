//! A node that streams over the TCP of its own host.

use serde::{Deserialize, Serialize};

/// A node that streams to itself through the kernel's loopback, from one thread to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamJob {}

/// What a streaming node is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StreamOrder {
    /// Measure this.
    Run(StreamCase),
    /// End.
    Finish,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamCase {
    /// Bytes of one write and of one read.
    pub write_bytes: u64,
    /// Who sends and who receives.
    pub threads: Threads,
    /// For how long.
    pub seconds: f64,
}

/// Who sends and who receives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Threads {
    /// So many streams, a thread at each end, which sleep in the kernel and run anywhere.
    Sleeping(u32),
    /// One stream between two cores that poll: the first sends.
    Polling(usize, usize),
    /// A thread on each of these cores polls, sends to the next and receives from the one before.
    Ring(Vec<usize>),
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Streamed {
    /// Bytes that arrived after the streams had warmed up.
    pub bytes: u64,
    /// For how long these arrived.
    pub seconds: f64,
}
