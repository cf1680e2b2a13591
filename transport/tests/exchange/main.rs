//! The rendezvous and its members over real sockets.

mod failures;
mod members;
mod strangers;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use squall_transport::exchange::{
    ClusterKey, ConnectError, ConnectOptions, Refusal, RendezvousServer, ServerEvent, ServerOptions, Session,
};
use squall_transport::rank::{NodeId, Rank};

/// Nothing here takes this long; it only ends tests that would hang.
const PATIENCE: Duration = Duration::from_secs(30);

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn bind(options: ServerOptions) -> (RendezvousServer, ClusterKey) {
    let key = ClusterKey::random();
    (RendezvousServer::bind(local(), &key, options).expect("bind"), key)
}

fn options(node: u64, rank: Option<u16>) -> ConnectOptions {
    ConnectOptions { node: NodeId(node), rank: rank.map(Rank), timeout: PATIENCE }
}

fn join(address: SocketAddr, key: &ClusterKey, rank: usize) -> Result<Session, ConnectError> {
    Session::connect(address, key, &options(100 + rank as u64, Some(rank as u16)))
}

/// Runs `member` for each rank on a thread of its own, and the server on this one until `enough` events have come and
/// all threads are done.
fn run<T: Send>(
    server: &mut RendezvousServer,
    key: &ClusterKey,
    ranks: std::ops::Range<usize>,
    member: impl Fn(Result<Session, ConnectError>) -> T + Sync,
    enough: impl Fn(&[ServerEvent]) -> bool,
) -> (Vec<T>, Vec<ServerEvent>) {
    let address = server.local_addr();
    let (member, mut events) = (&member, Vec::new());
    let results = thread::scope(|scope| {
        let spawn = |rank| scope.spawn(move || member(join(address, key, rank)));
        let threads: Vec<_> = ranks.map(spawn).collect();
        poll_until(server, &mut events, |events| enough(events) && threads.iter().all(|thread| thread.is_finished()));
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    (results, events)
}

fn poll_until(server: &mut RendezvousServer, events: &mut Vec<ServerEvent>, enough: impl Fn(&[ServerEvent]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !enough(events) {
        assert!(Instant::now() < deadline, "gave up waiting; so far: {events:?}");
        events.extend(server.poll(Duration::from_millis(5)).expect("poll"));
    }
}

fn refusals(events: &[ServerEvent]) -> Vec<&Refusal> {
    events
        .iter()
        .filter_map(|event| match event {
            ServerEvent::Refused { reason, .. } => Some(reason),
            _ => None,
        })
        .collect()
}

fn left_count(events: &[ServerEvent]) -> usize {
    events.iter().filter(|event| matches!(event, ServerEvent::Left { .. })).count()
}

fn joined(server: &mut RendezvousServer, key: &ClusterKey, rank: usize) -> Session {
    let address = server.local_addr();
    thread::scope(|scope| {
        let member = scope.spawn(move || join(address, key, rank));
        poll_until(server, &mut Vec::new(), |_| member.is_finished());
        member.join().expect("no panic").expect("joined")
    })
}
