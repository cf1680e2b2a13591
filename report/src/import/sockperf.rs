//! sockperf: ping-pong, under-load and throughput over sockets, versions 2 and 3.

use super::lines::{Flaw, number, numbered};
use crate::row::Row;

const MEND: &str = "Give the whole output of the client, from `sockperf: == version` on";
/// What sockperf sends unless told otherwise (`--msg-size`): its output names the size only of throughput.
const USUAL_BYTES: u64 = 14;
const MEBIBYTE: f64 = 1_048_576.0;

/// What the file has said so far.
#[derive(Default)]
struct State {
    version: String,
    bytes: Option<u64>,
    protocol: &'static str,
    row: Row,
    observations: f64,
    is_under_load: bool,
}

pub(super) fn rows(text: &str) -> Result<Vec<Row>, Flaw> {
    let mut state: Option<State> = None;
    let mut rows = Vec::new();
    for (at, line) in numbered(text) {
        let trimmed = line.trim();
        if let Some((_, version)) = trimmed.split_once("== version #") {
            rows.extend(state.take().and_then(State::finished));
            state = Some(State { version: version.trim_end_matches([' ', '=']).to_owned(), protocol: "udp", ..State::default() });
        } else if let Some(state) = &mut state {
            state.hear(at, trimmed)?;
        }
    }
    rows.extend(state.and_then(State::finished));
    if rows.is_empty() {
        let line = text.lines().count().max(1);
        return Err(Flaw::new(line, "no summary of a run", "`Summary: Latency is ...` or `Summary: Message Rate is ...`", MEND));
    }
    Ok(rows)
}

impl State {
    fn hear(&mut self, at: usize, line: &str) -> Result<(), Flaw> {
        let said = line.trim_start_matches("sockperf:").trim();
        let value = |text: &str, name: &str| number(at, text.split([' ', ';', '(']).next().unwrap_or_default(), name);
        if let Some(rest) = said.strip_prefix("Summary: Message Rate is ") {
            self.row.messages_per_second = Some(value(rest, "the message rate")?);
            self.row.schedule = "throughput".into();
        } else if let Some(rest) = said.strip_prefix("Summary: BandWidth is ") {
            self.row.algbw_gigabytes_per_second = Some(value(rest, "the bandwidth")? * MEBIBYTE / 1e9);
        } else if let Some(rest) = said.strip_prefix("[Valid Duration] RunTime=") {
            self.row.seconds = Some(value(rest, "RunTime")?);
            let sent = |name: &str| rest.split_once(name).map(|(_, count)| value(count, name)).transpose();
            let (sent, received) = (sent("SentMessages=")?, sent("ReceivedMessages=")?);
            self.row.messages_per_sender = sent.map(|count| count as u64);
            // Not every message is answered under load.
            self.is_under_load = sent != received;
        } else if let Some(rest) = said.strip_prefix("Total ").filter(|rest| rest.contains("observations")) {
            self.observations = value(rest, "observations")?;
        } else if let Some((name, latency)) = said.strip_prefix("---> ").and_then(|rest| rest.split_once('=')) {
            let latency = Some(number(at, latency, name.trim())?);
            match name.trim() {
                "<MIN> observation" => self.row.latency_us_min = latency,
                "percentile 50.000" | "percentile 50.00" => self.row.latency_us_p50 = latency,
                "percentile 90.000" | "percentile 90.00" => self.row.latency_us_p90 = latency,
                "percentile 99.000" | "percentile 99.00" => self.row.latency_us_p99 = latency,
                "percentile 99.900" | "percentile 99.90" => self.row.latency_us_p999 = latency,
                "<MAX> observation" => self.row.latency_us_max = latency,
                _ => {}
            }
        } else if let Some((_, rest)) = said.split_once("msg-size=") {
            self.bytes = rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).or(self.bytes);
        } else if said.ends_with("# TCP") {
            self.protocol = "tcp";
        } else if said.ends_with("tests were stopped") || said.contains("No messages were received") {
            return Err(Flaw::new(at, said, "a run that ended well", "Measure again with a server that answers"));
        }
        Ok(())
    }

    /// The row of a run that had a summary.
    fn finished(self) -> Option<Row> {
        let State { version, bytes, protocol, row, observations, is_under_load } = self;
        let what = match row.schedule.as_str() {
            "" if is_under_load => "under-load",
            "" => "ping-pong",
            throughput => throughput,
        }
        .to_owned();
        if row.latency_us_p50.is_none() && row.messages_per_second.is_none() {
            return None;
        }
        let counted = if observations > 0.0 { format!("; {observations} samples") } else { String::new() };
        let guessed = if bytes.is_none() { "; it does not print the size of its messages: that of its default stands in" } else { "" };
        let carries = |share: f64| observations == 0.0 || observations * share >= 1.0;
        Some(Row {
            experiment: if what == "throughput" { "stream" } else { "latency" }.into(),
            fabric: format!("sockperf-{protocol}"),
            nodes: 2,
            senders: 1,
            sender_pattern: "one".into(),
            message_bytes: bytes.unwrap_or(USUAL_BYTES),
            schedule: what,
            latency_us_p99: row.latency_us_p99.filter(|_| carries(0.01)),
            latency_us_p999: row.latency_us_p999.filter(|_| carries(0.001)),
            note: format!("imported from sockperf {version}; half of a round trip{counted}{guessed}"),
            ..row
        })
    }
}
