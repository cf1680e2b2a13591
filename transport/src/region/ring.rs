//! A byte ring inside a region: positions count bytes for ever, `position & (bytes - 1)` is where they lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

use super::Region;

/// Where a ring lies: `bytes` (a power of two) at `base` of a region. Positions are multiples of 8.
///
/// Worked example: in a ring of 64 bytes, position 72 lies at byte 8, and a run of 56 bytes fits there without
/// wrapping.
///
/// Rings made at the same place are the same ring, which has one reader and one writer here at the most.
#[derive(Clone, Debug)]
pub struct Ring {
    region: Region,
    base: u64,
    mask: u64,
    sides: Arc<Sides>,
}

/// What reader and writer of one ring, if both are here, know of each other. A ring of a peer has a reader only; to my
/// own I write what I also read.
#[derive(Debug, Default)]
pub(super) struct Sides {
    /// Of the marks below; each is set once.
    marks: AtomicU8,
    /// The writer's.
    tail: AtomicU64,
    /// The reader's; no bound once that is gone.
    released: AtomicU64,
}

/// There is a writer.
const WRITER: u8 = 1;
/// There is, or was, a reader.
const READER: u8 = 2;
/// The reader has taken in a head.
const PUBLISHED: u8 = 4;
/// The writer has taken space back.
const RECLAIMED: u8 = 8;

impl Sides {
    /// Takes a side, unless it or what it would contradict is marked.
    fn take(&self, side: u8, against: u8) {
        // Relaxed: the marks decide who comes too late; bytes are published by `tail` and `released`.
        let taken =
            self.marks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |marks| (marks & (side | against) == 0).then_some(marks | side));
        if let Err(marks) = taken {
            let (name, other) = if side == WRITER { ("writer", "reader") } else { ("reader", "writer") };
            assert!(marks & side == 0, "this ring has a {name} here already");
            panic!("a {name} of this ring comes too late: its {other} works without one");
        }
    }

    /// Sets `mark`; whether `side` is taken.
    fn mark(&self, mark: u8, side: u8) -> bool {
        self.marks.fetch_or(mark, Ordering::Relaxed) & side != 0
    }
}

/// Whether there is another side here whose frontier bounds mine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// It may still come.
    Unsettled,
    /// There is none, and none comes.
    Nobody,
    Somebody,
}

impl Beside {
    /// Settles it for good.
    #[cold]
    fn settle(&mut self, sides: &Sides, mark: u8, side: u8) {
        *self = if sides.mark(mark, side) { Beside::Somebody } else { Beside::Nobody };
    }
}

impl Ring {
    /// The ring of `bytes` bytes at `base`.
    ///
    /// # Panics
    /// If `bytes` is not a power of two of at least 64, `base` is not a multiple of 8, it lies outside the region, or
    /// words, a pool or another ring have any of it.
    pub fn new(region: &Region, base: u64, bytes: u64) -> Ring {
        assert!(bytes.is_power_of_two() && bytes >= 64 && base.is_multiple_of(8), "a ring is a power of two of bytes, at least 64");
        region.check(base, bytes);
        let sides = region.mapping.hands.ring(base..base + bytes);
        Ring { region: region.clone(), base, mask: bytes - 1, sides }
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

    /// The word at `position`, which the caller has checked to be a multiple of 8.
    #[inline]
    fn word(&self, position: u64) -> &AtomicU64 {
        debug_assert!(position.is_multiple_of(8));
        // SAFETY: R1 and R4: base and position are multiples of 8 and the mask keeps the word inside the ring, which
        // `new` checked to be inside the region.
        unsafe { &*self.region.base().add(self.place(position) as usize).cast::<AtomicU64>() }
    }

    #[inline]
    fn pointer(&self, position: u64, len: u64) -> *mut u8 {
        assert!(len <= self.until_end(position), "a record of {len} bytes at {position} would wrap");
        // SAFETY: in bounds by the assertion and by `new`.
        unsafe { self.region.base().add(self.place(position) as usize) }
    }
}

/// Which word from `start` on, a multiple of 8, is the one at `position`: more than there can be where it lies before
/// `start` or between words. One comparison checks both, for each record.
///
/// Worked example: from 16 on, 24 is word 1; 20 and 8 are beyond 2^60.
#[inline]
fn word_at(position: u64, start: u64) -> u64 {
    position.wrapping_sub(start).rotate_right(3)
}

/// The reading side: hands out bytes between what it released and what was published to it (R2).
#[derive(Debug)]
pub struct RingReader {
    ring: Ring,
    published: u64,
    released: u64,
    writer: Beside,
}

impl RingReader {
    /// A reader at position 0.
    ///
    /// # Panics
    /// If the ring has a reader here, or its writer here has taken space back without one.
    pub fn new(ring: Ring) -> RingReader {
        ring.sides.take(READER, RECLAIMED);
        RingReader { ring, published: 0, released: 0, writer: Beside::Unsettled }
    }

