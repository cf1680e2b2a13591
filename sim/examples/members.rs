//! Whole members, by seed: `members SEED [MUTANT]` runs one and prints its trace, `members FROM TO [MUTANT]` runs many
//! and prints what failed.

use std::time::Instant;

use squall_sim::{MembersScenario, Mutant, members};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = arguments.iter().map_while(|argument| argument.parse().ok()).collect();
    let mutant = arguments.get(numbers.len()).map(|name| name.parse::<Mutant>()).transpose();
    let mutant = match (numbers.len(), mutant) {
        (1 | 2, Ok(mutant)) => mutant,
        (_, Err(error)) => return eprintln!("{error}"),
        _ => return eprintln!("usage: members SEED [MUTANT] | members FROM TO [MUTANT]"),
    };
    if let [seed] = numbers[..] {
        let scenario = MembersScenario::new(seed);
        let outcome = members(&scenario, mutant);
        outcome.trace.events.iter().for_each(|event| println!("{event:?}"));
        println!("{scenario:#?}");
        outcome.verdict.violations.iter().for_each(|violation| println!("{violation}"));
        return;
    }
    let (start, mut failures, mut views, mut steps) = (Instant::now(), 0, 0, 0);
    for seed in numbers[0]..numbers[1] {
        let outcome = members(&MembersScenario::new(seed), mutant);
        views += outcome.verdict.views;
        steps += outcome.steps;
        if let Some(violation) = outcome.verdict.violations.first() {
            failures += 1;
            println!("scenario {seed}   # {violation}");
        }
    }
    let (seeds, seconds) = (numbers[1] - numbers[0], start.elapsed().as_secs_f64());
    println!("{seeds} seeds, {failures} failed; {views} views, {steps} steps; {:.0} seeds/s", seeds as f64 / seconds);
}
