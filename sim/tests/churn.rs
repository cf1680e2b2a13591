//! Groups whose members come and go, by seed: every property holds, every mutant of membership is caught, every run
//! repeats itself.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use squall_sim::checker::Property;
use squall_sim::trace::Event;
use squall_sim::{Aim, Churn, Mutant, Options, catch, churn, run};

#[track_caller]
fn all_hold(aim: Aim, seeds: Range<u64>) {
    all_of_them_hold(Options::churn(seeds, aim));
}

#[track_caller]
fn all_of_them_hold(options: Options) {
    let report = run(&options, |_, _| ControlFlow::Continue(())).expect("no trace is written");
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[test]
fn nothing_wrong_happens_whatever_faults_there_are_and_wherever_the_run_is_cut_off() {
    all_hold(Aim::Safety, 0..2000);
}

#[test]
fn nothing_wrong_happens_in_more_seeds() {
    all_hold(Aim::Safety, 2000..4000);
}

#[test]
fn what_has_to_happen_happens_in_time_once_faults_stop() {
    all_hold(Aim::Liveness, 0..1200);
}

#[test]
fn what_has_to_happen_happens_in_time_in_more_seeds() {
    all_hold(Aim::Liveness, 1200..2400);
}

#[test]
fn seeds_that_once_failed_hold() {
    for line in include_str!("../seeds.txt").lines() {
        let mut words = line.split_whitespace().peekable();
        let ordering = words.peek().and_then(|word| word.parse().ok());
        words.next_if(|_| ordering.is_some());
        if let Some(aim) = words.next().and_then(|word| word.parse().ok()) {
            let seed = words.next().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| panic!("no seed in {line:?}"));
            all_of_them_hold(Options { ordering, ..Options::churn(seed..seed + 1, aim) });
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for (seed, aim) in (0..20).flat_map(|seed| Aim::GROUPS.map(|aim| (seed, aim))) {
        let hash = || churn(&Churn::new(seed, aim), None).trace.hash();
        assert_eq!(hash(), hash(), "seed {seed}, {aim}");
    }
}

/// Runs the mutant from three places in the space of seeds; each time it must be caught in time. What was broken first,
/// and how often.
#[track_caller]
fn caught(mutant: Mutant) -> BTreeMap<Property, usize> {
    let mut broken = BTreeMap::new();
    for first in [0, 100_000, 7_000_000] {
        let failure = catch(mutant, first).unwrap_or_else(|| panic!("{mutant} was not caught from seed {first} on")).failure;
        assert_eq!(failure.replay, format!("squall sim --churn liveness --seed {} --mutant {mutant}", failure.seed));
        *broken.entry(failure.violations[0].property).or_default() += 1;
    }
    broken
}

#[test]
fn a_trim_that_counts_a_suspects_row_is_caught() {
    caught(Mutant::SuspectsCounted);
}

#[test]
fn a_leader_that_ignores_the_old_leaders_trim_is_caught() {
    caught(Mutant::TrimIgnored);
}

#[test]
fn acting_on_a_trim_before_a_majority_echoed_is_caught() {
    caught(Mutant::ActsAlone);
}

#[test]
fn a_minority_that_installs_a_view_is_caught() {
    caught(Mutant::MinorityInstalls);
}

#[test]
fn two_leaders_changes_blended_are_caught() {
    assert_eq!(caught(Mutant::ChangesBlended).keys().collect::<Vec<_>>(), [&Property::Adoption]);
}

#[test]
fn adopting_the_oldest_is_caught() {
    caught(Mutant::OldestAdopted);
}

#[test]
fn a_suspicion_forgotten_is_caught() {
    caught(Mutant::SuspicionForgotten);
}

#[test]
fn delivering_past_the_trim_is_caught_as_such() {
    assert_eq!(caught(Mutant::PastTheTrim).keys().collect::<Vec<_>>(), [&Property::TrimAgreement]);
}

#[test]
fn a_late_write_into_memory_that_is_used_again_is_caught() {
    caught(Mutant::LateWrite);
}

#[test]
fn a_message_sent_again_that_was_delivered_is_caught_as_such() {
    assert_eq!(caught(Mutant::SentTwice).keys().collect::<Vec<_>>(), [&Property::NoDuplication]);
}

#[test]
fn a_newcomer_that_misses_one_message_is_caught_as_such() {
    assert_eq!(caught(Mutant::JoinerMissesOne).keys().collect::<Vec<_>>(), [&Property::StateTransfer]);
}

#[test]
fn a_leader_that_does_not_wait_for_its_turn_is_caught_as_such() {
    assert_eq!(caught(Mutant::LeadsEarly).keys().collect::<Vec<_>>(), [&Property::Leaders]);
}

#[test]
fn the_runs_reach_what_they_are_meant_to_reach() {
    for aim in Aim::GROUPS {
        let mut reached = BTreeMap::new();
        for seed in 0..400 {
            let scenario = Churn::new(seed, aim);
            let outcome = churn(&scenario, None);
            let any = |wanted: &dyn Fn(&Event) -> bool| outcome.trace.events.iter().any(wanted);
            let several = |event: &Event| matches!(event, Event::Trim { proposed_by, .. } if proposed_by.len() > 2);
            let led = |event: &Event| matches!(event, Event::Trim { leader, proposed_by, .. } if proposed_by.iter().any(|by| by != leader));
            let stops = |why: &'static str| move |event: &Event| matches!(event, Event::Stop { reason, .. } if reason.contains(why));
            let seen = [
                ("a chain of views", outcome.verdict.views > 2),
                ("messages that were cut off", any(&|event| matches!(event, Event::Cut { .. }))),
                ("somebody excluded", any(&stops("suspects this one"))),
                ("a minority that stops", any(&stops("are needed"))),
                ("somebody who leaves", any(&stops("left the group"))),
                ("a newcomer", any(&|event| matches!(event, Event::Install { process, .. } if process.0 > 1000))),
                ("a newcomer that gets the state", any(&|event| matches!(event, Event::Restore { .. }))),
                ("a view that ends before a newcomer has its state", is_behind_in_two_views(&outcome.trace.events)),
                ("a giver that dies", scenario.ambush_giver && any(&|event| matches!(event, Event::Behind { .. }))),
                ("several changes at once", any(&several)),
                ("a leader that takes over", any(&led)),
                ("a partition", scenario.faults.iter().any(|(_, fault)| matches!(fault, squall_sim::Fault::Partition(_)))),
                ("no order", scenario.config.mode == squall_group::Mode::Unordered && outcome.verdict.views > 1),
                ("everybody gone", outcome.trace.events.iter().all(|event| !matches!(event, Event::Finish { .. }))),
            ];
            seen.into_iter().for_each(|(what, seen)| *reached.entry(what).or_insert(0) += usize::from(seen));
        }
        println!("{aim}: {reached:?}");
        assert!(reached.values().all(|&runs| runs > 10), "{aim}: {reached:?}");
    }
}

fn is_behind_in_two_views(events: &[Event]) -> bool {
    let mut behind: Vec<_> = events.iter().filter(|event| matches!(event, Event::Behind { .. })).map(Event::process).collect();
    let waits = behind.len();
    behind.sort_unstable();
    behind.dedup();
    behind.len() < waits
}

#[test]
fn a_ballot_that_nobody_looks_at_is_caught_as_such() {
    assert_eq!(caught(Mutant::AnyBallot).keys().collect::<Vec<_>>(), [&Property::Leaders]);
}

#[test]
fn a_learner_that_counts_is_caught() {
    caught(Mutant::LearnerCounted);
}

#[test]
fn a_learner_in_the_trim_is_caught() {
    caught(Mutant::LearnerInTrim);
}

#[test]
fn a_learner_that_leads_is_caught_as_such() {
    assert_eq!(caught(Mutant::LearnerLeads).keys().collect::<Vec<_>>(), [&Property::Leaders]);
}

#[test]
fn a_learner_that_is_whole_too_early_is_caught() {
    caught(Mutant::WholeEarly);
}

#[test]
fn a_last_voter_that_leaves_at_once_is_caught_as_such() {
    assert_eq!(caught(Mutant::LeavesAtOnce).keys().collect::<Vec<_>>(), [&Property::StateContinuity]);
}

#[test]
fn senders_for_want_of_others_that_take_learners_buffers_are_caught() {
    caught(Mutant::SubstitutesCrowd);
}

#[test]
fn what_was_cut_off_and_then_forgotten_is_caught_as_such() {
    assert_eq!(caught(Mutant::AgainForgotten).keys().collect::<Vec<_>>(), [&Property::CutNotice]);
}
