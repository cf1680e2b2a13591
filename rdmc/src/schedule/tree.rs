//! Binomial tree: in stage j (of b steps) each of the first 2^j members sends the whole message to the member 2^j
//! further on.
//!
//! Example with 4 members and 2 blocks:
//! `0->1:b0 | 0->1:b1 | 0->2:b0 1->3:b0 | 0->2:b1 1->3:b1`.

use super::Hop;

pub(super) fn steps(members: u32, blocks: u32) -> u64 {
    u64::from(blocks) * u64::from(u32::BITS - (members - 1).leading_zeros())
}

pub(super) fn send(members: u32, blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
    let (holders, block) = stage_at(blocks, step);
    let peer = vertex.checked_add(holders)?;
    (vertex < holders && peer < members).then_some(Hop { peer, block })
}

pub(super) fn receive(blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
    let (holders, block) = stage_at(blocks, step);
    let peer = vertex.checked_sub(holders)?;
    (peer < holders).then_some(Hop { peer, block })
}

/// The number of members that hold the message when a step's stage begins, and the block of the step.
fn stage_at(blocks: u32, step: u64) -> (u32, u32) {
    let blocks = u64::from(blocks);
    (1 << (step / blocks), (step % blocks) as u32)
}
