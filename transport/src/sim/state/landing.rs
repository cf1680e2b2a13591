//! What happens when its time has come: pieces are read, writes land, peers are told.

use std::cmp::Reverse;

use super::{Changed, State};
use crate::atomic::Ordering;
use crate::counted::{Arrivals, CountedWord};
use crate::region::{CopyMethod, Region, carry};
use crate::sim::due::{Due, Piece, What};
use crate::sim::words::write_words;
use crate::write::Place;

impl State {
    pub(super) fn happen(&mut self, what: What) {
        match what {
            What::Read { link, piece, landing_ns, landing_count } => {
                let bytes = self.read(link, &piece);
                let what = What::Store { link, to: piece.to, bytes };
                self.due.push(Reverse(Due { at_ns: landing_ns, count: landing_count, what }));
            }
            What::Store { link, to, bytes } => {
                if let Some(target) = self.target(link, to) {
                    write_words(&target, to.offset, &bytes);
                }
            }
            What::Copy { link, piece } => {
                if self.audit {
                    self.read(link, &piece);
                }
                if let Some(target) = self.target(link, piece.to) {
                    carry(&piece.source, piece.from, &target, piece.to.offset, piece.len, CopyMethod::Plain);
                }
            }
            What::Set { link, at, value } => {
                self.set(link, at, value);
                self.landed(link);
            }
            What::Come { link, word } => self.come(link, word),
            What::Landed { link, number: None } => self.landed(link),
            What::Landed { link, number: Some(number) } => self.span_landed(link, number),
            What::Report { from, to } => self.report(from, to),
        }
    }

    /// What this member has posted is read now, if it was not before: its memory is its own again.
    pub(super) fn read_all(&mut self, node: usize) {
        for Reverse(due) in std::mem::take(&mut self.due).into_vec() {
            let Due { at_ns, count, what } = due;
            let what = match what {
                What::Copy { link, piece } if self.ends(link).0 == node => {
                    What::Store { link, to: piece.to, bytes: self.read(link, &piece) }
                }
                What::Read { link, piece, landing_ns, landing_count } if self.ends(link).0 == node => {
                    let what = What::Store { link, to: piece.to, bytes: self.read(link, &piece) };
                    self.due.push(Reverse(Due { at_ns: landing_ns, count: landing_count, what }));
                    continue;
                }
                what => what,
            };
            self.due.push(Reverse(Due { at_ns, count, what }));
        }
    }

    fn read(&mut self, link: usize, piece: &Piece) -> Vec<u8> {
        let bytes = piece.read();
        // What nobody will see may change.
        if self.changed.is_none() && self.target(link, piece.to).is_some() && piece.has_changed(&bytes) {
            let (from, to) = self.ends(link);
            let (from, to) = (self.rank(from), self.rank(to));
            self.changed = Some(Changed { from, to, at: piece.to, len: piece.len, at_ns: self.now_ns });
        }
        bytes
    }

    /// The receiver's region, unless one of the two has gone or the link is cut.
    fn target(&self, link: usize, to: Place) -> Option<Region> {
        let (_, receiver) = self.ends(link);
        if self.links[link].is_cut(self.now_ns) || (self.links[link].reported && !self.mapped) {
            return None;
        }
        self.nodes[receiver].regions.get(usize::from(to.region.0)).cloned()
    }

    fn set(&self, link: usize, at: Place, value: u64) {
        if let Some(target) = self.target(link, at) {
            // Release: pairs with the acquire of the reader of the word; all that landed before it is visible then.
            target.link_word(at.offset).store(value, Ordering::Release);
        }
    }

    /// A write has landed as a whole: the receiver has something to see, and the sender has room if it was refused
    /// before.
    fn landed(&mut self, link: usize) {
        self.free(link, 1);
    }

    /// A counted Span has landed as a whole.
    fn span_landed(&mut self, link: usize, number: u64) {
        if !self.receives(link) {
            return self.landed(link);
        }
        let whole = self.links[link].arrivals().span(number).expect("a link sends each number once, within its window");
        self.free(link, whole as usize);
    }

    /// A counted word has come: the receiving endpoint applies it when it polls.
    fn come(&mut self, link: usize, word: CountedWord) {
        if self.hasty {
            self.set(link, word.at, word.value);
        }
        if self.hasty || !self.receives(link) {
            return self.landed(link);
        }
        self.links[link].arrivals().word(word).expect("a link sends each number once, within its window");
        self.free(link, 0);
    }

    /// Whether what comes by this link comes to an endpoint.
    fn receives(&self, link: usize) -> bool {
        let (_, receiver) = self.ends(link);
        !self.links[link].is_cut(self.now_ns) && !self.nodes[receiver].regions.is_empty()
    }

    /// The receiving endpoint applies what is complete of all that was counted.
    pub(in crate::sim) fn apply(&mut self, node: usize) {
        if !self.counted {
            return;
        }
        for peer in self.peers(node) {
            let link = self.link(peer, node);
            while !self.links[link].told
                && let Some(word) = self.links[link].arrivals.as_mut().and_then(Arrivals::next)
            {
                let target = self.nodes[node].regions.get(usize::from(word.at.region.0));
                // Release: as in `set`.
                let target = target.expect("a region that the sender knew");
                target.link_word(word.at.offset).store(word.value, Ordering::Release);
                self.free(link, 1);
            }
        }
    }

    /// Of the sender's queue so much is free again; the receiver has something to see.
    fn free(&mut self, link: usize, writes: usize) {
        let (sender, receiver) = self.ends(link);
        // What was lost with a broken link was given back before.
        self.links[link].in_flight = self.links[link].in_flight.saturating_sub(writes);
        self.nodes[receiver].news = true;
        self.nodes[sender].news |= writes > 0 && std::mem::take(&mut self.links[link].refused);
    }
}
