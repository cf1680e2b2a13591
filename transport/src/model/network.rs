//! The modelled network: virtual time, and everything that is on its way.

use std::cell::{RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::lanes::{Block, Lane};
use super::link::{Flying, Link, Pending};
pub use super::node::Counted;
use super::node::Node;
use super::spec::{KernelSpec, ModelSpec};
use super::wire::Wire;
use crate::endpoint::QueueFull;
use crate::rank::Rank;
use crate::region::{CopyMethod, Region, carry};
use crate::sim::Random;
use crate::write::{POOL, Write};

/// A handle to the network that all members share; one thread holds them all.
///
/// Nothing happens by itself. Whoever holds it takes what is due first: the next thing on the network
/// ([`ModelNetwork::happen`]) or the next turn of a member's loop, which begins and ends here
/// ([`ModelNetwork::begin_turn`], [`ModelNetwork::end_turn`]) and takes the time that was spent in between.
#[derive(Clone, Debug)]
pub struct ModelNetwork {
    state: Rc<RefCell<State>>,
}

impl ModelNetwork {
    /// The network of `members` equal hosts.
    pub fn new(spec: &ModelSpec, members: usize, seed: u64) -> ModelNetwork {
        let state = State {
            now_ps: 0,
            count: 0,
            happened: 0,
            due: BinaryHeap::new(),
            members,
            nodes: (0..members).map(|_| Node::default()).collect(),
            links: (0..members * members).map(|_| Link::default()).collect(),
            wire: Wire::new(&spec.switch, &spec.nic, members),
            byte_ps: spec.nic.byte_ps(),
            stirred: Vec::new(),
            random: Random::new(seed),
            spec: spec.clone(),
        };
        ModelNetwork { state: Rc::new(RefCell::new(state)) }
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// How many members it links.
    pub fn members(&self) -> usize {
        self.state().members
    }

    /// When the next thing happens; `None` if nothing is on its way.
    pub fn next_ps(&self) -> Option<u64> {
        self.state().due.peek().map(|Reverse(due)| due.at_ps)
    }

    /// Does what is due next. Those that have a reason to look, and had none since their last turn, are added to
    /// `stirred`.
    pub fn happen(&self, stirred: &mut Vec<Rank>) {
        let mut state = self.state();
        if let Some(Reverse(due)) = state.due.pop() {
            state.now_ps = due.at_ps;
            state.happened += 1;
            state.happen(due.what);
        }
        stirred.append(&mut state.stirred);
    }

    /// Things that happened so far.
    pub fn happened(&self) -> u64 {
        self.state().happened
    }

    /// A turn of this member's loop begins: with kernels, it takes in what has come.
    pub fn begin_turn(&self, rank: Rank, at_ps: u64) {
        self.state().begin_turn(rank.index(), at_ps);
    }

    /// Its core works for so long.
    pub fn spend(&self, rank: Rank, ps: u64) {
        self.state().nodes[rank.index()].clock_ps += ps;
    }

    /// Until when its core has worked.
    pub fn clock_ps(&self, rank: Rank) -> u64 {
        self.state().nodes[rank.index()].clock_ps
    }

    /// The turn is over: doorbells are rung for what was posted. When it ends, and whether something came meanwhile
    /// that it has not seen.
    pub fn end_turn(&self, rank: Rank) -> (u64, bool) {
        self.state().end_turn(rank.index())
    }

    /// What its card did.
    pub fn counted(&self, rank: Rank) -> Counted {
        self.state().nodes[rank.index()].counted
    }
}

/// Ordered by time, then by who was scheduled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_ps: u64,
    count: u64,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The card knows of more bytes to send.
    Told { link: u32, bytes: u64 },
    /// An egress port is free.
    Egress { node: u32 },
    /// The last byte of a write is in.
    Land { link: u32 },
    /// Kernels: bytes are in the receiver's socket.
    Arrived { link: u32, bytes: u64 },
    /// Kernels: the sender knows of room.
    Room { link: u32, bytes: u64 },
    /// Lanes: the receiver's thread has dealt with a block.
    Dealt { link: u32, lane: u64 },
    /// Lanes: the sender's thread may post the next.
    Next { node: u32, lane: u64 },
}

#[derive(Debug)]
pub(super) struct State {
    now_ps: u64,
    count: u64,
    happened: u64,
    due: BinaryHeap<Reverse<Due>>,
    members: usize,
    pub(super) nodes: Vec<Node>,
    /// From a to b: at a * members + b.
    pub(super) links: Vec<Link>,
    wire: Wire,
    byte_ps: f64,
    stirred: Vec<Rank>,
    random: Random,
    spec: ModelSpec,
}

impl State {
    fn schedule(&mut self, at_ps: u64, what: What) {
        self.count += 1;
        self.due.push(Reverse(Due { at_ps, count: self.count, what }));
    }

    fn ends(&self, link: u32) -> (usize, usize) {
        (link as usize / self.members, link as usize % self.members)
    }

    fn stir(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].news, true) {
            self.stirred.push(Rank::new(node));
        }
    }

    pub(super) fn open(&mut self, node: usize, regions: &[Region]) {
        assert!(self.nodes[node].regions.is_empty(), "a member opened twice");
        self.nodes[node].regions = regions.to_vec();
    }

    pub(super) fn post(&mut self, from: usize, to: usize, write: Write) -> Result<(), QueueFull> {
        self.check(from, to, &write);
        let link = (from * self.members + to) as u32;
        let waits = self.spec.lanes.is_some() && self.takes_a_lane(from, link, write);
        if !waits {
            if self.links[link as usize].outstanding >= self.spec.nic.queue_max {
                self.links[link as usize].refused = true;
                return Err(QueueFull);
            }
            self.push(link, write);
            self.links[link as usize].outstanding += 1;
        }
        let node = &mut self.nodes[from];
        node.clock_ps += self.spec.host.post_ps;
        node.counted.writes += 1;
        Ok(())
    }

    /// Panics if the write lies outside the regions: a bug of the caller.
    fn check(&self, from: usize, to: usize, write: &Write) {
        let (mine, theirs) = (&self.nodes[from].regions, &self.nodes[to].regions);
        match *write {
            Write::Span { from, to, len } => {
                assert!(len > 0, "an empty span");
                mine[usize::from(from.region.0)].check(from.offset, len);
                theirs[usize::from(to.region.0)].check(to.offset, len);
            }
            Write::Word { at, .. } => {
                assert!(at.offset.is_multiple_of(8), "a word at {at:?} is not aligned");
                theirs[usize::from(at.region.0)].check(at.offset, 8);
            }
        }
    }

    fn push(&mut self, link: u32, write: Write) {
        let line_bytes = self.spec.nic.line_bytes(self.payload_bytes(&write));
        if self.links[link as usize].untold == 0 {
            let (from, _) = self.ends(link);
            self.nodes[from].touched.push(link);
        }
        self.links[link as usize].push(write, line_bytes);
    }

    fn payload_bytes(&self, write: &Write) -> u64 {
        match (write, &self.spec.lanes) {
            (Write::Span { to, len, .. }, Some(lanes)) if to.region != POOL && lanes.record_bytes > 0 => {
                len.div_ceil(lanes.record_bytes) * lanes.slot_bytes
            }
            (Write::Span { len, .. }, _) => *len,
            (Write::Word { .. }, _) => 8,
        }
    }

    /// Whether the card has to fetch the bytes.
    fn is_fetched(&self, write: &Write) -> bool {
        match write {
            Write::Span { len, .. } => *len > self.spec.nic.inline_bytes,
            Write::Word { .. } => self.spec.lanes.as_ref().is_some_and(|lanes| lanes.words_by_reference),
        }
    }

    /// A block's Span waits for its counter, and both for their lane.
    fn takes_a_lane(&mut self, from: usize, link: u32, write: Write) -> bool {
        let node = &mut self.nodes[from];
        match (write, node.block.take()) {
            (Write::Span { to, .. }, None) if to.region == POOL => {
                node.block = Some((link, write));
                true
            }
            (Write::Word { at, .. }, Some((of, span))) => {
                assert_eq!(of, link, "a block's counter follows its Span");
                node.lanes.entry(at.offset).or_default().push(Block { link, span, counter: write });
                true
            }
            (_, None) => false,
            (other, Some(_)) => unreachable!("{other:?} between a block and its counter"),
        }
    }

    /// Whether the kernels have no room for what this member posted.
    pub(super) fn has_backlog(&self, node: usize) -> bool {
        self.nodes[node].touched.iter().any(|&link| self.links[link as usize].untold > 0)
    }

    fn begin_turn(&mut self, node: usize, at_ps: u64) {
        let this = &mut self.nodes[node];
        this.clock_ps = at_ps;
        this.news = false;
        if let Some(kernel) = self.spec.kernel.clone() {
            self.nodes[node].clock_ps += kernel.look_ps;
            self.take_in(node, &kernel);
        }
    }

    /// Kernels: one call for each connection that has something.
    fn take_in(&mut self, node: usize, kernel: &KernelSpec) {
        let mut ready = std::mem::take(&mut self.nodes[node].ready);
        ready.retain(|&index| {
            let link = &mut self.links[index as usize];
            let bytes = (link.arrived - link.taken).min(kernel.intake_bytes);
            link.taken += bytes;
            let (taken, more) = (link.taken, link.taken < link.arrived);
            link.is_ready = more;
            self.nodes[node].clock_ps += kernel.call_ps + (bytes as f64 * kernel.receive_byte_ps) as u64;
            while let Some(&flying) = self.links[index as usize].flying.front().filter(|flying| flying.end <= taken) {
                self.links[index as usize].flying.pop_front();
                self.is_in(index, &flying);
            }
            let at_ps = self.nodes[node].clock_ps + self.spec.switch.hop_ps;
            self.schedule(at_ps, What::Room { link: index, bytes });
            more
        });
        self.nodes[node].news |= !ready.is_empty();
        self.nodes[node].ready = ready;
    }

    fn end_turn(&mut self, node: usize) -> (u64, bool) {
        self.start_lanes(node);
        let mut touched = std::mem::take(&mut self.nodes[node].touched);
        match self.spec.kernel.clone() {
            Some(kernel) => {
                for &link in &touched {
                    self.hand_over(link, &kernel);
                }
                // Those with more than there was room for are called again.
                touched.retain(|&link| self.links[link as usize].untold > 0);
                self.nodes[node].touched = touched;
            }
            None => {
                for link in touched.drain(..) {
                    let this = &mut self.nodes[node];
                    this.clock_ps += self.spec.host.doorbell_ps;
                    this.counted.doorbells += 1;
                    let at_ps = this.clock_ps + self.spec.nic.start_ps;
                    let bytes = std::mem::take(&mut self.links[link as usize].untold);
                    self.schedule(at_ps, What::Told { link, bytes });
                }
                self.nodes[node].touched = touched;
            }
        }
        (self.nodes[node].clock_ps, self.nodes[node].news)
    }

    /// Kernels: what there is room for goes into the socket.
    fn hand_over(&mut self, index: u32, kernel: &KernelSpec) {
        let (from, _) = self.ends(index);
        let link = &mut self.links[index as usize];
        let bytes = link.untold.min(kernel.buffer_bytes.saturating_sub(link.in_kernels));
        link.awaits_room = bytes < link.untold;
        if bytes == 0 {
            return;
        }
        link.untold -= bytes;
        link.in_kernels += bytes;
        let node = &mut self.nodes[from];
        node.clock_ps += kernel.call_ps + (bytes as f64 * kernel.send_byte_ps) as u64;
        node.counted.doorbells += 1;
        let at_ps = node.clock_ps + self.spec.nic.start_ps;
        self.schedule(at_ps, What::Told { link: index, bytes });
    }

    /// Lanes that stand still and have something to send start, once this turn is over.
    fn start_lanes(&mut self, node: usize) {
        if self.spec.lanes.is_none() {
            return;
        }
        let this = &mut self.nodes[node];
        let at_ps = this.clock_ps;
        let started: Vec<u64> = this.lanes.iter_mut().filter_map(|(&lane, state)| state.wake().then_some(lane)).collect();
        for lane in started {
            self.schedule(at_ps, What::Next { node: node as u32, lane });
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Told { link, bytes } => self.told(link, bytes),
            What::Egress { node } => {
                self.nodes[node as usize].egress_scheduled = false;
                self.egress(node as usize);
            }
            What::Land { link } => self.land(link),
            What::Arrived { link, bytes } => self.arrived(link, bytes),
            What::Room { link: index, bytes } => {
                let (from, _) = self.ends(index);
                let link = &mut self.links[index as usize];
                link.in_kernels -= bytes;
                if link.awaits_room {
                    self.stir(from);
                }
            }
            What::Dealt { link, lane } => self.dealt(link, lane),
            What::Next { node, lane } => {
                let node = node as usize;
                self.next_block(node, lane);
            }
        }
    }

    fn told(&mut self, index: u32, bytes: u64) {
        let (from, _) = self.ends(index);
        let link = &mut self.links[index as usize];
        link.told += bytes;
        let node = &mut self.nodes[from];
        if !std::mem::replace(&mut link.in_line, true) {
            node.line.push_back(index);
        }
        if node.egress_scheduled {
            return;
        }
        if node.egress_free_ps <= self.now_ps {
            self.egress(from);
        } else {
            node.egress_scheduled = true;
            let at_ps = node.egress_free_ps;
            self.schedule(at_ps, What::Egress { node: from as u32 });
        }
    }

    /// The egress port sends one link's burst.
    fn egress(&mut self, from: usize) {
        let Some(index) = self.nodes[from].line.pop_front() else { return };
        let (_, to) = self.ends(index);
        let mut budget = self.spec.nic.burst_bytes;
        let mut at_ps = self.now_ps;
        let (started_ps, mut burst, mut last_ps) = (at_ps, 0, 0);
        while budget > 0 {
            let link = &mut self.links[index as usize];
            let Some(head) = link.waiting.front_mut() else { break };
            let bytes = head.left.min(link.told).min(budget);
            if bytes == 0 {
                break;
            }
            head.left -= bytes;
            link.told -= bytes;
            link.sent += bytes;
            (budget, burst) = (budget - bytes, burst + bytes);
            let done = head.left == 0;
            let takes_ps = ((bytes as f64 * self.byte_ps) as u64).max(self.spec.nic.write_ps);
            last_ps = self.ingress(from, to, bytes, takes_ps, at_ps);
            at_ps += takes_ps;
            if done {
                self.leave(index, last_ps, budget);
            }
        }
        self.nodes[from].egress_free_ps = at_ps;
        self.nodes[from].counted.egress_ps += at_ps - started_ps;
        if let Some(kernel) = &self.spec.kernel {
            let arrives_ps = last_ps + kernel.interrupt_ps;
            self.schedule(arrives_ps, What::Arrived { link: index, bytes: burst });
        }
        let link = &mut self.links[index as usize];
        link.in_line = link.told > 0;
        let node = &mut self.nodes[from];
        if link.in_line {
            node.line.push_back(index);
        }
        if !node.line.is_empty() {
            node.egress_scheduled = true;
            self.schedule(at_ps, What::Egress { node: from as u32 });
        }
    }

    /// The same bytes through the receiver's port; when the last of them is in.
    fn ingress(&mut self, from: usize, to: usize, bytes: u64, takes_ps: u64, at_ps: u64) -> u64 {
        let first_ps = self.wire.cross(from, to, bytes, at_ps);
        let node = &mut self.nodes[to];
        let begins_ps = first_ps.max(node.ingress_free_ps);
        node.ingress_free_ps = begins_ps + takes_ps;
        node.counted.ingress_ps += takes_ps;
        node.ingress_free_ps
    }

    /// The write at the front has left, and is in at `in_ps`.
    fn leave(&mut self, index: u32, in_ps: u64, budget: u64) {
        let link = &mut self.links[index as usize];
        let Some(pending) = link.waiting.pop_front() else { return };
        let followed = link.told.min(budget) > 0 && link.waiting.front().is_some_and(|next| matches!(next.write, Write::Word { .. }));
        let (end, last_ps) = (link.sent, link.last_landing_ps);
        let fetch_ps = if self.is_fetched(&pending.write) { self.spec.nic.fetch_ps } else { 0 };
        let landing_ps = (in_ps + self.spec.nic.land_ps + fetch_ps).max(last_ps);
        let link = &mut self.links[index as usize];
        link.last_landing_ps = landing_ps;
        link.flying.push_back(Flying { write: pending.write, lane: pending.lane, end, landing_ps });
        let (from, to) = self.ends(index);
        let payload = span_len(&pending.write);
        self.nodes[from].counted.sent_bytes += payload;
        self.nodes[to].counted.received_bytes += payload;
        // A Span is looked at only behind its Word: one event for both.
        let alone = !(followed && matches!(pending.write, Write::Span { .. }));
        if self.spec.kernel.is_none() && alone {
            self.schedule(landing_ps, What::Land { link: index });
        }
    }

    fn land(&mut self, index: u32) {
        let now_ps = self.now_ps;
        let mut any = false;
        while self.links[index as usize].lands(now_ps) {
            let Some(flying) = self.links[index as usize].flying.pop_front() else { return };
            any |= self.is_in(index, &flying);
        }
        if any {
            let (_, to) = self.ends(index);
            self.stir(to);
        }
    }

    /// All bytes of a write are in. Whether its receiver can see it; a block waits for the thread that deals with it.
    fn is_in(&mut self, index: u32, flying: &Flying) -> bool {
        match (flying.lane, flying.write) {
            (Some(lane), Write::Word { .. }) => self.deal_with(index, lane),
            (Some(_), Write::Span { .. }) => {}
            (None, write) => {
                self.apply(index, write);
                self.landed(index);
                return true;
            }
        }
        false
    }

    /// A write has landed: there is room for another.
    fn landed(&mut self, index: u32) {
        let (from, _) = self.ends(index);
        let link = &mut self.links[index as usize];
        link.outstanding -= 1;
        if std::mem::take(&mut link.refused) {
            self.stir(from);
        }
    }

    fn apply(&self, index: u32, write: Write) {
        let (from, to) = self.ends(index);
        match write {
            // Hollow: the time is all there is of it.
            Write::Span { to: place, .. } if place.region == POOL => {}
            Write::Span { from: source, to: place, len } => {
                let (mine, theirs) = (&self.nodes[from].regions, &self.nodes[to].regions);
                let (mine, theirs) = (&mine[usize::from(source.region.0)], &theirs[usize::from(place.region.0)]);
                carry(mine, source.offset, theirs, place.offset, len, CopyMethod::Plain);
            }
            // Release: pairs with the acquire of whoever reads the word.
            Write::Word { at, value } => {
                self.nodes[to].regions[usize::from(at.region.0)].link_word(at.offset).store(value, Ordering::Release);
            }
        }
    }

    fn arrived(&mut self, index: u32, bytes: u64) {
        let (_, to) = self.ends(index);
        let link = &mut self.links[index as usize];
        link.arrived += bytes;
        if !std::mem::replace(&mut link.is_ready, true) {
            self.nodes[to].ready.push(index);
        }
        self.stir(to);
    }

    /// One block's share of its thread's time, more or less.
    fn block_ps(&mut self) -> u64 {
        let Some(lanes) = &self.spec.lanes else { return 0 };
        let spread = (lanes.block_ps as f64 * lanes.block_spread) as u64;
        self.random.between(lanes.block_ps.saturating_sub(spread), lanes.block_ps + spread)
    }

    fn on_thread(&mut self, node: usize, from_ps: u64) -> u64 {
        let takes_ps = self.block_ps();
        let node = &mut self.nodes[node];
        node.thread_free_ps = node.thread_free_ps.max(from_ps) + takes_ps;
        node.thread_free_ps
    }

    /// A block is in: the receiver's thread deals with it, once it comes to it.
    fn deal_with(&mut self, link: u32, lane: u64) {
        let (_, to) = self.ends(link);
        let at_ps = self.on_thread(to, self.now_ps);
        self.schedule(at_ps, What::Dealt { link, lane });
    }

    /// The receiver sees the block and says that it is ready for another; the sender's thread posts that once it has
    /// heard.
    fn dealt(&mut self, link: u32, lane: u64) {
        let (from, to) = self.ends(link);
        if let Some(block) = self.nodes[from].lanes.get_mut(&lane).and_then(|lane| lane.flying.take()) {
            self.apply(link, block.counter);
            self.stir(to);
        }
        let heard_ps = self.now_ps + self.spec.switch.hop_ps + self.spec.nic.start_ps + self.spec.nic.land_ps;
        let at_ps = self.on_thread(from, heard_ps);
        self.schedule(at_ps, What::Next { node: from as u32, lane });
    }

    fn next_block(&mut self, node: usize, lane: u64) {
        let Some(block) = self.nodes[node].lanes.get_mut(&lane).and_then(Lane::start) else { return };
        let link = &mut self.links[block.link as usize];
        let (span_bytes, counter_bytes) = (self.spec.nic.line_bytes(span_len(&block.span)), self.spec.nic.line_bytes(8));
        link.waiting.push_back(Pending { write: block.span, left: span_bytes, lane: Some(lane) });
        link.waiting.push_back(Pending { write: block.counter, left: counter_bytes, lane: Some(lane) });
        let bytes = span_bytes + counter_bytes;
        if let Some(kernel) = &self.spec.kernel {
            link.in_kernels += bytes;
            let this = &mut self.nodes[node];
            this.thread_free_ps = this.thread_free_ps.max(self.now_ps) + (bytes as f64 * kernel.send_byte_ps) as u64;
        }
        let at_ps = self.now_ps + self.spec.nic.start_ps;
        self.schedule(at_ps, What::Told { link: block.link, bytes });
    }
}

