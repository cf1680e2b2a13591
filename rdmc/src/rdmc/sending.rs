//! This member's own messages, up to where they begin.

use squall_transport::region::{Block, FilledBlock, Pool};

use super::{Rdmc, Reserved};
use crate::descriptor::Descriptor;
use crate::relay::Relay;
use crate::shares::BufferError;
use crate::transfer::Buffer;

impl Rdmc {
    /// A block for a message of my own of up to `bytes` bytes. Fill it, then [`start`](Rdmc::start) or
    /// [`give_back`](Rdmc::give_back); blocks may be started in any order.
    ///
    /// # Panics
    /// If this member is no sender.
    pub fn reserve(&mut self, bytes: u64, pool: &mut Pool) -> Result<Block, BufferError> {
        let own = self.own.expect("only senders reserve");
        let next = self.frontiers[own].begun + self.reserved.len() as u64;
        self.check_slot(own, next, self.reserved.len())?;
        let (block, class) = self.shares.take(own, bytes, pool)?;
        self.reserved.push(Reserved { offset: block.offset(), class });
        Ok(block)
    }

    /// Returns a reserved block that is not to be sent.
    ///
    /// # Panics
    /// If it was not reserved here.
    pub fn give_back(&mut self, block: Block, pool: &mut Pool) {
        let (own, class) = self.unreserve(block.offset());
        self.shares.put(own, class, block, pool);
    }

    /// Starts sending a message of my own, relayed as `relay` says. The descriptor must now go to all members as my
    /// next small message.
    ///
    /// # Panics
    /// If the block was not reserved here, or message and block size break the limits: check with
    /// [`Descriptor::check`].
    pub fn start(&mut self, block: FilledBlock, relay: Relay) -> Descriptor {
        let (own, class) = self.unreserve(block.offset());
        let Relay { schedule, block_bytes } = relay;
        let descriptor = Descriptor { bytes: block.len(), block_bytes, transfer: self.frontiers[own].begun, schedule };
        if let Err(error) = descriptor.check(&self.limits) {
            panic!("{error}");
        }
        let slot = self.begin(own, descriptor, Buffer::Filled(block), class);
        self.advance(own);
        if !self.slots[slot].is_quiet() {
            self.active.push(slot, &self.slots[slot]);
        }
        descriptor
    }

    /// How many senders send large messages about now: this member, and those of whom one has begun here since as many
    /// messages of mine as may be under way at once.
    ///
    /// # Panics
    /// If this member is no sender.
    pub fn busy_senders(&self) -> usize {
        let own = self.own.expect("only senders are asked");
        let lately = self.frontiers[own].begun.saturating_sub(u64::from(self.limits.transfers_max));
        let others = self.frontiers.iter().enumerate().filter(|(sender, _)| *sender != own);
        1 + others.filter(|(_, other)| other.mine_before.is_some_and(|mine| mine >= lately)).count()
    }

    /// Forgets the reservation of the block at `offset`: my sender index and the block's class.
    fn unreserve(&mut self, offset: u64) -> (usize, usize) {
        let own = self.own.expect("only senders reserve");
        let found = self.reserved.iter().position(|reserved| reserved.offset == offset);
        let reserved = self.reserved.swap_remove(found.expect("the block was reserved here"));
        (own, reserved.class)
    }
}
