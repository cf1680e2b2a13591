//! One point of the study.

use squall_group::{Config, Limit, Mode, Record, Relay, Stats};
use squall_rdmc::schedule::ScheduleKind;
use squall_transport::Rank;
use squall_transport::model::Counted;

use crate::app::AppCosts;
pub use crate::app::Load;
use crate::bound;
pub use crate::cluster::Delay;
use crate::cluster::{Cluster, LoopCosts, Work};
use crate::error::RunError;
use crate::memory;
use crate::peer::Peer;
use crate::profile::Profile;
use crate::spread::Spread;

/// Longest message that goes by the ring.
const SMALL_MAX: u64 = 16 << 10;
/// Ring of a sender whose messages go by it.
const RING_BYTES: u64 = 1 << 20;
/// Ring of a sender whose messages are large: descriptors.
const DESCRIPTOR_RING_BYTES: u64 = 64 << 10;
/// What a sender's large messages may take of a pool.
const LARGE_WINDOW_BYTES: u64 = 16 << 20;
/// What a member records of a block at the most: its landing, and its post to each of some members.
const RECORDS_A_BLOCK: usize = 8;
/// Seconds of the line that a stream should last, if nobody says how many messages.
const STREAM_SECONDS: f64 = 0.02;
/// Messages of all senders that such a stream has at the most.
const STREAM_MESSAGES_MAX: u64 = 20_000;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Senders {
    /// Every member.
    All,
    /// Half of them, rounded down, at least one.
    Half,
    /// The first.
    One,
}

impl Senders {
    /// All patterns, as the published figures name them.
    pub const EVERY: [Senders; 3] = [Senders::All, Senders::Half, Senders::One];

    /// How many of `nodes` members.
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Senders::All => nodes,
            Senders::Half => (nodes / 2).max(1),
            Senders::One => 1,
        }
    }

    /// The name in result files.
    pub fn name(self) -> &'static str {
        match self {
            Senders::All => "all",
            Senders::Half => "half",
            Senders::One => "one",
        }
    }
}

/// One point: who sends what, on which cluster.
#[derive(Clone, Debug)]
pub struct Run {
    /// The cluster.
    pub profile: Profile,
    /// Members.
    pub nodes: usize,
    /// Of whom so many, the first ones, send.
    pub senders: usize,
    /// Bytes of each message.
    pub message_bytes: u64,
    /// Of each sender; by rule ([`Run::messages`]) if not given.
    pub messages: Option<u64>,
    /// When they are delivered.
    pub mode: Mode,
    /// When they are sent.
    pub load: Load,
    /// Messages that a sender may have undelivered; by rule if not given.
    pub window: Option<u64>,
    /// Bytes of a block; by rule if not given.
    pub block_bytes: Option<u32>,
    /// Who relays; by rule if not given.
    pub schedule: Option<ScheduleKind>,
    /// With the limits of a peer.
    pub peer: Option<Peer>,
    /// Who is slow, or sends nothing.
    pub delay: Delay,
    /// Chance follows from it.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Messages of each sender.
    pub messages: u64,
    /// From the first send to the last delivery.
    pub seconds: f64,
    /// What the senders sent, in bytes a second.
    pub bytes_per_s: f64,
    /// That as a part of what the cards can carry.
    pub bound_part: f64,
    /// Own messages, from sending (or when due) to delivery at the sender.
    pub latency: Spread,
    /// The same from the call that sent them.
    pub from_call: Spread,
    /// By rank.
    pub stats: Vec<Stats>,
    /// By rank.
    pub counted: Vec<Counted>,
    /// By rank: part of the time that its core had work.
    pub core_busy: Vec<f64>,
    /// By rank: part of the time that its egress port sent.
    pub egress_busy: Vec<f64>,
    /// Things that happened on the modelled network.
    pub happened: u64,
}

impl Run {
    /// A stream of ordered messages.
    pub fn stream(profile: &Profile, nodes: usize, senders: Senders, message_bytes: u64) -> Run {
        Run {
            profile: profile.clone(),
            nodes,
            senders: senders.of(nodes),
            message_bytes,
            messages: None,
            mode: Mode::Ordered,
            load: Load::Stream,
            window: None,
            block_bytes: None,
            schedule: None,
            peer: None,
            delay: Delay::default(),
            seed: 1,
        }
    }

    /// Whether its messages are relayed in blocks.
    pub fn is_relayed(&self) -> bool {
        self.message_bytes > SMALL_MAX
    }

