//! What this machine can do at most: the bounds of everything that a run measures.

use serde::{Deserialize, Serialize};
use squall_report::bounds::{Bound, CopyCapacity, Warmth};

use crate::ask::machine::Machine;
use crate::ask::point::PlannedPoint;
use crate::ask::policy::{BOUND_REPEATS, BOUND_SECONDS, BOUND_SECONDS_QUICK, STREAM_FACTOR};
use crate::ask::setting::Setting;
use crate::jobs::copy::Method;
use crate::jobs::kinds::{FabricKind, Verify};

/// What this machine can do at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Copies, by size and warmth.
    pub copies: Vec<SizedCopies>,
    /// Streams over TCP.
    pub streams: Option<Streams>,
    /// Raw RDMA writes of [`RAW_WRITE_BYTES`] from one node to another, in 10^9 bytes a second.
    #[serde(default)]
    pub raw_write: Option<f64>,
}

/// Copies of one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizedCopies {
    /// Bytes of one copy.
    pub copy_bytes: u64,
    /// What they reach.
    pub capacity: CopyCapacity,
}

/// Streams over TCP, in 10^9 bytes a second: over loopback, or from the first host to the second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Streams {
    /// One stream alone.
    pub one: f64,
    /// As many as there are cores; between hosts a few.
    pub all: f64,
}

/// Small messages of a batch are copied together: no smaller copies are made.
const BATCH_BYTES: u64 = 4 << 10;

/// Which copies bound a point: their size and what is warm.
pub fn copies_of(setting: &Setting, memory_bytes: u64, verify: Verify, machine: &Machine) -> (u64, Warmth) {
    // A group ships what was committed since the last turn in one copy.
    let copy_bytes = if setting.shape.is_some() { setting.message_bytes.max(BATCH_BYTES) } else { setting.message_bytes };
    let possible = Warmth::possible(memory_bytes, machine.last_level_cache_bytes);
    // Beyond the caches a source is warm only if its sender has just written all of it: blocks land past the cache, so
    // a relay reads from memory. Small messages are not relayed: each member's copy comes out of the sender's own ring.
    let from_a_ring = setting.shape.is_some_and(|shape| !shape.is_relayed() && shape.ring_bytes <= machine.last_level_cache_bytes);
    match possible {
        Warmth::Cached => (copy_bytes, Warmth::Cached),
        _ if verify == Verify::Full || from_a_ring => (copy_bytes, Warmth::WarmSource),
        _ => (copy_bytes, Warmth::Cold),
    }
}

/// Copies that bound any of `points`, each once.
pub fn copies_of_all<'a>(points: impl Iterator<Item = &'a PlannedPoint>, verify: Verify, machine: &Machine) -> Vec<(u64, Warmth)> {
    let mut wanted = Vec::new();
    for point in points.filter(|point| point.skip.is_none() && point.setting.fabric == Some(FabricKind::Shm)) {
        let copies = copies_of(&point.setting, point.memory_bytes, verify, machine);
        if !wanted.contains(&copies) {
            wanted.push(copies);
        }
    }
    wanted
}

/// Seconds that it takes to measure each bound.
#[derive(Clone, Copy, Debug)]
pub struct BoundSeconds {
    /// Copies of one size and warmth.
    pub copies: f64,
    /// Streams over TCP.
    pub streams: f64,
    /// Raw RDMA writes.
    pub raw_write: f64,
}

impl BoundSeconds {
    /// In a quick run, or a full one; `across` hosts, or on one.
    pub fn of(quick: bool, across: bool) -> BoundSeconds {
        /// One core and all; each method.
        const COPIES: f64 = 2.0 * Method::ALL.len() as f64;
        /// One stream and all, sleeping and polling, with writes of two sizes.
        const STREAMS: f64 = 4.0 * 2.0;
        /// The same between two hosts, which choose by themselves how to wait: one stream and several, less often.
        const STREAMS_ACROSS: f64 = 2.0 * 0.6;
        /// With warm-up.
        const WRITES: f64 = 1.5;
        let each = f64::from(BOUND_REPEATS) * if quick { BOUND_SECONDS_QUICK } else { BOUND_SECONDS };
        BoundSeconds {
            copies: each * COPIES,
            streams: each * if across { STREAMS_ACROSS } else { STREAMS } * STREAM_FACTOR,
            raw_write: each * WRITES * STREAM_FACTOR,
        }
    }
}

/// Seconds that it takes to measure what bounds `points`.
pub fn seconds(points: &[&PlannedPoint], verify: Verify, machine: &Machine, quick: bool) -> f64 {
    let seconds = BoundSeconds::of(quick, machine.hosts.is_some());
    let runs = |fabric| points.iter().any(|point| point.skip.is_none() && point.setting.fabric == Some(fabric));
    let of = |fabric, seconds: f64| if runs(fabric) { seconds } else { 0.0 };
    let copies = copies_of_all(points.iter().copied(), verify, machine).len() as f64 * seconds.copies;
    copies + of(FabricKind::Tcp, seconds.streams) + of(FabricKind::Verbs, seconds.raw_write)
}

/// Blocks of this size reach what a device can.
pub const RAW_WRITE_BYTES: u64 = 1 << 20;

