//! Groups whose members come and go, by seed: `churn SEED [MUTANT]` runs one and prints its trace, `churn FROM TO [MUTANT]` runs many and prints what
//! failed and how fast it went.

use std::time::Instant;

use squall_sim::{Churn, Mutant, churn};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = arguments.iter().map_while(|argument| argument.parse().ok()).collect();
    let mutant = arguments.get(numbers.len()).map(|name| name.parse::<Mutant>());
    let mutant = match (numbers.len(), mutant.transpose()) {
        (1 | 2, Ok(mutant)) => mutant,
        (_, Err(error)) => return eprintln!("{error}"),
        _ => return eprintln!("usage: churn SEED [MUTANT] | churn FROM TO [MUTANT]"),
    };
    if let [seed] = numbers[..] {
        let scenario = Churn::new(seed);
        let outcome = churn(&scenario, mutant);
        outcome.trace.events.iter().for_each(|event| println!("{event:?}"));
        println!("{scenario:#?}");
        outcome.verdict.violations.iter().for_each(|violation| println!("{violation}"));
        return;
    }
    let (start, mut failures, mut views, mut deliveries, mut virtual_ns) = (Instant::now(), 0, 0, 0, 0);
    for seed in numbers[0]..numbers[1] {
        let outcome = churn(&Churn::new(seed), mutant);
        views += outcome.verdict.views;
        deliveries += outcome.verdict.deliveries;
        virtual_ns += outcome.virtual_ns;
        if let Some(violation) = outcome.verdict.violations.first() {
            failures += 1;
            println!("churn {seed}   # {violation}");
        }
    }
    let (seeds, seconds) = (numbers[1] - numbers[0], start.elapsed().as_secs_f64());
    println!("{seeds} seeds, {failures} failed; {views} views, {deliveries} deliveries");
    println!("{:.0} seeds/s, {:.3} simulated hours an hour", seeds as f64 / seconds, virtual_ns as f64 / 1e9 / seconds);
}
