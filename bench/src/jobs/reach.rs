//! One of the nodes between which every pair is tried: does it get through, how soon, and how much.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kinds::FabricKind;

/// One of the nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReachJob {
    /// What carries the writes.
    pub fabric: FabricKind,
    /// Whether to go on without nodes that no link can be made to.
    pub is_patient: bool,
}

/// What all nodes are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ReachOrder {
    /// Say what was opened.
    Describe,
    /// Node `from` writes to node `to`; the others do nothing.
    Try {
        /// The writer.
        from: u32,
        /// Where it writes.
        to: u32,
        /// Numbers the tries: a late word of one is no word of the next.
        round: u32,
        /// How long it writes, to see how much gets through.
        time: Duration,
    },
    /// End.
    Finish,
}

/// What a node opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// Whether the fabric counts writes because it does not keep their order.
    pub is_counted: bool,
    /// Whether the device promises to keep the order of writes, if it could be asked; by peer.
    pub promises_order: Vec<Option<bool>>,
    /// Bytes of a packet; by peer, where the fabric has such a thing.
    pub path_mtu_bytes: Vec<Option<u32>>,
    /// Why there is no link to a peer; by peer.
    pub missing: Vec<Option<String>>,
}

/// What came of a try, at the node that wrote; at the others nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Tried {
    /// This node had no part in it.
    Nothing,
    /// Every byte got through.
    Through {
        /// Bytes.
        bytes: u64,
        /// In this time.
        seconds: f64,
        /// Half a round trip, the middle of many.
        latency_us: f64,
    },
    /// It did not get through.
    Failed(String),
}
