//! A byte ring inside a region: positions count bytes for ever, `position & (bytes - 1)` is where they lie.

use std::sync::atomic::Ordering;

use super::Region;

/// Where a ring lies: `bytes` (a power of two) at `base` of a region. Positions are multiples of 8.
///
/// Worked example: in a ring of 64 bytes, position 72 lies at byte 8, and a run of 56 bytes fits there without wrapping.
#[derive(Clone, Debug)]
pub struct Ring {
    region: Region,
    base: u64,
    mask: u64,
}

impl Ring {
    /// The ring of `bytes` bytes at `base`.
    ///
    /// # Panics
    /// If `bytes` is not a power of two of at least 64, `base` is not a multiple of 8, or it lies outside the region.
    pub fn new(region: &Region, base: u64, bytes: u64) -> Ring {
        assert!(bytes.is_power_of_two() && bytes >= 64 && base.is_multiple_of(8), "a ring is a power of two of bytes, at least 64");
        region.check(base, bytes);
        Ring { region: region.clone(), base, mask: bytes - 1 }
    }

    /// Its size in bytes.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.mask + 1
    }

    /// Bytes from the ring's start to where `position` lies.
    #[inline]
    pub fn offset(&self, position: u64) -> u64 {
        position & self.mask
    }

    /// Bytes from `position` to the physical end of the ring.
    #[inline]
    pub fn until_end(&self, position: u64) -> u64 {
        self.bytes() - self.offset(position)
    }

    /// Byte offset of `position` in the region.
    #[inline]
    pub fn place(&self, position: u64) -> u64 {
        self.base + self.offset(position)
    }

    /// The word at `position`, which must be a multiple of 8. Any value may come back if it was never published.
    #[inline]
    fn word(&self, position: u64) -> u64 {
        debug_assert!(position.is_multiple_of(8));
        // SAFETY: R1 and R4: base and position are multiples of 8 and the mask keeps the word inside the ring, which `new` checked to be inside the
        // region.
        unsafe { (*self.region.base().add(self.place(position) as usize).cast::<std::sync::atomic::AtomicU64>()).load(Ordering::Relaxed) }
    }

    #[inline]
    fn pointer(&self, position: u64, len: u64) -> *mut u8 {
        assert!(len <= self.until_end(position), "a record of {len} bytes at {position} would wrap");
        // SAFETY: in bounds by the assertion and by `new`.
        unsafe { self.region.base().add(self.place(position) as usize) }
    }
}

/// The reading side: hands out bytes between what it released and what was published to it (R2).
#[derive(Debug)]
pub struct RingReader {
    ring: Ring,
    published: u64,
    released: u64,
}

impl RingReader {
    /// A reader at position 0.
    pub fn new(ring: Ring) -> RingReader {
        RingReader { ring, published: 0, released: 0 }
    }

    /// Takes in the head that the writer published; it must have been loaded with acquire from the counter that publishes this ring. A head that goes
    /// back or runs further ahead than the ring is long is not taken: `false`.
    #[inline]
    pub fn publish(&mut self, head: u64) -> bool {
        if head < self.published || head - self.released > self.ring.bytes() || !head.is_multiple_of(8) {
            return false;
        }
        self.published = head;
        true
    }

    /// First position not yet published.
    #[inline]
    pub fn published(&self) -> u64 {
        self.published
    }

    /// First position not yet released.
    #[inline]
    pub fn released(&self) -> u64 {
        self.released
    }

    /// The ring it reads.
    #[inline]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The word at `position`, between released and published.
    #[inline]
    pub fn word(&self, position: u64) -> u64 {
        assert!(self.released <= position && position + 8 <= self.published, "position {position} is not readable");
        self.ring.word(position)
    }

    /// `len` bytes at `position`, between released and published, not across the ring's end.
    #[inline]
    pub fn bytes(&self, position: u64, len: u64) -> &[u8] {
        assert!(self.released <= position && position + len <= self.published, "bytes at {position} are not readable");
        let start = self.ring.pointer(position, len);
        // SAFETY: R2: published by an acquired counter and not released, so nobody writes them while `self` is borrowed; in bounds by
        // `pointer`.
        unsafe { std::slice::from_raw_parts(start, len as usize) }
    }

