//! Newcomers that are no good, or too many: the group goes on.

mod processes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use processes::{Life, PATIENCE, mesh, options};
use squall_group::{Config, Delivery, Ended, Limit, Member, MemberError, MemberOptions, Outgoing, Role, Turn, Upcalls};
use squall_transport::NodeId;
use squall_transport::exchange::{ClusterKey, LocalExchange};
use squall_transport::mesh::{Mesh, MeshOptions};
use squall_transport::shm::ShmFabric;

/// A founder that sends and goes on until it is told to end; then it says how many members there are, and in which
/// view.
fn founder() -> (SocketAddr, Sender<()>, JoinHandle<(usize, u64)>) {
    let ((tell, book), (end, ended)) = (channel(), channel());
    let thread = spawn(move || {
        let mut alone = LocalExchange::mesh(1).remove(0);
        let mut life = Life::new(Member::found(options(1), ShmFabric::new(), mesh(0), &mut alone).expect("it is alone"));
        tell.send(life.member.address()).unwrap();
        while ended.try_recv().is_err() {
            let turns = life.sent + 3;
            life.live(turns, |life| life.sent >= turns).expect("the group goes on");
        }
        // Whoever was lost in between is removed.
        let until = Instant::now() + PATIENCE;
        while life.member.view().members > 1 && Instant::now() < until {
            life.live(0, |_| true).expect("the group goes on");
            life.member.turn_until(&mut life.app, &mut life.pace, Some(Instant::now() + Duration::from_millis(1))).expect("it goes on");
        }
        (life.member.view().members, life.member.view().id)
    });
    (book.recv().unwrap(), end, thread)
}

#[test]
fn newcomers_that_die_with_half_the_state_cost_no_view() {
    let (contact, end, founding) = founder();
    let over = Arc::new(AtomicBool::new(false));
    let (is_over, (tell, is_in)) = (Arc::clone(&over), channel());
    // With the founder it is a majority of three.
    let stays = spawn(move || {
        let mut life = Life::join(ShmFabric::new(), 1, &[contact]).expect("there is room");
        tell.send(()).unwrap();
        life.live(0, |life| is_over.load(Ordering::Relaxed) && life.member.view().members == 2).expect("it goes on");
        life.member.leave();
        life.live(0, |_| false).expect_err("it leaves");
    });
    is_in.recv().unwrap();
    for node in 10..13 {
        let mut newcomer = Life::join(ShmFabric::new(), node, &[contact]).expect("there is room");
        newcomer.member.turn(&mut newcomer.app, &mut newcomer.pace).expect("nobody else is lost");
        assert_eq!(newcomer.app.restores, 0, "the state is larger than what comes in one turn");
    }
    over.store(true, Ordering::Relaxed);
    stays.join().unwrap();
    end.send(()).unwrap();
    let (members, view) = founding.join().unwrap();
    assert_eq!(members, 1);
    assert!(view <= 3, "one came, perhaps in two views, and left; the three that died were in no view: view {view}");
}

/// An application that takes nothing.
struct Busy;

