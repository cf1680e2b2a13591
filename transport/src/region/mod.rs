//! Registered memory: a [`Region`] is mapped once and other nodes may write into it.
//!
//! All `unsafe` that touches region bytes is in this folder. What may be done with which byte:
//!
//! - R1 *words* (8 bytes, 8-aligned) that others may write are only touched as atomics ([`Region::word`]).
//! - R2 *ring bytes* between a ring's released and published frontier are written by nobody: readers may hold `&[u8]`
//!   to them ([`RingReader`]). The writer touches bytes only between its tail and the frontier that every reader
//!   released ([`RingWriter`]).
//! - R3 *pool blocks* are in one of three hands: the owner writes ([`Block`]), peers write ([`OpenBlock`]), or nobody
//!   writes ([`FilledBlock`]). Each change of hands takes the old handle.
//! - R4 a region outlives every handle into it (they share its mapping).
//! - R5 *links* (what an [`Endpoint`](crate::Endpoint) posts and lands, [`copy_between`], a simulated wire) touch
//!   region bytes from outside, as a device does, whether a NIC, the kernel, another process's mapping or a borrowed
//!   processor does it. What they may touch when is R2 and R3.
//!
//! Handles keep R1 to R4 among themselves, whatever their holder does: no two of a region's words, rings and pools
//! share a byte, a ring has one writer and one reader here, of which neither passes the other, every sum is checked,
//! and what breaks a rule panics. So code that forbids `unsafe` cannot reach outside a region by them, nor make two of
//! them disagree.
//!
//! What no handle can check is what comes over a link. The members of an authenticated epoch are trusted to keep R2 and
//! R3, as everywhere one-sided writes are used: the memory of a member that accepts writes is as correct as the members
//! that write. A program that opens an endpoint is such a member, at both ends if it opens both. Its posts are to this
//! crate's safety what a write to `/proc/self/mem` is to the standard library's.
//!
//! Not checked by Miri: it knows neither a memfd that is mapped twice nor `mbind`, `mlock` and `madvise`, so it could
//! run this folder only over memory that is not what regions are, and it needs another compiler. What stands in its
//! place: the checks above, which stay in release; `tests/safe.rs`, which writes in safe code what must not be let
//! through; properties over lengths and offsets of every copy; loom for what threads share; and at each `unsafe` the
//! rule that it leans on.

mod copy;
mod hands;
mod io;
mod left;
mod map;
mod pool;
mod ring;
mod trouble;

pub(crate) use copy::STREAM_BYTES_MIN;
pub(crate) use copy::carry;
pub use copy::{CopyMethod, copy_between, copy_slice};
pub(crate) use io::{Gather, land, land_words, lift_words, receive};
pub(crate) use map::Mapping;
pub use map::{RegionError, RegionOptions};
pub use pool::{Block, FilledBlock, OpenBlock, Pool, PoolExhausted, SizeClass};
pub use ring::{Ring, RingReader, RingWriter};

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Memory that is mapped once, page-aligned, backed by a sealed memfd so that other processes of this host can map it
/// too.
///
/// Cloning gives another handle to the same memory. The memfd is not to be had: whoever has a file may write it,
/// without `unsafe` and whatever handle reads those bytes meanwhile.
///
/// ```compile_fail,E0624
/// let region = squall_transport::Region::allocate(4096, &Default::default()).unwrap();
/// let file = std::fs::File::from(region.fd().try_clone_to_owned().unwrap());
/// ```
#[derive(Clone, Debug)]
pub struct Region {
    mapping: Arc<Mapping>,
}

impl Region {
    /// Zeroed memory of at least `bytes` bytes (rounded up to whole pages).
    pub fn allocate(bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        Ok(Region { mapping: Arc::new(Mapping::allocate(bytes, options)?) })
    }

    /// Address space that reads as zeros, of this process alone: a page becomes memory when it is first written. So a
    /// region that nobody touches costs nothing however large it is (the memory of a *modelled* host), and one that is
    /// written here and there costs what is written.
    pub fn reserve(bytes: usize) -> Result<Region, RegionError> {
        Ok(Region { mapping: Arc::new(Mapping::reserve(bytes)?) })
    }

