//! The rendezvous and its members over real sockets.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags};
use squall_transport::exchange::{
    ClusterKey, ConnectError, ConnectOptions, Exchange, ExchangeError, GatherFault, LeaveReason, Place, Refusal, RendezvousServer,
    SendError, ServerEvent, ServerOptions, Session, agree,
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

#[test]
fn the_owner_has_a_seat_and_can_turn_a_member_away() {
    let (mut server, key) = bind(ServerOptions::new(3));
    server.seat(Rank(0), NodeId(7)).expect("nobody is here");
    let seen = |rank| {
        move |events: &[ServerEvent]| {
            events.iter().any(|event| matches!(event, ServerEvent::Joined { rank: joined, .. } if *joined == rank))
        }
    };
    let address = server.local_addr();
    let (out, is_out) = std::sync::mpsc::channel();
    let key = &key;
    thread::scope(|scope| {
        let taken = scope.spawn(move || join(address, key, 0).expect_err("the owner sits there"));
        let unwanted = scope.spawn(move || {
            let mut session = join(address, key, 1).expect("a free rank");
            is_out.recv().expect("it is told");
            session.send(b"but").expect("what it is told is for it to receive");
            let why = session.recv(Instant::now() + PATIENCE).expect("said before").expect("in time");
            (why, session.recv(Instant::now() + PATIENCE).expect_err("turned away"))
        });
        let mut events = Vec::new();
        poll_until(&mut server, &mut events, seen(Rank(1)));
        server.send(Rank(1), b"not you").expect("it is here");
        server.turn_away(Rank(1));
        out.send(()).expect("it waits");
        poll_until(&mut server, &mut events, |_| taken.is_finished() && unwanted.is_finished());
        assert!(matches!(taken.join().expect("no panic"), ConnectError::Refused { reason: Refusal::DuplicateRank { .. }, .. }));
        assert_eq!(unwanted.join().expect("no panic").0, b"not you");
        assert!(!events.iter().any(|event| matches!(event, ServerEvent::Left { .. })), "{events:?}");
        let again = scope.spawn(move || join(address, key, 1).map(drop));
        poll_until(&mut server, &mut Vec::new(), |_| again.is_finished());
        again.join().expect("no panic").expect("the rank is free again");
    });
}

#[test]
fn a_poll_beside_another_descriptor_ends_when_that_can_be_read() {
    let (mut server, _) = bind(ServerOptions::new(2));
    let (mut bell, other) = std::os::unix::net::UnixStream::pair().expect("two sockets");
    bell.write_all(b"x").expect("room for a byte");
    let began = Instant::now();
    let events = server.poll_beside(PATIENCE, std::os::fd::AsFd::as_fd(&other)).expect("poll");
    assert!(events.is_empty() && began.elapsed() < PATIENCE);
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

#[test]
fn members_join_gather_and_talk_to_the_owner() {
    const MEMBERS: usize = 5;
    let (mut server, key) = bind(ServerOptions::new(MEMBERS));
    let work = |session: Result<Session, ConnectError>| {
        let mut session = session.expect("joined");
        let me = session.rank().0 as u8;
        agree(&mut session, "protocol version", b"1").expect("all the same");
        for round in 0..20u8 {
            let parts = session.all_gather("round", &[me, round]).expect("all there");
            let expected: Vec<Vec<u8>> = (0..MEMBERS as u8).map(|rank| vec![rank, round]).collect();
            assert_eq!(parts, expected);
        }
        let parts = session.all_gather("large", &vec![me; 300_000]).expect("all there");
        assert!(parts.iter().enumerate().all(|(rank, part)| *part == vec![rank as u8; 300_000]));
        session.send(&vec![me; 3_000_000]).expect("sent");
        let token = *session.token();
        session.finish(Instant::now() + PATIENCE).expect("taken");
        (me, token)
    };
    let (results, events) = run(&mut server, &key, 0..MEMBERS, work, |events| left_count(events) == MEMBERS);
    assert_eq!(server.joined_count(), MEMBERS);
    assert!(results.iter().all(|(_, token)| *token == results[0].1));
    for (rank, (me, _)) in results.iter().enumerate() {
        assert_eq!(rank, usize::from(*me));
        let rank = Rank::new(rank);
        assert!(events.contains(&ServerEvent::Message { rank, bytes: vec![*me; 3_000_000] }));
        assert!(events.contains(&ServerEvent::Left { rank, reason: LeaveReason::Finished }));
    }
}

#[test]
fn the_owner_sends_to_one_and_to_all() {
    let (mut server, key) = bind(ServerOptions::new(2));
    let mut sessions = [joined(&mut server, &key, 0), joined(&mut server, &key, 1)];
    server.send(Rank(1), b"to one").expect("joined");
    server.broadcast(b"to all").expect("short");
    let deadline = Instant::now() + PATIENCE;
    assert_eq!(sessions[1].recv(deadline), Ok(Some(b"to one".to_vec())));
    for session in &mut sessions {
        assert_eq!(session.recv(deadline), Ok(Some(b"to all".to_vec())));
        assert_eq!(session.recv(Instant::now()), Ok(None));
    }
    assert_eq!(server.send(Rank(2), b""), Err(SendError::Absent { rank: Rank(2) }));
    let long = vec![0; ServerOptions::new(1).frame_bytes_max];
    assert!(matches!(server.broadcast(&long), Err(SendError::TooLarge { .. })));
    assert!(matches!(sessions[0].send(&long), Err(ExchangeError::TooLarge { .. })));
}

#[test]
fn messages_that_come_during_a_gather_wait_for_recv() {
    let (mut server, key) = bind(ServerOptions::new(1));
    let mut session = joined(&mut server, &key, 0);
    server.send(Rank(0), b"job").expect("joined");
    let gathered = thread::scope(|scope| {
        let member = scope.spawn(|| session.all_gather("alone", b"x"));
        poll_until(&mut server, &mut Vec::new(), |_| member.is_finished());
        member.join().expect("no panic")
    });
    assert_eq!(gathered, Ok(vec![b"x".to_vec()]));
    assert_eq!(session.recv(Instant::now()), Ok(Some(b"job".to_vec())));
}

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
fn who_cannot_have_a_rank_is_told_why() {
    let (mut server, key) = bind(ServerOptions::new(2));
    let first = joined(&mut server, &key, 0);
    let address = server.local_addr();
    let refuse = |server: &mut RendezvousServer, options: ConnectOptions| {
        let key = &key;
        thread::scope(|scope| {
            let member = scope.spawn(move || Session::connect(address, key, &options).err());
            poll_until(server, &mut Vec::new(), |_| member.is_finished());
            member.join().expect("no panic")
        })
    };
    let refused = |reason| Some(ConnectError::Refused { address: address.into(), reason });
    let taken = Refusal::DuplicateRank { rank: Rank(0), node: NodeId(100) };
    assert_eq!(refuse(&mut server, options(1, Some(0))), refused(taken));
    let twice = Refusal::DuplicateNode { node: NodeId(100), rank: Rank(0) };
    assert_eq!(refuse(&mut server, options(100, Some(1))), refused(twice));
    let none = Refusal::NoSuchRank { rank: Rank(2), members: 2 };
    assert_eq!(refuse(&mut server, options(1, Some(2))), refused(none));
    let second = joined(&mut server, &key, 1);
    assert_eq!(refuse(&mut server, options(1, None)), refused(Refusal::Full { members: 2 }));
    drop((first, second));
}

#[test]
fn without_wishes_ranks_are_given_in_order() {
    let (mut server, key) = bind(ServerOptions::new(3));
    let address = server.local_addr();
    let mut ranks = Vec::new();
    for node in 0..3 {
        let (key, options) = (&key, options(node, None));
        let session = thread::scope(|scope| {
            let member = scope.spawn(move || Session::connect(address, key, &options));
            poll_until(&mut server, &mut Vec::new(), |_| member.is_finished());
            member.join().expect("no panic").expect("joined")
        });
        ranks.push(session.rank());
    }
    assert_eq!(ranks, [Rank(0), Rank(1), Rank(2)]);
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
fn members_on_one_host_meet_without_an_address() {
    let key = ClusterKey::random();
    let mut server = RendezvousServer::bind(Place::local(), &key, ServerOptions::new(3)).expect("a name of its own");
    let place = server.place().clone();
    assert_eq!(place.to_string().parse(), Ok(place.clone()));
    thread::scope(|scope| {
        let (key, place) = (&key, &place);
        let member = |rank: u16| {
            move || {
                let mut session = Session::connect(place.clone(), key, &options(u64::from(rank), Some(rank))).expect("joined");
                assert!(session.local_addr().is_err(), "there is none");
                session.all_gather("who", &[rank as u8]).expect("all are here")
            }
        };
        let members: Vec<_> = (0..3).map(|rank| scope.spawn(member(rank))).collect();
        poll_until(&mut server, &mut Vec::new(), |_| members.iter().all(|member| member.is_finished()));
        for member in members {
            assert_eq!(member.join().expect("no panic"), [[0], [1], [2]]);
        }
    });
    drop(server);
    let brief = ConnectOptions { timeout: Duration::from_millis(50), ..options(9, None) };
    let error = Session::connect(place.clone(), &key, &brief).expect_err("nobody is there");
    assert!(matches!(&error, ConnectError::Unreachable { address, .. } if *address == place), "{error}");
}

#[test]
fn a_member_that_dies_fails_the_gather_of_the_others_by_name() {
    let (mut server, key) = bind(ServerOptions::new(4));
    let die_or_gather = |session: Result<Session, ConnectError>| {
        let mut session = session.expect("joined");
        session.all_gather("everybody is here", b"").expect("all alive");
        if session.rank() == Rank(2) {
            return None;
        }
        Some((session.all_gather("addresses", b"x"), session.all_gather("again", b"x")))
    };
    let (results, events) = run(&mut server, &key, 0..4, die_or_gather, |events| left_count(events) == 4);
    assert_eq!(results.iter().flatten().count(), 3);
    for (first, again) in results.into_iter().flatten() {
        for result in [first, again] {
            let error = result.expect_err("rank 2 is dead");
            assert!(matches!(&error, ExchangeError::Gather { fault: GatherFault::Left { rank: Rank(2), .. }, .. }), "{error}");
        }
    }
    let lost = |event: &ServerEvent| matches!(event, ServerEvent::Left { rank: Rank(2), reason: LeaveReason::Lost(_) });
    assert!(events.iter().any(lost), "{events:?}");
}

#[test]
fn a_gather_out_of_step_or_too_late_or_too_large_fails_for_all() {
    let (mut server, key) = bind(ServerOptions::new(2));
    let work = |session: Result<Session, ConnectError>| {
        let mut session = session.expect("joined");
        let name = if session.rank() == Rank(0) { "start" } else { "stop" };
        session.all_gather(name, b"").expect_err("out of step").to_string()
    };
    let (errors, _) = run(&mut server, &key, 0..2, work, |_| true);
    assert!(errors.iter().all(|error| error.contains("start") && error.contains("stop")), "{errors:?}");

    let (mut server, key) = bind(ServerOptions { gather_timeout: Duration::from_millis(20), ..ServerOptions::new(2) });
    let idle = joined(&mut server, &key, 1);
    let work = |session: Result<Session, ConnectError>| session.expect("joined").all_gather("start", b"");
    let (results, _) = run(&mut server, &key, 0..1, work, |_| true);
    let fault = GatherFault::Late { ranks: vec![Rank(1)], waited_ms: 20 };
    assert_eq!(results, [Err(ExchangeError::Gather { what: "start".to_owned(), fault })]);
    drop(idle);

    let (mut server, key) = bind(ServerOptions { frame_bytes_max: 20_000, ..ServerOptions::new(2) });
    let work = |session: Result<Session, ConnectError>| session.expect("joined").all_gather("large", &[0; 12_000]);
    let (results, _) = run(&mut server, &key, 0..2, work, |_| true);
    for result in results {
        assert!(matches!(result, Err(ExchangeError::Gather { fault: GatherFault::TooLarge { .. }, .. })), "{result:?}");
    }
}

#[test]
fn a_group_that_does_not_fill_names_who_is_missing() {
    let (mut server, key) = bind(ServerOptions { join_timeout: Duration::from_secs(2), ..ServerOptions::new(3) });
    let mut early = Session::connect(server.local_addr(), &key, &ConnectOptions { timeout: Duration::ZERO, ..options(1, None) });
    assert!(matches!(early, Err(ConnectError::Unreachable { .. })));
    let work = |session: Result<Session, ConnectError>| session.expect("joined").all_gather("start", b"");
    let (results, events) = run(&mut server, &key, 1..2, work, |_| true);
    let missing = vec![Rank(0), Rank(2)];
    let fault = GatherFault::Absent { ranks: missing.clone(), waited_ms: 2000 };
    assert_eq!(results, [Err(ExchangeError::Gather { what: "start".to_owned(), fault })]);
    assert!(events.contains(&ServerEvent::JoinTimedOut { missing }));
    let address = server.local_addr();
    thread::scope(|scope| {
        let member = scope.spawn(|| join(address, &key, 0));
        poll_until(&mut server, &mut Vec::new(), |_| member.is_finished());
        early = member.join().expect("no panic");
    });
    let reason = Refusal::TooLate { timeout_ms: 2000 };
    assert_eq!(early.err(), Some(ConnectError::Refused { address: address.into(), reason }));
}

#[test]
fn a_dead_server_is_noticed_at_once() {
    let (mut server, key) = bind(ServerOptions::new(3));
    let mut sessions: Vec<_> = (0..3).map(|rank| joined(&mut server, &key, rank)).collect();
    server.broadcast(b"last words").expect("short");
    drop(server);
    let deadline = Instant::now() + PATIENCE;
    let mut watched = [PollFd::new(&sessions[2], PollFlags::RDHUP)];
    assert_eq!(rustix::event::poll(&mut watched, None), Ok(1));
    assert!(watched[0].revents().contains(PollFlags::RDHUP));
    for session in &mut sessions {
        assert_eq!(session.recv(deadline), Ok(Some(b"last words".to_vec())));
    }
    assert!(matches!(sessions[0].recv(deadline), Err(ExchangeError::ServerGone { .. })));
    assert!(matches!(sessions[1].all_gather("start", b""), Err(ExchangeError::ServerGone { .. })));
    assert!(Instant::now() < deadline);
    let last = sessions.pop().expect("three");
    assert!(matches!(last.finish(deadline), Err(ExchangeError::ServerGone { .. })));
}

#[test]
fn a_member_that_does_not_read_is_cut_rather_than_waited_for() {
    let frame_bytes_max = 1 << 20;
    let (mut server, key) = bind(ServerOptions { frame_bytes_max, ..ServerOptions::new(1) });
    let deaf = joined(&mut server, &key, 0);
    let message = vec![0; frame_bytes_max / 2];
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    while left_count(&events) == 0 {
        assert!(Instant::now() < deadline);
        server.send(Rank(0), &message).expect("still a member");
        events.extend(server.poll(Duration::ZERO).expect("poll"));
    }
    assert!(matches!(events.last(), Some(ServerEvent::Left { reason: LeaveReason::Stalled { .. }, .. })), "{events:?}");
    drop(deaf);
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
                if let Ok((mut stream, _)) = other.accept() {
                    stream.read_exact(&mut [0; 50]).expect("the handshake");
                    stream.write_all(answer).expect("answer");
                }
                thread::yield_now();
            }
            member.join().expect("no panic").expect("no rendezvous")
        });
        assert!(matches!(error, ConnectError::NoAnswer { .. }), "{error}");
    }
}

