//! The fabric that simulated members get: the network as it is, or one that commits a [`Mutant`]'s fault on the way.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::slice;
use std::sync::atomic::Ordering;
use std::time::Duration;

use squall_transport::exchange::ExchangeError;
use squall_transport::region::RegionError;
use squall_transport::sim::{SimEndpoint, SimFabric, SoloExchange, land};
use squall_transport::{
    Endpoint, Event, Exchange, Fabric, OpenError, Place, QueueFull, Rank, Region, RegionId, RegionOptions, TABLE, Waker, Write, WriteOrder,
};

use crate::mutant::Mutant;

/// Writes that a fault keeps back, at most.
const KEPT_MAX: usize = 8;

/// What one member joins with: its exchange, and a fabric that overhears on it how the table is laid out.
pub(crate) fn way_in(fabric: SimFabric, rank: Rank, members: usize, senders: u64, mutant: Option<Mutant>) -> (SimulatedFabric, Listener) {
    let heard = Rc::new(RefCell::new(String::new()));
    let listener = Listener { solo: SoloExchange::new(rank, members), heard: Rc::clone(&heard) };
    (SimulatedFabric { inner: fabric, senders, mutant, heard }, listener)
}

/// An exchange that notes what is gathered: the group compares the layout of its table, and faults need to know which
/// word is which.
pub(crate) struct Listener {
    solo: SoloExchange,
    heard: Rc<RefCell<String>>,
}

impl Exchange for Listener {
    fn rank(&self) -> Rank {
        self.solo.rank()
    }

    fn members(&self) -> usize {
        self.solo.members()
    }

    fn token(&self) -> &[u8; 32] {
        self.solo.token()
    }

    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        self.heard.borrow_mut().push_str(&String::from_utf8_lossy(mine));
        self.solo.all_gather(what, mine)
    }
}

pub(crate) struct SimulatedFabric {
    inner: SimFabric,
    senders: u64,
    mutant: Option<Mutant>,
    heard: Rc<RefCell<String>>,
}

impl Fabric for SimulatedFabric {
    type Endpoint = SimulatedEndpoint;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn write_order(&self) -> WriteOrder {
        self.inner.write_order()
    }

    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        self.inner.region(bytes, options)
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<SimulatedEndpoint, OpenError> {
        let inner = self.inner.open(exchange, regions)?;
        let (me, members) = (inner.rank(), inner.members());
        let sabotage = self.mutant.map(|mutant| Sabotage {
            mutant,
            senders: self.senders,
            table: regions[0].clone(),
            words: Words::find(&self.heard.borrow(), me, members),
            kept: VecDeque::new(),
            held: vec![None; members],
            skipped: false,
        });
        Ok(SimulatedEndpoint { inner, sabotage })
    }
}

/// Where the words lie that a member writes at all others, and where the rings begin.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    head: Place,
    received_seq: Place,
    delivered_seq: Place,
    /// One word a sender.
    acknowledged: Range<u64>,
    /// One word a sender: large messages received.
    large_received: Range<u64>,
    /// One word a sender and slot: blocks sent.
    large_sent: Range<u64>,
    rings: u64,
}

impl Words {
    /// Finds them in the description of a table's layout.
    ///
    /// # Panics
    /// If a column is not there: it was renamed, and so must be here.
    fn find(description: &str, me: Rank, members: usize) -> Words {
        let number = |key: &str| {
            let start = description.find(key).unwrap_or_else(|| panic!("`{key}` is not in the layout: {description}")) + key.len();
            let digits: String = description[start..].chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().unwrap_or_else(|_| panic!("no number behind `{key}` in {description}"))
        };
        let row = number(" row ");
        let word = |name: &str| Place::new(TABLE, number(&format!("{name} at ")) + row * u64::from(me.0));
        let words = |name: &str| {
            let first = word(name).offset;
            let listed = &description[description.find(name).unwrap_or_default()..];
            let count = listed.split(" words ").nth(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
            let count =
                count.and_then(|digits| digits.parse::<u64>().ok()).unwrap_or_else(|| panic!("`{name}` has no length in {description}"));
            first..first + 8 * count
        };
        Words {
            head: word("smc.head"),
            received_seq: word("order.received_seq"),
            delivered_seq: word("order.delivered_seq"),
            acknowledged: words("order.acknowledged"),
            large_received: words("rdmc received"),
            large_sent: words("rdmc sent"),
            rings: (row * members as u64).next_multiple_of(4096),
        }
    }
}

/// One member's links, and the fault that is made on them.
#[derive(Debug)]
pub(crate) struct SimulatedEndpoint {
    inner: SimEndpoint,
    sabotage: Option<Sabotage>,
}

#[derive(Debug)]
struct Sabotage {
    mutant: Mutant,
    senders: u64,
    table: Region,
    words: Words,
    /// Taken from the group, not yet from the network.
    kept: VecDeque<(Rank, Write)>,
    /// The Span to each peer whose counter is to go first.
    held: Vec<Option<Write>>,
    skipped: bool,
}

impl Sabotage {
    fn post(&mut self, inner: &mut SimEndpoint, to: Rank, write: Write) -> Result<(), QueueFull> {
        self.drain(inner);
        if self.kept.len() > KEPT_MAX {
            return Err(QueueFull);
        }
        let write = self.twist(write);
        match (self.mutant, write) {
            (Mutant::CounterFirst, Write::Span { .. }) => {
                let before = self.held[to.index()].replace(write);
                self.kept.extend(before.map(|before| (to, before)));
            }
            _ => {
                self.kept.push_back((to, write));
                let amended = self.skip_a_null(write);
                self.kept.extend(amended.map(|word| (to, word)));
                self.kept.extend(self.held[to.index()].take().map(|span| (to, span)));
            }
        }
        self.drain(inner);
        Ok(())
    }

