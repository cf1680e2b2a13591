//! What this code costs on this machine's core: the table `[cpu]` of a profile, measured.
//!
//! Members run on a model whose every time is nothing, so that the clock sees their own work and that of the modelled
//! endpoint, which stands in for the memory accesses of a real one. Medians of many rounds. What a request and a
//! doorbell cost is a matter of the device and is not measured here.

use std::fmt;
use std::time::Instant;

use squall_group::{Config, Delivery, Ended, Group, Outgoing, Upcalls};
use squall_transport::Rank;
use squall_transport::model::{ModelEndpoint, ModelFabric, ModelNetwork};
use squall_transport::sim::SoloExchange;

use crate::error::RunError;
use crate::profile::Profile;

const ROUNDS: usize = 101;
const TURNS: u32 = 2000;
/// Small messages of a round.
const BATCH: u32 = 500;
/// Turns in which a batch is delivered everywhere and its space comes back.
const SETTLING_TURNS: usize = 6;
/// A large message, its blocks, and how many are under way.
const LARGE_BYTES: u64 = 1 << 20;
const BLOCK_BYTES: u32 = 4096;
const TRANSFERS: usize = 8;

/// Nanoseconds, as the fields of `[cpu]` that have the same names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// A turn of the loop in which nothing happens.
    pub turn_ns: f64,
    /// More for each row of the table.
    pub row_ns: f64,
    /// More for each sender's ring.
    pub sender_ns: f64,
    /// A message sent.
    pub send_ns: f64,
    /// A record walked.
    pub record_ns: f64,
    /// A message delivered.
    pub delivery_ns: f64,
    /// A block of a large message, in or out.
    pub block_ns: f64,
    /// More for each turn and large message that is under way.
    pub transfer_ns: f64,
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Costs { turn_ns, row_ns, sender_ns, send_ns, record_ns, delivery_ns, block_ns, transfer_ns } = self;
        writeln!(f, "turn_ns = {turn_ns:.1}\nrow_ns = {row_ns:.1}\nsender_ns = {sender_ns:.1}\nsend_ns = {send_ns:.1}")?;
        writeln!(f, "record_ns = {record_ns:.1}\ndelivery_ns = {delivery_ns:.1}\nblock_ns = {block_ns:.1}\ntransfer_ns = {transfer_ns:.1}")
    }
}

/// Measures all of it; a few seconds of one core.
///
/// # Errors
/// If members cannot be made: a bug, or no memory.
pub fn measure() -> Result<Costs, RunError> {
    let (two, many, senders) = (idle(2, 1)?, idle(16, 1)?, idle(16, 16)?);
    let row_ns = (many - two).max(0.0) / 14.0;
    let sender_ns = (senders - many).max(0.0) / 15.0;
    let turn_ns = (two - 2.0 * row_ns - sender_ns).max(1.0);
    let (send_ns, record_ns, delivery_ns) = messages()?;
    let block_ns = blocks(two)?;
    let transfer_ns = (waiting()? - two).max(0.0) / TRANSFERS as f64;
    Ok(Costs { turn_ns, row_ns, sender_ns, send_ns, record_ns, delivery_ns, block_ns, transfer_ns })
}

struct Counts(u64);

impl Upcalls for Counts {
    fn deliver(&mut self, _delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        self.0 += 1;
    }
}

/// Members, turned by hand.
struct Bench {
    network: ModelNetwork,
    groups: Vec<Group<ModelEndpoint>>,
    counts: Vec<Counts>,
}

impl Bench {
    fn new(nodes: usize, config: &Config) -> Result<Bench, RunError> {
        let network = ModelNetwork::new(&Profile::built_in("sim-rdma-100g")?.model(), nodes, 1);
        let fabric = ModelFabric::on(&network);
        let join = |rank| Group::join(config, &fabric, &mut SoloExchange::new(Rank::new(rank), nodes));
        let groups = (0..nodes).map(join).collect::<Result<Vec<_>, _>>()?;
        Ok(Bench { network, groups, counts: (0..nodes).map(|_| Counts(0)).collect() })
    }

