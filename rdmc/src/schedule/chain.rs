//! Chain: member i hands every block to member i + 1, one step after it got it.
//!
//! Example with 3 members and 2 blocks: `0->1:b0 | 0->1:b1 1->2:b0 | 1->2:b1`.

use super::{Hop, block_at};

pub(super) fn steps(members: u32, blocks: u32) -> u64 {
    u64::from(blocks) + u64::from(members) - 2
}

pub(super) fn send(members: u32, blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
    if vertex + 1 >= members {
        return None;
    }
    let block = block_at(step, u64::from(vertex), blocks)?;
    Some(Hop { peer: vertex + 1, block })
}

pub(super) fn receive(blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
    let peer = vertex.checked_sub(1)?;
    let block = block_at(step, u64::from(peer), blocks)?;
    Some(Hop { peer, block })
}
