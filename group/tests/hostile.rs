//! A member that lies: arbitrary words and bytes in every column and ring, by seed, over shm and tcp. Nobody panics or
//! hangs, and whoever notices names the liar.
//!
//! `HOSTILE_SEEDS=0..3000` runs these seeds instead of the usual ones. A failure prints the line that replays it.

mod liar;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use liar::{Generous, Habit, Lies, Random, way_in};
use squall_group::{Config, Delivery, Ended, Group, JoinError, Limit, Mode, Outgoing, ScheduleKind, Timeouts, Turn, Upcalls};
use squall_membership::Mutation;
use squall_transport::exchange::LocalExchange;
use squall_transport::shm::ShmFabric;
use squall_transport::tcp::TcpFabric;
use squall_transport::{Endpoint, Fabric, OpenError, Rank, RegionOptions};

/// Seeds of an ordinary run, a fabric.
const SEEDS: Range<u64> = 0..400;
/// Turns in which a member sends.
const TURNS: u64 = 1500;
/// Time that a turn takes, as membership is told.
const TURN_NS: u64 = 10_000;
/// Nothing takes so long but a member that hangs.
const HANG: Duration = Duration::from_secs(120);

/// One run.
#[derive(Clone, Debug)]
struct Trial {
    seed: u64,
    members: usize,
    liar: Rank,
    lies: Lies,
    config: Config,
}

impl Trial {
    fn new(seed: u64) -> Trial {
        let (mut random, bit) = (Random::new(seed), |value| seed & value == 0);
        let members = 3 + random.below(2) as usize;
        let (liar, victim) = (random.below(members as u64), random.below(members as u64));
        let lies = Lies {
            habit: Habit::ALL[seed as usize % 4],
            to: (victim != liar).then(|| Rank::new(victim as usize)),
            after: random.below(400),
            every: 1 + random.below(20),
            seed: random.next(),
        };
        // Every other trial by turns, the others in all other orders.
        let others = [Mode::Unordered, Mode::Lamport, Mode::Paxos, Mode::Chain];
        let mode = if bit(4) { Mode::Ordered } else { others[(seed >> 5) as usize % others.len()] };
        let config = Config {
            mode,
            reads: mode.is_total() && seed.is_multiple_of(3),
            membership: bit(8).then(|| Timeouts::after_ns(200 * TURNS * TURN_NS)),
            ring_bytes: 1 << 12,
            small_max: 256,
            large_max: if bit(16) { 20_000 } else { 256 },
            transfers_max: 2,
            block_bytes: Some(4096),
            limit: Some(Limit::Cores),
            schedule: Some([ScheduleKind::Pipeline, ScheduleKind::Chain][random.below(2) as usize]),
            region: RegionOptions::default(),
            ..Config::new((0..members).map(Rank::new).collect())
        };
        Trial { seed, members, liar: Rank::new(liar as usize), lies, config }
    }

    /// Whether what is written tells who wrote it. In a chain a member's stream lies where the one before the reader
    /// writes it, and nothing tells whether its sender wrote there too. What all have is told from member to member
    /// there: who believes a lie passes it on, delivers by it, and may be named for that.
    fn can_be_traced(&self, fates: &[Fate]) -> bool {
        let is_by_hearsay = |fate: &Fate| match fate {
            Fate::Ended(Ended::Malformed(malformed)) | Fate::WentOn(Some(Ended::Malformed(malformed))) => {
                malformed.column == "order.delivered_seq"
            }
            _ => false,
        };
        match self.lies.habit {
            Habit::Anywhere => false,
            Habit::Words => self.config.mode != Mode::Chain || !fates.iter().any(is_by_hearsay),
            Habit::Row | Habit::Ring => self.config.mode != Mode::Chain,
        }
    }
}

/// What became of a member.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    /// The group ended there.
    Ended(Ended),
    /// It was still there at the end, or came to a next view; and whom it had blamed meanwhile.
    WentOn(Option<Ended>),
    Panicked(String),
    Hung,
}

