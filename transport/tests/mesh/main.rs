//! Meshes over loopback, as threads of this process: connections, messages, gathers, and all that can go wrong with
//! them.

mod connections;
mod gathers;
mod limits;
mod processes;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use squall_transport::exchange::ClusterKey;
use squall_transport::mesh::{Meeting, Mesh, MeshEvent, MeshOptions};
use squall_transport::{NodeId, Rank};

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
    Meeting { token: [token; 32], me: Rank::new(me), nodes, absent: vec![], patience: LONG, hasty: vec![], haste: Duration::ZERO }
}

fn on_threads<T: Send>(meshes: &[Mesh], body: impl Fn(usize, &Mesh) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = meshes.iter().enumerate().map(|(index, mesh)| scope.spawn(move || body(index, mesh))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}
