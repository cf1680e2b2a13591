//! Threads beside the loop: one that deals with blocks, of which each lane has one on its way, and one that moves
//! writes.

use super::{State, span_len};
use crate::model::due::What;
use crate::model::lanes::{Block, Lane};
use crate::model::link::Pending;
use crate::write::{POOL, Write};

impl State {
    /// A block's Span waits for its counter, and both for their lane.
    pub(super) fn takes_a_lane(&mut self, from: usize, link: u32, write: Write) -> bool {
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

    /// Lanes that stand still and have something to send start, once this turn is over.
    pub(super) fn start_lanes(&mut self, node: usize) {
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
    pub(super) fn deal_with(&mut self, link: u32, lane: u64) {
        let (_, to) = self.ends(link);
        let at_ps = self.on_thread(to, self.now_ps);
        self.schedule(at_ps, What::Dealt { link, lane });
    }

    /// The receiver sees the block and says that it is ready for another; the sender's thread posts that once it has
    /// heard.
    pub(super) fn dealt(&mut self, link: u32, lane: u64) {
        let (from, to) = self.ends(link);
        if let Some(block) = self.nodes[from].lanes.get_mut(&lane).and_then(|lane| lane.flying.take()) {
            self.apply(link, block.counter);
            self.stir(to);
        }
        let heard_ps = self.now_ps + self.spec.switch.hop_ps + self.spec.nic.start_ps + self.spec.nic.land_ps;
        let at_ps = self.on_thread(from, heard_ps);
        self.schedule(at_ps, What::Next { node: from as u32, lane });
    }

    pub(super) fn next_block(&mut self, node: usize, lane: u64) {
        let Some(block) = self.nodes[node].lanes.get_mut(&lane).and_then(Lane::start) else { return };
        let link = &mut self.links[block.link as usize];
        let (span_bytes, counter_bytes) = (self.spec.nic.line_bytes(span_len(&block.span)), self.spec.nic.line_bytes(8));
        link.waiting.push_back(Pending { write: block.span, left: span_bytes, lane: Some(lane) });
        link.waiting.push_back(Pending { write: block.counter, left: counter_bytes, lane: Some(lane) });
        let bytes = span_bytes + counter_bytes;
        let at_ps = self.moved_ps(node, self.now_ps, 2, bytes) + self.spec.nic.start_ps;
        self.schedule(at_ps, What::Told { link: block.link, bytes });
    }

    /// When this host's mover has moved so many writes of so many bytes that it hears of at `from_ps`; at once without
    /// one.
    pub(super) fn moved_ps(&mut self, node: usize, from_ps: u64, writes: u64, bytes: u64) -> u64 {
        let Some(mover) = self.spec.lanes.as_ref().and_then(|lanes| lanes.mover) else { return from_ps };
        let takes_ps = writes * mover.write_ps + (bytes as f64 * mover.byte_ps) as u64;
        let node = &mut self.nodes[node];
        node.mover_free_ps = node.mover_free_ps.max(from_ps) + takes_ps;
        node.mover_free_ps
    }

    /// Writes have landed that the receiver's mover takes in, once it comes to them.
    pub(super) fn move_in(&mut self, index: u32) {
        let now_ps = self.now_ps;
        let (mut writes, mut bytes) = (0, 0);
        while self.links[index as usize].lands(now_ps) {
            let link = &mut self.links[index as usize];
            let Some(flying) = link.flying.pop_front() else { return };
            (writes, bytes) = (writes + 1, bytes + span_len(&flying.write));
            link.landed.push_back(flying);
        }
        if writes > 0 {
            let (_, to) = self.ends(index);
            let at_ps = self.moved_ps(to, now_ps, writes, bytes);
            self.schedule(at_ps, What::Moved { link: index, writes: writes as u32 });
        }
    }

    pub(super) fn moved(&mut self, index: u32, writes: u32) {
        let mut any = false;
        for _ in 0..writes {
            let Some(flying) = self.links[index as usize].landed.pop_front() else { return };
            any |= self.is_in(index, &flying);
        }
        if any {
            let (_, to) = self.ends(index);
            self.stir(to);
        }
    }
}
