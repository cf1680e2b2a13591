//! Registered memory: a [`Region`] is mapped once and other nodes may write into it.
//!
//! All `unsafe` that touches region bytes is in this folder. What may be done with which byte:
//!
//! - R1 *words* (8 bytes, 8-aligned) that others may write are only touched as atomics ([`Region::word`]).
//! - R2 *ring bytes* between a ring's released and published frontier are written by nobody: readers may hold `&[u8]` to them
//!   ([`RingReader`]). The writer touches bytes only between its tail and the frontier that every reader released ([`RingWriter`]).
//! - R3 *pool blocks* are in one of three hands: the owner writes ([`Block`]), peers write ([`OpenBlock`]), or nobody writes
//!   ([`FilledBlock`]). Each change of hands takes the old handle.
//! - R4 a region outlives every handle into it (they share its mapping).
//!
//! The peers of an authenticated epoch are trusted to keep R2 and R3, as everywhere one-sided writes are used: the memory of a
//! member that accepts writes is as correct as the members that write.

mod copy;
mod io;
mod map;
mod pool;
mod ring;

pub(crate) use copy::STREAM_BYTES_MIN;
pub use copy::{CopyMethod, copy_between, copy_slice};
pub(crate) use io::{Gather, land, land_words, lift_words, receive};
pub(crate) use map::Mapping;
pub use map::{RegionError, RegionOptions};
pub use pool::{Block, FilledBlock, OpenBlock, Pool, PoolExhausted, SizeClass};
pub use ring::{Ring, RingReader, RingWriter};

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Memory that is mapped once, page-aligned, backed by a sealed memfd so that other processes of this host can map it too.
///
/// Cloning gives another handle to the same memory.
#[derive(Clone, Debug)]
pub struct Region {
    mapping: Arc<Mapping>,
}

impl Region {
    /// Zeroed memory of at least `bytes` bytes (rounded up to whole pages).
    pub fn allocate(bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        Ok(Region { mapping: Arc::new(Mapping::allocate(bytes, options)?) })
    }

    /// Address space that reads as zeros, of this process alone: a page becomes memory when it is first written. So a region that nobody touches costs nothing
    /// however large it is (the memory of a *modelled* host), and one that is written here and there costs what is written.
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

    /// The memfd behind it.
    ///
    /// # Panics
    /// If it was [reserved](Region::reserve).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.mapping.fd()
    }

    /// The word at byte `offset`.
    ///
    /// # Panics
    /// If `offset` is not a multiple of 8 or the word lies outside.
    #[inline]
    pub fn word(&self, offset: u64) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.mapping.bytes as u64, "word {offset} lies outside the region");
        // SAFETY: R1 and R4: in bounds, aligned, mapped as long as self; words are only ever accessed as atomics.
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

    #[test]
    fn reserved_memory_may_be_larger_than_the_machine() {
        let region = Region::reserve(1 << 44).unwrap();
        region.word((1 << 44) - 8).store(7, Ordering::Relaxed);
        assert_eq!((region.word(0).load(Ordering::Relaxed), region.word((1 << 44) - 8).load(Ordering::Relaxed)), (0, 7));
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn a_word_outside_is_a_bug() {
        Region::allocate(4096, &RegionOptions::default()).unwrap().word(4096);
    }
}
