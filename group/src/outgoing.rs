//! What an application sends by: from its own loop, or from within an upcall.

use squall_rdmc::{BufferError, Rdmc};
use squall_smc::{Kind, Outbound};
use squall_transport::region::{Block, Pool};

use crate::config::Config;
use crate::error::SendError;

/// The sending half of a group.
#[derive(Debug)]
pub struct Outgoing {
    /// None: this member does not send.
    pub(crate) smc: Option<Outbound>,
    pub(crate) rdmc: Rdmc,
    pub(crate) pool: Pool,
    config: Config,
    members: usize,
    pub(crate) ended: bool,
}

impl Outgoing {
    pub(crate) fn new(smc: Option<Outbound>, rdmc: Rdmc, pool: Pool, config: Config, members: usize) -> Outgoing {
        Outgoing { smc, rdmc, pool, config, members, ended: false }
    }

    /// Memory for a message of `bytes` bytes that peers will be sent from: fill it in place, then [`Slot::commit`].
    ///
    /// # Errors
    /// [`SendError::is_full`] tells whether to turn the loop and try again.
    #[inline]
    pub fn reserve(&mut self, bytes: u64) -> Result<Slot<'_>, SendError> {
        let Some(smc) = &mut self.smc else { return Err(SendError::NotASender) };
        if self.ended {
            return Err(SendError::Ended);
        }
        if bytes <= self.config.small_max {
            smc.reserve(bytes).map_err(|_| SendError::WindowFull)?;
            return Ok(Slot { outgoing: self, block: None });
        }
        self.reserve_large(bytes)
    }

    fn reserve_large(&mut self, bytes: u64) -> Result<Slot<'_>, SendError> {
        if bytes > self.config.large_max {
            return Err(SendError::TooLarge { bytes, max: self.config.large_max.max(self.config.small_max) });
        }
        let smc = self.smc.as_mut().ok_or(SendError::NotASender)?;
        smc.reserve(squall_rdmc::Descriptor::BYTES as u64).map_err(|_| SendError::WindowFull)?;
        match self.rdmc.reserve(bytes, &mut self.pool) {
            Ok(block) => Ok(Slot { outgoing: self, block: Some(block) }),
            Err(error) => {
                smc.cancel();
                Err(match error {
                    BufferError::SlotBusy { .. } => SendError::WindowFull,
                    BufferError::Exhausted(_) | BufferError::Kept { .. } => SendError::PoolExhausted,
                })
            }
        }
    }

    /// Sends a copy of `payload`; its index among my messages and nulls.
    ///
    /// # Errors
    /// As [`Outgoing::reserve`].
    #[inline]
    pub fn send(&mut self, payload: &[u8]) -> Result<u64, SendError> {
        let mut slot = self.reserve(payload.len() as u64)?;
        slot.bytes_mut().copy_from_slice(payload);
        Ok(slot.commit())
    }
}

/// Memory for one message. Dropping it without [`Slot::commit`] sends nothing.
#[derive(Debug)]
pub struct Slot<'a> {
    outgoing: &'a mut Outgoing,
    block: Option<Block>,
}

impl Slot<'_> {
    /// The message's bytes, holding whatever was there before.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match (&mut self.block, &mut self.outgoing.smc) {
            (Some(block), _) => block.bytes_mut(),
            (None, Some(smc)) => smc.payload_mut(),
            (None, None) => &mut [],
        }
    }

    /// Makes it the next message; its index among my messages and nulls.
    #[inline]
    pub fn commit(mut self) -> u64 {
        let block = self.block.take();
        let Outgoing { smc: Some(smc), rdmc, config, members, .. } = &mut *self.outgoing else { unreachable!("only senders get slots") };
        let Some(block) = block else { return smc.commit(Kind::Data) };
        let block = block.fill();
        let block_bytes = config.block_bytes_of(block.len(), *members);
        let descriptor = rdmc.start(block, block_bytes);
        smc.payload_mut().copy_from_slice(&descriptor.encode());
        smc.commit(Kind::Large)
    }
}

impl Drop for Slot<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(smc) = &mut self.outgoing.smc {
            // After a commit nothing is reserved any more, and this does nothing.
            smc.cancel();
        }
        if let Some(block) = self.block.take() {
            self.outgoing.rdmc.give_back(block, &mut self.outgoing.pool);
        }
    }
}
