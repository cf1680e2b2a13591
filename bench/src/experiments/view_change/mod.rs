//! `view-change`: how long a group is held up when a member is killed, leaves or joins.
//!
//! ```text
//!          load                    the fault                                               load goes on
//!   --------------------------------- | ------ wedged -- trimmed -- installed -- active --------------->
//!                                    t0        ^ at the first member: times of the later steps count from here
//! ```
//!
//! Every trial is a group of its own, on this host, whose processes share a clock.

pub mod node;

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use squall_transport::exchange::ClusterKey;

use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::setting::Variant;
use crate::ask::upset::{ACTIVE, INSTALLED, NEWCOMER, TRIMMED, Upset, WEDGED};
use crate::jobs::change::{BIN_NS, Change, ChangeJob, ChangeOrder, Said, Seen};
use crate::jobs::control::Reply;
use crate::jobs::job::{Job, Work};
use crate::jobs::kinds::FabricKind;
use crate::jobs::shape::Shape;
use crate::jobs::{frame, os};
use crate::run::fault::Fault;
use crate::run::interrupt::Interrupt;
use crate::run::processes::Processes;
use crate::run::rendezvous::Rendezvous;
use crate::run::stage::Stage;
use squall_report::Row;

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// From the order to send to the first send.
const HEAD_START_NS: u64 = 5_000_000;
/// Share of a trial before the fault.
const BEFORE: f64 = 0.4;

/// Measures one point.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let setting = &point.setting;
    let Variant::Change { upset, full } = setting.variant else { return Err(Fault::Failed("no fault is named".into())) };
    for trial in stage.next_trial(setting)..=point.trials {
        let patience = stage.patience(point.trial_seconds + policy::set_up_seconds(setting.nodes, point.memory_bytes));
        let mut cluster = Cluster::found(point, stage, full, Instant::now() + patience)?;
        stage.begin_trial();
        let outcome = cluster.upset(upset, point.trial_seconds)?;
        drop(cluster);
        let times = outcome.times(upset)?;
        for (part, times_ns) in times {
            let row = with_times(Row { trial, verified: stage.verify().name().into(), ..setting.row(Some(part)) }, times_ns);
            if part == ACTIVE {
                let written = stage.folder.write_timeline(&row.point(), trial, &outcome.timeline());
                written.map_err(|error| Fault::Results(error.to_string()))?;
            }
            if stage.folder.rows().trials(&row.point()) < trial {
                stage.emit(point, row)?;
            }
        }
    }
    Ok(())
}

/// Least, median and greatest of the members' times.
fn with_times(row: Row, mut times_ns: Vec<u64>) -> Row {
    times_ns.sort_unstable();
    let us = |ns: Option<&u64>| ns.map(|ns| *ns as f64 / 1e3);
    Row {
        latency_us_min: us(times_ns.first()),
        latency_us_p50: us(times_ns.get(times_ns.len() / 2)),
        latency_us_max: us(times_ns.last()),
        ..row
    }
}

/// The processes of one trial, by number: members from 0, then one that may join.
struct Cluster<'a> {
    children: Processes,
    interrupt: &'a Interrupt,
    deadline: Instant,
    members: u32,
    newcomer: u32,
    addresses: Vec<Option<SocketAddr>>,
    seen: Vec<Option<Seen>>,
    /// Whoever ends without being told to, other than this one, ends the trial.
    victim: Option<u32>,
}

