//! One member's part of one transfer: which blocks it holds, and how far it is with each peer.

use std::sync::Arc;

use squall_sst::{Column, Malformed, Table};
use squall_transport::region::{Block, FilledBlock, OpenBlock};
use squall_transport::{Outbox, Rank};

use crate::columns::{Columns, Ready, ready_for, sent_count};
use crate::descriptor::Descriptor;
use crate::schedule::Plan;
use crate::timeline::{Moment, Timeline};

/// The buffer of a transfer.
#[derive(Debug)]
pub(crate) enum Buffer {
    /// Blocks are still to come.
    Open(OpenBlock),
    /// The message is complete.
    Filled(FilledBlock),
    /// The message is complete and lent to the application; its place in the pool.
    Lent(u64),
}

impl Buffer {
    /// Byte offset in the pool.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Buffer::Open(block) => block.offset(),
            Buffer::Filled(block) => block.offset(),
            Buffer::Lent(offset) => *offset,
        }
    }
}

/// How far the blocks from one peer have come.
#[derive(Debug)]
struct Arrivals {
    peer: Rank,
    taken: u32,
    /// The peer's counter as it was taken in last.
    seen: Option<u64>,
}

/// How far the blocks to one peer have gone.
#[derive(Debug)]
struct Departures {
    peer: Rank,
    posted: u32,
    /// The peer's buffer in its pool, once it is known to be ready.
    target: Option<u64>,
}

/// One block that can be posted now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post {
    pub(crate) to: Rank,
    /// Byte offset in my pool.
    pub(crate) from: u64,
    /// Byte offset in the peer's pool.
    pub(crate) target: u64,
    pub(crate) bytes: u64,
    /// Blocks sent to the peer with this one.
    pub(crate) count: u32,
}

/// Whom a block may go to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'a> {
    /// How large each member's pool is, in bytes by rank.
    pub(crate) pools: &'a [u64],
    /// Peers below this rank are sent nothing.
    pub(crate) first: usize,
    /// Places that a peer's queue must have, in writes.
    pub(crate) room: usize,
}

/// What is needed to begin a transfer in a slot.
pub(crate) struct Beginning {
    pub(crate) descriptor: Descriptor,
    pub(crate) plan: Arc<Plan>,
    pub(crate) buffer: Buffer,
    pub(crate) class: usize,
}

/// A slot for one transfer of one sender at a time. Its vectors keep their memory from one transfer to the next.
#[derive(Debug)]
pub(crate) struct Transfer {
    sender: usize,
    sender_rank: Rank,
    sent: Column,
    ready: Column,
    number: u64,
    bytes: u64,
    block_bytes: u64,
    blocks: u32,
    offset: u64,
    class: usize,
    /// None: the slot is free.
    buffer: Option<Buffer>,
    plan: Option<Arc<Plan>>,
    /// One bit a block.
    held: Vec<u64>,
    held_count: u32,
    arrivals: Vec<Arrivals>,
    departures: Vec<Departures>,
    sends_left: u64,
    /// The next block for each peer that lacks some is not here yet: until more come there is nothing to post.
    is_dry: bool,
    delivered: bool,
    /// Receivers, from the front of `departures`, that are known to have the whole message.
    confirmed: usize,
}

impl Transfer {
    /// A free slot of the sender with index `sender`; `sent` and `ready` are the slot's columns.
    pub(crate) fn free(sender: usize, sender_rank: Rank, sent: Column, ready: Column) -> Self {
        Transfer {
            sender,
            sender_rank,
            sent,
            ready,
            number: 0,
            bytes: 0,
            block_bytes: 0,
            blocks: 0,
            offset: 0,
            class: 0,
            buffer: None,
            plan: None,
            held: Vec::new(),
            held_count: 0,
            arrivals: Vec::new(),
            departures: Vec::new(),
            sends_left: 0,
            is_dry: false,
            delivered: false,
            confirmed: 0,
        }
    }

    /// Begins a transfer in this free slot. A filled buffer makes this member the root: it holds every block.
    pub(crate) fn begin(&mut self, beginning: Beginning) {
        assert!(self.is_free(), "the slot is in use");
        let Beginning { descriptor, plan, buffer, class } = beginning;
        let filled = matches!(buffer, Buffer::Filled(_));
        self.number = descriptor.transfer;
        self.bytes = descriptor.bytes;
        self.block_bytes = u64::from(descriptor.block_bytes);
        self.blocks = descriptor.blocks() as u32;
        self.offset = buffer.offset();
        self.class = class;
        self.buffer = Some(buffer);
        self.held.clear();
        self.held.resize(self.blocks.div_ceil(u64::BITS) as usize, if filled { u64::MAX } else { 0 });
        self.held_count = if filled { self.blocks } else { 0 };
        let (root, relays) = (u32::from(self.sender_rank.0), plan.members());
        // Those that relay nothing keep their place behind those that do.
        let rank = |vertex: u32| Rank::new(if vertex < relays { (root + vertex) % relays } else { vertex } as usize);
        self.arrivals.clear();
        self.arrivals.extend(plan.incoming().iter().map(|from| Arrivals { peer: rank(from.peer), taken: 0, seen: None }));
        self.departures.clear();
        let departures = plan.outgoing().iter().map(|to| Departures { peer: rank(to.peer), posted: 0, target: None });
        self.departures.extend(departures);
        self.sends_left = plan.outgoing().iter().map(|outgoing| outgoing.blocks.len() as u64).sum();
        self.plan = Some(plan);
        self.is_dry = false;
        self.delivered = false;
        self.confirmed = 0;
    }