    /// Takes in the head that the writer published, however it was read. A head that goes back, runs further ahead than
    /// the ring is long, or further than a writer here has come, is not taken: `false`.
    #[inline]
    pub fn publish(&mut self, head: u64) -> bool {
        if head < self.published || head - self.released > self.ring.bytes() || !head.is_multiple_of(8) {
            return false;
        }
        if self.writer != Beside::Nobody && !self.is_written(head) {
            return false;
        }
        // Pairs with the release of the Word that carried the head, so that its reader need not.
        fence(Ordering::Acquire);
        self.published = head;
        true
    }

    /// Whether the writer here, if there is one, has come to `head`.
    fn is_written(&mut self, head: u64) -> bool {
        if head > self.published && self.writer == Beside::Unsettled {
            self.writer.settle(&self.ring.sides, PUBLISHED, WRITER);
        }
        // Acquire: pairs with the release of the tail; what was written before it is visible.
        self.writer != Beside::Somebody || head <= self.ring.sides.tail.load(Ordering::Acquire)
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
        let is_readable = word_at(position, self.released) < (self.published - self.released) / 8;
        assert!(is_readable, "position {position} is not readable");
        self.ring.word(position).load(Ordering::Relaxed)
    }

    /// How many words in a row are `word`: those at `position`, `stride` bytes further, and so on, as long as all
    /// `stride` bytes of each lie before `until`.
    ///
    /// # Panics
    /// If `position` or `until` are not between released and published, or one of the three is no multiple of 8, or
    /// `stride` is 0.
    #[inline]
    pub fn same_words(&self, word: u64, position: u64, until: u64, stride: u64) -> u64 {
        let is_readable = self.released <= position && position <= until && until <= self.published && stride > 0;
        assert!(is_readable && (position | until | stride).is_multiple_of(8), "words from {position} to {until} are not readable");
        let (mut at, mut count) = (position, 0);
        while stride <= until - at && self.ring.word(at).load(Ordering::Relaxed) == word {
            (at, count) = (at + stride, count + 1);
        }
        count
    }

    /// `len` bytes at `position`, between released and published, not across the ring's end.
    #[inline]
    pub fn bytes(&self, position: u64, len: u64) -> &[u8] {
        let is_readable = self.released <= position && position <= self.published && len <= self.published - position;
        assert!(is_readable, "{len} bytes at {position} are not readable");
        let start = self.ring.pointer(position, len);
        // SAFETY: R2: published and not released, so nobody writes them while `self` is borrowed: no peer, and no
        // writer here, whose tail is behind them and who reclaims only what was released; in bounds by `pointer`.
        unsafe { std::slice::from_raw_parts(start, len as usize) }
    }

    /// Gives everything before `position` back to the writer; the caller then tells it so.
    ///
    /// # Panics
    /// If it goes back, was not published, or is no multiple of 8.
    #[inline]
    pub fn release(&mut self, position: u64) {
        let is_read = self.released <= position && position <= self.published && position.is_multiple_of(8);
        assert!(is_read, "only what was read is released, by whole words");
        self.released = position;
        // Release: pairs with the acquire of the writer here, if there is one; reads come before it.
        self.ring.sides.released.store(position, Ordering::Release);
    }
}

impl Drop for RingReader {
    fn drop(&mut self) {
        // Release: as in `release`.
        self.ring.sides.released.store(u64::MAX, Ordering::Release);
    }
}

/// The writing side: hands out bytes between the tail and what every reader released (R2).
#[derive(Debug)]
pub struct RingWriter {
    ring: Ring,
    tail: u64,
    reclaimed: u64,
    reader: Beside,
}

impl RingWriter {
    /// A writer at position 0 of its own copy of the ring.
    ///
    /// # Panics
    /// If the ring has, or had, a writer here, or its reader here has taken in what another wrote.
    pub fn new(ring: Ring) -> RingWriter {
        ring.sides.take(WRITER, PUBLISHED);
        RingWriter { ring, tail: 0, reclaimed: 0, reader: Beside::Unsettled }
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
        let is_kept = word_at(position, self.reclaimed) < (self.tail - self.reclaimed) / 8;
        assert!(is_kept, "position {position} is not kept");
        self.ring.word(position).load(Ordering::Relaxed)
    }

