//! One of two nodes that run perftest.

use serde::{Deserialize, Serialize};

/// One of two nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PerftestJob {
    /// Latency, or bandwidth.
    pub ping_pong: bool,
    /// Bytes of one write.
    pub message_bytes: u64,
    /// Writes that may be under way.
    pub window: u64,
}

/// What both are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PerftestOrder {
    /// So many writes.
    Run(u64),
    /// End.
    Finish,
}

/// What became of it at one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Printed {
    /// No figure: its clock failed or it took too long; or this is node 1, which prints none.
    #[default]
    Nothing,
    /// `ib_write_bw`: peak and average in 2^20 bytes a second and 10^6 messages a second. `ib_write_lat`: least,
    /// greatest, typical (median), mean, deviation, 99 and 99.9 % in microseconds.
    Figures(Vec<f64>),
    /// It failed, with these words.
    Failed(String),
}
