//! What a seed stands for: a group whose members come and go.

use std::time::Duration;

use squall_group::{Config, Mode, Timeouts};
use squall_transport::sim::{LinkSpec, Random};
use squall_transport::{Rank, RegionOptions};

use super::fault::{Ambush, Fault, Moment, SUSPECT_AFTER_NS};
use crate::aim::Aim;
use crate::scenario::allowance_bytes;

/// A group, its load, and what happens to its members.
#[derive(Clone, Debug)]
pub struct Churn {
    /// Everything follows from it, and from the aim.
    pub seed: u64,
    /// What the run is to show.
    pub aim: Aim,
    /// Members at first.
    pub members: usize,
    /// What they agree on.
    pub config: Config,
    /// How links behave.
    pub link: LinkSpec,
    /// Of a thousand links, how many are so much slower than the others that some members hear of a thing long before
    /// the rest.
    pub odd_per_mille: u64,
    /// A call of the fabric takes up to this long.
    pub call_ns_max: u64,
    /// A link of the first view that is so slow that who sends large messages by it seems to be dead, and what it sent
    /// lands long after.
    pub slow: Option<(Rank, Rank)>,
    /// Peers write by mappings of their own: what they posted may land in an epoch that is over.
    pub mapped: bool,
    /// Writes land in any order and words are counted: no seed says so, whoever runs it does.
    pub counted: bool,
    /// When what happens, ascending by time.
    pub faults: Vec<(u64, Fault)>,
    /// The first that leads a change dies so long, in nanoseconds, after it has proposed the list, or the trim; then
    /// the next one does.
    pub ambushes: Vec<Ambush>,
    /// From the first leader that proposes a change some hear no more than the list, and the others do not hear each
    /// other for a while: what it has cut is known to few when it dies.
    pub torn: bool,
    /// The only sender dies as it takes newcomers in that are to send, and there are few buffers: others send in its
    /// place.
    pub orphaned: bool,
    /// The first that gives a newcomer its state dies while it does.
    pub ambush_giver: bool,
    /// A newcomer's state is on its way for so long, in nanoseconds, at the most.
    pub state_ns: u64,
    /// How many that were stopped or died come back, under a new name.
    pub returns: u64,
    /// Messages that each process sends.
    pub messages: u64,
    /// Until when they become ready to be sent, and faults happen.
    pub busy_ns: u64,
    /// When the run is cut off, if it is.
    pub ends_ns: Option<u64>,
    /// From one step to the next, at the most.
    pub step_ns: u64,
}

