//! How often each mutant is found: `mutants SEEDS [MUTANT...]` runs so many seeds with each, and prints in how many of
//! them which property was broken first. Faults that are rare want more seeds than others: see [`Mutant::seeds_max`].

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use squall_sim::{Mutant, Options, run};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(seeds) = arguments.first().and_then(|seeds| seeds.parse::<u64>().ok()) else {
        return eprintln!("usage: mutants SEEDS [MUTANT...]");
    };
    let named = arguments[1..].iter().map(|name| name.parse::<Mutant>().expect("a mutant"));
    let mutants: Vec<Mutant> = if arguments.len() > 1 { named.collect() } else { Mutant::ALL.to_vec() };
    for mutant in mutants {
        let mut first = BTreeMap::new();
        let options = Options { mutant: Some(mutant), failures_max: usize::MAX, ..Options::new(0..seeds) };
        let flow = |_, outcome: &squall_sim::Outcome| {
            if let Some(violation) = outcome.verdict.violations.first() {
                *first.entry(violation.property).or_insert(0) += 1;
            }
            ControlFlow::Continue(())
        };
        run(&options, flow).expect("no trace is written");
        let named: Vec<String> = first.iter().map(|(property, runs)| format!("{property:?} {runs}")).collect();
        println!("{mutant}: {} of {seeds} seeds: {}", first.values().sum::<u64>(), named.join(", "));
    }
}
