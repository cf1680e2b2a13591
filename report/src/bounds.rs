//! What a point could reach at most on the machine it ran on.
//!
//! The bandwidth of a group is compared as `busbw = algbw / factor`, where the factor says how much more (or less) than
//! the capacity of one link a group may send in total:
//!
//! ```text
//! relayed  a member that does not send receives everything:      factor 1
//!          if all n send, each receives what the others send:    factor n/(n-1)
//! direct   a sender posts each message n-1 times by itself:      factor senders/(n-1), at most n/(n-1)
//! ```
//!
//! So on a network `busbw <= link rate` whatever the group. On one host there are no links: every copy is made by the
//! same cores into the same memory, and a message costs n-1 copies. There the capacity `T` of all copies together
//! bounds `algbw * (n-1) <= T`, and the bound of `busbw` follows by the same factor. Hence in both cases
//! `bound_fraction = busbw / bound`, and a fraction above 1 is a bug in the bound.

use serde::{Deserialize, Serialize};

/// Who carries a message to the receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carriage {
    /// The sender writes to every receiver (SMC, sequential send).
    Direct,
    /// Receivers pass blocks on (RDMC).
    Relayed,
}

/// The group that a bound is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Nodes in the group, 2 or more.
    pub nodes: u32,
    /// Nodes that send, 1 or more.
    pub senders: u32,
    /// Who carries the messages.
    pub carriage: Carriage,
}

impl Load {
    /// `algbw / busbw`.
    ///
    /// # Panics
    /// If there are fewer than two nodes, no sender, or more senders than nodes: bugs of an experiment.
    pub fn factor(&self) -> f64 {
        assert!(self.nodes >= 2, "a group of {} sends nothing", self.nodes);
        assert!((1..=self.nodes).contains(&self.senders), "{} senders among {} nodes", self.senders, self.nodes);
        let nodes = f64::from(self.nodes);
        let receive = if self.senders == self.nodes { nodes / (nodes - 1.0) } else { 1.0 };
        match self.carriage {
            Carriage::Relayed => receive,
            Carriage::Direct => receive.min(f64::from(self.senders) / (nodes - 1.0)),
        }
    }

    /// `busbw` of a measured `algbw`, in its unit.
    pub fn busbw(&self, algbw: f64) -> f64 {
        algbw / self.factor()
    }

    /// Nodes that may be copying at one time: a direct sender copies alone; relays copy too, but with two nodes the
    /// receiver has nobody to relay to.
    fn copiers(&self) -> u32 {
        match self.carriage {
            Carriage::Relayed if self.nodes > 2 => self.nodes,
            _ => self.senders,
        }
    }
}

/// Bytes copied a second on one host at this `algbw` (in its unit): each message is copied to the `nodes - 1` others.
pub fn copied_per_second(algbw: f64, nodes: u32) -> f64 {
    algbw * f64::from(nodes.saturating_sub(1))
}

/// How warm the memory of a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Warmth {
    /// Neither source nor destination is in a cache.
    Cold,
    /// The source is in a cache, as when a block is relayed that has just arrived; the destination is not.
    WarmSource,
    /// Both stay in the caches, as with small rings.
    Cached,
}

impl Warmth {
    /// The warmest copies that a point could make: everything is cached if what all nodes keep rewriting fits into the
    /// last cache, or into twice its size, since caches do not drop lines strictly by age and so still hold a good part
    /// of somewhat more than fits; beyond that the source may still be warm, because its sender has just written it or
    /// a relay has just received it.
    pub fn possible(rewritten_bytes: u64, last_level_cache_bytes: u64) -> Warmth {
        if rewritten_bytes <= last_level_cache_bytes.saturating_mul(2) { Warmth::Cached } else { Warmth::WarmSource }
    }

    fn label(self) -> &'static str {
        match self {
            Warmth::Cold => "cold",
            Warmth::WarmSource => "warm source",
            Warmth::Cached => "cached",
        }
    }
}

/// Copy rates of one host, in gigabytes (10^9 bytes) copied a second, all measured in the same run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CopyCapacity {
    /// One core alone.
    pub one_core: f64,
    /// All cores together; may be less than `cores` times one core, as they share the memory.
    pub all_core: f64,
    /// Cores that copied in `all_core`.
    pub cores: u32,
    /// What was copied.
    pub warmth: Warmth,
}

/// The most that `busbw` can be, and by what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// In the unit of `busbw`.
    pub gigabytes_per_second: f64,
    /// For the column `bound_kind`.
    pub kind: String,
}

