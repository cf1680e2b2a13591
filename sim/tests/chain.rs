//! The order of a chain, by seed: the same groups, links, loads and faults as those of the other tests, and every
//! property that is not about turns and nulls.

mod reached;
mod seeded;

use squall_group::Mode;
use squall_sim::{Aim, Mutant, Options};

#[track_caller]
fn all_hold(options: Options) {
    seeded::all_hold(Mode::Chain, options);
}

#[test]
fn a_chain_holds_where_members_stay() {
    all_hold(Options::new(0..400));
}

#[test]
fn a_chain_holds_over_a_fabric_that_counts() {
    all_hold(Options { counted: true, ..Options::new(400..600) });
    Aim::ALL.into_iter().for_each(|aim| all_hold(Options { counted: true, ..Options::churn(0..60, aim) }));
}

#[test]
fn a_chain_is_safe_whatever_happens() {
    all_hold(Options::churn(0..400, Aim::Safety));
}

#[test]
fn a_chain_goes_on_once_faults_stop() {
    all_hold(Options::churn(0..400, Aim::Liveness));
}

#[test]
fn a_chain_holds_among_whole_members() {
    all_hold(Options::churn(0..100, Aim::Members));
}

#[track_caller]
fn caught(mutant: Mutant) {
    seeded::caught(mutant, "--ordering chain");
}

#[test]
fn a_member_that_passes_on_before_its_copy_is_whole_is_caught() {
    caught(Mutant::ForwardedEarly);
}

#[test]
fn a_link_that_is_skipped_is_caught() {
    caught(Mutant::LinkSkipped);
}

#[test]
fn a_delivery_before_the_tail_has_it_is_caught() {
    caught(Mutant::TailIgnored);
}

#[test]
fn a_head_that_decides_on_what_it_does_not_have_is_caught() {
    caught(Mutant::DecidedAhead);
}

#[test]
fn decisions_that_others_do_not_have_are_caught_at_the_end_of_a_view() {
    caught(Mutant::CutDecisionsCount);
}

#[test]
fn chains_decide_are_cut_and_made_anew() {
    reached::often(Mode::Chain, |_| Vec::new());
}
