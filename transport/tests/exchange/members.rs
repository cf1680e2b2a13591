//! Members that meet, gather, and talk to the owner of the rendezvous.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use squall_transport::exchange::{
    ClusterKey, ConnectError, ConnectOptions, Exchange, ExchangeError, LeaveReason, Place, Refusal, RendezvousServer, SendError,
    ServerEvent, ServerOptions, Session, agree,
};
use squall_transport::rank::{NodeId, Rank};

use super::{PATIENCE, bind, join, joined, left_count, local, options, poll_until, run};

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