    /// Gives everything before `position` back to the writer; the caller then tells it so.
    #[inline]
    pub fn release(&mut self, position: u64) {
        assert!(self.released <= position && position <= self.published, "only what was read is released");
        self.released = position;
    }
}

/// The writing side: hands out bytes between the tail and what every reader released (R2).
#[derive(Debug)]
pub struct RingWriter {
    ring: Ring,
    tail: u64,
    reclaimed: u64,
}

impl RingWriter {
    /// A writer at position 0 of its own copy of the ring.
    pub fn new(ring: Ring) -> RingWriter {
        RingWriter { ring, tail: 0, reclaimed: 0 }
    }

    /// The ring it writes.
    #[inline]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// First position not yet written.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// First position that some reader may still read.
    #[inline]
    pub fn reclaimed(&self) -> u64 {
        self.reclaimed
    }

    /// Bytes that can be written now.
    #[inline]
    pub fn free(&self) -> u64 {
        self.ring.bytes() - (self.tail - self.reclaimed)
    }

    /// The word at `position`, which was written and not reclaimed.
    #[inline]
    pub fn word(&self, position: u64) -> u64 {
        assert!(self.reclaimed <= position && position + 8 <= self.tail, "position {position} is not kept");
        self.ring.word(position)
    }

    /// Writes the word at `position`, in the free part.
    #[inline]
    pub fn set_word(&mut self, position: u64, value: u64) {
        assert!(position >= self.tail && position + 8 <= self.reclaimed + self.ring.bytes(), "position {position} is not free");
        self.ring.region.word(self.ring.place(position)).store(value, Ordering::Relaxed);
    }

    /// `len` bytes at `position` to fill in place: in the free part, not across the ring's end.
    #[inline]
    pub fn bytes_mut(&mut self, position: u64, len: u64) -> &mut [u8] {
        assert!(position >= self.tail && position + len <= self.reclaimed + self.ring.bytes(), "bytes at {position} are not free");
        let start = self.ring.pointer(position, len);
        // SAFETY: R2: past the tail nobody was told of these bytes, and every reader released what lay there a lap ago; exclusive through
        // `&mut self`; in bounds by `pointer`.
        unsafe { std::slice::from_raw_parts_mut(start, len as usize) }
    }

    /// Moves the tail over what was filled.
    #[inline]
    pub fn advance(&mut self, len: u64) {
        assert!(len.is_multiple_of(8) && len <= self.free(), "the tail moves over free bytes only");
        self.tail += len;
    }

    /// Every reader has released everything before `position`.
    #[inline]
    pub fn reclaim(&mut self, position: u64) {
        assert!(self.reclaimed <= position && position <= self.tail, "only what was written is reclaimed");
        self.reclaimed = position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::RegionOptions;

    fn ring() -> Ring {
        Ring::new(&Region::allocate(4096, &RegionOptions::default()).unwrap(), 64, 64)
    }

    #[test]
    fn what_is_written_is_read_after_it_is_published_and_wraps_around() {
        let ring = ring();
        let (mut writer, mut reader) = (RingWriter::new(ring.clone()), RingReader::new(ring));
        for lap in 0..10u64 {
            let at = writer.tail();
            writer.set_word(at, lap);
            writer.bytes_mut(at + 8, 8).copy_from_slice(&[lap as u8; 8]);
            writer.advance(16);
            assert!(reader.publish(writer.tail()));
            assert_eq!(reader.word(at), lap);
            assert_eq!(reader.bytes(at + 8, 8), &[lap as u8; 8]);
            reader.release(at + 16);
            writer.reclaim(at + 16);
        }
    }

    #[test]
    fn a_head_that_cannot_be_is_refused() {
        let mut reader = RingReader::new(ring());
        assert!(reader.publish(16));
        assert!(!reader.publish(8), "back");
        assert!(!reader.publish(72), "further than the ring is long");
        assert!(!reader.publish(20), "not a multiple of 8");
        assert_eq!(reader.published(), 16);
    }

    #[test]
    #[should_panic(expected = "not free")]
    fn the_writer_cannot_touch_what_is_not_reclaimed() {
        let mut writer = RingWriter::new(ring());
        writer.advance(64);
        writer.set_word(64, 1);
    }

    #[test]
    #[should_panic(expected = "not readable")]
    fn the_reader_cannot_touch_what_is_not_published() {
        RingReader::new(ring()).word(0);
    }
}
