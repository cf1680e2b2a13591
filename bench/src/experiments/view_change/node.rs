//! One member of a group whose members change: the node's side of `view-change`.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use squall_group::{Delivery, Ended, Member, MemberError, MemberOptions, Outgoing, Pace, StatePiece, Timeouts, Upcalls, View};
use squall_transport::exchange::ClusterKey;
use squall_transport::{Fabric, NodeId, Rank};

use crate::ask::policy;
use crate::experiments::payload;
use crate::jobs::change::{BIN_NS, Change, ChangeJob, ChangeOrder, Said, Seen};
use crate::jobs::control::Control;
use crate::jobs::fabric::{meet, mesh, with_fabric};
use crate::jobs::job::Job;
use crate::jobs::kinds::Ordering;
use crate::jobs::kinds::Verify;
use crate::jobs::os;

/// How long a newcomer asks.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);

/// The node's side.
///
/// # Errors
/// If the group cannot be joined or ends, or the parent is gone.
pub fn node(job: &Job, change: &ChangeJob, control: &mut Control) -> anyhow::Result<()> {
    with_fabric!(change.fabric, job, fabric => serve(job, change, fabric, control))
}

fn serve<F: Fabric>(job: &Job, change: &ChangeJob, fabric: F, control: &mut Control) -> anyhow::Result<()> {
    let senders = if change.late { 1 } else { job.nodes };
    let config = squall_group::Config {
        senders_max: change.members_max as usize,
        membership: Some(Timeouts::after_ns(policy::change_suspect_after_ns(change.message_bytes, job.nodes, change.own_core))),
        ..change.shape.config(senders, Ordering::Ordered, change.block_bytes, change.schedule)
    };
    let options = MemberOptions::new(config);
    let key = ClusterKey::from_hex(&change.key).context("the cluster key")?;
    let node = NodeId(u64::from(change.node));
    let mesh = mesh(job, &key, node)?;
    let mut receiver = Receiver::new(change);
    let member = if change.late {
        control.done(&Said::In(mesh.address()))?;
        let (contact, origin_ns) = loop {
            match control.next().context("the order to join")? {
                ChangeOrder::Join(contact, origin_ns) => break (contact, origin_ns),
                ChangeOrder::Finish => return Ok(()),
                ChangeOrder::Load(_) | ChangeOrder::Leave | ChangeOrder::Report => {}
            }
        };
        receiver.origin_ns = Some(origin_ns);
        Member::join(options, fabric, mesh, &[contact], true, JOIN_PATIENCE)?
    } else {
        let mut session = meet(job)?;
        let member = Member::found(options, fabric, mesh, &mut session)?;
        receiver.view_installed(member.view());
        control.done(&Said::In(member.address()))?;
        member
    };
    let mut life = Life {
        me: Rank(change.node),
        burst: (policy::SEND_BURST_BYTES / change.message_bytes).clamp(1, policy::SEND_BURST_MESSAGES),
        change,
        pace: policy::pace(change.own_core, change.fabric),
        member,
        receiver,
        sent: 0,
        due_ns: 0,
        leaves: false,
        changes: Vec::new(),
    };
    life.run(control)
}

struct Life<'a, F: Fabric> {
    member: Member<F>,
    change: &'a ChangeJob,
    receiver: Receiver,
    pace: Pace,
    /// Its name as payloads know it.
    me: Rank,
    burst: u64,
    sent: u64,
    due_ns: u64,
    leaves: bool,
    changes: Vec<Change>,
}

