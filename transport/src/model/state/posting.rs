//! What members post, and what it is on the line.

use super::State;
use crate::endpoint::QueueFull;
use crate::write::{POOL, Write};

impl State {
    pub(in crate::model) fn post(&mut self, from: usize, to: usize, write: Write) -> Result<(), QueueFull> {
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
        if self.spec.lanes.is_some() && !waits {
            self.ring(from, link, 1);
        }
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
        if self.links[link as usize].untold == 0 && self.spec.lanes.is_none() {
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
    pub(super) fn is_fetched(&self, write: &Write) -> bool {
        match write {
            Write::Span { len, .. } => *len > self.spec.nic.inline_bytes,
            Write::Word { .. } => self.spec.lanes.as_ref().is_some_and(|lanes| lanes.words_by_reference),
        }
    }
}
