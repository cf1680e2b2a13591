//! Members that have no vote yet: nobody waits for them, and nothing is lost when they or others go.

mod cluster;

use std::thread::spawn;
use std::time::Duration;

use cluster::{Cluster, Log, Member, PATIENCE, config};
use squall_group::{CONTACT_SENDS, Config, Ended, Group, Newcomer, SendError, Timeouts, View};
use squall_transport::shm::ShmFabric;
use squall_transport::sim::{LinkSpec, SimEndpoint, SimFabric, SimNetwork, SoloExchange};
use squall_transport::{NodeId, Rank};

const MESSAGES: u64 = 200;

fn first(rank: usize, members: usize, senders: &[usize]) -> View {
    let senders: Vec<Rank> = senders.iter().copied().map(Rank::new).collect();
    View::first(Rank::new(rank), members, &senders, &[0; 32])
}

fn newcomer(node: u64) -> Newcomer {
    Newcomer { node, contact: [0, 0, CONTACT_SENDS] }
}

/// A founder that lets this newcomer in, and what it comes to.
fn founder<T: Send + 'static>(
    config: &Config,
    cluster: &Cluster,
    newcomer: Newcomer,
    life: impl FnOnce(Member<ShmFabric>) -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let (config, cluster) = (config.clone(), cluster.clone());
    spawn(move || {
        let mut member = Member::enter(&config, first(0, 1, &[0]), ShmFabric::new(), &cluster);
        member.group.request(newcomer).expect("there is room");
        life(member)
    })
}

#[test]
fn a_learner_that_stalls_is_removed_once_a_window_is_full_because_of_it_alone() {
    // Silence would be death after half a minute only.
    let learner = Duration::from_millis(20);
    let config = Config { membership: Some(Timeouts { learner, ..Timeouts::after(PATIENCE) }), ..config(1) };
    let (cluster, waiting) = (Cluster::default(), newcomer(77));
    let waits = cluster.wait(&waiting);
    let thread = founder(&config, &cluster, waiting, |member| {
        let alone = |member: &Member<ShmFabric>| member.group.view().id == 2 && member.log.deliveries.len() as u64 == MESSAGES;
        let member = member.live(MESSAGES, |member| alone(member)).map_err(|ended| ended.1).expect("its death costs nothing");
        member.group.view().nodes.clone()
    });
    let stalled = Member::enter(&config, waits.recv().expect("it is told"), ShmFabric::new(), &cluster);
    assert_eq!(thread.join().unwrap(), [NodeId(0)]);
    drop(stalled);
}

#[test]
fn a_learner_that_catches_up_between_two_full_windows_is_not_late() {
    const STEP_NS: u64 = 1_000_000;
    let learner = Duration::from_millis(20);
    let config = Config { membership: Some(Timeouts { learner, ..Timeouts::after(PATIENCE) }), ..config(1) };
    let (cluster, waiting) = (Cluster::default(), newcomer(77));
    let waits = cluster.wait(&waiting);
    let founding = founder(&config, &cluster, waiting, |member| {
        member.live(0, |member| member.group.view().id == 1).map_err(|ended| ended.1).expect("nobody is lost")
    });
    let mut learns = Member::enter(&config, waits.recv().expect("it is told"), ShmFabric::new(), &cluster);
    learns.group.await_state();
    let mut sends = founding.join().unwrap();

    // An hour later, so that the time that is given is behind all that was seen.
    let mut now_ns = 3_600_000_000_000;
    let mut step = |members: &mut [&mut Member<ShmFabric>]| {
        now_ns += STEP_NS;
        for member in members {
            member.group.step_at(now_ns, &mut member.log).expect("nobody is lost");
        }
    };
    let is_late = |sends: &Member<ShmFabric>| sends.group.membership().expect("members change").protocol().suspects().has(Rank(1));
    for _ in 0..3 {
        while sends.group.send(&[0; 16]).is_ok() {}
        (0..3).for_each(|_| step(&mut [&mut sends]));
        assert!(!is_late(&sends), "it was behind for a moment");
        (0..3 * learner.as_millis()).for_each(|_| step(&mut [&mut learns, &mut sends]));
    }
    while sends.group.send(&[0; 16]).is_ok() {}
    for _ in 0..2 * learner.as_millis() {
        step(&mut [&mut sends]);
        let _ = sends.group.send(&[0; 16]);
    }
    assert!(is_late(&sends), "it keeps the window full");
}

