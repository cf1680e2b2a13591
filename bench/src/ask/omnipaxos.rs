//! What `orders` asks of OmniPaxos, another program's order, and what a message costs there by rule.
//!
//! It is a log that a leader, node 0, replicates by Paxos; whoever else sends forwards to the leader. Each node has a
//! link to each other one. What goes to a node in a turn of the loop is one write of bytes and one of how far they go:
//!
//! ```text
//!   forward     sender -> leader         2 writes, unless the leader sends
//!   accept      leader -> each other     2 (n - 1)
//!   accepted    each other -> leader     2 (n - 1)
//!   decide      leader -> each other     2 (n - 1)   once more than half have it, the leader among them
//! ```
//!
//! So a message that travels alone from the leader costs 6 (n - 1) writes. The leader delivers it 2 hops after it was
//! sent, the others after 3; one more each if another node sends. In a stream a batch is what waits, decisions travel
//! with the next accept, and a batch costs 4 (n - 1) writes. The leader sends all bytes to each other node, whoever
//! sends: n - 1 copies leave its port.

use squall_group::Cost;

use crate::jobs::kinds::FabricKind;
use crate::jobs::shape::{RING_BYTES, SMALL_MAX};

/// What can be measured of it, for people.
pub const KNOWN: &str = "it is measured over shm and tcp, in messages of up to 16 KB, and neither reads nor is killed; give such a \
                         --fabric and --size";

/// Ring of a link, each way: that of a sender in a group.
pub const LINK_RING_BYTES: u64 = RING_BYTES;
/// Bytes of messages in a log before it is trimmed.
const LOG_BYTES: u64 = 4 << 20;
/// The fewest and the most entries of a log before it is trimmed: what is left moves to its beginning.
const LOG_ENTRIES: (u64, u64) = (256, 1 << 16);
/// What the log and the heap keep of an entry besides its bytes.
const ENTRY_BYTES: u64 = 96;

/// What a small message of the leader costs among so many nodes; the copies are the same whoever sends.
pub fn cost(nodes: u32) -> Cost {
    let others = u64::from(nodes) - 1;
    Cost { writes: 6 * others, hops: 2, hops_to_last: 3, copies: others as f64 }
}

/// Whether its links carry messages of this size over that fabric.
pub(super) fn carries(fabric: FabricKind, message_bytes: u64) -> bool {
    matches!(fabric, FabricKind::Shm | FabricKind::Tcp) && message_bytes <= SMALL_MAX
}

/// Entries of a log that all have before it is trimmed.
pub fn trim_every(message_bytes: u64) -> u64 {
    (LOG_BYTES / message_bytes).clamp(LOG_ENTRIES.0, LOG_ENTRIES.1)
}

/// Memory of one of `nodes` nodes, of whom all together may have so many messages under way.
pub(super) fn memory_bytes(message_bytes: u64, nodes: u64, under_way: u64) -> u64 {
    2 * nodes * LINK_RING_BYTES + (trim_every(message_bytes) + under_way) * (message_bytes + ENTRY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_costs_what_its_four_steps_write() {
        assert_eq!(cost(2), Cost { writes: 6, hops: 2, hops_to_last: 3, copies: 1.0 });
        assert_eq!(cost(5), Cost { writes: 24, hops: 2, hops_to_last: 3, copies: 4.0 });
    }

    #[test]
    fn a_log_is_trimmed_before_it_is_large_and_not_after_every_message() {
        assert_eq!([trim_every(1), trim_every(10 << 10), trim_every(SMALL_MAX)], [1 << 16, 409, 256]);
    }
}