/// Reads every byte that it is given.
#[derive(Default)]
struct Reader {
    sum: u64,
}

impl Upcalls for Reader {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        self.sum = delivery.payload.iter().fold(self.sum, |sum, &byte| sum.wrapping_add(u64::from(byte)));
    }
}

/// Panics at what no honest member sends: what the suite must see, to be worth anything.
struct Touchy;

impl Upcalls for Touchy {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        assert!(delivery.payload.iter().all(|&byte| byte == HONEST), "a touchy application");
    }
}

/// What messages are made of.
const HONEST: u8 = 3;

/// Counts a member that is through, or has ended in whatever way.
struct Passage {
    through: Arc<AtomicUsize>,
    counted: bool,
}

impl Passage {
    fn pass(&mut self) {
        if !std::mem::replace(&mut self.counted, true) {
            self.through.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.pass();
    }
}

/// Sends and delivers until the group ends here, comes to a next view, or all members are through.
fn live<E: Endpoint>(mut group: Group<E>, trial: &Trial, mut passage: Passage, app: &mut impl Upcalls) -> Fate {
    let mut random = Random::new(trial.seed + u64::from(group.view().me.0));
    let large_max = trial.config.large_max;
    for turn in 0.. {
        if turn < TURNS {
            let len = if large_max > 256 && random.below(16) == 0 { random.below(large_max) } else { random.below(257) };
            // A full window passes, and an end is told by the step.
            let _ = group.send(&vec![HONEST; len as usize]);
        } else {
            passage.pass();
        }
        if turn % 16 == 0 {
            // In a group without reads it is refused.
            let _ = group.read_point();
        }
        match group.step_at(turn * TURN_NS, app) {
            Ok(Turn::Busy) => {}
            Ok(_) => std::thread::yield_now(),
            Err(ended) => return Fate::Ended(ended),
        }
        if group.next_view().is_some() || passage.through.load(Ordering::Relaxed) == trial.members {
            break;
        }
    }
    Fate::WentOn(group.blamed())
}

/// What became of each member, by rank.
fn play<F: Fabric + 'static, A: Upcalls + 'static>(trial: &Trial, fabric: fn() -> F, app: fn() -> A) -> Vec<Fate> {
    let through = Arc::new(AtomicUsize::new(0));
    let (sender, fates) = mpsc::channel();
    for (index, exchange) in LocalExchange::mesh(trial.members).into_iter().enumerate() {
        let (trial, sender) = (trial.clone(), sender.clone());
        let passage = Passage { through: Arc::clone(&through), counted: false };
        std::thread::spawn(move || {
            let lies = (Rank::new(index) == trial.liar).then_some(trial.lies);
            let member = || {
                let (fabric, mut exchange) = way_in(fabric(), exchange, lies);
                let group = Group::join(&trial.config, &fabric, &mut exchange).unwrap();
                live(group, &trial, passage, &mut app())
            };
            let fate = catch_unwind(AssertUnwindSafe(member)).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                Fate::Panicked(text.or_else(|| panic.downcast_ref().map(|text: &&str| (*text).to_owned())).unwrap_or_default())
            });
            let _ = sender.send((index, fate));
        });
    }
    let mut all = vec![Fate::Hung; trial.members];
    for _ in 0..trial.members {
        match fates.recv_timeout(HANG) {
            Ok((index, fate)) => all[index] = fate,
            Err(_) => break,
        }
    }
    all
}

/// What was seen in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Somebody noticed the liar.
    noticed: bool,
    /// Somebody was left without a last word by a member that had ended because of the liar, and takes it for lost.
    unheard: bool,
}

