//! What members post, on its way.

use super::State;
use crate::endpoint::QueueFull;
use crate::region::Region;
use crate::sim::due::{Piece, What};
use crate::sim::words::read_words;
use crate::write::{Place, Write};

/// Writes on a slow link behind which no more of a stream is posted: some pieces and their heads, so that the link does
/// not run dry before its sender looks again.
const ALLOWED_WRITES: usize = 8;

impl State {
    pub(in crate::sim) fn post(&mut self, from: usize, to: usize, write: Write) -> Result<(), QueueFull> {
        let index = self.link(from, to);
        self.check(from, to, &write);
        let node = &mut self.nodes[from];
        let link = &mut self.links[index];
        if link.shut {
            return Ok(());
        }
        if !link.has_room(&mut self.random) {
            // A queue that is truly full tells when a write lands; one that only claims to be is worth another look at
            // any time.
            link.refused = true;
            node.news |= !link.is_full();
            return Err(QueueFull);
        }
        node.posts += 1;
        node.posted_bytes += bytes_of(&write);
        let source = match write {
            Write::Span { from, len, .. } if self.audit => {
                let mut bytes = vec![0; len as usize];
                read_words(&node.regions[usize::from(from.region.0)], from.offset, &mut bytes);
                Some(bytes.into())
            }
            _ => None,
        };
        link.posted.push_back((write, source));
        if self.random.chance(300) {
            self.launch(index);
        }
        Ok(())
    }

    /// Of a stream from one to the other, what is worth posting now. A member that is told to wait hears when a write
    /// lands, as one whose queue is full.
    pub(in crate::sim) fn allowance(&mut self, from: usize, to: usize) -> u64 {
        let index = self.link(from, to);
        let link = &mut self.links[index];
        let waits = link.spec.allowance_bytes != u64::MAX && link.posted.len() + link.in_flight > ALLOWED_WRITES;
        link.refused |= waits;
        if waits { 0 } else { link.spec.allowance_bytes }
    }

    /// Panics if the write lies outside the regions: a bug of the caller.
    fn check(&self, from: usize, to: usize, write: &Write) {
        let (mine, theirs) = (&self.nodes[from].regions, &self.nodes[to].regions);
        let inside = |regions: &[Region], place: Place, len: u64| {
            let region = regions.get(usize::from(place.region.0)).expect("the write names a region that was opened");
            region.check(place.offset, len);
        };
        match *write {
            Write::Span { from, to, len } => {
                assert!(len > 0, "a Span of no bytes");
                inside(mine, from, len);
                if !theirs.is_empty() {
                    inside(theirs, to, len);
                }
            }
            Write::Word { at, .. } => {
                assert!(at.offset.is_multiple_of(8), "a word at {} is not aligned", at.offset);
                if !theirs.is_empty() {
                    inside(theirs, at, 8);
                }
            }
        }
    }

    pub(in crate::sim) fn flush(&mut self, from: usize) {
        for to in self.peers(from) {
            let index = self.link(from, to);
            self.launch(index);
        }
    }

    /// Sends everything that was posted to one peer on its way, if that peer is there.
    pub(super) fn launch(&mut self, index: usize) {
        if self.links[index].posted.is_empty() || !self.nodes[self.ends(index).1].opened {
            return;
        }
        while let Some((write, posted)) = self.links[index].posted.pop_front() {
            let flight = self.links[index].launch(bytes_of(&write), self.now_ns, self.counted, &mut self.random);
            match write {
                Write::Word { at, value } if self.counted => {
                    let word = self.links[index].departures.word(at, value);
                    self.schedule(flight.landing_ns, What::Come { link: index, word });
                }
                Write::Word { at, value } => self.schedule(flight.landing_ns, What::Set { link: index, at, value }),
                Write::Span { from, to, len } => {
                    let Some(source) = self.nodes[self.ends(index).0].regions.get(usize::from(from.region.0)).cloned() else {
                        // Its process is dead: what was not on its way stays behind, and so does all behind that.
                        self.links[index].in_flight -= 1;
                        self.links[index].posted.clear();
                        return;
                    };
                    let whole = Piece { source, from: from.offset, to, len, posted: posted.map(|posted| (posted, 0)) };
                    self.launch_pieces(index, whole, flight.earliest_ns, flight.landing_ns);
                    let number = self.counted.then(|| self.links[index].departures.span());
                    self.schedule(flight.landing_ns, What::Landed { link: index, number });
                }
            }
        }
    }

    /// Cuts a Span at whole words of its target; each piece lands at its own moment and is read at any moment before.
    fn launch_pieces(&mut self, index: usize, whole: Piece, earliest_ns: u64, landing_ns: u64) {
        let pieces = self.random.between(1, self.links[index].spec.pieces_max);
        let mut done = 0;
        for left in (0..pieces).rev() {
            let rest = whole.len - done;
            let end = whole.to.offset + done + if left == 0 { rest } else { self.random.between(1, rest) };
            let end = if left == 0 { end } else { end.next_multiple_of(8).min(whole.to.offset + whole.len) };
            let to = Place { offset: whole.to.offset + done, ..whole.to };
            let posted = whole.posted.as_ref().map(|(posted, _)| (posted.clone(), done));
            let piece = Piece { source: whole.source.clone(), from: whole.from + done, to, len: end - to.offset, posted };
            done += piece.len;
            let at_ns = self.random.between(earliest_ns, landing_ns);
            if self.random.chance(500) {
                self.schedule(at_ns, What::Copy { link: index, piece });
            } else {
                // The counter behind this Span may be due at the very same moment: the landing takes its turn now, not
                // when it is read.
                let (read_ns, landing_count) = (self.random.between(self.now_ns, at_ns), self.next_count());
                self.schedule(read_ns, What::Read { link: index, piece, landing_ns: at_ns, landing_count });
            }
            if done == whole.len {
                break;
            }
        }
    }
}

fn bytes_of(write: &Write) -> u64 {
    match write {
        Write::Span { len, .. } => *len,
        Write::Word { .. } => 8,
    }
}
