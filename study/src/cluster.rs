//! Members and their loops in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use squall_group::{Config, Group, Record, Stats, Timeline};
use squall_transport::Rank;
use squall_transport::model::{Counted, ModelEndpoint, ModelFabric, ModelNetwork, ModelSpec};
use squall_transport::sim::{Random, SoloExchange};

use crate::app::{App, AppCosts, Load};
use crate::error::RunError;

/// What a member's loop costs, beside what its posts cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoopCosts {
    /// A turn, whatever happens.
    pub(crate) turn_ps: u64,
    pub(crate) record_ps: u64,
    pub(crate) block_ps: u64,
    /// A turn more for each large message that is under way.
    pub(crate) transfer_ps: u64,
    /// How long it spins before it sleeps.
    pub(crate) spin_ps: u64,
    pub(crate) wake_ps: u64,
    /// By how much hosts differ.
    pub(crate) skew: f64,
}

/// What all members do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) message_bytes: u64,
    pub(crate) messages: u64,
    pub(crate) load: Load,
    /// Messages that a sender has handed over and not seen delivered, where they wait in a queue; 0 without one.
    pub(crate) queue: u64,
    pub(crate) app: AppCosts,
    pub(crate) costs: LoopCosts,
    pub(crate) delay: Delay,
}

/// Members that are held up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Delay {
    /// Each turn of the loop of so many members, the last ones, takes longer.
    pub slow: usize,
    /// By this part of it.
    pub slower_by: f64,
    /// So many senders, the last ones, send nothing.
    pub idle: usize,
}

/// One modelled host: a member, its application, and what its loop is about.
#[derive(Debug)]
struct Host {
    group: Group<ModelEndpoint>,
    app: App,
    costs: LoopCosts,
    /// Its next turn; `u64::MAX`: none before there is news.
    turn_ps: u64,
    /// Of a loop that found nothing: when it looks next, and how often.
    idle: Option<Idle>,
    seen: Stats,
    busy_ps: u64,
    /// How many times as long as it should its turns take.
    stretch: f64,
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    next_ps: u64,
    period_ps: u64,
}

/// A group on a model of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    network: ModelNetwork,
    hosts: Vec<Host>,
    turns: BinaryHeap<Reverse<(u64, usize)>>,
    expected: u64,
    unfinished: usize,
}

impl Cluster {
    /// All members, joined, before their first turn.
    ///
    /// # Errors
    /// A configuration that no group can have, or memory that cannot be had.
    pub(crate) fn new(spec: &ModelSpec, config: &Config, nodes: usize, work: &Work, seed: u64) -> Result<Cluster, RunError> {
        let network = ModelNetwork::new(spec, nodes, seed);
        let fabric = ModelFabric::on(&network);
        let mut random = Random::new(seed ^ 0x5EED);
        let mut hosts = Vec::with_capacity(nodes);
        for rank in (0..nodes).map(Rank::new) {
            let group = Group::join(config, &fabric, &mut SoloExchange::new(rank, nodes))?;
            let slower = 1.0 + work.costs.skew * random.below(1 << 20) as f64 / f64::from(1 << 20);
            let scaled = |ps: u64| (ps as f64 * slower) as u64;
            let costs = LoopCosts {
                turn_ps: scaled(work.costs.turn_ps).max(1),
                record_ps: scaled(work.costs.record_ps),
                block_ps: scaled(work.costs.block_ps),
                transfer_ps: scaled(work.costs.transfer_ps),
                ..work.costs
            };
            let app_costs = AppCosts { send_ps: scaled(work.app.send_ps), delivery_ps: scaled(work.app.delivery_ps), ..work.app };
            let sends = rank.index() < config.senders.len() - work.delay.idle;
            let messages = if sends { work.messages } else { 0 };
            let stretch = if rank.index() + work.delay.slow >= nodes { 1.0 + work.delay.slower_by } else { 1.0 };
            let app = App::new(&network, rank, app_costs, work.message_bytes, work.load, work.queue, messages);
            let turn_ps = random.below(costs.turn_ps);
            hosts.push(Host { group, app, costs, turn_ps, idle: None, seen: Stats::default(), busy_ps: 0, stretch });
        }
        let turns = hosts.iter().enumerate().map(|(index, host)| Reverse((host.turn_ps, index))).collect();
        let expected = work.messages * (config.senders.len() - work.delay.idle) as u64;
        Ok(Cluster { network, hosts, turns, expected, unfinished: nodes })
    }

    /// Has every member record up to `records_max` things that happen to blocks.
    pub(crate) fn record(&mut self, records_max: usize) {
        for host in &mut self.hosts {
            host.group.record(Some(Timeline::new(records_max)));
        }
    }

    /// What they recorded, by rank.
    pub(crate) fn records(&mut self) -> Vec<Vec<Record>> {
        self.hosts.iter_mut().map(|host| host.group.record(None).map_or_else(Vec::new, |timeline| timeline.records().to_vec())).collect()
    }

