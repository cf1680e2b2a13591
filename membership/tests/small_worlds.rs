//! Small worlds, exhaustively: every order in which rows can arrive, messages be received, members die, be suspected
//! wrongly, leave and be joined.
//!
//! The data plane is counts: a sender's one message is received or not, and delivered once every member has it. What a
//! member says goes to every other by a queue of its own; a member that dies leaves in them what it said, and who
//! suspects it first never reads that.

mod world;

use squall_membership::Mutation;
use world::{Limits, World, explore, walk};

/// No fault breaks anything, and a world that rests is one in which all that could go on have gone on.
#[track_caller]
fn holds(senders: usize, limits: Limits) {
    let found = explore(&World::new(3, senders, limits, Mutation::None));
    assert_eq!(found.broken, None, "after {} states", found.states);
    assert!(found.rests > 0 && found.states > 100, "{} states, {} at rest", found.states, found.rests);
    println!("{} states, {} at rest: {limits:?}", found.states, found.rests);
}

/// As [`holds`], with members that learn.
#[track_caller]
fn holds_with_learners(voters: usize, learners: usize, senders: usize, limits: Limits) {
    let found = explore(&World::with_learners(voters, learners, senders, limits, Mutation::None));
    assert_eq!(found.broken, None, "after {} states", found.states);
    assert!(found.rests > 0 && found.states > 20, "{} states, {} at rest", found.states, found.rests);
    println!("{} states, {} at rest: {voters} voters, {learners} learners, {limits:?}", found.states, found.rests);
}

/// The fault is caught, within so many states.
#[track_caller]
fn caught(mutation: Mutation, states_max: usize, limits: Limits) {
    let found = explore(&World::new(3, 1, limits, mutation));
    let what = found.broken.unwrap_or_else(|| panic!("{mutation:?} was not caught in {} states", found.states));
    assert!(found.states <= states_max, "{mutation:?} was caught after {} states only", found.states);
    println!("{mutation:?} after {} states: {what}", found.states);
}

const CRASH: Limits = Limits { crashes: 1, false_suspicions: 0, leaves: 0, joins: 0 };
const SUSPICION: Limits = Limits { crashes: 0, false_suspicions: 1, leaves: 0, joins: 0 };

#[test]
fn a_member_dies_at_any_step() {
    holds(3, CRASH);
}

#[test]
fn a_member_is_wrongly_suspected_at_any_step() {
    holds(3, SUSPICION);
}

#[test]
fn a_member_dies_and_another_is_wrongly_suspected() {
    holds(1, Limits { false_suspicions: 1, ..CRASH });
}

#[test]
fn two_members_are_wrongly_suspected_by_whomever() {
    holds(1, Limits { false_suspicions: 2, ..SUSPICION });
}

#[test]
fn a_member_leaves_while_another_dies() {
    holds(1, Limits { leaves: 1, ..CRASH });
}

#[test]
fn a_newcomer_joins_while_a_member_dies() {
    holds(1, Limits { joins: 1, ..CRASH });
}

#[test]
fn a_newcomer_joins_while_a_member_is_wrongly_suspected() {
    holds(1, Limits { joins: 1, ..SUSPICION });
}

const NONE: Limits = Limits { crashes: 0, false_suspicions: 0, leaves: 0, joins: 0 };

#[test]
fn learners_get_their_votes_one_by_one_or_together() {
    holds_with_learners(1, 1, 1, NONE);
    holds_with_learners(1, 2, 0, NONE);
}

#[test]
fn a_member_dies_while_another_learns() {
    holds_with_learners(1, 1, 1, CRASH);
    holds_with_learners(2, 1, 1, CRASH);
}

#[test]
fn a_member_is_wrongly_suspected_while_another_learns() {
    holds_with_learners(1, 1, 1, SUSPICION);
    holds_with_learners(2, 1, 1, SUSPICION);
}

#[test]
fn a_learner_and_a_lone_voter_lose_each_other_as_they_like() {
    holds_with_learners(1, 1, 1, Limits { crashes: 1, false_suspicions: 2, ..NONE });
}

#[test]
fn larger_worlds_with_learners_hold_on_many_walks_through_several_faults() {
    for seed in 0..6000 {
        let limits = Limits {
            crashes: (seed % 3) as u8,
            false_suspicions: (seed / 3 % 3) as u8,
            leaves: (seed / 9 % 3) as u8,
            joins: (seed / 27 % 2) as u8,
        };
        let (voters, learners) = (1 + (seed % 4) as usize, 1 + (seed / 4 % 3) as usize);
        let world = World::with_learners(voters, learners, 1, limits, Mutation::None);
        assert_eq!(walk(world, seed), None, "seed {seed}: {voters} voters, {learners} learners, {limits:?}");
    }
}

#[test]
fn the_last_voter_leaves_once_another_votes() {
    holds_with_learners(1, 1, 1, Limits { leaves: 2, joins: 1, ..NONE });
}

#[test]
fn a_newcomer_asks_while_others_learn() {
    holds_with_learners(1, 1, 1, Limits { joins: 2, ..CRASH });
}

