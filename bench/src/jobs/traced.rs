//! What one member saw of one large message: when each block was posted, landed and was relayed.

use serde::{Deserialize, Serialize};
use squall_group::{Moment, Record};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The transfer began here.
    Begun,
    /// The peer was first seen to be ready when there was a block for it.
    Ready,
    /// The counter that publishes the block was seen.
    Landed,
    /// The block was handed on to the peer.
    Posted,
}

/// One thing that happened at one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub what: What,
    /// Of which block; 0 if of none.
    pub block: u32,
    /// The node at the other end.
    pub peer: u16,
    /// When, on the clock of all nodes.
    pub at_ns: u64,
}

/// What a member recorded.
pub fn events(records: &[Record]) -> Vec<Event> {
    let event = |record: &Record| Event {
        what: match record.moment {
            Moment::Begun => What::Begun,
            Moment::Ready => What::Ready,
            Moment::Landed => What::Landed,
            Moment::Posted => What::Posted,
        },
        block: record.block,
        peer: record.peer.0,
        at_ns: record.at_ns,
    };
    records.iter().map(event).collect()
}
