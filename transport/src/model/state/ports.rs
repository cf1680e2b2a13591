//! Bytes through the ports: out in bursts, link by link, and in at the receiver.

use super::{State, span_len};
use crate::atomic::Ordering;
use crate::model::due::What;
use crate::model::link::Flying;
use crate::model::spec::RecordsSpec;
use crate::region::{CopyMethod, Region, carry};
use crate::write::{POOL, TABLE, Write};

impl State {
    pub(super) fn told(&mut self, index: u32, bytes: u64) {
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
    pub(super) fn egress(&mut self, from: usize) {
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

    pub(super) fn land(&mut self, index: u32) {
        if self.spec.lanes.as_ref().is_some_and(|lanes| lanes.mover.is_some()) {
            return self.move_in(index);
        }
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
    pub(super) fn is_in(&mut self, index: u32, flying: &Flying) -> bool {
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

    pub(super) fn apply(&self, index: u32, write: Write) {
        let (from, to) = self.ends(index);
        match write {
            // Hollow: the time is all there is of it.
            Write::Span { to: place, .. } if place.region == POOL && self.spec.hollow_pools => {}
            Write::Span { from: source, to: place, len } => {
                let (mine, theirs) = (&self.nodes[from].regions, &self.nodes[to].regions);
                let (mine, theirs) = (&mine[usize::from(source.region.0)], &theirs[usize::from(place.region.0)]);
                match self.spec.records {
                    Some(records) if place.region == TABLE => carry_records(records, mine, source.offset, theirs, place.offset, len),
                    _ => carry(mine, source.offset, theirs, place.offset, len, CopyMethod::Plain),
                }
            }
            // Release: pairs with the acquire of the reader of the word.
            Write::Word { at, value } => {
                self.nodes[to].regions[usize::from(at.region.0)].link_word(at.offset).store(value, Ordering::Release);
            }
        }
    }

    pub(super) fn arrived(&mut self, index: u32, bytes: u64) {
        let (_, to) = self.ends(index);
        let link = &mut self.links[index as usize];
        link.arrived += bytes;
        if !std::mem::replace(&mut link.is_ready, true) {
            self.nodes[to].ready.push(index);
        }
        self.stir(to);
    }
}

/// Moves of each record what is read of it.
fn carry_records(records: RecordsSpec, source: &Region, from: u64, target: &Region, to: u64, len: u64) {
    let mut at = 0;
    while at < len {
        let left = len - at;
        // Relaxed: the Word behind the Span publishes it.
        let word = source.link_word(from + at).load(Ordering::Relaxed);
        let parts = (records.moved)(word).filter(|&(moved, bytes)| moved <= bytes && (1..=left).contains(&bytes));
        let (moved, bytes) = parts.unwrap_or((left, left));
        carry(source, from + at, target, to + at, moved, CopyMethod::Plain);
        at += bytes;
    }
}
