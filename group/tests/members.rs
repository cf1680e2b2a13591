//! Processes (threads here) that found a group, join it with its state, die, fall silent, come back and leave.

mod processes;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use processes::{App, Life, PATIENCE, mesh, options};
use squall_group::{Ended, Member, MemberError, MemberOptions, ViewChange, WitnessService};
use squall_transport::Fabric;
use squall_transport::exchange::LocalExchange;
use squall_transport::shm::ShmFabric;
use squall_transport::tcp::TcpFabric;
use squall_transport::verbs::VerbsFabric;

/// The first members of a group, each in its thread; what they do, and what it leads to.
fn found<F: Fabric + Send + 'static, T: Send + 'static>(
    fabric: impl Fn() -> F,
    options: impl Fn() -> MemberOptions,
    members: usize,
    life: impl Fn(usize, Life<F>) -> T + Clone + Send + 'static,
) -> Vec<JoinHandle<T>> {
    let start = |(rank, mut exchange): (usize, LocalExchange)| {
        let (life, fabric, options) = (life.clone(), fabric(), options());
        spawn(move || {
            let member = Member::found(options, fabric, mesh(rank as u64), &mut exchange).expect("all members come");
            life(rank, Life::new(member))
        })
    };
    LocalExchange::mesh(members).into_iter().enumerate().map(start).collect()
}

fn has_all<F: Fabric>(life: &Life<F>, nodes: &[u64], messages: u64) -> bool {
    nodes.iter().all(|&node| numbers(&life.app.delivered, node).len() as u64 == messages)
}

fn numbers(delivered: &[(u64, u64)], node: u64) -> Vec<u64> {
    delivered.iter().filter(|message| message.0 == node).map(|message| message.1).collect()
}

/// Where newcomers ask.
fn address_book() -> (Sender<SocketAddr>, Receiver<SocketAddr>) {
    channel()
}

fn a_newcomer_gets_the_state_while_a_member_dies<F: Fabric + Send + 'static>(fabric: impl Fn() -> F + Clone + Send + 'static) {
    const MESSAGES: u64 = 300;
    let (tell, book) = address_book();
    let threads = found(
        fabric.clone(),
        || options(3),
        3,
        move |rank, mut life| {
            if rank == 1 {
                tell.send(life.member.address()).unwrap();
            }
            if rank == 0 {
                // It dies once the newcomer is in: perhaps while it gives it the state.
                life.live(MESSAGES, |life| life.member.view().id == 1).expect("nobody is lost yet");
                return None;
            }
            life.live(MESSAGES, |life| has_all(life, &[1, 2, 77], MESSAGES) && life.member.view().members == 3).expect("the group goes on");
            life.member.leave();
            let ended = life.live(0, |_| false).expect_err("it leaves");
            assert!(matches!(ended, MemberError::Ended(Ended::Closed)), "{ended}");
            Some(life.app)
        },
    );
    let contact = book.recv().unwrap();
    let mut newcomer = Life::join(fabric(), 77, &[contact]).expect("there is room");
    newcomer.live(MESSAGES, |life| has_all(life, &[1, 2, 77], MESSAGES) && life.member.view().members == 1).expect("it stays");
    for app in threads.into_iter().filter_map(|thread| thread.join().unwrap()) {
        assert_eq!(app.delivered, newcomer.app.delivered, "one order for all, and the newcomer's state is part of it");
    }
    assert!(newcomer.app.restores >= 1);
    for node in [1, 2, 77] {
        assert!(numbers(&newcomer.app.delivered, node).into_iter().eq(0..MESSAGES), "every message of {node} once and in its order");
    }
}

#[test]
fn a_newcomer_gets_the_state_over_shared_memory_while_a_member_dies() {
    a_newcomer_gets_the_state_while_a_member_dies(ShmFabric::new);
}

#[test]
fn a_newcomer_gets_the_state_over_tcp_while_a_member_dies() {
    a_newcomer_gets_the_state_while_a_member_dies(TcpFabric::default);
}

/// Skipped where there is no device, unless `SQUALL_REQUIRE_VERBS` is 1.
#[test]
fn a_newcomer_gets_the_state_over_verbs_while_a_member_dies() {
    if let Err(error) = VerbsFabric::default().chosen() {
        assert!(std::env::var_os("SQUALL_REQUIRE_VERBS").is_none_or(|value| value != "1"), "{error}");
        println!("skipped: {error}");
        return;
    }
    a_newcomer_gets_the_state_while_a_member_dies(VerbsFabric::default);
}

#[test]
fn newcomers_come_one_after_the_other_to_a_group_of_one() {
    const MESSAGES: u64 = 100;
    let (tell, book) = address_book();
    let mut threads = found(
        ShmFabric::new,
        || options(1),
        1,
        move |_, mut life| {
            tell.send(life.member.address()).unwrap();
            life.live(MESSAGES, |life| has_all(life, &[0, 1, 2, 3], MESSAGES)).expect("nobody is lost");
            life.member.leave();
            life.live(0, |_| false).expect_err("it leaves");
            life.app
        },
    );
    let contact = book.recv().unwrap();
    for node in 1..4 {
        threads.push(spawn(move || {
            let mut life = Life::join(ShmFabric::new(), node, &[contact]).expect("there is room");
            life.live(MESSAGES, |life| has_all(life, &[0, 1, 2, 3], MESSAGES)).expect("nobody is lost");
            life.member.leave();
            life.live(0, |_| false).expect_err("it leaves");
            life.app
        }));
    }
    let apps: Vec<App> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for app in &apps {
        assert_eq!(app.delivered, apps[0].delivered);
    }
}