fn span_len(write: &Write) -> u64 {
    match write {
        Write::Span { len, .. } => *len,
        Write::Word { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Endpoint, Fabric};
    use crate::model::{HostSpec, LaneSpec, ModelEndpoint, ModelFabric, NicSpec, SwitchSpec};
    use crate::region::RegionOptions;
    use crate::sim::SoloExchange;
    use crate::write::{Place, TABLE};

    /// 1 byte a nanosecond, no headers, everything else round numbers.
    fn spec() -> ModelSpec {
        let nic = NicSpec {
            bytes_per_s: 1e9,
            pcie_bytes_per_s: 2e9,
            write_ps: 10_000,
            packet_bytes: 4096,
            header_bytes: 0,
            burst_bytes: 1000,
            start_ps: 200_000,
            fetch_ps: 0,
            inline_bytes: 64,
            land_ps: 100_000,
            queue_max: 8,
        };
        let switch = SwitchSpec { hop_ps: 300_000, leaf_hosts: None, oversubscription: 1.0 };
        ModelSpec { nic, switch, host: HostSpec { post_ps: 10_000, doorbell_ps: 50_000 }, kernel: None, lanes: None }
    }

    fn open(spec: &ModelSpec, members: usize) -> (ModelNetwork, Vec<(ModelEndpoint, Region)>) {
        let network = ModelNetwork::new(spec, members, 1);
        let fabric = ModelFabric::on(&network);
        let open = |rank: usize| {
            let (table, pool) = (Region::reserve(4096).unwrap(), fabric.region(1 << 30, &RegionOptions::default()).unwrap());
            let mut exchange = SoloExchange::new(Rank::new(rank), members);
            (fabric.open(&mut exchange, &[table.clone(), pool]).unwrap(), table)
        };
        let opened = (0..members).map(open).collect();
        (network, opened)
    }

    fn block(len: u64) -> Write {
        Write::Span { from: Place::new(POOL, 0), to: Place::new(POOL, 0), len }
    }

    fn counter(value: u64) -> Write {
        Write::Word { at: Place::new(TABLE, 64), value }
    }

    /// When a member's word became `value`.
    fn until(network: &ModelNetwork, table: &Region, value: u64) -> u64 {
        while table.word(64).load(Ordering::Acquire) != value {
            network.happen(&mut Vec::new());
        }
        network.state().now_ps
    }

    #[test]
    fn a_counter_is_seen_once_the_last_byte_of_its_block_is_in() {
        let (network, mut members) = open(&spec(), 2);
        network.begin_turn(Rank::new(0), 0);
        members[0].0.post(Rank::new(1), block(10_000)).unwrap();
        members[0].0.post(Rank::new(1), counter(1)).unwrap();
        assert_eq!(network.end_turn(Rank::new(0)), (70_000, false));
        // Two posts, a doorbell, the card, the hop, 10,000 bytes, the least time of the word, memory.
        assert_eq!(until(&network, &members[1].1, 1), 70_000 + 200_000 + 300_000 + 10_000_000 + 10_000 + 100_000);
    }

    #[test]
    fn links_share_a_port_fairly_and_one_receiver_takes_in_a_line_of_bytes() {
        let (network, mut members) = open(&spec(), 3);
        network.begin_turn(Rank::new(0), 0);
        for to in [1, 2] {
            members[0].0.post(Rank::new(to), block(100_000)).unwrap();
            members[0].0.post(Rank::new(to), counter(1)).unwrap();
        }
        network.end_turn(Rank::new(0));
        let (one, other) = (until(&network, &members[1].1, 1), until(&network, &members[2].1, 1));
        assert!(one > 199_000_000 && other - one < 2_000_000, "bursts in turn: {one} and {other}");

        let (network, mut members) = open(&spec(), 3);
        for from in [0, 1] {
            network.begin_turn(Rank::new(from), 0);
            members[from].0.post(Rank::new(2), block(100_000)).unwrap();
            members[from].0.post(Rank::new(2), Write::Word { at: Place::new(TABLE, 64 + 8 * from as u64), value: 1 }).unwrap();
            network.end_turn(Rank::new(from));
        }
        let both = until(&network, &members[2].1, 1);
        assert!(both > 199_000_000, "two senders halve what each gets: {both}");
    }

    #[test]
    fn a_full_queue_is_an_answer_and_has_room_once_a_write_has_landed() {
        let (network, mut members) = open(&spec(), 2);
        network.begin_turn(Rank::new(0), 0);
        let posted = (1..100).take_while(|&value| members[0].0.post(Rank::new(1), counter(value)).is_ok()).count();
        assert_eq!(posted, 8);
        network.end_turn(Rank::new(0));
        let mut stirred = Vec::new();
        while !stirred.contains(&Rank::new(0)) {
            network.happen(&mut stirred);
        }
        assert!(members[0].0.post(Rank::new(1), counter(9)).is_ok());
    }

    #[test]
    fn oversubscribed_leaves_are_the_limit_between_them_and_not_within() {
        let leaves = SwitchSpec { leaf_hosts: Some(2), oversubscription: 4.0, ..spec().switch };
        let took = |to: usize| {
            let (network, mut members) = open(&ModelSpec { switch: leaves.clone(), ..spec() }, 4);
            network.begin_turn(Rank::new(0), 0);
            members[0].0.post(Rank::new(to), block(100_000)).unwrap();
            members[0].0.post(Rank::new(to), counter(1)).unwrap();
            network.end_turn(Rank::new(0));
            until(&network, &members[to].1, 1)
        };
        // Two hosts of 1 GB/s share a trunk of 0.5 GB/s.
        assert!(took(1) < 102_000_000 && took(2) > 198_000_000, "{} and {}", took(1), took(2));
    }

    #[test]
    fn a_lane_has_one_block_on_its_way_and_its_thread_takes_time() {
        let lanes = LaneSpec { block_ps: 5_000_000, block_spread: 0.0, record_bytes: 0, slot_bytes: 0, words_by_reference: true };
        let (network, mut members) = open(&ModelSpec { lanes: Some(lanes), ..spec() }, 2);
        network.begin_turn(Rank::new(0), 0);
        for count in [1, 2] {
            members[0].0.post(Rank::new(1), block(10_000)).unwrap();
            members[0].0.post(Rank::new(1), counter(count)).unwrap();
        }
        network.end_turn(Rank::new(0));
        let (first, second) = (until(&network, &members[1].1, 1), until(&network, &members[1].1, 2));
        // A block, the receiver's thread, word back, the sender's thread.
        assert!(second - first > 10_000_000 + 10_000_000 + 500_000, "{first} and {second}");
    }
}
