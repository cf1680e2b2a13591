//! Meetings: who gathers what, and without whom.

use squall_transport::Exchange;
use squall_transport::exchange::{ExchangeError, agree};
use squall_transport::mesh::{Gather, MeshExchange};

use super::*;

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn each_member_gathers_all_parts_by_rank_in_every_step() {
    let meshes = meshes(5);
    join(&meshes);
    let seen = on_threads(&meshes, |me, mesh| {
        let mut exchange = mesh.meet(meeting(&meshes, me, 1));
        let round = |round: u8, exchange: &mut MeshExchange| exchange.all_gather("numbers", &[me as u8, round]).expect("all are well");
        (0..50).map(|step| round(step, &mut exchange)).collect::<Vec<_>>()
    });
    let round = |round| (0..5).map(|rank| vec![rank, round]).collect::<Vec<_>>();
    let expected: Vec<_> = (0..50).map(round).collect();
    assert!(seen.iter().all(|member| *member == expected));
}

#[test]
fn a_group_of_one_gathers_alone() {
    let meshes = meshes(1);
    let mut alone = meshes[0].meet(meeting(&meshes, 0, 1));
    assert_eq!(alone.all_gather("me", b"x"), Ok(vec![b"x".to_vec()]));
    assert_eq!((alone.node(Rank(0)), alone.node(Rank(1))), (Some(meshes[0].node()), None));
    assert_eq!((alone.rank(), alone.members(), alone.token()), (Rank(0), 1, &[1; 32]));
}

#[test]
fn members_that_differ_are_named() {
    let meshes = meshes(3);
    join(&meshes);
    let results = on_threads(&meshes, |me, mesh| agree(&mut mesh.meet(meeting(&meshes, me, 1)), "version", &[u8::from(me == 1)]));
    for result in results {
        let error = result.expect_err("rank 1 differs");
        assert_eq!(error.to_string(), "members disagree on version: ranks 0, 2 give 00; rank 1 gives 01");
    }
}

#[test]
fn a_part_that_comes_before_the_meeting_or_for_a_later_step_is_kept() {
    let meshes = meshes(2);
    join(&meshes);
    let mut ahead = mesh_without(&meshes, 0, SHORT);
    let first = ahead.all_gather("first", b"early").expect("nobody is needed");
    assert_eq!(first, [b"early".to_vec(), vec![]]);
    assert!(ahead.is_absent(Rank(1)));
    let mut behind = meshes[1].meet(meeting(&meshes, 1, 1));
    assert_eq!(behind.all_gather("first", b"late"), Ok(vec![b"early".to_vec(), b"late".to_vec()]));
}

/// The meeting of all at this mesh, which waits for the others for `patience`.
fn mesh_without(meshes: &[Mesh], me: usize, patience: Duration) -> MeshExchange {
    meshes[me].meet(Meeting { patience, ..meeting(meshes, me, 1) })
}

#[test]
fn members_that_give_nothing_are_absent_once_patience_is_over_and_stay_so() {
    let meshes = meshes(3);
    join(&meshes);
    let mut exchange = mesh_without(&meshes, 0, SHORT);
    assert_eq!(exchange.patience(), Some(SHORT));
    for what in ["one", "two"] {
        assert_eq!(exchange.all_gather(what, b"x"), Ok(vec![b"x".to_vec(), vec![], vec![]]));
        assert!(exchange.is_absent(Rank(1)) && exchange.is_absent(Rank(2)) && !exchange.is_absent(Rank(0)));
    }
}

#[test]
fn a_member_that_gives_nothing_is_absent_and_the_others_gather() {
    let meshes = meshes(3);
    join(&meshes);
    let results = on_threads(&meshes[..2], |me, mesh| {
        let mut exchange = mesh.meet(Meeting { hasty: vec![Rank(2)], haste: SHORT, ..meeting(&meshes, me, 1) });
        let parts = [exchange.all_gather("one", &[me as u8]), exchange.all_gather("two", &[me as u8])];
        assert!(exchange.is_absent(Rank(2)) && !exchange.is_absent(Rank(0)) && !exchange.is_absent(Rank(1)));
        parts
    });
    for result in results.into_iter().flatten() {
        assert_eq!(result, Ok(vec![vec![0], vec![1], vec![]]));
    }
}

#[test]
fn absent_and_given_up_members_are_not_waited_for() {
    let meshes = meshes(3);
    let mut exchange = meshes[0].meet(Meeting { absent: vec![Rank(2)], ..meeting(&meshes, 0, 1) });
    exchange.give_up(Rank(1));
    assert_eq!(exchange.all_gather("alone", b"x"), Ok(vec![b"x".to_vec(), vec![], vec![]]));
    assert!(exchange.is_absent(Rank(1)) && exchange.is_absent(Rank(2)) && !exchange.is_absent(Rank(0)));
}