    /// Maps the region that a peer allocated, from its memfd.
    pub(crate) fn map(fd: std::os::fd::OwnedFd, bytes: usize) -> Result<Region, RegionError> {
        Ok(Region { mapping: Arc::new(Mapping::of(fd, bytes)?) })
    }

    /// Its size in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.mapping.bytes
    }

    /// What could not be had as asked (huge pages, NUMA node, locking), one sentence each.
    pub fn notices(&self) -> &[String] {
        &self.mapping.notices
    }

    /// The memfd behind it. Not for others: writing a file is safe code, also under a `&[u8]` to what it maps.
    ///
    /// # Panics
    /// If it was [reserved](Region::reserve).
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.mapping.fd()
    }

    /// The word at byte `offset`. From now on these bytes are a word: no ring and no pool can have them.
    ///
    /// # Panics
    /// If `offset` is not a multiple of 8, the word lies outside, or a ring or a pool has it.
    #[inline]
    pub fn word(&self, offset: u64) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "a word at {offset} is not aligned");
        if !self.mapping.hands.is_word(offset) {
            self.open_words(offset, 8);
        }
        // SAFETY: R1 and R4: in bounds and aligned, as below; mapped as long as self; no ring and no pool has these
        // bytes, so they are only ever accessed as atomics, or by links (R5).
        unsafe { &*self.base().add(offset as usize).cast::<AtomicU64>() }
    }

    /// Makes the words that `len` bytes at `offset` touch words for good.
    #[cold]
    fn open_words(&self, offset: u64, len: u64) {
        self.check(offset, len);
        // In a region, which is whole pages, words do not end outside.
        self.mapping.hands.open_words(offset / 8 * 8..(offset + len).next_multiple_of(8), self.mapping.bytes as u64);
    }

    /// As [`Region::word`], of all words that `len` bytes at `offset` touch.
    #[inline]
    fn be_words(&self, offset: u64, len: u64) {
        self.check(offset, len);
        if len > 0 && !self.mapping.hands.is_word(offset + len - 1) {
            self.open_words(offset, len);
        }
    }

    /// The word at byte `offset` as a link has it (R5), whatever holds it.
    ///
    /// # Panics
    /// If `offset` is not a multiple of 8 or the word lies outside.
    #[inline]
    pub(crate) fn link_word(&self, offset: u64) -> &AtomicU64 {
        self.check(offset, 8);
        assert!(offset.is_multiple_of(8), "a word at {offset} is not aligned");
        // SAFETY: R1 and R4: in bounds, aligned, mapped as long as self; what a link touches when is R2 and R3.
        unsafe { &*self.base().add(offset as usize).cast::<AtomicU64>() }
    }

    /// The first byte. Dereference it only under R1 to R4.
    #[inline]
    pub(crate) fn base(&self) -> *mut u8 {
        self.mapping.base()
    }

    /// Address of the first byte, for a provider that registers the memory with a device.
    pub fn address(&self) -> usize {
        self.base() as usize
    }

    /// Whether both are handles to the same memory.
    pub(crate) fn is_same(&self, other: &Region) -> bool {
        Arc::ptr_eq(&self.mapping, &other.mapping)
    }

    /// Panics unless `len` bytes at `offset` lie inside.
    #[inline]
    pub(crate) fn check(&self, offset: u64, len: u64) {
        let bytes = self.mapping.bytes as u64;
        assert!(offset <= bytes && len <= bytes - offset, "{len} bytes at {offset} lie outside a region of {bytes}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_region_is_zeroed_and_its_words_are_atomics() {
        let region = Region::allocate(100, &RegionOptions::default()).unwrap();
        assert!(region.bytes() >= 100);
        assert_eq!(region.address() % 4096, 0);
        assert_eq!(region.word(8).load(Ordering::Relaxed), 0);
        region.word(8).store(7, Ordering::Relaxed);
        assert_eq!(region.clone().word(8).load(Ordering::Relaxed), 7);
    }

    #[test]
    fn another_mapping_sees_the_same_bytes() {
        let region = Region::allocate(8192, &RegionOptions::default()).unwrap();
        let other = Region::map(region.fd().try_clone_to_owned().unwrap(), region.bytes()).unwrap();
        region.word(4096).store(99, Ordering::Relaxed);
        assert_eq!(other.word(4096).load(Ordering::Relaxed), 99);
    }

    fn page() -> Region {
        Region::allocate(4096, &RegionOptions::default()).unwrap()
    }

    #[track_caller]
    fn refused<T>(what: impl FnOnce() -> T) -> String {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(what()))).expect_err("refused");
        panic.downcast_ref::<String>().expect("a reason").clone()
    }

    #[test]
    fn a_word_outside_or_between_words_is_a_bug_whatever_the_offset() {
        for offset in [4096, 4090, 4, u64::MAX, u64::MAX - 6, u64::MAX - 7, u64::MAX - 15, 1 << 63] {
            let (near, link) = (page(), page());
            for text in [refused(|| near.word(offset).as_ptr()), refused(|| link.link_word(offset).as_ptr())] {
                assert!(text.contains("outside") || text.contains("not aligned"), "{offset}: {text}");
            }
        }
        assert_eq!(page().word(4088).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn words_rings_and_pools_share_no_byte() {
        let class = [SizeClass { block_bytes: 4096, blocks: 1 }];
        let region = Region::allocate(3 * 4096, &RegionOptions::default()).unwrap();
        let ring = Ring::new(&region, 4096, 4096);
        region.word(4088).store(1, Ordering::Relaxed);
        // Behind the ring, and what is a word already, again and again.
        (0..3).for_each(|_| region.word(8192).store(2, Ordering::Relaxed));
        for (what, text) in [
            ("a word in a ring", refused(|| region.word(4096).as_ptr())),
            ("a word at its end", refused(|| region.word(8184).as_ptr())),
            ("a pool over words", refused(|| Pool::new(region.clone(), &class))),
            ("a ring over half of one", refused(|| Ring::new(&region, 4096, 2048))),
            ("a ring over words in front", refused(|| Ring::new(&region, 0, 64))),
            ("a ring over words behind", refused(|| Ring::new(&region, 8192, 64))),
        ] {
            assert!(text.contains("bytes"), "{what}: {text}");
        }
        // What nobody holds any more may become something else.
        drop(ring);
        assert_eq!(region.word(4096).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_pool_has_its_region_until_its_last_block_is_gone() {
        let class = [SizeClass { block_bytes: 4096, blocks: 1 }];
        let region = page();
        let mut pool = Pool::new(region.clone(), &class);
        assert!(refused(|| Pool::new(region.clone(), &class)).contains("a pool has bytes 0..4096"));
        assert!(refused(|| Ring::new(&region, 64, 64)).contains("a pool has bytes 0..4096"));
        assert!(refused(|| region.word(0).as_ptr()).contains("a pool has bytes 0..4096"));
        let block = pool.take(10).unwrap();
        drop(pool);
        assert!(refused(|| Pool::new(region.clone(), &class)).contains("a pool has bytes 0..4096"));
        drop(block);
        drop(Pool::new(region.clone(), &class));
        assert_eq!(region.word(0).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn copies_reach_no_bytes_that_a_ring_or_a_pool_hands_out() {
        let (region, other) = (page(), page());
        other.word(0).store(7, Ordering::Relaxed);
        copy_between(&other, 0, &region, 2048, 8, CopyMethod::Plain);
        assert_eq!(region.word(2048).load(Ordering::Relaxed), 7);
        let held = page();
        let _ring = Ring::new(&held, 64, 64);
        for (from, to) in [(&held, &region), (&region, &held)] {
            assert!(refused(|| copy_between(from, 60, to, 60, 8, CopyMethod::Plain)).contains("a ring has bytes 64..128"));
        }
        assert!(refused(|| copy_between(&other, u64::MAX, &region, 0, 8, CopyMethod::Plain)).contains("outside"));
    }

    #[test]
    fn reserved_memory_may_be_larger_than_the_machine() {
        let region = Region::reserve(1 << 44).unwrap();
        region.word((1 << 44) - 8).store(7, Ordering::Relaxed);
        assert_eq!((region.word(0).load(Ordering::Relaxed), region.word((1 << 44) - 8).load(Ordering::Relaxed)), (0, 7));
    }
}
