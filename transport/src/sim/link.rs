//! One direction between two members: how fast it is, what waits in it, and when a write lands.

use std::collections::VecDeque;
use std::sync::Arc;

use super::random::Random;
use crate::counted::{Arrivals, Departures};
use crate::write::Write;

/// How one direction between two members behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// How fast bytes enter the link.
    pub bytes_per_s: u64,
    /// From the last byte in to the last byte out, at least.
    pub latency_ns: u64,
    /// Added to the latency, evenly spread from 0 to this.
    pub jitter_ns: u64,
    /// Cost of a write on top of its bytes.
    pub write_ns: u64,
    /// Writes that were posted and have not landed, at most.
    pub queue_max: usize,
    /// How often, of a thousand posts, the queue claims to be full although it is not.
    pub spurious_full_per_mille: u64,
    /// Bytes of a stream that are posted at once ([`Endpoint::allowance`](crate::Endpoint::allowance)), and none while
    /// some such pieces wait; `u64::MAX`: all.
    pub allowance_bytes: u64,
    /// Pieces that a Span is cut into, at most; they land in any order.
    pub pieces_max: u64,
    /// Whether posts land in posting order (rule T1). Only a test that wants to see a broken fabric turns this off.
    pub ordered: bool,
}

impl Default for LinkSpec {
    /// 100 Gbit/s, 1.5 us, deep queues, no malice beyond cutting Spans.
    fn default() -> LinkSpec {
        LinkSpec {
            bytes_per_s: 12_500_000_000,
            latency_ns: 1500,
            jitter_ns: 200,
            write_ns: 50,
            queue_max: 128,
            spurious_full_per_mille: 0,
            allowance_bytes: u64::MAX,
            pieces_max: 4,
            ordered: true,
        }
    }
}

/// Where writes are counted, they lie at least so far apart that many overtake others.
const COUNTED_JITTER_NS: u64 = 10_000;

impl LinkSpec {
    fn occupancy_ns(&self, bytes: u64) -> u64 {
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_s.max(1));
        self.write_ns + u64::try_from(ns).unwrap_or(u64::MAX / 4)
    }
}

/// When one write is on its way: its bytes land from `earliest_ns` on, the whole of it at `landing_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) earliest_ns: u64,
    pub(super) landing_ns: u64,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) spec: LinkSpec,
    /// Posted, waiting for the doorbell; Spans that are audited with the bytes as they were then.
    pub(super) posted: VecDeque<(Write, Option<Arc<[u8]>>)>,
    /// On their way.
    pub(super) in_flight: usize,
    /// A post was refused since a write last landed.
    pub(super) refused: bool,
    /// Nothing that would land later than this lands any more.
    pub(super) cut_at_ns: Option<u64>,
    /// Its sender was opened without its receiver: what is posted goes nowhere.
    pub(super) shut: bool,
    /// Its receiver was told that it is broken.
    pub(super) reported: bool,
    /// Its receiver has been handed that news: nothing of it is applied any more.
    pub(super) told: bool,
    /// Nothing leaves before this moment.
    pub(super) held_until_ns: u64,
    /// Numbers what is sent, where writes are counted.
    pub(super) departures: Departures,
    /// At the receiving endpoint, where writes are counted: made when the first one comes.
    pub(super) arrivals: Option<Arrivals>,
    free_at_ns: u64,
    last_landing_ns: u64,
}

impl Link {
    pub(super) fn new(spec: LinkSpec) -> Link {
        let posted = VecDeque::with_capacity(spec.queue_max);
        Link {
            spec,
            posted,
            in_flight: 0,
            refused: false,
            cut_at_ns: None,
            shut: false,
            reported: false,
            told: false,
            held_until_ns: 0,
            departures: Departures::default(),
            arrivals: None,
            free_at_ns: 0,
            last_landing_ns: 0,
        }
    }

    /// Whether one more write fits.
    pub(super) fn has_room(&self, random: &mut Random) -> bool {
        !self.is_full() && !random.chance(self.spec.spurious_full_per_mille)
    }

    pub(super) fn is_full(&self) -> bool {
        let window = self.arrivals.as_ref().map_or(usize::MAX, Arrivals::window);
        self.posted.len() + self.in_flight >= self.spec.queue_max.min(window)
    }

    /// The receiving endpoint's count of what has come.
    pub(super) fn arrivals(&mut self) -> &mut Arrivals {
        let window = self.spec.queue_max.max(self.in_flight).next_power_of_two();
        self.arrivals.get_or_insert_with(|| Arrivals::new(window))
    }

    /// Whether anything sent at `now` would be lost.
    pub(super) fn is_cut(&self, now: u64) -> bool {
        self.cut_at_ns.is_some_and(|at| at <= now)
    }

    /// When everything launched so far has landed.
    pub(super) fn last_landing_ns(&self) -> u64 {
        self.last_landing_ns
    }

    /// Puts a write of `bytes` bytes on its way at `now`. Where writes are counted it may overtake others, and be
    /// overtaken.
    pub(super) fn launch(&mut self, bytes: u64, now: u64, counted: bool, random: &mut Random) -> Flight {
        let start = self.free_at_ns.max(now).max(self.held_until_ns);
        self.free_at_ns = start + self.spec.occupancy_ns(bytes);
        let jitter = random.between(0, self.spec.jitter_ns.max(if counted { COUNTED_JITTER_NS } else { 0 }));
        let (mut earliest_ns, mut landing_ns) = (start + self.spec.latency_ns, self.free_at_ns + self.spec.latency_ns + jitter);
        if self.spec.ordered && !counted {
            earliest_ns = earliest_ns.max(self.last_landing_ns);
            landing_ns = landing_ns.max(earliest_ns);
        }
        self.last_landing_ns = self.last_landing_ns.max(landing_ns);
        self.in_flight += 1;
        Flight { earliest_ns, landing_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_queue_behind_each_other_and_never_overtake() {
        let spec = LinkSpec { bytes_per_s: 1_000_000_000, latency_ns: 1000, jitter_ns: 5000, write_ns: 10, ..LinkSpec::default() };
        let (mut link, mut random) = (Link::new(spec), Random::new(7));
        let first = link.launch(990, 0, false, &mut random);
        assert!((2000..=7000).contains(&first.landing_ns) && first.earliest_ns == 1000);
        let mut before = first;
        for _ in 0..100 {
            let flight = link.launch(8, 0, false, &mut random);
            assert!(flight.earliest_ns >= before.landing_ns && flight.landing_ns >= flight.earliest_ns);
            before = flight;
        }
        assert_eq!((link.in_flight, link.last_landing_ns()), (101, before.landing_ns));
    }

    #[test]
    fn what_is_held_leaves_later_and_in_its_order() {
        let (mut link, mut random) = (Link::new(LinkSpec::default()), Random::new(7));
        let before = link.launch(8, 0, false, &mut random);
        link.held_until_ns = 1_000_000;
        let held = link.launch(8, 10, false, &mut random);
        let after = link.launch(8, 1_000_001, false, &mut random);
        assert!(before.landing_ns < 10_000 && held.earliest_ns >= 1_000_000 && after.landing_ns >= held.landing_ns);
    }
}
