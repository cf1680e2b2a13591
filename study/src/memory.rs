//! What a point of the study takes of this machine's memory.

use squall_group::Config;

/// What a point may take.
pub const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Queues and states between two members.
const PAIR_BYTES: u64 = 4096;
/// A member beside its table.
const NODE_BYTES: u64 = 256 << 10;

/// A point that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{nodes} nodes of which {senders} send need some {} MiB of this machine's memory, and a point of the study may take {} MiB; use \
     fewer nodes, fewer senders or a smaller window",
    needs_bytes >> 20,
    MEMORY_BYTES_MAX >> 20
)]
pub struct TooLarge {
    /// Members.
    pub nodes: usize,
    /// Of whom so many send.
    pub senders: usize,
    /// What they need.
    pub needs_bytes: u64,
}

/// Whether a group fits: tables with their rings are real, pools are hollow.
pub(crate) fn check(config: &Config, nodes: usize) -> Result<u64, TooLarge> {
    let tables = Config { large_max: 0, ..config.clone() }.memory_bytes(nodes);
    // The words of large messages are in the table too.
    let transfers = if config.large_max > config.small_max { config.transfers_max as u64 } else { 0 };
    let words = (2 * transfers + 1) * 8 * config.senders.len() as u64 * nodes as u64;
    let nodes_many = nodes as u64;
    let needs_bytes = nodes_many * (tables + words + NODE_BYTES) + nodes_many * nodes_many * PAIR_BYTES;
    if needs_bytes > MEMORY_BYTES_MAX {
        return Err(TooLarge { nodes, senders: config.senders.len(), needs_bytes });
    }
    Ok(needs_bytes)
}
