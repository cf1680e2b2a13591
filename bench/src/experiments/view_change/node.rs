//! `view-change`, a node's side: a member that sends, leaves and joins as it is told, and notes when its views changed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use squall_group::{Config, Delivery, Ended, Member, MemberError, MemberOptions, Outgoing, Pace, Timeouts, Upcalls, View};
use squall_transport::Fabric;
use squall_transport::exchange::{ClusterKey, random_node};
use squall_transport::mesh::{Mesh, MeshOptions};

use crate::node::control::Control;
use crate::node::fabric::{meet, with_fabric};
use crate::node::job::Job;
use crate::node::machine::now_ns;
use crate::run::axes::{FabricKind, Ordering, Schedule};
use crate::run::policy::{self, Shape};

/// Nanoseconds of a bin of the bandwidth over time.
pub(super) const BIN_NS: u64 = 5_000_000;
/// How long a newcomer waits to be taken in.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);

/// What a node of this experiment is told at the start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ViewJob {
    /// What carries the writes.
    pub fabric: FabricKind,
    /// Payload of each message.
    pub message_bytes: u64,
    /// Rings and pools.
    pub shape: Shape,
    /// Bytes of a relay block, if given.
    pub block_bytes: Option<u64>,
    /// How large messages are relayed.
    pub schedule: Schedule,
    /// Nanoseconds between two messages of a member; none: as fast as the window lets.
    pub interval_ns: Option<u64>,
    /// The cluster key as hex digits.
    pub key: String,
}

/// What a node is told later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Send from now on.
    Load,
    /// Leave the group.
    Leave,
    /// Come back, under another name.
    Join {
        /// Members to ask.
        contacts: Vec<SocketAddr>,
    },
    /// Say what was noted.
    Report,
}

/// What a node says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// It is a member.
    In {
        /// Where newcomers reach it.
        address: SocketAddr,
        /// When it asked, in nanoseconds of the host's clock.
        asked_ns: u64,
    },
    /// It has left.
    Left {
        /// When it wanted to.
        asked_ns: u64,
    },
    /// What it noted.
    Report(Log),
}

/// What a member notes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Log {
    pub(super) changes: Vec<Change>,
    /// Payload bytes delivered, by [`BIN_NS`] of the host's clock.
    pub(super) bins: Vec<(u64, u64)>,
}

/// How a member came into a view; in nanoseconds of the host's clock. A newcomer has stopped nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) view: u64,
    pub(super) wedged_ns: Option<u64>,
    pub(super) trimmed_ns: Option<u64>,
    pub(super) delivered_ns: Option<u64>,
}

/// The application: counts, and looks at the clock.
#[derive(Default)]
struct Clockwork {
    changes: Vec<Change>,
    bins: BTreeMap<u64, u64>,
    waits_for_first: bool,
}

impl Upcalls for Clockwork {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let at_ns = now_ns();
        *self.bins.entry(at_ns / BIN_NS).or_default() += delivery.payload.len() as u64;
        if std::mem::take(&mut self.waits_for_first)
            && let Some(change) = self.changes.last_mut()
        {
            change.delivered_ns = Some(at_ns);
        }
    }

    fn view_installed(&mut self, view: &View) {
        self.changes.push(Change { view: view.id, wedged_ns: None, trimmed_ns: None, delivered_ns: None });
        self.waits_for_first = true;
    }
}

/// The node's side.
///
/// # Errors
/// If the group cannot be founded, joined or goes on without this member, or the parent is gone.
pub fn node(job: &Job, view_job: &ViewJob, control: &mut Control) -> anyhow::Result<()> {
    let shape = &view_job.shape;
    let config = shape.config(job.nodes, Ordering::Ordered, view_job.block_bytes, view_job.schedule);
    let membership = Some(Timeouts::after_ns(policy::SUSPECT_AFTER_NS));
    let config = Config { membership, senders_max: job.nodes as usize, ..config };
    let mut life = Life { job, view_job, clockwork: Clockwork::default(), pace: policy::pace(false, view_job.fabric), loud: false };
    with_fabric!(view_job.fabric, job, fabric => {
        let member = Member::found(MemberOptions::new(config.clone()), fabric, mesh(view_job)?, &mut meet(job)?)?;
        control.ready(member.group().notices().to_vec())?;
        life.live(member, 0, control)?;
    });
    loop {
        let contacts = match control.next().context("the next order")? {
            Order::Join { contacts } => contacts,
            Order::Report => bail!("asked for a report of a process that is no member"),
            Order::Load | Order::Leave => continue,
        };
        let (options, asked_ns) = (MemberOptions::new(config.clone()), now_ns());
        with_fabric!(view_job.fabric, job, fabric => {
            let member = Member::join(options, fabric, mesh(view_job)?, &contacts, true, JOIN_PATIENCE)?;
            life.live(member, asked_ns, control)?;
        });
    }
}

