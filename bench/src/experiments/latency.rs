//! `latency`, the parent's side: from the (intended) send to delivery at the sender, and at the last node.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::group::{Members, Outcome};
use super::latencies::{histogram, with_latencies};
use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::setting::{AT_LAST, AT_READER, AT_SENDER, Setting, Variant};
use crate::jobs::group::{Load, Seen};
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use squall_report::{HistogramLog, Row, units};

/// The parent's side.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let setting = &point.setting;
    let mut members = Members::start(point, stage)?;
    stage.progress.notices(&members.notices());
    let (load, messages) = calibrate(&mut members, point, stage.request.axes.messages)?;
    let mut unmeasured = None;
    for trial in stage.next_trial(setting)..=point.trials {
        stage.begin_trial();
        let before = stage.probe();
        let began = SystemTime::now();
        let outcome = members.run(messages, load, true)?;
        let mut note = members.noted(stage.probed(before));
        if let Load::Paced(interval_ns) = load {
            note.push_str(&format!("; {} messages/s a sender", units::number(1e9 / interval_ns as f64)));
        }
        if let Some(asked) = stage.request.axes.messages.filter(|&asked| asked > messages) {
            note.push_str(&format!("; {messages} messages a sender, not {asked}: latencies are kept one by one"));
        }
        let took = Duration::from_secs_f64(outcome.seconds);
        let other = match setting.variant {
            Variant::Reading => (AT_READER, of_reads(&outcome)?),
            _ => (AT_LAST, at_last(&outcome, setting)?),
        };
        for (part, latency_ns) in [(AT_SENDER, at_sender(&outcome, setting)?), other] {
            let row = Row { trial, note: note.clone(), ..outcome.row(stage, setting, Some(part)) };
            let row = with_latencies(row, &latency_ns);
            if stage.folder.rows().trials(&row.point()) >= trial {
                continue;
            }
            if let (AT_LAST, Some(why)) = (part, clocks_too_far_apart(members.clock_uncertainty_ns(), &latency_ns)) {
                unmeasured.get_or_insert(why);
                continue;
            }
            stage.emit_with_histogram(point, row, &HistogramLog { latency_ns: &latency_ns, began, took })?;
        }
    }
    members.finish();
    if let Some(note) = unmeasured {
        stage.progress.say(&format!("  note: {note}"));
        stage.emit(point, Row { note, ..setting.row(Some(AT_LAST)) })?;
    }
    Ok(())
}

/// Why latencies from one host to another say nothing: half the difference of the clocks may be theirs.
fn clocks_too_far_apart(uncertainty_ns: u64, latency_ns: &Histogram<u64>) -> Option<String> {
    /// Share of the median that may be the clocks' mistake.
    const SHARE: f64 = 0.1;
    let median_ns = latency_ns.value_at_quantile(0.5);
    (uncertainty_ns as f64 > SHARE * median_ns as f64).then(|| {
        let (uncertainty, median) = (units::number(uncertainty_ns as f64 / 1e3), units::number(median_ns as f64 / 1e3));
        format!(
            "no latency to the last node: the clocks of the hosts agree only within {uncertainty} us, and it would be about {median} us"
        )
    })
}

/// When messages are sent, and how many of each sender fit into a trial.
fn calibrate(members: &mut Members<'_>, point: &PlannedPoint, asked: Option<u64>) -> Result<(Load, u64), Fault> {
    let setting = &point.setting;
    let most = policy::latencies_max(setting.senders);
    let load = match setting.variant {
        Variant::Saturated => Load::Full,
        _ => Load::Closed,
    };
    let messages = members.warm_up(load, point.trial_seconds, asked.map(|asked| asked.min(most)))?.min(most);
    if setting.variant != Variant::Light {
        return Ok((load, messages));
    }
    // In the closed loop every sender has one message under way, so this is how long one takes.
    let one_ns = point.trial_seconds * 1e9 / messages as f64;
    let interval_ns = (one_ns * policy::LIGHT_LOAD_GAP as f64).max(1.0) as u64;
    let fitting = policy::messages_for(messages, point.trial_seconds * policy::LIGHT_LOAD_GAP as f64, point.trial_seconds);
    Ok((Load::Paced(interval_ns), asked.unwrap_or(fitting).min(most)))
}

