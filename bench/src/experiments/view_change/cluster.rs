//! The processes of one trial, and what is done to them.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use squall_group::Mode;
use squall_transport::Ports;
use squall_transport::exchange::ClusterKey;

use super::outcome::Outcome;
use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::setting::Setting;
use crate::ask::upset::Upset;
use crate::jobs::change::{BIN_NS, ChangeJob, ChangeOrder, Said, Seen};
use crate::jobs::control::Reply;
use crate::jobs::job::{Job, Work};
use crate::jobs::kinds::{FabricKind, GroupOrdering, Ordering};
use crate::jobs::shape::Shape;
use crate::jobs::{frame, os};
use crate::run::crowd::Crowd;
use crate::run::fault::Fault;
use crate::run::hosts::Hosts;
use crate::run::interrupt::Interrupt;
use crate::run::rendezvous::Rendezvous;
use crate::run::stage::Stage;

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// From the order to send to the first send, and from the order to die to the death: longer than an order takes.
const HEAD_START_NS: u64 = 20_000_000;
/// Share of a trial before the fault.
const BEFORE: f64 = 0.4;

/// The processes of one trial, by number: members from 0, then those that may join.
pub(super) struct Cluster<'a> {
    crowd: Crowd<'a>,
    interrupt: &'a Interrupt,
    deadline: Instant,
    members: u32,
    newcomers: u32,
    addresses: Vec<Option<SocketAddr>>,
    /// The fault is over for it: it delivers in the next view, or came later and has its vote.
    settled: Vec<bool>,
    seen: Vec<Option<Seen>>,
    /// Whoever ends without being told to, other than this one, ends the trial.
    victim: Option<u32>,
}