impl Churn {
    /// What `seed` stands for in runs with this aim.
    pub fn new(seed: u64, aim: Aim) -> Churn {
        let mut random = Random::new(seed ^ 0xC4_0B11 ^ (aim as u64) << 40);
        let members = random.pick(&[1, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 9]);
        let mut config = config(members, &mut random);
        let link = LinkSpec {
            bytes_per_s: random.pick(&[100_000_000, 1_000_000_000, 12_500_000_000]),
            latency_ns: random.pick(&[500, 2000, 20_000]),
            jitter_ns: random.pick(&[0, 500, 20_000]),
            queue_max: random.pick(&[4, 16, 128]),
            spurious_full_per_mille: random.pick(&[0, 0, 50]),
            allowance_bytes: allowance_bytes(seed),
            ..LinkSpec::default()
        };
        let busy_ns = random.between(1_000_000, 6_000_000);
        let mut faults = faults(aim, busy_ns, &mut random);
        if members == 1 {
            leave_while_others_learn(seed, busy_ns, &mut faults);
        }
        let call_ns_max = random.pick(&[0, 50, 300]);
        let (messages, step_ns) = (random.between(0, 60), random.pick(&[1000, 10_000, 60_000]));
        let soon_ns = 3 * (link.latency_ns + link.jitter_ns + step_ns);
        let ambushes = if members > 2 && random.chance(400) { random.pick(&[1, 1, 2]) } else { 0 };
        let ambush = |_| match random.pick(&[Moment::Proposed, Moment::Cut, Moment::Cut, Moment::Acted]) {
            Moment::Acted => Ambush { moment: Moment::Acted, after_ns: random.below(1000) },
            moment => Ambush { moment, after_ns: random.below(soon_ns) },
        };
        let torn = members > 3 && Random::new(seed ^ 0x70_4E).chance(60);
        let mut ambushes: Vec<Ambush> = (0..ambushes).map(ambush).collect();
        if torn {
            ambushes = vec![Ambush { moment: Moment::Acted, after_ns: seed % 1000 }];
        }
        let slow = (members > 2 && config.large_max > 0 && random.chance(400)).then(|| {
            (config.large_max, config.transfers_max) = (config.small_max + 20_000, 3);
            config.block_bytes = Some(random.pick(&[2000, 7000, 20_500]));
            let from = random.below(members as u64) as usize;
            (Rank::new(from), Rank::new((from + random.between(1, members as u64 - 1) as usize) % members))
        });
        let mapped = random.chance(if slow.is_some() { 800 } else { 400 });
        let returns = random.pick(&[0, 0, 1, 3]);
        let odd_per_mille = random.pick(&[0, 0, 200, 500]);
        let (ambush_giver, state_ns) = (random.chance(150), random.pick(&[10_000, 200_000, 2_000_000]));
        let ends_ns = (aim == Aim::Safety).then(|| random.between(SUSPECT_AFTER_NS / 2, busy_ns + 3 * SUSPECT_AFTER_NS));
        let churn = Churn {
            seed,
            aim,
            members,
            config,
            link,
            odd_per_mille,
            call_ns_max,
            slow,
            mapped,
            counted: false,
            faults,
            ambushes,
            torn,
            orphaned: false,
            ambush_giver,
            state_ns,
            returns,
            messages,
            busy_ns,
            ends_ns,
            step_ns,
        };
        let mut random = Random::new(seed ^ 0xBF4A);
        let orphaned = random.chance(40) && aim == Aim::Liveness && !torn;
        if orphaned { churn.orphan(&mut random) } else { churn }
    }

    /// Makes it one whose only sender dies.
    fn orphan(self, random: &mut Random) -> Churn {
        let members = random.between(4, 5) as usize;
        let large_max = self.config.small_max + 3000;
        let config = Config {
            senders: vec![Rank::new(0)],
            mode: Mode::Ordered,
            window_messages: self.config.window_messages.max(16),
            large_max,
            transfers_max: 1,
            senders_max: members - 1,
            block_bytes: Some(large_max as u32),
            ..self.config
        };
        let (at_ns, after_ns) = (random.below(200_000), random.below(300_000));
        let join = |place| (at_ns + place, Fault::Join { comes: true, sends: true });
        Churn {
            members,
            config,
            link: LinkSpec { latency_ns: 20_000, jitter_ns: 20_000, ..self.link },
            odd_per_mille: 0,
            slow: None,
            faults: (0..3).map(join).collect(),
            ambushes: vec![Ambush { moment: Moment::Proposed, after_ns }],
            orphaned: true,
            ambush_giver: false,
            state_ns: 4_000_000,
            returns: 0,
            messages: 200,
            busy_ns: 8_000_000,
            step_ns: self.step_ns.min(10_000),
            ..self
        }
    }

    /// Members that the group may lose by more than the faults, at the most.
    pub(crate) fn victims(&self) -> usize {
        // Who hears a leader in part may lose any of the others.
        let torn = if self.torn { self.members } else { 0 };
        torn + self.ambushes.len() + usize::from(self.ambush_giver) + if self.slow.is_some() { 2 } else { 0 }
    }
}

