//! What a seed stands for: a group, its links, its load and its troubles.

use squall_group::{Config, Limit, Mode, ScheduleKind};
use squall_rdmc::Descriptor;
use squall_smc::record_bytes;
use squall_transport::sim::{LinkSpec, Random};
use squall_transport::{Rank, RegionOptions};

/// Messages times members of one run, at most: what keeps thousands of runs within seconds.
const DELIVERIES_MAX: u64 = 1200;
/// Bytes that all members together are handed in one run, about.
const DELIVERED_BYTES_MAX: u64 = 3 << 20;

/// A group, its links, its load and its troubles.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// How many members.
    pub members: usize,
    /// What they agree on.
    pub config: Config,
    /// How links behave.
    pub link: LinkSpec,
    /// Links that behave otherwise: from, to, how.
    pub odd_links: Vec<(Rank, Rank, LinkSpec)>,
    /// A call of the fabric takes up to this long.
    pub call_ns_max: u64,
    /// What each member does, by rank.
    pub plans: Vec<Plan>,
    /// Who dies and when.
    pub crash: Option<(Rank, u64)>,
    /// Whether writes land in any order and words are counted: no seed says so, whoever runs it does.
    pub counted: bool,
}

/// What one member does.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// When it has how many messages to send, ascending by time.
    pub bursts: Vec<Burst>,
    /// How often, of a thousand deliveries, it sends from within the upcall.
    pub reply_per_mille: u64,
    /// How many messages it sends from within upcalls, at most.
    pub replies_max: u64,
    /// Of a thousand messages, how many are larger than `small_max` (if the group takes such).
    pub large_per_mille: u64,
    /// How many messages it sends at one step of its loop, at most.
    pub sends_a_step: u64,
    /// From one step of its loop to the next, at least and at most.
    pub step_ns: (u64, u64),
    /// Whether it sleeps when a step finds nothing to do, until something lands; else it goes on stepping.
    pub sleeps: bool,
    /// When it does not run at all: from, until. What it posted before still lands.
    pub stalls: Vec<(u64, u64)>,
}

/// Messages that become ready to be sent at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The moment.
    pub at_ns: u64,
    /// How many.
    pub messages: u64,
}

impl Scenario {
    /// What `seed` stands for; with `members`, in a group of that many.
    pub fn new(seed: u64, members: Option<usize>) -> Scenario {
        let mut random = Random::new(seed);
        let drawn = match random.below(100) {
            0..2 => 1,
            2..75 => random.between(2, 5),
            75..93 => random.between(6, 9),
            _ => random.between(10, 16),
        };
        let members = members.unwrap_or(drawn as usize);
        let config = config(members, &mut random.split());
        let link = LinkSpec { allowance_bytes: allowance_bytes(seed), ..link(&mut random) };
        let odd_links = odd_links(members, link, &mut random);
        let plans = plans(members, &config, &mut random);
        let crash = (members > 1 && random.chance(120)).then(|| (Rank::new(random.below(members as u64) as usize), random.below(400_000)));
        let call_ns_max = random.pick(&[0, 50, 1000]);
        let mut scenario = Scenario { seed, members, config, link, odd_links, call_ns_max, plans, crash, counted: false };
        if members > 1 && random.chance(80) {
            scenario.flood();
        }
        scenario
    }

    /// The first sender sends many small messages one by one to a peer that hardly takes any: everything behind the
    /// link fills up too.
    fn flood(&mut self) {
        let sender = self.config.senders[0];
        let peer = Rank::new((sender.index() + 1) % self.members);
        self.config.ring_bytes = 16 << 10;
        self.config.window_messages = 1 << 20;
        self.odd_links = vec![(sender, peer, LinkSpec { latency_ns: 100_000, queue_max: 1, ..self.link })];
        let plan = &mut self.plans[sender.index()];
        plan.bursts = vec![Burst { at_ns: 0, messages: 100 }];
        (plan.sends_a_step, plan.step_ns, plan.stalls) = (1, (200, 3000), Vec::new());
    }
}

fn config(members: usize, random: &mut Random) -> Config {
    let mut config = Config::new(senders(members, random));
    config.mode = if random.chance(800) { Mode::Ordered } else { Mode::Unordered };
    config.small_max = random.pick(&[1, 8, 13, 24, 100, 500]);
    let least = (2 * record_bytes(config.small_max.max(Descriptor::BYTES as u64))).max(64).next_power_of_two();
    config.ring_bytes = least << random.pick(&[0, 0, 1, 2, 5]);
    config.window_messages = random.pick(&[1, 2, 3, 5, 16, 1 << 20]);
    if random.chance(500) {
        config.large_max = config.small_max + random.pick(&[1, 100, 3000, 9000, 30_000]);
        config.transfers_max = random.between(1, 3) as usize;
        let blocks = random.pick(&[1, 2, 3, 7, 20]);
        config.block_bytes = Some((config.large_max / blocks).max(16) as u32);
        config.schedule = random.pick(&[
            Some(ScheduleKind::Pipeline),
            Some(ScheduleKind::TwoTrees),
            Some(ScheduleKind::Tree),
            Some(ScheduleKind::Chain),
            Some(ScheduleKind::Sequential),
            None,
        ]);
        // Each sender then chooses for each message, as others send or not.
        config.limit = config.schedule.is_none().then(|| Limit::of_links(25_000_000));
        config.post_bytes_max = random.pick(&[1, 4096, 1 << 20]);
    }
    config.region = RegionOptions::default();
    config
}

