//! What is in a message, and whether what arrived is it.
//!
//! A payload is a function of (sender, index, offset): word `k` (8 bytes, little endian) of message `index` of a sender
//! is `base + k * STEP`, where `base` mixes sender and index. So a block that was lost (the bytes of an earlier message
//! are still there), misplaced (another `k`) or of another sender differs in every word, and a word costs one addition.
//!
//! Which bytes are written and checked ([`Verify`]):
//!
//! ```text
//!   full      every byte
//!   sampled   head line, tail line, and one cache line at the start of every 64 KiB
//!   none      the first 8 bytes, for the hash of the order
//! ```

use squall_transport::Rank;

use crate::jobs::kinds::Verify;

const LINE_BYTES: usize = 64;
/// One line is written and checked in each stretch of this many bytes.
const SAMPLE_BYTES: usize = 64 << 10;
/// Up to this length a payload is at most two words and has a path without loops.
const SHORT_BYTES: usize = 16;

/// Odd, with bits spread over all bytes (2^64 divided by the golden ratio).
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
/// Odd, unrelated to [`STEP`]; its low byte is odd too, so that one-byte messages of consecutive indices differ.
const INDEX_STEP: u64 = 0xD6E8_FEB8_6659_FD93;
const SENDER_STEP: u64 = 0xA076_1D64_78BD_642F;

/// The first word of a message; everything else of it follows.
#[inline(always)]
fn base(sender: Rank, index: u64) -> u64 {
    (index.wrapping_add(1)).wrapping_mul(INDEX_STEP) ^ (u64::from(sender.0) + 1).wrapping_mul(SENDER_STEP)
}

#[inline(always)]
fn word(base: u64, k: u64) -> u64 {
    base.wrapping_add(k.wrapping_mul(STEP))
}

/// Writes the payload of message `index` of `sender` into `payload`, as much of it as `verify` says.
#[inline(always)]
pub fn fill(payload: &mut [u8], sender: Rank, index: u64, verify: Verify) {
    let base = base(sender, index);
    if payload.len() == 1 {
        payload[0] = base as u8;
    } else if payload.len() <= SHORT_BYTES {
        fill_short(payload, base);
    } else {
        fill_long(payload, base, verify);
    }
}

/// Whether `payload` is what [`fill`] wrote for message `index` of `sender`.
#[inline(always)]
pub fn holds(payload: &[u8], sender: Rank, index: u64, verify: Verify) -> bool {
    let base = base(sender, index);
    if payload.len() == 1 {
        payload[0] == base as u8
    } else if payload.len() <= SHORT_BYTES {
        holds_short(payload, base)
    } else {
        holds_long(payload, base, verify)
    }
}

#[inline]
fn fill_short(payload: &mut [u8], base: u64) {
    for (k, chunk) in payload.chunks_mut(8).enumerate() {
        let bytes = word(base, k as u64).to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
}

#[inline]
fn holds_short(payload: &[u8], base: u64) -> bool {
    payload.chunks(8).enumerate().all(|(k, chunk)| *chunk == word(base, k as u64).to_le_bytes()[..chunk.len()])
}

#[inline(never)]
fn fill_long(payload: &mut [u8], base: u64, verify: Verify) {
    for_parts(payload.len(), verify, |from, to| {
        fill_part(&mut payload[from..to], base, from as u64 / 8);
        true
    });
}

#[inline(never)]
fn holds_long(payload: &[u8], base: u64, verify: Verify) -> bool {
    for_parts(payload.len(), verify, |from, to| holds_part(&payload[from..to], base, from as u64 / 8))
}

/// Calls `part(from, to)` for each stretch that `verify` covers of a payload of `len` bytes, until one says false.
/// `from` is a multiple of 8.
#[inline]
fn for_parts(len: usize, verify: Verify, mut part: impl FnMut(usize, usize) -> bool) -> bool {
    match verify {
        Verify::Full => part(0, len),
        Verify::None => part(0, 8.min(len)),
        Verify::Sampled => {
            // The tail covers the last 1 to 64 bytes whole words at a time, so it may begin up to 7 bytes earlier.
            let tail = len.saturating_sub(LINE_BYTES) / 8 * 8;
            let mut from = 0;
            while from < tail {
                if !part(from, (from + LINE_BYTES).min(len)) {
                    return false;
                }
                from += SAMPLE_BYTES;
            }
            part(tail, len)
        }
    }
}

#[inline]
fn fill_part(part: &mut [u8], base: u64, first_word: u64) {
    let mut value = word(base, first_word);
    let mut chunks = part.chunks_exact_mut(8);
    for chunk in &mut chunks {
        chunk.copy_from_slice(&value.to_le_bytes());
        value = value.wrapping_add(STEP);
    }
    let rest = chunks.into_remainder();
    rest.copy_from_slice(&value.to_le_bytes()[..rest.len()]);
}

#[inline]
fn holds_part(part: &[u8], base: u64, first_word: u64) -> bool {
    let mut value = word(base, first_word);
    let mut differing = 0;
    let chunks = part.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        differing |= u64::from_le_bytes(chunk.try_into().unwrap_or_default()) ^ value;
        value = value.wrapping_add(STEP);
    }
    differing == 0 && *rest == value.to_le_bytes()[..rest.len()]
}

