//! What a seed stands for: processes that found a group, ask to join it, and what happens to them.

use std::time::Duration;

use squall_group::{Config, MemberOptions, Mode, Timeouts};
use squall_transport::sim::{LinkSpec, NetSpec, Random};
use squall_transport::{Rank, RegionOptions};

use crate::scenario::allowance_bytes;

/// Silence that counts as death.
pub(super) const SUSPECT_AFTER_NS: u64 = 1_000_000;
/// How long members wait for one that does not come.
pub(super) const PATIENCE_NS: u64 = 4_000_000;

/// What happens to processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// One dies; the others are told by its connections, or not.
    Crash {
        /// Whether its connections break with it.
        told: bool,
    },
    /// One does not run for so long, in nanoseconds.
    Stall(u64),
    /// One suspects another for no reason.
    Suspect,
    /// The control connection of two breaks.
    Cut,
    /// One does not hear another, neither by control connections nor otherwise.
    Deaf {
        /// For so long, in nanoseconds.
        ns: u64,
        /// Nor does the other hear it.
        both: bool,
    },
    /// One leaves.
    Leave,
    /// All members leave, one after the other.
    LeaveAll,
    /// Some leave as soon as a member asks the group to take somebody in.
    Turnover,
    /// So many come at once.
    Join {
        /// How many.
        count: u64,
        /// Whether they want to send.
        send: bool,
    },
    /// One comes that dies soon, after so long at the most, in nanoseconds.
    Mayfly(u64),
    /// One hangs, and is the first contact of one that comes.
    Hang {
        /// For so long, in nanoseconds.
        ns: u64,
        /// Its connections go on, as those of a process do whose application takes its time.
        accepts: bool,
    },
    /// As soon as one has gone to meet the members of a next view, one that has yet to come dies. One that comes at the
    /// same moment asks who waits, and dies before it is taken in.
    Ambush {
        /// Whether connections of the first break with it.
        told: bool,
        /// It is before that: as soon as one has acted on what was decided.
        early: bool,
    },
    /// One that was a member asks under its old name.
    OldName,
    /// The witness dies in the middle of a line, and is started again.
    Witness,
}

/// A group, its load, and what happens to its members.
#[derive(Clone, Debug)]
pub struct MembersScenario {
    /// Everything follows from it.
    pub seed: u64,
    /// Founders.
    pub founders: usize,
    /// What all processes are made of, but for the witness's address.
    pub options: MemberOptions,
    /// Whether there is a witness.
    pub witness: bool,
    /// How data links behave.
    pub link: LinkSpec,
    /// How control connections behave.
    pub net: NetSpec,
    /// A call of the fabric takes up to this long.
    pub call_ns_max: u64,
    /// Peers write by mappings of their own.
    pub mapped: bool,
    /// Writes land in any order and words are counted: no seed says so, whoever runs it does.
    pub counted: bool,
    /// Bytes of state beside what was delivered.
    pub state_bytes: u64,
    /// How fast it is restored, in bytes a second.
    pub restore_bytes_per_s: u64,
    /// When what happens, ascending by time.
    pub blows: Vec<(u64, Blow)>,
    /// Messages that each process sends.
    pub messages: u64,
    /// Until when they become ready to be sent, and anything happens.
    pub busy_ns: u64,
    /// From one step to the next, at the most.
    pub step_ns: u64,
}

impl MembersScenario {
    /// What `seed` stands for.
    pub fn new(seed: u64) -> MembersScenario {
        let mut random = Random::new(seed ^ 0xC0_10_17);
        let founders = random.pick(&[1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 7]);
        let config = config(founders, &mut random);
        let link = LinkSpec {
            bytes_per_s: random.pick(&[1_000_000_000, 12_500_000_000]),
            latency_ns: random.pick(&[500, 2000, 20_000]),
            jitter_ns: random.pick(&[0, 500, 20_000]),
            queue_max: random.pick(&[16, 128]),
            allowance_bytes: allowance_bytes(seed),
            ..LinkSpec::default()
        };
        let net = NetSpec {
            latency_ns: random.pick(&[2000, 30_000]),
            jitter_ns: random.pick(&[0, 5000, 60_000]),
            bytes_per_s: random.pick(&[2_000_000_000, 10_000_000_000]),
            // Some have room for less than a member has on its way to a newcomer.
            unsent_bytes_max: random.pick(&[200_000, 200_000, 1 << 20, 4 << 20]),
            connect_timeout_ns: 4_000_000,
        };
        let (large, slow) = (random.chance(150), random.chance(400));
        let state_bytes = if large { random.between(1_200_000, 2_500_000) } else { random.pick(&[0, 300, 100_000, 400_000, 400_000]) };
        let restore_bytes_per_s = if slow { random.pick(&[100_000_000, 400_000_000]) } else { 20_000_000_000 };
        let busy_ns = random.between(2_000_000, 12_000_000);
        let mut blows = blows(busy_ns, &mut random);
        if founders == 2 && random.chance(300) {
            // Two that do not hear each other.
            let apart = Blow::Deaf { ns: 4_000_000, both: true };
            blows.insert(0, (blows[0].0.min(random.below(busy_ns)), apart));
        }
        let scenario = MembersScenario {
            seed,
            founders,
            options: MemberOptions {
                patience: Duration::from_nanos(PATIENCE_NS),
                backlog_bytes_max: random.pick(&[200_000, 1 << 28]),
                ..MemberOptions::new(config)
            },
            witness: random.chance(500),
            link,
            net,
            call_ns_max: random.pick(&[0, 50, 300]),
            mapped: random.chance(400),
            counted: false,
            state_bytes,
            restore_bytes_per_s,
            blows,
            messages: random.between(0, 60),
            busy_ns,
            step_ns: random.pick(&[1000, 10_000, 60_000]),
        };
        // At the slower one a second newcomer with much state has to wait for its turn.
        let state_bytes_per_second = random.pick(&[200_000_000, 1 << 40]);
        MembersScenario { options: MemberOptions { state_bytes_per_second, ..scenario.options }, ..scenario }
    }
}