    /// A turn of one member; what its step took, in nanoseconds.
    fn step(&mut self, rank: usize) -> Result<f64, RunError> {
        let ended = |ended: Ended| RunError::Ended { rank: Rank::new(rank), why: ended.to_string() };
        self.network.begin_turn(Rank::new(rank), 0);
        let started = Instant::now();
        self.groups[rank].step(&mut self.counts[rank]).map_err(ended)?;
        let took = started.elapsed().as_nanos() as f64;
        self.network.end_turn(Rank::new(rank));
        Ok(took)
    }

    /// All that is on its way lands.
    fn land(&self) {
        let mut stirred = Vec::new();
        while self.network.next_ps().is_some() {
            self.network.happen(&mut stirred);
        }
    }

    /// Everything that was sent is delivered everywhere.
    fn settle(&mut self) -> Result<(), RunError> {
        for _ in 0..SETTLING_TURNS {
            for rank in 0..self.groups.len() {
                self.step(rank)?;
                self.land();
            }
        }
        Ok(())
    }

    /// Member 0 sends so many messages of so many bytes; what one took.
    fn send(&mut self, bytes: u64, count: u32) -> f64 {
        let started = Instant::now();
        for _ in 0..count {
            self.groups[0].reserve(bytes).expect("the window is open and the space is back").commit();
        }
        started.elapsed().as_nanos() as f64 / f64::from(count)
    }
}

/// A turn in which nothing happens.
fn idle(nodes: usize, senders: usize) -> Result<f64, RunError> {
    let mut bench = Bench::new(nodes, &Config::new((0..senders).map(Rank::new).collect()))?;
    turns(&mut bench)
}

/// A turn of member 0, of many.
fn turns(bench: &mut Bench) -> Result<f64, RunError> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..TURNS {
            let ended = |ended: Ended| RunError::Ended { rank: Rank::new(0), why: ended.to_string() };
            bench.groups[0].step(&mut bench.counts[0]).map_err(ended)?;
        }
        rounds.push(started.elapsed().as_nanos() as f64 / f64::from(TURNS));
    }
    Ok(median(rounds))
}

/// A message sent, a record walked, a message delivered. With three members a batch is walked in one turn and delivered
/// in a later one, once the third has said that it has it too.
fn messages() -> Result<(f64, f64, f64), RunError> {
    let mut bench = Bench::new(3, &Config::new(vec![Rank::new(0)]))?;
    let (mut sending, mut walking, mut delivering) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        sending.push(bench.send(64, BATCH));
        bench.step(0)?;
        bench.land();
        walking.push(bench.step(1)? / f64::from(BATCH));
        bench.land();
        bench.step(2)?;
        bench.land();
        delivering.push(bench.step(1)? / f64::from(BATCH));
        bench.settle()?;
    }
    Ok((median(sending), median(walking), median(delivering)))
}

fn large() -> Config {
    Config {
        large_max: LARGE_BYTES,
        block_bytes: Some(BLOCK_BYTES),
        transfers_max: TRANSFERS,
        window_messages: TRANSFERS as u64,
        ..Config::new(vec![Rank::new(0)])
    }
}

/// A block, in or out: what both members' turns take beyond idle ones, over all blocks of a message.
fn blocks(turn_ns: f64) -> Result<f64, RunError> {
    let mut bench = Bench::new(2, &large())?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        bench.send(LARGE_BYTES, 1);
        let delivered = bench.counts[1].0;
        let mut took = 0.0;
        while bench.counts[1].0 == delivered {
            for rank in [0, 1] {
                took += bench.step(rank)? - turn_ns;
                bench.land();
            }
        }
        rounds.push(took.max(0.0) / (2.0 * LARGE_BYTES as f64 / f64::from(BLOCK_BYTES)));
        bench.settle()?;
    }
    Ok(median(rounds))
}

/// A turn in which large messages are under way and nobody is ready for their blocks.
fn waiting() -> Result<f64, RunError> {
    let mut bench = Bench::new(2, &large())?;
    bench.send(LARGE_BYTES, TRANSFERS as u32);
    bench.step(0)?;
    turns(&mut bench)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cost_is_measured_and_reads_as_a_part_of_a_profile() {
        let costs = measure().unwrap();
        let text = costs.to_string();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table.len(), 8, "{text}");
        for name in ["turn_ns", "send_ns", "record_ns", "delivery_ns", "block_ns"] {
            assert!(table[name].as_float().is_some_and(|ns| ns > 0.0), "{text}");
        }
    }
}
