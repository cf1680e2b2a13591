//! The order by a leader's log, by seed: the same groups, links, loads and faults as those of the other tests; stable
//! is what a majority has, and a view ends at the most that anybody has.

mod reached;
mod seeded;

use std::collections::BTreeSet;

use squall_group::Mode;
use squall_sim::trace::Event;
use squall_sim::{Aim, Mutant, Options};

#[track_caller]
fn all_hold(options: Options) {
    seeded::all_hold(Mode::Paxos, options);
}

#[test]
fn a_leaders_log_holds_where_members_stay() {
    all_hold(Options::new(0..500));
}

#[test]
fn a_leaders_log_holds_over_a_fabric_that_counts() {
    all_hold(Options { counted: true, ..Options::new(600..750) });
    Aim::ALL.into_iter().for_each(|aim| all_hold(Options { counted: true, ..Options::churn(0..50, aim) }));
}

#[test]
fn a_leaders_log_is_safe_whatever_happens() {
    all_hold(Options::churn(0..500, Aim::Safety));
}

#[test]
fn a_leaders_log_goes_on_once_faults_stop() {
    all_hold(Options::churn(0..400, Aim::Liveness));
}

#[test]
fn a_leaders_log_holds_among_whole_members() {
    all_hold(Options::churn(0..120, Aim::Members));
}

#[track_caller]
fn caught(mutant: Mutant) {
    seeded::caught(mutant, "--ordering paxos");
}

#[test]
fn a_delivery_below_a_majority_is_caught() {
    caught(Mutant::BelowMajority);
}

#[test]
fn a_slot_accepted_before_it_is_here_is_caught() {
    caught(Mutant::GapAccepted);
}

#[test]
fn a_cut_before_a_large_message_that_a_majority_may_have_delivered_is_caught() {
    caught(Mutant::LargeCut);
}

#[test]
fn a_buffer_that_is_not_kept_for_those_that_lack_its_message_is_caught() {
    caught(Mutant::LargeForgotten);
}

#[test]
fn a_slot_that_is_taken_before_all_have_delivered_what_it_had_is_caught() {
    caught(Mutant::LargeWindowIgnored);
}

#[test]
fn a_large_message_that_is_taken_before_it_is_given_is_caught() {
    caught(Mutant::LargeUngiven);
}

#[test]
fn a_cut_that_is_acted_on_before_the_fill_is_caught() {
    caught(Mutant::FillSkipped);
}

#[test]
fn a_cut_at_the_least_is_caught() {
    caught(Mutant::CutAtLeast);
}

#[test]
fn an_old_leaders_slot_accepted_after_the_wedge_is_caught() {
    caught(Mutant::OldLeaderAccepted);
}

#[test]
fn the_runs_reach_what_they_are_meant_to_reach() {
    reached::often(Mode::Paxos, |outcome| {
        let mut wedged = BTreeSet::new();
        let is_filled = outcome.trace.events.iter().any(|event| match event {
            Event::Wedge { process, view } => !wedged.insert((*process, *view)),
            Event::Receive { process, view, .. } => wedged.contains(&(*process, *view)),
            _ => false,
        });
        vec![("fills", is_filled)]
    });
}
