//! fio with `--output-format=json`, versions 3 and later (latencies in nanoseconds): reads and writes of storage, or of
//! its network and RDMA engines.

use serde_json::Value;

use super::lines::{Flaw, at, json, number_at};
use crate::row::Row;

const MEND: &str = "Write it with `fio JOB --output-format=json > FILE`, by fio 3 or later";

pub(super) fn rows(text: &str) -> Result<Vec<Row>, Flaw> {
    let found = json(text, "fio", "--output-format=json")?;
    let Some(version) = at(&found, &["fio version"]).and_then(Value::as_str) else {
        return Err(Flaw::new(1, "JSON without `fio version`", "what fio prints with --output-format=json", MEND));
    };
    let jobs = at(&found, &["jobs"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut rows = Vec::new();
    for job in jobs {
        for way in ["read", "write"] {
            if number_at(job, &[way, "total_ios"]).is_some_and(|count| count > 0.0) {
                rows.push(row(job, way, &found, version)?);
            }
        }
    }
    if rows.is_empty() {
        return Err(Flaw::new(1, "no job that read or wrote anything", "at least one", MEND));
    }
    Ok(rows)
}

fn row(job: &Value, way: &str, all: &Value, version: &str) -> Result<Row, Flaw> {
    let text = |path: &[&str]| at(job, path).or_else(|| at(all, path)).and_then(Value::as_str).unwrap_or_default().to_owned();
    let option = |name: &str| match text(&["job options", name]) {
        given if given.is_empty() => text(&["global options", name]),
        given => given,
    };
    let of = |path: &[&str]| number_at(job, &[&[way], path].concat());
    // A mean where the job does not give the size of a request.
    let (bytes, count) = (of(&["io_bytes"]).unwrap_or(0.0), of(&["total_ios"]).unwrap_or(1.0));
    // Old versions give the rate in KiB a second only.
    let Some(rate) = of(&["bw_bytes"]).or_else(|| of(&["bw"]).map(|kibibytes| kibibytes * 1024.0)) else {
        return Err(Flaw::new(1, format!("job {:?} without {way}.bw", text(&["jobname"])), "a rate", MEND));
    };
    let latency = |name: &str| of(&["clat_ns", "percentile", name]).map(|ns| ns / 1e3);
    let samples = of(&["clat_ns", "N"]).unwrap_or(count);
    Ok(Row {
        experiment: "storage".into(),
        fabric: format!(
            "fio-{}",
            match option("ioengine") {
                name if name.is_empty() => "psync".to_owned(),
                name => name,
            }
        ),
        nodes: 1,
        senders: option("numjobs").parse().unwrap_or(1),
        message_bytes: (bytes / count).round() as u64,
        messages_per_sender: Some(count as u64),
        window: option("iodepth").parse().ok(),
        schedule: match option("rw") {
            pattern if pattern.is_empty() => way.to_owned(),
            pattern if pattern.ends_with(way) => pattern,
            pattern => format!("{pattern}-{way}"),
        },
        seconds: of(&["runtime"]).map(|milliseconds| milliseconds / 1e3),
        algbw_gigabytes_per_second: Some(rate / 1e9),
        messages_per_second: of(&["iops"]),
        latency_us_min: of(&["clat_ns", "min"]).map(|ns| ns / 1e3),
        latency_us_p50: latency("50.000000"),
        latency_us_p90: latency("90.000000"),
        latency_us_p99: latency("99.000000"),
        latency_us_p999: latency("99.900000").filter(|_| samples >= 1000.0),
        latency_us_max: of(&["clat_ns", "max"]).map(|ns| ns / 1e3),
        note: format!("imported from {version}, job {}; latency is of completion", text(&["jobname"])),
        ..Row::default()
    })
}
