//! Sequential: all blocks to member 1, then all blocks to member 2, and so on. The baseline every relay must beat.
//!
//! Example with 3 members and 2 blocks: `0->1:b0 | 0->1:b1 | 0->2:b0 | 0->2:b1`.

use super::Hop;

pub(super) fn steps(members: u32, blocks: u32) -> u64 {
    u64::from(blocks) * u64::from(members - 1)
}

pub(super) fn send(blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
    let (peer, block) = hop_at(blocks, step);
    (vertex == 0).then_some(Hop { peer, block })
}

pub(super) fn receive(blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
    let (receiver, block) = hop_at(blocks, step);
    (vertex == receiver).then_some(Hop { peer: 0, block })
}

/// The receiver and the block of a step.
fn hop_at(blocks: u32, step: u64) -> (u32, u32) {
    let blocks = u64::from(blocks);
    ((step / blocks) as u32 + 1, (step % blocks) as u32)
}
