//! What an application sends by: from its own loop, or from within an upcall.

use std::collections::VecDeque;

use squall_rdmc::{BufferError, Rdmc, Relay};
use squall_smc::{Kind, Outbound};
use squall_sst::Table;
use squall_transport::region::{Block, FilledBlock, Pool, RegionError};
use squall_transport::{Rank, Region, RegionOptions};

use crate::config::Config;
use crate::error::SendError;
use crate::view::View;

/// Whether anything may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// The view is about to end, or what the last one cut off is to be sent first.
    Closed,
    Ended,
}

/// A message of mine that a view cut off.
#[derive(Debug)]
pub(crate) enum Cut {
    /// A copy of it: its ring went with its view.
    Small(Vec<u8>),
    /// The block of the pool that it has been in since it was written.
    Large(FilledBlock),
}

/// The sending half of a group.
#[derive(Debug)]
pub struct Outgoing {
    /// None: this member does not send.
    pub(crate) smc: Option<Outbound>,
    pub(crate) rdmc: Rdmc,
    pub(crate) pool: Pool,
    config: Config,
    members: usize,
    /// How the last large message was relayed.
    pub(crate) relay: Option<Relay>,
    /// This member is to send in a later view.
    will_send: bool,
    pub(crate) state: State,
    /// Something was not taken because a window was full, since this was last looked at.
    pub(crate) was_full: bool,
    /// Messages of mine that the last view cut off: they go first.
    pub(crate) again: VecDeque<Cut>,
    /// The block of the slot that is out, if it is for a large message. Here rather than in the slot, which is then two
    /// words that cost nothing to hand around.
    reserved: Option<Block>,
}

