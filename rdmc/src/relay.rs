//! How a message is relayed if nobody says so: by which schedule, and in how large blocks.
//!
//! It depends on what there is too little of.
//!
//! Where members share *cores*, every copy takes time from every other, whoever makes it. Then only the sum counts: all
//! schedules make the same copies, and a block costs a switch to the member that relays it. So blocks are large, and
//! the binomial pipeline needs the fewest steps.
//!
//! Where *links* are the limit, each member has its own, and none may idle. A stream of messages fills the root's line
//! only if the root sends each block once: by two trees, or by the chain. One message is through a chain n - 2 steps
//! after its last block has left, through two trees in some 2 log2 n. But when others send at the same time, what comes
//! down several trees meets at each member's port, and leaves ports idle elsewhere. In a chain each member sends to one
//! neighbour and receives from one neighbour, for every root the same: nothing ever meets. Its n - 2 steps cost nothing
//! once the others' messages fill them.

use crate::block_size::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, block_bytes_for};
use crate::schedule::ScheduleKind;

/// How one message is relayed. Its sender chooses, and the descriptor tells everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Who sends which block to whom.
    pub schedule: ScheduleKind,
    /// Length of every block but the last, in bytes.
    pub block_bytes: u32,
}

/// What large messages are limited by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// Cores that several members share.
    #[default]
    Cores,
    /// Each member's own link, or its own core.
    Links {
        /// What a block costs beside its bytes (post, counter, waking the member that relays it), in bytes that the
        /// link could have carried meanwhile.
        overhead_bytes: u64,
    },
}

/// What a block costs beside its bytes where links are the limit: waking a sleeper and a turn of its loop.
const BLOCK_OVERHEAD_NS: u64 = 40_000;

impl Limit {
    /// That of links which carry so much.
    pub fn of_links(bytes_per_second: u64) -> Limit {
        let overhead = u128::from(bytes_per_second) * u128::from(BLOCK_OVERHEAD_NS) / 1_000_000_000;
        Limit::Links { overhead_bytes: u64::try_from(overhead).unwrap_or(u64::MAX) }
    }
}

impl Relay {
    /// How to relay a message of `message_bytes` bytes to `members` members, of whom `busy` send large messages, its
    /// sender among them; in blocks of `block_bytes`, if they are given.
    ///
    /// Worked example: 1 MB to 16 members over links of 200 Mb/s (25 MB/s), where a block costs 1000 bytes: blocks of
    /// 16 KB, so 64 of them. One sender: two trees. Two: the chain, whose 14 steps the other's 64 blocks fill.
    pub fn choose(limit: Limit, message_bytes: u64, block_bytes: Option<u32>, members: usize, busy: usize) -> Relay {
        match limit {
            Limit::Cores => {
                let block_bytes = block_bytes.unwrap_or_else(|| block_bytes_for(message_bytes, members));
                Relay { schedule: ScheduleKind::Pipeline, block_bytes }
            }
            Limit::Links { overhead_bytes } => {
                let block_bytes = block_bytes.unwrap_or_else(|| link_block_bytes(message_bytes, members, overhead_bytes));
                let blocks = message_bytes.div_ceil(u64::from(block_bytes.max(1)));
                Relay { schedule: link_schedule(blocks, members, busy), block_bytes }
            }
        }
    }
}

/// The chain if the blocks of the others fill its steps.
fn link_schedule(blocks: u64, members: usize, busy: usize) -> ScheduleKind {
    let others = busy.saturating_sub(1) as u64;
    if others > 0 && others.saturating_mul(blocks) >= members.saturating_sub(2) as u64 {
        ScheduleKind::Chain
    } else {
        ScheduleKind::TwoTrees
    }
}

/// Block size over links: a power of two, so that a link that was measured a little faster or slower gives the same.
///
/// Sending M bytes in b blocks over d levels takes some (b + d) steps, each as long as M / b bytes and the overhead o;
/// least at blocks of sqrt(M o / d) bytes.
fn link_block_bytes(message_bytes: u64, members: usize, overhead_bytes: u64) -> u32 {
    let levels = u64::from(members.max(2).next_power_of_two().ilog2());
    let best = message_bytes.saturating_mul(overhead_bytes.max(1)) / levels;
    let best = best.isqrt().clamp(u64::from(BLOCK_BYTES_MIN), u64::from(BLOCK_BYTES_MAX));
    let below = 1 << best.ilog2();
    // The nearer one, as ratios go: 1.4 is about the square root of 2.
    (if 5 * best < 7 * below { below } else { 2 * below }) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_one_goes_down_two_trees_and_the_streams_of_many_down_a_chain() {
        let shaped = Limit::of_links(25_000_000);
        let choose = |busy| Relay::choose(shaped, 1 << 20, None, 16, busy);
        assert_eq!(choose(1), Relay { schedule: ScheduleKind::TwoTrees, block_bytes: 16 << 10 });
        assert_eq!(choose(2), Relay { schedule: ScheduleKind::Chain, block_bytes: 16 << 10 });
        assert_eq!(link_schedule(2, 16, 8), ScheduleKind::Chain);
        assert_eq!(link_schedule(2, 16, 7), ScheduleKind::TwoTrees, "12 blocks do not fill 14 steps");
    }

    #[test]
    fn shared_cores_get_what_takes_the_fewest_steps() {
        let relay = Relay::choose(Limit::Cores, 1 << 20, None, 16, 16);
        assert_eq!(relay, Relay { schedule: ScheduleKind::Pipeline, block_bytes: block_bytes_for(1 << 20, 16) });
    }

    #[test]
    fn blocks_are_powers_of_two_within_limits_and_grow_with_message_and_rate() {
        for members in [2, 3, 16, 512] {
            for rate in [0, 1 << 20, 25_000_000, 12_500_000_000, u64::MAX] {
                let sizes: Vec<_> = (10..40).map(|e| Relay::choose(Limit::of_links(rate), 1 << e, None, members, 1).block_bytes).collect();
                assert!(sizes.is_sorted() && sizes.iter().all(|bytes| bytes.is_power_of_two()), "{sizes:?}");
                assert!(sizes.iter().all(|bytes| (BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(bytes)), "{sizes:?}");
            }
        }
        let shaped = Limit::of_links(25_000_000);
        let of = |rate| Relay::choose(Limit::of_links(rate), 100 << 20, None, 16, 1).block_bytes;
        assert!(of(25_000_000) < of(1_250_000_000));
        assert_eq!(
            Relay::choose(shaped, 100, Some(1), 16, 2),
            Relay { schedule: ScheduleKind::Chain, block_bytes: 1 },
            "what is given wins"
        );
    }
}
