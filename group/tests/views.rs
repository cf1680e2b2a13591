//! Groups of threads over shared memory and TCP whose members die, fall silent, leave and join.

mod cluster;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, spawn};

use cluster::{Cluster, Log, Member, config};
use squall_group::{CONTACT_SENDS, Ended, Newcomer, SendError, Stop, View};
use squall_transport::shm::ShmFabric;
use squall_transport::tcp::TcpFabric;
use squall_transport::{Fabric, NodeId, Rank};

const MESSAGES: u64 = 200;

/// The first view of `members`, as `rank` sees it.
fn first(rank: usize, members: usize) -> View {
    View::first(Rank::new(rank), members, &(0..members).map(Rank::new).collect::<Vec<_>>(), &[0; 32])
}

/// Messages of `node` in the order of delivery.
fn numbers(log: &Log, node: u64) -> Vec<u64> {
    log.deliveries.iter().filter(|delivery| delivery.0 == node).map(|delivery| delivery.1).collect()
}

fn all_of(log: &Log, nodes: &[u64]) -> bool {
    nodes.iter().all(|&node| numbers(log, node).len() as u64 == MESSAGES)
}

#[track_caller]
fn alike(logs: &[Log], nodes: &[u64]) {
    for log in logs {
        assert_eq!(log.deliveries, logs[0].deliveries, "one order for all that stay");
        assert_eq!(log.cut, log.sent_again, "what was cut off was sent again");
        for &node in nodes {
            assert!(numbers(log, node).into_iter().eq(0..MESSAGES), "every message of {node} once and in its order");
        }
    }
}

fn a_member_dies<F: Fabric + Send + 'static>(fabric: impl Fn() -> F) {
    let (cluster, config) = (Cluster::default(), config(4));
    let threads: Vec<JoinHandle<Option<Log>>> = (0..4)
        .map(|rank| {
            let (cluster, config, fabric) = (cluster.clone(), config.clone(), fabric());
            spawn(move || {
                let member = Member::enter(&config, first(rank, 4), fabric, &cluster);
                if rank == 1 {
                    // It dies in the middle of everything: its links break.
                    let _dead = member.live(MESSAGES, |member| member.log.deliveries.len() > 100).ok().expect("it dies first");
                    return None;
                }
                let done = |log: &Log| all_of(log, &[0, 2, 3]) && log.views.len() == 2;
                let member = member.live(MESSAGES, |member| member.sent == MESSAGES).ok().expect("the group goes on");
                Some(member.close(done))
            })
        })
        .collect();
    let logs: Vec<Log> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
    alike(&logs, &[0, 2, 3]);
    // What of the dead member's messages was delivered has no gap.
    assert!(numbers(&logs[0], 1).into_iter().zip(0..).all(|(number, place)| number == place));
    assert_eq!(logs[0].views[1].nodes, [NodeId(0), NodeId(2), NodeId(3)]);
}

#[test]
fn a_member_dies_over_shared_memory_and_the_others_go_on() {
    a_member_dies(ShmFabric::new);
}

#[test]
fn a_member_dies_over_tcp_and_the_others_go_on() {
    a_member_dies(|| TcpFabric::new(IpAddr::V4(Ipv4Addr::LOCALHOST)));
}

#[test]
fn a_newcomer_joins_under_load_and_another_leaves() {
    let (cluster, config) = (Cluster::default(), config(3));
    let newcomer = Newcomer { node: 77, contact: [0, 0, CONTACT_SENDS] };
    let waits = cluster.wait(&newcomer);
    let mut threads: Vec<JoinHandle<Log>> = (0..3)
        .map(|rank| {
            let (cluster, config) = (cluster.clone(), config.clone());
            spawn(move || {
                let mut member = Member::enter(&config, first(rank, 3), ShmFabric::new(), &cluster);
                if rank == 2 {
                    member.group.request(newcomer).expect("there is room");
                }
                let member = member.live(MESSAGES, |member| member.sent == MESSAGES && all_of(&member.log, &[0, 1, 2]));
                let mut member = member.ok().expect("the group goes on");
                if rank == 0 {
                    let mut member = member.live(0, |member| member.log.views.len() == 3).ok().expect("the newcomer gets its vote");
                    member.group.leave();
                    let (log, ended) = *member.live(0, |_| false).err().expect("it leaves");
                    assert_eq!(ended, Ended::Closed);
                    return log;
                }
                while member.log.views.len() < 4 {
                    member = member.turn().ok().expect("the group goes on");
                }
                member.close(|log| all_of(log, &[77]))
            })
        })
        .collect();
    threads.push(spawn(move || {
        let view = waits.recv().expect("it is told");
        let member = Member::enter(&config, view, ShmFabric::new(), &cluster);
        let member = member.live(MESSAGES, |member| member.sent == MESSAGES && member.log.views.len() == 3);
        member.ok().expect("the group goes on").close(|log| all_of(log, &[77]))
    }));
    let mut logs: Vec<Log> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (last, left) = (logs.pop().unwrap(), logs.remove(0));
    alike(&logs, &[0, 1, 2, 77]);
    assert!(logs[0].deliveries.starts_with(&left.deliveries), "who left delivered what the others did, up to its end");
    assert_eq!(last.deliveries, logs[0].deliveries[logs[0].before[1]..], "a newcomer's first delivery is the first of its view");
}