    pub(crate) fn is_free(&self) -> bool {
        self.buffer.is_none()
    }

    pub(crate) fn sender(&self) -> usize {
        self.sender
    }

    /// Which large message of its sender the slot has, or had last.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn class(&self) -> usize {
        self.class
    }

    pub(crate) fn sent(&self) -> Column {
        self.sent
    }

    pub(crate) fn ready(&self) -> Column {
        self.ready
    }

    /// Whether this is transfer `number`, with every block here.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.number == number && matches!(self.buffer, Some(Buffer::Filled(_)))
    }

    /// The message, once it is complete.
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        match &self.buffer {
            Some(Buffer::Filled(block)) => Some(block.bytes()),
            _ => None,
        }
    }

    /// Hands out the message of transfer `number`.
    pub(crate) fn lend(&mut self, number: u64) -> FilledBlock {
        assert!(self.has(number), "transfer {number} is not here");
        match self.buffer.replace(Buffer::Lent(self.offset)) {
            Some(Buffer::Filled(block)) => block,
            other => unreachable!("`has` saw a filled buffer, not {other:?}"),
        }
    }

    /// Takes it back.
    pub(crate) fn restore(&mut self, block: FilledBlock) {
        assert!(matches!(self.buffer, Some(Buffer::Lent(offset)) if offset == block.offset()), "this block was not lent");
        self.buffer = Some(Buffer::Filled(block));
    }

    /// Those that send blocks to this member.
    pub(crate) fn in_neighbours(&self) -> impl Iterator<Item = Rank> + '_ {
        self.arrivals.iter().map(|from| from.peer)
    }

    /// The peers that blocks go to, if they are one (said twice) or two.
    pub(crate) fn one_or_two_peers(&self) -> Option<[Rank; 2]> {
        match &self.departures[..] {
            [only] => Some([only.peer; 2]),
            [one, other] => Some([one.peer, other.peer]),
            _ => None,
        }
    }

    /// Every block is here.
    pub(crate) fn is_complete(&self) -> bool {
        self.held_count == self.blocks
    }

    /// Whether a block may be there that some peer lacks.
    pub(crate) fn may_post(&self) -> bool {
        self.sends_left > 0 && !self.is_dry
    }

    /// Nothing more is to be received or posted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_complete() && self.sends_left == 0
    }

    /// The application is done with the message.
    pub(crate) fn deliver(&mut self) {
        assert!(!self.delivered, "transfer {} was delivered twice", self.number);
        self.delivered = true;
    }

    pub(crate) fn is_delivered(&self) -> bool {
        self.delivered
    }

    /// Byte offset of the buffer in my pool.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the message and of its blocks, in bytes.
    pub(crate) fn lengths(&self) -> (u64, u64) {
        (self.bytes, self.block_bytes)
    }

    /// Whether this is transfer `number`, of which some blocks are not here.
    pub(crate) fn lacks(&self, number: u64) -> bool {
        self.number == number && matches!(self.buffer, Some(Buffer::Open(_)))
    }

    /// Another member has written the whole message.
    pub(crate) fn fill(&mut self) {
        self.held.fill(u64::MAX);
        self.held_count = self.blocks;
        self.is_dry = false;
        self.complete();
    }

    /// Every block is here.
    fn complete(&mut self) {
        self.buffer = match self.buffer.take() {
            Some(Buffer::Open(block)) => Some(Buffer::Filled(block.landed())),
            other => other,
        };
    }

    /// Notes every block whose counter has come. How many are new.
    ///
    /// # Errors
    /// A counter that went back, is of a later transfer, or counts more blocks than there are. The last is held against
    /// the message's sender alone: another may have been told of a longer message, and it is the sender who told.
    pub(crate) fn take_in(&mut self, table: &Table, timeline: &mut Option<Box<Timeline>>) -> Result<u32, Malformed> {
        let Some(plan) = self.plan.as_deref() else { return Ok(0) };
        if self.is_complete() {
            return Ok(0);
        }
        let before = self.held_count;
        for (from, incoming) in self.arrivals.iter_mut().zip(plan.incoming()) {
            let word = table.get(self.sent, from.peer);
            if from.seen == Some(word) {
                continue;
            }
            let (taken, planned) = (from.taken as usize, incoming.blocks.len());
            let told = sent_count(word, self.number).map(|count| count as usize);
            let count = match told {
                Some(count) if count > planned && from.peer != self.sender_rank => planned,
                Some(count) if (taken..=planned).contains(&count) => count,
                _ => return Err(Malformed { member: from.peer, column: Columns::SENT, value: word }),
            };
            let arrived = &incoming.blocks[taken..count];
            for &block in arrived {
                self.held[(block / u64::BITS) as usize] |= 1 << (block % u64::BITS);
                if let Some(timeline) = timeline {
                    timeline.record(self.sender, self.number, block, from.peer, Moment::Landed);
                }
            }
            from.seen = Some(word);
            from.taken += arrived.len() as u32;
            self.held_count += arrived.len() as u32;
        }
        let new = self.held_count - before;
        self.is_dry &= new == 0;
        if self.is_complete() {
            self.complete();
        }
        Ok(new)
    }

    /// The block to post next: of those that are first in line for their peer, held here, and whose peer is ready and
    /// has room in the outbox, the one that the schedule sends first. A peer that is not ready holds up nobody else.
    /// `reach` says whom it may go to.
    ///
    /// # Errors
    /// A buffer that does not lie in its owner's pool, or is for a later transfer although I sent this one and not all
    /// of it: to a relay it may only show that the peer was told of a shorter message.
    pub(crate) fn next_post(
        &mut self,
        table: &Table,
        outbox: &Outbox,
        reach: Reach<'_>,
        timeline: &mut Option<Box<Timeline>>,
    ) -> Result<Option<Post>, Malformed> {
        if !self.may_post() {
            return Ok(None);
        }
        let Some(plan) = self.plan.as_deref() else { return Ok(None) };
        let mut best: Option<(u64, u32, u64, &mut Departures)> = None;
        let mut dry = true;
        for (to, outgoing) in self.departures.iter_mut().zip(plan.outgoing()) {
            let Some(send) = outgoing.blocks.get(to.posted as usize) else { continue };
            if self.held[(send.block / u64::BITS) as usize] >> (send.block % u64::BITS) & 1 == 0 {
                continue;
            }
            dry = false;
            if best.as_ref().is_some_and(|&(step, ..)| step < send.step)
                || to.peer.index() < reach.first
                || outbox.room(to.peer) < reach.room
            {
                continue;
            }
            if to.target.is_none() {
                let word = table.get(self.ready, to.peer);
                to.target = match ready_for(word, self.number) {
                    Ready::At(offset) if offset + self.bytes <= reach.pools[to.peer.index()] => Some(offset),
                    Ready::At(_) => return Err(Malformed { member: to.peer, column: Columns::READY, value: word }),
                    Ready::Later if self.sender_rank == table.me() => {
                        return Err(Malformed { member: to.peer, column: Columns::READY, value: word });
                    }
                    Ready::Later | Ready::NotYet => None,
                };
                if let (Some(timeline), Some(_)) = (timeline.as_mut(), to.target) {
                    timeline.record(self.sender, self.number, 0, to.peer, Moment::Ready);
                }
            }
            if let Some(target) = to.target {
                best = Some((send.step, send.block, target, to));
            }
        }
        let Some((_, block, target, to)) = best else {
            self.is_dry = dry;
            return Ok(None);
        };
        to.posted += 1;
        self.sends_left -= 1;
        let at = u64::from(block) * self.block_bytes;
        let bytes = self.block_bytes.min(self.bytes - at);
        if let Some(timeline) = timeline {
            timeline.record(self.sender, self.number, block, to.peer, Moment::Posted);
        }
        Ok(Some(Post { to: to.peer, from: self.offset + at, target: target + at, bytes, count: to.posted }))
    }

    /// Members that this one sends to and that have not said that they have the whole message; `received` is the
    /// sender's column of frontiers.
    pub(crate) fn unconfirmed<'a>(&'a self, table: &'a Table, received: Column) -> impl Iterator<Item = Rank> + 'a {
        self.departures.iter().map(|to| to.peer).filter(move |&peer| table.get(received, peer) <= self.number)
    }

    /// Whether every member that this one sent to has said that it has the whole message; `received` is the sender's
    /// column of frontiers. Then all Spans that read the buffer have landed.
    pub(crate) fn is_confirmed(&mut self, table: &Table, received: Column) -> bool {
        let waiting = &self.departures[self.confirmed..];
        self.confirmed += waiting.iter().take_while(|to| table.get(received, to.peer) > self.number).count();
        self.confirmed == self.departures.len()
    }

    /// Frees the slot.
    pub(crate) fn end(&mut self) -> Option<Buffer> {
        self.plan = None;
        self.buffer.take()
    }
}

impl From<Buffer> for Block {
    /// Nobody writes or reads it any more.
    fn from(buffer: Buffer) -> Block {
        match buffer {
            Buffer::Open(block) => block.landed().into(),
            Buffer::Filled(block) => block.into(),
            Buffer::Lent(_) => unreachable!("a lent block is restored within the same upcall"),
        }
    }
}