    /// Messages of each sender: a stream lasts some hundredths of a second of the line, and some windows at least.
    pub fn messages(&self) -> u64 {
        let line = self.bound_bytes_per_s();
        let rule = || {
            let total = ((line * STREAM_SECONDS / self.message_bytes.max(64) as f64) as u64).min(STREAM_MESSAGES_MAX);
            let least = if self.is_relayed() { self.window().clamp(3, 24) } else { 200 };
            (total / self.senders as u64).max(least)
        };
        self.messages.unwrap_or_else(rule)
    }

    /// Senders that send.
    pub fn sending(&self) -> usize {
        self.senders.saturating_sub(self.delay.idle).max(1)
    }

    /// What it cannot beat.
    pub fn bound_bytes_per_s(&self) -> f64 {
        bound::bytes_per_s(&self.profile, self.mode, self.nodes, self.sending(), self.is_relayed())
    }

    /// Messages that a sender may have undelivered.
    pub fn window(&self) -> u64 {
        let of_peer = self.peer.as_ref().map(|peer| peer.window(self.message_bytes));
        self.window.or(of_peer).unwrap_or_else(|| {
            if self.is_relayed() { (LARGE_WINDOW_BYTES / self.message_bytes).clamp(3, 16) } else { RING_BYTES / (self.message_bytes + 16) }
        })
    }

