//! Blocks of a region for large messages: size classes, O(1), no allocation on the data path.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::Region;

/// Blocks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeClass {
    /// Bytes a block; rounded up to a multiple of [`Pool::ALIGNMENT`].
    pub block_bytes: u64,
    /// How many blocks.
    pub blocks: u32,
}

/// Every block that would fit is out. An answer, not a wait: try again once blocks have come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolExhausted {
    /// All blocks of the class are out.
    #[error("all {out} blocks of {block_bytes} bytes are out; wait for deliveries or configure a larger pool")]
    AllOut {
        /// The class's size.
        block_bytes: u64,
        /// How many blocks it has.
        out: u32,
    },
    /// No class is that large.
    #[error("no block of the pool holds {len} bytes (the largest holds {largest}); raise the maximum message size")]
    NoClass {
        /// What was asked for.
        len: u64,
        /// What the largest class holds.
        largest: u64,
    },
}

/// Hands out blocks of a region and counts what is out. Outlives epochs.
#[derive(Debug)]
pub struct Pool {
    holding: Arc<Holding>,
    classes: Vec<Class>,
}

/// The region of one pool: the pool's until its last block is gone.
#[derive(Debug)]
pub(super) struct Holding {
    region: Region,
}

#[derive(Debug)]
struct Class {
    block_bytes: u64,
    base: u64,
    blocks: u32,
    free: Vec<u32>,
}

impl Pool {
    /// Blocks start at multiples of this.
    pub const ALIGNMENT: u64 = 4096;

    /// Bytes of region that these classes need; `u64::MAX` if that is more than can be counted.
    pub fn bytes_for(classes: &[SizeClass]) -> u64 {
        Self::needs(classes).unwrap_or(u64::MAX)
    }

    fn needs(classes: &[SizeClass]) -> Option<u64> {
        let bytes = |class: &SizeClass| class.block_bytes.checked_next_multiple_of(Self::ALIGNMENT)?.checked_mul(u64::from(class.blocks));
        classes.iter().try_fold(0u64, |sum, class| sum.checked_add(bytes(class)?))
    }

    /// A pool over `region`, classes sorted by size. It has the first [`Pool::bytes_for`] bytes until it and all its
    /// blocks are gone.
    ///
    /// # Panics
    /// If the region is smaller than that, or words, a ring or another pool have any of it.
    pub fn new(region: Region, classes: &[SizeClass]) -> Pool {
        let needed = Self::needs(classes).filter(|&needed| needed <= region.bytes() as u64);
        let needed = needed.expect("the region is large enough for its pool");
        let mut sorted = classes.to_vec();
        sorted.sort_by_key(|class| class.block_bytes);
        let mut base = 0;
        // Sums of a part of what was summed up above.
        let classes = sorted
            .iter()
            .map(|class| {
                let block_bytes = class.block_bytes.next_multiple_of(Self::ALIGNMENT);
                let at = base;
                base += block_bytes * u64::from(class.blocks);
                Class { block_bytes, base: at, blocks: class.blocks, free: (0..class.blocks).rev().collect() }
            })
            .collect();
        let holding = Arc::new(Holding { region });
        holding.region.mapping.hands.pool(0..needed, &holding);
        Pool { holding, classes }
    }

    /// A block that holds `len` bytes, from the smallest class that does.
    pub fn take(&mut self, len: u64) -> Result<Block, PoolExhausted> {
        let largest = self.classes.last().map_or(0, |class| class.block_bytes);
        let Some(index) = self.classes.iter().position(|class| class.block_bytes >= len) else {
            return Err(PoolExhausted::NoClass { len, largest });
        };
        let class = &mut self.classes[index];
        let Some(block) = class.free.pop() else {
            return Err(PoolExhausted::AllOut { block_bytes: class.block_bytes, out: class.blocks });
        };
        let offset = class.base + u64::from(block) * class.block_bytes;
        Ok(Block(Handle { holding: Arc::clone(&self.holding), offset, len, class: index as u32, block }))
    }

    /// Takes back a block that nobody reads or writes any more.
    ///
    /// # Panics
    /// If it is another pool's.
    pub fn put(&mut self, block: impl Into<Block>) {
        let Handle { class, block, holding, .. } = block.into().0;
        assert!(Arc::ptr_eq(&holding, &self.holding), "the block belongs to another pool");
        self.classes[class as usize].free.push(block);
    }

    /// Whether this pool handed the block out.
    pub fn has(&self, block: &FilledBlock) -> bool {
        Arc::ptr_eq(&block.0.holding, &self.holding)
    }

    /// Blocks that are out, over all classes.
    pub fn out(&self) -> u32 {
        self.classes.iter().map(|class| class.blocks - class.free.len() as u32).sum()
    }

    /// The class that serves `len` bytes, by size, and how many of its blocks are left.
    pub fn class_for(&self, len: u64) -> Option<(usize, u32)> {
        let index = self.classes.iter().position(|class| class.block_bytes >= len)?;
        Some((index, self.classes[index].free.len() as u32))
    }

    /// The largest message a block holds, in bytes.
    pub fn largest(&self) -> u64 {
        self.classes.last().map_or(0, |class| class.block_bytes)
    }
}

#[derive(Debug)]
struct Handle {
    holding: Arc<Holding>,
    offset: u64,
    len: u64,
    class: u32,
    block: u32,
}