#[test]
fn a_newcomer_that_is_asked_for_twice_needs_buffers_once() {
    let config = squall_group::Config { senders_max: 2, ..config(1) };
    let mut member = Member::enter(&config, first(0, 1), ShmFabric::new(), &Cluster::default());
    let newcomer = |node| Newcomer { node, contact: [0, 0, CONTACT_SENDS] };
    for _ in 0..2 {
        member.group.request(newcomer(7)).expect("there is room for it");
    }
    let refused = member.group.request(newcomer(8)).expect_err("there is none for another");
    assert!(refused.to_string().contains("of 2 senders, and this one would be sender 3"), "{refused}");
}

#[test]
fn a_newcomer_that_awaits_state_delivers_nothing_until_it_has_it() {
    let (cluster, config) = (Cluster::default(), config(2));
    let newcomer = Newcomer { node: 77, contact: [0, 0, CONTACT_SENDS] };
    let waits = cluster.wait(&newcomer);
    let threads: Vec<JoinHandle<Log>> = (0..2)
        .map(|rank| {
            let (cluster, config) = (cluster.clone(), config.clone());
            spawn(move || {
                let mut member = Member::enter(&config, first(rank, 2), ShmFabric::new(), &cluster);
                if rank == 1 {
                    member.group.request(newcomer).expect("there is room");
                }
                let member = member.live(0, |member| member.log.views.len() == 2).ok().expect("the newcomer comes");
                // More than fits into the window: it ends only if the newcomer delivers.
                let member = member.live(MESSAGES, |member| member.sent == MESSAGES).ok().expect("the group goes on");
                member.close(|log| all_of(log, &[0, 1, 77]))
            })
        })
        .collect();
    let view = waits.recv().expect("it is told");
    let mut member = Member::enter(&config, view, ShmFabric::new(), &cluster);
    member.group.await_state();
    while member.group.received(0) < 20 || member.group.received(1) < 20 {
        assert_eq!(member.group.send(&[]), Err(SendError::WindowFull), "who has no vote sends nothing yet");
        member = member.turn().ok().expect("the group goes on");
    }
    assert_eq!(member.log.deliveries, [], "nothing is delivered before the state is here");
    member.group.restored(1);
    let member = member.live(MESSAGES, |member| member.sent == MESSAGES).ok().expect("the group goes on");
    let mut logs = vec![member.close(|log| all_of(log, &[0, 1, 77]))];
    logs.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
    alike(&logs, &[0, 1, 77]);
}

#[test]
fn a_member_that_did_not_run_while_it_was_suspected_finds_itself_excluded() {
    let (cluster, config) = (Cluster::default(), config(3));
    let (resume, stopped) = channel();
    let has_stopped = Arc::new(AtomicBool::new(false));
    let others: Vec<JoinHandle<Log>> = [0, 2]
        .into_iter()
        .map(|rank| {
            let (cluster, config, resume, has_stopped) = (cluster.clone(), config.clone(), resume.clone(), Arc::clone(&has_stopped));
            spawn(move || {
                let member = Member::enter(&config, first(rank, 3), ShmFabric::new(), &cluster);
                let mut member = member.live(MESSAGES, |_| has_stopped.load(Ordering::Relaxed)).ok().expect("the group goes on");
                if rank == 2 {
                    member.group.suspect(Rank(1));
                }
                let member = member.live(MESSAGES, |member| member.log.views.len() == 2).ok().expect("the group goes on");
                resume.send(()).expect("it is waited for");
                let member = member.live(MESSAGES, |member| member.sent == MESSAGES).ok().expect("the group goes on");
                member.close(|log| all_of(log, &[0, 2]))
            })
        })
        .collect();
    let member = Member::enter(&config, first(1, 3), ShmFabric::new(), &cluster);
    let member = member.live(MESSAGES, |member| member.log.deliveries.len() > 50).ok().expect("the group goes on");
    has_stopped.store(true, Ordering::Relaxed);
    stopped.recv().expect("the others go on without it");
    let (_, ended) = *member.live(0, |_| false).err().expect("it is out");
    assert!(matches!(ended, Ended::Stopped(Stop::Excluded { .. } | Stop::NoQuorum { .. })), "{ended}");
    let logs: Vec<Log> = others.into_iter().map(|thread| thread.join().unwrap()).collect();
    alike(&logs, &[0, 2]);
}
