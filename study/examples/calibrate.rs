//! What this code costs on this machine's core, for the table `[cpu]` of a profile: `cargo run --release -p
//! squall-study --example calibrate`.
//!
//! Members run on a model whose every time is nothing, so that the clock sees their own work and that of the modelled
//! endpoint, which stands in for the memory accesses of a real one. Medians of many rounds.

use std::time::Instant;

use squall_group::{Config, Delivery, Group, Outgoing, Upcalls};
use squall_study::Profile;
use squall_transport::Rank;
use squall_transport::model::{ModelEndpoint, ModelFabric, ModelNetwork};
use squall_transport::sim::SoloExchange;

const ROUNDS: usize = 101;
const TURNS: u32 = 2000;
const BATCH: u32 = 500;

struct Counts(u64);

impl Upcalls for Counts {
    fn deliver(&mut self, _delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        self.0 += 1;
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn members(nodes: usize, senders: usize) -> (ModelNetwork, Vec<Group<ModelEndpoint>>) {
    let profile = Profile::built_in("sim-rdma-100g").unwrap_or_else(|error| panic!("{error}"));
    let network = ModelNetwork::new(&profile.model(), nodes, 1);
    let fabric = ModelFabric::on(&network);
    let config = Config::new((0..senders).map(Rank::new).collect());
    let join = |rank| Group::join(&config, &fabric, &mut SoloExchange::new(Rank::new(rank), nodes));
    let groups = (0..nodes).map(|rank| join(rank).unwrap_or_else(|error| panic!("{error}"))).collect();
    (network, groups)
}

/// Nanoseconds of a turn in which nothing happens.
fn idle(nodes: usize, senders: usize) -> f64 {
    let (_network, mut groups) = members(nodes, senders);
    let mut counts = Counts(0);
    let round = |_| {
        let started = Instant::now();
        for _ in 0..TURNS {
            let _ = groups[0].step(&mut counts);
        }
        started.elapsed().as_nanos() as f64 / f64::from(TURNS)
    };
    median((0..ROUNDS).map(round).collect())
}

/// Nanoseconds of a message: sent; received and delivered.
fn messages() -> (f64, f64) {
    let (network, mut groups) = members(2, 1);
    let mut counts = Counts(0);
    let settle = |groups: &mut Vec<Group<ModelEndpoint>>, counts: &mut Counts| {
        for _ in 0..6 {
            for (rank, group) in groups.iter_mut().enumerate() {
                network.begin_turn(Rank::new(rank), 0);
                let _ = group.step(counts);
                network.end_turn(Rank::new(rank));
            }
            while network.next_ps().is_some() {
                network.happen(&mut Vec::new());
            }
        }
    };
    let (mut sending, mut receiving) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..BATCH {
            let slot = groups[0].reserve(64).unwrap_or_else(|error| panic!("{error}"));
            slot.commit();
        }
        sending.push(started.elapsed().as_nanos() as f64 / f64::from(BATCH));
        network.begin_turn(Rank::new(0), 0);
        let _ = groups[0].step(&mut counts);
        network.end_turn(Rank::new(0));
        while network.next_ps().is_some() {
            network.happen(&mut Vec::new());
        }
        let started = Instant::now();
        // The batch is received and acknowledged, and all of it delivered once the sender has it: at once, since it
        // has.
        let _ = groups[1].step(&mut counts);
        receiving.push(started.elapsed().as_nanos() as f64 / f64::from(BATCH));
        settle(&mut groups, &mut counts);
    }
    (median(sending), median(receiving))
}

fn main() {
    let (two, many, senders) = (idle(2, 1), idle(16, 1), idle(16, 16));
    let row = (many - two) / 14.0;
    println!("turn_ns {:.1}\nrow_ns {row:.2}\nsender_ns {:.2}", two - 2.0 * row, (senders - many) / 15.0);
    let (send, receive) = messages();
    println!("send_ns {send:.1}\nrecord_ns and delivery_ns together {receive:.1}");
}