#[test]
fn the_last_voter_leaves_once_the_newcomer_has_its_state_and_a_vote() {
    let (cluster, config, waiting) = (Cluster::default(), config(1), newcomer(77));
    let waits = cluster.wait(&waiting);
    let thread = founder(&config, &cluster, waiting, |mut member| {
        // Leave and join in one list.
        member.group.leave();
        let (log, ended) = *member.live(0, |_| false).err().expect("it leaves");
        assert_eq!(ended, Ended::Closed);
        log.views
    });
    let mut member = Member::enter(&config, waits.recv().expect("it is told"), ShmFabric::new(), &cluster);
    member.group.await_state();
    for _ in 0..500 {
        member = member.turn().ok().expect("the voter stays");
    }
    assert!(member.group.is_behind() && !thread.is_finished(), "it waits for the newcomer");
    member.group.restored(1);
    let member = member.live(5, |member| member.log.deliveries.len() == 5).ok().expect("it goes on alone");
    assert_eq!((member.group.view().nodes.as_slice(), member.group.view().voters), (&[NodeId(77)][..], 1));
    assert!(thread.join().unwrap().len() >= 2);
}

#[test]
fn what_is_held_back_comes_in_order_over_changes_of_view() {
    // Members close together, so no view may follow: all three have their vote.
    let all_vote = |member: &Member<ShmFabric>| member.group.view().voters == 3;
    let (cluster, config, waiting) = (Cluster::default(), config(1), newcomer(77));
    let waits = cluster.wait(&waiting);
    let other = newcomer(78);
    let others_wait = cluster.wait(&other);
    let thread = founder(&config, &cluster, waiting, move |member| {
        let mut member =
            member.live(40, |member| member.log.deliveries.len() == 40 && member.group.view().id == 1).ok().expect("one comes");
        member.group.request(other).expect("there is room");
        let member = member.live(80, |member| member.log.deliveries.len() == 80 && all_vote(member)).ok().expect("another comes");
        member.close(|log| log.deliveries.len() == 80)
    });
    let second = {
        let (config, cluster) = (config.clone(), cluster.clone());
        spawn(move || {
            let member = Member::enter(&config, others_wait.recv().expect("it is told"), ShmFabric::new(), &cluster);
            let member = member.live(0, |member| all_vote(member)).ok().expect("it gets a vote");
            member.close(|_| true).deliveries.len()
        })
    };
    let mut member = Member::enter(&config, waits.recv().expect("it is told"), ShmFabric::new(), &cluster);
    member.group.await_state();
    // How much comes in which view is a matter of speed: what it held back in the first one is enough.
    while member.group.view().id == 1 {
        member = member.turn().ok().expect("the group goes on");
    }
    assert_eq!(member.log.deliveries, [], "its state is not here");
    member.group.restored(1);
    let member = member.live(0, |member| all_vote(member)).ok().expect("it gets a vote");
    let log = member.close(|log| log.deliveries.len() >= 40);
    let founders = thread.join().unwrap();
    assert!(founders.deliveries.ends_with(&log.deliveries), "all since it came, each once, in order");
    assert!(log.deliveries.len() >= 40 && second.join().unwrap() <= 80);
}

#[test]
fn a_learner_that_cannot_hold_more_says_so_and_the_group_goes_on() {
    let config = Config { held_bytes_max: 20_000, ..config(1) };
    let (cluster, waiting) = (Cluster::default(), newcomer(77));
    let waits = cluster.wait(&waiting);
    let thread = founder(&config, &cluster, waiting, |member| {
        let all = |member: &Member<ShmFabric>| member.group.view().members == 1 && member.log.deliveries.len() as u64 == MESSAGES;
        let came = |member: &Member<ShmFabric>| member.group.view().id > 0 && all(member);
        member.live(MESSAGES, |member| came(member)).map_err(|ended| ended.1).expect("the group goes on").log.deliveries.len() as u64
    });
    let mut member = Member::enter(&config, waits.recv().expect("it is told"), ShmFabric::new(), &cluster);
    member.group.await_state();
    let (_, ended) = *member.live(0, |_| false).err().expect("it cannot hold everything");
    assert_eq!(ended, Ended::HeldBack { bytes_max: 20_000 });
    assert_eq!(thread.join().unwrap(), MESSAGES);
}