/// What was seen; an error if somebody panicked, hung or blamed another.
fn judge(trial: &Trial, fates: &[Fate]) -> Result<Seen, String> {
    let (liar, mut seen) = (trial.liar, Seen::default());
    for (rank, fate) in fates.iter().enumerate().map(|(index, fate)| (Rank::new(index), fate)) {
        let said = match fate {
            Fate::Panicked(text) => return Err(format!("member {rank} panicked: {text}")),
            Fate::Hung => return Err(format!("member {rank} hangs")),
            Fate::Ended(ended) | Fate::WentOn(Some(ended)) => *ended,
            Fate::WentOn(None) => continue,
        };
        if rank == liar {
            continue;
        }
        seen.noticed |= said.blames() == Some(liar);
        let ended = |member: Rank| matches!(fates[member.index()], Fate::Ended(_));
        let is_fair = match said {
            // Who leads cuts off what it is told that others lack.
            Ended::Malformed(malformed) if malformed.column == "membership.trim" => true,
            Ended::Malformed(_) | Ended::Refused { .. } => said.blames() == Some(liar),
            // What a liar says of others is its word against theirs, and it is named.
            Ended::Accused { member, by, told_by } => [member, by, told_by].contains(&liar),
            Ended::MemberDown(member) if member != liar => {
                seen.unheard = true;
                ended(member)
            }
            Ended::MemberDown(_) => true,
            // By what a member says whom it suspects others are excluded, and by what it says who leaves they have
            // left: whether that was a lie they cannot know.
            Ended::Stopped(_) | Ended::Closed => trial.config.membership.is_some(),
            _ => false,
        };
        if !is_fair && trial.can_be_traced(fates) {
            return Err(format!("member {rank} ends, and {liar} lied: {said}"));
        }
    }
    Ok(seen)
}

/// The seeds of this run.
fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("HOSTILE_SEEDS") else { return SEEDS };
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("HOSTILE_SEEDS is `{text}`; give a range of seeds such as 0..3000"))
}

/// Plays all seeds and prints how often each habit was noticed.
fn all_hold<F: Fabric + 'static>(name: &str, fabric: fn() -> F) {
    let mut noticed = [(0, 0); Habit::ALL.len()];
    let (mut failures, mut unheard) = (Vec::new(), 0);
    for seed in seeds() {
        let trial = Trial::new(seed);
        let fates = play(&trial, fabric, Reader::default);
        let habit = &mut noticed[seed as usize % Habit::ALL.len()];
        habit.1 += 1;
        match judge(&trial, &fates) {
            Ok(seen) => {
                habit.0 += usize::from(seen.noticed);
                unheard += usize::from(seen.unheard);
            }
            Err(what) => {
                let replay = format!("HOSTILE_SEEDS={seed}..{} cargo test -p squall-group --test hostile {name}", seed + 1);
                failures.push(format!("{what}\n  {fates:?}\n  {:?}\n  {replay}", trial.lies));
            }
        }
    }
    for (habit, (seen, of)) in Habit::ALL.iter().zip(noticed) {
        println!("{name}: {habit:?} noticed in {seen} of {of} runs");
        assert!(of < 20 || seen > 0, "{habit:?} is never noticed: does anybody lie?");
    }
    println!("{name}: a last word was not heard in {unheard} of {} runs", seeds().count());
    assert!(unheard <= 2 + seeds().count() / 50, "last words are lost: {unheard} times");
    assert!(failures.is_empty(), "{} of {} runs failed:\n{}", failures.len(), seeds().count(), failures.join("\n"));
}

#[test]
fn lies_over_shm_are_named_and_hurt_nobody() {
    all_hold("shm", ShmFabric::new);
}

#[test]
fn lies_over_tcp_are_named_and_hurt_nobody() {
    all_hold("tcp", TcpFabric::default);
}

/// Three members, of whom member 1 has a table of another size: whom each other member names, if anybody.
fn with_another_table<F: Fabric + Send + 'static>(fabric: fn() -> F) -> Vec<Option<Rank>> {
    let config = Trial::new(0).config;
    let config = Config { senders: (0..3).map(Rank::new).collect(), ..config };
    let join = |(index, mut exchange): (usize, LocalExchange)| {
        let config = config.clone();
        std::thread::spawn(move || {
            let more_bytes = if index == 1 { 1 << 16 } else { 0 };
            Group::join(&config, &Generous { inner: fabric(), more_bytes }, &mut exchange).map(|_| "joined").unwrap_err()
        })
    };
    let members: Vec<_> = LocalExchange::mesh(3).into_iter().enumerate().map(join).collect();
    let errors = members.into_iter().map(|member| member.join().expect("no panic"));
    let blamed = |error| match error {
        JoinError::Open(OpenError::Peer { peer, .. }) => Some(peer),
        _ => None,
    };
    errors.enumerate().filter(|(index, _)| *index != 1).map(|(_, error)| blamed(error)).collect()
}

