//! Groups whose members come and go, by seed: every property holds, every mutant of membership is caught, every run repeats itself.

use std::collections::BTreeMap;
use std::ops::Range;

use squall_sim::checker::Property;
use squall_sim::trace::Event;
use squall_sim::{Churn, Mutant, churn};

#[track_caller]
fn all_hold(seeds: impl IntoIterator<Item = u64>) {
    let failure = |seed: u64| {
        let outcome = churn(&Churn::new(seed), None);
        let violation = outcome.verdict.violations.into_iter().next()?;
        Some(format!("cargo run -p squall-sim --example churn -- {seed}   # {violation}"))
    };
    let failures: Vec<String> = seeds.into_iter().filter_map(failure).take(5).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[test]
fn every_property_holds_in_the_first_seeds() {
    all_hold(0..500);
}

#[test]
fn every_property_holds_in_more_seeds() {
    all_hold(500..1000);
}

/// 52 and 74: a newcomer that never came kept others from leaving their view. 1375: a member that had acted on the decision died, and those that had not
/// yet waited for it to lead.
#[test]
fn seeds_that_once_failed_hold() {
    all_hold([52, 74, 1375]);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let hash = || churn(&Churn::new(seed), None).trace.hash();
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}

/// Runs the mutant from three places in the space of seeds; each time it must be caught in time. What was broken first, and how often.
#[track_caller]
fn caught(mutant: Mutant) -> BTreeMap<Property, usize> {
    let mut broken = BTreeMap::new();
    for first in [0, 100_000, 7_000_000] {
        let seeds: Range<u64> = first..first + mutant.seeds_max();
        let found = seeds.into_iter().find_map(|seed| churn(&Churn::new(seed), Some(mutant)).verdict.violations.into_iter().next());
        let violation = found.unwrap_or_else(|| panic!("{mutant} was not caught from seed {first} on"));
        *broken.entry(violation.property).or_default() += 1;
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
fn the_runs_reach_what_they_are_meant_to_reach() {
    let (mut chains, mut cuts, mut stops, mut joins, mut leaves, mut takeovers) = (0, 0, 0, 0, 0, 0);
    for seed in 0..300 {
        let outcome = churn(&Churn::new(seed), None);
        let any = |wanted: &dyn Fn(&Event) -> bool| usize::from(outcome.trace.events.iter().any(wanted));
        chains += usize::from(outcome.verdict.views > 2);
        cuts += any(&|event| matches!(event, Event::Cut { .. }));
        stops += any(&|event| matches!(event, Event::Stop { .. }));
        leaves += any(&|event| matches!(event, Event::Leave { .. }));
        joins += any(&|event| matches!(event, Event::Install { process, .. } if process.0 > 1000));
        takeovers += any(&|event| matches!(event, Event::Trim { leader, proposed_by, .. } if proposed_by.iter().any(|by| by != leader)));
    }
    let reached = [chains, cuts, stops, joins, leaves, takeovers];
    assert!(reached.iter().all(|&runs| runs > 10), "{reached:?}");
}
