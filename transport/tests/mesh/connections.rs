//! Connections: who reaches whom, who hears what of it.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use squall_transport::Waker;
use squall_transport::mesh::{MeshError, MeshSendError};

use super::*;

#[test]
fn messages_arrive_in_order_whoever_dialled() {
    let meshes = meshes(2);
    join(&meshes);
    assert_eq!(meshes[0].peers(), [(meshes[1].node(), meshes[1].address())]);
    for round in 0..1000u32 {
        meshes[0].send(meshes[1].node(), &round.to_le_bytes()).expect("it stands");
        meshes[1].send(meshes[0].node(), &round.to_le_bytes()).expect("it stands");
    }
    for round in 0..1000u32 {
        assert_eq!(message(&meshes[1]), (meshes[0].node(), round.to_le_bytes().to_vec()));
        assert_eq!(message(&meshes[0]), (meshes[1].node(), round.to_le_bytes().to_vec()));
    }
    assert_eq!(meshes[0].next(), None);
}

#[test]
fn queued_messages_are_said_before_a_disconnect_and_only_the_other_side_hears_of_it() {
    let meshes = meshes(2);
    join(&meshes);
    for byte in 0..100 {
        meshes[0].send(meshes[1].node(), &vec![byte; 10_000]).expect("it stands");
    }
    meshes[0].disconnect(meshes[1].node());
    for byte in 0..100 {
        assert_eq!(message(&meshes[1]).1, vec![byte; 10_000]);
    }
    assert_eq!(down(&meshes[1]), meshes[0].node());
    meshes[1].connect(meshes[0].address(), None);
    assert_eq!(up(&meshes[0]), meshes[1].node());
    assert_eq!(up(&meshes[1]), meshes[0].node());
}

#[test]
fn another_key_is_told_apart_at_once() {
    let (ours, theirs) = (ClusterKey::random(), ClusterKey::random());
    let (one, other) = (open(&ours, 1, MeshOptions::default()), open(&theirs, 2, MeshOptions::default()));
    one.connect(other.address(), None);
    let reason = unreachable(&one);
    assert!(reason.contains("wrong cluster key"), "{reason}");
    assert_eq!(other.next(), None);
}

#[test]
fn both_dialling_at_once_ends_in_one_connection_that_loses_nothing() {
    let meshes = meshes(2);
    let barrier = Barrier::new(2);
    on_threads(&meshes, |me, mesh| {
        let other = &meshes[1 - me];
        for round in 0..300u32 {
            barrier.wait();
            mesh.connect(other.address(), Some(other.node()));
            assert_eq!(up(mesh), other.node());
            for part in 0..3 {
                mesh.send(other.node(), &[round.to_le_bytes(), [part; 4]].concat()).expect("it stands");
            }
            for part in 0..3 {
                assert_eq!(message(mesh), (other.node(), [round.to_le_bytes(), [part; 4]].concat()));
            }
            barrier.wait();
            assert_eq!(mesh.peers(), [(other.node(), other.address())]);
            barrier.wait();
            if round as usize % 2 == me {
                mesh.disconnect(other.node());
                assert_eq!(mesh.peers(), []);
            } else {
                assert_eq!(down(mesh), other.node());
            }
            assert_eq!(mesh.next(), None);
        }
    });
}

#[test]
fn a_process_that_starts_to_listen_later_is_reached() {
    let key = ClusterKey::random();
    let early = open(&key, 1, MeshOptions { connect_timeout: LONG, ..MeshOptions::default() });
    let place = TcpListener::bind("127.0.0.71:0").expect("loopback").local_addr().expect("bound");
    early.connect(place, Some(NodeId(2)));
    early.connect(place, Some(NodeId(2)));
    let late = Mesh::open(place, &key, NodeId(2), MeshOptions::default()).expect("the port was free just now");
    assert_eq!(up(&early), NodeId(2));
    assert_eq!(up(&late), NodeId(1));
    assert_eq!(early.next(), None);
}

