//! One of two nodes that run perftest.

use serde::{Deserialize, Serialize};

/// One of two nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PerftestJob {
    /// Latency, or bandwidth.
    pub ping_pong: bool,
    /// Bytes of one write.
    pub message_bytes: u64,
}

/// What both are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PerftestOrder {
    /// So many writes.
    Run(u64),
    /// End.
    Finish,
}

/// What perftest printed at node 0: `ib_write_bw` peak and average in 2^20 bytes a second and 10^6 messages a second;
/// `ib_write_lat` least, greatest, typical (median), mean, deviation, 99 and 99.9 % in microseconds. Nothing if its
/// clock failed or it took too long, and at node 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Printed(pub Option<Vec<f64>>);
