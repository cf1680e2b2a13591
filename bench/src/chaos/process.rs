//! One process of a group under chaos: a member, and under another name a member again when the group has gone on
//! without it.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use squall_group::{Config, Ended, Member, MemberError, MemberOptions, Pace, Stop, Timeouts, Turn, Upcalls};
use squall_transport::exchange::ClusterKey;
use squall_transport::{Fabric, Rank};

use super::application::Application;
use super::trace_writer::TraceWriter;
use crate::jobs::chaos::{ChaosJob, Load, News, Order, Parting, Start};
use crate::jobs::control::Control;
use crate::jobs::fabric::{meet, mesh, with_fabric};
use crate::jobs::job::Job;
use crate::jobs::kinds::FabricKind;

/// Largest message that goes by SMC: low, so that both ways are used.
const SMALL_MAX: u64 = 4 << 10;
const RING_BYTES: u64 = 64 << 10;
/// Large messages of a sender under way.
const TRANSFERS_MAX: usize = 2;
/// Messages sent between two turns of the loop.
const BURST_MAX: u64 = 16;
/// How long members wait for one that does not come to a view.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a newcomer waits to be taken in before it asks under another name, and the same in times of silence that
/// count as death.
const JOIN_PATIENCE: Duration = Duration::from_secs(5);
const JOIN_SUSPICIONS: u32 = 5;

/// The process's side: does as it is told until it is told to end.
///
/// # Errors
/// If the parent is gone, the trace cannot be made, or the group cannot be founded.
pub fn node(job: &Job, chaos: &ChaosJob, control: &mut Control) -> anyhow::Result<()> {
    let mut start = Some(chaos.start.clone());
    while let Some(life) = start {
        with_fabric!(chaos.fabric, job, fabric => live(job, chaos, &life, fabric, control))?;
        start = wait_for_return(control)?;
    }
    Ok(())
}

/// Waits until it may come back; none: it is to end.
fn wait_for_return(control: &Control) -> anyhow::Result<Option<Start>> {
    loop {
        match control.next().context("the next order")? {
            Order::Return(start) => return Ok(Some(start)),
            Order::Finish => return Ok(None),
            // Meant for a member.
            Order::Load | Order::Quiet | Order::Report(_) | Order::Leave => {}
        }
    }
}

fn config(load: &Load, members: usize) -> Config {
    let large = load.bytes_max > SMALL_MAX;
    Config {
        mode: load.ordering.0,
        ring_bytes: RING_BYTES,
        small_max: SMALL_MAX,
        large_max: if large { load.bytes_max } else { 0 },
        transfers_max: TRANSFERS_MAX,
        senders_max: load.members_max,
        membership: Some(Timeouts::after_ns(load.suspect_after_ns)),
        ..Config::new((0..members).map(Rank::new).collect())
    }
}

/// How an idle member waits.
fn pace(chaos: &ChaosJob, members: usize) -> Pace {
    let usual = Pace::for_members(members);
    if chaos.fabric == FabricKind::Verbs && !chaos.load.own_core { usual.yielding() } else { usual }
}

/// From the way in to the way out.
fn live<F: Fabric>(job: &Job, chaos: &ChaosJob, start: &Start, fabric: F, control: &mut Control) -> anyhow::Result<()> {
    let file = File::create_new(&start.trace).with_context(|| format!("cannot make the trace {}", start.trace.display()))?;
    let key = ClusterKey::from_hex(&chaos.key).context("the cluster key")?;
    let mesh = mesh(job, &key, start.node)?;
    let members = job.nodes as usize;
    let load = &chaos.load;
    let suspect_after = Duration::from_nanos(load.suspect_after_ns);
    let options =
        MemberOptions { patience: PATIENCE.max(suspect_after), witness: load.witness, ..MemberOptions::new(config(load, members)) };
    let mut application = Application::new(start.node, chaos.load, TraceWriter::new(start.node, chaos.load.ordering.0, file));
    let member = if start.contacts.is_empty() {
        let mut session = meet(job)?;
        Member::found(options, fabric, mesh, &mut session).map_err(|error| anyhow!("{error}"))
    } else {
        match Member::join(options, fabric, mesh, &start.contacts, true, JOIN_PATIENCE.max(JOIN_SUSPICIONS * suspect_after)) {
            Err(error) => {
                let reason = error.to_string();
                application.trace.stopped(reason.clone());
                return control.done(&News::Out { node: start.node, how: Parting::NotIn, reason }).map_err(Into::into);
            }
            other => other.map_err(Into::into),
        }
    };
    let member = member?;
    if !member.is_behind() {
        application.view_installed(member.view());
    }
    let mut life = Life { member, application, start, next_send: Instant::now(), pace: pace(chaos, members), told: None, leaves: false };
    let (how, reason) = life.run(control, chaos.load.rate)?;
    life.application.trace.stopped(reason.clone());
    let news = News::Out { node: start.node, how, reason };
    // Its links close before anybody is told to go on.
    drop(life);
    Ok(control.done(&news)?)
}