#[test]
fn a_place_where_nothing_listens_is_unreachable_once_the_time_is_over() {
    let options = MeshOptions { connect_timeout: Duration::from_millis(30), ..MeshOptions::default() };
    let mesh = open(&ClusterKey::random(), 1, options);
    let place = TcpListener::bind("127.0.0.72:0").expect("loopback").local_addr().expect("bound");
    mesh.connect(place, Some(NodeId(2)));
    let MeshEvent::Unreachable { address, node, reason } = event(&mesh) else {
        panic!("nobody is there");
    };
    assert_eq!((address, node), (place, Some(NodeId(2))));
    assert!(reason.contains("refused") && reason.contains("is it running"), "{reason}");
}

#[test]
fn meshes_of_one_host_meet_without_any_ip() {
    let key = ClusterKey::random();
    let open = |node| Mesh::open_local(&key, NodeId(node), MeshOptions::default()).expect("Unix sockets");
    let meshes = [open(10), open(11)];
    join(&meshes);
    meshes[0].send(meshes[1].node(), b"hello").expect("it stands");
    assert_eq!(message(&meshes[1]), (meshes[0].node(), b"hello".to_vec()));
    assert_eq!(meshes[0].peers(), [(meshes[1].node(), meshes[1].address())]);
    let hasty = MeshOptions { connect_timeout: Duration::from_millis(30), ..MeshOptions::default() };
    let late = Mesh::open_local(&key, NodeId(13), hasty).expect("Unix sockets");
    late.connect("[100::7]:1".parse().expect("an address"), None);
    assert!(unreachable(&late).contains("refused"));
    // One that listens at an IP is reached from here too.
    let wide = Mesh::open(loopback(), &key, NodeId(14), MeshOptions::default()).expect("loopback has ports");
    meshes[0].connect(wide.address(), None);
    assert_eq!(up(&meshes[0]), wide.node());
}

#[test]
fn another_node_than_the_wanted_one_is_named() {
    let meshes = meshes(2);
    meshes[0].connect(meshes[1].address(), Some(NodeId(99)));
    let reason = unreachable(&meshes[0]);
    assert!(reason.contains("node 11 listens there, not node 99"), "{reason}");
    assert_eq!(meshes[1].next(), None);
}

#[test]
fn a_mesh_does_not_connect_with_itself_or_its_namesake() {
    let key = ClusterKey::random();
    let (one, namesake) = (open(&key, 1, MeshOptions::default()), open(&key, 1, MeshOptions::default()));
    for place in [one.address(), namesake.address()] {
        one.connect(place, None);
        let reason = unreachable(&one);
        assert!(reason.contains("this very node id"), "{reason}");
    }
    assert_eq!(namesake.next(), None);
}

#[test]
fn whoever_dials_a_standing_connection_by_its_address_is_told_that_it_stands() {
    let meshes = meshes(2);
    join(&meshes);
    meshes[0].connect(meshes[1].address(), None);
    assert_eq!(up(&meshes[0]), meshes[1].node());
    meshes[0].connect(meshes[1].address(), Some(meshes[1].node()));
    meshes[0].send(meshes[1].node(), b"still the same").expect("it stands");
    assert_eq!(message(&meshes[1]).1, b"still the same");
    assert_eq!((meshes[0].next(), meshes[1].next()), (None, None));
}

#[test]
fn addresses_that_peers_cannot_use_and_taken_ones_are_refused() {
    let key = ClusterKey::random();
    let unspecified = Mesh::open("0.0.0.0:0".parse().expect("an address"), &key, NodeId(1), MeshOptions::default());
    assert!(matches!(unspecified, Err(MeshError::Unspecified { .. })), "{unspecified:?}");
    let one = open(&key, 1, MeshOptions::default());
    let taken = Mesh::open(one.address(), &key, NodeId(2), MeshOptions::default()).expect_err("the port is taken");
    assert!(taken.to_string().contains("its port free"), "{taken}");
    let options = MeshOptions { unsent_bytes_max: 1, ..MeshOptions::default() };
    let wrong = Mesh::open(loopback(), &key, NodeId(2), options).expect_err("less than a frame");
    assert!(wrong.to_string().starts_with("unsent_bytes_max is 1, not within"), "{wrong}");
}

