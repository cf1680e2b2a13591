//! A run that was never measured: smooth numbers of plausible size, for tests of what is made from rows.

use std::time::{Duration, SystemTime};

use serde_json::json;
use squall_report::bounds::{Bound, Carriage, CopyCapacity, Load, Warmth};
use squall_report::{HistogramLog, Row, RunFolder};

const SIZES: [u64; 3] = [10_240, 1 << 20, 100 << 20];
const TRIALS: u32 = 3;

/// Writes every experiment with the given group sizes into a run.
pub(crate) fn fill(run: &mut RunFolder, nodes: &[u32]) {
    let rows = [multicast(nodes), latency(nodes), write(), smc_rate(nodes), memcpy(), schedules(nodes), failures()].concat();
    for row in &rows {
        run.append(row).unwrap();
        if row.experiment == "latency" && row.is_measured() {
            keep_histogram(run, row);
        }
    }
}

/// A new run in a folder.
pub(crate) fn new_run(path: &std::path::Path) -> RunFolder {
    let command = vec!["squall".into(), "reproduce".into(), "--quick".into()];
    let asked = json!({"quick": true, "fabric": ["shm", "tcp"]});
    let effective = json!({"seconds": 1.5, "verify": "sampled", "spin": false});
    RunFolder::create(Some(path), "synthetic", command, asked, effective).unwrap()
}