impl<'a> Cluster<'a> {
    /// Starts all, and founds a group.
    ///
    /// # Errors
    /// If one cannot be started, fails, or is not there by `deadline`.
    pub(super) fn found(
        point: &PlannedPoint,
        upset: Upset,
        full: bool,
        stage: &Stage<'a>,
        deadline: Instant,
    ) -> Result<Cluster<'a>, Fault> {
        let (setting, members, newcomers) = (&point.setting, point.setting.nodes, upset.newcomers());
        let all = members + newcomers;
        let mut cluster = Cluster {
            crowd: Crowd::new(stage.hosts, all),
            interrupt: stage.interrupt,
            deadline,
            members,
            newcomers,
            addresses: vec![None; all as usize],
            settled: vec![false; all as usize],
            seen: vec![None; all as usize],
            victim: None,
        };
        let rendezvous = match stage.hosts {
            Some(hosts) => Rendezvous::of_hosts(members as usize, hosts.address(), hosts.ports()),
            None => Rendezvous::of_this_host(members as usize),
        };
        let rendezvous = rendezvous.map_err(Fault::Failed)?;
        let key = ClusterKey::random().to_hex();
        let cores = stage.machine.cores_for(all, &stage.request.axes.pin);
        for number in 0..all {
            let late = number >= members;
            let job = Job {
                rank: number,
                nodes: members,
                core: cores.get(number as usize).copied().flatten(),
                meeting: (!late).then(|| rendezvous.meeting()),
                address: None,
                ports: stage.hosts.map_or(Ports::ANY, Hosts::ports),
                rdma: stage.request.axes.rdma.clone(),
                lost_after: stage.request.axes.lost_after(),
                work: Work::Change(job_of(setting, upset, full, stage, &key, number)),
            };
            cluster.crowd.start(number, job).map_err(Fault::Failed)?;
        }
        cluster.listen_until(deadline, |cluster| cluster.addresses.iter().all(Option::is_some))?;
        Ok(cluster)
    }

    /// Loads the group, does to it what is asked for, and collects what its members saw.
    ///
    /// # Errors
    /// If a process fails, or is too late.
    pub(super) fn upset(&mut self, upset: Upset, seconds: f64) -> Result<Outcome, Fault> {
        let origin_ns = os::now_ns() + HEAD_START_NS;
        for number in 0..self.members {
            self.tell(number, &ChangeOrder::Load(origin_ns))?;
        }
        self.listen_for(seconds * BEFORE)?;
        let struck = upset.struck(self.members);
        let cpu_before = self.crowd.cpu_seconds();
        // At the edge of a bin, so that no bin is of both times.
        let bins = (os::now_ns() + HEAD_START_NS).saturating_sub(origin_ns).div_ceil(BIN_NS);
        let fault_ns = origin_ns + bins * BIN_NS;
        if !matches!(upset, Upset::Kill(_)) {
            thread::sleep(Duration::from_nanos(fault_ns.saturating_sub(os::now_ns())));
        }
        match (upset, struck) {
            (Upset::Kill(_), Some(victim)) => {
                self.victim = Some(victim);
                self.tell(victim, &ChangeOrder::Die(fault_ns))?;
            }
            (_, Some(leaver)) => self.tell(leaver, &ChangeOrder::Leave)?,
            (_, None) => {
                let contacts: Vec<SocketAddr> = self.addresses[..self.members as usize].iter().copied().flatten().collect();
                for newcomer in 0..self.newcomers {
                    let mut contacts = contacts.clone();
                    contacts.rotate_left((newcomer % self.members) as usize);
                    self.tell(self.members + newcomer, &ChangeOrder::Join(contacts, origin_ns))?;
                }
            }
        }
        let stay: Vec<u32> = (0..self.members + self.newcomers).filter(|&number| Some(number) != struck).collect();
        self.listen_until(self.deadline, |cluster| stay.iter().all(|&number| cluster.settled[number as usize]))?;
        let (over_ns, cpu_after) = (os::now_ns(), self.crowd.cpu_seconds());
        self.listen_for(seconds * (1.0 - BEFORE))?;
        for &number in &stay {
            self.tell(number, &ChangeOrder::Report)?;
        }
        self.listen_until(self.deadline, |cluster| stay.iter().all(|&number| cluster.seen[number as usize].is_some()))?;
        let mut saw = |numbers: std::ops::Range<u32>| numbers.filter_map(|number| self.seen[number as usize].take()).collect::<Vec<_>>();
        let (members, newcomers) = (saw(0..self.members), saw(self.members..self.members + self.newcomers));
        let took = |numbers: std::ops::Range<u32>| {
            let took = |number| cpu_after.get(&number).zip(cpu_before.get(&number)).map_or(0.0, |(after, before)| after - before);
            numbers.map(took).sum::<f64>()
        };
        Ok(Outcome {
            origin_ns,
            fault_ns,
            // Nobody says when a loss or a leave is over.
            over_ns: if newcomers.is_empty() { None } else { Some(over_ns) },
            members,
            newcomers,
            cpu_seconds: (took(0..self.members), took(self.members..self.members + self.newcomers)),
            note: self.crowd.note_of_clocks(),
        })
    }

    fn tell(&mut self, number: u32, order: &ChangeOrder) -> Result<(), Fault> {
        self.crowd.tell(number, order).map_err(Fault::Failed)
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
        let Some((number, reply)) = self.crowd.news(until.min(Instant::now() + LOOK_EVERY)) else { return Ok(()) };
        match reply {
            _ if self.victim == Some(number) => {}
            Some(Reply::Done(bytes)) => match frame::decode(&bytes).map_err(|error| Fault::Failed(format!("node {number}: {error}")))? {
                Said::In(address) => self.addresses[number as usize] = Some(address),
                Said::Active => self.settled[number as usize] |= number < self.members,
                Said::Votes => self.settled[number as usize] = true,
                Said::Seen(seen) => self.seen[number as usize] = Some(seen),
            },
            Some(Reply::Ready(_) | Reply::Live(_)) => {}
            Some(Reply::Failed(what)) => return Err(Fault::Failed(format!("node {number}: {what}"))),
            None => return Err(Fault::Failed(format!("node {number} ended{}", self.crowd.last_words(number)))),
        }
        Ok(())
    }
}

fn job_of(setting: &Setting, upset: Upset, full: bool, stage: &Stage<'_>, key: &str, number: u32) -> ChangeJob {
    let (members, own_core) = (setting.nodes, stage.machine.own_core(setting.nodes));
    let fabric = setting.fabric.unwrap_or(FabricKind::Shm);
    ChangeJob {
        fabric,
        ordering: GroupOrdering(setting.ordering.and_then(Ordering::mode).unwrap_or(Mode::Ordered)),
        key: key.to_owned(),
        node: number as u16 + 1,
        late: number >= members,
        // Many more senders would be another load.
        sends: number < members || upset.newcomers() == 1,
        senders_max: members + u32::from(upset.newcomers() == 1),
        message_bytes: setting.message_bytes,
        shape: setting.shape.unwrap_or_else(|| Shape::of(setting.message_bytes, setting.window)),
        block_bytes: setting.block_bytes,
        schedule: setting.schedule,
        verify: stage.verify(),
        interval_ns: if full { 0 } else { policy::CHANGE_INTERVAL_NS },
        own_core,
        suspect_after_ns: policy::change_suspect_after_ns(setting.message_bytes, members, own_core, stage.capacity.moved(fabric)),
        state_bytes: upset.state_bytes(),
        restore_bytes_per_second: stage.request.axes.restore.map(|rate| rate.0),
    }
}
