//! A node that copies memory.

use serde::{Deserialize, Serialize};

/// A node that copies: one process, as many threads as are ordered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CopyJob {}

/// What a copying node is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum CopyOrder {
    /// Measure this.
    Run(CopyCase),
    /// End.
    Finish,
}

/// How bytes are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// `memcpy`.
    Plain,
    /// Past the cache.
    Streaming,
}

impl Method {
    /// Both.
    pub const ALL: [Method; 2] = [Method::Plain, Method::Streaming];

    /// As in notes.
    pub fn name(self) -> &'static str {
        match self {
            Method::Plain => "memcpy",
            Method::Streaming => "non-temporal",
        }
    }
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CopyCase {
    /// Bytes of one copy.
    pub message_bytes: u64,
    /// Messages that a thread copies from, one after the other; few of them stay in the cache.
    pub source_set: u64,
    /// Messages that it copies to.
    pub target_set: u64,
    /// Where the copying threads run; one core a thread.
    pub copiers: Vec<usize>,
    /// Where the reader runs if only one thread copies.
    pub reader: Option<usize>,
    /// How.
    pub method: Method,
    /// For how long.
    pub seconds: f64,
    /// Whether to show how far it is.
    pub shown: bool,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Copied {
    /// Copies of all threads.
    pub copies: u64,
    /// From the common start to the last thread's end.
    pub seconds: f64,
    /// CPU seconds of all threads.
    pub cpu_seconds: f64,
}

/// Messages start at multiples of a cache line.
pub fn stride(message_bytes: u64) -> u64 {
    message_bytes.next_multiple_of(64)
}