    /// The same write with the fault in it.
    fn twist(&mut self, write: Write) -> Write {
        let words = &self.words;
        let in_table = |at: Place, range: &Range<u64>| at.region == TABLE && range.contains(&at.offset);
        match (self.mutant, write) {
            (Mutant::CounterByReference, Write::Word { at, value }) if at == words.head || in_table(at, &words.large_sent) => {
                // Release: as any landing word; here it only has to be in memory before it is read.
                self.table.word(at.offset).store(value, Ordering::Release);
                Write::Span { from: at, to: at, len: 8 }
            }
            (Mutant::EarlyReuse, Write::Word { at, value }) if at == words.delivered_seq => Write::Word { at, value: value + self.senders },
            (Mutant::EarlyReuse, Write::Word { at, value }) if in_table(at, &words.acknowledged) => Write::Word { at, value: value + 1 },
            (Mutant::EarlyBufferReuse, Write::Word { at, value }) if in_table(at, &words.large_received) => {
                Write::Word { at, value: value + 1 }
            }
            (Mutant::EarlyDelivery, Write::Word { at, value }) if at == words.received_seq => Write::Word { at, value: value + 1 },
            _ => write,
        }
    }

    /// If `write` carries records, the first run of nulls among them, one shorter: written over what was sent, once.
    fn skip_a_null(&mut self, write: Write) -> Option<Write> {
        /// Codes of a record's header: see `record` in the crate `squall-smc`.
        const NULLS: u64 = 2;
        const PADDING: u64 = 4;
        let Write::Span { from, to, len } = write else { return None };
        if self.mutant != Mutant::SkippedNull || self.skipped || from.region != TABLE || from.offset < self.words.rings {
            return None;
        }
        let records = Region::allocate(len as usize, &RegionOptions::default()).expect("memory");
        let copy = Write::Span { from, to: Place::new(TABLE, 0), len };
        land(copy, slice::from_ref(&self.table), slice::from_ref(&records));
        let mut at = 0;
        while at < len {
            // Relaxed: a copy of this member's own bytes.
            let header = records.word(at).load(Ordering::Relaxed);
            let (kind, length) = (header & 0xFF, header >> 8);
            if kind == NULLS {
                let value = if length > 1 { (length - 1) << 8 | NULLS } else { PADDING };
                self.skipped = true;
                return Some(Write::Word { at: Place::new(to.region, to.offset + at), value });
            }
            at += squall_smc::record_bytes(length);
        }
        None
    }

    fn drain(&mut self, inner: &mut SimEndpoint) {
        while let Some(&(to, write)) = self.kept.front()
            && inner.post(to, write).is_ok()
        {
            self.kept.pop_front();
        }
    }
}

impl Endpoint for SimulatedEndpoint {
    fn rank(&self) -> Rank {
        self.inner.rank()
    }

    fn members(&self) -> usize {
        self.inner.members()
    }

    fn region_bytes(&self, rank: Rank, region: RegionId) -> Option<u64> {
        self.inner.region_bytes(rank, region)
    }

    fn post(&mut self, to: Rank, write: Write) -> Result<(), QueueFull> {
        match &mut self.sabotage {
            Some(sabotage) => sabotage.post(&mut self.inner, to, write),
            None => self.inner.post(to, write),
        }
    }

    fn flush(&mut self) {
        if let Some(sabotage) = &mut self.sabotage {
            sabotage.drain(&mut self.inner);
        }
        self.inner.flush();
    }

    fn poll(&mut self) -> Option<Event> {
        if let Some(sabotage) = &mut self.sabotage {
            sabotage.drain(&mut self.inner);
        }
        self.inner.poll()
    }

    fn backlog(&self) -> bool {
        self.sabotage.as_ref().is_some_and(|sabotage| !sabotage.kept.is_empty())
    }

    fn allowance(&self, to: Rank) -> u64 {
        self.inner.allowance(to)
    }

    fn arm(&mut self) {
        self.inner.arm();
    }

    fn disarm(&mut self) {
        self.inner.disarm();
    }

    fn park(&mut self, timeout: Duration) {
        self.inner.park(timeout);
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_a_description() {
        let text = "ordered table members 3 row 256; smc.head at 0 words 1; order.received_seq at 8 words 1; order.delivered_seq at 16 \
                    words 1; order.acknowledged at 24 words 2; rdmc sent at 40 words 6; rdmc received at 88 words 2";
        let words = Words::find(text, Rank(2), 3);
        assert_eq!((words.head.offset, words.delivered_seq.offset, words.rings), (512, 528, 4096));
        assert_eq!((words.acknowledged, words.large_sent, words.large_received), (536..552, 552..600, 600..616));
    }
}
