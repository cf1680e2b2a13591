//! The engine: every transfer of one member in one epoch.

mod active;
mod again;
mod filling;
mod first;
mod moving;
mod sending;

use squall_sst::Table;
use squall_transport::region::{Block, FilledBlock, Pool};
use squall_transport::{Outbox, Place, Rank, TABLE};

use crate::columns::{Columns, POOL_BYTES_LIMIT, ready_word};
use crate::descriptor::{Descriptor, DescriptorError};
use crate::limits::Limits;
use crate::mutation::Mutation;
use crate::notices::Notices;
use crate::plans::Plans;
use crate::shares::{BufferError, Shares};
use crate::timeline::{Moment, Timeline};
use crate::transfer::{Beginning, Buffer, Transfer};
use active::Active;
use filling::Filling;

/// Why a descriptor could not be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    /// There is no buffer for it now: announce it again later, before any later one of its sender.
    #[error(transparent)]
    NoBuffer(#[from] BufferError),
    /// It breaks the group's limits or its sender's order: the sender is broken.
    #[error(transparent)]
    Refused(#[from] DescriptorError),
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blocks that came in.
    pub arrived_blocks: u32,
    /// Transfers whose last block came in.
    pub completed: u32,
    /// Blocks posted.
    pub posted_blocks: u32,
    /// Bytes of them.
    pub posted_bytes: u64,
    /// `ready` and `received` words pushed.
    pub noticed: u32,
}

impl Progress {
    /// Whether anything happened.
    pub fn any(&self) -> bool {
        *self != Progress::default()
    }
}

/// A large-message buffer that an epoch leaves behind.
#[derive(Debug)]
pub struct Leftover {
    buffer: Buffer,
    /// Not all has come from whom it was to come.
    open: bool,
    /// Who was asked for its message and has not said that all is written.
    asked: Vec<Rank>,
}

impl Leftover {
    /// Byte offset in the pool's region.
    pub fn offset(&self) -> u64 {
        self.buffer.offset()
    }

    /// Whether peers had yet to write into it: one that is told late that the epoch is over may still do so.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Who was asked to write its message, and has not done so as far as is known here: whatever it says of the epoch,
    /// it may still do so.
    pub fn asked(&self) -> &[Rank] {
        &self.asked
    }

    /// The block, for the pool. The caller knows that no peer can write it any more (rule T5): the endpoint is gone.
    pub fn into_block(self) -> Block {
        self.buffer.into()
    }
}

/// How far one sender's transfers are at this member.
#[derive(Clone, Copy, Debug, Default)]
struct Frontiers {
    /// Transfers begun here.
    begun: u64,
    /// Transfers complete here, without a gap.
    received: u64,
    /// How many transfers of mine had begun when the last one of this sender began here.
    mine_before: Option<u64>,
}

/// A block reserved for a message of this member's own, not yet started.
#[derive(Clone, Copy, Debug)]
struct Reserved {
    offset: u64,
    class: usize,
}

/// All large-message transfers of one member in one epoch.
///
/// A state machine: it reads the table, pushes into the outbox, and never waits. The order of calls in a turn of the
/// loop: [`announce`](Rdmc::announce) what descriptors came in, [`step`](Rdmc::step), deliver what
/// [`received`](Rdmc::received) says is complete, [`reclaim`](Rdmc::reclaim).
#[derive(Debug)]
pub struct Rdmc {
    columns: Columns,
    members: usize,
    /// How many of them relay: the first ones.
    relays: usize,
    me: Rank,
    senders: Vec<Rank>,
    /// My index among the senders.
    own: Option<usize>,
    limits: Limits,
    /// Bytes of each member's pool.
    pools: Vec<u64>,
    plans: Plans,
    shares: Shares,
    notices: Notices,
    frontiers: Vec<Frontiers>,
    reserved: Vec<Reserved>,
    /// At `columns.slot(sender, transfer)`.
    slots: Vec<Transfer>,
    /// Slots with something to receive or to post.
    active: Active,
    /// Slots that the application is done with, whose blocks may not all have landed.
    draining: Vec<usize>,
    /// The first message of some sender is under way.
    is_young: bool,
    /// What is behind a first message waits until that is here.
    in_order: bool,
    /// Where members that have stopped give each other what they lack.
    filling: Option<Box<Filling>>,
    timeline: Option<Box<Timeline>>,
    mutation: Mutation,
}

impl Rdmc {
    /// The engine of member `me` of `members`, of whom `senders` send; `columns` were composed with the same limits and
    /// number of senders.
    ///
    /// # Panics
    /// If the limits contradict each other, do not fit the columns, or a rank is not a member.
    pub fn new(columns: Columns, members: usize, me: Rank, senders: &[Rank], limits: Limits) -> Rdmc {
        assert!(limits.hold(), "limits contradict each other: {limits:?}");
        assert!(columns.transfers_max() == limits.transfers_max && columns.received.len() == senders.len());
        assert!(senders.iter().chain([&me]).all(|rank| rank.index() < members), "a rank is not a member");
        let slots_each = limits.transfers_max as usize;
        let slots: Vec<_> = (0..senders.len() * slots_each)
            .map(|slot| {
                let sender = slot / slots_each;
                Transfer::free(sender, senders[sender], columns.sent_of(slot), columns.ready_of(slot))
            })
            .collect();
        Rdmc {
            columns,
            members,
            relays: members,
            me,
            senders: senders.to_vec(),
            own: senders.iter().position(|&sender| sender == me),
            limits,
            pools: vec![POOL_BYTES_LIMIT; members],
            plans: Plans::new(members as u32, 0),
            shares: Shares::new(senders.len()),
            notices: Notices::new(senders.len(), members),
            frontiers: vec![Frontiers::default(); senders.len()],
            reserved: Vec::with_capacity(slots_each),
            active: Active::with_capacity(slots.len()),
            draining: Vec::with_capacity(slots.len()),
            slots,
            is_young: false,
            in_order: false,
            filling: None,
            timeline: None,
            mutation: Mutation::None,
        }
    }

    /// How large each member's pool is, in bytes by rank: a buffer that a member names must lie in its own. Unless
    /// told, all are taken for as large as a `ready` word can name.
    ///
    /// # Panics
    /// If it is not one size a member.
    pub fn set_pools(&mut self, pools: Vec<u64>) {
        assert_eq!(pools.len(), self.members, "one size a member");
        self.pools = pools;
    }

    /// Only the first `relays` members relay; the others are sent each message by its sender itself.
    ///
    /// # Panics
    /// If one of the others sends, or anything was sent already.
    pub fn relayed_by(self, relays: usize) -> Rdmc {
        assert!(self.senders.iter().all(|sender| sender.index() < relays) && relays <= self.members, "every sender must be a relay");
        assert!(self.active.is_empty() && self.draining.is_empty(), "who relays is known before anything is sent");
        let leaves = (self.members - relays) as u32;
        Rdmc { relays, plans: Plans::new(relays as u32, leaves), ..self }
    }

    /// Accepts a transfer of another sender (an index into the group's senders): takes a buffer and says so to those
    /// that will send to it.
    ///
    /// # Panics
    /// If `sender` is this member itself.
    pub fn announce(&mut self, sender: usize, descriptor: Descriptor, pool: &mut Pool, outbox: &mut Outbox) -> Result<(), AnnounceError> {
        assert!(Some(sender) != self.own, "my own transfers are started, not announced");
        descriptor.check(&self.limits)?;
        let expected = self.frontiers[sender].begun;
        if descriptor.transfer != expected {
            return Err(DescriptorError::OutOfOrder { expected, found: descriptor.transfer }.into());
        }
        self.make_room(sender, expected, pool);
        self.check_slot(sender, expected, 0)?;
        let (block, class) = self.shares.take(sender, descriptor.bytes, pool)?;
        let ready = ready_word(descriptor.transfer, block.offset());
        let slot = self.begin(sender, descriptor, Buffer::Open(block.open()), class);
        let transfer = &self.slots[slot];
        self.active.push(slot, transfer);
        let at = Place::new(TABLE, transfer.ready().at(self.me));
        for peer in transfer.in_neighbours() {
            self.notices.add_ready(peer, at, ready);
        }
        self.push_notices(outbox);
        Ok(())
    }

    /// Members that relay nothing, and for which alone some buffer of a message of mine is kept that the application is
    /// done with.
    pub fn held_up_by(&self, table: &Table) -> Vec<Rank> {
        let Some(own) = self.own else { return Vec::new() };
        let (received, mut peers) = (self.columns.received.get(own), Vec::new());
        for slot in self.slots.iter().filter(|slot| slot.sender() == own && slot.is_delivered() && !slot.is_free()) {
            let waiting: Vec<Rank> = slot.unconfirmed(table, received).collect();
            if waiting.iter().all(|peer| peer.index() >= self.relays) {
                peers.extend(waiting);
            }
        }
        peers
    }

    /// Transfers of a sender that are complete here, without a gap: all below this number.
    #[inline]
    pub fn received(&self, sender: usize) -> u64 {
        self.frontiers[sender].received
    }

    /// The message of a transfer that is complete and not yet given back by [`delivered`](Rdmc::delivered).
    ///
    /// # Panics
    /// If it is not there.
    pub fn payload(&self, sender: usize, transfer: u64) -> &[u8] {
        let slot = &self.slots[self.columns.slot(sender, transfer)];
        assert!(slot.has(transfer), "transfer {transfer} of sender {sender} is not here");
        slot.payload().expect("a complete transfer has a payload")
    }

    /// Hands out the message of a complete transfer while the engine goes on; [`restore`](Rdmc::restore) it before
    /// anything is asked about that transfer.
    ///
    /// # Panics
    /// If it is not there.
    pub fn lend(&mut self, sender: usize, transfer: u64) -> FilledBlock {
        let slot = self.columns.slot(sender, transfer);
        self.slots[slot].lend(transfer)
    }

    /// Takes back what [`lend`](Rdmc::lend) handed out.
    ///
    /// # Panics
    /// If it was not lent.
    pub fn restore(&mut self, sender: usize, transfer: u64, block: FilledBlock) {
        let slot = self.columns.slot(sender, transfer);
        self.slots[slot].restore(block);
    }

    /// The application is done with a transfer's message. Its buffer goes back to the pool in a later
    /// [`reclaim`](Rdmc::reclaim).
    ///
    /// # Panics
    /// If it is not complete or was delivered before.
    pub fn delivered(&mut self, sender: usize, transfer: u64) {
        let slot = self.columns.slot(sender, transfer);
        assert!(transfer < self.received(sender) && self.slots[slot].has(transfer), "transfer {transfer} is not here");
        self.slots[slot].deliver();
        if self.slots[slot].is_quiet() {
            self.draining.push(slot);
        }
    }

    /// Returns buffers that the application is done with and that no block in flight reads any more. How many.
    #[inline]
    pub fn reclaim(&mut self, table: &Table, pool: &mut Pool) -> usize {
        if self.draining.is_empty() {
            return 0;
        }
        let before = self.draining.len();
        let (slots, shares, received) = (&mut self.slots, &mut self.shares, self.columns.received);
        let filling = self.filling.as_deref();
        self.draining.retain(|&slot| {
            let transfer = &mut slots[slot];
            let sender = transfer.sender();
            if filling.is_some_and(|filling| filling.keeps(slot, transfer)) || !transfer.is_confirmed(table, received.get(sender)) {
                return true;
            }
            if let Some(buffer) = transfer.end() {
                shares.put(sender, transfer.class(), buffer, pool);
            }
            false
        });
        before - self.draining.len()
    }

    /// Whether nothing is under way and nothing is owed to anybody: no write of this engine is missing, and none will
    /// come.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty() && self.draining.is_empty() && self.notices.is_empty()
    }

    /// Ends the epoch: all buffers that are still out.
    pub fn dismantle(self, table: &Table) -> impl Iterator<Item = Leftover> {
        let filling = self.filling;
        self.slots.into_iter().enumerate().filter_map(move |(slot, mut transfer)| {
            let given = filling.as_ref().filter(|filling| filling.is_asked(slot));
            let asked = given.map(|filling| filling.unfinished(slot, transfer.number(), table)).unwrap_or_default();
            transfer.end().map(|buffer| Leftover { open: given.is_some() || matches!(buffer, Buffer::Open(_)), buffer, asked })
        })
    }

    /// Records from here on into `timeline`, or no more. Returns what was there.
    pub fn set_timeline(&mut self, timeline: Option<Timeline>) -> Option<Timeline> {
        std::mem::replace(&mut self.timeline, timeline.map(Box::new)).map(|timeline| *timeline)
    }

    /// The timeline, if one is installed.
    pub fn timeline_mut(&mut self) -> Option<&mut Timeline> {
        self.timeline.as_deref_mut()
    }

    /// Breaks a rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_mutation(&mut self, mutation: Mutation) {
        self.mutation = mutation;
    }

    /// Whether the slot of `transfer`, which is `ahead` of the next one, is free.
    fn check_slot(&self, sender: usize, transfer: u64, ahead: usize) -> Result<(), BufferError> {
        let transfers_max = self.limits.transfers_max;
        if ahead < transfers_max as usize && self.slots[self.columns.slot(sender, transfer)].is_free() {
            return Ok(());
        }
        Err(BufferError::SlotBusy { transfers_max })
    }

    /// Begins the sender's next transfer in its slot.
    fn begin(&mut self, sender: usize, descriptor: Descriptor, buffer: Buffer, class: usize) -> usize {
        let root = self.senders[sender].index();
        let me = self.me.index();
        let vertex = if me < self.relays { (me + self.relays - root) % self.relays } else { me };
        let plan = self.plans.get(descriptor.schedule, descriptor.blocks() as u32, vertex as u32);
        let slot = self.columns.slot(sender, descriptor.transfer);
        self.slots[slot].begin(Beginning { descriptor, plan, buffer, class });
        self.frontiers[sender].begun += 1;
        self.frontiers[sender].mine_before = self.own.map(|own| self.frontiers[own].begun);
        self.is_young |= descriptor.transfer == 0;
        if let Some(timeline) = &mut self.timeline {
            timeline.record(sender, descriptor.transfer, 0, self.me, Moment::Begun);
        }
        slot
    }

    /// Moves a sender's frontier over every complete transfer, and owes the news to those that sent them here.
    fn advance(&mut self, sender: usize) {
        loop {
            let next = self.frontiers[sender].received;
            let transfer = &self.slots[self.columns.slot(sender, next)];
            if !transfer.has(next) {
                return;
            }
            for peer in transfer.in_neighbours() {
                self.notices.add_received(peer, sender);
            }
            self.frontiers[sender].received += 1;
        }
    }
}
