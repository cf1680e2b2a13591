//! The shapes of the published curves, on the model: S1 to S8 and S11 with the peer's limits, which is what was
//! published; S3, S5, S8 and S9 to S12 of Squall itself.

use squall_group::Mode;
use squall_rdmc::schedule::ScheduleKind;
use squall_study::{Load, Peer, Profile, Run, Senders};

const KB_10: u64 = 10_240;
const MB_1: u64 = 1_048_576;
const MB_100: u64 = 104_857_600;

fn rdma() -> Profile {
    Profile::built_in("sim-rdma-100g").unwrap()
}

/// GB/s of a stream, as many messages as show its shape.
fn rate(run: Run) -> f64 {
    let messages = match run.message_bytes {
        MB_100 => 3,
        MB_1 => 160 / run.senders as u64 + 8,
        _ => 400,
    };
    Run { messages: Some(messages), ..run }.run().unwrap().bytes_per_s / 1e9
}

fn squall(nodes: usize, senders: Senders, bytes: u64) -> f64 {
    rate(Run::stream(&rdma(), nodes, senders, bytes))
}

fn peer(nodes: usize, senders: Senders, bytes: u64) -> f64 {
    let profile = rdma();
    rate(Run { peer: Some(Peer::on(&profile)), ..Run::stream(&profile, nodes, senders, bytes) })
}

/// Slope and how well a line fits (1: all points are on it).
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let sum = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>();
    let (xy, xx, yy) = (sum(&|p| (p.0 - x) * (p.1 - y)), sum(&|p| (p.0 - x).powi(2)), sum(&|p| (p.1 - y).powi(2)));
    (xy / xx, xy * xy / (xx * yy))
}

#[test]
fn s1_two_that_both_send_large_messages_exceed_the_one_way_line() {
    assert!(peer(2, Senders::All, MB_100) > 12.5);
    assert!(squall(2, Senders::All, MB_100) > 12.5);
}

#[test]
fn s2_large_messages_of_all_fall_slowly_with_the_group() {
    let rates = [3, 6, 12].map(|nodes| peer(nodes, Senders::All, MB_100));
    assert!(rates[0] > rates[1] && rates[1] > rates[2] && rates[2] > 0.6 * rates[0], "{rates:?}");
}

#[test]
fn s3_half_is_one_at_two_and_three_members() {
    for nodes in [2, 3] {
        assert_eq!(peer(nodes, Senders::Half, MB_1), peer(nodes, Senders::One, MB_1));
        assert_eq!(squall(nodes, Senders::Half, KB_10), squall(nodes, Senders::One, KB_10));
    }
}

#[test]
fn s4_half_is_a_saw_whose_odd_teeth_are_lower() {
    let rates: Vec<f64> = (4..=9).map(|nodes| peer(nodes, Senders::Half, MB_1)).collect();
    for odd in [1, 3, 5] {
        assert!(rates[odd] < rates[odd - 1], "{rates:?}");
    }
    assert!(rates[2] > rates[1] && rates[4] > rates[3], "{rates:?}");
}

#[test]
fn s5_small_messages_of_one_sender_fall_as_one_part_of_the_others() {
    for (what, rates) in [
        ("peer", [8, 16].map(|nodes| peer(nodes, Senders::One, KB_10))),
        ("squall", [8, 16].map(|nodes| squall(nodes, Senders::One, KB_10))),
    ] {
        let (got, law) = (rates[1] / rates[0], 7.0 / 15.0);
        assert!((got / law - 1.0).abs() < 0.1, "{what}: {got} instead of {law}");
    }
}

#[test]
fn s6_small_messages_of_all_rise_and_then_flatten() {
    let rates = [2, 4, 6, 10, 14].map(|nodes| peer(nodes, Senders::All, KB_10));
    assert!(rates[1] > 1.3 * rates[0] && rates[2] > rates[1], "they rise: {rates:?}");
    assert!((rates[4] / rates[3] - 1.0).abs() < 0.15, "they flatten: {rates:?}");
}

