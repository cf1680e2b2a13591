//! A live rendezvous against peers that hold the key and misbehave.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::rank::{NodeId, Rank};

use super::frame::{FrameError, PROTOCOL_VERSION};
use super::link::{Link, LinkError};
use super::message::{ToMember, ToServer};
use super::server::HELLO_BYTES_MAX;
use super::wire::Wire;
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn bind(members: usize) -> (RendezvousServer, ClusterKey) {
    let key = ClusterKey::random();
    let address: Place = "127.0.0.1:0".parse().expect("address");
    (RendezvousServer::bind(address, &key, ServerOptions::new(members)).expect("bind"), key)
}

/// What the server reports until `enough`.
fn watch(server: &mut RendezvousServer, enough: impl Fn(&ServerEvent) -> bool) -> ServerEvent {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let events = server.poll(Duration::from_secs(1)).expect("poll");
        if let Some(event) = events.into_iter().find(&enough) {
            return event;
        }
    }
    panic!("the event did not come");
}

fn refusal(server: &mut RendezvousServer) -> Refusal {
    match watch(server, |event| matches!(event, ServerEvent::Refused { .. })) {
        ServerEvent::Refused { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn leaving(server: &mut RendezvousServer) -> LeaveReason {
    match watch(server, |event| matches!(event, ServerEvent::Left { .. })) {
        ServerEvent::Left { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// A peer that has shaken hands and then says whatever it likes.
fn shake_hands(server: &mut RendezvousServer, key: &ClusterKey, version: u8) -> Wire {
    let stream = TcpStream::connect(server.local_addr()).expect("connect");
    let link = Link::initiator(&key.handshake_secret(), version, 1 << 20);
    let mut wire = Wire::new(stream, link, crate::LOST_AFTER).expect("wire");
    let deadline = Instant::now() + PATIENCE;
    while !wire.link.is_open() {
        wire.flush();
        server.poll(Duration::ZERO).expect("poll");
        wire.fill().expect("handshake");
        assert!(Instant::now() < deadline, "handshake");
    }
    wire
}

fn say(wire: &mut Wire, header: &ToServer, payload: &[u8]) {
    wire.link.send(header, &[payload]);
    wire.flush();
}

fn hello() -> ToServer {
    ToServer::Hello { node: NodeId(1), rank: None }
}

/// What the server says next.
fn answer(server: &mut RendezvousServer, wire: &mut Wire) -> Result<ToMember, LinkError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        server.poll(Duration::ZERO).expect("poll");
        wire.fill()?;
        if let Some((header, _)) = wire.link.next()? {
            return Ok(header);
        }
        assert!(Instant::now() < deadline && wire.ended().is_none(), "no answer: {:?}", wire.ended());
    }
}

#[test]
fn another_protocol_version_is_refused_on_both_sides() {
    let (mut server, key) = bind(1);
    let address = server.local_addr();
    let member = thread::spawn(move || {
        let options = ConnectOptions { node: NodeId(1), rank: None, timeout: PATIENCE };
        Session::connect_as(PROTOCOL_VERSION + 1, address.into(), &key, &options).err()
    });
    let reason = Refusal::WrongVersion { theirs: PROTOCOL_VERSION + 1, ours: PROTOCOL_VERSION };
    assert_eq!(refusal(&mut server), reason);
    let refused = ConnectError::Refused { address: address.into(), reason };
    let both = format!("speaks protocol version {}, the rendezvous {PROTOCOL_VERSION}", PROTOCOL_VERSION + 1);
    assert!(refused.to_string().contains(&both), "{refused}");
    assert_eq!(member.join().expect("no panic"), Some(refused));
}

#[test]
fn another_version_of_the_server_is_named_to_the_member() {
    let (mut server, key) = bind(1);
    let mut wire = shake_hands(&mut server, &key, PROTOCOL_VERSION + 1);
    say(&mut wire, &hello(), b"");
    let error = answer(&mut server, &mut wire).expect_err("another version");
    assert_eq!(error, LinkError::Frame(FrameError::Version { theirs: PROTOCOL_VERSION, ours: PROTOCOL_VERSION + 1 }));
}

#[test]
fn a_stranger_who_does_not_begin_with_hello_is_refused() {
    let (mut server, key) = bind(1);
    let mut wire = shake_hands(&mut server, &key, PROTOCOL_VERSION);
    say(&mut wire, &ToServer::Message, b"let me in");
    assert!(matches!(refusal(&mut server), Refusal::Malformed { .. }));
    assert!(matches!(answer(&mut server, &mut wire), Ok(ToMember::Refused(Refusal::Malformed { .. }))));
    assert_eq!(server.joined_count(), 0);
}

#[test]
fn a_hello_that_is_too_long_is_refused() {
    let (mut server, key) = bind(1);
    let mut wire = shake_hands(&mut server, &key, PROTOCOL_VERSION);
    say(&mut wire, &hello(), &[0; HELLO_BYTES_MAX]);
    assert!(matches!(refusal(&mut server), Refusal::Malformed { .. }));
}

#[test]
fn bytes_that_do_not_open_are_refused() {
    let (mut server, key) = bind(1);
    let mut wire = shake_hands(&mut server, &key, PROTOCOL_VERSION);
    let mut other = Link::initiator(&key.handshake_secret(), PROTOCOL_VERSION, 1 << 10);
    std::mem::swap(&mut wire.link, &mut other);
    wire.flush();
    assert_eq!(refusal(&mut server), Refusal::NotSquall);
}

#[test]
fn a_member_that_breaks_the_protocol_is_cut_and_named() {
    let give = || ToServer::Give { what: "start".to_owned() };
    let long = || ToServer::Give { what: "x".repeat(200) };
    let crimes: [(&str, Vec<ToServer>, usize); 4] = [
        ("a second hello", vec![hello()], 0),
        ("gave twice", vec![give(), give()], 0),
        ("too long a name", vec![long()], 0),
        ("more than the", vec![ToServer::Message], ServerOptions::new(1).frame_bytes_max),
    ];
    for (crime, headers, payload_bytes) in crimes {
        let (mut server, key) = bind(2);
        let mut wire = shake_hands(&mut server, &key, PROTOCOL_VERSION);
        say(&mut wire, &hello(), b"");
        assert!(matches!(answer(&mut server, &mut wire), Ok(ToMember::Welcome(welcome)) if welcome.rank == Rank(0)));
        for header in &headers {
            say(&mut wire, header, &vec![0; payload_bytes]);
        }
        let reason = leaving(&mut server).to_string();
        assert!(reason.contains(crime), "{crime}: {reason}");
    }
}