/// When a message was delivered at its sender.
pub(super) fn delivered_at_sender(outcome: &Outcome, sender: usize, index: usize) -> Option<u64> {
    outcome.nodes[sender].deliveries_ns.get(sender)?.get(index).copied()
}

/// From the send of each message to its delivery at its sender.
fn at_sender(outcome: &Outcome, setting: &Setting) -> Result<Histogram<u64>, Fault> {
    over_messages(outcome, setting, |node| &node.sends_ns, |sender, index| delivered_at_sender(outcome, sender, index))
}

/// Of each read, by the clock of who reads.
fn of_reads(outcome: &Outcome) -> Result<Histogram<u64>, Fault> {
    let mut latencies = histogram()?;
    for &latency_ns in outcome.nodes.iter().flat_map(|node| &node.reads_ns) {
        latencies.record(latency_ns.max(1)).map_err(|error| Fault::Failed(format!("a read of {latency_ns} ns: {error}")))?;
    }
    Ok(latencies)
}

/// From the send of each message to its last delivery: the nodes share a clock.
fn at_last(outcome: &Outcome, setting: &Setting) -> Result<Histogram<u64>, Fault> {
    over_messages(
        outcome,
        setting,
        |node| &node.sends_ns,
        |sender, index| {
            let deliveries = outcome.nodes.iter().map(|node| node.deliveries_ns.get(sender)?.get(index).copied());
            deliveries.collect::<Option<Vec<u64>>>()?.into_iter().max()
        },
    )
}

/// From what `sent_ns` gives for each message to what `delivered_ns` gives for it.
pub(super) fn over_messages(
    outcome: &Outcome,
    setting: &Setting,
    sent_ns: impl Fn(&Seen) -> &Vec<u64>,
    delivered_ns: impl Fn(usize, usize) -> Option<u64>,
) -> Result<Histogram<u64>, Fault> {
    let mut latencies = histogram()?;
    for sender in 0..setting.senders as usize {
        for (index, sent_ns) in sent_ns(&outcome.nodes[sender]).iter().enumerate() {
            let missing = || Fault::Failed(format!("a node kept no delivery time of message {index} of node {sender}"));
            let delivered_ns = delivered_ns(sender, index).ok_or_else(missing)?;
            // Saturating: a clock read on another core may be a few nanoseconds behind.
            let latency_ns = delivered_ns.saturating_sub(*sent_ns).max(1);
            latencies.record(latency_ns).map_err(|error| Fault::Failed(format!("a latency of {latency_ns} ns: {error}")))?;
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::axes::Senders;
    use crate::ask::experiment::Experiment;
    use crate::jobs::kinds::{FabricKind, Ordering};

    fn seen(sends_ns: Vec<u64>, deliveries_ns: Vec<Vec<u64>>) -> Seen {
        Seen { sends_ns, deliveries_ns, ..Seen::default() }
    }

    #[test]
    fn the_last_node_counts_and_the_sender_has_its_own() {
        let nodes = vec![seen(vec![1000, 90_000], vec![vec![1100, 90_100], vec![]]), seen(vec![], vec![vec![61_000, 90_050], vec![]])];
        let outcome = Outcome { messages: 2, seconds: 1.0, nodes };
        let setting = Setting {
            experiment: Experiment::Latency,
            fabric: Some(FabricKind::Shm),
            ordering: Some(Ordering::ORDERED),
            nodes: 2,
            pattern: Some(Senders::One),
            senders: 1,
            message_bytes: 1,
            window: None,
            shape: None,
            block_bytes: None,
            schedule: None,
            variant: Variant::Closed,
        };
        let sender = at_sender(&outcome, &setting).unwrap();
        assert_eq!((sender.min(), sender.max(), sender.len()), (100, 100, 2));
        let last = at_last(&outcome, &setting).unwrap();
        assert_eq!(last.min(), 100);
        assert!((59_900..=60_100).contains(&last.max()), "{}", last.max());
    }
}
