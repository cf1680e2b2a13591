//! perftest: `ib_write_bw`, `ib_write_lat` and their kin, versions 4 to 6 and later.
//!
//! A headline names the test; the header of the table names the columns, from which units and order are read, since
//! options change them (`--report_gbits`, `-D`, `--cpu_util`, two ports).

use super::lines::{Flaw, MEBIBYTE, number, numbered, whole};
use crate::row::Row;

const FABRIC: &str = "perftest";
const MEND: &str = "Give the whole output of the client, from its headline on";

/// The tests, by how the headline begins; the experiment that each stands beside.
const VERBS: [(&str, &str); 5] = [
    ("RDMA_Write", "write"),
    ("RDMA_Read", "read"),
    ("Send", "send"),
    ("Atomic FETCH_AND_ADD", "atomic-fetch-and-add"),
    ("Atomic CMP_AND_SWAP", "atomic-compare-and-swap"),
];

/// What the file has said so far.
#[derive(Default)]
struct State {
    experiment: &'static str,
    device: String,
    depth: Option<u64>,
    /// Names of the columns; empty before the header.
    columns: Vec<String>,
}

pub(super) fn rows(text: &str) -> Result<Vec<Row>, Flaw> {
    let mut state = State::default();
    let mut rows = Vec::new();
    for (at, line) in numbered(text) {
        let trimmed = line.trim();
        if let Some((_, experiment)) = VERBS.iter().find(|(name, _)| trimmed.starts_with(name) && trimmed.ends_with("Test")) {
            state = State { experiment, ..State::default() };
        } else if let Some((_, device)) = trimmed.split_once("Device         :") {
            state.device = device.trim().to_owned();
        } else if let Some(depth) = trimmed.strip_prefix("TX depth") {
            state.depth = depth.trim_start_matches([' ', ':']).split_whitespace().next().and_then(|depth| depth.parse().ok());
        } else if trimmed.starts_with("#bytes") {
            if state.experiment.is_empty() {
                return Err(Flaw::new(at, "a table without the headline of a test", "a line such as `RDMA_Write BW Test`", MEND));
            }
            state.columns = columns(trimmed);
        } else if !state.columns.is_empty() && trimmed.starts_with(|c: char| c.is_ascii_digit()) {
            rows.push(row(at, trimmed, &state)?);
        }
    }
    if rows.is_empty() {
        let line = text.lines().count().max(1);
        return Err(Flaw::new(line, "no line of results", "a table below a header that begins with #bytes", MEND));
    }
    Ok(rows)
}

/// The names of the columns of a header. They are apart by blanks and hold blanks: a unit in brackets ends a name; a
/// name that begins with `#` has none.
fn columns(header: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut open = String::new();
    for word in header.split_whitespace() {
        if word.starts_with('#') {
            names.push(word.to_owned());
            continue;
        }
        if !open.is_empty() {
            open.push(' ');
        }
        open.push_str(word);
        if word.ends_with(']') {
            names.push(std::mem::take(&mut open));
        }
    }
    names
}

fn row(at: usize, line: &str, state: &State) -> Result<Row, Flaw> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let field =
        |is_named: &dyn Fn(&str) -> bool| state.columns.iter().position(|name| is_named(name)).and_then(|at| fields.get(at).copied());
    let read = |name: &str| field(&|found| found == name).map(|field| number(at, field, name)).transpose();
    if fields.len() < state.columns.len().min(4) {
        return Err(Flaw::new(
            at,
            format!("{} values", fields.len()),
            format!("{}", state.columns.len()),
            "The line was cut: measure again",
        ));
    }
    let bytes = whole(at, fields[0], "#bytes")?;
    let iterations = field(&|found| found == "#iterations").map(|field| whole(at, field, "#iterations")).transpose()?;
    let base = Row {
        experiment: state.experiment.into(),
        fabric: FABRIC.into(),
        nodes: 2,
        senders: 1,
        message_bytes: bytes,
        messages_per_sender: iterations,
        note: format!("imported from perftest, device {}", if state.device.is_empty() { "unknown" } else { &state.device }),
        ..Row::default()
    };
    let average = |unit: &str| read(&format!("BW average[{unit}]"));
    let per_second = match (average("MB/sec")?, average("MiB/sec")?, average("Gb/sec")?) {
        (Some(megabytes), ..) | (None, Some(megabytes), _) => Some(megabytes * MEBIBYTE),
        (None, None, Some(gigabits)) => Some(gigabits * 1e9 / 8.0),
        _ => None,
    };
    if let Some(per_second) = per_second {
        // Small messages have more digits in the rate.
        let rate = match read("MsgRate[Mpps]")? {
            Some(millions) if bytes < 4096 && millions > 0.0 => millions * 1e6,
            _ => per_second / bytes.max(1) as f64,
        };
        return Ok(Row {
            window: state.depth,
            schedule: "bandwidth".into(),
            seconds: iterations.map(|count| count as f64 / rate).filter(|seconds| seconds.is_finite()),
            algbw_gigabytes_per_second: Some(rate * bytes as f64 / 1e9),
            messages_per_second: Some(rate),
            ..base
        });
    }
    let typical = read("t_typical[usec]")?.or(read("t_avg[usec]")?);
    if typical.is_none() {
        let known = "a column of bandwidth (BW average) or latency (t_typical, t_avg)";
        return Err(Flaw::new(at, format!("columns {}", state.columns.join(", ")), known, MEND));
    }
    let of_average = if read("t_typical[usec]")?.is_some() { "" } else { "; its mean stands in for the median, which it does not print" };
    Ok(Row {
        window: Some(1),
        schedule: "latency".into(),
        latency_us_min: read("t_min[usec]")?,
        latency_us_p50: typical,
        latency_us_p99: read("99% percentile[usec]")?,
        latency_us_p999: read("99.9% percentile[usec]")?.filter(|_| iterations.is_some_and(|count| count >= 1000)),
        latency_us_max: read("t_max[usec]")?,
        note: format!("{}{of_average}", base.note),
        ..base
    })
}
