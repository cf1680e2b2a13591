//! What a crate that forbids `unsafe` may write and must not get away with: none of it reaches outside a region, and no
//! two handles disagree.

#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use squall_transport::region::{Pool, Ring, RingReader, RingWriter, SizeClass};
use squall_transport::{Region, RegionOptions};

fn region(bytes: usize) -> Region {
    Region::allocate(bytes, &RegionOptions::default()).expect("memory")
}

#[track_caller]
fn refused<T>(what: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(|| drop(what()))).is_err(), "it was let through");
}

#[test]
fn an_offset_that_overflows_is_outside() {
    let region = region(4096);
    for offset in [u64::MAX - 7, u64::MAX - 15, u64::MAX / 8 * 8, 4096, 4092] {
        refused(|| region.word(offset).load(Ordering::Relaxed));
    }
}

#[test]
fn a_pool_whose_size_overflows_does_not_fit() {
    for (block_bytes, blocks) in [(1 << 40, 1 << 24), (u64::MAX, 1), (1 << 63, 2), (1 << 52, 1 << 12)] {
        refused(|| Pool::new(region(4096), &[SizeClass { block_bytes, blocks }]));
    }
}

#[test]
fn two_pools_cannot_have_one_region() {
    let (region, classes) = (region(8192), [SizeClass { block_bytes: 4096, blocks: 1 }]);
    let mut pool = Pool::new(region.clone(), &classes);
    let mut block = pool.take(10).expect("a block");
    let bytes = block.bytes_mut();
    refused(|| Pool::new(region.clone(), &classes));
    refused(|| region.word(0).store(1, Ordering::Relaxed));
    assert_eq!(bytes, [0; 10]);
}

#[test]
fn no_word_is_read_across_the_end_of_a_ring_and_no_reader_and_writer_share_bytes() {
    let ring = Ring::new(&region(4096), 0, 4096);
    let mut reader = RingReader::new(ring.clone());
    assert!(reader.publish(4096));
    reader.release(4088);
    assert!(reader.publish(8184));
    refused(|| reader.word(4092));
    refused(|| reader.word(u64::MAX - 3));
    // The reader has believed a head that no writer here has come to: from now on its bytes are a peer's.
    refused(|| RingWriter::new(ring.clone()));
    assert_eq!(reader.bytes(4096, 8), [0; 8]);
}

#[test]
fn a_writer_writes_nothing_that_a_reader_of_the_same_ring_holds() {
    let ring = Ring::new(&region(4096), 0, 4096);
    let (mut writer, mut reader) = (RingWriter::new(ring.clone()), RingReader::new(ring));
    writer.bytes_mut(0, 8).copy_from_slice(b"a record");
    assert!(!reader.publish(8), "the writer has not come so far");
    writer.advance(4096);
    assert!(reader.publish(8));
    let held = reader.bytes(0, 8);
    refused(|| writer.bytes_mut(0, 8).fill(0));
    refused(|| writer.bytes_mut(4096, 8).fill(0));
    refused(|| writer.reclaim(8));
    assert_eq!(held, b"a record");
}
