//! Buffers of the pool, shared so that no sender's transfers can starve another's.
//!
//! Every member needs a buffer for every transfer. If each gave all its buffers to the first that asked, one member
//! could end up with buffers for sender A only and another for sender B only, and neither transfer would ever end. So a
//! sender that holds no buffer of a size class always finds one left: a second one is given only while more are free
//! than senders are without. Invariant, per class: free blocks >= senders that hold none. It holds from the start if
//! each class in use has at least as many blocks as there are senders; every further block deepens the window of the
//! busy ones.
//!
//! Worked example, 3 senders and 4 blocks: sender 0 takes one (3 free, 2 without), a second one (3 > 2; 2 free), but
//! not a third (2 free, 2 without).

use squall_transport::region::{Block, Pool, PoolExhausted};

/// Why there is no buffer now. All but [`PoolExhausted::NoClass`] pass by themselves: ask again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BufferError {
    /// An earlier transfer of the same sender still has the slot: the sender's window is full.
    #[error("all {transfers_max} transfers of this sender are in use")]
    SlotBusy {
        /// [`Limits::transfers_max`](crate::Limits::transfers_max).
        transfers_max: u32,
    },
    /// The pool has no block that fits.
    #[error(transparent)]
    Exhausted(#[from] PoolExhausted),
    /// The blocks that are left are kept for senders that hold none.
    #[error("the {free} free blocks are kept for senders that hold none; a larger pool lets one sender hold more")]
    Kept {
        /// Free blocks of the class.
        free: u32,
    },
}

/// Who holds how many blocks of each size class.
#[derive(Debug)]
pub(crate) struct Shares {
    senders: usize,
    /// At `class * senders + sender`.
    held: Vec<u32>,
}

impl Shares {
    pub(crate) fn new(senders: usize) -> Self {
        Shares { senders, held: Vec::new() }
    }

    /// A block of `len` bytes for `sender`, and its class, to be handed to [`Shares::put`] with the block.
    pub(crate) fn take(&mut self, sender: usize, len: u64, pool: &mut Pool) -> Result<(Block, usize), BufferError> {
        let Some((class, free)) = pool.class_for(len) else {
            return Err(PoolExhausted::NoClass { len, largest: pool.largest() }.into());
        };
        let held = self.of(class);
        let without = held.iter().filter(|&&blocks| blocks == 0).count();
        if held[sender] > 0 && free > 0 && free as usize <= without {
            return Err(BufferError::Kept { free });
        }
        let block = pool.take(len)?;
        held[sender] += 1;
        Ok((block, class))
    }

    /// A block of `len` bytes that `sender` holds already; its class.
    ///
    /// # Panics
    /// If the pool has none of that size.
    pub(crate) fn note(&mut self, sender: usize, len: u64, pool: &Pool) -> usize {
        let (class, _) = pool.class_for(len).expect("a block of the pool has a class");
        self.of(class)[sender] += 1;
        class
    }

    /// How many blocks of a class each sender holds.
    fn of(&mut self, class: usize) -> &mut [u32] {
        let first = class * self.senders;
        if self.held.len() < first + self.senders {
            self.held.resize(first + self.senders, 0);
        }
        &mut self.held[first..first + self.senders]
    }

    /// Takes a block of `sender` back.
    pub(crate) fn put(&mut self, sender: usize, class: usize, block: impl Into<Block>, pool: &mut Pool) {
        self.held[class * self.senders + sender] -= 1;
        pool.put(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_transport::region::{Region, RegionOptions, SizeClass};

    #[test]
    fn a_sender_without_a_buffer_always_finds_one() {
        let classes = [SizeClass { block_bytes: 4096, blocks: 4 }];
        let region = Region::allocate(Pool::bytes_for(&classes) as usize, &RegionOptions::default()).unwrap();
        let mut pool = Pool::new(region, &classes);
        let mut shares = Shares::new(3);
        let (first, class) = shares.take(0, 10, &mut pool).unwrap();
        let _second = shares.take(0, 10, &mut pool).unwrap();
        assert_eq!(shares.take(0, 10, &mut pool).unwrap_err(), BufferError::Kept { free: 2 });
        let _others = [shares.take(1, 10, &mut pool).unwrap(), shares.take(2, 10, &mut pool).unwrap()];
        let all_out = PoolExhausted::AllOut { block_bytes: 4096, out: 4 };
        assert_eq!(shares.take(0, 10, &mut pool).unwrap_err(), BufferError::Exhausted(all_out));
        shares.put(0, class, first, &mut pool);
        assert!(shares.take(1, 10, &mut pool).is_ok());
        let too_long = PoolExhausted::NoClass { len: 9000, largest: 4096 };
        assert_eq!(shares.take(1, 9000, &mut pool).unwrap_err(), BufferError::Exhausted(too_long));
    }
}