impl Handle {
    #[inline]
    fn base(&self) -> *mut u8 {
        // SAFETY: in bounds because the pool made it.
        unsafe { self.holding.region.base().add(self.offset as usize) }
    }
}

/// A block in its owner's hand: only the owner touches it.
#[derive(Debug)]
pub struct Block(Handle);

/// A block that peers may write: nobody here touches it.
#[derive(Debug)]
pub struct OpenBlock(Handle);

/// A block that nobody writes: everyone may read it until it goes back to the pool.
#[derive(Debug)]
pub struct FilledBlock(Handle);

impl Block {
    /// Its bytes, to fill.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: R3: the only handle of this block, which is in nobody else's hand; in bounds because the pool made
        // it.
        unsafe { std::slice::from_raw_parts_mut(self.0.base(), self.0.len as usize) }
    }

    /// Shortens the message in it.
    ///
    /// # Panics
    /// If `len` is more than was asked for.
    pub fn truncate(&mut self, len: u64) {
        assert!(len <= self.0.len, "a block does not grow");
        self.0.len = len;
    }

    /// Byte offset in the pool's region.
    pub fn offset(&self) -> u64 {
        self.0.offset
    }

    /// Gives it to the peers to write into.
    pub fn open(self) -> OpenBlock {
        OpenBlock(self.0)
    }

    /// Ends writing: from here on it is only read.
    pub fn fill(self) -> FilledBlock {
        FilledBlock(self.0)
    }
}

impl OpenBlock {
    /// Byte offset in the pool's region: where peers write.
    pub fn offset(&self) -> u64 {
        self.0.offset
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// Whether it is of length 0.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Everything has landed: counters that publish every byte were read, in whatever way, and no peer writes any more.
    pub fn landed(self) -> FilledBlock {
        // Pairs with the release of the Words that carried those counters, so that the readers of the counters need
        // not.
        fence(Ordering::Acquire);
        FilledBlock(self.0)
    }
}

impl FilledBlock {
    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: R3: nobody writes a filled block; in bounds because the pool made it.
        unsafe { std::slice::from_raw_parts(self.0.base(), self.0.len as usize) }
    }

    /// Byte offset in the pool's region: where Spans read.
    pub fn offset(&self) -> u64 {
        self.0.offset
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// Whether it is of length 0.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }
}

impl From<FilledBlock> for Block {
    /// Nobody reads it any more: it is the owner's again.
    fn from(block: FilledBlock) -> Block {
        Block(block.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::RegionOptions;

    fn pool() -> Pool {
        let classes = [SizeClass { block_bytes: 100_000, blocks: 2 }, SizeClass { block_bytes: 5000, blocks: 1 }];
        let region = Region::allocate(Pool::bytes_for(&classes) as usize, &RegionOptions::default()).unwrap();
        Pool::new(region, &classes)
    }

    #[test]
    fn blocks_come_from_the_smallest_class_that_fits_and_do_not_overlap() {
        let mut pool = pool();
        let small = pool.take(10).unwrap();
        let (mut a, mut b) = (pool.take(100_000).unwrap(), pool.take(8193).unwrap());
        assert_eq!(small.offset(), 0);
        a.bytes_mut().fill(1);
        b.bytes_mut().fill(2);
        let (a, b) = (a.fill(), b.fill());
        assert!(a.bytes().iter().all(|&byte| byte == 1) && b.bytes().iter().all(|&byte| byte == 2));
        assert_eq!(pool.out(), 3);
        pool.put(a);
        pool.put(b);
        pool.put(small);
        assert_eq!(pool.out(), 0);
    }

    #[test]
    fn sizes_that_cannot_be_counted_are_refused() {
        let region = || Region::allocate(4096, &RegionOptions::default()).unwrap();
        for classes in [
            vec![SizeClass { block_bytes: 1 << 40, blocks: 1 << 24 }],
            vec![SizeClass { block_bytes: u64::MAX, blocks: 1 }],
            vec![SizeClass { block_bytes: u64::MAX - 4094, blocks: 1 }],
            vec![SizeClass { block_bytes: 1 << 63, blocks: 1 }; 2],
            vec![SizeClass { block_bytes: 4097, blocks: 1 }],
        ] {
            assert!(Pool::bytes_for(&classes) > 4096, "{classes:?}");
            assert!(std::panic::catch_unwind(|| Pool::new(region(), &classes)).is_err(), "{classes:?}");
        }
        assert_eq!(Pool::bytes_for(&[SizeClass { block_bytes: 1 << 40, blocks: 1 << 24 }]), u64::MAX);
        // Less than a page is room for a page.
        assert_eq!(Pool::new(region(), &[SizeClass { block_bytes: 1, blocks: 1 }]).take(4096).unwrap().bytes_mut().len(), 4096);
    }

    #[test]
    #[should_panic(expected = "another pool")]
    fn a_block_goes_back_to_its_own_pool_only() {
        let block = pool().take(10).unwrap();
        pool().put(block);
    }

    #[test]
    fn exhaustion_is_an_answer_with_the_facts() {
        let mut pool = pool();
        let _out = pool.take(5000).unwrap();
        assert_eq!(pool.take(1).unwrap_err(), PoolExhausted::AllOut { block_bytes: 8192, out: 1 });
        assert!(matches!(pool.take(1 << 30).unwrap_err(), PoolExhausted::NoClass { len, .. } if len == 1 << 30));
    }
}
