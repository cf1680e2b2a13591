//! Learners: when they vote, when that waits, and that they cost nobody anything.

mod tables;

use squall_membership::{Newcomer, Phase, Stop};
use squall_transport::{NodeId, Rank};
use tables::{Cluster, MS, nodes};

#[test]
fn a_learner_that_is_whole_votes_from_the_next_view_on() {
    let mut cluster = Cluster::with_learners(2, 1);
    cluster.run_ms(2);
    cluster.members[2].membership.say_whole();
    cluster.run_ms(8);
    let decision = cluster.decision(&[0, 1, 2]);
    assert_eq!((decision.members, decision.voters), (nodes(&[0, 1, 2]), 3));
}

/// How many vote behind what the first voter decides within `ms`, if anything: a learner is whole in a view that rests,
/// and a voter is lost or not.
fn decided_at_rest(rest_ms: u64, loses: bool, ms: u64) -> Option<usize> {
    let mut cluster = Cluster::with_learners(3, 1);
    (0..3).for_each(|rank| cluster.members[rank].membership.rest_for(rest_ms * MS));
    cluster.members[3].membership.say_whole();
    if loses {
        (0..2).for_each(|rank| cluster.members[rank].membership.link_down(Rank(2)));
    }
    cluster.run_ms(ms);
    cluster.members[0].membership.decision().map(|decision| decision.voters)
}

#[test]
fn votes_wait_while_a_view_rests_and_losses_take_them_along() {
    assert_eq!(decided_at_rest(0, false, 4), Some(4));
    assert_eq!(decided_at_rest(6, false, 4), None);
    assert_eq!(decided_at_rest(6, false, 10), Some(4));
    assert_eq!(decided_at_rest(6, true, 4), Some(3), "two that stay and the learner");
    assert_eq!(decided_at_rest(1000, false, 7), None);
    assert_eq!(decided_at_rest(1000, false, 12), Some(4), "no longer than silence may last");
}

#[test]
fn joins_wait_while_a_view_rests_and_leaves_take_them_along() {
    let mut cluster = Cluster::new(3);
    (0..3).for_each(|rank| cluster.members[rank].membership.rest_for(8 * MS));
    cluster.members[1].membership.request(Newcomer { node: 7, contact: [1, 2, 3] }).unwrap();
    cluster.run_ms(3);
    assert_eq!(cluster.members[0].membership.decision(), None);
    cluster.members[2].membership.leave();
    cluster.run_ms(4);
    let decision = cluster.members[0].membership.decision().expect("a leave does not wait");
    assert_eq!(decision.members, [NodeId(50), NodeId(51), NodeId(7)]);
}

/// A voter and three learners that are whole, or some of them, of which the last has lost so many of the other two, and
/// they it; after a while.
fn with_learners_apart(lost: usize, whole: std::ops::Range<usize>) -> Cluster {
    let mut cluster = Cluster::with_learners(1, 3);
    cluster.run_ms(2);
    for other in 1..=lost {
        cluster.members[3].membership.link_down(Rank::new(other));
        cluster.members[other].membership.link_down(Rank(3));
    }
    cluster.run_ms(1);
    for _ in 0..80 {
        whole.clone().for_each(|rank| cluster.members[rank].membership.say_whole());
        cluster.run_ms(1);
    }
    cluster
}

#[test]
fn a_learner_that_lacks_most_others_asks_for_no_vote_and_stops() {
    let cluster = with_learners_apart(2, 1..4);
    let decision = cluster.decision(&[0, 1, 2, 3]);
    assert_eq!((decision.members, decision.voters), (nodes(&[0, 1, 2, 3]), 3));
    let cluster = with_learners_apart(2, 3..4);
    assert_eq!(cluster.members[3].membership.phase(), Phase::Stopped(Stop::AtOdds { with: Rank(1) }));
    let decision = cluster.decision(&[0, 1, 2]);
    assert_eq!((decision.members, decision.voters), (nodes(&[0, 1, 2]), 1));
    // Whether it is one or the other nobody can tell.
    assert_eq!(with_learners_apart(1, 1..4).decision(&[0, 1, 2, 3]).voters, 4);
}

#[test]
fn a_learner_that_becomes_whole_while_others_lag_has_all_the_time_that_they_had() {
    let mut cluster = Cluster::with_learners(1, 2);
    cluster.run_ms(2);
    for learner in [1, 2] {
        cluster.members[learner].received = vec![0, 0];
    }
    cluster.members[1].membership.say_whole();
    cluster.run_ms(6);
    cluster.members[2].membership.say_whole();
    cluster.run_ms(5);
    cluster.members[2].received = vec![30, 30];
    cluster.run_ms(8);
    let decision = cluster.decision(&[0, 2]);
    assert_eq!((decision.members, decision.voters), (nodes(&[0, 2]), 2), "the first has had its time");
}

#[test]
fn learners_that_die_stall_or_doubt_stop_no_voter() {
    let mut cluster = Cluster::with_learners(1, 3);
    cluster.run_ms(2);
    cluster.members[1].runs = false;
    cluster.members[2].membership.link_down(Rank(0));
    cluster.members[3].membership.suspect(Rank(0));
    cluster.run_ms(200);
    let decision = cluster.decision(&[0]);
    assert!(decision.members.starts_with(&nodes(&[0])) && decision.voters == 1, "{decision:?}");
    assert!(cluster.phases()[2..].iter().all(|phase| matches!(phase, Phase::Stopped(_))), "{:?}", cluster.phases());
}
