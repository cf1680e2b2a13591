//! `view-change`, the parent's side: a group under load that one member leaves, joins again, and another one is killed in.
//!
//! ```text
//!   founded by all --load--> leave --settle--> join --settle--> kill -9 --settle--> reports
//! ```
//!
//! Every member notes, in the host's one monotonic clock, when it stopped in the old view, when it had delivered all of it up to the trim, and when it delivered the
//! first message of the new one. Detection is when the first member stopped.

mod node;

pub use node::{ViewJob, node};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use squall_transport::exchange::ClusterKey;

use super::latencies::{histogram, with_latencies};
use super::stage::Stage;
use crate::node::control::Reply;
use crate::node::job::{Job, Work};
use crate::node::{frame, machine};
use crate::results::{Row, Timeline};
use crate::run::axes::{FabricKind, Schedule};
use crate::run::company::Company;
use crate::run::fault::Fault;
use crate::run::plan::PlannedPoint;
use crate::run::policy::{self, Shape};
use crate::run::rendezvous::Rendezvous;
use crate::run::setting::{Setting, VIEW_STAGES, Variant};
use node::{Log, Order, Said};

/// What happens to the group, in this order; each leads to one view.
pub const FAULTS: [&str; 3] = ["leave", "join", "kill"];
/// Who leaves and joins again is the last; who is killed is this one.
const VICTIM: u32 = 1;
/// Whose deliveries are the bandwidth over time: it stays.
const WITNESS: u32 = 0;
/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Nodes that are needed at least: the rest must be a majority.
pub const NODES_MIN: u32 = 3;

/// The parent's side.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    for trial in stage.next_trial(&point.setting)..=point.trials {
        let outcome = run(point, stage)?;
        for (fault, name) in FAULTS.iter().enumerate() {
            for (which, (stage_name, what)) in VIEW_STAGES.iter().enumerate() {
                let times = outcome.times(fault, which)?;
                let part = format!("{name}-{stage_name}");
                let row = Row { trial, note: (*what).to_owned(), verified: "none".into(), ..point.setting.row(Some(&part)) };
                let row = with_latencies(row, &times);
                if stage.folder.rows().trials(&row.point()) < trial {
                    stage.emit(point, row)?;
                }
            }
        }
        let timeline = outcome.timeline();
        let written = stage.folder.write_timeline(&point.setting.row(None).point(), trial, &timeline);
        written.map_err(|error| Fault::Results(error.to_string()))?;
    }
    Ok(())
}

/// What came of one trial.
struct Outcome {
    loaded_ns: u64,
    ended_ns: u64,
    /// When each fault happened.
    faults_ns: [u64; FAULTS.len()],
    /// Of those that are left, by number.
    logs: Vec<(u32, Log)>,
}

impl Outcome {
    /// Nanoseconds of a stage after a fault, at each member.
    fn times(&self, fault: usize, stage: usize) -> Result<hdrhistogram::Histogram<u64>, Fault> {
        let view = fault as u64 + 1;
        let changes: Vec<_> = self.logs.iter().filter_map(|(_, log)| log.changes.iter().find(|change| change.view == view)).collect();
        let detected_ns = changes.iter().filter_map(|change| change.wedged_ns).min();
        let detected_ns = detected_ns.ok_or_else(|| Fault::Failed(format!("no member came into view {view} ({})", FAULTS[fault])))?;
        let mut all = histogram()?;
        for change in changes {
            let (at_ns, since_ns) = match stage {
                0 => (change.wedged_ns, self.faults_ns[fault]),
                1 => (change.trimmed_ns, detected_ns),
                _ => (change.delivered_ns, detected_ns),
            };
            if let Some(at_ns) = at_ns {
                // Saturating: clocks of two cores may be a few nanoseconds apart.
                let took_ns = at_ns.saturating_sub(since_ns).max(1);
                all.record(took_ns).map_err(|error| Fault::Failed(format!("a time of {took_ns} ns: {error}")))?;
            }
        }
        Ok(all)
    }