#[test]
fn larger_worlds_hold_on_many_walks_through_several_faults() {
    for seed in 0..6000 {
        let limits = Limits { crashes: (seed % 3) as u8, false_suspicions: (seed / 3 % 3) as u8, leaves: (seed / 9 % 2) as u8, joins: 1 };
        let members = 4 + (seed % 4) as usize;
        assert_eq!(walk(World::new(members, 2, limits, Mutation::None), seed), None, "seed {seed}: {members} members, {limits:?}");
    }
}

#[test]
fn where_a_majority_is_enough_a_cut_keeps_what_anybody_delivered_and_all_are_filled() {
    for (senders, limits) in [(2, CRASH), (1, SUSPICION)] {
        let filling = World::new(3, senders, limits, Mutation::None).filling();
        for world in [filling.clone(), filling.sparing()] {
            let found = explore(&world);
            assert_eq!(found.broken, None, "after {} states, {limits:?}", found.states);
            assert!(found.rests > 0 && found.states > 100, "{} states, {} at rest", found.states, found.rests);
        }
    }
}

#[test]
fn larger_worlds_are_filled_on_many_walks_through_several_faults() {
    let limits = Limits { crashes: 2, false_suspicions: 1, leaves: 1, joins: 1 };
    for seed in 0..4000 {
        let filling = World::new(5, 2, limits, Mutation::None).filling();
        assert_eq!(walk(if seed % 2 == 0 { filling } else { filling.sparing() }, seed), None, "seed {seed}");
    }
}

#[test]
fn a_cut_at_the_least_and_a_skipped_fill_are_caught_where_a_majority_is_enough() {
    for mutation in [Mutation::CutsAtLeast, Mutation::CutsLarge, Mutation::FillSkipped] {
        let found = explore(&World::new(3, 1, CRASH, mutation).filling().sparing());
        assert!(found.broken.is_some() && found.states <= 2000, "{mutation:?}: {:?} after {} states", found.broken, found.states);
    }
}

#[test]
fn a_trim_that_counts_a_suspects_row_is_caught() {
    caught(Mutation::TrimCountsSuspects, 500, CRASH);
}

#[test]
fn a_leader_that_ignores_the_old_leaders_trim_is_caught() {
    caught(Mutation::IgnoresAccepted, 20000, Limits { joins: 1, ..CRASH });
}

#[test]
fn acting_on_a_trim_before_a_majority_echoed_is_caught() {
    caught(Mutation::ActsAlone, 100, Limits { false_suspicions: 1, ..CRASH });
}

#[test]
fn a_minority_that_installs_a_view_is_caught() {
    caught(Mutation::MinorityActs, 100, Limits { false_suspicions: 2, ..SUSPICION });
}

#[test]
fn two_leaders_changes_blended_are_caught() {
    caught(Mutation::BlendsChanges, 20000, Limits { joins: 1, ..CRASH });
}

#[test]
fn a_suspicion_forgotten_is_caught() {
    caught(Mutation::ForgetsSuspicion, 2000, Limits { joins: 1, ..SUSPICION });
}

#[test]
fn a_leader_that_does_not_wait_for_the_others_is_caught() {
    caught(Mutation::LeadsEarly, 100, Limits { false_suspicions: 1, joins: 1, ..CRASH });
}

#[test]
fn receiving_after_the_wedge_is_caught() {
    caught(Mutation::WedgesLate, 500, CRASH);
}

/// As [`caught`], in walks through worlds with learners.
#[track_caller]
fn caught_with_learners(mutation: Mutation, (voters, learners): (usize, usize), seeds_max: u64, limits: Limits) {
    let found =
        (0..seeds_max).find_map(|seed| walk(World::with_learners(voters, learners, 1, limits, mutation), seed).map(|what| (seed, what)));
    let (seed, what) = found.unwrap_or_else(|| panic!("{mutation:?} was not caught in {seeds_max} walks"));
    println!("{mutation:?} after {seed} walks: {what}");
}

#[test]
fn a_learner_that_counts_is_caught() {
    caught_with_learners(Mutation::LearnerCounts, (3, 2), 2000, Limits { crashes: 2, ..CRASH });
}

#[test]
fn a_learner_in_the_trim_is_caught() {
    caught_with_learners(Mutation::LearnerTrims, (2, 1), 500, Limits { joins: 1, ..NONE });
}

#[test]
fn a_learner_that_leads_is_caught() {
    caught_with_learners(Mutation::LearnerLeads, (2, 1), 500, Limits { joins: 1, ..NONE });
}

#[test]
fn a_learner_that_heeds_those_who_are_left_out_is_caught() {
    caught_with_learners(Mutation::HeedsOutcasts, (5, 1), 500, Limits { false_suspicions: 2, ..NONE });
}

#[test]
fn a_last_voter_that_leaves_at_once_is_caught() {
    caught_with_learners(Mutation::LeavesAtOnce, (1, 1), 200, Limits { leaves: 1, ..NONE });
}

#[test]
fn a_ballot_that_nobody_looks_at_is_caught() {
    caught_with_learners(Mutation::FollowsAnyBallot, (4, 1), 4000, Limits { crashes: 1, false_suspicions: 1, joins: 1, ..NONE });
}

#[test]
fn a_leader_that_adopts_the_oldest_change_is_caught() {
    caught_with_learners(Mutation::AdoptsOldest, (5, 0), 12_000, Limits { crashes: 2, joins: 1, ..NONE });
}
