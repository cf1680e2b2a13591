//! Lamport's order, by seed: the same groups, links, loads and faults as those of the other tests, and every
//! property that is not about turns and nulls.

mod reached;
mod seeded;

use squall_group::Mode;
use squall_sim::trace::Event;
use squall_sim::{Aim, Mutant, Options};

#[track_caller]
fn all_hold(options: Options) {
    seeded::all_hold(Mode::Lamport, options);
}

#[test]
fn lamports_order_holds_where_members_stay() {
    all_hold(Options::new(0..600));
}

#[test]
fn lamports_order_holds_over_a_fabric_that_counts() {
    all_hold(Options { counted: true, ..Options::new(600..800) });
    Aim::ALL.into_iter().for_each(|aim| all_hold(Options { counted: true, ..Options::churn(0..60, aim) }));
}

#[test]
fn lamports_order_is_safe_whatever_happens() {
    all_hold(Options::churn(0..600, Aim::Safety));
}

#[test]
fn lamports_order_goes_on_once_faults_stop() {
    all_hold(Options::churn(0..500, Aim::Liveness));
}

#[test]
fn lamports_order_holds_among_whole_members() {
    all_hold(Options::churn(0..150, Aim::Members));
}

#[track_caller]
fn caught(mutant: Mutant) {
    seeded::caught(mutant, "--ordering lamport");
}

#[test]
fn a_wrong_maximum_is_caught() {
    caught(Mutant::WrongMaximum);
}

#[test]
fn a_delivery_before_what_is_open_is_caught() {
    caught(Mutant::OpenIgnored);
}

#[test]
fn a_delivery_before_all_know_its_place_is_caught() {
    caught(Mutant::KnownEarly);
}

#[test]
fn a_clock_that_does_not_hear_of_final_times_is_caught() {
    caught(Mutant::ClockForgotten);
}

#[test]
fn an_end_of_a_view_by_no_common_rule_is_caught() {
    caught(Mutant::TailBySender);
}

#[test]
fn the_runs_reach_what_they_are_meant_to_reach() {
    reached::often(Mode::Lamport, |outcome| {
        let is_batch = |event: &Event| matches!(event, Event::Deliver { index, .. } if *index > 8);
        vec![("batches", outcome.trace.events.iter().any(is_batch))]
    });
}