fn config(founders: usize, random: &mut Random) -> Config {
    let mut config = Config::new((0..founders).map(Rank::new).filter(|_| random.chance(700)).collect());
    if config.senders.is_empty() {
        config.senders = vec![Rank::new(random.below(founders as u64) as usize)];
    }
    config.mode = if random.chance(850) { Mode::Ordered } else { Mode::Unordered };
    config.small_max = random.pick(&[24, 100, 500]);
    config.ring_bytes = 2048 << random.below(3);
    config.window_messages = random.pick(&[3, 16, 1 << 20]);
    if random.chance(400) {
        config.large_max = config.small_max + random.pick(&[100, 3000, 20_000]);
        config.transfers_max = random.between(1, 3) as usize;
        // As users set it: for those who send, with or without newcomers.
        config.senders_max = random.pick(&[0, founders, founders + 2, founders + 12]);
        config.block_bytes = Some((config.large_max / random.pick(&[1, 3, 7])).max(16) as u32);
    }
    config.region = RegionOptions::default();
    config.membership = Some(Timeouts::after_ns(SUSPECT_AFTER_NS));
    config
}

fn blows(busy_ns: u64, random: &mut Random) -> Vec<(u64, Blow)> {
    let count = random.pick(&[1, 2, 3, 3, 4, 6, 8]);
    let mut blows: Vec<(u64, Blow)> = (0..count).map(|_| (random.below(busy_ns), draw(random))).collect();
    if count > 1 && random.chance(400) {
        let (at_ns, spread_ns) = (blows[0].0, random.pick(&[20_000, 200_000, 1_000_000]));
        blows.iter_mut().for_each(|(other_ns, _)| *other_ns = at_ns + random.below(spread_ns));
    }
    blows.sort_by_key(|(at_ns, _)| *at_ns);
    blows
}

fn draw(random: &mut Random) -> Blow {
    match random.below(100) {
        0..10 => Blow::Crash { told: random.chance(600) },
        10..16 => Blow::Ambush { told: random.chance(700), early: random.chance(500) },
        16..24 => Blow::Stall(random.pick(&[200_000, 800_000, 3_000_000, 3_000_000])),
        24..28 => Blow::Suspect,
        28..34 => Blow::Cut,
        34..40 => Blow::Deaf { ns: random.pick(&[100_000, 900_000, 4_000_000]), both: random.chance(500) },
        40..48 => Blow::Leave,
        48..51 => Blow::LeaveAll,
        51..55 => Blow::Turnover,
        55..81 => Blow::Join { count: random.pick(&[1, 1, 1, 2, 4, 7]), send: random.chance(700) },
        81..84 => Blow::Mayfly(random.pick(&[50_000, 500_000, 3_000_000])),
        // Often about as long as a newcomer waits before it asks the next one too.
        84..92 if random.chance(700) => Blow::Hang { ns: PATIENCE_NS / 4 + random.below(PATIENCE_NS / 8), accepts: true },
        84..92 => Blow::Hang { ns: random.pick(&[500_000, 20_000_000]), accepts: random.chance(500) },
        92..96 => Blow::OldName,
        _ => Blow::Witness,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_makes_a_group_that_can_work_and_only_one() {
        for seed in 0..2000 {
            let scenario = MembersScenario::new(seed);
            assert_eq!(scenario.options.config.check(scenario.founders), Ok(()), "seed {seed}");
            assert!(scenario.blows.is_sorted_by_key(|(at_ns, _)| *at_ns));
            assert_eq!(format!("{scenario:?}"), format!("{:?}", MembersScenario::new(seed)));
        }
    }
}
