//! Strangers at the rendezvous, and what members find where there is none.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use squall_transport::exchange::{
    ClusterKey, ConnectError, ConnectOptions, Exchange, Refusal, RendezvousServer, ServerEvent, ServerOptions, Session,
};
use squall_transport::rank::Rank;

use super::{PATIENCE, bind, join, joined, local, options, poll_until, refusals, run};

#[test]
fn a_wrong_key_is_named_on_both_sides_and_disturbs_nobody() {
    let (mut server, key) = bind(ServerOptions::new(1));
    let gather = |session: Result<Session, ConnectError>| session.map(|mut session| session.all_gather("alone", b"").is_ok());
    let enough = |events: &[ServerEvent]| refusals(events).len() == 1;
    let (results, events) = run(&mut server, &ClusterKey::random(), 0..1, gather, enough);
    let error = results[0].as_ref().expect_err("wrong key");
    assert_eq!(*error, ConnectError::WrongKey { address: server.local_addr().into() });
    assert!(error.to_string().contains("wrong cluster key?"), "{error}");
    assert_eq!(refusals(&events), [&Refusal::WrongKey]);
    let (results, _) = run(&mut server, &key, 0..1, gather, |_| true);
    assert_eq!(results, [Ok(true)]);
}

#[test]
fn a_stalled_handshake_holds_nobody_up() {
    let (mut server, key) = bind(ServerOptions { handshake_timeout: PATIENCE, ..ServerOptions::new(3) });
    let mut silent = TcpStream::connect(server.local_addr()).expect("connect");
    let mut halting = TcpStream::connect(server.local_addr()).expect("connect");
    halting.write_all(&[0, 48, 1, 2, 3]).expect("the beginning of a handshake");
    let gather = |session: Result<Session, ConnectError>| session.expect("joined").all_gather("start", b"").is_ok();
    let (results, events) = run(&mut server, &key, 0..3, gather, |_| true);
    assert_eq!(results, [true; 3]);
    assert!(refusals(&events).is_empty(), "{events:?}");
    silent.shutdown(Shutdown::Write).expect("half-close");
    let mut events = Vec::new();
    poll_until(&mut server, &mut events, |events| refusals(events).len() == 1);
    assert!(matches!(refusals(&events)[0], Refusal::Closed { .. }));
    drop(server);
    let _ = silent.read(&mut [0; 1]);
}

#[test]
fn a_stalled_handshake_is_dropped_after_its_time() {
    let (mut server, _) = bind(ServerOptions { handshake_timeout: Duration::from_millis(20), ..ServerOptions::new(1) });
    let mut silent = TcpStream::connect(server.local_addr()).expect("connect");
    let mut events = Vec::new();
    poll_until(&mut server, &mut events, |events| !events.is_empty());
    assert_eq!(refusals(&events), [&Refusal::Stalled { timeout_ms: 20 }]);
    silent.set_read_timeout(Some(PATIENCE)).expect("timeout");
    assert_eq!(silent.read(&mut [0; 1]).ok(), Some(0));
}

#[test]
fn garbage_is_refused() {
    let (mut server, _) = bind(ServerOptions::new(1));
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 70_000], &[0, 0], &[0, 49]] {
        let mut stranger = TcpStream::connect(server.local_addr()).expect("connect");
        // The server may close while this still writes.
        let _ = stranger.write_all(garbage);
        let mut events = Vec::new();
        poll_until(&mut server, &mut events, |events| !events.is_empty());
        assert_eq!(refusals(&events), [&Refusal::NotSquall]);
    }
}

#[test]
fn strangers_beyond_the_limit_push_out_the_oldest() {
    let (mut server, key) = bind(ServerOptions::new(1));
    let address = server.local_addr();
    let mut strangers = Vec::new();
    let mut events = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while events.is_empty() {
        assert!(Instant::now() < deadline);
        strangers.push(TcpStream::connect(address).expect("connect"));
        events.extend(server.poll(Duration::ZERO).expect("poll"));
    }
    assert!(matches!(refusals(&events)[..], [Refusal::Crowded { .. }]));
    assert_eq!(joined(&mut server, &key, 0).rank(), Rank(0));
}

