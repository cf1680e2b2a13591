//! Groups whose members come and go, by seed: `churn AIM SEED [MUTANT]` runs one and prints its trace,
//! `churn AIM FROM TO [MUTANT]` runs many and prints what failed and how fast it went. The aim is `safety` or
//! `liveness`.

use std::time::Instant;

use squall_sim::{Aim, Churn, Mutant, churn};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let aim = arguments.first().map_or(Err("no aim".into()), |aim| aim.parse::<Aim>());
    let numbers: Vec<u64> = arguments.iter().skip(1).map_while(|argument| argument.parse().ok()).collect();
    let mutant = arguments.get(1 + numbers.len()).map(|name| name.parse::<Mutant>()).transpose();
    let (aim, mutant) = match (aim, numbers.len(), mutant) {
        (Ok(aim), 1 | 2, Ok(mutant)) => (aim, mutant),
        (Err(error), _, _) | (_, _, Err(error)) => return eprintln!("{error}"),
        _ => return eprintln!("usage: churn safety|liveness SEED [MUTANT] | churn safety|liveness FROM TO [MUTANT]"),
    };
    if let [seed] = numbers[..] {
        let scenario = Churn::new(seed, aim);
        let outcome = churn(&scenario, mutant);
        outcome.trace.events.iter().for_each(|event| println!("{event:?}"));
        println!("{scenario:#?}");
        outcome.verdict.violations.iter().for_each(|violation| println!("{violation}"));
        return;
    }
    let (start, mut failures, mut views, mut deliveries, mut virtual_ns) = (Instant::now(), 0, 0, 0, 0);
    for seed in numbers[0]..numbers[1] {
        let outcome = churn(&Churn::new(seed, aim), mutant);
        views += outcome.verdict.views;
        deliveries += outcome.verdict.deliveries;
        virtual_ns += outcome.virtual_ns;
        if let Some(violation) = outcome.verdict.violations.first() {
            failures += 1;
            println!("churn {aim} {seed}   # {violation}");
        }
    }
    let (seeds, seconds) = (numbers[1] - numbers[0], start.elapsed().as_secs_f64());
    println!("{seeds} seeds, {failures} failed; {views} views, {deliveries} deliveries");
    println!("{:.0} seeds/s, {:.3} simulated hours an hour", seeds as f64 / seconds, virtual_ns as f64 / 1e9 / seconds);
}