#[test]
fn a_member_that_goes_down_before_its_part_came_is_absent_without_waiting() {
    let mut meshes = meshes(2);
    join(&meshes);
    let meetings = [meeting(&meshes, 0, 1), meeting(&meshes, 1, 1)];
    let (stays, gone) = (meshes.remove(0), meshes.remove(0));
    let [staying, leaving] = meetings;
    let mut exchange = stays.meet(Meeting { patience: Duration::MAX, ..staying });
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut exchange = gone.meet(leaving);
            exchange.all_gather("both", b"last words").expect("both are there");
        });
        assert_eq!(exchange.all_gather("both", b"x"), Ok(vec![b"x".to_vec(), b"last words".to_vec()]));
        assert_eq!(exchange.all_gather("then", b"y"), Ok(vec![b"y".to_vec(), vec![]]));
    });
    assert!(exchange.is_absent(Rank(1)));
}

#[test]
fn a_part_given_before_the_connection_ended_counts() {
    let mut meshes = meshes(2);
    join(&meshes);
    let nodes: Vec<NodeId> = meshes.iter().map(Mesh::node).collect();
    let (stays, gone) = (meshes.remove(0), meshes.remove(0));
    let of = |me| Meeting {
        token: [1; 32],
        me: Rank::new(me),
        nodes: nodes.clone(),
        absent: vec![],
        patience: LONG,
        hasty: vec![],
        haste: Duration::ZERO,
    };
    let mut exchange = stays.meet(of(0));
    drop(gone.meet(Meeting { patience: SHORT, ..of(1) }).all_gather("both", b"last words"));
    drop(gone);
    assert_eq!(down(&stays), nodes[1]);
    assert_eq!(exchange.all_gather("both", b"x"), Ok(vec![b"x".to_vec(), b"last words".to_vec()]));
    assert!(!exchange.is_absent(Rank(1)));
    assert_eq!(exchange.all_gather("then", b"x"), Ok(vec![b"x".to_vec(), vec![]]));
    assert!(exchange.is_absent(Rank(1)));
}

#[test]
fn a_connection_may_come_up_while_the_gather_waits() {
    let meshes = meshes(3);
    let results = on_threads(&meshes, |me, mesh| {
        let mut exchange = mesh.meet(meeting(&meshes, me, 1));
        thread::scope(|scope| {
            scope.spawn(|| {
                for other in &meshes[..me] {
                    mesh.connect(other.address(), Some(other.node()));
                }
            });
            exchange.all_gather("numbers", &[me as u8])
        })
    });
    for result in results {
        assert_eq!(result, Ok(vec![vec![0], vec![1], vec![2]]));
    }
}

#[test]
fn a_member_that_was_lost_does_not_come_back_for_the_same_meeting() {
    let meshes = meshes(2);
    join(&meshes);
    let mut exchange = meshes[0].meet(meeting(&meshes, 0, 1));
    meshes[1].disconnect(meshes[0].node());
    assert_eq!(down(&meshes[0]), meshes[1].node());
    meshes[1].connect(meshes[0].address(), None);
    assert_eq!(up(&meshes[0]), meshes[1].node());
    assert_eq!(exchange.all_gather("one", b"x"), Ok(vec![b"x".to_vec(), vec![]]));
}

#[test]
fn members_out_of_step_are_named_and_the_exchange_keeps_failing() {
    let meshes = meshes(2);
    join(&meshes);
    let results = on_threads(&meshes, |me, mesh| {
        let mut exchange = mesh.meet(meeting(&meshes, me, 1));
        let first = exchange.all_gather(["one", "other"][me], b"");
        assert_eq!(exchange.all_gather("again", b""), first);
        first
    });
    let text = results[0].clone().expect_err("rank 1 gives another").to_string();
    assert!(text.contains("rank 1 gives \"other\" where the others give \"one\""), "{text}");
    assert!(results[1].is_err());
}

#[test]
fn a_part_larger_than_a_frame_is_an_error_and_the_largest_goes_through() {
    let meshes = meshes(2);
    join(&meshes);
    on_threads(&meshes, |me, mesh| {
        let mut exchange = mesh.meet(meeting(&meshes, me, 1));
        let parts = exchange.all_gather("much", &vec![me as u8; (1 << 20) - 256]).expect("as large as a frame carries");
        assert_eq!(parts, [vec![0; (1 << 20) - 256], vec![1; (1 << 20) - 256]]);
        let error = exchange.all_gather("more", &vec![0; (1 << 20) - 255]).expect_err("one byte too many");
        assert_eq!(error, ExchangeError::TooLarge { bytes: (1 << 20) - 255, bytes_max: (1 << 20) - 256 });
    });
}

