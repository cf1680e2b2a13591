//! One of two nodes between which TCP streams.

use serde::{Deserialize, Serialize};

/// One of two nodes: the first sends, the second receives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireJob {}

/// What both are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WireOrder {
    /// So many streams at once.
    Run {
        /// How many.
        streams: usize,
        /// For how long.
        seconds: f64,
    },
    /// End.
    Finish,
}

/// What arrived.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Arrived {
    /// Bytes after the streams had warmed up; 0 at the sender.
    pub bytes: u64,
    /// In which time.
    pub seconds: f64,
}
