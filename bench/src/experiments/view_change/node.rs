//! One member of a group whose members change: the node's side of `view-change`.

use std::collections::BTreeMap;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use squall_group::{Delivery, Member, MemberOptions, Outgoing, Pace, StatePiece, Timeouts, Turn, Upcalls, View};
use squall_transport::exchange::ClusterKey;
use squall_transport::{Fabric, NodeId, Rank};

use super::state::{Counts, Restoring, snapshot};
use crate::ask::policy;
use crate::experiments::payload;
use crate::jobs::change::{BIN_NS, Bin, Change, ChangeJob, ChangeOrder, Said, Seen};
use crate::jobs::control::Control;
use crate::jobs::fabric::{meet, mesh, with_fabric};
use crate::jobs::job::Job;
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
        senders_max: change.senders_max as usize,
        membership: Some(Timeouts::after_ns(change.suspect_after_ns)),
        ..change.shape.config(senders, change.ordering.0, change.block_bytes, change.schedule)
    };
    // A host on which silence means less is slow at meetings too.
    let patience = Duration::from_nanos(change.suspect_after_ns);
    let options = MemberOptions { patience, ..MemberOptions::new(config) };
    let key = ClusterKey::from_hex(&change.key).context("the cluster key")?;
    let node = NodeId(u64::from(change.node));
    let mesh = mesh(job, &key, node)?;
    let mut receiver = Receiver::new(change);
    let member = if change.late {
        control.done(&Said::In(mesh.address()))?;
        let (contacts, origin_ns) = loop {
            match control.next().context("the order to join")? {
                ChangeOrder::Join(contacts, origin_ns) => break (contacts, origin_ns),
                ChangeOrder::Finish => return Ok(()),
                ChangeOrder::Load(_) | ChangeOrder::Leave | ChangeOrder::Die(_) | ChangeOrder::Report => {}
            }
        };
        receiver.origin_ns = Some(origin_ns);
        Member::join(options, fabric, mesh, &contacts, change.sends, JOIN_PATIENCE)?
    } else {
        let mut session = meet(job)?;
        let member = Member::found(options, fabric, mesh, &mut session)?;
        receiver.view_installed(member.view());
        control.done(&Said::In(member.address()))?;
        member
    };
    let mut life = Life {
        me: Rank(change.node),
        burst: policy::send_burst(change.own_core, change.fabric, change.message_bytes),
        change,
        pace: policy::pace(change.own_core, change.fabric),
        member,
        receiver,
        sent: 0,
        due_ns: 0,
        leaves: false,
        active: false,
        votes_ns: None,
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
    /// It delivers in a view after the first.
    active: bool,
    /// When it had its vote, if it came late.
    votes_ns: Option<u64>,
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
                    ChangeOrder::Die(at_ns) => die_at(at_ns)?,
                    ChangeOrder::Report => control.done(&Said::Seen(self.seen()))?,
                    ChangeOrder::Join(..) => bail!("told to join while a member"),
                    ChangeOrder::Finish => return Ok(()),
                }
            }
            let until = self.send()?;
            match self.member.turn_until(&mut self.receiver, &mut self.pace, until) {
                Ok(Turn::Left) if self.leaves => return self.rest(control),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(wrong) = &self.receiver.wrong {
                bail!("{wrong}");
            }
            if !self.active && self.receiver.firsts_ns.keys().any(|&view| view > 0) {
                self.active = true;
                control.done(&Said::Active)?;
            }
            if self.change.late && self.votes_ns.is_none() && !self.member.is_behind() {
                self.votes_ns = Some(os::now_ns());
                control.done(&Said::Votes)?;
            }
        }
    }

    /// It has left, and waits for the end.
    fn rest(&mut self, control: &mut Control) -> anyhow::Result<()> {
        loop {
            match control.next().context("the next order")? {
                ChangeOrder::Report => control.done(&Said::Seen(self.seen()))?,
                ChangeOrder::Finish => return Ok(()),
                ChangeOrder::Load(_) | ChangeOrder::Leave | ChangeOrder::Die(_) | ChangeOrder::Join(..) => {}
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
            met_ns: ns(change.met),
            installed_ns: ns(change.installed),
        });
    }

    fn seen(&self) -> Seen {
        let Receiver { firsts_ns, bins, .. } = &self.receiver;
        Seen { changes: self.changes.clone(), firsts_ns: firsts_ns.clone(), bins: bins.clone(), votes_ns: self.votes_ns }
    }

    /// Sends what is due; when to look again at the latest.
    fn send(&mut self) -> anyhow::Result<Option<Instant>> {
        if self.receiver.origin_ns.is_none() || self.leaves || !self.change.sends || self.member.is_behind() {
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

/// Has the kernel end this process at that time, as by `kill -9`.
fn die_at(at_ns: u64) -> anyhow::Result<()> {
    let die = move || {
        thread::sleep(Duration::from_nanos(at_ns.saturating_sub(os::now_ns())));
        os::kill_myself();
    };
    thread::Builder::new().name("death".into()).spawn(die)?;
    Ok(())
}

/// What is done with deliveries. Its state is how many messages of each sender there were, so that a newcomer knows
/// which come next.
struct Receiver {
    message_bytes: usize,
    verify: Verify,
    counts: Counts,
    nodes: Vec<NodeId>,
    view: u64,
    /// The first message of this view is still to come.
    fresh: bool,
    origin_ns: Option<u64>,
    last_ns: u64,
    firsts_ns: BTreeMap<u64, u64>,
    bins: Vec<Bin>,
    state_bytes: u64,
    restore_bytes_per_second: Option<u64>,
    restoring: Restoring,
    wrong: Option<String>,
}

impl Receiver {
    fn new(change: &ChangeJob) -> Receiver {
        Receiver {
            message_bytes: change.message_bytes as usize,
            verify: change.verify,
            counts: Counts::new(),
            nodes: Vec::new(),
            view: 0,
            fresh: false,
            origin_ns: None,
            last_ns: 0,
            firsts_ns: BTreeMap::new(),
            bins: Vec::new(),
            state_bytes: change.state_bytes,
            restore_bytes_per_second: change.restore_bytes_per_second,
            restoring: Restoring::default(),
            wrong: None,
        }
    }

    /// Counts a delivery.
    fn note(&mut self, bytes: u64, now_ns: u64) {
        let Some(origin_ns) = self.origin_ns.filter(|&origin_ns| now_ns >= origin_ns) else { return };
        let gap_ns = now_ns - self.last_ns.max(origin_ns);
        self.last_ns = now_ns;
        let place = ((now_ns - origin_ns) / BIN_NS) as usize;
        if self.bins.len() <= place {
            self.bins.resize(place + 1, Bin::default());
        }
        let bin = &mut self.bins[place];
        *bin = Bin { bytes: bin.bytes + bytes, deliveries: bin.deliveries + 1, gap_ns: bin.gap_ns.max(gap_ns) };
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
        self.note(payload.len() as u64, now_ns);
    }

    fn view_installed(&mut self, view: &View) {
        (self.nodes, self.view, self.fresh) = (view.nodes.clone(), view.id, view.is_mine());
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        snapshot(&self.counts, self.state_bytes)
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        match self.restoring.take(piece, self.state_bytes, self.restore_bytes_per_second) {
            Ok(counts) => self.counts = counts.unwrap_or_else(|| std::mem::take(&mut self.counts)),
            Err(wrong) => self.wrong = Some(wrong),
        }
    }
}
