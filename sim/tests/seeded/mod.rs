//! What every order is held to, by seed.

use std::ops::ControlFlow;

use squall_group::Mode;
use squall_sim::{Mutant, Options, catch, run};

/// Where faults are looked for: three places in the space of seeds.
const FIRST_SEEDS: [u64; 3] = [0, 100_000, 7_000_000];

/// Every property holds in every run of this order.
#[track_caller]
pub(crate) fn all_hold(order: Mode, options: Options) {
    let options = Options { ordering: Some(order), ..options };
    let report = run(&options, |_, _| ControlFlow::Continue(())).expect("no trace is written");
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

/// The mutant is caught in time, from wherever its seeds begin, and the line that replays it has `asked` in it.
#[track_caller]
pub(crate) fn caught(mutant: Mutant, asked: &str) {
    for first in FIRST_SEEDS {
        let failure = catch(mutant, first).unwrap_or_else(|| panic!("{mutant} was not caught from seed {first} on")).failure;
        assert!(failure.replay.ends_with(&format!("{asked} --mutant {mutant}")), "{}", failure.replay);
        assert!(failure.replay.contains(&format!("--seed {} ", failure.seed)), "{}", failure.replay);
    }
}