impl<'a> Cluster<'a> {
    fn found(point: &PlannedPoint, stage: &Stage<'a>, full: bool, deadline: Instant) -> Result<Cluster<'a>, Fault> {
        let (setting, members) = (&point.setting, point.setting.nodes);
        let mut cluster = Cluster {
            children: Processes::default(),
            interrupt: stage.interrupt,
            deadline,
            members,
            newcomer: members,
            addresses: vec![None; members as usize + 1],
            seen: vec![None; members as usize + 1],
            victim: None,
        };
        let rendezvous = Rendezvous::of_this_host(members as usize).map_err(Fault::Failed)?;
        let key = ClusterKey::random().to_hex();
        let cores = stage.machine.cores_for(members + 1, &stage.request.axes.pin);
        for number in 0..=members {
            let late = number == members;
            let change = ChangeJob {
                fabric: setting.fabric.unwrap_or(FabricKind::Shm),
                key: key.clone(),
                node: number as u16 + 1,
                late,
                members_max: members + 1,
                message_bytes: setting.message_bytes,
                shape: setting.shape.unwrap_or_else(|| Shape::of(setting.message_bytes, setting.window)),
                block_bytes: setting.block_bytes,
                schedule: setting.schedule,
                verify: stage.verify(),
                interval_ns: if full { 0 } else { policy::CHANGE_INTERVAL_NS },
                own_core: stage.machine.own_core(members),
            };
            let job = Job {
                rank: number,
                nodes: members,
                core: cores.get(number as usize).copied().flatten(),
                meeting: (!late).then(|| rendezvous.meeting()),
                address: None,
                rdma: stage.request.axes.rdma.clone(),
                lost_after: None,
                work: Work::Change(change),
            };
            cluster.children.start(number, &job).map_err(Fault::Failed)?;
        }
        cluster.listen_until(cluster.deadline, |cluster| cluster.addresses.iter().all(Option::is_some))?;
        Ok(cluster)
    }

    /// Loads the group, does to it what is asked for, and collects what its members saw.
    fn upset(&mut self, upset: Upset, seconds: f64) -> Result<Outcome, Fault> {
        let origin_ns = os::now_ns() + HEAD_START_NS;
        for number in 0..self.members {
            self.tell(number, &ChangeOrder::Load(origin_ns))?;
        }
        self.listen_for(seconds * BEFORE)?;
        let last = self.members - 1;
        let fault_ns = os::now_ns();
        match upset {
            Upset::Kill => {
                self.victim = Some(last);
                self.children.kill(last);
            }
            Upset::Leave => self.tell(last, &ChangeOrder::Leave)?,
            Upset::Join => {
                let Some(contact) = self.addresses[0] else { return Err(Fault::Failed("the first member has no address".into())) };
                self.tell(self.newcomer, &ChangeOrder::Join(contact, origin_ns))?;
            }
        }
        self.listen_for(seconds * (1.0 - BEFORE))?;
        let stay: Vec<u32> = if upset == Upset::Join { (0..=self.newcomer).collect() } else { (0..last).collect() };
        for &number in &stay {
            self.tell(number, &ChangeOrder::Report)?;
        }
        self.listen_until(self.deadline, |cluster| stay.iter().all(|&number| cluster.seen[number as usize].is_some()))?;
        let old = stay.iter().filter(|&&number| number < self.members);
        let members = old.filter_map(|&number| self.seen[number as usize].take()).collect();
        Ok(Outcome { origin_ns, fault_ns, members, newcomer: self.seen[self.newcomer as usize].take() })
    }

    fn tell(&mut self, number: u32, order: &ChangeOrder) -> Result<(), Fault> {
        self.children.tell(number, order).map_err(Fault::Failed)
    }

    fn listen_for(&mut self, seconds: f64) -> Result<(), Fault> {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < until {
            self.listen(until)?;
        }
        Ok(())
    }

    fn listen_until(&mut self, until: Instant, holds: impl Fn(&Self) -> bool) -> Result<(), Fault> {
        while !holds(self) {
            if Instant::now() >= until {
                return Err(Fault::Failed("the members did not answer in time".into()));
            }
            self.listen(until)?;
        }
        Ok(())
    }

    fn listen(&mut self, until: Instant) -> Result<(), Fault> {
        if self.interrupt.is_set() {
            return Err(Fault::Interrupted);
        }
        let Some((number, reply)) = self.children.news(until.min(Instant::now() + LOOK_EVERY)) else { return Ok(()) };
        match reply {
            _ if self.victim == Some(number) => {}
            Some(Reply::Done(bytes)) => match frame::decode(&bytes).map_err(|error| Fault::Failed(format!("node {number}: {error}")))? {
                Said::In(address) => self.addresses[number as usize] = Some(address),
                Said::Seen(seen) => self.seen[number as usize] = Some(seen),
            },
            Some(Reply::Ready(_)) => {}
            Some(Reply::Failed(what)) => return Err(Fault::Failed(format!("node {number}: {what}"))),
            None => {
                let last = self.children.reap(number).map_or_else(String::new, |(status, words)| format!(" ({status}): {words}"));
                return Err(Fault::Failed(format!("node {number} ended{last}")));
            }
        }
        Ok(())
    }
}

/// What all saw in one trial.
struct Outcome {
    origin_ns: u64,
    fault_ns: u64,
    /// Those that were there before and after.
    members: Vec<Seen>,
    newcomer: Option<Seen>,
}

impl Outcome {
    /// The times of each part, of every member.
    fn times(&self, upset: Upset) -> Result<Vec<(&'static str, Vec<u64>)>, Fault> {
        let missing = || Fault::Failed("the view did not change, or nothing was delivered afterwards; give more --seconds".to_owned());
        let changes: Option<Vec<&Change>> = self.members.iter().map(|seen| seen.changes.iter().find(|change| change.view == 1)).collect();
        let changes = changes.ok_or_else(missing)?;
        let firsts: Option<Vec<u64>> = self.members.iter().map(|seen| seen.firsts_ns.get(&1).copied()).collect();
        let firsts = firsts.ok_or_else(missing)?;
        let noticed_ns = changes.iter().map(|change| change.wedged_ns).min().ok_or_else(missing)?;
        let since = |from_ns: u64, times: Vec<u64>| times.into_iter().map(|ns| ns.saturating_sub(from_ns)).collect::<Vec<u64>>();
        let of = |time: fn(&Change) -> u64| changes.iter().map(|change| time(change)).collect::<Vec<u64>>();
        let mut times = vec![
            (WEDGED, since(self.fault_ns, of(|change| change.wedged_ns))),
            (TRIMMED, since(noticed_ns, of(|change| change.trimmed_ns))),
            (INSTALLED, since(noticed_ns, of(|change| change.installed_ns))),
            (ACTIVE, since(noticed_ns, firsts)),
        ];
        if upset == Upset::Join {
            let first = self.newcomer.as_ref().and_then(|seen| seen.firsts_ns.values().next().copied()).ok_or_else(missing)?;
            times.push((NEWCOMER, since(self.fault_ns, vec![first])));
        }
        Ok(times)
    }

    /// Bandwidth over time: least, median and most of the members that were there before and after.
    fn timeline(&self) -> String {
        let mut text = String::from("ms_since_fault,gigabytes_per_second_min,gigabytes_per_second_median,gigabytes_per_second_max\n");
        let bins = self.members.iter().map(|seen| seen.bins.len()).max().unwrap_or(0);
        for bin in 0..bins {
            let mut rates: Vec<f64> =
                self.members.iter().map(|seen| seen.bins.get(bin).copied().unwrap_or(0) as f64 / BIN_NS as f64).collect();
            rates.sort_by(f64::total_cmp);
            let at_ms = (self.origin_ns + bin as u64 * BIN_NS) as f64 / 1e6 - self.fault_ns as f64 / 1e6;
            let (least, most) = (rates.first().copied().unwrap_or(0.0), rates.last().copied().unwrap_or(0.0));
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{at_ms:.3},{least:.6},{:.6},{most:.6}", rates.get(rates.len() / 2).copied().unwrap_or(0.0));
        }
        text
    }
}
