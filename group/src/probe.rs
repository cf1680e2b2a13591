//! What the links of a group carry, and whether its members wait for cores: measured when its first view is opened.
//!
//! All members send at once, each to its right neighbour, as they will when they relay. Who receives counts what comes
//! in, and says so, which bounds what is on its way.
//!
//! ```text
//!   me      piece by Span, then how many by Word --> right neighbour    until the time is over; the last Word says so
//!   me      how many came, by Word ----------------> left neighbour     at most some pieces ahead of this
//! ```
//!
//! A member that shares its core with others cannot tell a slow link from a busy core by the clock. The kernel can: it
//! counts how long a thread ran, and how long it was ready to run and had no core. Whoever waits for a link sleeps.
//!
//! ```text
//!   slept > ran + waited              the link took longer than the work: faster links would help, more cores would not
//!   ran + waited > slept, waited ~ 0  a core of its own is busy: nobody else wants it, so it is as good as a link
//!   ran + waited > slept, waited      cores are shared: n busy members on c cores run for c / n of the time each
//! ```

use std::time::{Duration, Instant};

use squall_rdmc::Limit;
use squall_sst::{Columns, LayoutBuilder, Table};
use squall_transport::exchange::{Exchange, ExchangeError};
use squall_transport::{Endpoint, Event, Place, Rank, TABLE, Write};

/// Bytes behind each table that pieces are sent from and land in. Nobody reads them, so a piece that lands late does no
/// harm.
pub(crate) const PIECE_BYTES: u64 = 64 << 10;
/// What queues and buffers on the way take in at any rate: it says nothing about the link, nor what the cores that fill
/// them do later.
const LEAD_PIECES: u64 = 6;
/// Pieces a member sends at the most, so that a fast fabric is not held up, and how long it sends.
const PIECES_MAX: u64 = 64;
const TIME_MAX: Duration = Duration::from_millis(50);
/// Pieces on their way.
const AHEAD_MAX: u64 = 16;
/// A neighbour that has not finished by then is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
const PARK_MAX: Duration = Duration::from_millis(10);
/// A member is busy if it runs or waits for a core for more than this part of the time: then work takes longer than
/// links.
const BUSY_SHARE: f64 = 0.5;
/// It shares its core if it waits for so large a part of the time that it is busy: c cores are shared by more than 4/3
/// c busy members. Two members on two cores wait for next to nothing, three for a third.
const SHARED_SHARE: f64 = 0.25;

/// What the members say of it in the exchange.
const GATHER: &str = "what the links carry";

/// In the last Word of a sender.
const DONE: u64 = 1 << 63;

/// The two columns: at my right neighbour, how many pieces I have sent, with [`DONE`] in the last; at my left one, how
/// many of its pieces came. Both grow, and are used in a group's first view only.
pub(crate) fn columns(layout: &mut LayoutBuilder) -> Columns {
    layout.words("group.probe", 2)
}

/// What one member found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Found {
    /// Bytes a second that came in.
    bytes_per_second: u64,
    /// Part of the time in which it ran, in thousandths.
    running_permille: u64,
    /// Part of the time in which it was ready to run and had no core, in thousandths.
    waiting_permille: u64,
}

/// Measures, and agrees with all others on what large messages are limited by. A collective. Links that broke meanwhile
/// are added to `down`.
///
/// # Errors
/// As the gather.
pub(crate) fn measure<E: Endpoint>(
    endpoint: &mut E,
    exchange: &mut dyn Exchange,
    table: &Table,
    columns: Columns,
    piece_at: u64,
    down: &mut Vec<Rank>,
) -> Result<Limit, ExchangeError> {
    let found = Probe::new(table, columns, piece_at).run(endpoint, down);
    let parts = exchange.all_gather(GATHER, &found.encode())?;
    let all: Vec<Found> = parts.iter().filter_map(|part| Found::decode(part)).collect();
    Ok(judge(&all))
}

/// Cores, if half of the members lack them; else links as fast as the median.
fn judge(all: &[Found]) -> Limit {
    let mut rates: Vec<u64> = all.iter().map(|found| found.bytes_per_second).collect();
    rates.sort_unstable();
    let lacking = all.iter().filter(|found| found.lacks_cores()).count();
    match rates.get(rates.len() / 2) {
        None | Some(0) => Limit::Cores,
        Some(_) if 2 * lacking >= all.len() => Limit::Cores,
        Some(&rate) => Limit::of_links(rate),
    }
}

impl Found {
    fn lacks_cores(&self) -> bool {
        let (waiting, busy) = (self.waiting_permille as f64, self.running_permille.saturating_add(self.waiting_permille) as f64);
        busy > 1000.0 * BUSY_SHARE && waiting >= SHARED_SHARE * busy
    }