#[test]
fn a_server_that_starts_late_is_found() {
    let key = ClusterKey::random();
    // An address of its own, so that no other test takes the port while nobody holds it.
    let address = SocketAddr::from(([127, 0, 0, 77], 0));
    let reserved = RendezvousServer::bind(address, &key, ServerOptions::new(1)).expect("bind");
    let address = reserved.local_addr();
    drop(reserved);
    thread::scope(|scope| {
        let member = scope.spawn(|| join(address, &key, 0));
        let mut server = RendezvousServer::bind(address, &key, ServerOptions::new(1)).expect("bind");
        poll_until(&mut server, &mut Vec::new(), |_| member.is_finished());
        assert!(member.join().expect("no panic").is_ok());
    });
}

#[test]
fn options_out_of_range_are_refused() {
    let key = ClusterKey::random();
    for options in [ServerOptions::new(0), ServerOptions::new(1025), ServerOptions { frame_bytes_max: 100, ..ServerOptions::new(1) }] {
        assert!(RendezvousServer::bind(local(), &key, options).is_err());
    }
    let endless = ServerOptions {
        handshake_timeout: Duration::MAX,
        join_timeout: Duration::MAX,
        gather_timeout: Duration::MAX,
        ..ServerOptions::new(1)
    };
    let mut server = RendezvousServer::bind(local(), &key, endless).expect("bind");
    let (address, forever) = (server.local_addr(), ConnectOptions { timeout: Duration::MAX, ..options(1, None) });
    thread::scope(|scope| {
        let member = scope.spawn(|| Session::connect(address, &key, &forever).expect("joined").all_gather("alone", b""));
        poll_until(&mut server, &mut Vec::new(), |_| member.is_finished());
        assert!(member.join().expect("no panic").is_ok());
    });
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
