//! Newcomers that are no good, or too many: the group goes on.

mod colony;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use colony::{Life, mesh, options};
use squall_group::{Member, MemberError};
use squall_transport::NodeId;
use squall_transport::exchange::{ClusterKey, LocalExchange};
use squall_transport::mesh::{Mesh, MeshOptions};
use squall_transport::shm::ShmFabric;

const PATIENCE: Duration = Duration::from_secs(60);

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
    assert!(view < 2 * NEWCOMERS + 2, "several came or went in one change sometimes");
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
