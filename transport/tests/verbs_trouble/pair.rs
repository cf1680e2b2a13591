//! Two members in one hand.

use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

use squall_transport::exchange::LocalExchange;
use squall_transport::verbs::{VerbsEndpoint, VerbsFabric, VerbsOptions};
use squall_transport::{Endpoint, Event, Fabric, OpenError, Place, Rank, Region, RegionOptions, TABLE, Write};

use crate::guest::PATIENCE;

/// Bytes of a member's table.
pub(crate) const TABLE_BYTES: usize = 1 << 20;

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) endpoint: VerbsEndpoint,
    pub(crate) table: Region,
}

/// Two members that are linked.
#[derive(Debug)]
pub(crate) struct Pair(pub(crate) [Member; 2]);

/// Opens two members at once, each with the fabric of its place, and tables of `bytes` bytes.
pub(crate) fn open(fabrics: [&VerbsFabric; 2], bytes: usize) -> [Result<Member, OpenError>; 2] {
    let open = |(fabric, mut exchange): (&VerbsFabric, LocalExchange)| {
        let table = fabric.region(bytes, &RegionOptions::default())?;
        let endpoint = fabric.open(&mut exchange, std::slice::from_ref(&table))?;
        Ok(Member { endpoint, table })
    };
    std::thread::scope(|scope| {
        let members = fabrics.into_iter().zip(LocalExchange::mesh(2));
        let threads: Vec<_> = members.map(|member| scope.spawn(move || open(member))).collect();
        let opened: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        opened.try_into().expect("two members")
    })
}

/// Why the first of two members, whose options these are, cannot open.
pub(crate) fn refusal(first: VerbsOptions, second: VerbsOptions) -> String {
    let fabrics = [first, second].map(VerbsFabric::new);
    let [first, _] = open([&fabrics[0], &fabrics[1]], TABLE_BYTES);
    first.expect_err("it is refused").to_string()
}

impl Pair {
    pub(crate) fn open(fabrics: [&VerbsFabric; 2]) -> Pair {
        Pair(open(fabrics, TABLE_BYTES).map(|member| member.expect("it opens")))
    }

    /// Both send each other bytes and a word behind them, which arrive.
    pub(crate) fn talk(&mut self, value: u64) {
        const BYTES: u64 = 100_000;
        for (me, member) in self.0.iter_mut().enumerate() {
            let (source, target) = (300_000, 600_000);
            member.table.word(source + BYTES - 8).store(value, std::sync::atomic::Ordering::Relaxed);
            let span = Write::Span { from: Place::new(TABLE, source), to: Place::new(TABLE, target), len: BYTES };
            for write in [span, Write::Word { at: Place::new(TABLE, 0), value }] {
                member.endpoint.post(Rank::new(1 - me), write).expect("room");
            }
            member.endpoint.flush();
        }
        self.until("words in both directions", |pair, events| {
            assert_eq!(events, [None, None], "{:?}", pair.0.each_ref().map(|member| member.endpoint.failure(Rank(0))));
            pair.0.iter().all(|member| member.table.word(0).load(Acquire) == value)
        });
        assert!(self.0.iter().all(|member| member.table.word(600_000 + BYTES - 8).load(Acquire) == value));
    }

    /// Both sleep, wake and look until `reached`, which hears what each has to tell.
    pub(crate) fn until(&mut self, what: &str, mut reached: impl FnMut(&Pair, [Option<Event>; 2]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let events = self.0.each_mut().map(|member| {
                member.endpoint.arm();
                member.endpoint.poll()
            });
            if reached(self, events) {
                self.0.iter_mut().for_each(|member| member.endpoint.disarm());
                return;
            }
            assert!(Instant::now() < deadline, "never reached: {what}");
            self.0.iter_mut().for_each(|member| member.endpoint.park(Duration::from_millis(1)));
        }
    }

    /// Waits until both found the other down.
    pub(crate) fn until_both_down(&mut self) {
        let mut down = [false; 2];
        self.until("both are down", |_, events| {
            for (index, event) in events.into_iter().enumerate() {
                if let Some(Event::Down(peer)) = event {
                    assert_eq!(peer, Rank::new(1 - index));
                    down[index] = true;
                }
            }
            down == [true; 2]
        });
    }
}
