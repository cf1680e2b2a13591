//! The modelled network: virtual time, and everything that is on its way.

use std::cell::{RefCell, RefMut};
use std::cmp::Reverse;
use std::rc::Rc;

pub use super::node::Counted;
use super::spec::ModelSpec;
use super::state::State;
use crate::rank::Rank;

/// A handle to the network that all members share; one thread holds them all.
///
/// Nothing happens by itself. Its owner takes what is due first: the next thing on the network
/// ([`ModelNetwork::happen`]) or the next turn of a member's loop, which begins and ends here
/// ([`ModelNetwork::begin_turn`], [`ModelNetwork::end_turn`]) and takes the time that was spent in between.
#[derive(Clone, Debug)]
pub struct ModelNetwork {
    state: Rc<RefCell<State>>,
}

impl ModelNetwork {
    /// The network of `members` equal hosts.
    pub fn new(spec: &ModelSpec, members: usize, seed: u64) -> ModelNetwork {
        let state = State::new(spec, members, seed);
        ModelNetwork { state: Rc::new(RefCell::new(state)) }
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// How many members it links.
    pub fn members(&self) -> usize {
        self.state().members
    }

    /// When the next thing happens; `None` if nothing is on its way.
    pub fn next_ps(&self) -> Option<u64> {
        self.state().due.peek().map(|Reverse(due)| due.at_ps)
    }

    /// Does what is due next. Those that have a reason to look, and had none since their last turn, are added to
    /// `stirred`.
    pub fn happen(&self, stirred: &mut Vec<Rank>) {
        let mut state = self.state();
        if let Some(Reverse(due)) = state.due.pop() {
            state.now_ps = due.at_ps;
            state.happened += 1;
            state.happen(due.what);
        }
        stirred.append(&mut state.stirred);
    }

    /// Things that happened so far.
    pub fn happened(&self) -> u64 {
        self.state().happened
    }

    /// A turn of this member's loop begins: with kernels, it takes in what has come.
    pub fn begin_turn(&self, rank: Rank, at_ps: u64) {
        self.state().begin_turn(rank.index(), at_ps);
    }

    /// Its core works for so long.
    pub fn spend(&self, rank: Rank, ps: u64) {
        self.state().nodes[rank.index()].clock_ps += ps;
    }

    /// Until when its core has worked.
    pub fn clock_ps(&self, rank: Rank) -> u64 {
        self.state().nodes[rank.index()].clock_ps
    }

    /// The turn is over: doorbells are rung for what was posted. When it ends, and whether something came meanwhile
    /// that it has not seen.
    pub fn end_turn(&self, rank: Rank) -> (u64, bool) {
        self.state().end_turn(rank.index())
    }

    /// What its card did.
    pub fn counted(&self, rank: Rank) -> Counted {
        self.state().nodes[rank.index()].counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::Ordering;
    use crate::endpoint::{Endpoint, Fabric};
    use crate::model::{HostSpec, LaneSpec, ModelEndpoint, ModelFabric, MoverSpec, NicSpec, RecordsSpec, SwitchSpec};
    use crate::region::{Region, RegionOptions};
    use crate::sim::SoloExchange;
    use crate::write::{POOL, Place, TABLE, Write};

    /// 1 byte a nanosecond, no headers, everything else round numbers.
    fn spec() -> ModelSpec {
        let nic = NicSpec {
            bytes_per_s: 1e9,
            pcie_bytes_per_s: 2e9,
            write_ps: 10_000,
            packet_bytes: 4096,
            header_bytes: 0,
            burst_bytes: 1000,
            start_ps: 200_000,
            fetch_ps: 0,
            inline_bytes: 64,
            land_ps: 100_000,
            queue_max: 8,
        };
        let switch = SwitchSpec { hop_ps: 300_000, leaf_hosts: None, oversubscription: 1.0 };
        ModelSpec {
            nic,
            switch,
            host: HostSpec { post_ps: 10_000, doorbell_ps: 50_000 },
            kernel: None,
            lanes: None,
            hollow_pools: true,
            records: None,
        }
    }

    fn open(spec: &ModelSpec, members: usize) -> (ModelNetwork, Vec<(ModelEndpoint, Region)>) {
        let network = ModelNetwork::new(spec, members, 1);
        let fabric = ModelFabric::on(&network);
        let open = |rank: usize| {
            let (table, pool) = (Region::reserve(4096).unwrap(), fabric.region(1 << 30, &RegionOptions::default()).unwrap());
            let mut exchange = SoloExchange::new(Rank::new(rank), members);
            (fabric.open(&mut exchange, &[table.clone(), pool]).unwrap(), table)
        };
        let opened = (0..members).map(open).collect();
        (network, opened)
    }

    fn block(len: u64) -> Write {
        Write::Span { from: Place::new(POOL, 0), to: Place::new(POOL, 0), len }
    }

    fn counter(value: u64) -> Write {
        Write::Word { at: Place::new(TABLE, 64), value }
    }

    /// When a member's word became `value`.
    fn until(network: &ModelNetwork, table: &Region, value: u64) -> u64 {
        while table.word(64).load(Ordering::Acquire) != value {
            network.happen(&mut Vec::new());
        }
        network.state().now_ps
    }

    #[test]
    fn a_counter_is_seen_once_the_last_byte_of_its_block_is_in() {
        let (network, mut members) = open(&spec(), 2);
        network.begin_turn(Rank::new(0), 0);
        members[0].0.post(Rank::new(1), block(10_000)).unwrap();
        members[0].0.post(Rank::new(1), counter(1)).unwrap();
        assert_eq!(network.end_turn(Rank::new(0)), (70_000, false));
        // Two posts, a doorbell, the card, the hop, 10,000 bytes, the least time of the word, memory.
        assert_eq!(until(&network, &members[1].1, 1), 70_000 + 200_000 + 300_000 + 10_000_000 + 10_000 + 100_000);
    }

    #[test]
    fn links_share_a_port_fairly_and_one_receiver_takes_in_a_line_of_bytes() {
        let (network, mut members) = open(&spec(), 3);
        network.begin_turn(Rank::new(0), 0);
        for to in [1, 2] {
            members[0].0.post(Rank::new(to), block(100_000)).unwrap();
            members[0].0.post(Rank::new(to), counter(1)).unwrap();
        }
        network.end_turn(Rank::new(0));
        let (one, other) = (until(&network, &members[1].1, 1), until(&network, &members[2].1, 1));
        assert!(one > 199_000_000 && other - one < 2_000_000, "bursts in turn: {one} and {other}");

        let (network, mut members) = open(&spec(), 3);
        for from in [0, 1] {
            network.begin_turn(Rank::new(from), 0);
            members[from].0.post(Rank::new(2), block(100_000)).unwrap();
            members[from].0.post(Rank::new(2), Write::Word { at: Place::new(TABLE, 64 + 8 * from as u64), value: 1 }).unwrap();
            network.end_turn(Rank::new(from));
        }
        let both = until(&network, &members[2].1, 1);
        assert!(both > 199_000_000, "two senders halve what each gets: {both}");
    }

    #[test]
    fn of_records_moves_what_is_read_and_of_what_is_none_all() {
        // A record's first word is its length.
        let records = RecordsSpec { moved: |word| (word > 0).then_some((8, word)) };
        let (network, mut members) = open(&ModelSpec { records: Some(records), ..spec() }, 2);
        let words = [24, 1, 2, 16, 3, 0, 4, 5];
        for (at, word) in words.into_iter().enumerate() {
            members[0].1.link_word(128 + 8 * at as u64).store(word, Ordering::Relaxed);
        }
        network.begin_turn(Rank::new(0), 0);
        let at = Place::new(TABLE, 128);
        members[0].0.post(Rank::new(1), Write::Span { from: at, to: at, len: 64 }).unwrap();
        members[0].0.post(Rank::new(1), counter(1)).unwrap();
        network.end_turn(Rank::new(0));
        until(&network, &members[1].1, 1);
        let landed: Vec<u64> = (0..8).map(|at| members[1].1.link_word(128 + 8 * at).load(Ordering::Relaxed)).collect();
        assert_eq!(landed, [24, 0, 0, 16, 0, 0, 4, 5]);
    }

    #[test]
    fn a_full_queue_is_an_answer_and_has_room_once_a_write_has_landed() {
        let (network, mut members) = open(&spec(), 2);
        network.begin_turn(Rank::new(0), 0);
        let posted = (1..100).take_while(|&value| members[0].0.post(Rank::new(1), counter(value)).is_ok()).count();
        assert_eq!(posted, 8);
        network.end_turn(Rank::new(0));
        let mut stirred = Vec::new();
        while !stirred.contains(&Rank::new(0)) {
            network.happen(&mut stirred);
        }
        assert!(members[0].0.post(Rank::new(1), counter(9)).is_ok());
    }

    #[test]
    fn oversubscribed_leaves_are_the_limit_between_them_and_not_within() {
        let leaves = SwitchSpec { leaf_hosts: Some(2), oversubscription: 4.0, ..spec().switch };
        let took = |to: usize| {
            let (network, mut members) = open(&ModelSpec { switch: leaves.clone(), ..spec() }, 4);
            network.begin_turn(Rank::new(0), 0);
            members[0].0.post(Rank::new(to), block(100_000)).unwrap();
            members[0].0.post(Rank::new(to), counter(1)).unwrap();
            network.end_turn(Rank::new(0));
            until(&network, &members[to].1, 1)
        };
        // Two hosts of 1 GB/s share a trunk of 0.5 GB/s.
        assert!(took(1) < 102_000_000 && took(2) > 198_000_000, "{} and {}", took(1), took(2));
    }

    #[test]
    fn a_lane_has_one_block_on_its_way_and_its_thread_takes_time() {
        let lanes =
            LaneSpec { block_ps: 5_000_000, block_spread: 0.0, record_bytes: 0, slot_bytes: 0, words_by_reference: true, mover: None };
        let (network, mut members) = open(&ModelSpec { lanes: Some(lanes), ..spec() }, 2);
        network.begin_turn(Rank::new(0), 0);
        for count in [1, 2] {
            members[0].0.post(Rank::new(1), block(10_000)).unwrap();
            members[0].0.post(Rank::new(1), counter(count)).unwrap();
        }
        network.end_turn(Rank::new(0));
        let (first, second) = (until(&network, &members[1].1, 1), until(&network, &members[1].1, 2));
        // A block, the receiver's thread, word back, the sender's thread.
        assert!(second - first > 10_000_000 + 10_000_000 + 500_000, "{first} and {second}");
    }

    #[test]
    fn a_mover_takes_one_write_after_the_other_at_both_ends() {
        let mover = MoverSpec { write_ps: 1_000_000, byte_ps: 0.0 };
        let lanes =
            LaneSpec { block_ps: 0, block_spread: 0.0, record_bytes: 0, slot_bytes: 0, words_by_reference: false, mover: Some(mover) };
        let (network, mut members) = open(&ModelSpec { lanes: Some(lanes), ..spec() }, 2);
        network.begin_turn(Rank::new(0), 0);
        (1..=5).for_each(|value| members[0].0.post(Rank::new(1), counter(value)).unwrap());
        assert_eq!(network.end_turn(Rank::new(0)).0, 5 * 60_000, "the loop itself pays for posts and doorbells alone");
        let first = until(&network, &members[1].1, 1);
        // A post, a doorbell, the mover, the card, the hop, the least time of a word, memory, the other mover.
        assert_eq!(first, 60_000 + 1_000_000 + 200_000 + 300_000 + 10_000 + 100_000 + 1_000_000);
        assert_eq!(until(&network, &members[1].1, 5) - first, 4_000_000);
    }
}
