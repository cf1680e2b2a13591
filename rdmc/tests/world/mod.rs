//! A group of engines over an adversarial network: links are FIFO, everything else happens in any order.

use std::collections::VecDeque;

use squall_rdmc::schedule::ScheduleKind;
use squall_rdmc::{AnnounceError, Columns, Descriptor, Limits, Mutation, Rdmc, Relay};
use squall_sst::{Layout, LayoutBuilder, Table};
use squall_transport::region::{Pool, Region, RegionOptions, SizeClass};
use squall_transport::sim::land;
use squall_transport::{Outbox, POOL, Place, Rank, TABLE, Write};

const BUFFER_BYTES: u64 = 24 << 10;
/// Actions without a delivery after which the world is declared stuck.
const PATIENCE: u64 = 400_000;

/// What a world is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    /// Each message takes one of these.
    pub(crate) schedules: Vec<ScheduleKind>,
    pub(crate) members: usize,
    pub(crate) senders: usize,
    pub(crate) messages: u64,
    pub(crate) transfers_max: u32,
    /// Pool blocks beyond one a sender.
    pub(crate) extra_buffers: u32,
    /// First messages wait for those of lower senders.
    pub(crate) in_order: bool,
    pub(crate) mutation: Mutation,
}

/// A small, good enough generator: SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

struct Node {
    table_region: Region,
    pool_region: Region,
    table: Table,
    pool: Pool,
    rdmc: Rdmc,
    outbox: Outbox,
    /// Descriptors that are on their way here, by sender.
    descriptors: Vec<VecDeque<Descriptor>>,
    delivered: Vec<u64>,
    /// Writes on the wire from here, by peer.
    wire: Vec<VecDeque<Write>>,
}

/// The group.
pub(crate) struct World {
    setup: Setup,
    random: Random,
    columns: Columns,
    ranks: Vec<Rank>,
    nodes: Vec<Node>,
    sent: Vec<Vec<u64>>,
}