    /// Runs until every member has delivered everything.
    ///
    /// # Errors
    /// If the group ends, or nothing is left to happen before that.
    pub(crate) fn run(&mut self) -> Result<(), RunError> {
        let mut stirred = Vec::new();
        while self.unfinished > 0 {
            let turn_ps = self.turns.peek().map(|Reverse((at_ps, _))| *at_ps);
            match (self.network.next_ps(), turn_ps) {
                (Some(at_ps), turn_ps) if turn_ps.is_none_or(|turn_ps| at_ps <= turn_ps) => {
                    self.network.happen(&mut stirred);
                    for rank in stirred.drain(..) {
                        self.wake(rank.index(), at_ps);
                    }
                }
                (_, Some(_)) => self.turn()?,
                (_, None) => return Err(self.stuck()),
            }
        }
        Ok(())
    }

    /// There is news for a member: it sees it when its loop comes round, or when it is woken.
    fn wake(&mut self, index: usize, now_ps: u64) {
        let host = &mut self.hosts[index];
        let Some(Idle { next_ps, period_ps }) = host.idle else { return };
        let spun_ps = now_ps.saturating_sub(next_ps);
        let at_ps =
            if spun_ps > host.costs.spin_ps { now_ps + host.costs.wake_ps } else { next_ps + spun_ps.div_ceil(period_ps) * period_ps };
        if at_ps < host.turn_ps {
            self.schedule(index, at_ps);
        }
    }

    fn schedule(&mut self, index: usize, at_ps: u64) {
        self.hosts[index].turn_ps = at_ps;
        self.turns.push(Reverse((at_ps, index)));
    }

    /// The next member's turn.
    fn turn(&mut self) -> Result<(), RunError> {
        let Some(Reverse((at_ps, index))) = self.turns.pop() else { return Ok(()) };
        let host = &mut self.hosts[index];
        if host.turn_ps != at_ps {
            // It was woken before.
            return Ok(());
        }
        let (network, rank) = (&self.network, Rank::new(index));
        network.begin_turn(rank, at_ps);
        network.spend(rank, host.costs.turn_ps);
        if let Some(timeline) = host.group.timeline_mut() {
            timeline.set_now(at_ps / 1000);
        }
        let was_done = host.app.delivered == self.expected;
        let mut progress = host.app.send(&mut host.group);
        let turn = host.group.step(&mut host.app).map_err(|ended| RunError::Ended { rank, why: ended.to_string() })?;
        progress |= turn.is_busy();
        let stats = host.group.stats();
        let (records, blocks) = (stats.received - host.seen.received, stats.blocks_posted - host.seen.blocks_posted);
        host.seen = stats;
        let here = stats.received + stats.messages_sent + stats.nulls_sent;
        let under_way = here.saturating_sub(host.group.delivered_seq());
        let cost_ps = records * host.costs.record_ps + blocks * host.costs.block_ps + under_way * host.costs.transfer_ps;
        network.spend(rank, cost_ps);
        let (end_ps, news) = network.end_turn(rank);
        if !was_done && host.app.delivered == self.expected {
            self.unfinished -= 1;
        }
        // What a slow loop posts leaves in time; its next turn is late.
        let period_ps = (((end_ps - at_ps) as f64 * host.stretch) as u64).max(1);
        let end_ps = at_ps + period_ps;
        if progress || news {
            host.idle = None;
            host.busy_ps += period_ps;
            self.schedule(index, end_ps);
            return Ok(());
        }
        host.idle = Some(Idle { next_ps: end_ps, period_ps });
        host.turn_ps = u64::MAX;
        // A message that is due later ends the idleness by itself; one that is due waits for room.
        if let Some(due_ps) = host.app.due_ps().filter(|&due_ps| due_ps > at_ps) {
            self.schedule(index, due_ps.max(end_ps));
        }
        Ok(())
    }

    fn stuck(&self) -> RunError {
        let behind: Vec<String> = self.hosts.iter().map(|host| format!("{} of {}", host.app.delivered, self.expected)).collect();
        RunError::Stuck { delivered: behind.join(", ") }
    }

    /// The applications, by rank.
    pub(crate) fn apps(&self) -> impl Iterator<Item = &App> {
        self.hosts.iter().map(|host| &host.app)
    }

    /// What the members did, by rank.
    pub(crate) fn stats(&self) -> Vec<Stats> {
        self.hosts.iter().map(|host| host.group.stats()).collect()
    }

    /// What their cards did, by rank.
    pub(crate) fn counted(&self) -> Vec<Counted> {
        (0..self.hosts.len()).map(|rank| self.network.counted(Rank::new(rank))).collect()
    }

    /// How long their cores had work, by rank.
    pub(crate) fn busy_ps(&self) -> Vec<u64> {
        self.hosts.iter().map(|host| host.busy_ps).collect()
    }

    /// Things that happened on the network.
    pub(crate) fn happened(&self) -> u64 {
        self.network.happened()
    }
}
