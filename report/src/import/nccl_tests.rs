//! nccl-tests (and rccl-tests): collectives between GPUs, versions of 2019 and later.
//!
//! A line has the size, then columns of the operation, then time, algbw, busbw and errors out of place, and the same in
//! place. The columns of the operation differ, so that a line is read from its end: the header says how many end it.

use super::lines::{Flaw, number, numbered, whole};
use crate::row::Row;

const FABRIC: &str = "nccl";
const MEND: &str = "Give the whole output, from `# nThread` on";

pub(super) fn rows(text: &str) -> Result<Vec<Row>, Flaw> {
    let mut operation = "collective".to_owned();
    let mut ranks = 0;
    let mut columns: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for (at, line) in numbered(text) {
        let trimmed = line.trim();
        if let Some(comment) = trimmed.strip_prefix('#') {
            let comment = comment.trim();
            if let Some(name) = comment.strip_prefix("Collective test starting:") {
                operation = name.trim().trim_end_matches("_perf").replace('_', "-");
            } else if comment.starts_with("Rank ") {
                ranks += 1;
            } else if comment.starts_with("size ") && comment.contains("busbw") {
                columns = comment.split_whitespace().map(str::to_owned).collect();
            }
        } else if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
            if columns.is_empty() {
                return Err(Flaw::new(at, "a line of results without a header", "a header with size, time, algbw, busbw", MEND));
            }
            if ranks == 0 {
                return Err(Flaw::new(at, "no line `# Rank ...`", "one for each GPU that took part", MEND));
            }
            rows.extend(both_places(at, trimmed, &columns, ranks, &operation)?);
        }
    }
    if rows.is_empty() {
        return Err(Flaw::new(text.lines().count().max(1), "no line of results", "the output of nccl-tests", MEND));
    }
    Ok(rows)
}

/// The two measurements of a line.
fn both_places(at: usize, line: &str, columns: &[String], ranks: u32, operation: &str) -> Result<Vec<Row>, Flaw> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let places: Vec<usize> = columns.iter().enumerate().filter(|(_, name)| *name == "time").map(|(at, _)| at).collect();
    if fields.len() != columns.len() {
        let expected = format!("{} as in the header", columns.len());
        return Err(Flaw::new(at, format!("{} values", fields.len()), expected, "The line was cut or mixed with another: remove it"));
    }
    let bytes = whole(at, fields[0], "size")?;
    let one = |(index, &place): (usize, &usize)| {
        let value = |offset: usize, name: &str| number(at, fields.get(place + offset).copied().unwrap_or_default(), name);
        let wrong = fields.get(place + 3).copied().unwrap_or("N/A");
        let checked = match wrong.parse::<f64>() {
            Ok(wrong) if wrong > 0.0 && columns.get(place + 3).is_some_and(|name| name == "#wrong") => format!("; {wrong} WRONG ELEMENTS"),
            Ok(_) => "; checked by the tool".to_owned(),
            Err(_) => String::new(),
        };
        let time_us = value(0, "time")?;
        Ok(Row {
            experiment: "collective".into(),
            fabric: FABRIC.into(),
            nodes: ranks,
            senders: ranks,
            sender_pattern: "all".into(),
            message_bytes: bytes,
            schedule: format!("{operation}-{}", if index == 0 { "out-of-place" } else { "in-place" }),
            seconds: Some(time_us / 1e6),
            algbw_gigabytes_per_second: Some(value(1, "algbw")?),
            busbw_gigabytes_per_second: Some(value(2, "busbw")?),
            note: format!("imported from nccl-tests, {ranks} GPUs; seconds are of one operation{checked}"),
            ..Row::default()
        })
    };
    places.iter().enumerate().map(one).collect()
}
