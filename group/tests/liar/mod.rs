//! A fabric whose member lies: its own code is honest, and what it posts is changed on the way.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use squall_transport::exchange::{Exchange, ExchangeError, LocalExchange};
use squall_transport::region::RegionError;
use squall_transport::{
    Endpoint, Event, Fabric, OpenError, POOL, Place, QueueFull, Rank, Region, RegionId, RegionOptions, TABLE, Waker, Write,
};

/// Numbers from a seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn within(&mut self, range: &Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// A word that is nearly right, or not at all.
    fn odd(&mut self, right: u64) -> u64 {
        match self.below(11) {
            0 => 0,
            1 => u64::MAX,
            2 => u64::MAX - 7,
            3 => right ^ 1 << self.below(64),
            4 => right.wrapping_add(8 * self.below(1000)),
            5 => right.wrapping_sub(8 * self.below(100)),
            6 => right.wrapping_add(1),
            7 => right ^ self.below(1 << 28),
            // What looks like the header of a record.
            8 => self.below(100) << 8 | self.below(6),
            9 => self.next() << 8 | self.below(6),
            _ => self.next(),
        }
    }
}

/// What a liar does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Its words have other values.
    Words,
    /// Any word of its row has any value.
    Row,
    /// Words and bytes of its ring change before and after they are published.
    Ring,
    /// Any word and any byte of the table and of the pool, those of others among them: who is to blame then cannot be
    /// known.
    Anywhere,
}

impl Habit {
    pub(crate) const ALL: [Habit; 4] = [Habit::Words, Habit::Row, Habit::Ring, Habit::Anywhere];
}

/// When and to whom it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lies {
    pub(crate) habit: Habit,
    /// To one member alone, or to all.
    pub(crate) to: Option<Rank>,
    /// After so many honest posts.
    pub(crate) after: u64,
    /// One post of so many.
    pub(crate) every: u64,
    pub(crate) seed: u64,
}

/// An exchange, and a fabric on it that lies if it is told to.
pub(crate) fn way_in<F: Fabric>(inner: F, exchange: LocalExchange, lies: Option<Lies>) -> (LiarFabric<F>, Listener) {
    let heard = Rc::new(RefCell::new(String::new()));
    (LiarFabric { inner, lies, heard: Rc::clone(&heard) }, Listener { inner: exchange, heard })
}

/// A fabric whose regions are larger than what is asked for.
pub(crate) struct Generous<F> {
    pub(crate) inner: F,
    pub(crate) more_bytes: usize,
}

impl<F: Fabric> Fabric for Generous<F> {
    type Endpoint = F::Endpoint;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn has_links(&self) -> bool {
        self.inner.has_links()
    }

    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        self.inner.region(bytes + self.more_bytes, options)
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<Self::Endpoint, OpenError> {
        self.inner.open(exchange, regions)
    }
}

/// An exchange that notes how the table is laid out.
pub(crate) struct Listener {
    inner: LocalExchange,
    heard: Rc<RefCell<String>>,
}

impl Exchange for Listener {
    fn rank(&self) -> Rank {
        self.inner.rank()
    }

    fn members(&self) -> usize {
        self.inner.members()
    }

    fn token(&self) -> &[u8; 32] {
        self.inner.token()
    }

    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        self.heard.borrow_mut().push_str(&String::from_utf8_lossy(mine));
        self.inner.all_gather(what, mine)
    }
}

pub(crate) struct LiarFabric<F> {
    inner: F,
    lies: Option<Lies>,
    heard: Rc<RefCell<String>>,
}

impl<F: Fabric> Fabric for LiarFabric<F> {
    type Endpoint = Liar<F::Endpoint>;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn severs(&self) -> bool {
        self.inner.severs()
    }

    fn has_links(&self) -> bool {
        self.inner.has_links()
    }

    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        self.inner.region(bytes, options)
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<Self::Endpoint, OpenError> {
        let inner = self.inner.open(exchange, regions)?;
        let tongue = self.lies.map(|lies| {
            let (row, ring) = own_places(&self.heard.borrow(), exchange.rank(), exchange.members());
            let bytes = [TABLE, POOL].map(|region| regions[usize::from(region.0)].bytes() as u64);
            Tongue { lies, random: Random::new(lies.seed), row, ring, bytes, posts: 0 }
        });
        Ok(Liar { inner, tongue })
    }
}

