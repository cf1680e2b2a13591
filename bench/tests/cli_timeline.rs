//! `rdmc-timeline`: rows, traces and figures of one message, as small as it can be.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use squall_report::{Row, read_rows};

fn run(arguments: &str, out: &Path) -> Vec<Row> {
    let output = Command::new(env!("CARGO_BIN_EXE_squall")).args(arguments.split_whitespace()).arg("--out").arg(out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read_rows(out).unwrap().rows
}

/// The row of a part.
fn part<'a>(rows: &'a [Row], fabric: &str, part: &str) -> &'a Row {
    let found = rows.iter().find(|row| row.fabric == fabric && row.schedule.ends_with(&format!("-{part}")));
    found.unwrap_or_else(|| panic!("{fabric} has no {part}: {rows:?}"))
}

fn files_of(out: &Path, ending: &str) -> Vec<String> {
    let names = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(ending)).collect()
}

/// What Perfetto and `chrome://tracing` want of a trace, by the description of the Trace Event Format: an object with a
/// list of events; of each its phase, process and name; complete events with a time and a duration; metadata with its
/// argument; and slices of one track that nest or lie apart, since others are drawn wrongly or dropped.
fn check_format(trace: &Value) {
    assert!(["ms", "ns"].contains(&trace["displayTimeUnit"].as_str().unwrap()));
    let mut named = HashSet::new();
    let mut tracks: HashMap<(u64, u64), Vec<(f64, f64)>> = HashMap::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let (pid, name) = (event["pid"].as_u64().unwrap(), event["name"].as_str().unwrap());
        let tid = event["tid"].as_u64();
        let time = |field: &str| event[field].as_f64().filter(|us| us.is_finite() && *us >= 0.0);
        match (event["ph"].as_str().unwrap(), name) {
            ("X", _) => {
                let (at, dur) = time("ts").zip(time("dur")).unwrap_or_else(|| panic!("{event}"));
                assert!(event["cat"].is_string(), "{event}");
                tracks.entry((pid, tid.unwrap())).or_default().push((at, at + dur));
            }
            ("M", "process_name") => assert!(event["args"]["name"].is_string() && named.insert((pid, None)), "{event}"),
            ("M", "thread_name") => assert!(event["args"]["name"].is_string() && tid.is_some() && named.insert((pid, tid)), "{event}"),
            ("M", "process_sort_index") => assert!(event["args"]["sort_index"].is_i64(), "{event}"),
            _ => panic!("no event of a known kind: {event}"),
        }
    }
    // Less than that is lost in decimal fractions of microseconds.
    const NOTHING_US: f64 = 1e-6;
    for ((pid, tid), mut slices) in tracks {
        assert!(named.contains(&(pid, None)) && named.contains(&(pid, Some(tid))), "track {tid} of process {pid} has no name");
        slices.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let mut open: Vec<f64> = Vec::new();
        for (from, to) in slices {
            open.retain(|end| *end > from + NOTHING_US);
            assert!(open.iter().all(|end| to <= end + NOTHING_US), "track {tid} of process {pid}: {from} to {to} crosses {open:?}");
            open.push(to);
        }
    }
}

/// Every block reaches every node once, and the trace has it on both sides.
fn check_files(out: &Path, nodes: usize, blocks: usize) {
    let timelines = out.join("timelines");
    let traces = files_of(&timelines, ".trace.json");
    assert!(!traces.is_empty());
    for name in traces {
        let trace: Value = serde_json::from_str(&std::fs::read_to_string(timelines.join(&name)).unwrap()).unwrap();
        check_format(&trace);
        let slices = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["cat"] == "in").count();
        assert_eq!(slices, (nodes - 1) * blocks, "{name}");
        let text = std::fs::read_to_string(timelines.join(name.replace(".trace.json", ".csv"))).unwrap();
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!((count(",landed,"), count(",posted,") + count(",relayed,")), ((nodes - 1) * blocks, (nodes - 1) * blocks));
    }
    let figures = files_of(&out.join("plots"), ".svg");
    assert!(figures.iter().any(|name| name.ends_with("-split.svg")) && figures.len() >= 2, "{figures:?}");
}

#[test]
fn a_message_is_followed_block_by_block_through_real_processes() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let sweep = "run rdmc-timeline --fabric shm,tcp --nodes 3 --size 200KB --block 32KB --schedule two-trees --trials 1";
    let rows = run(sweep, &out);
    for fabric in ["shm", "tcp"] {
        let whole = part(&rows, fabric, "whole");
        assert!(whole.algbw_gigabytes_per_second > Some(0.0) && whole.bound_fraction > Some(0.0), "{whole:?}");
        assert_eq!((whole.schedule.as_str(), whole.block_bytes), ("two-trees-whole", Some(32 << 10)));
        let seconds = whole.seconds.unwrap();
        assert!(whole.latency_us_max <= Some(1e6 * seconds + 1.0), "no node's part is longer than the whole: {whole:?}");
        for time in ["moving", "data", "software"] {
            assert!(part(&rows, fabric, time).latency_us_p50 <= whole.latency_us_max, "{rows:?}");
        }
        assert!(part(&rows, fabric, "moving").latency_us_p50 > Some(0.0));
    }
    check_files(&out, 3, 7);
}

#[test]
fn a_window_that_holds_fewer_messages_than_are_sent_opens_again() {
    let root = tempfile::tempdir().unwrap();
    // Two members have two messages of 2 MB under way, and three are sent before the first trial.
    let rows = run("run rdmc-timeline --fabric shm --nodes 2 --size 2MB --trials 1", &root.path().join("out"));
    assert_eq!(part(&rows, "shm", "whole").window, Some(2));
}

#[test]
fn a_message_is_followed_on_a_model_whose_parts_add_up() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let rows = run("run rdmc-timeline --fabric sim-rdma-100g --nodes 2 --size 1MB --block 64KB --trials 1", &out);
    let of = |name| part(&rows, "sim-rdma-100g", name);
    // At two nodes the receiver is the one with the least or the greatest; sums hold for each node, so for the sums.
    let sum = |row: &Row| row.latency_us_min.unwrap() + row.latency_us_max.unwrap();
    let parts: f64 = ["moving", "data", "software"].into_iter().map(|name| sum(of(name))).sum();
    assert!((parts - sum(of("whole"))).abs() < 0.01, "{rows:?}");
    assert!(sum(of("moving")) > 0.5 * sum(of("whole")), "a model of links moves data most of the time: {rows:?}");
    assert!(rows.iter().all(|row| row.emulated == "simulated"));
    check_files(&out, 2, 16);
}