#[test]
fn a_table_of_another_size_is_refused_and_its_owner_named() {
    for blamed in [with_another_table(ShmFabric::new), with_another_table(TcpFabric::default)] {
        // Who comes second may only see that the first has left.
        assert!(blamed.contains(&Some(Rank::new(1))), "{blamed:?}");
    }
}

/// Three members that have delivered all that was sent, of whom member 2 then leaves, and member 0, which leads the
/// change of view, breaks this rule: whom each of the other two blames, if anybody.
fn ends_by_a_leader_that(breaks: Mutation) -> Vec<Option<Ended>> {
    const MESSAGES: u64 = 5;
    let config = Trial::new(0).config;
    let config = Config { senders: (0..3).map(Rank::new).collect(), ..config };
    let live = |(index, mut exchange): (usize, LocalExchange)| {
        let config = config.clone();
        std::thread::spawn(move || {
            let mut group = Group::join(&config, &ShmFabric::new(), &mut exchange).expect("all join");
            if index == 0 {
                group.set_mutation(breaks);
            }
            for _ in 0..MESSAGES {
                group.send(&[HONEST; 8]).expect("the window is empty");
            }
            for turn in 0.. {
                match group.step_at(turn * TURN_NS, &mut Reader::default()) {
                    Ok(Turn::Busy) => {}
                    Ok(Turn::Idle) => std::thread::yield_now(),
                    Ok(Turn::Left) | Err(_) => break,
                }
                if group.stats().delivered == 3 * MESSAGES {
                    group.raise_mark(1);
                }
                if index == 2 && group.mark_of_all() == 1 {
                    group.leave();
                }
                if group.next_view().is_some() {
                    break;
                }
            }
            group.blamed()
        })
    };
    let members: Vec<_> = LocalExchange::mesh(3).into_iter().enumerate().map(live).collect();
    members.into_iter().map(|member| member.join().expect("no panic")).skip(1).collect()
}

#[test]
fn a_leader_that_cuts_off_what_was_delivered_is_named() {
    assert_eq!(ends_by_a_leader_that(Mutation::None), [None, None]);
    for blamed in ends_by_a_leader_that(Mutation::CutsShort) {
        let said = blamed.expect("both have delivered what is cut off");
        assert!(matches!(said, Ended::Malformed(malformed) if malformed.column == "membership.trim"), "{said}");
        assert_eq!(said.blames(), Some(Rank::new(0)));
    }
}

#[test]
fn an_application_that_panics_is_seen() {
    let caught =
        (0..400).map(|run| Trial::new(4 * run + 2)).find_map(|trial| judge(&trial, &play(&trial, ShmFabric::new, || Touchy)).err());
    assert!(caught.expect("a ring that changes shows in payloads").contains("a touchy application"));
}

#[test]
fn a_wrong_verdict_is_seen() {
    let trial = Trial { liar: Rank::new(1), members: 3, ..Trial::new(0) };
    let fates = |fate: Fate| [Fate::WentOn(None), Fate::WentOn(None), fate];
    let down = |rank| Fate::Ended(Ended::MemberDown(Rank::new(rank)));
    assert_eq!(judge(&trial, &fates(down(1))), Ok(Seen::default()));
    assert!(judge(&trial, &fates(down(0))).unwrap_err().contains("member 2 ends, and 1 lied"));
    assert!(judge(&trial, &fates(Fate::Hung)).unwrap_err().contains("member 2 hangs"));
    assert!(judge(&trial, &fates(Fate::Panicked("why".into()))).unwrap_err().contains("member 2 panicked: why"));
}
