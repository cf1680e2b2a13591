//! Simulated clusters by seed: every property holds in thousands of runs, every mutant is caught, every run repeats
//! itself.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use squall_sim::checker::{Property, check};
use squall_sim::trace::{Event, Trace};
use squall_sim::{Aim, Mutant, Options, Scenario, catch, run, simulate};

#[track_caller]
fn all_hold(seeds: Range<u64>) {
    let report = run(&Options::new(seeds), |_, _| ControlFlow::Continue(())).expect("no trace is written");
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[test]
fn every_property_holds_in_the_first_thousand_runs() {
    all_hold(0..1000);
}

#[test]
fn every_property_holds_in_the_second_thousand_runs() {
    all_hold(1000..2000);
}

#[test]
fn seeds_that_once_failed_hold() {
    for line in include_str!("../seeds.txt").lines() {
        if let Some(seed) = line.split_whitespace().next().and_then(|seed| seed.parse().ok()) {
            all_hold(seed..seed + 1);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..40 {
        let hash = || simulate(&Scenario::new(seed, None), None).trace.hash();
        assert_eq!(hash(), hash(), "seed {seed}");
    }
    let hashes: std::collections::BTreeSet<u64> = (0..40).map(|seed| simulate(&Scenario::new(seed, None), None).trace.hash()).collect();
    assert_eq!(hashes.len(), 40);
}

/// Runs the mutant from three places in the space of seeds; each time it must be caught in time. What was broken first,
/// and how often.
fn caught(mutant: Mutant) -> BTreeMap<Property, usize> {
    let mut broken = BTreeMap::new();
    for first in [0, 100_000, 7_000_000] {
        let failure = catch(mutant, first).unwrap_or_else(|| panic!("{mutant} was not caught from seed {first} on")).failure;
        assert_eq!(failure.replay, format!("squall sim --seed {} --mutant {mutant}", failure.seed));
        *broken.entry(failure.violations[0].property).or_default() += 1;
    }
    broken
}

#[test]
fn a_counter_posted_before_its_data_is_caught() {
    caught(Mutant::CounterFirst);
}

#[test]
fn a_counter_pushed_by_reference_is_caught() {
    caught(Mutant::CounterByReference);
}

#[test]
fn a_link_that_does_not_order_is_caught() {
    caught(Mutant::UnorderedLink);
}

#[test]
fn a_counted_word_applied_before_its_spans_are_in_is_caught() {
    caught(Mutant::HastyWord);
}

#[test]
fn every_property_holds_over_a_fabric_that_counts() {
    all_counted_hold(&Options::new(0..1000));
}

#[test]
fn every_property_holds_over_a_fabric_that_counts_whoever_comes_and_goes() {
    Aim::ALL.into_iter().for_each(|aim| all_counted_hold(&Options::churn(0..300, aim)));
}

#[track_caller]
fn all_counted_hold(options: &Options) {
    let options = Options { counted: true, ..options.clone() };
    let report = run(&options, |_, _| ControlFlow::Continue(())).expect("no trace is written");
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[test]
fn ring_space_used_again_one_message_early_is_caught() {
    caught(Mutant::EarlyReuse);
}

#[test]
fn a_buffer_used_again_one_message_early_is_caught() {
    caught(Mutant::EarlyBufferReuse);
}

#[test]
fn delivery_before_stability_is_caught_as_such_or_noticed_by_the_group_itself() {
    let broken = caught(Mutant::EarlyDelivery);
    assert!(broken.contains_key(&Property::Stability), "{broken:?}");
    // Who says to have received what a sender has not sent ends the group.
    assert!(broken.keys().all(|property| [Property::Stability, Property::ViewProgress].contains(property)), "{broken:?}");
}

#[test]
fn two_deliveries_that_change_places_are_caught_as_a_breach_of_order() {
    let order = [Property::Fifo, Property::TotalOrder, Property::RoundRobin];
    assert!(caught(Mutant::SwappedDeliveries).keys().all(|property| order.contains(property)));
}

#[test]
fn a_null_that_is_skipped_is_caught() {
    caught(Mutant::SkippedNull);
}

#[test]
fn a_trace_says_the_same_after_it_was_written_and_read() {
    let outcome = simulate(&Scenario::new(3, None), None);
    let mut text = Vec::new();
    outcome.trace.write(&mut text).expect("memory is writable");
    let read = Trace::read(&text[..]).expect("it was just written");
    assert_eq!((read.hash(), check(&read)), (outcome.trace.hash(), outcome.verdict));
}

#[test]
fn a_crash_ends_the_group_at_every_other_member() {
    let crashes = (0..300).filter(|&seed| {
        let outcome = simulate(&Scenario::new(seed, None), None);
        let members = outcome.trace.events.iter().filter(|event| matches!(event, Event::Install { .. })).count();
        let count = |wanted: fn(&Event) -> bool| outcome.trace.events.iter().filter(|event| wanted(event)).count();
        let (crashed, stopped) = (count(|event| matches!(event, Event::Crash { .. })), count(|event| matches!(event, Event::Stop { .. })));
        assert!(crashed <= 1 && stopped == crashed * (members - 1), "seed {seed}: {stopped} of {members} stopped");
        crashed == 1
    });
    assert!(crashes.count() > 10);
}

#[test]
fn the_runs_reach_what_they_are_meant_to_reach() {
    let (mut sizes, mut large, mut nulls, mut unordered, mut crowded) = ([0; 17], 0, 0, 0, 0);
    for seed in 0..200 {
        let scenario = Scenario::new(seed, None);
        let outcome = simulate(&scenario, None);
        sizes[scenario.members] += 1;
        large += usize::from(scenario.config.large_max > scenario.config.small_max);
        unordered += usize::from(scenario.config.mode == squall_group::Mode::Unordered);
        nulls += usize::from(outcome.verdict.nulls > 0);
        crowded += usize::from(outcome.verdict.sends > 20 * scenario.config.window_messages);
    }
    assert!(sizes[2..=5].iter().all(|&runs| runs > 5) && sizes[10..].iter().sum::<u32>() > 5, "{sizes:?}");
    assert!([large, unordered, nulls, crowded].iter().all(|&runs| runs > 20), "{large} {unordered} {nulls} {crowded}");
}

#[test]
fn a_number_of_members_that_was_asked_for_is_kept() {
    for members in [1, 2, 16] {
        let report = run(&Options { members: Some(members), ..Options::new(0..20) }, |_, outcome| {
            let installs = outcome.trace.events.iter().filter(|event| matches!(event, Event::Install { .. })).count();
            assert_eq!(installs, members);
            ControlFlow::Continue(())
        });
        assert!(report.expect("no trace is written").failures.is_empty());
    }
    let options = Options { members: Some(16), ..Options::new(0..20) };
    assert_eq!(options.replay_line(5), "squall sim --seed 5 --nodes 16");
}

#[test]
fn a_run_that_is_broken_off_says_how_far_it_came() {
    let report = run(&Options::new(0..1000), |seed, _| if seed == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
    assert_eq!(report.expect("no trace is written").seeds, 4);
}