/// All, half, one, or any of the members.
fn senders(members: usize, random: &mut Random) -> Vec<Rank> {
    let all = (0..members).map(Rank::new);
    let one = random.below(members as u64) as usize;
    match random.below(4) {
        0 => all.collect(),
        1 => all.step_by(2).collect(),
        2 => vec![Rank::new(one)],
        _ => all.filter(|rank| rank.index() == one || random.chance(500)).collect(),
    }
}

/// Links that are known to be slow, in one of four seeds: streams go in pieces of so many bytes.
pub(crate) fn allowance_bytes(seed: u64) -> u64 {
    Random::new(seed ^ 0x510).pick(&[u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, 100, 1000])
}

fn link(random: &mut Random) -> LinkSpec {
    LinkSpec {
        bytes_per_s: random.pick(&[100_000_000, 1_250_000_000, 12_500_000_000]),
        latency_ns: random.between(300, 5000),
        jitter_ns: random.pick(&[0, 500, 5000, 30_000]),
        write_ns: random.pick(&[10, 100]),
        queue_max: random.pick(&[1, 2, 4, 16, 128]),
        spurious_full_per_mille: random.pick(&[0, 0, 20, 300]),
        allowance_bytes: u64::MAX,
        pieces_max: random.pick(&[1, 3, 8]),
        ordered: true,
    }
}

fn odd_links(members: usize, link: LinkSpec, random: &mut Random) -> Vec<(Rank, Rank, LinkSpec)> {
    let count = if members > 1 { random.pick(&[0, 0, 1, 3]) } else { 0 };
    let odd = |_| {
        let from = random.below(members as u64) as usize;
        let to = (from + 1 + random.below(members as u64 - 1) as usize) % members;
        let slow = LinkSpec { latency_ns: link.latency_ns * 20, bytes_per_s: link.bytes_per_s / 10, ..link };
        (Rank::new(from), Rank::new(to), LinkSpec { queue_max: random.pick(&[1, link.queue_max]), ..random.pick(&[slow, slow, link]) })
    };
    (0..count).map(odd).collect()
}

fn plans(members: usize, config: &Config, random: &mut Random) -> Vec<Plan> {
    let senders = config.senders.len() as u64;
    let pace = random.below(3);
    let (reply_per_mille, replies_max) = (random.pick(&[0, 0, 50, 400]), random.between(1, 10));
    let large_per_mille = if config.large_max > config.small_max { random.pick(&[50, 300, 1000]) } else { 0 };
    let bytes = (config.large_max * large_per_mille / 2000 + config.small_max).max(1);
    let most = (DELIVERIES_MAX / (members as u64 * senders)).min(DELIVERED_BYTES_MAX / (bytes * members as u64 * senders)).clamp(1, 60);
    let sends_a_step = random.pick(&[1, 3, u64::MAX]);
    let plan = |rank: usize| {
        let sends = config.senders.contains(&Rank::new(rank));
        let messages = if !sends || random.chance(150) { 0 } else { random.between(1, most) };
        Plan {
            bursts: bursts(messages, random),
            reply_per_mille: if sends { reply_per_mille } else { 0 },
            replies_max,
            large_per_mille,
            sends_a_step,
            step_ns: match (pace + random.below(2)) % 4 {
                0 => (50, 500),
                1 => (200, 3000),
                2 => (1000, 20_000),
                _ => (100, 60_000),
            },
            sleeps: random.chance(600),
            stalls: stalls(random),
        }
    };
    (0..members).map(plan).collect()
}

fn bursts(messages: u64, random: &mut Random) -> Vec<Burst> {
    let (mut left, mut at_ns, mut bursts) = (messages, 0, Vec::new());
    while left > 0 {
        at_ns += random.pick(&[0, 300, 20_000, 200_000]) * random.between(0, 4) / 2;
        let messages = random.between(1, left);
        bursts.push(Burst { at_ns, messages });
        left -= messages;
    }
    bursts
}

fn stalls(random: &mut Random) -> Vec<(u64, u64)> {
    let count = random.pick(&[0, 0, 0, 1, 2]);
    let mut at_ns = 0;
    let stall = |_| {
        let from_ns = at_ns + random.below(150_000);
        at_ns = from_ns + random.below(400_000);
        (from_ns, at_ns)
    };
    (0..count).map(stall).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_makes_a_group_that_can_work() {
        for seed in 0..5000 {
            let scenario = Scenario::new(seed, None);
            assert_eq!(scenario.config.check(scenario.members), Ok(()), "seed {seed}");
            assert_eq!(scenario.plans.len(), scenario.members);
        }
    }

    #[test]
    fn a_seed_stands_for_one_scenario() {
        let text = |seed| format!("{:?}", Scenario::new(seed, None));
        assert_eq!(text(9), text(9));
        assert_ne!(text(9), text(10));
    }
}
