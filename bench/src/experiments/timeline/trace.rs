//! A message as files: a trace that Perfetto and `chrome://tracing` open (Chrome's trace event format, JSON), and every
//! event as CSV.
//!
//! A process of the trace is a node. What comes in, what goes out and waits for software have tracks of their own;
//! blocks that are on their way at the same time lie on several.

use std::fmt::Write;

use serde_json::{Value, json};

use super::split::{Flight, Span, Split};
use crate::jobs::traced::{Event, What};

/// The tracks of a node begin at these numbers.
const IN: usize = 0;
const OUT: usize = 1000;
const SOFTWARE: usize = 2000;

/// The trace; times count from `origin_ns`.
pub(super) fn perfetto(splits: &[Split], flights: &[Flight], origin_ns: u64) -> String {
    let mut events = Vec::new();
    for (node, split) in splits.iter().enumerate() {
        events.push(json!({ "ph": "M", "name": "process_name", "pid": node, "args": { "name": format!("node {node}") } }));
        events.push(json!({ "ph": "M", "name": "process_sort_index", "pid": node, "args": { "sort_index": node } }));
        let incoming = flights.iter().filter(|flight| flight.to == node);
        lay(
            &mut events,
            node,
            IN,
            "in",
            incoming.map(|flight| (format!("block {} from {}", flight.block, flight.from), flight.span)),
            origin_ns,
        );
        let outgoing = flights.iter().filter(|flight| flight.from == node);
        lay(
            &mut events,
            node,
            OUT,
            "out",
            outgoing.map(|flight| (format!("block {} to {}", flight.block, flight.to), flight.span)),
            origin_ns,
        );
        let waits = split.software.iter().map(|&span| ("waits for software".to_owned(), span));
        lay(&mut events, node, SOFTWARE, "software", waits, origin_ns);
    }
    json!({ "displayTimeUnit": "ns", "traceEvents": events }).to_string()
}

/// Lays slices on tracks from `first` on, each on the first that is free: slices of one track must not overlap.
fn lay(events: &mut Vec<Value>, node: usize, first: usize, category: &str, slices: impl Iterator<Item = (String, Span)>, origin_ns: u64) {
    let us = |ns: u64| ns.saturating_sub(origin_ns) as f64 / 1e3;
    let mut free_from: Vec<u64> = Vec::new();
    for (name, span) in slices {
        let track = free_from.iter().position(|&free_ns| free_ns <= span.from_ns).unwrap_or(free_from.len());
        if track == free_from.len() {
            free_from.push(0);
            let args = json!({ "name": if track == 0 { category.to_owned() } else { format!("{category} {}", track + 1) } });
            events.push(json!({ "ph": "M", "name": "thread_name", "pid": node, "tid": first + track, "args": args }));
        }
        free_from[track] = span.to_ns;
        let dur = (span.to_ns - span.from_ns) as f64 / 1e3;
        events.push(
            json!({ "ph": "X", "cat": category, "name": name, "pid": node, "tid": first + track, "ts": us(span.from_ns), "dur": dur }),
        );
    }
}

/// Every event: node, what happened, block, the other node, microseconds since `origin_ns`.
pub(super) fn csv(nodes: &[Vec<Event>], origin_ns: u64) -> String {
    let mut text = String::from("node,what,block,peer,us\n");
    for (node, events) in nodes.iter().enumerate() {
        for &Event { what, block, peer, at_ns } in events {
            let what = match what {
                What::Begun => "begun",
                What::Ready => "ready",
                What::Landed => "landed",
                What::Posted if node == 0 => "posted",
                What::Posted => "relayed",
            };
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{node},{what},{block},{peer},{:.3}", at_ns.saturating_sub(origin_ns) as f64 / 1e3);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(from_ns: u64, to_ns: u64) -> Span {
        Span { from_ns, to_ns }
    }

    #[test]
    fn slices_of_a_track_do_not_overlap_and_none_is_lost() {
        let flight = |block, from_ns, to_ns| Flight { from: 0, to: 1, block, span: span(from_ns, to_ns) };
        let flights = [flight(0, 1000, 3000), flight(1, 2000, 4000), flight(2, 3000, 5000)];
        let splits = [Split { software: vec![span(1500, 1600)], ..Split::default() }, Split::default()];
        let trace: Value = serde_json::from_str(&perfetto(&splits, &flights, 1000)).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let slices: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
        assert_eq!(slices.len(), 2 * flights.len() + 1);
        for one in &slices {
            let (from, to) = (one["ts"].as_f64().unwrap(), one["ts"].as_f64().unwrap() + one["dur"].as_f64().unwrap());
            let same =
                slices.iter().filter(|other| (&other["pid"], &other["tid"]) == (&one["pid"], &one["tid"]) && other["name"] != one["name"]);
            for other in same {
                let (other_from, other_to) =
                    (other["ts"].as_f64().unwrap(), other["ts"].as_f64().unwrap() + other["dur"].as_f64().unwrap());
                assert!(other_to <= from || to <= other_from, "{one} {other}");
            }
        }
        assert_eq!(slices[0]["ts"], 0.0);
        let names = events.iter().filter(|event| event["name"] == "process_name").count();
        assert_eq!(names, 2);
    }

    #[test]
    fn the_table_says_what_was_relayed() {
        let posted = Event { what: What::Posted, block: 3, peer: 2, at_ns: 5500 };
        let text = csv(&[vec![posted], vec![posted]], 5000);
        assert_eq!(text, "node,what,block,peer,us\n0,posted,3,2,0.500\n1,relayed,3,2,0.500\n");
    }
}