/// Where in the table the row of `me` lies, and its ring where all members send.
fn own_places(description: &str, me: Rank, members: usize) -> (Range<u64>, Range<u64>) {
    let number = |key: &str| {
        let start = description.find(key).unwrap_or_else(|| panic!("`{key}` is not in the layout: {description}")) + key.len();
        let digits: String = description[start..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or_else(|_| panic!("no number behind `{key}` in {description}"))
    };
    let (me, row) = (me.index() as u64, number(" row "));
    let ring = number(&format!("smc.ring rings {members} bytes "));
    let rings = (row * members as u64).next_multiple_of(4096) + ring.next_multiple_of(4096) * me;
    (row * me..row * (me + 1), rings..rings + ring)
}

/// One member's links, which lie if they have a tongue for it.
pub(crate) struct Liar<E> {
    inner: E,
    tongue: Option<Tongue>,
}

struct Tongue {
    lies: Lies,
    random: Random,
    row: Range<u64>,
    ring: Range<u64>,
    /// Of the table and the pool.
    bytes: [u64; 2],
    posts: u64,
}

impl Tongue {
    /// Whether this post is one to lie with.
    fn moves(&mut self, to: Rank) -> bool {
        self.posts += 1;
        self.posts > self.lies.after && self.lies.to.is_none_or(|victim| victim == to) && self.random.below(self.lies.every) == 0
    }

    /// What is posted before `write`, and what in its place.
    fn twist(&mut self, write: Write) -> (Option<Write>, Write) {
        let (row, ring) = (self.row.clone(), self.ring.clone());
        match (self.lies.habit, write) {
            (Habit::Words, Write::Word { at, value }) => (None, Write::Word { at, value: self.random.odd(value) }),
            (Habit::Words, Write::Span { .. }) => (None, write),
            (Habit::Row, _) => (Some(self.word(TABLE, &row)), write),
            (Habit::Ring, _) if self.random.below(4) == 0 => (Some(self.span(TABLE, &ring)), write),
            (Habit::Ring, _) => (Some(self.word(TABLE, &ring)), write),
            (Habit::Anywhere, _) => {
                let region = if self.random.below(4) == 0 { POOL } else { TABLE };
                // Rows are few bytes of a table, so half of what goes there is meant for them.
                let rows = if region == TABLE && self.random.below(2) == 0 { 4096 } else { u64::MAX };
                let all = 0..self.bytes[usize::from(region.0)].min(rows);
                let odd = if self.random.below(4) == 0 { self.span(region, &all) } else { self.word(region, &all) };
                (Some(odd), write)
            }
        }
    }

    fn word(&mut self, region: RegionId, range: &Range<u64>) -> Write {
        let at = Place::new(region, self.random.within(range) / 8 * 8);
        Write::Word { at, value: self.random.odd(64) }
    }

    /// Bytes of the liar's own table, wherever they fit.
    fn span(&mut self, region: RegionId, range: &Range<u64>) -> Write {
        let to = self.random.within(range);
        let len = 1 + self.random.below(100.min(range.end - to));
        let from = self.random.below(self.bytes[0] - len);
        Write::Span { from: Place::new(TABLE, from), to: Place::new(region, to), len }
    }
}

impl<E: Endpoint> Endpoint for Liar<E> {
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
        let twisted = self.tongue.as_mut().and_then(|tongue| tongue.moves(to).then(|| tongue.twist(write)));
        let (before, write) = twisted.unwrap_or((None, write));
        if let Some(before) = before {
            self.inner.post(to, before)?;
        }
        self.inner.post(to, write)
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn poll(&mut self) -> Option<Event> {
        self.inner.poll()
    }

    fn down_reason(&self, rank: Rank) -> Option<String> {
        self.inner.down_reason(rank)
    }

    fn is_gone(&self, rank: Rank) -> bool {
        self.inner.is_gone(rank)
    }

    fn backlog(&self) -> bool {
        self.inner.backlog()
    }

    fn backlog_to(&self, to: Rank) -> bool {
        self.inner.backlog_to(to)
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
