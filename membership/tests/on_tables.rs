//! Membership on tables: words land one by one, late, and time decides who is silent.

mod tables;

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use squall_membership::{Columns, Decision, Newcomer, Phase, Ranks, RequestError, Stop, Witness};
use squall_sst::LayoutBuilder;
use squall_transport::{NodeId, Rank, Write};
use tables::{Cluster, MS, Member, nodes};

#[test]
fn nothing_happens_while_everybody_lives_and_nobody_speaks() {
    let mut cluster = Cluster::new(5);
    cluster.run_ms(100);
    assert_eq!(cluster.phases(), [Phase::Steady; 5]);
}

#[test]
fn a_member_that_dies_is_removed_and_the_trim_is_the_least_of_the_others() {
    let mut cluster = Cluster::new(3);
    cluster.run_ms(20);
    cluster.members[0].runs = false;
    cluster.run_ms(20);
    let decision = cluster.decision(&[1, 2]);
    assert_eq!((decision.leader, decision.trim, decision.members), (Rank(1), vec![11, 18], nodes(&[1, 2])));
}

#[test]
fn who_is_done_waits_for_what_the_fabric_has_yet_to_send_but_no_longer_than_for_words() {
    let mut cluster = Cluster::new(5);
    cluster.run_ms(20);
    cluster.members[0].runs = false;
    cluster.run_ms(20);
    cluster.decision(&[1, 2, 3, 4]);
    let stuck: Ranks = [Rank(3)].into_iter().collect();
    cluster.members[1].membership.note_backlog(stuck);
    let waits = |cluster: &Cluster| cluster.members[1].membership.is_behind(&cluster.members[1].outbox);
    assert!(waits(&cluster));
    cluster.members[1].membership.note_backlog(Ranks::EMPTY);
    assert!(!waits(&cluster), "it is sent");
    cluster.members[1].membership.note_backlog(stuck);
    cluster.run_ms(40);
    assert!(!waits(&cluster) && !cluster.members[1].membership.protocol().hears(Rank(3)), "it takes too long");
}

#[test]
fn a_broken_link_is_noticed_at_once_and_costs_one_of_the_two_their_place() {
    let mut cluster = Cluster::new(3);
    cluster.run_ms(1);
    cluster.members[1].membership.link_down(Rank(2));
    cluster.members[2].membership.link_down(Rank(1));
    cluster.run_ms(4);
    assert_eq!(cluster.decision(&[0, 1]).members, nodes(&[0, 1]));
    assert_eq!(cluster.phases()[2], Phase::Stopped(Stop::Excluded { by: Rank(0) }));
}

#[test]
fn a_process_that_was_stopped_finds_itself_excluded_and_suspects_nobody() {
    let mut cluster = Cluster::new(3);
    cluster.run_ms(5);
    cluster.members[2].runs = false;
    cluster.run_ms(1000);
    assert_eq!(cluster.decision(&[0, 1]).members, nodes(&[0, 1]));
    cluster.members[2].runs = true;
    cluster.step(2);
    assert_eq!(cluster.phases()[2], Phase::Stopped(Stop::Excluded { by: Rank(0) }));
    assert!(cluster.members[2].membership.protocol().suspects().is_empty());
}

#[test]
fn everybody_stopped_for_an_hour_goes_on_as_before() {
    let mut cluster = Cluster::new(4);
    cluster.run_ms(3);
    cluster.now_ns += 3600 * 1000 * MS;
    cluster.run_ms(20);
    assert_eq!(cluster.phases(), [Phase::Steady; 4]);
}

#[test]
fn a_minority_stops_and_says_how_many_are_missing() {
    let mut cluster = Cluster::new(4);
    cluster.run_ms(1);
    cluster.members[0].runs = false;
    cluster.members[3].runs = false;
    cluster.run_ms(30);
    let stop = Phase::Stopped(Stop::NoQuorum { left: 2, members: 4, needed: 3 });
    assert_eq!(cluster.phases()[1..3], [stop, stop]);
}

#[test]
fn of_two_members_the_one_that_the_witness_sides_with_goes_on() {
    for (answer, goes_on) in [(Witness::Sides, true), (Witness::Refuses, false)] {
        let mut cluster = Cluster::new(2);
        cluster.run_ms(1);
        cluster.members[0].runs = false;
        cluster.run_ms(20);
        assert_eq!(cluster.phases()[1], Phase::Split);
        assert!(cluster.members[1].membership.next_ns() > cluster.now_ns, "it waits, and does not look all the time");
        cluster.members[1].membership.hear_witness(answer);
        cluster.run_ms(2);
        if goes_on {
            assert_eq!(cluster.decision(&[1]).members, nodes(&[1]));
        } else {
            assert_eq!(cluster.phases()[1], Phase::Stopped(Stop::NoQuorum { left: 1, members: 2, needed: 2 }));
        }
    }
}

