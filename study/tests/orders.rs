//! What an order costs by its closed formula is what it costs in the model, within a fifth.

use squall_group::Mode;
use squall_study::{Load, Outcome, Profile, Run, Senders};

const KB_10: u64 = 10_240;

fn rdma() -> Profile {
    Profile::built_in("sim-rdma-100g").unwrap()
}

fn run(profile: &Profile, mode: Mode, nodes: usize, senders: Senders, bytes: u64, load: Load, messages: u64) -> Outcome {
    Run { mode, load, messages: Some(messages), ..Run::stream(profile, nodes, senders, bytes) }.run().unwrap()
}

#[track_caller]
fn is_close(what: &str, mode: Mode, nodes: usize, got: f64, by_rule: f64) {
    assert!((got - by_rule).abs() <= 0.2 * by_rule.max(1.0), "{what}, {mode}, n = {nodes}: {got:.2}, by rule {by_rule:.2}");
}

#[test]
fn a_message_that_travels_alone_takes_the_writes_of_its_order() {
    const MESSAGES: u64 = 100;
    for mode in Mode::EVERY {
        for nodes in [2, 3, 4, 8, 16, 64] {
            let outcome = run(&rdma(), mode, nodes, Senders::One, 1, Load::Closed, MESSAGES);
            let writes = outcome.counted.iter().map(|node| node.writes).sum::<u64>() as f64 / MESSAGES as f64;
            is_close("writes", mode, nodes, writes, mode.cost(nodes, 1).writes as f64);
        }
    }
}

#[test]
fn a_message_waits_for_as_many_hops_as_its_order_says() {
    const HOP_NS: f64 = 100_000.0;
    let mut profile = rdma();
    // Light so slow that nothing else takes any time.
    profile.switch.hop_ns = HOP_NS;
    for mode in Mode::EVERY {
        for nodes in [2, 3, 4, 8, 64] {
            let outcome = run(&profile, mode, nodes, Senders::One, 1, Load::Closed, 20);
            is_close("hops", mode, nodes, outcome.latency.us(0.5) * 1e3 / HOP_NS, mode.cost(nodes, 1).hops as f64);
        }
    }
}

#[test]
fn the_busiest_port_carries_as_many_copies_as_its_order_says() {
    const MESSAGES: u64 = 400;
    for mode in Mode::EVERY {
        for senders in [Senders::One, Senders::All] {
            for nodes in [2, 3, 4, 8, 16, 32, 64] {
                // Where all send, each message passes every port of the larger groups: few of them say as much.
                if senders == Senders::All && nodes > 16 {
                    continue;
                }
                let outcome = run(&rdma(), mode, nodes, senders, KB_10, Load::Stream, MESSAGES);
                let busiest = outcome.counted.iter().map(|node| node.sent_bytes.max(node.received_bytes)).max().unwrap();
                let bytes = (MESSAGES * senders.of(nodes) as u64 * KB_10) as f64;
                is_close("copies", mode, nodes, busiest as f64 / bytes, mode.cost(nodes, senders.of(nodes)).copies);
            }
        }
    }
}

#[test]
fn a_chain_keeps_its_links_busy_however_many_members_it_has() {
    let share = |mode, nodes| {
        let outcome = run(&rdma(), mode, nodes, Senders::One, KB_10, Load::Stream, 1000);
        outcome.bytes_per_s / rdma().payload_bytes_per_s()
    };
    for nodes in [2, 4, 8] {
        let (chain, direct) = (share(Mode::Chain, nodes), share(Mode::Ordered, nodes));
        assert!(chain >= 0.8, "n = {nodes}: {chain:.2} of the line");
        assert!(direct * (nodes - 1) as f64 <= 1.0, "n = {nodes}: {direct:.2} of the line");
    }
}