fn byte_of(sender: usize, transfer: u64, position: u64) -> u8 {
    let mixed = (sender as u64 * 1009 + transfer * 9176 + position).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

impl World {
    pub(crate) fn new(setup: Setup) -> World {
        let limits = Limits { transfers_max: setup.transfers_max, message_bytes_max: BUFFER_BYTES, ..Limits::DEFAULT };
        let (layout, columns) = LayoutBuilder::compose(setup.members, |layout| Columns::compose(layout, setup.senders, &limits));
        // The senders are the last members, so that roots differ from vertex 0.
        let ranks: Vec<_> = (setup.members - setup.senders..setup.members).map(Rank::new).collect();
        let nodes = (0..setup.members).map(|me| Node::new(&setup, &layout, columns, limits, &ranks, me)).collect();
        let random = Random(setup.seed);
        World { random, columns, ranks, nodes, sent: vec![Vec::new(); setup.senders], setup }
    }

    /// Runs until everything is delivered everywhere and nothing is under way, or says what went wrong.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let mut patience = PATIENCE;
        while !self.is_finished() {
            let node = self.random.below(self.setup.members as u64) as usize;
            let delivered = match self.random.below(8) {
                0 => self.send(node),
                1 => self.announce(node)?,
                2 => self.step(node)?,
                3 => self.deliver(node)?,
                4 => self.reclaim(node),
                5 => self.post(node)?,
                _ => self.land(node),
            };
            patience = if delivered { PATIENCE } else { patience - 1 };
            if patience == 0 {
                return Err("nothing is delivered any more".to_owned());
            }
        }
        self.check_nothing_left()
    }

    fn is_finished(&self) -> bool {
        self.nodes.iter().all(|node| {
            node.delivered.iter().all(|&delivered| delivered == self.setup.messages)
                && node.rdmc.is_idle()
                && node.wire.iter().all(VecDeque::is_empty)
        })
    }

    fn check_nothing_left(&self) -> Result<(), String> {
        match self.nodes.iter().position(|node| node.pool.out() != 0 || !node.outbox.is_empty()) {
            Some(node) => Err(format!("node {node} keeps {} buffers", self.nodes[node].pool.out())),
            None => Ok(()),
        }
    }

    fn send(&mut self, at: usize) -> bool {
        let Some(sender) = self.ranks.iter().position(|rank| rank.index() == at) else { return false };
        let transfer = self.sent[sender].len() as u64;
        if transfer == self.setup.messages {
            return false;
        }
        let bytes = 1 + self.random.below(BUFFER_BYTES);
        let node = &mut self.nodes[at];
        let Ok(mut block) = node.rdmc.reserve(BUFFER_BYTES, &mut node.pool) else { return false };
        if self.random.below(5) == 0 {
            node.rdmc.give_back(block, &mut node.pool);
            return false;
        }
        block.truncate(bytes);
        for (position, byte) in (0..).zip(block.bytes_mut()) {
            *byte = byte_of(sender, transfer, position);
        }
        let blocks = 1 + self.random.below(24);
        let schedule = self.setup.schedules[self.random.below(self.setup.schedules.len() as u64) as usize];
        let descriptor = node.rdmc.start(block.fill(), Relay { schedule, block_bytes: bytes.div_ceil(blocks) as u32 });
        self.sent[sender].push(bytes);
        for (other, node) in self.nodes.iter_mut().enumerate() {
            if other != at {
                node.descriptors[sender].push_back(Descriptor::decode(&descriptor.encode()).unwrap());
            }
        }
        false
    }

    fn announce(&mut self, at: usize) -> Result<bool, String> {
        let sender = self.random.below(self.setup.senders as u64) as usize;
        let node = &mut self.nodes[at];
        if let Some(&descriptor) = node.descriptors[sender].front() {
            match node.rdmc.announce(sender, descriptor, &mut node.pool, &mut node.outbox) {
                Ok(()) => drop(node.descriptors[sender].pop_front()),
                Err(AnnounceError::NoBuffer(_)) => {}
                Err(AnnounceError::Refused(error)) => return Err(error.to_string()),
            }
        }
        Ok(false)
    }

    fn step(&mut self, at: usize) -> Result<bool, String> {
        let budget = self.random.below(3 * BUFFER_BYTES);
        let node = &mut self.nodes[at];
        node.rdmc.step(&node.table, &mut node.outbox, budget).map_err(|malformed| malformed.to_string())?;
        Ok(false)
    }

    fn deliver(&mut self, at: usize) -> Result<bool, String> {
        let sender = self.random.below(self.setup.senders as u64) as usize;
        let node = &mut self.nodes[at];
        let transfer = node.delivered[sender];
        if transfer == node.rdmc.received(sender) {
            return Ok(false);
        }
        let payload = node.rdmc.payload(sender, transfer);
        if payload.len() as u64 != self.sent[sender][transfer as usize] {
            return Err(format!("node {at} got {} bytes of transfer {transfer} of {sender}", payload.len()));
        }
        if let Some((position, _)) = (0..).zip(payload).find(|&(i, &byte)| byte != byte_of(sender, transfer, i)) {
            return Err(format!("node {at}: byte {position} of transfer {transfer} of {sender} is wrong"));
        }
        node.rdmc.delivered(sender, transfer);
        node.delivered[sender] += 1;
        Ok(true)
    }

    fn reclaim(&mut self, at: usize) -> bool {
        let node = &mut self.nodes[at];
        node.rdmc.reclaim(&node.table, &mut node.pool);
        false
    }

    /// Moves writes from the outbox to the wire.
    fn post(&mut self, at: usize) -> Result<bool, String> {
        let to = self.random.below(self.setup.members as u64) as usize;
        for _ in 0..self.random.below(6) {
            let Some(write) = self.nodes[at].outbox.pop(Rank::new(to)) else { break };
            if let Write::Span { to: Place { region: POOL, offset }, len, .. } = write
                && !self.is_ready(at, to, offset, len)
            {
                return Err(format!("node {at} wrote to {to} before it was ready"));
            }
            self.nodes[at].wire[to].push_back(write);
        }
        Ok(false)
    }

    /// Whether `to` has told `at` of a buffer that has these bytes.
    fn is_ready(&self, at: usize, to: usize, offset: u64, len: u64) -> bool {
        (0..self.columns.ready.len()).any(|slot| {
            let word = self.nodes[at].table.get(self.columns.ready.get(slot), Rank::new(to));
            let buffer = (word & ((1 << 28) - 1)) * Pool::ALIGNMENT;
            word != 0 && buffer <= offset && offset + len <= buffer + BUFFER_BYTES
        })
    }

    /// Lands the oldest write of a link, or a piece of it: bytes of a Span land in any order, read from the source only
    /// now.
    fn land(&mut self, at: usize) -> bool {
        let peer = self.random.below(self.setup.members as u64) as usize;
        let Some(write) = self.nodes[at].wire[peer].pop_front() else { return false };
        match write {
            Write::Word { at: place, value } => {
                assert_eq!(place.region, TABLE);
                self.set_word(peer, place.offset, value);
            }
            Write::Span { from: Place { region: TABLE, offset }, to, len: 8 } => {
                let value = self.nodes[at].table_region.word(offset).load(std::sync::atomic::Ordering::Acquire);
                self.set_word(peer, to.offset, value);
            }
            Write::Span { from, to, len } => {
                let piece = 1 + self.random.below(len);
                let last = self.random.below(2) == 0;
                let skip = if last { len - piece } else { 0 };
                let shift = |place: Place| Place::new(place.region, place.offset + skip);
                let regions = |node: usize| [self.nodes[node].table_region.clone(), self.nodes[node].pool_region.clone()];
                land(Write::Span { from: shift(from), to: shift(to), len: piece }, &regions(at), &regions(peer));
                if piece < len {
                    let rest = if last { 0 } else { piece };
                    let shift = |place: Place| Place::new(place.region, place.offset + rest);
                    let write = Write::Span { from: shift(from), to: shift(to), len: len - piece };
                    self.nodes[at].wire[peer].push_front(write);
                }
            }
        }
        false
    }

    fn set_word(&self, at: usize, offset: u64, value: u64) {
        self.nodes[at].table_region.word(offset).store(value, std::sync::atomic::Ordering::Release);
    }
}

impl Node {
    fn new(setup: &Setup, layout: &Layout, columns: Columns, limits: Limits, senders: &[Rank], me: usize) -> Node {
        let options = RegionOptions::default();
        let blocks = setup.senders as u32 + setup.extra_buffers;
        let classes = [SizeClass { block_bytes: BUFFER_BYTES, blocks }];
        let table_region = Region::allocate(layout.bytes() as usize, &options).unwrap();
        let pool_region = Region::allocate(Pool::bytes_for(&classes) as usize, &options).unwrap();
        let me = Rank::new(me);
        let mut rdmc = Rdmc::new(columns, setup.members, me, senders, limits);
        if setup.in_order {
            rdmc = rdmc.in_order();
        }
        rdmc.set_mutation(setup.mutation);
        Node {
            table: Table::new(table_region.clone(), layout, me),
            pool: Pool::new(pool_region.clone(), &classes),
            table_region,
            pool_region,
            rdmc,
            outbox: Outbox::new(setup.members),
            descriptors: vec![VecDeque::new(); setup.senders],
            delivered: vec![0; setup.senders],
            wire: vec![VecDeque::new(); setup.members],
        }
    }
}