impl Bound {
    /// Nodes with a link each (verbs, TCP between hosts, the simulator): `busbw` is at most one link, one way.
    ///
    /// `kind` says what the rate was measured with: `raw write`, `tcp stream`, `simulated link`.
    pub fn of_links(link_gigabytes_per_second: f64, kind: &str) -> Bound {
        Bound { gigabytes_per_second: link_gigabytes_per_second, kind: kind.to_owned() }
    }

    /// All nodes on one host over shared memory: the copies of the nodes that may copy at one time, at most one core
    /// each, at most what all cores do together.
    pub fn of_copies(load: Load, capacity: &CopyCapacity) -> Bound {
        let copiers = load.copiers().min(capacity.cores.max(1));
        let alone = f64::from(copiers) * capacity.one_core;
        // Where one core alone is faster than all together, the memory is the limit and more copiers may be slower.
        let together = capacity.all_core.max(capacity.one_core);
        let (total, by) = if copiers == 1 {
            (capacity.one_core, "one-core copy".to_owned())
        } else if copiers < capacity.cores && alone < together {
            (alone, format!("{copiers} x one-core copy"))
        } else {
            (together, "all-core copy".to_owned())
        };
        Bound::of_host(load, total, &format!("{by} ({})", capacity.warmth.label()))
    }

    /// All nodes on one host over loopback TCP: every copy of a message is a stream's worth of work for the same cores,
    /// so that all streams together bound it. `one_stream` is one stream alone and `all_streams` the most that several
    /// streams at once carry, in gigabytes per second; one sender with one receiver has only the one.
    pub fn of_loopback_streams(load: Load, one_stream: f64, all_streams: f64) -> Bound {
        if load.nodes == 2 && load.senders == 1 {
            Bound::of_host(load, one_stream, "tcp stream")
        } else {
            Bound::of_host(load, one_stream.max(all_streams), "all tcp streams")
        }
    }

    /// `total` bytes a second for all `nodes - 1` copies of every message, as a bound of `busbw`.
    pub fn of_host(load: Load, total_gigabytes_per_second: f64, kind: &str) -> Bound {
        let algbw = total_gigabytes_per_second / f64::from(load.nodes - 1);
        Bound { gigabytes_per_second: load.busbw(algbw), kind: kind.to_owned() }
    }