    /// Writes the word at `position`, in the free part.
    #[inline]
    pub fn set_word(&mut self, position: u64, value: u64) {
        assert!(word_at(position, self.tail) < self.free() / 8, "position {position} is not free");
        self.ring.word(position).store(value, Ordering::Relaxed);
    }

    /// `len` bytes at `position` to fill in place: in the free part, not across the ring's end.
    #[inline]
    pub fn bytes_mut(&mut self, position: u64, len: u64) -> &mut [u8] {
        let (skipped, free) = (position.wrapping_sub(self.tail), self.free());
        assert!(skipped <= free && len <= free - skipped, "{len} bytes at {position} are not free");
        let start = self.ring.pointer(position, len);
        // SAFETY: R2: past the tail nobody was told of these bytes, and every reader released what lay there a lap ago,
        // one here for sure; exclusive through `&mut self`; in bounds by `pointer`.
        unsafe { std::slice::from_raw_parts_mut(start, len as usize) }
    }

    /// Moves the tail over what was filled.
    ///
    /// # Panics
    /// If there is not as much free, or it is no multiple of 8.
    #[inline]
    pub fn advance(&mut self, len: u64) {
        assert!(len.is_multiple_of(8) && len <= self.free(), "the tail moves over free bytes only");
        self.tail = self.tail.checked_add(len).expect("no ring lives for 2^64 bytes");
        // Release: pairs with the acquire of the reader here, if there is one.
        self.ring.sides.tail.store(self.tail, Ordering::Release);
    }

    /// Every reader has released everything before `position`.
    ///
    /// # Panics
    /// If it goes back, was not written, is no multiple of 8, or the reader here has not released it.
    #[inline]
    pub fn reclaim(&mut self, position: u64) {
        let is_written = self.reclaimed <= position && position <= self.tail && position.is_multiple_of(8);
        assert!(is_written, "only what was written is reclaimed, by whole words");
        if self.reader != Beside::Nobody {
            assert!(self.is_released(position), "the reader here has not released what lies before {position}");
        }
        self.reclaimed = position;
    }

    /// Whether the reader here, if there is one, has released everything before `position`.
    fn is_released(&mut self, position: u64) -> bool {
        if position > self.reclaimed && self.reader == Beside::Unsettled {
            self.reader.settle(&self.ring.sides, RECLAIMED, READER);
        }
        // Acquire: pairs with the release of the reader; its reads are over.
        self.reader != Beside::Somebody || position <= self.ring.sides.released.load(Ordering::Acquire)
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
            assert_eq!([lap, lap + 1].map(|word| reader.same_words(word, at, at + 16, 16)), [1, 0]);
            reader.release(at + 16);
            writer.reclaim(at + 16);
        }
    }