impl<F: Fabric> Life<'_, F> {
    fn run(&mut self, control: &mut Control) -> anyhow::Result<()> {
        let mut view = None;
        loop {
            if view.replace(self.member.view().id) != Some(self.member.view().id) {
                control.wake_with(self.member.waker());
                self.note_change();
            }
            while let Some(order) = control.poll().context("the next order")? {
                match order {
                    ChangeOrder::Load(origin_ns) => self.receiver.origin_ns = Some(origin_ns),
                    ChangeOrder::Leave => {
                        self.leaves = true;
                        self.member.leave();
                    }
                    ChangeOrder::Report => control.done(&Said::Seen(self.seen()))?,
                    ChangeOrder::Join(..) => bail!("told to join while a member"),
                    ChangeOrder::Finish => return Ok(()),
                }
            }
            let until = self.send()?;
            match self.member.turn_until(&mut self.receiver, &mut self.pace, until) {
                Ok(_) => {}
                Err(MemberError::Ended(Ended::Closed)) if self.leaves => return self.rest(control),
                Err(error) => return Err(error.into()),
            }
            if let Some(wrong) = &self.receiver.wrong {
                bail!("{wrong}");
            }
        }
    }

    /// It has left, and waits for the end.
    fn rest(&mut self, control: &mut Control) -> anyhow::Result<()> {
        loop {
            match control.next().context("the next order")? {
                ChangeOrder::Report => control.done(&Said::Seen(self.seen()))?,
                ChangeOrder::Finish => return Ok(()),
                ChangeOrder::Load(_) | ChangeOrder::Leave | ChangeOrder::Join(..) => {}
            }
        }
    }

    fn note_change(&mut self) {
        let Some(change) = self.member.last_change() else { return };
        let ns = |moment: Instant| os::now_ns().saturating_sub(moment.elapsed().as_nanos() as u64);
        self.changes.push(Change {
            view: change.view,
            wedged_ns: ns(change.wedged),
            trimmed_ns: ns(change.trimmed),
            installed_ns: ns(change.installed),
        });
    }

    fn seen(&self) -> Seen {
        Seen { changes: self.changes.clone(), firsts_ns: self.receiver.firsts_ns.clone(), bins: self.receiver.bins.clone() }
    }

    /// Sends what is due; when to look again at the latest.
    fn send(&mut self) -> anyhow::Result<Option<Instant>> {
        if self.receiver.origin_ns.is_none() || self.leaves || self.member.is_behind() {
            return Ok(None);
        }
        let interval_ns = self.change.interval_ns;
        for _ in 0..self.burst {
            if interval_ns > 0 {
                let now_ns = os::now_ns();
                if self.due_ns > now_ns {
                    return Ok(Some(Instant::now() + Duration::from_nanos(self.due_ns - now_ns)));
                }
                // A constant rate: what was held up is not caught up with.
                self.due_ns = now_ns.max(self.due_ns + interval_ns);
            }
            match self.member.reserve(self.change.message_bytes) {
                Ok(mut slot) => {
                    payload::fill(slot.bytes_mut(), self.me, self.sent, self.change.verify);
                    slot.commit();
                    self.sent += 1;
                }
                Err(full) if full.is_full() => return Ok(None),
                Err(error) => bail!("message {}: {error}", self.sent),
            }
        }
        Ok(Some(Instant::now()))
    }
}

/// What is done with deliveries. Its state is how many messages of each sender there were, so that a newcomer knows
/// which come next.
struct Receiver {
    message_bytes: usize,
    verify: Verify,
    /// Messages delivered, by the sender's name.
    counts: BTreeMap<u64, u64>,
    nodes: Vec<NodeId>,
    view: u64,
    /// The first message of this view is still to come.
    fresh: bool,
    origin_ns: Option<u64>,
    firsts_ns: BTreeMap<u64, u64>,
    bins: Vec<u64>,
    given: Vec<u8>,
    wrong: Option<String>,
}

impl Receiver {
    fn new(change: &ChangeJob) -> Receiver {
        Receiver {
            message_bytes: change.message_bytes as usize,
            verify: change.verify,
            counts: BTreeMap::new(),
            nodes: Vec::new(),
            view: 0,
            fresh: false,
            origin_ns: None,
            firsts_ns: BTreeMap::new(),
            bins: Vec::new(),
            given: Vec::new(),
            wrong: None,
        }
    }
}

impl Upcalls for Receiver {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let node = self.nodes[delivery.sender.index()].0;
        let count = self.counts.entry(node).or_default();
        let payload = delivery.payload;
        if payload.len() != self.message_bytes || !payload::holds(payload, Rank(node as u16), *count, self.verify) {
            self.wrong.get_or_insert_with(|| format!("message {count} of node {node} was delivered with other bytes than were sent"));
        }
        *count += 1;
        let now_ns = os::now_ns();
        if std::mem::take(&mut self.fresh) {
            self.firsts_ns.insert(self.view, now_ns);
        }
        if let Some(since_ns) = self.origin_ns.and_then(|origin_ns| now_ns.checked_sub(origin_ns)) {
            let bin = (since_ns / BIN_NS) as usize;
            if self.bins.len() <= bin {
                self.bins.resize(bin + 1, 0);
            }
            self.bins[bin] += payload.len() as u64;
        }
    }

    fn view_installed(&mut self, view: &View) {
        (self.nodes, self.view, self.fresh) = (view.nodes.clone(), view.id, view.is_mine());
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        Box::new(Cursor::new(postcard::to_stdvec(&self.counts).expect("plain data")))
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        match piece {
            StatePiece::Begin => self.given.clear(),
            StatePiece::Bytes(bytes) => self.given.extend_from_slice(bytes),
            StatePiece::End => match postcard::from_bytes(&self.given) {
                Ok(counts) => self.counts = counts,
                Err(error) => self.wrong = Some(format!("the state from another member does not decode: {error}")),
            },
        }
    }
}