#[test]
fn s7_middling_messages_of_all_are_flat() {
    let rates: Vec<f64> = [2, 4, 8, 12].map(|nodes| peer(nodes, Senders::All, MB_1)).to_vec();
    let (least, most) = (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max));
    assert!(most < 1.35 * least, "{rates:?}");
}

#[test]
fn s8_more_senders_send_no_less() {
    for nodes in [4, 8] {
        for bytes in [KB_10, MB_1] {
            for of in [peer, squall] {
                let [all, half, one] = Senders::EVERY.map(|senders| of(nodes, senders, bytes));
                // Bounds of half and one are the same line: equal within what a stream's beginning and end cost.
                assert!(one <= 1.05 * half && half <= 1.05 * all, "n = {nodes}, {bytes} bytes: {all} {half} {one}");
            }
        }
    }
}

#[test]
fn s9_order_costs_little_from_a_megabyte_up() {
    for nodes in [2, 8] {
        let run = Run::stream(&rdma(), nodes, Senders::All, MB_1);
        let (ordered, unordered) = (rate(run.clone()), rate(Run { mode: Mode::Unordered, ..run }));
        assert!(ordered > 0.95 * unordered, "n = {nodes}: {ordered} and {unordered}");
    }
}

#[test]
fn s10_tcp_falls_further_behind_as_messages_shrink() {
    let tcp = Profile::built_in("sim-tcp-100g").unwrap();
    let gap = |bytes| {
        let of_tcp = rate(Run { peer: Some(Peer::on(&tcp)), ..Run::stream(&tcp, 8, Senders::All, bytes) });
        peer(8, Senders::All, bytes) / of_tcp
    };
    let gaps = [MB_100, MB_1, KB_10].map(gap);
    assert!(gaps[0] > 2.0 && gaps[1] > gaps[0] && gaps[2] > gaps[1], "{gaps:?}");
}

#[test]
fn s11_latency_of_small_messages_grows_linearly_when_all_send() {
    let profile = rdma();
    for of_peer in [true, false] {
        let latency = |nodes: usize| {
            let run = Run { load: Load::Closed, messages: Some(60), window: Some(4), ..Run::stream(&profile, nodes, Senders::All, 1) };
            let outcome = Run { peer: of_peer.then(|| Peer::on(&profile)), ..run }.run().unwrap();
            (nodes as f64, outcome.latency.mean_us())
        };
        let points = [2, 4, 8, 12, 16].map(latency);
        let (slope, fit) = line(&points);
        assert!(slope > 0.1 && fit > 0.95, "{points:?}: {slope} us a member, fit {fit}");
    }
}

#[test]
fn s12_relays_keep_the_line_and_a_lone_sender_shares_it() {
    let transfer = |nodes, schedule| {
        let run = Run { schedule: Some(schedule), messages: Some(1), ..Run::stream(&rdma(), nodes, Senders::One, MB_100) };
        run.run().unwrap().bound_part
    };
    let pipeline = [4, 16, 64].map(|nodes| transfer(nodes, ScheduleKind::Pipeline));
    assert!(pipeline.iter().all(|part| *part > 0.9), "{pipeline:?}");
    for nodes in [4, 16] {
        let law = 1.0 / (nodes - 1) as f64;
        let got = transfer(nodes, ScheduleKind::Sequential);
        assert!((got / law - 1.0).abs() < 0.05, "n = {nodes}: {got} instead of {law}");
    }
}

#[test]
fn s12_a_stream_of_short_messages_passes_the_pipelines_cap_by_two_trees_alone() {
    let stream = |schedule| {
        let run = Run::stream(&rdma(), 16, Senders::One, MB_1);
        Run { schedule: Some(schedule), block_bytes: Some(128 << 10), messages: Some(150), ..run }.run().unwrap().bound_part
    };
    // 8 blocks to 16 members: 8 / (8 + 4 - 1).
    let (cap, pipeline, trees) = (8.0 / 11.0, stream(ScheduleKind::Pipeline), stream(ScheduleKind::TwoTrees));
    assert!(pipeline <= 1.01 * cap && trees > 0.9, "cap {cap}: pipeline {pipeline}, two trees {trees}");
}
