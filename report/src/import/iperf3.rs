//! iperf3 with `--json`, versions 3.0 and later: a stream over TCP or UDP.

use serde_json::Value;

use super::lines::{Flaw, at, json, number_at};
use crate::row::Row;

const MEND: &str = "Write it with `iperf3 -c HOST --json > FILE`";

pub(super) fn rows(text: &str) -> Result<Vec<Row>, Flaw> {
    let found = json(text, "iperf3", "-c HOST --json")?;
    if let Some(error) = at(&found, &["error"]).and_then(Value::as_str) {
        return Err(Flaw::new(1, format!("iperf3 failed: {error}"), "a run that ended well", MEND));
    }
    let test = at(&found, &["start", "test_start"]);
    let (Some(test), Some(end)) = (test, at(&found, &["end"])) else {
        return Err(Flaw::new(1, "JSON without start.test_start and end", "what iperf3 prints with --json", MEND));
    };
    // What arrived counts; a UDP run of old versions has only `sum`.
    let sum = ["sum_received", "sum_sent", "sum"]
        .iter()
        .find_map(|name| end.get(name).filter(|sum| number_at(sum, &["bits_per_second"]).is_some()));
    let Some(sum) = sum else {
        return Err(Flaw::new(1, "no sum_received, sum_sent or sum with bits_per_second in `end`", "a run that ended well", MEND));
    };
    let text_at = |path: &[&str]| at(&found, path).and_then(Value::as_str).unwrap_or_default();
    let bytes = number_at(test, &["blksize"]).unwrap_or(0.0);
    let streams = number_at(test, &["num_streams"]).unwrap_or(1.0) as u32;
    let reverse = number_at(test, &["reverse"]).is_some_and(|reverse| reverse > 0.0);
    let per_second = number_at(sum, &["bits_per_second"]).unwrap_or(0.0) / 8.0;
    let protocol = text_at(&["start", "test_start", "protocol"]).to_lowercase();
    let resent = number_at(end, &["sum_sent", "retransmits"]).map(|count| format!("; {count} segments sent again")).unwrap_or_default();
    let lost = number_at(sum, &["lost_percent"]).map(|percent| format!("; {percent:.2} % lost")).unwrap_or_default();
    Ok(vec![Row {
        experiment: "stream".into(),
        fabric: "iperf3".into(),
        nodes: 2,
        senders: 1,
        message_bytes: bytes as u64,
        schedule: format!(
            "{protocol}-{streams}-{}{}",
            if streams == 1 { "stream" } else { "streams" },
            if reverse { "-reverse" } else { "" }
        ),
        seconds: number_at(sum, &["seconds"]),
        algbw_gigabytes_per_second: Some(per_second / 1e9),
        busbw_gigabytes_per_second: Some(per_second / 1e9),
        messages_per_second: (bytes > 0.0).then(|| per_second / bytes),
        note: format!("imported from {}{resent}{lost}", text_at(&["start", "version"])),
        ..Row::default()
    }])
}