impl Capacity {
    /// Takes over whatever `other` saw more of: a bound is the most that was ever seen.
    pub fn raise(&mut self, other: Capacity) {
        for sized in other.copies {
            let same = |known: &&mut SizedCopies| (known.copy_bytes, known.capacity.warmth) == (sized.copy_bytes, sized.capacity.warmth);
            match self.copies.iter_mut().find(same) {
                Some(known) => {
                    known.capacity.one_core = known.capacity.one_core.max(sized.capacity.one_core);
                    known.capacity.all_core = known.capacity.all_core.max(sized.capacity.all_core);
                }
                None => self.copies.push(sized),
            }
        }
        if let Some(seen) = other.streams {
            let known = self.streams.unwrap_or(seen);
            self.streams = Some(Streams { one: known.one.max(seen.one), all: known.all.max(seen.all) });
        }
        if let Some(seen) = other.raw_write {
            self.raw_write = Some(self.raw_write.map_or(seen, |known| known.max(seen)));
        }
    }

    /// The bound of a point, if what bounds it was measured.
    pub fn bound(&self, point: &PlannedPoint, verify: Verify, machine: &Machine) -> Option<Bound> {
        let setting = &point.setting;
        let load = setting.load();
        match setting.fabric? {
            FabricKind::Shm => {
                let (copy_bytes, warmth) = copies_of(setting, point.memory_bytes, verify, machine);
                let sized = self.copies.iter().find(|sized| sized.copy_bytes == copy_bytes && sized.capacity.warmth == warmth)?;
                Some(Bound::of_copies(load, &sized.capacity))
            }
            FabricKind::Tcp if machine.hosts.is_some() => self.streams.map(|streams| match load.nodes {
                2 => Bound::of_links(streams.one, "tcp stream"),
                _ => Bound::of_links(streams.all, "tcp streams"),
            }),
            FabricKind::Verbs if machine.hosts.is_some() => self.raw_write.map(|rate| Bound::of_links(rate, "raw write")),
            FabricKind::Tcp => self.streams.map(|streams| Bound::of_loopback_streams(load, streams.one, streams.all)),
            // All nodes share one device, which every copy of a message passes.
            FabricKind::Verbs => self.raw_write.map(|rate| Bound::of_host(load, rate, "raw write")),
        }
    }

    /// What one node moves a second over `fabric`, in 10^9 bytes, as far as it was measured.
    pub fn moved(&self, fabric: FabricKind) -> Option<f64> {
        match fabric {
            FabricKind::Shm => self.copies.iter().map(|sized| sized.capacity.one_core).reduce(f64::min),
            FabricKind::Tcp => self.streams.map(|streams| streams.one),
            FabricKind::Verbs => self.raw_write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::axes::Senders;
    use crate::ask::experiment::Experiment;
    use crate::ask::fabric::FabricName;
    use crate::ask::plan::Plan;
    use crate::ask::request::{Axes, Request};
    use crate::ask::size::{ByteSize, KB, MB};
    use crate::jobs::kinds::Ordering;

    #[test]
    fn a_ring_that_fits_the_cache_is_a_warm_source_whatever_its_copies_take() {
        let machine = Machine { cores: vec![0, 1], memory_bytes: 16 << 30, last_level_cache_bytes: 32 << 20, ..Machine::default() };
        let axes = Axes { fabric: vec![FabricName::Real(FabricKind::Shm)], senders: vec![Senders::One], ..Axes::default() };
        let axes = Axes { ordering: vec![Ordering::ORDERED], nodes: vec![8, 16], size: vec![ByteSize(10 * KB), ByteSize(MB)], ..axes };
        let plan = Plan::of(&Request { experiments: vec![Experiment::Multicast], quick: false, axes }, &machine).unwrap();
        let warmth = |nodes, bytes| {
            let point = plan.points.iter().find(|point| (point.setting.nodes, point.setting.message_bytes) == (nodes, bytes)).unwrap();
            copies_of(&point.setting, point.memory_bytes, Verify::Sampled, &machine).1
        };
        assert_eq!([warmth(8, 10 * KB), warmth(16, 10 * KB), warmth(16, MB)], [Warmth::Cached, Warmth::WarmSource, Warmth::Cold]);
    }

    fn seen(one_core: f64, all_core: f64, stream: f64) -> Capacity {
        let capacity = CopyCapacity { one_core, all_core, cores: 2, warmth: Warmth::Cached };
        Capacity {
            copies: vec![SizedCopies { copy_bytes: 4096, capacity }],
            streams: Some(Streams { one: stream, all: stream }),
            raw_write: None,
        }
    }

    #[test]
    fn a_bound_is_the_most_that_was_ever_seen() {
        let mut capacity = seen(8.0, 12.0, 3.0);
        capacity.raise(seen(9.0, 11.0, 2.0));
        assert_eq!(capacity, seen(9.0, 12.0, 3.0));
        capacity.raise(Capacity { raw_write: Some(1.0), ..Capacity::default() });
        assert_eq!(capacity.raw_write, Some(1.0));
        let mut nothing = Capacity::default();
        nothing.raise(seen(9.0, 12.0, 3.0));
        assert_eq!(nothing, seen(9.0, 12.0, 3.0));
    }
}