    /// Who relays, once all that send are under way.
    pub fn schedule(&self) -> ScheduleKind {
        self.relay().schedule
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> u32 {
        self.relay().block_bytes
    }

    /// As the group chooses it, with what a block costs on this cluster. The peer knows one schedule.
    fn relay(&self) -> Relay {
        let chosen = Relay::choose(self.limit(), self.message_bytes, self.given_block_bytes(), self.nodes, self.senders);
        Relay { schedule: self.given_schedule().unwrap_or(chosen.schedule), ..chosen }
    }

    fn given_schedule(&self) -> Option<ScheduleKind> {
        let of_peer = self.peer.as_ref().map(|_| ScheduleKind::Pipeline);
        self.schedule.or(of_peer).or(self.mode.is_relayed().then_some(ScheduleKind::Chain))
    }

    fn given_block_bytes(&self) -> Option<u32> {
        self.block_bytes.or_else(|| self.peer.as_ref().map(|peer| peer.block_bytes(self.message_bytes)))
    }

    /// Links are the limit here.
    fn limit(&self) -> Limit {
        Limit::Links { overhead_bytes: self.overhead_bytes() as u64 }
    }

    /// What a block costs beside its bytes, in bytes that could have been sent: the core's work for it, calls included.
    fn overhead_bytes(&self) -> f64 {
        let Profile { cpu, kernel, .. } = &self.profile;
        let calls_ns = kernel.as_ref().map_or(0.0, |kernel| 2.0 * kernel.call_ns);
        let turn_ns = cpu.turn_ns + cpu.row_ns * self.nodes as f64 + cpu.block_ns + 2.0 * cpu.post_ns + cpu.doorbell_ns;
        (turn_ns + calls_ns) * 1e-9 * self.profile.payload_bytes_per_s()
    }

    fn config(&self) -> Config {
        let senders = (0..self.senders).map(Rank::new).collect();
        let (relayed, window) = (self.is_relayed(), self.window());
        let record_bytes = self.message_bytes.next_multiple_of(8) + 8;
        let least = (2 * (SMALL_MAX + 8)).next_power_of_two();
        let ring_bytes = match relayed {
            true => DESCRIPTOR_RING_BYTES,
            false => ((window + 1) * record_bytes).next_power_of_two().clamp(least, RING_BYTES.max(least)),
        };
        Config {
            mode: self.mode,
            ring_bytes,
            small_max: SMALL_MAX,
            window_messages: window,
            large_max: if relayed { self.message_bytes } else { 0 },
            transfers_max: if self.peer.is_some() { 1 } else { window as usize },
            block_bytes: self.given_block_bytes().filter(|_| relayed),
            schedule: self.given_schedule(),
            limit: Some(self.limit()),
            post_bytes_max: if self.peer.is_some() { 1 } else { 1 << 20 },
            ..Config::new(senders)
        }
    }

    fn work(&self) -> Work {
        let cpu = &self.profile.cpu;
        let ps = |ns: f64| (ns * 1e3) as u64;
        let us = |us: Option<f64>, without: u64| us.map_or(without, |us| (us * 1e6) as u64);
        let turn_ns = cpu.turn_ns + cpu.row_ns * self.nodes as f64 + cpu.sender_ns * self.senders as f64;
        let mut work = Work {
            message_bytes: self.message_bytes,
            messages: self.messages(),
            load: self.load,
            // The peer sends one large message of a sender at a time, and the others wait in its window.
            queue: if self.peer.is_some() && self.is_relayed() { self.window() } else { 0 },
            app: AppCosts {
                send_ps: ps(cpu.send_ns),
                delivery_ps: ps(cpu.delivery_ns),
                touch_byte_ps: cpu.touch_ns_per_kilobyte,
                gap_ps: 0,
            },
            costs: LoopCosts {
                turn_ps: ps(turn_ns),
                record_ps: ps(cpu.record_ns),
                block_ps: ps(cpu.block_ns),
                transfer_ps: if self.is_relayed() { ps(cpu.transfer_ns) } else { 0 },
                spin_ps: us(cpu.spin_us, u64::MAX / 2),
                wake_ps: us(cpu.wake_us, 0),
                skew: cpu.skew,
            },
            delay: Delay { idle: self.senders - self.sending(), ..self.delay },
        };
        if let Some(peer) = &self.peer {
            peer.slow_down(self.senders, self.is_relayed(), &mut work);
        }
        work
    }

    /// Runs it in virtual time.
    ///
    /// # Errors
    /// What does not fit, and any outcome that cannot be: two orders, or more than the bound.
    pub fn run(&self) -> Result<Outcome, RunError> {
        let mut cluster = self.cluster()?;
        cluster.run()?;
        self.outcome(&cluster)
    }

    /// The same, and what every member recorded of its blocks, by rank; times are virtual nanoseconds.
    ///
    /// # Errors
    /// As [`Run::run`].
    pub fn traced(&self) -> Result<(Outcome, Vec<Vec<Record>>), RunError> {
        let mut cluster = self.cluster()?;
        let blocks = self.message_bytes.div_ceil(self.block_bytes().into()) * self.messages();
        cluster.record(RECORDS_A_BLOCK * blocks as usize * self.senders + self.nodes);
        cluster.run()?;
        let outcome = self.outcome(&cluster)?;
        Ok((outcome, cluster.records()))
    }

    fn cluster(&self) -> Result<Cluster, RunError> {
        self.profile.check_nodes(self.nodes)?;
        let config = self.config();
        memory::check(&config, self.nodes)?;
        let mut spec = self.profile.model();
        if let Some(peer) = &self.peer {
            peer.limit(self.message_bytes, self.is_relayed(), &mut spec);
        }
        Cluster::new(&spec, &config, self.nodes, &self.work(), self.seed)
    }

    fn outcome(&self, cluster: &Cluster) -> Result<Outcome, RunError> {
        let (first, others) = cluster.apps().fold((None, Vec::new()), |(first, mut others), app| match first {
            None => (Some(app), others),
            Some(_) => {
                others.push(app);
                (first, others)
            }
        });
        let order = first.map_or(0, |app| app.order);
        if self.mode.is_total()
            && let Some(position) = others.iter().position(|app| app.order != order)
        {
            return Err(RunError::Disorder { rank: Rank::new(position + 1) });
        }
        let begin_ps = cluster.apps().filter_map(|app| app.first_send_ps).min().unwrap_or(0);
        let end_ps = cluster.apps().map(|app| app.last_delivery_ps).max().unwrap_or(0);
        let took_ps = (end_ps - begin_ps).max(1) as f64;
        let messages = self.messages();
        let bytes_per_s = (messages * self.sending() as u64 * self.message_bytes) as f64 / took_ps * 1e12;
        let bound = self.bound_bytes_per_s();
        if bytes_per_s > bound * 1.000_001 {
            return Err(RunError::BeyondBound { got: bytes_per_s / 1e9, bound: bound / 1e9 });
        }
        let counted = cluster.counted();
        Ok(Outcome {
            messages,
            seconds: took_ps / 1e12,
            bytes_per_s,
            bound_part: bytes_per_s / bound,
            latency: Spread::of(cluster.apps().flat_map(|app| app.latencies_ps.iter().copied()).collect()),
            from_call: Spread::of(cluster.apps().flat_map(|app| app.from_call_ps.iter().copied()).collect()),
            stats: cluster.stats(),
            core_busy: cluster.busy_ps().iter().map(|&busy| busy as f64 / took_ps).collect(),
            egress_busy: counted.iter().map(|counted| counted.egress_ps as f64 / took_ps).collect(),
            counted,
            happened: cluster.happened(),
        })
    }
}