fn mesh(view_job: &ViewJob) -> anyhow::Result<Mesh> {
    let key = ClusterKey::from_hex(&view_job.key).context("the cluster key")?;
    Ok(Mesh::open((Ipv4Addr::LOCALHOST, 0).into(), &key, random_node(), MeshOptions::default())?)
}

/// One process, whatever its name.
struct Life<'a> {
    job: &'a Job,
    view_job: &'a ViewJob,
    clockwork: Clockwork,
    pace: Pace,
    loud: bool,
}

impl Life<'_> {
    /// As a member, until it has left.
    fn live<F: Fabric>(&mut self, mut member: Member<F>, asked_ns: u64, control: &mut Control) -> anyhow::Result<()> {
        control.done(&Said::In { address: member.address(), asked_ns })?;
        control.wake_with(member.waker());
        let mut view = member.view().id;
        let (mut left_ns, mut due) = (0, Instant::now());
        loop {
            while let Some(order) = control.poll().context("the next order")? {
                match order {
                    // Not all at the same moment.
                    Order::Load => (self.loud, due) = (true, Instant::now() + self.gap() * self.job.rank / self.job.nodes),
                    Order::Leave => {
                        left_ns = now_ns();
                        member.leave();
                    }
                    Order::Report => control.done(&Said::Report(self.log()))?,
                    Order::Join { .. } => bail!("asked to join, but it is a member"),
                }
            }
            let until = self.send(&mut member, &mut due);
            match member.turn_until(&mut self.clockwork, &mut self.pace, until) {
                Ok(_) => {}
                Err(MemberError::Ended(Ended::Closed)) => break,
                Err(error) => return Err(error.into()),
            }
            if member.view().id != view {
                view = member.view().id;
                control.wake_with(member.waker());
                self.note(&member);
            }
        }
        drop(member);
        Ok(control.done(&Said::Left { asked_ns: left_ns })?)
    }

    fn gap(&self) -> Duration {
        Duration::from_nanos(self.view_job.interval_ns.unwrap_or(0))
    }

    /// Sends what is due; until when nothing is.
    fn send<F: Fabric>(&self, member: &mut Member<F>, due: &mut Instant) -> Option<Instant> {
        if !self.loud {
            return None;
        }
        let bytes = self.view_job.message_bytes;
        let paced = self.view_job.interval_ns.is_some();
        let burst = (policy::SEND_BURST_BYTES / bytes).clamp(1, policy::SEND_BURST_MESSAGES);
        for _ in 0..burst {
            if paced && Instant::now() < *due {
                return Some(*due);
            }
            let Ok(slot) = member.reserve(bytes) else { break };
            slot.commit();
            *due += self.gap();
        }
        paced.then_some(*due)
    }

    /// Notes how the member came into its view.
    fn note<F: Fabric>(&mut self, member: &Member<F>) {
        let Some((came, change)) = member.last_change().zip(self.clockwork.changes.last_mut()) else { return };
        if came.view == change.view {
            let at_ns = |instant: Instant| now_ns().saturating_sub(instant.elapsed().as_nanos() as u64);
            (change.wedged_ns, change.trimmed_ns) = (Some(at_ns(came.wedged)), Some(at_ns(came.trimmed)));
        }
    }

    fn log(&self) -> Log {
        let bins = self.clockwork.bins.iter().map(|(bin, bytes)| (*bin, *bytes)).collect();
        Log { changes: self.clockwork.changes.clone(), bins }
    }
}