#[test]
fn one_of_two_that_nobody_asks_a_witness_for_stops_and_says_why() {
    let (cluster, config) = (Cluster::default(), config(2));
    let threads = [0, 1].map(|rank| {
        let (cluster, config) = (cluster.clone(), config.clone());
        spawn(move || {
            let member = Member::enter(&config, first(rank, 2, &[0, 1]), ShmFabric::new(), &cluster);
            if rank == 1 {
                // It dies: its links break.
                drop(member.live(5, |member| member.log.deliveries.len() > 3));
                return None;
            }
            member.live(u64::MAX, |_| false).err().map(|ended| ended.1)
        })
    });
    let [left, dead] = threads.map(|thread| thread.join().unwrap());
    assert_eq!((left, dead), (Some(Ended::NoWitness), None));
}

#[test]
fn no_view_has_more_senders_than_there_are_buffers_for() {
    let config = Config { senders: vec![Rank(0)], senders_max: 1, transfers_max: 1, ..config(1) };
    let cluster = Cluster::default();
    let threads = [0, 1, 2, 3].map(|rank| {
        let (cluster, config) = (cluster.clone(), config.clone());
        spawn(move || {
            let member = Member::enter(&config, first(rank, 4, &[0]), ShmFabric::new(), &cluster);
            if rank == 0 {
                // The only sender dies.
                drop(member.live(0, |member| member.group.stats().turns > 100));
                return None;
            }
            let member = member.live(0, |member| member.group.view().id == 1).ok().expect("the group goes on");
            let sends = member.group.view().senders.contains(&member.group.view().me);
            // One large message of each that may send.
            let member =
                member.live(if sends { 10 } else { 0 }, |member| member.log.deliveries.len() == 10).ok().expect("the group goes on");
            let mut member = member;
            let refused = (!sends).then(|| member.group.send(&[1]).expect_err("it may not send"));
            member.close(|_| true);
            Some((sends, refused))
        })
    });
    let said: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(said, [(true, None), (false, Some(SendError::NotASender)), (false, Some(SendError::NotASender))]);
}

const SMALL: u64 = 60;
/// Until then what the second voter says does not reach the learner.
const HELD_NS: u64 = 100_000_000;

/// A voter that sends, one that does not, and a learner without state.
struct Trio {
    network: SimNetwork,
    groups: Vec<Group<SimEndpoint>>,
    logs: [Log; 3],
}

impl Trio {
    fn new() -> Trio {
        let link = LinkSpec { queue_max: 16, ..LinkSpec::default() };
        let (network, fabrics) = SimFabric::mesh(1, 3, link);
        let config = Config { transfers_max: 1, window_messages: 1000, ..config(1) };
        let groups = fabrics.iter().enumerate().map(|(rank, fabric)| {
            let view = View { voters: 2, ..first(rank, 3, &[0]) };
            let mut exchange = SoloExchange::new(view.me, 3);
            Group::enter(&config, view, fabric, &mut exchange).expect("the view can be entered")
        });
        let mut groups: Vec<_> = groups.collect();
        groups[2].await_state();
        network.hold(Rank(1), Rank(2), HELD_NS);
        Trio { network, groups, logs: Default::default() }
    }

    /// One turn of each, and time for what they post to land.
    fn round(&mut self) {
        let now_ns = self.network.now_ns() + 20_000;
        self.network.advance_to(now_ns);
        for (group, log) in self.groups.iter_mut().zip(&mut self.logs) {
            group.step_at(now_ns, log).expect("nobody is lost");
        }
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Trio) -> bool) {
        for _ in 0..500 {
            if is_so(self) {
                return;
            }
            self.round();
        }
        panic!("it never came to this: {what}");
    }
}

#[test]
fn what_a_voter_had_received_reaches_a_learner_after_the_view_has_come_to_its_end() {
    // Of a queue that holds two kinds of words in turn, one kind finds no room once it is full: each once.
    for odd in [false, true] {
        let mut trio = Trio::new();
        if odd {
            trio.groups[1].raise_mark(1);
            trio.round();
        }
        for small in 0..SMALL {
            trio.groups[0].send(&[0; 16]).expect("there is room");
            trio.groups[1].raise_mark(2 + small);
            trio.round();
        }
        for _ in 0..2 {
            trio.until("the sender has room for a large message", |trio| trio.groups[0].send(&[0; 9000]).is_ok());
        }
        trio.until("the voter has both", |trio| trio.groups[1].received(0) == SMALL + 2);
        assert!(trio.groups[2].received(0) < SMALL + 2, "the learner has a buffer for one");
        trio.groups[0].request(newcomer(77)).expect("there is room");
        trio.until("the voters have stopped", |trio| trio.groups[..2].iter().all(Group::is_changing));
        trio.network.advance_to(HELD_NS);
        trio.until("the learner goes on", |trio| trio.groups[2].next_view().is_some());
    }
}
