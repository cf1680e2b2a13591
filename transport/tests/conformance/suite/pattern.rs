//! Bytes that tell which message they belong to and where in it.

use std::sync::atomic::Ordering::Relaxed;

use squall_transport::Region;

/// A number that looks random, from one that does not.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// The content of one message, by its seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern(pub(crate) u64);

impl Pattern {
    fn word(self, index: u64) -> u64 {
        mix(self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index)
    }

    /// Puts the pattern's first `len` bytes (rounded up to words) at `base`, a multiple of 8.
    pub(crate) fn fill(self, region: &Region, base: u64, len: u64) {
        for index in 0..len.div_ceil(8) {
            region.word(base + index * 8).store(self.word(index), Relaxed);
        }
    }

    /// Fails unless the `len` bytes at `at` are the pattern's from byte `skip` on.
    pub(crate) fn check(self, region: &Region, at: u64, skip: u64, len: u64) {
        let mut expected = self.word(skip / 8);
        let mut found = region.word(at / 8 * 8).load(Relaxed);
        for index in 0..len {
            let (source, target) = (skip + index, at + index);
            if source.is_multiple_of(8) {
                expected = self.word(source / 8);
            }
            if target.is_multiple_of(8) {
                found = region.word(target).load(Relaxed);
            }
            let (want, have) = ((expected >> (source % 8 * 8)) as u8, (found >> (target % 8 * 8)) as u8);
            assert!(want == have, "byte {index} of {len} at {at}: {have:#04x} instead of {want:#04x}");
        }
    }
}

/// The byte at `at`.
pub(crate) fn byte(region: &Region, at: u64) -> u8 {
    (region.word(at / 8 * 8).load(Relaxed) >> (at % 8 * 8)) as u8
}

/// A word whose eight bytes are equal, so that a torn one shows.
pub(crate) fn whole(value: u64) -> u64 {
    (value % 255 + 1) * 0x0101_0101_0101_0101
}

/// Whether all eight bytes are equal.
pub(crate) fn is_whole(word: u64) -> bool {
    word == (word & 0xFF) * 0x0101_0101_0101_0101
}