/// The order in which one node saw messages, in a few bytes: equal at two nodes exactly if (but for chance) they saw
/// the same.
///
/// With a total order there is one hash over all deliveries; without one, a hash over each sender's own messages.
#[derive(Clone, Debug)]
pub struct OrderHash {
    total: bool,
    hashes: Vec<u64>,
}

impl OrderHash {
    /// No messages yet, of a group with `members` members, in a total order or not.
    pub fn new(members: usize, total: bool) -> OrderHash {
        OrderHash { total, hashes: vec![0; if total { 1 } else { members }] }
    }

    /// Takes in a delivery.
    #[inline(always)]
    pub fn add(&mut self, sender: Rank, payload: &[u8]) {
        let head = match payload.first_chunk::<8>() {
            Some(head) => u64::from_le_bytes(*head),
            None => payload.first().copied().unwrap_or(0).into(),
        };
        let fact = head ^ (u64::from(sender.0) << 48) ^ ((payload.len() as u64) << 8);
        let hash = &mut self.hashes[if self.total { 0 } else { sender.index() }];
        *hash = (hash.rotate_left(23) ^ fact).wrapping_mul(STEP);
    }

    /// The hashes so far: one, or one a member.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.hashes.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Verify; 3] = [Verify::Sampled, Verify::Full, Verify::None];

    fn payload(len: usize, sender: u16, index: u64, verify: Verify) -> Vec<u8> {
        let mut bytes = vec![0xEE; len];
        fill(&mut bytes, Rank(sender), index, verify);
        bytes
    }

    #[test]
    fn consecutive_one_byte_messages_differ() {
        for index in 0..1000 {
            assert_ne!(payload(1, 3, index, Verify::Full), payload(1, 3, index + 1, Verify::Full));
        }
    }

    #[test]
    fn a_lost_block_of_64_kib_does_not_pass_a_sampled_check() {
        let earlier = payload(1 << 20, 0, 4, Verify::Sampled);
        for block in 0..16 {
            let mut bytes = payload(1 << 20, 0, 5, Verify::Sampled);
            let at = block * SAMPLE_BYTES..(block + 1) * SAMPLE_BYTES;
            bytes[at.clone()].copy_from_slice(&earlier[at]);
            assert!(!holds(&bytes, Rank(0), 5, Verify::Sampled), "block {block}");
        }
    }

    #[test]
    fn two_blocks_in_each_others_place_do_not_pass_a_sampled_check() {
        let mut bytes = payload(1 << 20, 0, 5, Verify::Sampled);
        let (left, right) = bytes.split_at_mut(512 << 10);
        left[..SAMPLE_BYTES].swap_with_slice(&mut right[..SAMPLE_BYTES]);
        assert!(!holds(&bytes, Rank(0), 5, Verify::Sampled));
    }

    proptest! {
        #[test]
        fn what_was_filled_holds_and_nothing_else(len in 1usize..200_000, sender in 0u16..64, index: u64) {
            for verify in ALL {
                let bytes = payload(len, sender, index, verify);
                prop_assert!(holds(&bytes, Rank(sender), index, verify));
                if len > 1 || verify == Verify::Full {
                    prop_assert!(!holds(&bytes, Rank(sender), index.wrapping_add(1), verify));
                }
                if len >= 8 {
                    prop_assert!(!holds(&bytes, Rank(sender + 1), index, verify));
                }
            }
        }

        #[test]
        fn a_full_check_sees_every_flipped_bit(len in 1usize..5000, at: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = payload(len, 1, 9, Verify::Full);
            bytes[at.index(len)] ^= 1 << bit;
            prop_assert!(!holds(&bytes, Rank(1), 9, Verify::Full));
        }

        #[test]
        fn a_sampled_check_sees_head_and_tail(len in 1usize..200_000, from_end in any::<bool>(), at in 0usize..LINE_BYTES, bit in 0u8..8) {
            let at = if from_end { len - 1 - at.min(len - 1) } else { at.min(len - 1) };
            let mut bytes = payload(len, 1, 9, Verify::Sampled);
            bytes[at] ^= 1 << bit;
            prop_assert!(!holds(&bytes, Rank(1), 9, Verify::Sampled));
        }
    }

    #[test]
    fn a_total_order_hash_sees_a_swap_and_a_fifo_hash_only_within_a_sender() {
        let hash = |total, order: &[(u16, u8)]| {
            let mut hash = OrderHash::new(2, total);
            order.iter().for_each(|&(sender, byte)| hash.add(Rank(sender), &[byte]));
            hash.hashes().to_vec()
        };
        let (one, other) = ([(0, 7), (1, 8), (0, 9)], [(1, 8), (0, 7), (0, 9)]);
        assert_ne!(hash(true, &one), hash(true, &other));
        assert_eq!(hash(false, &one), hash(false, &other));
        assert_ne!(hash(false, &one), hash(false, &[(0, 9), (1, 8), (0, 7)]));
    }
}
