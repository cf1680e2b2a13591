//! One point of the study, with where its time went:
//! `point PROFILE NODES all|half|one BYTES [ordered|unordered] [key=value ..]`.

use std::time::Instant;

use squall_group::Mode;
use squall_study::{Load, Peer, Profile, Run, Senders};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [profile, nodes, senders, bytes, rest @ ..] = &args[..] else {
        eprintln!("point PROFILE NODES all|half|one BYTES [unordered] [closed] [peer] [messages=N] [window=N] [block=N] [schedule=NAME]");
        std::process::exit(2);
    };
    let profile = Profile::built_in(profile).unwrap_or_else(|error| panic!("{error}"));
    let senders = Senders::EVERY.into_iter().find(|pattern| pattern.name() == senders).expect("all, half or one");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let mut run = Run::stream(&profile, number(nodes) as usize, senders, number(bytes));
    for option in rest {
        match option.split_once('=') {
            Some(("messages", count)) => run.messages = Some(number(count)),
            Some(("window", count)) => run.window = Some(number(count)),
            Some(("block", bytes)) => run.block_bytes = Some(number(bytes) as u32),
            Some(("schedule", name)) => run.schedule = Some(name.parse().expect("a schedule")),
            Some(("seed", seed)) => run.seed = number(seed),
            None if option == "unordered" => run.mode = Mode::Unordered,
            None if option == "closed" => run.load = Load::Closed,
            None if option == "peer" => run.peer = Some(Peer::on(&profile)),
            _ => panic!("what is `{option}`?"),
        }
    }
    let started = Instant::now();
    let outcome = run.run().unwrap_or_else(|error| panic!("{error}"));
    let took = started.elapsed().as_secs_f64();
    let writes: u64 = outcome.counted.iter().map(|counted| counted.writes).sum();
    println!(
        "{} messages of each sender, window {}, blocks {}, {}: {:.3} GB/s, {:.3} of the bound, {:.6} s",
        outcome.messages,
        run.window(),
        run.block_bytes(),
        run.schedule(),
        outcome.bytes_per_s / 1e9,
        outcome.bound_part,
        outcome.seconds
    );
    println!(
        "latency us: p50 {:.2} p99 {:.2} mean {:.2}; messages/s {:.0}",
        outcome.latency.us(0.5),
        outcome.latency.us(0.99),
        outcome.latency.mean_us(),
        outcome.messages as f64 * run.senders as f64 / outcome.seconds
    );
    let part = |busy: &[f64]| busy.iter().map(|busy| format!("{busy:.2}")).collect::<Vec<_>>().join(" ");
    if outcome.core_busy.len() <= 16 {
        println!("cores busy {}\negress busy {}", part(&outcome.core_busy), part(&outcome.egress_busy));
    }
    println!("{took:.2} s real, {writes} writes, {:.2} M writes/s, {} events", writes as f64 / took / 1e6, outcome.happened);
}
