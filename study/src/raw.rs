//! Writes without any protocol: what the profile says of rate and latency must come out of the model.

use std::sync::atomic::Ordering;

use squall_transport::model::{ModelEndpoint, ModelFabric, ModelNetwork};
use squall_transport::sim::SoloExchange;
use squall_transport::{Endpoint, Fabric, POOL, Place, Rank, Region, RegionOptions, TABLE, Write};

use crate::profile::Profile;

/// Bytes of the pool that large writes go between.
const POOL_BYTES: usize = 1 << 40;

/// What one sender gets through one link, in payload bytes a second, writing `bytes` bytes again and again.
///
/// # Panics
/// If the model breaks a rule of fabrics.
pub fn bytes_per_s(profile: &Profile, bytes: u64, writes: u64) -> f64 {
    let pair = Pair::new(profile);
    let (mut sender, _) = pair.open(0);
    let _receiver = pair.open(1);
    let place = Place::new(POOL, 0);
    let (mut posted, mut now_ps, mut ended_ps, mut happened) = (0, 0, 0, 0);
    loop {
        for rank in [Rank::new(0), Rank::new(1)] {
            if pair.network.clock_ps(rank) > now_ps {
                continue;
            }
            pair.network.begin_turn(rank, now_ps);
            while rank.index() == 0
                && posted < writes
                && sender.post(Rank::new(1), Write::Span { from: place, to: place, len: bytes }).is_ok()
            {
                posted += 1;
            }
            pair.network.end_turn(rank);
        }
        match pair.network.next_ps() {
            Some(at_ps) => {
                now_ps = now_ps.max(at_ps);
                pair.happen_until(at_ps);
                ended_ps = if pair.kernels { pair.network.clock_ps(Rank::new(1)) } else { now_ps };
            }
            // A core may still be at work on what has come, once.
            None if happened == pair.network.happened() => break,
            None => {
                happened = pair.network.happened();
                now_ps = now_ps.max(pair.network.clock_ps(Rank::new(0))).max(pair.network.clock_ps(Rank::new(1)));
            }
        }
    }
    (bytes * writes) as f64 / ended_ps as f64 * 1e12
}

/// From a post of one word to the word in the peer's memory, in picoseconds, seen by a peer that looks all the time.
///
/// # Panics
/// If the model breaks a rule of fabrics.
pub fn latency_ps(profile: &Profile) -> u64 {
    let pair = Pair::new(profile);
    let (mut sender, _) = pair.open(0);
    let (_, receiver) = pair.open(1);
    pair.network.begin_turn(Rank::new(0), 0);
    sender.post(Rank::new(1), Write::Word { at: Place::new(TABLE, 64), value: 7 }).expect("an empty queue has room");
    let (mut now_ps, _) = pair.network.end_turn(Rank::new(0));
    while receiver.word(64).load(Ordering::Acquire) != 7 {
        now_ps = pair.network.next_ps().unwrap_or(now_ps);
        pair.happen_until(now_ps);
        pair.receive(now_ps);
    }
    now_ps
}

/// Two hosts.
struct Pair {
    network: ModelNetwork,
    kernels: bool,
}

impl Pair {
    fn new(profile: &Profile) -> Pair {
        Pair { network: ModelNetwork::new(&profile.model(), 2, 1), kernels: profile.kernel.is_some() }
    }

    fn open(&self, rank: usize) -> (ModelEndpoint, Region) {
        let fabric = ModelFabric::on(&self.network);
        let options = RegionOptions::default();
        let region = |bytes| fabric.region(bytes, &options).expect("address space is there");
        let (table, pool) = (region(4096), region(POOL_BYTES));
        let mut exchange = SoloExchange::new(Rank::new(rank), 2);
        let endpoint = fabric.open(&mut exchange, &[table.clone(), pool]).expect("the model opens");
        (endpoint, table)
    }

    fn happen_until(&self, until_ps: u64) {
        let mut stirred = Vec::new();
        while self.network.next_ps().is_some_and(|at_ps| at_ps <= until_ps) {
            self.network.happen(&mut stirred);
        }
    }

    /// With kernels, the receiver takes in what has come.
    fn receive(&self, now_ps: u64) {
        if self.kernels {
            self.network.begin_turn(Rank::new(1), now_ps);
            self.network.end_turn(Rank::new(1));
        }
    }
}