    fn encode(self) -> Vec<u8> {
        [self.bytes_per_second, self.running_permille, self.waiting_permille].into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// Those of a member that is absent are empty.
    fn decode(part: &[u8]) -> Option<Found> {
        let (words, _) = part.as_chunks::<8>();
        let [bytes_per_second, running_permille, waiting_permille] = words.first_chunk::<3>()?.map(u64::from_le_bytes);
        Some(Found { bytes_per_second, running_permille, waiting_permille })
    }
}

/// One member's part.
struct Probe<'a> {
    table: &'a Table,
    columns: Columns,
    piece: Place,
    right: Rank,
    left: Rank,
    began: Instant,
    sent: u64,
    said_done: bool,
    came: u64,
    told: u64,
    done: bool,
    /// When the lead had come, and when the last piece had.
    lead: Option<(u64, Instant)>,
    last: Instant,
    /// What this thread had of its core before the pieces that tell: from the beginning, then from the lead on.
    before: Option<(CoreTime, Instant)>,
}

impl<'a> Probe<'a> {
    fn new(table: &'a Table, columns: Columns, piece_at: u64) -> Probe<'a> {
        let (me, members) = (table.me().index(), table.members());
        let began = Instant::now();
        Probe {
            table,
            columns,
            piece: Place::new(TABLE, piece_at),
            right: Rank::new((me + 1) % members),
            left: Rank::new((me + members - 1) % members),
            began,
            sent: 0,
            said_done: false,
            came: 0,
            told: 0,
            done: false,
            lead: None,
            last: began,
            before: CoreTime::of_this_thread().zip(Some(began)),
        }
    }

    fn run<E: Endpoint>(mut self, endpoint: &mut E, down: &mut Vec<Rank>) -> Found {
        while self.began.elapsed() < PATIENCE {
            while let Some(Event::Down(peer)) = endpoint.poll() {
                down.push(peer);
            }
            let moved = self.take() | self.send(endpoint) | self.tell(endpoint);
            endpoint.flush();
            self.done |= down.contains(&self.left);
            let sent_all = self.said_done && !endpoint.backlog() || down.contains(&self.right);
            if self.done && sent_all {
                break;
            }
            if !moved {
                endpoint.arm();
                // What landed before `arm` wakes nobody: look once more.
                if self.take() { endpoint.disarm() } else { endpoint.park(PARK_MAX) }
            }
        }
        let [running_permille, waiting_permille] = self.permille();
        Found { bytes_per_second: self.rate(), running_permille, waiting_permille }
    }

    /// Parts of the time in which it ran, and waited for a core. Where the kernel does not count them, members wait if
    /// this host has fewer cores than the group has members.
    fn permille(&self) -> [u64; 2] {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        match self.before.zip(CoreTime::of_this_thread()) {
            Some(((before, since), after)) => {
                let part = |ns: u64| (1000.0 * ns as f64 / since.elapsed().as_nanos().max(1) as f64) as u64;
                [part(after.ran_ns.saturating_sub(before.ran_ns)), part(after.waited_ns.saturating_sub(before.waited_ns))]
            }
            None if self.table.members() > cores() => [0, 1000],
            None => [0, 0],
        }
    }

    /// Looks what came; whether anything did.
    fn take(&mut self) -> bool {
        let word = self.table.get(self.columns.get(0), self.left);
        // It is a peer's word: more than all pieces it cannot have sent.
        let came = (word & !DONE).min(PIECES_MAX);
        let news = came > self.came || (word & DONE != 0) != self.done;
        self.done |= word & DONE != 0;
        if came > self.came {
            (self.came, self.last) = (came, Instant::now());
            if came >= LEAD_PIECES && self.lead.is_none() {
                self.lead = Some((came, self.last));
                self.before = CoreTime::of_this_thread().zip(Some(self.last));
            }
        }
        news
    }

    /// Sends pieces as long as there is time and the neighbour keeps up, and then says that it was all.
    fn send<E: Endpoint>(&mut self, endpoint: &mut E) -> bool {
        let mut moved = false;
        while !self.said_done {
            let over = self.sent == PIECES_MAX || self.began.elapsed() >= TIME_MAX;
            let taken = self.table.get(self.columns.get(1), self.right).min(PIECES_MAX);
            if !over && (self.sent >= taken + AHEAD_MAX || endpoint.backlog()) {
                break;
            }
            let piece = Write::Span { from: self.piece, to: self.piece, len: PIECE_BYTES };
            if !over && endpoint.post(self.right, piece).is_err() {
                break;
            }
            let sent = if over { self.sent | DONE } else { self.sent + 1 };
            let at = self.table.place(self.columns.get(0));
            if endpoint.post(self.right, Write::Word { at, value: sent }).is_err() {
                break;
            }
            endpoint.flush();
            (self.sent, self.said_done, moved) = (sent & !DONE, over, true);
        }
        moved
    }

    /// Tells the left neighbour what came.
    fn tell<E: Endpoint>(&mut self, endpoint: &mut E) -> bool {
        let at = self.table.place(self.columns.get(1));
        let news = self.told < self.came && endpoint.post(self.left, Write::Word { at, value: self.came }).is_ok();
        if news {
            self.told = self.came;
        }
        news
    }

    /// Bytes a second behind the lead; of everything where no more came.
    fn rate(&self) -> u64 {
        let (from, since) = self.lead.filter(|lead| lead.0 < self.came).unwrap_or((0, self.began));
        let bytes = (self.came - from) * PIECE_BYTES;
        (bytes as f64 / self.last.duration_since(since).as_secs_f64().max(1e-9)) as u64
    }
}

/// How long a thread has run, and been ready to run without a core.
#[derive(Clone, Copy, Debug)]
struct CoreTime {
    ran_ns: u64,
    waited_ns: u64,
}

impl CoreTime {
    /// If the kernel says so.
    fn of_this_thread() -> Option<CoreTime> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let mut times = text.split_ascii_whitespace().map_while(|time| time.parse().ok());
        Some(CoreTime { ran_ns: times.next()?, waited_ns: times.next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_transport::exchange::LocalExchange;
    use squall_transport::tcp::TcpFabric;
    use squall_transport::{Fabric, RegionOptions};

    const fn found(bytes_per_second: u64, running_permille: u64, waiting_permille: u64) -> Found {
        Found { bytes_per_second, running_permille, waiting_permille }
    }

    #[test]
    fn members_that_wait_for_cores_are_limited_by_cores_and_others_by_links() {
        assert_eq!(judge(&[found(25_000_000, 50, 20), found(26_000_000, 90, 900), found(24_000_000, 50, 10)]), Limit::of_links(25_000_000));
        assert_eq!(judge(&[found(25_000_000, 100, 600), found(900_000_000, 300, 500), found(24_000_000, 50, 10)]), Limit::Cores);
        assert_eq!(judge(&[found(0, 0, 0), found(0, 0, 0)]), Limit::Cores, "nothing came");
        assert_eq!(judge(&[]), Limit::Cores);
    }

    #[test]
    fn three_busy_members_share_two_cores_and_one_on_its_own_core_has_it() {
        let all = |running, waiting| judge(&[found(1_000_000_000, running, waiting); 3]);
        assert_eq!(all(666, 333), Limit::Cores, "each of three has a core for two thirds of the time");
        assert_eq!(all(1000, 0), Limit::of_links(1_000_000_000), "busy on its own core");
        assert_eq!(all(900, 100), Limit::of_links(1_000_000_000), "somebody else looks in now and then");
        assert_eq!(all(100, 300), Limit::of_links(1_000_000_000), "it sleeps for longer than it is held up");
    }

    #[test]
    fn what_is_said_is_understood_and_absent_members_say_nothing() {
        assert_eq!(Found::decode(&found(7, 8, 9).encode()), Some(found(7, 8, 9)));
        assert_eq!(Found::decode(&[]), None);
    }

    #[test]
    fn all_members_find_the_same() {
        let member = |mut exchange: LocalExchange| {
            let (layout, columns) = LayoutBuilder::compose(3, columns);
            let options = RegionOptions::default();
            let fabric = TcpFabric::default();
            let table_region = fabric.region((layout.bytes() + PIECE_BYTES) as usize, &options).unwrap();
            let mut endpoint = fabric.open(&mut exchange, std::slice::from_ref(&table_region)).unwrap();
            let table = Table::new(table_region, &layout, exchange.rank());
            let mut down = Vec::new();
            let limit = measure(&mut endpoint, &mut exchange, &table, columns, layout.bytes(), &mut down).unwrap();
            // Nobody leaves before all have looked.
            exchange.all_gather("end", &[]).unwrap();
            assert_eq!(down, []);
            assert!(table.get(columns.get(0), Rank::new((table.me().index() + 2) % 3)) & !DONE >= 1, "pieces came");
            limit
        };
        let limits: Vec<Limit> = std::thread::scope(|scope| {
            let threads: Vec<_> = LocalExchange::mesh(3).into_iter().map(|exchange| scope.spawn(|| member(exchange))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(limits.iter().all(|limit| *limit == limits[0]), "{limits:?}");
    }
}
