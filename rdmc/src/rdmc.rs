//! The engine: every transfer of one member in one epoch.

mod again;
mod first;

use squall_sst::{Malformed, Table};
use squall_transport::region::{Block, FilledBlock, Pool};
use squall_transport::{Outbox, POOL, Place, Rank, TABLE, Write};

use crate::columns::{Columns, POOL_BYTES_LIMIT, ready_word, sent_word};
use crate::descriptor::{Descriptor, DescriptorError};
use crate::limits::Limits;
use crate::mutation::Mutation;
use crate::notices::Notices;
use crate::plans::Plans;
use crate::schedule::ScheduleKind;
use crate::shares::{BufferError, Shares};
use crate::timeline::{Moment, Timeline};
use crate::transfer::{Beginning, Buffer, Post, Reach, Transfer};

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
pub struct Leftover(Buffer);

impl Leftover {
    /// Byte offset in the pool's region.
    pub fn offset(&self) -> u64 {
        self.0.offset()
    }

    /// Whether peers had yet to write into it: one that is told late that the epoch is over may still do so.
    pub fn is_open(&self) -> bool {
        matches!(self.0, Buffer::Open(_))
    }

    /// The block, for the pool. The caller knows that no peer can write it any more (rule T5): the endpoint is gone.
    pub fn into_block(self) -> Block {
        self.0.into()
    }
}

/// How far one sender's transfers are at this member.
#[derive(Clone, Copy, Debug, Default)]
struct Frontiers {
    /// Transfers begun here.
    begun: u64,
    /// Transfers complete here, without a gap.
    received: u64,
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
    /// Slots with something to receive or to post, in the order in which they began.
    active: Vec<usize>,
    /// Slots that the application is done with, whose blocks may not all have landed.
    draining: Vec<usize>,
    /// Whose turn it is to post, as a position in `active`.
    turn: usize,
    /// The first message of some sender is under way.
    is_young: bool,
    timeline: Option<Box<Timeline>>,
    mutation: Mutation,
}

impl Rdmc {
    /// The engine of member `me` of `members`, of whom `senders` send; `columns` were composed with the same limits and
    /// number of senders.
    ///
    /// # Panics
    /// If the limits contradict each other, do not fit the columns, or a rank is not a member.
    pub fn new(columns: Columns, members: usize, me: Rank, senders: &[Rank], limits: Limits, schedule: ScheduleKind) -> Rdmc {
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
            plans: Plans::new(schedule, members as u32, 0),
            shares: Shares::new(senders.len()),
            notices: Notices::new(senders.len(), members),
            frontiers: vec![Frontiers::default(); senders.len()],
            reserved: Vec::with_capacity(slots_each),
            active: Vec::with_capacity(slots.len()),
            draining: Vec::with_capacity(slots.len()),
            slots,
            turn: 0,
            is_young: false,
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
        assert!(self.senders.iter().all(|sender| sender.index() < relays) && relays <= self.members, "whoever sends relays");
        assert!(self.active.is_empty() && self.draining.is_empty(), "who relays is known before anything is sent");
        let leaves = (self.members - relays) as u32;
        Rdmc { relays, plans: Plans::new(self.plans.schedule(), relays as u32, leaves), ..self }
    }

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

    /// Starts sending a message of my own, in blocks of `block_bytes` bytes. The descriptor must now go to all members
    /// as my next small message.
    ///
    /// # Panics
    /// If the block was not reserved here, or message and block size break the limits: check with
    /// [`Descriptor::check`].
    pub fn start(&mut self, block: FilledBlock, block_bytes: u32) -> Descriptor {
        let (own, class) = self.unreserve(block.offset());
        let descriptor = Descriptor { bytes: block.len(), block_bytes, transfer: self.frontiers[own].begun };
        if let Err(error) = descriptor.check(&self.limits) {
            panic!("{error}");
        }
        let slot = self.begin(own, descriptor, Buffer::Filled(block), class);
        self.advance(own);
        if !self.slots[slot].is_quiet() {
            self.active.push(slot);
        }
        descriptor
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
        self.check_slot(sender, expected, 0)?;
        let (block, class) = self.shares.take(sender, descriptor.bytes, pool)?;
        let ready = ready_word(descriptor.transfer, block.offset());
        let slot = self.begin(sender, descriptor, Buffer::Open(block.open()), class);
        self.active.push(slot);
        let transfer = &self.slots[slot];
        let at = Place::new(TABLE, transfer.ready().at(self.me));
        for peer in transfer.in_neighbours() {
            self.notices.add_ready(peer, at, ready);
        }
        self.push_notices(outbox);
        Ok(())
    }

    /// Takes in what has landed and posts what can be posted, one block of each transfer in turn, until `budget_bytes`
    /// are spent (the last block may go beyond), nothing is left or nothing has room.
    ///
    /// # Errors
    /// A member wrote what no member writes. What was done before it was read stands.
    #[inline]
    pub fn step(&mut self, table: &Table, outbox: &mut Outbox, budget_bytes: u64) -> Result<Progress, Malformed> {
        let mut progress = Progress::default();
        if self.active.is_empty() && self.notices.is_empty() {
            return Ok(progress);
        }
        self.take_in(table, &mut progress)?;
        progress.noticed = self.push_notices(outbox);
        self.post_in_turn(table, outbox, budget_bytes, 0, &mut progress)?;
        if progress.completed > 0 || progress.posted_blocks > 0 {
            self.retire();
        }
        Ok(progress)
    }

