//! Two hosts joined by a cable, which is pulled: everything that connects them notices, whether something is sent or
//! not.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use squall_transport::exchange::{
    ClusterKey, ConnectOptions, ExchangeError, LeaveReason, RendezvousServer, ServerEvent, ServerOptions, Session,
};
use squall_transport::mesh::{Mesh, MeshEvent, MeshOptions};
use squall_transport::tcp::{TcpEndpoint, TcpFabric};
use squall_transport::{Endpoint, Event, Fabric, LOST_AFTER_MIN, NodeId, Place, Rank, Region, RegionOptions, TABLE, Write};

use crate::stage::{self, OtherHost};

/// Nothing here takes this long; it is a fraction of what TCP takes by itself to give up a host that it sends to.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_pulled_cable_is_noticed_where_nothing_is_sent() {
    both("cable::a_pulled_cable_is_noticed_where_nothing_is_sent", false);
}

#[test]
fn a_pulled_cable_is_noticed_while_sending() {
    both("cable::a_pulled_cable_is_noticed_while_sending", true);
}

fn both(test: &str, sends: bool) {
    match stage::role().as_deref() {
        None => stage::enter(test, "one"),
        Some("one") => one(test, sends),
        Some(_) => other(sends),
    }
}

/// The host with the rendezvous, which pulls the cable.
fn one(test: &str, sends: bool) {
    let mut host = OtherHost::start(test, "other");
    let (here, key) = (IpAddr::from([192, 0, 2, 1]), ClusterKey::random());
    let options = ServerOptions { lost_after: LOST_AFTER_MIN, ..ServerOptions::new(2) };
    let mut server = RendezvousServer::bind(SocketAddr::new(here, 0), &key, options).expect("an address of mine");
    let mesh = open_mesh(here, &key, 1);
    let address = server.local_addr();
    host.tell(&format!("{address} {} {}", mesh.address(), key.to_hex()));
    let (mut endpoint, _table, events) = std::thread::scope(|scope| {
        let key = &key;
        let member = scope.spawn(move || open(address, here, key, 0));
        let mut events = Vec::new();
        while !member.is_finished() {
            events.extend(server.poll(Duration::from_millis(10)).expect("poll"));
        }
        let (session, endpoint, table) = member.join().expect("linked");
        drop(session);
        (endpoint, table, events)
    });
    let is_of_other = |event: &ServerEvent| matches!(event, ServerEvent::Left { rank: Rank(1), .. });
    assert!(!events.iter().any(is_of_other), "{events:?}");
    assert!(matches!(mesh.wait(Instant::now() + PATIENCE), Some(MeshEvent::Up { node: NodeId(2), .. })));
    host.expect("linked");
    stage::ip("link set cable0 down");

    let deadline = Instant::now() + PATIENCE;
    let reason = loop {
        let events = server.poll(Duration::from_millis(100)).expect("poll");
        if let Some(ServerEvent::Left { reason, .. }) = events.into_iter().find(is_of_other) {
            break reason;
        }
        if sends {
            // It may be gone since.
            let _ = server.send(Rank(1), b"are you there?");
            let _ = mesh.send(NodeId(2), b"are you there?");
            tell(&mut endpoint, Rank(1));
        }
        assert!(Instant::now() < deadline, "the rendezvous noticed nothing");
    };
    assert!(matches!(reason, LeaveReason::Lost(_)), "{reason:?}");
    assert_eq!(until_down(&mut endpoint), Event::Down(Rank(1)));
    assert!(matches!(mesh.wait(Instant::now() + PATIENCE), Some(MeshEvent::Down { node: NodeId(2), .. })));
    host.expect("noticed");
}

/// The host that finds itself cut off.
fn other(sends: bool) {
    stage::arrive();
    let told = stage::listen();
    let [rendezvous, contact, key] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("told: {told}") };
    let (here, key) = (IpAddr::from([192, 0, 2, 2]), ClusterKey::from_hex(key).expect("a key"));
    let mesh = open_mesh(here, &key, 2);
    let (mut session, mut endpoint, _table) = open(rendezvous.parse().expect("an address"), here, &key, 1);
    mesh.connect(contact.parse().expect("an address"), None);
    assert!(matches!(mesh.wait(Instant::now() + PATIENCE), Some(MeshEvent::Up { node: NodeId(1), .. })));
    // Rank 0 ended its own session at once.
    stage::say("linked");
    if sends {
        tell(&mut endpoint, Rank(0));
    }
    assert_eq!(until_down(&mut endpoint), Event::Down(Rank(0)));
    assert!(matches!(mesh.wait(Instant::now() + PATIENCE), Some(MeshEvent::Down { node: NodeId(1), .. })));
    loop {
        match session.recv(Instant::now() + PATIENCE) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the session noticed nothing"),
            Err(error) => {
                assert!(matches!(error, ExchangeError::ServerGone { .. }), "{error}");
                break;
            }
        }
    }
    stage::say("noticed");
}

fn open_mesh(here: IpAddr, key: &ClusterKey, node: u64) -> Mesh {
    let options = MeshOptions { lost_after: LOST_AFTER_MIN, ..MeshOptions::default() };
    Mesh::open(SocketAddr::new(here, 0), key, NodeId(node), options).expect("an address of mine")
}

fn open(rendezvous: SocketAddr, here: IpAddr, key: &ClusterKey, rank: u16) -> (Session, TcpEndpoint, Region) {
    let options = ConnectOptions { node: NodeId(u64::from(rank)), rank: Some(Rank(rank)), timeout: PATIENCE };
    let mut session = Session::connect(rendezvous, key, &options).expect("the rendezvous answers");
    let fabric = TcpFabric::new(here).lost_after(LOST_AFTER_MIN);
    let table = fabric.region(4096, &RegionOptions::default()).expect("memory");
    let endpoint = fabric.open(&mut session, std::slice::from_ref(&table)).expect("opens");
    (session, endpoint, table)
}

fn tell(endpoint: &mut TcpEndpoint, peer: Rank) {
    // A full queue is as good: something waits to be sent.
    let _ = endpoint.post(peer, Write::Word { at: Place::new(TABLE, 0), value: 1 });
    endpoint.flush();
}

fn until_down(endpoint: &mut TcpEndpoint) -> Event {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(event) = endpoint.poll() {
            return event;
        }
        assert!(Instant::now() < deadline, "the endpoint noticed nothing");
        endpoint.arm();
        endpoint.park(PATIENCE);
    }
}