#[test]
fn events_of_a_gather_wait_for_their_turn_and_parts_are_none() {
    let meshes = meshes(2);
    join(&meshes);
    on_threads(&meshes, |me, mesh| {
        let other = meshes[1 - me].node();
        let mut exchange = mesh.meet(meeting(&meshes, me, 1));
        for number in 0..100u8 {
            mesh.send(other, &[number]).expect("it stands");
            exchange.all_gather("between", b"").expect("both are there");
        }
        for number in 0..100u8 {
            assert_eq!(mesh.next(), Some(MeshEvent::Message { from: other, bytes: vec![number] }));
        }
        assert_eq!(mesh.next(), None);
    });
}

#[test]
fn messages_that_nobody_takes_do_not_hold_up_a_gather() {
    let key = ClusterKey::random();
    let options =
        || MeshOptions { frame_bytes_max: 16 << 10, unread_bytes_max: 32 << 10, unsent_bytes_max: 32 << 10, ..MeshOptions::default() };
    let meshes = [open(&key, 1, options()), open(&key, 2, options())];
    join(&meshes);
    on_threads(&meshes, |me, mesh| {
        let mut exchange = mesh.meet(meeting(&meshes, me, 1));
        for _ in 0..4 {
            mesh.send(meshes[1 - me].node(), &[7; 12 << 10]).expect("there is room");
            exchange.all_gather("on", b"").expect("both are there");
        }
        assert!(!exchange.is_absent(Rank::new(1 - me)));
    });
}

#[test]
fn meetings_after_each_other_and_at_once_do_not_mix() {
    let meshes = meshes(3);
    join(&meshes);
    on_threads(&meshes, |me, mesh| {
        for round in 0..20u8 {
            let mut one = mesh.meet(meeting(&meshes, me, 2 * round));
            let mut other = mesh.meet(meeting(&meshes, me, 2 * round + 1));
            let expected = |kind| Ok((0..3).map(|rank| vec![round, kind, rank]).collect());
            assert_eq!(one.all_gather("one", &[round, 0, me as u8]), expected(0));
            assert_eq!(other.all_gather("other", &[round, 1, me as u8]), expected(1));
            assert_eq!(one.all_gather("one", &[round, 2, me as u8]), expected(2));
        }
    });
}

/// Prints how long a gather of five takes over standing connections; `--ignored --nocapture`, and `--release` for a
/// figure that counts.
#[test]
#[ignore = "a measurement"]
fn gather_latency() {
    const GATHERS: usize = 2000;
    let meshes = meshes(5);
    join(&meshes);
    let times = on_threads(&meshes, |me, mesh| {
        let mut exchange = mesh.meet(meeting(&meshes, me, 1));
        let mut times = Vec::with_capacity(GATHERS);
        for _ in 0..GATHERS {
            let started = Instant::now();
            exchange.all_gather("latency", &[0; 64]).expect("all are there");
            times.push(started.elapsed());
        }
        times.sort();
        times
    });
    let at = |share: usize| times[0][(GATHERS - 1) * share / 100];
    println!("gather of 5: p50 {:?}, p90 {:?}, p99 {:?}, {GATHERS} samples", at(50), at(90), at(99));
}

#[test]
fn a_gather_that_is_polled_waits_by_the_time_it_is_told_and_for_hasty_members_less() {
    let meshes = meshes(2);
    join(&meshes);
    let millis = |ms: u64| ms * 1_000_000;
    let of = |me| Meeting { hasty: vec![Rank(1)], haste: Duration::from_millis(5), ..meeting(&meshes, me, 1) };
    let mut one = meshes[0].meet(of(0));
    assert!(one.poll(millis(1), "first", b"a").is_none());
    assert_eq!(one.due_ns(millis(1)), Some(millis(6)));
    let mut other = meshes[1].meet(of(1));
    let parts = other.all_gather("first", b"b").expect("its part waits already, or comes");
    assert_eq!(parts, [b"a".to_vec(), b"b".to_vec()]);
    // In the time that it is told none has passed.
    let polled = loop {
        meshes[0].sleep(std::time::Instant::now() + LONG);
        if let Some(parts) = one.poll(millis(1), "first", b"a") {
            break parts.expect("all is well");
        }
    };
    assert_eq!(polled, parts);
    assert!(one.poll(millis(10), "second", b"a").is_none());
    let alone = one.poll(millis(15), "second", b"a").expect("it is over").expect("all is well");
    assert_eq!((alone, one.is_absent(Rank(1))), (vec![b"a".to_vec(), Vec::new()], true));
}
