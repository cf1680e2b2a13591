//! Copying between regions: plain for what stays in the cache, past the cache for what does not.

use super::Region;

/// From this length on a copy goes past the cache (non-temporal stores), found by measuring with a reader behind it: a
/// block this long is read once by a relay or a sampling receiver, and leaving it out of the cache saves reading the
/// destination before overwriting it.
pub(crate) const STREAM_BYTES_MIN: usize = 128 << 10;

/// How bytes are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMethod {
    /// The C library's `memcpy`.
    Plain,
    /// Non-temporal stores (AVX2 where the CPU has it, else plain).
    Streaming,
}

/// Copies `len` bytes at `from` of `source` to `to` of `target`, which are words for good from now on: no ring and no
/// pool can have them. Who reads them meanwhile may see some of the copy, and of a word half.
///
/// # Panics
/// If a range lies outside its region, or a ring or a pool has any of it.
#[inline]
pub fn copy_between(source: &Region, from: u64, target: &Region, to: u64, len: u64, method: CopyMethod) {
    source.be_words(from, len);
    target.be_words(to, len);
    carry(source, from, target, to, len, method);
}

/// Copies `len` bytes at `from` of `source` to `to` of `target`, as a link (R5): the protocol of its posts keeps R2 and
/// R3 for both ranges.
///
/// # Panics
/// If a range lies outside its region.
#[inline]
pub(crate) fn carry(source: &Region, from: u64, target: &Region, to: u64, len: u64, method: CopyMethod) {
    source.check(from, len);
    target.check(to, len);
    // SAFETY: both ranges are in bounds of live mappings (R4). Under R2 and R3 nobody holds `&[u8]` to the target
    // range, and nobody writes the source range while its post is outstanding, but for words of its owner.
    unsafe { copy(source.base().add(from as usize), target.base().add(to as usize), len as usize, method) }
}

/// Copies a slice of ordinary memory over another of the same length, by `method`; for measuring what the machine's
/// copies give.
///
/// # Panics
/// If the lengths differ.
pub fn copy_slice(source: &[u8], target: &mut [u8], method: CopyMethod) {
    assert_eq!(source.len(), target.len(), "copies are of equal lengths");
    // SAFETY: two slices of one length that cannot overlap, one of them exclusive.
    unsafe { copy(source.as_ptr(), target.as_mut_ptr(), source.len(), method) }
}

/// Copies `len` bytes; the bytes are complete for another core once a release store after it is seen. What of it
/// overlaps itself may be any mixture.
///
/// # Safety
/// `from..from+len` is readable and `to..to+len` writable.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, len: usize, method: CopyMethod) {
    #[cfg(target_arch = "x86_64")]
    if method == CopyMethod::Streaming && len >= 64 && std::is_x86_feature_detected!("avx2") {
        // SAFETY: the caller's duty, and AVX2 is there.
        return unsafe { stream_avx2(from, to, len) };
    }
    // SAFETY: the caller's duty.
    unsafe { std::ptr::copy(from, to, len) }
}

/// Copies with 32-byte non-temporal stores, then orders them before any later store.
///
/// # Safety
/// As [`copy`]; the CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn stream_avx2(from: *const u8, to: *mut u8, len: usize) {
    use std::arch::x86_64::{__m256i, _MM_HINT_NTA, _mm_prefetch, _mm_sfence, _mm256_loadu_si256, _mm256_stream_si256};
    const STEP: usize = 128;
    let head = to.align_offset(64).min(len);
    let body = (len - head) / STEP * STEP;
    // SAFETY: head <= len, so both ranges are in bounds.
    unsafe { std::ptr::copy(from, to, head) };
    let mut at = head;
    while at < head + body {
        // SAFETY: at + STEP <= head + body <= len; `to + at` is 64-aligned because `head` aligned it and STEP is a
        // multiple of 64. Prefetching past the end touches nothing.
        unsafe {
            _mm_prefetch::<_MM_HINT_NTA>(from.wrapping_add(at + 1024).cast());
            _mm_prefetch::<_MM_HINT_NTA>(from.wrapping_add(at + 1088).cast());
            let source = from.add(at).cast::<__m256i>();
            let target = to.add(at).cast::<__m256i>();
            let a = _mm256_loadu_si256(source);
            let b = _mm256_loadu_si256(source.add(1));
            let c = _mm256_loadu_si256(source.add(2));
            let d = _mm256_loadu_si256(source.add(3));
            _mm256_stream_si256(target, a);
            _mm256_stream_si256(target.add(1), b);
            _mm256_stream_si256(target.add(2), c);
            _mm256_stream_si256(target.add(3), d);
        }
        at += STEP;
    }
    // SAFETY: the rest of the range. Non-temporal stores are weakly ordered: the fence makes them visible before the
    // counter that publishes them.
    unsafe {
        _mm_sfence();
        std::ptr::copy(from.add(at), to.add(at), len - at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_method_copies_every_byte_and_no_other(len in 0usize..3000, from in 0usize..130, to in 0usize..130) {
            let source: Vec<u8> = (0..len + from + 200).map(|i| (i * 7 + 3) as u8).collect();
            for method in [CopyMethod::Plain, CopyMethod::Streaming] {
                let mut target = vec![0xAA; len + to + 200];
                copy_slice(&source[from..from + len], &mut target[to..to + len], method);
                prop_assert_eq!(&target[to..to + len], &source[from..from + len]);
                prop_assert!(target[..to].iter().chain(&target[to + len..]).all(|&byte| byte == 0xAA));
            }
        }
    }
}