#[test]
fn newcomers_get_in_through_a_flood_of_strangers_and_few_lines_tell_of_it() {
    const NEWCOMERS: usize = 10;
    let (mut server, key) = bind(ServerOptions::new(NEWCOMERS));
    let (address, over, strangers) = (server.local_addr(), AtomicBool::new(false), AtomicUsize::new(0));
    let (told, left_out) = (Cell::new(0), Cell::new(0));
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let (mut held, began) = (VecDeque::new(), Instant::now());
            while !over.load(Relaxed) && began.elapsed() < PATIENCE {
                if let Ok(stranger) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
                    held.push_back(stranger);
                    strangers.fetch_add(1, Relaxed);
                }
                if held.len() > 300 {
                    held.pop_front();
                }
            }
        });
        // Each comes when many more strangers have.
        let (key, seen) = (&key, &strangers);
        let newcomer = move |rank| {
            let before = seen.load(Relaxed);
            while seen.load(Relaxed) < before + 100 {
                thread::yield_now();
            }
            join(address, key, rank)
        };
        let newcomers = scope.spawn(move || (0..NEWCOMERS).map(newcomer).collect::<Vec<_>>());
        let deadline = Instant::now() + PATIENCE;
        let watch = |server: &mut RendezvousServer| {
            assert!(Instant::now() < deadline, "newcomers wait");
            for event in server.poll(Duration::from_millis(5)).expect("poll") {
                match event {
                    ServerEvent::Refused { .. } => told.set(told.get() + 1),
                    ServerEvent::RefusedMore { count } => left_out.set(left_out.get() + count),
                    _ => {}
                }
            }
        };
        while !newcomers.is_finished() {
            watch(&mut server);
        }
        over.store(true, Relaxed);
        for newcomer in newcomers.join().expect("no panic") {
            newcomer.expect("it holds the key");
        }
        flood.join().expect("no panic");
        // Those that it held are gone.
        while left_out.get() == 0 {
            watch(&mut server);
        }
    });
    assert!(told.get() <= 64, "{} lines for {} strangers", told.get(), left_out.get());
}

#[test]
fn an_address_without_a_rendezvous_is_told_apart() {
    let key = ClusterKey::random();
    let closed = TcpListener::bind(local()).expect("bind").local_addr().expect("address");
    let brief = ConnectOptions { timeout: Duration::from_millis(300), ..options(1, None) };
    let error = Session::connect(closed, &key, &brief).expect_err("nothing listens");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");

    let silent = TcpListener::bind(local()).expect("bind");
    let error = Session::connect(silent.local_addr().expect("address"), &key, &brief).expect_err("no answer");
    assert!(error.to_string().contains("is this a Squall rendezvous?"), "{error}");

    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let other = TcpListener::bind(local()).expect("bind");
        let address = other.local_addr().expect("address");
        let error = thread::scope(|scope| {
            let member = scope.spawn(|| Session::connect(address, &key, &brief).err());
            // However often it tries.
            other.set_nonblocking(true).expect("a socket");
            while !member.is_finished() {
                // One whose time is over may be gone again.
                if let Ok((mut stream, _)) = other.accept()
                    && stream.read_exact(&mut [0; 50]).is_ok()
                {
                    let _ = stream.write_all(answer);
                }
                thread::yield_now();
            }
            member.join().expect("no panic").expect("no rendezvous")
        });
        assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_at_the_socket_leave_the_server_serving(
        strangers in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 1..5),
    ) {
        let (mut server, key) = bind(ServerOptions::new(1));
        let mut open = Vec::new();
        for (plausible, bytes) in &strangers {
            let mut stream = TcpStream::connect(server.local_addr()).expect("connect");
            let length: &[u8] = if *plausible { &[0, 48] } else { &[] };
            // The server may close in between.
            let _ = stream.write_all(length).and_then(|()| stream.write_all(bytes));
            server.poll(Duration::ZERO).expect("poll");
            open.push(stream);
        }
        let gather = |session: Result<Session, ConnectError>| session.expect("joined").all_gather("alone", b"x");
        let (results, events) = run(&mut server, &key, 0..1, gather, |_| true);
        prop_assert_eq!(results, vec![Ok(vec![b"x".to_vec()])]);
        prop_assert!(refusals(&events).len() <= strangers.len());
    }
}
