//! Hosts whose addresses are not the usual ones: link-local, IPv6 only, none at all.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use squall_transport::exchange::{
    ClusterKey, ConnectError, ConnectOptions, LocalExchange, Place, RendezvousServer, ServerOptions, Session,
};
use squall_transport::mesh::{Mesh, MeshEvent, MeshOptions};
use squall_transport::shm::ShmFabric;
use squall_transport::tcp::TcpFabric;
use squall_transport::{Exchange, Fabric, NodeId, Rank, RegionOptions, loopback};

use crate::stage::{self, OtherHost};

/// Nothing here takes this long; it only ends tests that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Addresses like `fe80::1` mean nothing without an interface, whose number is another one at each host.
#[test]
fn hosts_with_link_local_addresses_meet() {
    let test = "addresses::hosts_with_link_local_addresses_meet";
    match stage::role().as_deref() {
        None => stage::enter(test, "one"),
        Some("one") => {
            // The interfaces behind the cable have different numbers then.
            stage::ip("link add spare0 type veth peer name spare1");
            let mut host = OtherHost::start(test, "other");
            let (here, key) = (link_local(1), ClusterKey::random());
            let mut server = RendezvousServer::bind(SocketAddr::new(here, 0), &key, ServerOptions::new(2)).expect("an address of mine");
            let mesh = Mesh::open(SocketAddr::new(here, 0), &key, NodeId(1), MeshOptions::default()).expect("an address of mine");
            let (rendezvous, contact) = (server.local_addr().port(), mesh.address().port());
            host.tell(&format!("{rendezvous} {contact} {}", key.to_hex()));
            std::thread::scope(|scope| {
                let (address, key) = (server.local_addr(), &key);
                let member = scope.spawn(move || open(address, here, key, 0));
                serve_until(&mut server, || member.is_finished());
                let _session = member.join().expect("linked");
                assert!(matches!(mesh.wait(Instant::now() + PATIENCE), Some(MeshEvent::Up { node: NodeId(2), .. })));
                // It dials back by what the other said of itself.
                let (_, there) = mesh.peers()[0];
                mesh.disconnect(NodeId(2));
                mesh.connect(there, Some(NodeId(2)));
                assert!(matches!(mesh.wait(Instant::now() + PATIENCE), Some(MeshEvent::Up { node: NodeId(2), .. })));
            });
            host.tell("done");
            host.expect("linked");
        }
        Some(_) => {
            stage::arrive();
            let told = stage::listen();
            let [rendezvous, contact, key] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("told: {told}") };
            let (here, key) = (link_local(2), ClusterKey::from_hex(key).expect("a key"));
            let there = |port: &str, interface: u32| {
                let address: SocketAddr = format!("[fe80::1%{interface}]:{port}").parse().expect("an address");
                address
            };
            let number = interface();
            let error = Session::connect(there(rendezvous, 0), &key, &options(1)).expect_err("which interface?");
            assert!(matches!(&error, ConnectError::Unreachable { reason, .. } if reason.contains("without its interface")), "{error}");
            let mesh = Mesh::open(SocketAddr::new(here, 0), &key, NodeId(2), MeshOptions::default()).expect("an address of mine");
            mesh.connect(there(contact, 0), None);
            let _session = open(there(rendezvous, number), here, &key, 1);
            assert!(matches!(mesh.wait(Instant::now() + PATIENCE), Some(MeshEvent::Up { node: NodeId(1), .. })));
            stage::hear("done");
            stage::say("linked");
        }
    }
}

/// The number of the interface at my end of the cable. (`/sys` may show those of another namespace.)
fn interface() -> u32 {
    let table = std::fs::read_to_string("/proc/net/if_inet6").expect("IPv6");
    let line = table.lines().find(|line| line.ends_with("cable1")).expect("it has an address");
    u32::from_str_radix(line.split_whitespace().nth(1).expect("a table"), 16).expect("a number")
}

fn link_local(host: u16) -> IpAddr {
    Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, host).into()
}

fn options(rank: u16) -> ConnectOptions {
    ConnectOptions { node: NodeId(u64::from(rank)), rank: Some(Rank(rank)), timeout: PATIENCE }
}

fn open(rendezvous: SocketAddr, here: IpAddr, key: &ClusterKey, rank: u16) -> Session {
    let mut session = Session::connect(rendezvous, key, &options(rank)).expect("the rendezvous answers");
    link(&TcpFabric::new(here), &mut session);
    session
}

fn link<F: Fabric>(fabric: &F, exchange: &mut dyn Exchange) {
    let table = fabric.region(4096, &RegionOptions::default()).expect("memory");
    fabric.open(exchange, std::slice::from_ref(&table)).map(drop).expect("opens");
}

fn serve_until(server: &mut RendezvousServer, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "nothing happens any more");
        server.poll(Duration::from_millis(10)).expect("poll");
    }
}

#[test]
fn where_loopback_has_only_ipv6_that_is_used() {
    let test = "addresses::where_loopback_has_only_ipv6_that_is_used";
    match stage::role() {
        None => stage::enter(test, "alone"),
        Some(_) => {
            stage::ip("link set lo up");
            stage::ip("addr del 127.0.0.1/8 dev lo");
            assert_eq!(loopback().expect("::1 is there"), IpAddr::from(Ipv6Addr::LOCALHOST));
            let open = |mut exchange| link(&TcpFabric::default(), &mut exchange);
            std::thread::scope(|scope| LocalExchange::mesh(2).into_iter().for_each(|exchange| drop(scope.spawn(move || open(exchange)))));
        }
    }
}

#[test]
fn members_on_one_host_need_no_address_over_shm_and_tcp_says_what_it_lacks() {
    let test = "addresses::members_on_one_host_need_no_address_over_shm_and_tcp_says_what_it_lacks";
    match stage::role() {
        None => stage::enter(test, "alone"),
        Some(_) => {
            // The loopback interface of a new namespace is down.
            assert!(loopback().is_err());
            let key = ClusterKey::random();
            let mut server = RendezvousServer::bind(Place::local(), &key, ServerOptions::new(2)).expect("a name");
            let place = server.place().clone();
            std::thread::scope(|scope| {
                let (key, place) = (&key, &place);
                let member = |rank| {
                    move || {
                        let mut session = Session::connect(place.clone(), key, &options(rank)).expect("the rendezvous answers");
                        link(&ShmFabric::new(), &mut session);
                    }
                };
                let members = [0, 1].map(|rank| scope.spawn(member(rank)));
                serve_until(&mut server, || members.iter().all(|member| member.is_finished()));
                members.into_iter().for_each(|member| member.join().expect("linked"));
            });
            let fabric = TcpFabric::default();
            let table = fabric.region(4096, &RegionOptions::default()).expect("memory");
            let error = fabric.open(&mut LocalExchange::mesh(2)[0], std::slice::from_ref(&table)).expect_err("no address");
            assert!(error.to_string().contains("ip link set lo up"), "{error}");
        }
    }
}