    /// What the witness delivered, over time.
    fn timeline(&self) -> Timeline {
        let bins = self.logs.iter().find(|(number, _)| *number == WITNESS).map(|(_, log)| log.bins.as_slice()).unwrap_or_default();
        let ms = |ns: u64| ns.saturating_sub(self.loaded_ns) as f64 / 1e6;
        let first = self.loaded_ns / node::BIN_NS + 1;
        let last = self.ended_ns / node::BIN_NS;
        let rates = (first..last).map(|bin| {
            let bytes = bins.iter().find(|(at, _)| *at == bin).map_or(0, |(_, bytes)| *bytes);
            (ms(bin * node::BIN_NS), bytes as f64 / node::BIN_NS as f64)
        });
        Timeline {
            rates: rates.collect(),
            events: FAULTS.iter().zip(self.faults_ns).map(|(name, ns)| (ms(ns), (*name).to_owned())).collect(),
        }
    }
}

fn run(point: &PlannedPoint, stage: &Stage<'_>) -> Result<Outcome, Fault> {
    let setting = &point.setting;
    let mut trial = Trial::start(setting, stage, stage.patience(point.trial_seconds))?;
    let settle = Duration::from_secs_f64(point.trial_seconds / (FAULTS.len() + 1) as f64);
    let last = setting.nodes - 1;
    let loaded_ns = machine::now_ns();
    (0..setting.nodes).try_for_each(|number| trial.tell(number, &Order::Load))?;
    trial.pass(settle)?;

    trial.tell(last, &Order::Leave)?;
    let Said::Left { asked_ns: left_ns } = trial.hear(last)? else { return Err(unexpected(last)) };
    trial.pass(settle)?;

    let contacts = trial.addresses[..last as usize].to_vec();
    trial.tell(last, &Order::Join { contacts })?;
    let Said::In { asked_ns: joined_ns, .. } = trial.hear(last)? else { return Err(unexpected(last)) };
    trial.pass(settle)?;

    let killed_ns = machine::now_ns();
    trial.company.kill(VICTIM);
    trial.pass(settle)?;
    let ended_ns = machine::now_ns();

    let mut logs = Vec::new();
    for number in (0..setting.nodes).filter(|number| *number != VICTIM) {
        trial.tell(number, &Order::Report)?;
        let Said::Report(log) = trial.hear(number)? else { return Err(unexpected(number)) };
        logs.push((number, log));
    }
    Ok(Outcome { loaded_ns, ended_ns, faults_ns: [left_ns, joined_ns, killed_ns], logs })
}

fn unexpected(number: u32) -> Fault {
    Fault::Failed(format!("node {number} said something else than it was asked"))
}

/// The processes of one trial.
struct Trial<'a> {
    stage: &'a Stage<'a>,
    company: Company,
    patience: Duration,
    addresses: Vec<SocketAddr>,
}

impl<'a> Trial<'a> {
    /// Starts the nodes and has them found the group.
    fn start(setting: &Setting, stage: &'a Stage<'_>, patience: Duration) -> Result<Trial<'a>, Fault> {
        let work = ViewJob {
            fabric: setting.fabric.unwrap_or(FabricKind::Shm),
            message_bytes: setting.message_bytes,
            shape: setting.shape.unwrap_or_else(|| Shape::of(setting.message_bytes, setting.window)),
            block_bytes: setting.block_bytes,
            schedule: setting.schedule.unwrap_or(Schedule::Pipeline),
            interval_ns: (setting.variant == Variant::Light).then_some(policy::VIEW_LIGHT_INTERVAL_NS),
            key: ClusterKey::random().to_hex(),
        };
        let rendezvous = Rendezvous::open(setting.nodes as usize, IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(Fault::Failed)?;
        let mut trial = Trial { stage, company: Company::default(), patience, addresses: Vec::new() };
        for rank in 0..setting.nodes {
            let job = Job {
                rank,
                nodes: setting.nodes,
                core: None,
                meeting: Some(rendezvous.meeting()),
                address: None,
                rdma: stage.request.axes.rdma.clone(),
                work: Work::ViewChange(work.clone()),
            };
            trial.company.start(rank, &job).map_err(Fault::Failed)?;
        }
        let mut addresses = vec![None; setting.nodes as usize];
        while addresses.iter().any(Option::is_none) {
            let (number, said) = trial.next()?;
            let Said::In { address, .. } = said else { return Err(unexpected(number)) };
            addresses[number as usize] = Some(address);
        }
        trial.addresses = addresses.into_iter().flatten().collect();
        Ok(trial)
    }