    /// Goes on sending my messages to those that relay nothing, while nothing else moves any more: what
    /// [`step`](Rdmc::step) does for them.
    ///
    /// # Errors
    /// As there.
    pub fn feed(&mut self, table: &Table, outbox: &mut Outbox, budget_bytes: u64) -> Result<Progress, Malformed> {
        let mut progress = Progress::default();
        self.post_in_turn(table, outbox, budget_bytes, self.relays, &mut progress)?;
        Ok(progress)
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
        self.draining.retain(|&slot| {
            let transfer = &mut slots[slot];
            let sender = transfer.sender();
            if !transfer.is_confirmed(table, received.get(sender)) {
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
    pub fn dismantle(self) -> impl Iterator<Item = Leftover> {
        self.slots.into_iter().filter_map(|mut slot| slot.end()).map(Leftover)
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

    /// Forgets the reservation of the block at `offset`: my sender index and the block's class.
    fn unreserve(&mut self, offset: u64) -> (usize, usize) {
        let own = self.own.expect("only senders reserve");
        let found = self.reserved.iter().position(|reserved| reserved.offset == offset);
        let reserved = self.reserved.swap_remove(found.expect("the block was reserved here"));
        (own, reserved.class)
    }

    /// Begins the sender's next transfer in its slot.
    fn begin(&mut self, sender: usize, descriptor: Descriptor, buffer: Buffer, class: usize) -> usize {
        let root = self.senders[sender].index();
        let me = self.me.index();
        let vertex = if me < self.relays { (me + self.relays - root) % self.relays } else { me };
        let plan = self.plans.get(descriptor.blocks() as u32, vertex as u32);
        let slot = self.columns.slot(sender, descriptor.transfer);
        self.slots[slot].begin(Beginning { descriptor, plan, buffer, class });
        self.frontiers[sender].begun += 1;
        self.is_young |= descriptor.transfer == 0;
        if let Some(timeline) = &mut self.timeline {
            timeline.record(sender, descriptor.transfer, 0, self.me, Moment::Begun);
        }
        slot
    }

    fn take_in(&mut self, table: &Table, progress: &mut Progress) -> Result<(), Malformed> {
        for position in 0..self.active.len() {
            let transfer = &mut self.slots[self.active[position]];
            let arrived = transfer.take_in(table, &mut self.timeline)?;
            if arrived == 0 {
                continue;
            }
            progress.arrived_blocks += arrived;
            if transfer.payload().is_some() {
                progress.completed += 1;
                let sender = transfer.sender();
                self.advance(sender);
            }
        }
        Ok(())
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

    fn push_notices(&mut self, outbox: &mut Outbox) -> u32 {
        let (received, me, frontiers) = (self.columns.received, self.me, &self.frontiers);
        self.notices.push(outbox, |sender| (Place::new(TABLE, received.get(sender).at(me)), frontiers[sender].received))
    }

    /// Posts blocks to members from rank `first` on: first those of senders' first messages in this epoch, then one
    /// block of each active transfer in turn, until a whole round brings nothing or the budget is spent.
    fn post_in_turn(
        &mut self,
        table: &Table,
        outbox: &mut Outbox,
        budget_bytes: u64,
        first: usize,
        progress: &mut Progress,
    ) -> Result<(), Malformed> {
        if self.is_young {
            self.post_first_messages(table, outbox, budget_bytes, first, progress)?;
        }
        let mut fruitless = 0;
        while fruitless < self.active.len() && progress.posted_bytes < budget_bytes {
            self.turn = if self.turn + 1 < self.active.len() { self.turn + 1 } else { 0 };
            let posts = self.post_next(self.active[self.turn], table, outbox, first, progress)?;
            fruitless = if posts { 0 } else { fruitless + 1 };
        }
        Ok(())
    }

    /// The next block of a slot, if there is one to post now. Whether there was.
    #[inline]
    fn post_next(
        &mut self,
        slot: usize,
        table: &Table,
        outbox: &mut Outbox,
        first: usize,
        progress: &mut Progress,
    ) -> Result<bool, Malformed> {
        let (spare, reach) = (self.limits.outbox_spare, Reach { pools: &self.pools, first });
        let Some(post) = self.slots[slot].next_post(table, outbox, spare, reach, &mut self.timeline)? else { return Ok(false) };
        self.post(slot, post, table, outbox);
        progress.posted_blocks += 1;
        progress.posted_bytes += post.bytes;
        Ok(true)
    }

    /// The one place where blocks leave: the data by Span, then the counter that publishes it by Word, to the same peer
    /// (T1, T3).
    fn post(&self, slot: usize, post: Post, table: &Table, outbox: &mut Outbox) {
        let transfer = &self.slots[slot];
        let span = Write::Span { from: Place::new(POOL, post.from), to: Place::new(POOL, post.target), len: post.bytes };
        let at = Place::new(TABLE, transfer.sent().at(self.me));
        let word = Write::Word { at, value: sent_word(transfer.number(), post.count) };
        for write in self.mutation.apply(span, word, transfer.sent(), table) {
            outbox.push(post.to, write).expect("there was room for both writes of the block");
        }
    }

    /// Takes transfers that have nothing left to receive or to post off the active list.
    fn retire(&mut self) {
        let (slots, draining) = (&self.slots, &mut self.draining);
        self.active.retain(|&slot| {
            let quiet = slots[slot].is_quiet();
            if quiet && slots[slot].is_delivered() {
                draining.push(slot);
            }
            !quiet
        });
        self.is_young &= self.active.iter().any(|&slot| slots[slot].number() == 0);
    }
}