/// One life as a member.
struct Life<'a, F: Fabric> {
    member: Member<F>,
    application: Application,
    start: &'a Start,
    next_send: Instant,
    pace: Pace,
    /// The view that the parent knows of, and whether it knows that this member is behind.
    told: Option<(u64, bool)>,
    leaves: bool,
}

impl<F: Fabric> Life<'_, F> {
    /// Turns until the group is over for this member; how and why.
    fn run(&mut self, control: &mut Control, rate: u64) -> anyhow::Result<(Parting, String)> {
        loop {
            self.tell(control)?;
            while let Some(order) = control.poll().context("the next order")? {
                match order {
                    Order::Load => (self.application.loud, self.next_send) = (true, Instant::now()),
                    Order::Quiet => self.application.loud = false,
                    Order::Report(number) => {
                        let report = self.application.report(number, self.member.view(), self.member.is_behind());
                        control.done(&News::Report(report))?;
                    }
                    Order::Leave => {
                        self.application.trace.leaves();
                        self.leaves = true;
                        self.member.leave();
                    }
                    Order::Return(_) => bail!("told to come back while a member"),
                    Order::Finish => return Ok((Parting::Ended, "told to end".into())),
                }
            }
            let until = self.send(rate);
            // Before anybody can see what was sent.
            self.application.trace.write_out();
            let turned = self.member.turn_until(&mut self.application, &mut self.pace, until);
            // There is no group before the first view, nor where the next one cannot be entered.
            if let Some(group) = self.member.group_mut() {
                self.application.trace.turned(group);
            }
            match turned {
                Ok(Turn::Left) => return Ok((Parting::Left, "it has left".into())),
                Ok(_) => {}
                Err(error) => return Ok((parting(&error), error.to_string())),
            }
        }
    }

    /// Sends what is due; when the next message is.
    fn send(&mut self, rate: u64) -> Option<Instant> {
        if !self.application.loud || self.leaves || self.member.is_behind() {
            return None;
        }
        let gap = Duration::from_nanos(1_000_000_000 / rate.max(1));
        let now = Instant::now();
        for _ in 0..BURST_MAX {
            if self.next_send > now {
                return Some(self.next_send);
            }
            if self.application.send(self.member.outgoing()).is_err() {
                // Full: whatever makes room ends the wait.
                self.next_send = now;
                return None;
            }
            self.next_send += gap;
        }
        // Far behind: no use in catching up.
        self.next_send = self.next_send.max(now);
        Some(now)
    }

    /// Tells the parent of a new view, and of the trace's end.
    fn tell(&mut self, control: &mut Control) -> anyhow::Result<()> {
        let (view, behind) = (self.member.view().id, self.member.is_behind());
        if self.told != Some((view, behind)) {
            if self.told.is_none_or(|(known, _)| known != view) {
                control.wake_with(self.member.waker());
            }
            self.told = Some((view, behind));
            control.done(&News::In { node: self.start.node, address: self.member.address(), view, behind })?;
        }
        if let Some(trouble) = self.application.trace.trouble() {
            control.done(&News::TraceLost(format!("{}: {trouble}", self.start.trace.display())))?;
        }
        Ok(())
    }
}

fn parting(error: &MemberError) -> Parting {
    match error {
        MemberError::Ended(Ended::Stopped(Stop::Excluded { .. })) => Parting::Excluded,
        MemberError::Ended(Ended::Stopped(Stop::NoQuorum { .. })) => Parting::Alone,
        // A newcomer without a vote that has lost sight of those who have one asks again.
        MemberError::Ended(Ended::Stopped(Stop::NoVoters | Stop::AtOdds { .. })) => Parting::NotIn,
        MemberError::StateLost { .. } => Parting::StateLost,
        _ => Parting::Ended,
    }
}
