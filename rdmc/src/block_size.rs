//! How large blocks should be, if nobody says so.

/// No smaller blocks: below this the cost of a post outweighs what finer relaying gains.
pub const BLOCK_BYTES_MIN: u32 = 16 << 10;
/// No larger blocks: above this other traffic on the link waits too long for its turn.
pub const BLOCK_BYTES_MAX: u32 = 1 << 20;
/// What a block costs beside its bytes (post, counter, waking and switching to the member that relays it), in bytes
/// that could have been sent instead. Measured on one host with more members than cores, where a switch takes some 40
/// us of a 12 GB/s copy: with 16 members that all send 1 MB, blocks of 84 KB move 9 GB/s in all, of 256 KB 16, of 512
/// KB to 1 MB 18 to 20.
const OVERHEAD_BYTES: u64 = 512 << 10;

/// Block size for a message of `message_bytes` to `members` members by the binomial pipeline, a multiple of 4 KiB.
///
/// Sending M bytes in b blocks to 2^d members takes b + d - 1 steps, each as long as M / b bytes and the overhead o.
/// The sum (b + d - 1) (M / b + o) is least at b = sqrt((d - 1) M / o), that is at blocks of sqrt(M o / (d - 1)) bytes.
/// With two members nothing is relayed, and the limit alone decides.
///
/// Worked example: 1 MB to 16 members: d = 4, sqrt(1048576 * 524288 / 3) = 428079 bytes, rounded up to 430080.
pub fn block_bytes_for(message_bytes: u64, members: usize) -> u32 {
    let dimensions = u64::from(members.max(1).next_power_of_two().ilog2());
    let bytes = match dimensions {
        0 | 1 => u64::from(BLOCK_BYTES_MAX),
        _ => (message_bytes.saturating_mul(OVERHEAD_BYTES) / (dimensions - 1)).isqrt(),
    };
    let rounded = bytes.clamp(u64::from(BLOCK_BYTES_MIN), u64::from(BLOCK_BYTES_MAX)).next_multiple_of(4096);
    rounded as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_with_the_message_and_shrink_with_the_group() {
        assert_eq!(block_bytes_for(1 << 20, 16), 430_080);
        assert_eq!(block_bytes_for(100_000_000, 16), BLOCK_BYTES_MAX);
        assert_eq!(block_bytes_for(1_000, 16), BLOCK_BYTES_MIN);
        assert_eq!(block_bytes_for(u64::MAX, 3), BLOCK_BYTES_MAX);
        for members in 1..40 {
            let sizes: Vec<_> = (10..40).map(|e| block_bytes_for(1 << e, members)).collect();
            assert!(sizes.is_sorted() && sizes.iter().all(|bytes| bytes.is_multiple_of(4096)));
            assert!(block_bytes_for(1 << 26, members + 1) <= block_bytes_for(1 << 26, members));
        }
    }
}
