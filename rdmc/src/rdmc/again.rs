//! Messages that one epoch began and another one sends: their blocks stay where they are.

use squall_transport::region::{FilledBlock, Pool};

use super::{Rdmc, Reserved};

impl Rdmc {
    /// Takes a message of my own out of the engine, which posts nothing of it any more: the epoch is over, and another
    /// one is to send it. Its block stays where it is; nobody writes it.
    ///
    /// # Panics
    /// If it is not there.
    pub fn withdraw(&mut self, transfer: u64) -> FilledBlock {
        let own = self.own.expect("only senders have messages of their own");
        let slot = self.columns.slot(own, transfer);
        let block = self.slots[slot].lend(transfer);
        self.slots[slot].end();
        self.active.retain(&self.slots, |active| active != slot);
        self.draining.retain(|&draining| draining != slot);
        block
    }

    /// Counts a block of a message that an earlier epoch withdrew as reserved: it is to be [started](Rdmc::start) here.
    ///
    /// # Panics
    /// If this member is no sender, or the block is not of this pool.
    pub fn adopt(&mut self, block: &FilledBlock, pool: &Pool) {
        assert!(pool.has(block), "a block is sent from the pool that it is in");
        let own = self.own.expect("only senders have messages of their own");
        let class = self.shares.note(own, block.len(), pool);
        self.reserved.push(Reserved { offset: block.offset(), class });
    }
}
