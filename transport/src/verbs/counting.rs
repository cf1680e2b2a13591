//! Counted publication over a queue pair whose writes land in any order: see [`counted`](crate::counted).
//!
//! ```text
//!   Span      its bytes, with an immediate: its number
//!   Word      a record of 32 bytes into a slot of its sender's at the receiver, with an immediate: its number
//!   returned  nothing, with an immediate: how many Spans and Words were counted off in all
//! ```
//!
//! An immediate is heard once what it came with is in. Each takes a receive, which is posted anew before it is
//! returned; a sender has no more under way than it was returned, so receives never run out. What is returned is told
//! by one request at a time, so that no later one can be overtaken.

use super::card::RemoteMemory;
use super::chain::{Chain, Source};
use super::memory::MemoryRegion;
use crate::atomic::Ordering;
use crate::counted::{Arrivals, CountedWord, Departures};
use crate::rank::Rank;
use crate::region::Region;
use crate::write::{Place, RegionId};

/// Spans and Words to one peer that it has not counted off, at most.
pub(super) const WINDOW: u64 = 64;
/// Receives of each queue pair for them, and for what is returned: no more of that is under way than parts of a window.
pub(super) const RECEIVES: u32 = WINDOW as u32 + 2 * PARTS as u32;
/// Bytes of a Word's record.
pub(super) const RECORD_BYTES: u32 = 32;
/// Bytes that one member may write records in at another.
pub(super) const RECORDS_BYTES: u64 = WINDOW * RECORD_BYTES as u64;

/// A window is returned in as many parts.
const PARTS: u64 = 4;
/// Immediates: what it is, then the lower bits of its number.
const KIND_MASK: u32 = 3 << 30;
const SPAN: u32 = 1 << 30;
const WORD: u32 = 2 << 30;
const RETURNED: u32 = 3 << 30;

/// It said what no member says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonsense;

/// What one link has counted.
#[derive(Debug)]
pub(super) struct Counting {
    departures: Departures,
    arrivals: Arrivals,
    /// Records of Words on their way, by number: read when the doorbell rings.
    outgoing: Box<[[u64; 4]]>,
    /// Where they land at the peer.
    records: RemoteMemory,
    /// Where the peer's land here.
    control: Region,
    records_at: u64,
    /// Posted to the peer, and of that counted off there, in all.
    posted: u64,
    returned: u64,
    /// Counted off here, and of that told to the peer.
    off: u64,
    told: u64,
}

impl Counting {
    /// Of a link with `peer`; `records` is where my records land there.
    pub(super) fn new(peer: Rank, records: RemoteMemory, control: &MemoryRegion, first_at: u64) -> Counting {
        Counting {
            departures: Departures::default(),
            arrivals: Arrivals::new(WINDOW as usize),
            outgoing: vec![[0; 4]; WINDOW as usize].into(),
            records,
            control: control.region().clone(),
            records_at: first_at + RECORDS_BYTES * peer.index() as u64,
            posted: 0,
            returned: 0,
            off: 0,
            told: 0,
        }
    }

    /// Spans and Words that may be posted now.
    pub(super) fn room(&self) -> u64 {
        WINDOW - (self.posted - self.returned)
    }

    /// Queues a Word; the caller asked for room.
    pub(super) fn push_word(&mut self, chain: &mut Chain, at: Place, value: u64) {
        self.posted += 1;
        let CountedWord { number, behind, .. } = self.departures.word(at, value);
        let record = &mut self.outgoing[(number % WINDOW) as usize];
        *record = [u64::from(at.region.0), at.offset, value, behind];
        let (address, to) = (record.as_ptr() as u64, self.records.address + number % WINDOW * u64::from(RECORD_BYTES));
        chain.push(Source::Inline { address, bytes: RECORD_BYTES }, to, self.records.key);
        chain.with_immediate(WORD | low(number));
    }

    /// Counts the Span that was queued last.
    pub(super) fn mark_span(&mut self, chain: &mut Chain) {
        self.posted += 1;
        chain.with_immediate(SPAN | low(self.departures.span()));
    }

    /// Takes in what came with this immediate; whether it is one of these.
    pub(super) fn hear(&mut self, immediate: u32) -> Result<bool, Nonsense> {
        match immediate & KIND_MASK {
            SPAN => {
                let number = widen(immediate, self.arrivals.spans());
                self.off += self.arrivals.span(number).map_err(|_| Nonsense)?;
            }
            WORD => {
                let number = widen(immediate, self.arrivals.words());
                let record = self.records_at + number % WINDOW * u64::from(RECORD_BYTES);
                // Relaxed: the completion came after the record.
                let [region, offset, value, behind] = [0, 8, 16, 24].map(|at| self.control.link_word(record + at).load(Ordering::Relaxed));
                let at = Place::new(RegionId(u16::try_from(region).map_err(|_| Nonsense)?), offset);
                self.arrivals.word(CountedWord { number, behind, at, value }).map_err(|_| Nonsense)?;
            }
            RETURNED => {
                let returned = widen(immediate, self.returned);
                self.returned = if returned > self.posted { return Err(Nonsense) } else { returned };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The next Word that may be set.
    pub(super) fn next(&mut self) -> Option<CountedWord> {
        let word = self.arrivals.next();
        self.off += u64::from(word.is_some());
        word
    }

    /// What the peer is to be told next, if it is worth a request.
    pub(super) fn to_return(&self) -> Option<u32> {
        (self.off - self.told >= WINDOW / PARTS).then(|| RETURNED | low(self.off))
    }

    /// It was posted.
    pub(super) fn has_returned(&mut self) {
        self.told = self.off;
    }
}

/// The part of a number that an immediate has room for.
fn low(number: u64) -> u32 {
    number as u32 & !KIND_MASK
}

/// The number from `from` on whose lower part came.
fn widen(immediate: u32, from: u64) -> u64 {
    from + u64::from(immediate.wrapping_sub(from as u32) & !KIND_MASK)
}

const _: () = assert!(WINDOW.is_power_of_two() && WINDOW.is_multiple_of(PARTS));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_known_by_their_lower_parts() {
        for from in [0, 1, (1 << 30) - 5, 1 << 30, (1 << 32) - 1, (7 << 40) + 12] {
            for ahead in [0, 1, WINDOW - 1] {
                assert_eq!(widen(SPAN | low(from + ahead), from), from + ahead);
            }
        }
    }
}
