//! One of two nodes that write into each other's memory.

use serde::{Deserialize, Serialize};

use super::kinds::{FabricKind, Verify};

/// What both nodes of a point are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WriteJob {
    /// What carries the writes.
    pub fabric: FabricKind,
    /// Bytes of one Span.
    pub message_bytes: u64,
    /// Messages that may be under way.
    pub window: u64,
    /// How much of each is written and checked.
    pub verify: Verify,
    /// Whether to never sleep.
    pub spin: bool,
    /// Whether each node has a core for itself.
    pub own_core: bool,
    /// Whether a message travels inside the Word that counts it: only in turns, and at most [`IN_WORD_BYTES_MAX`].
    pub in_word: bool,
    /// Whether to show how far a trial is.
    pub shown: bool,
}

/// What both nodes are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WriteOrder {
    /// So many messages from 0 to 1, as fast as the window lets them.
    Bandwidth(u64),
    /// So many round trips.
    Latency(u64),
    /// End.
    Finish,
}

/// What one node measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    /// When it began, on the clock of the host.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// Its CPU time.
    pub cpu_ns: u64,
    /// Half round trips in nanoseconds, counted by value; only of node 0.
    pub half_round_trips: Vec<(u64, u64)>,
}

/// Largest message that fits into the Word that counts it.
pub const IN_WORD_BYTES_MAX: u64 = 4;

/// The ring that this node fills and writes from; the one that the peer writes into lies behind it.
pub const OUTGOING: u64 = 4096;

/// Messages start at multiples of this, so that none wraps around the ring's end.
pub fn stride(message_bytes: u64) -> u64 {
    message_bytes.next_power_of_two().max(8)
}

/// Bytes of one ring: the window.
pub fn ring_bytes(message_bytes: u64, window: u64) -> u64 {
    (stride(message_bytes) * window.next_power_of_two()).max(64)
}

/// Bytes of registered memory that each of the two nodes needs.
pub fn region_bytes(message_bytes: u64, window: u64) -> u64 {
    OUTGOING + 2 * ring_bytes(message_bytes, window)
}