    /// `busbw` over the bound; nothing where the bound is 0.
    pub fn fraction(&self, busbw_gigabytes_per_second: f64) -> Option<f64> {
        (self.gigabytes_per_second > 0.0).then(|| busbw_gigabytes_per_second / self.gigabytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Carriage::{Direct, Relayed};
    use proptest::prelude::*;

    fn load(nodes: u32, senders: u32, carriage: Carriage) -> Load {
        Load { nodes, senders, carriage }
    }

    fn copies(one_core: f64, all_core: f64, cores: u32) -> CopyCapacity {
        CopyCapacity { one_core, all_core, cores, warmth: Warmth::Cold }
    }

    #[test]
    fn factors_are_those_of_the_definition() {
        for (nodes, senders, carriage, factor) in [
            (2, 2, Relayed, 2.0),
            (2, 1, Relayed, 1.0),
            (16, 16, Relayed, 16.0 / 15.0),
            (16, 8, Relayed, 1.0),
            (16, 1, Direct, 1.0 / 15.0),
            (16, 8, Direct, 8.0 / 15.0),
            (16, 15, Direct, 1.0),
            (16, 16, Direct, 16.0 / 15.0),
            (2, 1, Direct, 1.0),
        ] {
            let load = load(nodes, senders, carriage);
            assert!((load.factor() - factor).abs() < 1e-12, "{load:?}");
        }
    }

    #[test]
    #[should_panic(expected = "3 senders among 2 nodes")]
    fn more_senders_than_nodes_is_a_bug() {
        load(2, 3, Direct).factor();
    }

    /// Published: 16 nodes, one sender, 10 KB: 0.686 GB/s on 12.5 GB/s links is 82 % of what one sender can post.
    #[test]
    fn a_published_point_stays_below_its_link() {
        let bound = Bound::of_links(12.5, "link");
        let fraction = bound.fraction(load(16, 1, Direct).busbw(0.686)).unwrap();
        assert!((fraction - 0.823).abs() < 0.001, "{fraction}");
    }

    #[test]
    fn one_direct_sender_copies_with_one_core() {
        let bound = Bound::of_copies(load(5, 1, Direct), &copies(8.0, 12.0, 2));
        assert_eq!(bound.kind, "one-core copy (cold)");
        // 8 GB/s of copies are 2 GB/s of messages to four receivers; the factor is 1/4.
        assert!((bound.gigabytes_per_second - 8.0).abs() < 1e-12);
    }

    #[test]
    fn relays_copy_with_all_cores() {
        let bound = Bound::of_copies(load(5, 1, Relayed), &copies(8.0, 12.0, 2));
        assert_eq!(bound.kind, "all-core copy (cold)");
        assert!((bound.gigabytes_per_second - 3.0).abs() < 1e-12);
    }

    #[test]
    fn two_nodes_and_one_sender_have_nothing_to_relay() {
        let bound = Bound::of_copies(load(2, 1, Relayed), &copies(8.0, 12.0, 2));
        assert_eq!(bound.kind, "one-core copy (cold)");
        assert!((bound.gigabytes_per_second - 8.0).abs() < 1e-12);
    }

    #[test]
    fn few_copiers_on_many_cores_are_bound_by_themselves_or_the_memory() {
        let many = copies(8.0, 100.0, 32);
        let three = Bound::of_copies(load(16, 3, Direct), &many);
        assert_eq!(three.kind, "3 x one-core copy (cold)");
        let narrow = copies(8.0, 20.0, 32);
        let three = Bound::of_copies(load(16, 3, Direct), &narrow);
        assert_eq!(three.kind, "all-core copy (cold)");
    }

    #[test]
    fn all_cores_slower_than_one_do_not_lower_the_bound() {
        let bound = Bound::of_copies(load(3, 3, Direct), &copies(10.0, 9.0, 2));
        assert!((copied_per_second(bound.gigabytes_per_second * 1.5, 3) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn what_may_stay_in_the_cache_is_held_to_cached_copies() {
        assert_eq!(Warmth::possible(1 << 20, 32 << 20), Warmth::Cached);
        assert_eq!(Warmth::possible(64 << 20, 32 << 20), Warmth::Cached);
        assert_eq!(Warmth::possible(65 << 20, 32 << 20), Warmth::WarmSource);
    }

    #[test]
    fn loopback_streams_share_the_host() {
        let one = Bound::of_loopback_streams(load(2, 1, Direct), 4.0, 6.0);
        assert_eq!((one.gigabytes_per_second, one.kind.as_str()), (4.0, "tcp stream"));
        let all = Bound::of_loopback_streams(load(4, 1, Relayed), 4.0, 6.0);
        assert_eq!((all.gigabytes_per_second, all.kind.as_str()), (2.0, "all tcp streams"));
    }

    #[test]
    fn nothing_is_a_fraction_of_no_bound() {
        assert_eq!(Bound::of_links(0.0, "x").fraction(1.0), None);
    }

    fn any_load() -> impl Strategy<Value = Load> {
        (2u32..40, any::<bool>()).prop_flat_map(|(nodes, relayed)| {
            let carriage = if relayed { Relayed } else { Direct };
            (1..=nodes).prop_map(move |senders| load(nodes, senders, carriage))
        })
    }

    proptest! {
        /// A host that copies at the rate `work` of its busy cores never comes out above its bound.
        #[test]
        fn a_host_cannot_exceed_its_bound(
            load in any_load(),
            one_core in 0.1f64..50.0,
            scaling in 0.5f64..1.0,
            cores in 1u32..64,
            effort in 0.0f64..1.0,
        ) {
            let all_core = one_core * (f64::from(cores) * scaling).max(1.0);
            let busy = load.copiers().min(cores);
            let copied = effort * (f64::from(busy) * one_core).min(all_core);
            let algbw = copied / f64::from(load.nodes - 1);
            let bound = Bound::of_copies(load, &copies(one_core, all_core, cores));
            prop_assert!(bound.fraction(load.busbw(algbw)).unwrap() <= 1.0 + 1e-9);
        }

        /// Neither the send side nor the receive side of any link can carry more than the factor allows.
        #[test]
        fn links_cannot_exceed_their_bound(load in any_load(), link in 0.1f64..100.0) {
            let algbw = link * load.factor();
            let share = algbw / f64::from(load.senders);
            let received = if load.senders == load.nodes { algbw - share } else { algbw };
            prop_assert!(received <= link * (1.0 + 1e-9));
            if load.carriage == Direct {
                prop_assert!(share * f64::from(load.nodes - 1) <= link * (1.0 + 1e-9));
            }
        }
    }
}
