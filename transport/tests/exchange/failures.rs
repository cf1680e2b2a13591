//! Members, gathers and servers that fail.

use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use squall_transport::exchange::{
    ConnectError, ConnectOptions, Exchange, ExchangeError, GatherFault, LeaveReason, Refusal, ServerEvent, ServerOptions, Session,
};
use squall_transport::rank::Rank;

use super::{PATIENCE, bind, join, joined, left_count, options, poll_until, run};

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
    let fault = GatherFault::Late { ranks: vec![Rank(1)], waited: Duration::from_millis(20) };
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
    let fault = GatherFault::Absent { ranks: missing.clone(), waited: Duration::from_secs(2) };
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
