//! What came out of a model, as rows.

use squall_group::Stats;
use squall_rdmc::schedule::ScheduleKind;
use squall_report::bounds::{Carriage, Load as BoundLoad};
use squall_report::{Row, SIMULATED, units};
use squall_study::{Outcome, Run, Spread};

use crate::ask::setting::{AT_SENDER, FROM_CALL, FROM_DUE, Variant, by_rule};

/// The note of each row.
const NOTE: &str = "a model of a cluster, in virtual time: payloads are not moved, deliveries are compared across nodes";

/// The rows of one trial are told apart by these.
pub(super) fn parts(variant: Variant) -> &'static [Option<&'static str>] {
    match variant {
        Variant::Closed | Variant::Light | Variant::Saturated | Variant::ClosedDelayed(_) => &[Some(AT_SENDER)],
        Variant::Offered { .. } => &[Some(FROM_DUE), Some(FROM_CALL)],
        _ => &[None],
    }
}

/// What a message cost, beside what it costs by the rule of its order.
pub(super) fn beside_the_rule(run: &Run, outcome: &Outcome) -> String {
    let messages = outcome.messages as f64 * run.sending() as f64;
    let writes = outcome.counted.iter().map(|node| node.writes).sum::<u64>() as f64 / messages;
    let bytes = outcome.counted.iter().map(|node| node.sent_bytes).sum::<u64>() as f64 / messages;
    let busiest = outcome.counted.iter().map(|node| node.sent_bytes.max(node.received_bytes)).max().unwrap_or(0) as f64;
    let of_line = run.profile.payload_bytes_per_s() / run.message_bytes as f64;
    format!(
        "{} writes and {} bytes a message, {} times its bytes at the busiest port, {} of the line; by rule: {}",
        units::number(writes),
        units::number(bytes),
        units::number(busiest / messages / run.message_bytes as f64),
        units::percent(messages / outcome.seconds / of_line),
        by_rule(&run.mode.cost(run.nodes, run.sending()))
    )
}

/// A row that names the point.
pub(in crate::experiments) fn named(experiment: &str, run: &Run, pattern: &str, variant: Variant, part: Option<&str>) -> Row {
    let how = if run.is_relayed() { run.schedule().name() } else { "direct" }.to_owned();
    Row {
        experiment: experiment.to_owned(),
        fabric: run.profile.name.clone(),
        ordering: run.mode.to_string(),
        nodes: run.nodes as u32,
        senders: run.sending() as u32,
        sender_pattern: pattern.to_owned(),
        message_bytes: run.message_bytes,
        window: Some(run.window()),
        block_bytes: run.is_relayed().then(|| run.block_bytes().into()),
        schedule: [Some(how), variant.name(), part.map(str::to_owned)].into_iter().flatten().collect::<Vec<_>>().join("-"),
        emulated: SIMULATED.into(),
        ..Row::default()
    }
}

/// The row of one run, or of one part of it.
pub(in crate::experiments) fn row(
    experiment: &str,
    run: &Run,
    pattern: &str,
    (variant, part): (Variant, Option<&str>),
    outcome: &Outcome,
) -> Row {
    let relayed = if run.is_relayed() { run.schedule() != ScheduleKind::Sequential } else { run.mode.is_relayed() };
    let carriage = if relayed { Carriage::Relayed } else { Carriage::Direct };
    let load = BoundLoad { nodes: run.nodes as u32, senders: run.sending() as u32, carriage };
    let algbw = outcome.bytes_per_s / 1e9;
    let (busbw, bound) = (load.busbw(algbw), run.profile.payload_bytes_per_s() / 1e9);
    let sum = |of: fn(&Stats) -> u64| outcome.stats.iter().map(of).sum::<u64>();
    let mean = |total: u64, batches: u64| (batches > 0).then(|| total as f64 / batches as f64);
    let latency: &Spread = if part == Some(FROM_CALL) { &outcome.from_call } else { &outcome.latency };
    let us = |at| (latency.count() > 0 && part.is_some()).then(|| latency.us(at));
    let streams = !matches!(variant, Variant::Closed | Variant::ClosedDelayed(_) | Variant::Light | Variant::Offered { .. });
    Row {
        messages_per_sender: Some(outcome.messages),
        seconds: Some(outcome.seconds),
        algbw_gigabytes_per_second: streams.then_some(algbw),
        busbw_gigabytes_per_second: streams.then_some(busbw),
        bound_gigabytes_per_second: streams.then_some(bound),
        bound_kind: if streams { "modelled links".into() } else { String::new() },
        bound_fraction: streams.then_some(busbw / bound),
        messages_per_second: Some(outcome.messages as f64 * run.sending() as f64 / outcome.seconds),
        latency_us_min: us(0.0),
        latency_us_p50: us(0.5),
        latency_us_p90: us(0.9),
        latency_us_p99: us(0.99),
        latency_us_p999: us(0.999),
        latency_us_max: us(1.0),
        cpu_seconds: Some(outcome.core_busy.iter().sum::<f64>() * outcome.seconds),
        nulls: Some(sum(|stats| stats.nulls_sent)),
        send_batch_mean: mean(sum(|stats| stats.messages_sent + stats.nulls_sent), sum(|stats| stats.send_batches)),
        receive_batch_mean: mean(sum(|stats| stats.received), sum(|stats| stats.receive_batches)),
        delivery_batch_mean: mean(sum(|stats| stats.delivered), sum(|stats| stats.delivery_batches)),
        verified: "none".into(),
        note: NOTE.into(),
        ..named(experiment, run, pattern, variant, part)
    }
}