#[test]
fn a_witness_that_was_not_asked_changes_nothing() {
    let mut cluster = Cluster::new(5);
    cluster.run_ms(1);
    cluster.members[0].membership.hear_witness(Witness::Sides);
    for lost in 2..5 {
        cluster.members[lost].runs = false;
    }
    cluster.run_ms(30);
    assert!(matches!(cluster.phases()[0], Phase::Stopped(Stop::NoQuorum { members: 5, needed: 3, .. })), "{:?}", cluster.phases());
}

/// One that has acted and stops: whoever has yet to tell it so, by a queue that is full, does not wait for it. Whether
/// others have fallen silent or only take nothing.
#[test]
fn a_view_is_left_whoever_does_not_listen_any_more() {
    for beats in [false, true] {
        let mut cluster = Cluster::new(3);
        cluster.run_ms(20);
        let room = cluster.members[1].outbox.room(Rank(2));
        for place in 0..room as u64 {
            let at = squall_transport::Place::new(squall_transport::TABLE, 8 * (place % 2));
            cluster.members[1].outbox.push(Rank(2), Write::Word { at, value: place }).unwrap();
        }
        cluster.members[0].membership.request(Newcomer { node: 99, contact: [0; 3] }).unwrap();
        let links = [(0, 1), (0, 2), (1, 0), (2, 0), (2, 1)];
        for _ in 0..6 {
            cluster.now_ns += MS / 2;
            (0..3).for_each(|rank| cluster.step(rank));
            links.into_iter().for_each(|(from, to)| while cluster.land(from, to) {});
        }
        assert_eq!(cluster.phases()[2], Phase::Installed);
        for _ in 0..100 {
            cluster.now_ns += MS / 2;
            (0..if beats { 3 } else { 2 }).for_each(|rank| cluster.step(rank));
            links.into_iter().filter(|&(from, to)| beats || (from != 2 && to != 2)).for_each(|(from, to)| while cluster.land(from, to) {});
        }
        cluster.decision(&[0, 1]);
    }
}

#[test]
fn who_is_done_stays_while_its_last_words_wait_for_a_queue() {
    let mut cluster = Cluster::new(3);
    cluster.run_ms(20);
    cluster.members[0].membership.request(Newcomer { node: 99, contact: [0; 3] }).unwrap();
    for _ in 0..6 {
        cluster.now_ns += MS / 2;
        (0..3).for_each(|rank| cluster.step(rank));
        [(0, 1), (0, 2), (1, 0), (2, 0), (2, 1)].into_iter().for_each(|(from, to)| while cluster.land(from, to) {});
    }
    let is_done = |cluster: &Cluster| {
        let Member { membership, outbox, .. } = &cluster.members[1];
        (membership.is_settled(), membership.is_behind(outbox))
    };
    assert_eq!(is_done(&cluster), (true, true), "all have acted, and rank 2 waits to hear that this one has");
    cluster.land_all();
    assert_eq!(is_done(&cluster), (true, false));
}

#[test]
fn who_knows_the_decision_suspects_nobody_that_has_gone_on() {
    let mut cluster = Cluster::new(4);
    cluster.run_ms(2);
    (0..3).for_each(|rank| cluster.members[rank].membership.link_down(Rank(3)));
    cluster.members[3].runs = false;
    while cluster.members[1].membership.decision().is_none() {
        cluster.now_ns += MS / 2;
        [0, 2].into_iter().for_each(|rank| cluster.step(rank));
        let Member { membership, table, outbox, received, .. } = &mut cluster.members[1];
        membership.step(cluster.now_ns, table, outbox);
        if membership.phase() == Phase::Wedging {
            membership.freeze(received.clone());
        }
        cluster.land_all();
    }
    let Member { membership, table, outbox, .. } = &mut cluster.members[1];
    membership.link_down(Rank(2));
    membership.step(cluster.now_ns, table, outbox);
    assert_eq!((membership.phase(), membership.protocol().hears(Rank(2))), (Phase::Decided, false));
    assert_eq!(membership.protocol().lost().iter().collect::<Vec<_>>(), [Rank(3)]);
}

#[test]
fn losses_leaves_and_joins_are_one_change() {
    let mut cluster = Cluster::new(5);
    cluster.run_ms(2);
    let newcomer = |node| Newcomer { node, contact: [1, 2, 3] };
    cluster.members[4].membership.request(newcomer(7)).unwrap();
    cluster.members[3].membership.request(newcomer(7)).unwrap();
    cluster.members[3].membership.request(newcomer(8)).unwrap();
    assert_eq!(cluster.members[3].membership.request(newcomer(50)), Err(RequestError::Member(NodeId(50))));
    cluster.members[2].membership.leave();
    cluster.members[1].runs = false;
    cluster.members[0].membership.link_down(Rank(1));
    cluster.run_ms(3);
    let decision = cluster.decision(&[0, 2, 3, 4]);
    let mut members = decision.members.clone();
    members.sort_unstable();
    let expected = [nodes(&[0, 3, 4]), vec![NodeId(7), NodeId(8)]].concat();
    assert_eq!((decision.members[..3].to_vec(), members.len()), (expected[..3].to_vec(), 5));
    assert_eq!(cluster.members[0].membership.request(newcomer(9)), Err(RequestError::Over));
}