    #[test]
    fn words_in_a_row_are_counted_up_to_the_first_that_differs_or_is_not_whole() {
        let ring = ring();
        let (mut writer, mut reader) = (RingWriter::new(ring.clone()), RingReader::new(ring));
        [7, 1, 7, 2, 7, 3, 9, 7].into_iter().zip((0..).step_by(8)).for_each(|(word, at)| writer.set_word(at, word));
        writer.advance(64);
        assert!(reader.publish(64));
        let cases = [((0, 64, 16), 3), ((0, 40, 16), 2), ((0, 8, 16), 0), ((16, 16, 8), 0), ((32, 64, 8), 1)];
        for ((position, until, stride), expected) in cases {
            assert_eq!(reader.same_words(7, position, until, stride), expected, "{position}..{until} by {stride}");
        }
        assert!(refused(|| reader.same_words(7, 0, 72, 8)).contains("not readable"));
        assert!(refused(|| reader.same_words(7, 0, 64, 0)).contains("not readable"));
        reader.release(8);
        assert!(refused(|| reader.same_words(7, 0, 64, 8)).contains("not readable"));
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

    #[track_caller]
    fn refused<T>(what: impl FnOnce() -> T) -> String {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(what()))).expect_err("refused");
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).expect("a reason")
    }

    #[test]
    fn the_writer_cannot_touch_what_is_not_reclaimed() {
        let mut writer = RingWriter::new(ring());
        writer.advance(64);
        assert!(refused(|| writer.set_word(64, 1)).contains("not free"));
        for (position, len) in [(64, 1), (0, 8), (u64::MAX, 8), (u64::MAX - 7, 8), (64, u64::MAX), (64, u64::MAX - 63)] {
            assert!(refused(|| writer.bytes_mut(position, len).len()).contains("not free"), "{len} at {position}");
        }
        assert!(refused(|| writer.advance(8)).contains("free bytes only"));
        assert!(refused(|| writer.advance(u64::MAX - 7)).contains("free bytes only"));
        assert!(refused(|| writer.reclaim(61)).contains("whole words"));
        writer.reclaim(56);
        for position in [0, 56, 60, 68, 113, 116, 120, u64::MAX - 7] {
            assert!(refused(|| writer.set_word(position, 1)).contains("not free"), "{position}");
        }
        writer.set_word(112, 1);
        assert_eq!(writer.bytes_mut(64, 56).len(), 56);
        assert!(refused(|| writer.bytes_mut(65, 56).len()).contains("not free"));
    }

    #[test]
    fn the_reader_cannot_touch_what_is_not_published_nor_a_word_between_words() {
        let mut reader = RingReader::new(ring());
        assert!(refused(|| reader.word(0)).contains("not readable"));
        assert!(reader.publish(64));
        reader.release(56);
        assert!(reader.publish(120));
        assert_eq!((reader.word(56), reader.word(112), reader.bytes(56, 8).len()), (0, 0, 8));
        for position in [48, 60, 63, 113, 116, 120, u64::MAX - 7, u64::MAX - 3] {
            assert!(refused(|| reader.word(position)).contains("not readable"), "{position}");
        }
        for (position, len) in [(48, 8), (64, 57), (120, 1), (121, 0), (64, u64::MAX), (64, u64::MAX - 63), (u64::MAX, 1)] {
            assert!(refused(|| reader.bytes(position, len).len()).contains("not readable"), "{len} at {position}");
        }
        assert!(refused(|| reader.bytes(56, 9).len()).contains("wrap"));
    }

    #[test]
    fn a_reader_here_sees_no_more_than_the_writer_here_wrote_and_keeps_what_it_reads() {
        let ring = ring();
        let (mut reader, mut writer) = (RingReader::new(ring.clone()), RingWriter::new(ring));
        assert!(!reader.publish(8), "nothing was written");
        writer.advance(64);
        assert!(!reader.publish(128) && reader.publish(64));
        assert!(refused(|| writer.reclaim(8)).contains("has not released"));
        reader.release(16);
        writer.reclaim(16);
        assert!(refused(|| writer.reclaim(24)).contains("has not released"));
        drop(reader);
        writer.reclaim(64);
    }

    #[test]
    fn a_ring_has_one_reader_and_one_writer_and_none_that_comes_too_late() {
        let place = ring();
        let (_reader, writer) = (RingReader::new(place.clone()), RingWriter::new(place.clone()));
        assert!(refused(|| RingReader::new(place.clone())).contains("a reader here already"));
        assert!(refused(|| RingWriter::new(place.clone())).contains("a writer here already"));
        drop(writer);
        assert!(refused(|| RingWriter::new(place.clone())).contains("a writer here already"), "its bytes may still be read");
        // Another description of the same place is the same ring.
        let mut reader = RingReader::new(ring());
        let same = Ring::new(&reader.ring().region.clone(), 64, 64);
        assert!(reader.publish(8));
        assert!(refused(|| RingWriter::new(same.clone())).contains("too late"));
        let mut writer = RingWriter::new(ring());
        writer.advance(8);
        writer.reclaim(8);
        assert!(refused(|| RingReader::new(writer.ring().clone())).contains("too late"));
    }
}