fn config(members: usize, random: &mut Random) -> Config {
    let mut config = Config::new((0..members).map(Rank::new).filter(|_| random.chance(700)).collect());
    if config.senders.is_empty() {
        config.senders = vec![Rank::new(random.below(members as u64) as usize)];
    }
    config.mode = if random.chance(850) { Mode::Ordered } else { Mode::Unordered };
    config.small_max = random.pick(&[24, 100, 500]);
    config.ring_bytes = 2048 << random.below(3);
    config.window_messages = random.pick(&[1, 3, 16, 1 << 20]);
    if random.chance(400) {
        config.large_max = config.small_max + random.pick(&[100, 3000, 20_000]);
        config.transfers_max = random.between(1, 3) as usize;
        // Few buffers: who comes to send more may have to listen only.
        config.senders_max = config.senders.len() + random.pick(&[0, 1, 16]);
        config.block_bytes = Some((config.large_max / random.pick(&[1, 3, 7])).max(16) as u32);
    }
    config.region = RegionOptions::default();
    // Who comes later into a view than others may be waiting for one that is lost.
    let suspect_after = Duration::from_nanos(SUSPECT_AFTER_NS);
    let learner = random.pick(&[suspect_after / 10, suspect_after]);
    config.membership = Some(Timeouts { first_word: 2 * suspect_after, learner, ..Timeouts::after(suspect_after) });
    config
}

fn faults(aim: Aim, busy_ns: u64, random: &mut Random) -> Vec<(u64, Fault)> {
    let count = match aim {
        Aim::Liveness | Aim::Members => random.pick(&[0, 1, 1, 1, 2, 2, 3, 4, 6]),
        Aim::Safety => random.pick(&[1, 2, 2, 3, 4, 6, 9]),
    };
    let mut faults: Vec<(u64, Fault)> = (0..count).map(|_| (random.below(busy_ns), Fault::draw(random))).collect();
    if count > 1 && random.chance(500) {
        // Several at nearly the same time, newcomers among them: the second meets the protocol in the middle, and one
        // change has to take them all.
        let ((at_ns, _), spread_ns) = (faults[0], random.pick(&[5_000, 60_000, 600_000]));
        faults.extend((0..random.below(3)).map(|_| (0, Fault::join(random))).collect::<Vec<_>>());
        faults.iter_mut().for_each(|(other_ns, _)| *other_ns = at_ns + random.below(spread_ns));
    }
    faults.sort_by_key(|(at_ns, _)| *at_ns);
    faults
}

/// Often who is alone leaves as soon as somebody asks, or while it learns.
fn leave_while_others_learn(seed: u64, busy_ns: u64, faults: &mut Vec<(u64, Fault)>) {
    let mut random = Random::new(seed ^ 0x1EA7E);
    if random.chance(900) {
        for _ in 0..3 {
            let at_ns = random.below(busy_ns);
            faults.push((at_ns, Fault::Join { comes: true, sends: true }));
            faults.push((at_ns + random.pick(&[1, 200_000, 600_000]), Fault::Leave));
        }
        faults.sort_by_key(|(at_ns, _)| *at_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_makes_a_group_that_can_work() {
        for (seed, aim) in (0..3000).flat_map(|seed| Aim::GROUPS.map(|aim| (seed, aim))) {
            let churn = Churn::new(seed, aim);
            assert_eq!(churn.config.check(churn.members), Ok(()), "seed {seed}, {aim}");
            assert!(churn.faults.is_sorted_by_key(|(at_ns, _)| *at_ns));
            assert_eq!(churn.ends_ns.is_some(), aim == Aim::Safety);
        }
    }

    #[test]
    fn a_seed_stands_for_one_run_of_each_aim() {
        let text = |seed, aim| format!("{:?}", Churn::new(seed, aim));
        assert_eq!(text(9, Aim::Safety), text(9, Aim::Safety));
        assert_ne!(text(9, Aim::Safety), text(9, Aim::Liveness));
        assert_ne!(text(9, Aim::Safety), text(10, Aim::Safety));
    }
}