/// Between 0.95 and 1.05, always the same for the same numbers.
fn wobble(parts: &[u64]) -> f64 {
    let mixed = parts.iter().fold(0x9e37_79b9u64, |sum, part| (sum ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(17));
    0.95 + (mixed % 1000) as f64 / 10_000.0
}

fn trials(row: &Row) -> Vec<Row> {
    (1..=TRIALS)
        .map(|trial| {
            let by = wobble(&[u64::from(trial), row.message_bytes, u64::from(row.nodes)]);
            let times = |value: Option<f64>| value.map(|value| value * by);
            Row {
                trial,
                algbw_gigabytes_per_second: times(row.algbw_gigabytes_per_second),
                busbw_gigabytes_per_second: times(row.busbw_gigabytes_per_second),
                bound_fraction: times(row.bound_fraction),
                messages_per_second: times(row.messages_per_second),
                latency_us_p50: times(row.latency_us_p50),
                latency_us_p99: times(row.latency_us_p99),
                latency_us_p999: times(row.latency_us_p999),
                ..row.clone()
            }
        })
        .collect()
}

fn base(experiment: &str, fabric: &str) -> Row {
    Row {
        experiment: experiment.into(),
        fabric: fabric.into(),
        verified: "sampled".into(),
        seconds: Some(1.5),
        emulated: "no".into(),
        ..Row::default()
    }
}

fn senders(pattern: &str, nodes: u32) -> u32 {
    match pattern {
        "all" => nodes,
        "half" => nodes / 2,
        _ => 1,
    }
}

fn multicast(nodes: &[u32]) -> Vec<Row> {
    let mut rows = Vec::new();
    for fabric in ["shm", "tcp"] {
        for size in SIZES {
            for ordering in ["unordered", "ordered"] {
                for pattern in ["all", "half", "one"] {
                    for &n in nodes {
                        rows.extend(trials(&multicast_point(fabric, size, ordering, pattern, n)));
                    }
                }
            }
        }
    }
    rows
}

fn multicast_point(fabric: &str, size: u64, ordering: &str, pattern: &str, nodes: u32) -> Row {
    let relayed = size > 10_240;
    let load = Load { nodes, senders: senders(pattern, nodes), carriage: if relayed { Carriage::Relayed } else { Carriage::Direct } };
    let capacity = CopyCapacity { one_core: 9.0, all_core: 13.0, cores: 2, warmth: Warmth::possible(16 * size, 32 << 20) };
    let bound = match fabric {
        "shm" => Bound::of_copies(load, &capacity),
        _ => Bound::of_loopback_streams(load, 2.5, 3.5),
    };
    let ease = match (fabric, size) {
        ("shm", 10_240) => 0.55,
        ("shm", _) => 0.8,
        (_, 10_240) => 0.15,
        _ => 0.6,
    };
    let order = if ordering == "ordered" { 0.95 } else { 1.0 };
    let share = ease * order * (1.0 - 0.01 * f64::from(nodes));
    let busbw = bound.gigabytes_per_second * share;
    let algbw = busbw * load.factor();
    Row {
        ordering: ordering.into(),
        nodes,
        senders: load.senders,
        sender_pattern: pattern.into(),
        message_bytes: size,
        messages_per_sender: Some(1000),
        window: Some(if nodes > 8 { 4 } else { 16 }),
        block_bytes: relayed.then_some(1 << 20),
        schedule: if relayed { "pipeline".into() } else { String::new() },
        algbw_gigabytes_per_second: Some(algbw),
        busbw_gigabytes_per_second: Some(busbw),
        bound_gigabytes_per_second: Some(bound.gigabytes_per_second),
        bound_fraction: Some(share),
        bound_kind: bound.kind,
        messages_per_second: Some(algbw * 1e9 / size as f64),
        emulated: if nodes > 2 { "oversubscribed host".into() } else { "no".into() },
        ..base("multicast", fabric)
    }
}

fn latency(nodes: &[u32]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (fabric, base_us) in [("shm", 2.0), ("tcp", 60.0)] {
        for size in [1u64, 10_240, 1 << 20, 100 << 20] {
            for (window, load) in [(1, 1.0), (16, 9.0)] {
                for &n in nodes {
                    let copy_us = size as f64 * f64::from(n - 1) / 9e3;
                    let p50 = (base_us * f64::from(n) + copy_us) * load;
                    rows.extend(trials(&Row {
                        ordering: "ordered".into(),
                        nodes: n,
                        senders: n,
                        sender_pattern: "all".into(),
                        message_bytes: size,
                        window: Some(window),
                        latency_us_min: Some(p50 * 0.7),
                        latency_us_p50: Some(p50),
                        latency_us_p90: Some(p50 * 1.5),
                        latency_us_p99: Some(p50 * 4.0),
                        latency_us_p999: Some(p50 * 11.0),
                        latency_us_max: Some(p50 * 30.0),
                        ..base("latency", fabric)
                    }));
                }
            }
        }
    }
    rows
}

fn write() -> Vec<Row> {
    let mut rows = Vec::new();
    for (fabric, latency_us, rate) in [("shm", 0.12, 9.0), ("tcp", 14.0, 2.5)] {
        for size in (1..=23).map(|power| 1u64 << power) {
            let time_us = latency_us + size as f64 / (rate * 1e3);
            rows.extend(trials(&Row {
                nodes: 2,
                senders: 1,
                sender_pattern: "one".into(),
                message_bytes: size,
                algbw_gigabytes_per_second: Some(size as f64 / (time_us - latency_us * 0.9) / 1e3),
                latency_us_p50: Some(time_us),
                latency_us_p99: Some(time_us * 3.0),
                ..base("write", fabric)
            }));
        }
    }
    rows
}

fn smc_rate(nodes: &[u32]) -> Vec<Row> {
    let mut rows = Vec::new();
    for fabric in ["shm", "tcp"] {
        for pattern in ["all", "one"] {
            for size in [1u64, 16, 64, 256, 1024, 4096, 10_240] {
                for &n in nodes {
                    let scale = if fabric == "shm" { 2e7 } else { 1.5e6 };
                    let rate = scale / f64::from(n - 1) / (1.0 + size as f64 / 400.0);
                    rows.extend(trials(&Row {
                        ordering: "unordered".into(),
                        nodes: n,
                        senders: senders(pattern, n),
                        sender_pattern: pattern.into(),
                        message_bytes: size,
                        window: Some(1024),
                        messages_per_second: Some(rate),
                        algbw_gigabytes_per_second: Some(rate * size as f64 / 1e9),
                        ..base("smc-rate", fabric)
                    }));
                }
            }
        }
    }
    rows
}

fn memcpy() -> Vec<Row> {
    let mut rows = Vec::new();
    for (schedule, hot) in [("cold", 0.0), ("warm-source", 3.0), ("cached", 9.0)] {
        for cores in [1u32, 2] {
            for size in (10..=26).step_by(2).map(|power| 1u64 << power) {
                rows.extend(trials(&Row {
                    nodes: cores,
                    senders: cores,
                    message_bytes: size,
                    schedule: format!("{}-core-{schedule}", if cores == 1 { "one" } else { "all" }),
                    algbw_gigabytes_per_second: Some((8.0 + hot) * f64::from(cores).powf(0.6) * size as f64 / (size as f64 + 500.0)),
                    ..base("memcpy", "memory")
                }));
            }
        }
    }
    rows
}

fn schedules(nodes: &[u32]) -> Vec<Row> {
    let mut rows = Vec::new();
    for &n in nodes {
        let n_1 = f64::from(n - 1);
        for (schedule, slowing) in [
            ("sequential", n_1),
            ("chain", 1.0 + n_1 / 100.0),
            ("tree", f64::from(n).log2().ceil()),
            ("pipeline", 1.0 + f64::from(n).log2() / 100.0),
        ] {
            rows.extend(trials(&Row {
                nodes: n,
                senders: 1,
                sender_pattern: "one".into(),
                message_bytes: 100 << 20,
                block_bytes: Some(1 << 20),
                schedule: schedule.into(),
                algbw_gigabytes_per_second: Some(12.0 / slowing),
                emulated: "simulator".into(),
                ..base("rdmc-schedules", "sim")
            }));
        }
    }
    rows
}

fn failures() -> Vec<Row> {
    vec![Row {
        ordering: "ordered".into(),
        nodes: 64,
        senders: 64,
        sender_pattern: "all".into(),
        message_bytes: 100 << 20,
        note: "needs 410 GB of memory, has 24 GB".into(),
        ..base("multicast", "shm")
    }]
}

fn keep_histogram(run: &RunFolder, row: &Row) {
    let mut latency_ns = hdrhistogram::Histogram::<u64>::new(3).unwrap();
    let p50_ns = row.latency_us_p50.unwrap() * 1e3;
    for at in 0..2000u32 {
        let share = f64::from(at) / 2000.0;
        let value = p50_ns * (0.7 + 0.3 * (1.0 / (1.0 - share)).sqrt());
        latency_ns.record(value as u64).unwrap();
    }
    let log = HistogramLog { latency_ns: &latency_ns, began: SystemTime::now(), took: Duration::from_secs(1) };
    run.write_histogram(&row.point(), row.trial, &log).unwrap();
}