impl Outgoing {
    pub(crate) fn new(smc: Option<Outbound>, rdmc: Rdmc, pool: Pool, config: Config, view: &View) -> Outgoing {
        Outgoing {
            smc,
            rdmc,
            pool,
            config,
            members: view.voters,
            relay: None,
            will_send: view.will_send.has(view.me),
            state: State::Open,
            was_full: false,
            again: VecDeque::new(),
            reserved: None,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// That of a process that is in no view: it takes nothing, but may later, if it `sends`.
    pub(crate) fn outside(config: &Config, sends: bool) -> Result<Outgoing, RegionError> {
        let config = Config { senders: vec![Rank::new(0)], ..config.clone() };
        let columns = config.layout(1).1;
        let rdmc = Rdmc::new(columns.rdmc, 1, Rank::new(0), &config.senders, config.rdmc_limits());
        let pool = Pool::new(Region::allocate(1, &RegionOptions::default())?, &[]);
        Ok(Outgoing { state: State::Closed, will_send: sends, ..Outgoing::new(None, rdmc, pool, config, &View::nobodys()) })
    }

    /// Memory for a message of `bytes` bytes that peers will be sent from: fill it in place, then [`Slot::commit`].
    ///
    /// # Errors
    /// [`SendError::is_full`] tells whether to turn the loop and try again.
    #[inline(always)]
    pub fn reserve(&mut self, bytes: u64) -> Result<Slot<'_>, SendError> {
        if self.reserved.is_some() {
            // A slot that was forgotten rather than dropped.
            self.give_back();
        }
        let Some(smc) = &mut self.smc else { return Err(self.why_not()) };
        match self.state {
            State::Open => {}
            State::Closed => return Err(SendError::WindowFull),
            State::Ended => return Err(SendError::Ended),
        }
        if bytes <= self.config.small_max {
            if smc.reserve(bytes).is_err() {
                self.was_full = true;
                return Err(SendError::WindowFull);
            }
            return Ok(Slot { outgoing: self });
        }
        self.reserve_large(bytes).inspect_err(|error| self.was_full |= error.is_full())?;
        Ok(Slot { outgoing: self })
    }

    /// Why this member does not send.
    #[cold]
    fn why_not(&self) -> SendError {
        match self.state {
            State::Ended => SendError::Ended,
            _ if self.will_send => SendError::WindowFull,
            _ => SendError::NotASender,
        }
    }

    #[cold]
    fn reserve_large(&mut self, bytes: u64) -> Result<(), SendError> {
        if bytes > self.config.large_max {
            return Err(SendError::TooLarge { bytes, max: self.config.message_bytes_max() });
        }
        let smc = self.smc.as_mut().ok_or(SendError::NotASender)?;
        smc.reserve(squall_rdmc::Descriptor::BYTES as u64).map_err(|_| SendError::WindowFull)?;
        match self.rdmc.reserve(bytes, &mut self.pool) {
            Ok(block) => {
                self.reserved = Some(block);
                Ok(())
            }
            Err(error) => {
                smc.cancel();
                Err(match error {
                    BufferError::SlotBusy { .. } => SendError::WindowFull,
                    BufferError::Exhausted(_) | BufferError::Kept { .. } => SendError::PoolExhausted,
                })
            }
        }
    }

    #[cold]
    fn commit_large(&mut self) -> u64 {
        let Some(block) = self.reserved.take() else { unreachable!("a slot has a block, or its message is small") };
        self.start(block.fill())
    }

    /// Starts the message in `block`, for whose descriptor there is room.
    fn start(&mut self, block: FilledBlock) -> u64 {
        let Some(smc) = &mut self.smc else { unreachable!("only senders get slots") };
        let relay = self.config.relay_of(block.len(), self.members, self.rdmc.busy_senders());
        self.relay = Some(relay);
        let descriptor = self.rdmc.start(block, relay);
        smc.payload_mut().copy_from_slice(&descriptor.encode());
        smc.commit(Kind::Large)
    }

    #[cold]
    fn give_back(&mut self) {
        if let Some(block) = self.reserved.take() {
            self.rdmc.give_back(block, &mut self.pool);
        }
    }

    /// What the last view cut off is sent first, and nothing before. Blocks that are still of this pool are sent from
    /// where they are.
    pub(crate) fn go_on_with(&mut self, again: VecDeque<Cut>) {
        if again.is_empty() {
            return;
        }
        let Outgoing { smc, rdmc, pool, .. } = self;
        let blocks = again.iter().filter_map(|cut| if let Cut::Large(block) = cut { Some(block) } else { None });
        blocks.filter(|block| smc.is_some() && pool.has(block)).for_each(|block| rdmc.adopt(block, pool));
        (self.again, self.state) = (again, State::Closed);
    }

    /// Sends what the last view cut off, as far as there is room, and tells `sent` the new index of each.
    #[cold]
    pub(crate) fn send_again(&mut self, mut sent: impl FnMut(u64)) -> bool {
        let before = self.again.len();
        while let Some(cut) = self.again.pop_front() {
            self.state = State::Open;
            match self.send_once_more(cut) {
                Ok(index) => sent(index),
                Err(cut) => {
                    self.state = State::Closed;
                    self.again.push_front(cut);
                    break;
                }
            }
        }
        self.again.len() < before
    }

    /// Its new index; the message itself if there is no room.
    fn send_once_more(&mut self, cut: Cut) -> Result<u64, Cut> {
        match cut {
            Cut::Small(payload) => self.send(&payload).map_err(|_| Cut::Small(payload)),
            Cut::Large(block) if self.pool.has(&block) => {
                let room = self.smc.as_mut().is_some_and(|smc| smc.reserve(squall_rdmc::Descriptor::BYTES as u64).is_ok());
                if room { Ok(self.start(block)) } else { Err(Cut::Large(block)) }
            }
            // Its pool was given up.
            Cut::Large(block) => self.send(block.bytes()).map_err(|_| Cut::Large(block)),
        }
    }

    /// Takes it apart when the epoch is over and the endpoint is gone. `severed`: no peer can write into the pool any
    /// more (rule T5). If one can, it writes into buffers whose blocks had not all come, and no others: each block of a
    /// transfer is sent once. With such a buffer there is no pool to go on with.
    /// Who was asked for a message may have yet to write it, whatever it has said: only if it is severed by itself, by
    /// `severs`, it does not.
    pub(crate) fn dismantle(
        mut self,
        severed: bool,
        severs: impl Fn(Rank) -> bool,
        table: &Table,
    ) -> (Config, Option<Pool>, VecDeque<Cut>) {
        self.give_back();
        let Outgoing { rdmc, mut pool, config, again, .. } = self;
        let mut safe = true;
        for leftover in rdmc.dismantle(table) {
            safe &= (severed || !leftover.is_open()) && leftover.asked().iter().all(|&giver| severs(giver));
            pool.put(leftover.into_block());
        }
        (config, safe.then_some(pool), again)
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
}

impl Slot<'_> {
    /// The message's bytes, holding whatever was there before.
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match (&mut self.outgoing.reserved, &mut self.outgoing.smc) {
            (Some(block), _) => block.bytes_mut(),
            (None, Some(smc)) => smc.payload_mut(),
            (None, None) => &mut [],
        }
    }

    /// Makes it the next message; its index among my messages and nulls.
    #[inline(always)]
    pub fn commit(self) -> u64 {
        match &mut self.outgoing.smc {
            Some(smc) if self.outgoing.reserved.is_none() => smc.commit(Kind::Data),
            _ => self.outgoing.commit_large(),
        }
    }
}

impl Drop for Slot<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // After a commit nothing is reserved any more, and this does nothing.
        if let Some(smc) = &mut self.outgoing.smc {
            smc.cancel();
        }
        if self.outgoing.reserved.is_some() {
            self.outgoing.give_back();
        }
    }
}