#[test]
fn one_member_alone_decides_alone() {
    let mut cluster = Cluster::new(1);
    cluster.members[0].membership.request(Newcomer { node: 3, contact: [0; 3] }).unwrap();
    cluster.run_ms(1);
    assert_eq!(cluster.decision(&[0]).members, [NodeId(50), NodeId(3)]);
}

#[test]
fn a_peer_whose_words_make_no_sense_is_suspected() {
    let mut cluster = Cluster::new(3);
    cluster.run_ms(1);
    let (layout, columns) = LayoutBuilder::compose(3, |layout| Columns::compose(layout, 2));
    assert!(layout.bytes() > 0);
    // Whoever raises `end` and `begin` over words that no member writes.
    let end = columns.heartbeat.at(Rank(2)) + 8 * (layout_words(&columns) - 1);
    for to in [0, 1] {
        let region = &cluster.members[to].region;
        (columns.heartbeat.at(Rank(2)) + 8..end).step_by(8).for_each(|at| region.word(at).store(u64::MAX, Ordering::Release));
        region.word(end).store(u64::MAX, Ordering::Release);
    }
    cluster.run_ms(4);
    assert_eq!(cluster.decision(&[0, 1]).members, nodes(&[0, 1]));
}

/// Words that the columns take in a row, by the distance between two of a table that holds nothing else.
fn layout_words(columns: &Columns) -> u64 {
    let (_, after) = LayoutBuilder::compose(3, |layout| {
        let columns = Columns::compose(layout, 2);
        (columns.heartbeat, layout.word("after"))
    });
    assert_eq!(after.0.at(Rank(0)), columns.heartbeat.at(Rank(0)));
    (after.1.at(Rank(0)) - after.0.at(Rank(0))) / 8
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_lands_when_all_that_decide_decide_the_same(
        count in 2usize..6, actions in proptest::collection::vec((0u8..20, 0usize..6, 0usize..6), 50..600)
    ) {
        let mut cluster = Cluster::new(count);
        for (action, one, other) in actions {
            let (one, other) = (one % count, other % count);
            match action {
                0 if one != other => cluster.members[one].membership.link_down(Rank::new(other)),
                1 => cluster.members[one].runs = false,
                2 => cluster.members[one].membership.leave(),
                3 => {
                    let _ = cluster.members[one].membership.request(Newcomer { node: 7, contact: [0; 3] });
                }
                4..9 => {
                    cluster.now_ns += MS / 4;
                    cluster.step(one);
                }
                _ if one != other => {
                    (0..=action).for_each(|_| { cluster.land(one, other); });
                }
                _ => cluster.step(one),
            }
        }
        let decided: Vec<&Decision> = cluster.members.iter().filter_map(|member| member.membership.decision()).collect();
        for decision in &decided {
            prop_assert_eq!((&decision.trim, &decision.members), (&decided[0].trim, &decided[0].members));
        }
        // Who has decided has wedged, and the trim keeps nothing that it lacks.
        for member in cluster.members.iter().filter(|member| member.membership.decision().is_some()) {
            let trim = &member.membership.decision().expect("it decided").trim;
            prop_assert!(member.received.iter().zip(trim).all(|(received, trim)| received >= trim));
        }
        // From here on words land: whoever is waited for answers or falls silent, and nobody waits for ever.
        cluster.run_ms(60);
        for member in cluster.members.iter().filter(|member| member.runs) {
            let phase = member.membership.phase();
            let rests = matches!(phase, Phase::Steady | Phase::Split | Phase::Stopped(_)) || member.membership.is_settled();
            prop_assert!(rests, "{:?}", phase);
        }
    }
}

#[test]
fn a_member_that_has_received_less_than_it_told_before_is_suspected_and_named() {
    for (delivered, blamed) in [([11, 18], None), ([11, 19], Some(2))] {
        let mut cluster = Cluster::new(3);
        cluster.run_ms(20);
        // What was delivered here all had: 2 says that it has received 18 of the second sender.
        cluster.members[1].delivered = Some(delivered.to_vec());
        cluster.members[0].runs = false;
        cluster.run_ms(20);
        let protocol = cluster.members[1].membership.protocol();
        let named = protocol.blamed().map(|malformed| (malformed.member, malformed.column, malformed.value));
        assert_eq!(named, blamed.map(|rank| (Rank(rank), "membership.received", 18)));
        assert_eq!(protocol.suspects().has(Rank(2)), blamed.is_some());
    }
}