impl Upcalls for Busy {
    fn deliver(&mut self, _delivery: Delivery<'_>, _outgoing: &mut Outgoing) {}

    fn is_ready(&mut self) -> bool {
        false
    }
}

#[test]
fn a_contact_that_has_no_state_yet_names_who_has_it() {
    let (founder, end, founding) = founder();
    let waits = Member::newcomer(options(1), ShmFabric::new(), mesh(1), &[founder], true, Duration::MAX, 0);
    let mut waits = waits.expect("there is memory");
    let contact = waits.address();
    while waits.view().members == 0 {
        waits.step_at(0, &mut Busy).expect("it is told of the group");
    }
    let (tell, is_taken) = channel();
    let asks = spawn(move || {
        let mut life = Life::join(ShmFabric::new(), 2, &[contact]).expect("it is told of the founder");
        tell.send(()).unwrap();
        life.live(0, |life| !life.member.is_behind()).expect("it gets in");
        life.member.leave();
        life.live(0, |_| false).expect_err("it leaves");
    });
    while is_taken.try_recv() == Err(TryRecvError::Empty) {
        waits.step_at(0, &mut Busy).expect("it waits");
    }
    drop(waits);
    asks.join().unwrap();
    end.send(()).unwrap();
    assert_eq!(founding.join().unwrap().0, 1);
}

#[test]
fn a_newcomer_that_is_configured_differently_is_told_each_field_that_differs_and_both_values() {
    let (contact, end, founding) = founder();
    let refused = |change: fn(&mut Config)| {
        let mut other = options(1);
        change(&mut other.config);
        let error = Member::join(other, ShmFabric::new(), mesh(77), &[contact], Role::Receiver, PATIENCE).expect_err("it is not alike");
        let MemberError::Refused { reason, .. } = error else { panic!("{error}") };
        reason
    };
    let reason = refused(|config| (config.small_max, config.window_messages) = (200, 31));
    let said = "it is configured with `small_max: 200; window_messages: 31`, the group with `small_max: 300; window_messages: 32`";
    assert!(reason.starts_with(said), "{reason}");
    let reason = refused(|config| config.ring_bytes = 8192);
    assert!(reason.contains("`ring_bytes: 8192`") && reason.contains("`ring_bytes: 4096`"), "{reason}");
    end.send(()).unwrap();
    assert_eq!(founding.join().unwrap(), (1, 0));
}

#[test]
fn a_newcomer_is_told_what_large_messages_are_limited_by() {
    let limit = Limit::of_links(25_000_000);
    let (mut founding, joining) = (options(1), options(1));
    founding.config.limit = Some(limit);
    let mut alone = LocalExchange::mesh(1).remove(0);
    let mut first = Life::new(Member::found(founding, ShmFabric::new(), mesh(0), &mut alone).expect("it is alone"));
    let contact = first.member.address();
    let newcomer = spawn(move || {
        let mut life = Life::new(Member::join(joining, ShmFabric::new(), mesh(1), &[contact], true, PATIENCE).expect("there is room"));
        life.live(0, |life| !life.member.is_behind()).expect("it gets in");
        let found = life.member.group().and_then(squall_group::Group::limit);
        life.member.leave();
        life.live(0, |_| false).expect_err("it leaves");
        found
    });
    first.live(20, |life| life.sent == 20 && newcomer.is_finished()).expect("the group goes on");
    assert_eq!(newcomer.join().unwrap(), Some(limit));
}

#[test]
fn a_flood_of_newcomers_gets_in_by_and_by() {
    const NEWCOMERS: u64 = 7;
    let (contact, end, founding) = founder();
    let threads: Vec<JoinHandle<()>> = (1..=NEWCOMERS)
        .map(|node| {
            spawn(move || {
                let mut life = Life::join(ShmFabric::new(), node, &[contact]).expect("there is room, sooner or later");
                let mut all = false;
                let mut is_done = |life: &Life<_>| {
                    all |= life.member.view().members as u64 == NEWCOMERS + 1;
                    all && !life.member.is_behind()
                };
                life.live(0, &mut is_done).expect("nobody is lost");
                life.member.leave();
                life.live(0, |_| false).expect_err("it leaves");
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    end.send(()).unwrap();
    let (members, view) = founding.join().unwrap();
    assert_eq!(members, 1);
    assert!(view <= 3 * NEWCOMERS, "each came, perhaps in two views, and left: view {view}");
}

#[test]
fn a_name_that_is_taken_and_a_key_of_another_cluster_are_refused() {
    let (contact, end, founding) = founder();
    let mut first = Life::join(ShmFabric::new(), 5, &[contact]).expect("there is room");
    let serving = spawn(move || {
        first.live(10, |life| life.sent == 10).expect("nobody is lost");
        first.member.leave();
        first.live(0, |_| false).expect_err("it leaves");
        first
    });
    let twice = Member::join(options(1), ShmFabric::new(), mesh(0), &[contact], true, PATIENCE).expect_err("the founder has that name");
    assert!(matches!(twice, MemberError::NoContact(_)), "{twice}");
    assert!(twice.to_string().contains("name") || twice.to_string().contains("node"), "{twice}");
    let stranger = Mesh::open("127.0.0.1:0".parse().unwrap(), &ClusterKey::random(), NodeId(9), MeshOptions::default()).unwrap();
    let refused = Member::join(options(1), ShmFabric::new(), stranger, &[contact], true, PATIENCE).expect_err("it holds another key");
    assert!(refused.to_string().contains("key"), "{refused}");
    drop(serving.join().unwrap());
    end.send(()).unwrap();
    assert_eq!(founding.join().unwrap().0, 1);
}

/// A group of one that allows large messages, with what else is to be said of it, asked by a newcomer that sends and by
/// one that does not: what each was told, if it did not come in.
fn asked(change: impl Fn(Config) -> Config) -> [Option<String>; 2] {
    let options = || {
        let base = options(1);
        let unchanged = Config::new(base.config.senders.clone());
        MemberOptions { config: change(Config { senders_max: unchanged.senders_max, ..base.config }), ..base }
    };
    let mut alone = LocalExchange::mesh(1).remove(0);
    let mut founder = Life::new(Member::found(options(), ShmFabric::new(), mesh(0), &mut alone).expect("it is alone"));
    let (contact, (done, is_done)) = (founder.member.address(), channel());
    let newcomers = [(1, Role::Sender), (2, Role::Receiver)].map(|(node, role)| {
        let (options, done) = (options(), done.clone());
        spawn(move || {
            let joined = Member::join(options, ShmFabric::new(), mesh(node), &[contact], role, PATIENCE);
            let told = joined.map_err(|error| error.to_string()).map(|member| {
                let mut life = Life::new(member);
                life.live(0, |life| !life.member.is_behind()).expect("nobody is lost");
                assert_eq!(life.member.view().is_sender(), role.sends());
                life.member.leave();
                while life.member.turn(&mut life.app, &mut life.pace).expect("nobody is lost") != Turn::Left {}
            });
            done.send(()).expect("the founder waits");
            told.err()
        })
    });
    let mut left = newcomers.len();
    founder
        .live(0, |life| {
            left -= is_done.try_iter().count();
            left == 0 && life.member.view().members == 1
        })
        .expect("the group goes on");
    newcomers.map(|newcomer| newcomer.join().unwrap())
}

#[test]
fn a_newcomer_that_sends_finds_room_in_a_group_that_says_nothing_of_it() {
    assert_eq!(asked(|config| config), [None, None]);
}

#[test]
fn a_newcomer_that_finds_no_room_is_told_what_to_configure() {
    let [sender, receiver] = asked(|config| Config { senders_max: 1, ..config });
    assert_eq!(receiver, None, "it needs no buffers");
    let told = sender.expect("there are buffers for the founder only");
    assert!(told.contains("of 1 senders") && told.contains("`senders_max` of at least 2 at every member"), "{told}");
}

#[test]
fn whoever_leaves_is_told_so_and_a_turn_more_is_a_fault() {
    let mut alone = LocalExchange::mesh(1).remove(0);
    let mut life = Life::new(Member::found(options(1), ShmFabric::new(), mesh(0), &mut alone).expect("it is alone"));
    life.member.leave();
    while life.member.turn(&mut life.app, &mut life.pace).expect("nothing fails") != Turn::Left {}
    for _ in 0..2 {
        let fault = life.member.turn(&mut life.app, &mut life.pace).expect_err("it has left");
        assert!(matches!(fault, MemberError::Ended(Ended::Closed)), "{fault}");
    }
}