#[test]
fn a_dropped_mesh_says_what_is_queued_and_then_is_down() {
    let mut meshes = meshes(2);
    join(&meshes);
    let (gone, stays) = (meshes.remove(0), meshes.remove(0));
    for number in 0..500u32 {
        gone.send(stays.node(), &number.to_le_bytes().repeat(500)).expect("it stands");
        stays.send(gone.node(), &[0; 3000]).expect("it stands");
    }
    let node = gone.node();
    drop(gone);
    for number in 0..500u32 {
        assert_eq!(message(&stays), (node, number.to_le_bytes().repeat(500)));
        // Writing to one that is gone must not cost what it said before.
        let _ = stays.send(node, &[0; 3000]);
    }
    assert_eq!(down(&stays), node);
    assert_eq!(stays.send(node, b"late"), Err(MeshSendError::NotConnected { node }));
}

#[test]
fn a_waker_is_called_for_each_event_and_at_once_if_one_waits() {
    let meshes = meshes(2);
    join(&meshes);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    meshes[1].set_waker(Some(Waker::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    })));
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    meshes[0].send(meshes[1].node(), b"one").expect("it stands");
    message(&meshes[1]);
    meshes[1].send(meshes[0].node(), b"seen").expect("it stands");
    message(&meshes[0]);
    let before = calls.load(Ordering::Relaxed);
    meshes[0].disconnect(meshes[1].node());
    while !meshes[1].peers().is_empty() {
        thread::yield_now();
    }
    let again = Arc::clone(&calls);
    meshes[1].set_waker(Some(Waker::new(move || {
        again.fetch_add(100, Ordering::Relaxed);
    })));
    assert!(before >= 1 && calls.load(Ordering::Relaxed) >= 100);
    meshes[1].set_waker(None);
    assert_eq!(down(&meshes[1]), meshes[0].node());
}

#[derive(Clone, Debug)]
enum Wish {
    Connect { by: usize, to: usize, by_name: bool },
    Disconnect { by: usize, to: usize },
    Pause,
}

fn wishes(meshes: usize) -> impl Strategy<Value = Vec<Wish>> {
    let pair = (0..meshes, 1..meshes).prop_map(move |(by, step)| (by, (by + step) % meshes));
    let wish = prop_oneof![
        4 => (pair.clone(), any::<bool>()).prop_map(|((by, to), by_name)| Wish::Connect { by, to, by_name }),
        2 => pair.prop_map(|(by, to)| Wish::Disconnect { by, to }),
        1 => Just(Wish::Pause),
    ];
    prop::collection::vec(wish, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever was wished in whatever order, all can be joined afterwards, and every pair then has one connection that
    /// works both ways.
    #[test]
    fn any_dialling_and_parting_leaves_meshes_that_can_be_joined(wishes in wishes(3)) {
        let meshes = meshes(3);
        for wish in wishes {
            match wish {
                Wish::Connect { by, to, by_name } => meshes[by].connect(meshes[to].address(), by_name.then(|| meshes[to].node())),
                Wish::Disconnect { by, to } => meshes[by].disconnect(meshes[to].node()),
                Wish::Pause => thread::yield_now(),
            }
        }
        on_threads(&meshes, |me, mesh| settle(me, mesh, &meshes));
    }
}

/// Connects with all others until each has answered over a connection that stands.
fn settle(me: usize, mesh: &Mesh, meshes: &[Mesh]) {
    let others: Vec<&Mesh> = meshes.iter().filter(|other| other.node() != mesh.node()).collect();
    let (mut heard, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for other in &others {
        mesh.connect(other.address(), Some(other.node()));
        let _ = mesh.send(other.node(), b"hello");
    }
    let deadline = Instant::now() + LONG;
    while heard.len() < others.len() || answered.len() < others.len() {
        let event = mesh.wait(deadline).unwrap_or_else(|| panic!("mesh {me} heard {heard:?} and was answered by {answered:?}"));
        match event {
            MeshEvent::Up { node, .. } => drop(mesh.send(node, b"hello")),
            MeshEvent::Down { node, .. } => {
                let other = others.iter().find(|other| other.node() == node).expect("one of them");
                mesh.connect(other.address(), Some(node));
            }
            MeshEvent::Unreachable { address, reason, .. } => panic!("{address}: {reason}"),
            MeshEvent::Message { from, bytes } if bytes == b"hello" => {
                heard.insert(from);
                let _ = mesh.send(from, b"answer");
            }
            MeshEvent::Message { from, .. } => {
                answered.insert(from);
            }
        }
    }
}