    fn tell(&mut self, number: u32, order: &Order) -> Result<(), Fault> {
        self.company.tell(number, order).map_err(Fault::Failed)
    }

    /// What node `number` says; nobody else has anything to say.
    fn hear(&mut self, number: u32) -> Result<Said, Fault> {
        let (who, said) = self.next()?;
        if who == number { Ok(said) } else { Err(unexpected(who)) }
    }

    /// The next word of any node.
    fn next<T: DeserializeOwned>(&mut self) -> Result<(u32, T), Fault> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.news(deadline)? {
                Some((number, Reply::Done(bytes))) => {
                    let said = frame::decode(&bytes).map_err(|error| Fault::Failed(format!("node {number}: {error}")))?;
                    return Ok((number, said));
                }
                Some(_) => {}
                None => return Err(Fault::Failed(format!("a node said nothing for {:?}", self.patience))),
            }
        }
    }

    /// Lets time pass, in which all should go well.
    fn pass(&mut self, time: Duration) -> Result<(), Fault> {
        let until = Instant::now() + time;
        while let Some((number, reply)) = self.news(until)? {
            if let Reply::Done(_) = reply {
                return Err(unexpected(number));
            }
        }
        Ok(())
    }

    /// What is heard until `deadline`, if anything; the end of a node that was not killed is a fault.
    fn news(&mut self, deadline: Instant) -> Result<Option<(u32, Reply)>, Fault> {
        loop {
            if self.stage.interrupt.is_set() {
                return Err(Fault::Interrupted);
            }
            match self.company.news(deadline.min(Instant::now() + LOOK_EVERY)) {
                Some((number, Some(Reply::Failed(what)))) => return Err(Fault::Failed(format!("node {number}: {what}"))),
                Some((number, Some(reply))) => return Ok(Some((number, reply))),
                // Who was killed was buried by that.
                Some((number, None)) => {
                    if let Some((status, last_words)) = self.company.bury(number) {
                        return Err(Fault::Failed(format!("node {number} ended with {status}: {last_words}")));
                    }
                }
                None if Instant::now() >= deadline => return Ok(None),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::Change;

    fn log(wedged_ns: u64, delivered_ns: Option<u64>) -> Log {
        let change = Change { view: 3, wedged_ns: Some(wedged_ns), trimmed_ns: Some(wedged_ns + 100), delivered_ns };
        Log { changes: vec![change], bins: vec![(3, 2 * node::BIN_NS)] }
    }

    #[test]
    fn stages_count_from_the_first_member_that_noticed() {
        let logs = vec![(0, log(1_000, Some(5_000))), (2, log(3_000, None))];
        let outcome = Outcome { loaded_ns: 0, ended_ns: 6 * node::BIN_NS, faults_ns: [0, 0, 500], logs };
        let times = |stage| outcome.times(2, stage).unwrap();
        assert_eq!((times(0).min(), times(0).max()), (500, 2_500));
        assert_eq!((times(1).min(), times(1).len()), (100, 2));
        assert_eq!((times(2).max(), times(2).len()), (4_000, 1));
        assert!(outcome.times(0, 0).is_err(), "nobody saw view 1");
    }

    #[test]
    fn the_timeline_has_a_place_for_every_bin_and_every_fault() {
        let outcome = Outcome {
            loaded_ns: 0,
            ended_ns: 6 * node::BIN_NS,
            faults_ns: [1_000_000, 2_000_000, 3_000_000],
            logs: vec![(0, log(1, None))],
        };
        let timeline = outcome.timeline();
        assert_eq!(timeline.rates.len(), 5);
        assert_eq!(timeline.rates[2].1, 2.0, "twice as many bytes as nanoseconds");
        assert_eq!(timeline.events[2], (3.0, "kill".to_owned()));
    }
}