/// Votes come in changes of their own, and newcomers as fast as they can: the group is given time in between.
#[test]
fn a_group_rests_between_changes_that_newcomers_alone_bring() {
    const NEWCOMERS: u64 = 4;
    let (tell, book) = address_book();
    let threads = found(
        ShmFabric::new,
        || options(1),
        1,
        move |_, mut life| {
            tell.send(life.member.address()).unwrap();
            let mut changes: Vec<ViewChange> = Vec::new();
            life.live(50, |life| {
                changes.extend(life.member.last_change().filter(|change| changes.last().is_none_or(|last| last.view < change.view)));
                life.member.view().voters as u64 == 1 + NEWCOMERS
            })
            .expect("nobody is lost");
            changes
        },
    );
    let contact = book.recv().unwrap();
    let joins = (0..NEWCOMERS).map(|node| {
        spawn(move || {
            let mut life = Life::join(ShmFabric::new(), 70 + node, &[contact]).expect("there is room");
            life.live(0, |life| life.member.view().voters as u64 == 1 + NEWCOMERS).expect("it stays");
            life
        })
    });
    let joins: Vec<_> = joins.collect();
    let changes = threads.into_iter().next().unwrap().join().unwrap();
    assert!(changes.len() >= 2, "they come, and then they vote: {changes:?}");
    for pair in changes.windows(2) {
        let took = pair[0].installed - pair[0].wedged;
        assert!(pair[1].wedged - pair[0].installed >= 9 * took.min(PATIENCE / 9), "{pair:?}");
    }
    drop(joins);
}

#[test]
fn a_newcomer_with_another_configuration_is_refused_with_both_and_the_group_goes_on() {
    let (tell, book) = address_book();
    let (end, ended) = channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    let ended = std::sync::Arc::new(ended);
    let threads = found(
        ShmFabric::new,
        || options(1),
        1,
        move |_, mut life| {
            tell.send(life.member.address()).unwrap();
            let until = Instant::now() + PATIENCE;
            while ended.lock().unwrap().try_recv().is_err() && Instant::now() < until {
                let soon = Instant::now() + Duration::from_millis(1);
                life.member.turn_until(&mut life.app, &mut life.pace, Some(soon)).expect("it goes on");
            }
            life.member.view().id
        },
    );
    let contact = book.recv().unwrap();
    let mut other = options(1);
    other.config.small_max = 200;
    let refused = Member::join(other, ShmFabric::new(), mesh(5), &[contact], true, PATIENCE).expect_err("it differs");
    let text = refused.to_string();
    assert!(text.contains("`small_max: 200`") && text.contains("`small_max: 300`"), "{text}");
    // A dead contact is named, and the next one is asked.
    let dead = mesh(6).address();
    let nobody = Member::join(options(1), ShmFabric::new(), mesh(7), &[dead], true, PATIENCE).expect_err("nobody is there");
    assert!(matches!(&nobody, MemberError::NoContact(tried) if tried[0].0 == dead), "{nobody}");
    end.send(()).unwrap();
    assert_eq!(threads.into_iter().next().unwrap().join().unwrap(), 0, "no view was spent on them");
}

#[test]
fn one_of_two_goes_on_if_the_witness_sides_with_it_and_stops_without_a_witness() {
    let service = mesh(1000);
    let witness = service.address();
    let folder = std::env::temp_dir().join(format!("squall-witness-{}", std::process::id()));
    let file = folder.clone();
    let (stop, stopped) = channel::<()>();
    let serving = spawn(move || {
        let mut service = WitnessService::new(service, Some(&file)).expect("a file can be made");
        let mut answered = 0;
        while stopped.try_recv().is_err() {
            answered += service.serve_until(Instant::now() + Duration::from_millis(20)).expect("the disk is not full");
        }
        answered
    });
    for with_witness in [true, false] {
        let options = move || MemberOptions { witness: with_witness.then_some(witness), ..options(2) };
        let threads = found(TcpFabric::default, options, 2, move |rank, mut life| {
            if rank == 0 {
                life.live(20, |life| has_all(life, &[0], 20)).expect("nobody is lost");
                return None;
            }
            Some(life.live(40, |life| life.member.view().members == 1 && has_all(life, &[1], 40)))
        });
        let survivor = threads.into_iter().find_map(|thread| thread.join().unwrap()).expect("rank 1 answers");
        match survivor {
            Ok(()) => assert!(with_witness, "alone of two it is no majority"),
            Err(error) => {
                assert!(!with_witness, "{error}");
                assert!(matches!(error, MemberError::Ended(Ended::NoWitness)), "{error}");
            }
        }
    }
    stop.send(()).unwrap();
    assert_eq!(serving.join().unwrap(), 1);
    let written = std::fs::read_to_string(&folder).expect("what it said is written down");
    assert!(written.trim().ends_with(" 1") && written.lines().count() == 1, "{written}");
    std::fs::remove_file(&folder).unwrap();
}
