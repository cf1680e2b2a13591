//! Meshes over loopback, as threads of this process: connections, messages, gathers, and all that can go wrong with them.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use squall_transport::exchange::ClusterKey;
use squall_transport::mesh::{Meeting, Mesh, MeshEvent, MeshExchange, MeshOptions};
use squall_transport::{Exchange, NodeId, Rank};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

fn open(key: &ClusterKey, node: u64, options: MeshOptions) -> Mesh {
    Mesh::open(loopback(), key, NodeId(node), options).expect("loopback has ports")
}

fn meshes(count: u64) -> Vec<Mesh> {
    let key = ClusterKey::random();
    (0..count).map(|node| open(&key, 10 + node, MeshOptions::default())).collect()
}

fn event(mesh: &Mesh) -> MeshEvent {
    mesh.wait(Instant::now() + LONG).expect("an event comes")
}

fn up(mesh: &Mesh) -> NodeId {
    match event(mesh) {
        MeshEvent::Up { node, .. } => node,
        other => panic!("{other:?} instead of an up"),
    }
}

fn message(mesh: &Mesh) -> (NodeId, Vec<u8>) {
    match event(mesh) {
        MeshEvent::Message { from, bytes } => (from, bytes),
        other => panic!("{other:?} instead of a message"),
    }
}

fn down(mesh: &Mesh) -> NodeId {
    match event(mesh) {
        MeshEvent::Down { node, .. } => node,
        other => panic!("{other:?} instead of a down"),
    }
}

fn unreachable(mesh: &Mesh) -> String {
    match event(mesh) {
        MeshEvent::Unreachable { reason, .. } => reason,
        other => panic!("{other:?} instead of an unreachable"),
    }
}

/// Connects each with each and takes the ups.
fn join(meshes: &[Mesh]) {
    for (index, mesh) in meshes.iter().enumerate() {
        for other in &meshes[..index] {
            mesh.connect(other.address(), Some(other.node()));
        }
    }
    for mesh in meshes {
        for _ in 1..meshes.len() {
            up(mesh);
        }
    }
}

fn meeting(meshes: &[Mesh], me: usize, token: u8) -> Meeting {
    let nodes = meshes.iter().map(Mesh::node).collect();
    Meeting { token: [token; 32], me: Rank::new(me), nodes, absent: vec![], patience: LONG }
}

fn on_threads<T: Send>(meshes: &[Mesh], body: impl Fn(usize, &Mesh) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = meshes.iter().enumerate().map(|(index, mesh)| scope.spawn(move || body(index, mesh))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

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
fn each_member_gathers_all_parts_by_rank_in_every_step() {
    let meshes = meshes(5);
    join(&meshes);
    let seen = on_threads(&meshes, |me, mesh| {
        let mut exchange = mesh.meet(meeting(&meshes, me, 1));
        let round = |round: u8, exchange: &mut MeshExchange<'_>| exchange.all_gather("numbers", &[me as u8, round]).expect("all are well");
        (0..50).map(|step| round(step, &mut exchange)).collect::<Vec<_>>()
    });
    let round = |round| (0..5).map(|rank| vec![rank, round]).collect::<Vec<_>>();
    let expected: Vec<_> = (0..50).map(round).collect();
    assert!(seen.iter().all(|member| *member == expected));
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
