//! One node of a group under load: the node's side of `multicast`, `smc-rate` and `latency`.
//!
//! ```text
//!   trial:  mark of all = 2t+1   (everyone is there; the clock of the host starts with the first send)
//!           send and deliver until all messages of the trial are delivered here
//!           mark of all = 2t+2   (everyone has delivered, so every relay has gone out)
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use squall_group::{Config, Group, Pace, Stats, Timeline, Timeouts};
use squall_transport::Rank;

use super::drag::Drag;
use super::engine::Engine;
use super::receiver::Receiver;
use crate::ask::policy;
use crate::experiments::payload;
use crate::experiments::show::Show;
use crate::jobs::control::Control;
use crate::jobs::fabric::{meet, with_fabric};
use crate::jobs::group::{Counted, GroupJob, GroupOrder, Load, Relayed, Seen, Trial, WATCH_NS};
use crate::jobs::job::Job;
use crate::jobs::kinds::Verify;
use crate::jobs::os;
use crate::jobs::traced::events;

/// Events of blocks that are recorded of a message at the most: 100 MB in blocks of 16 KB go to two members.
const EVENTS_MAX: usize = 1 << 16;

/// The node's side.
///
/// # Errors
/// If the group cannot be joined or ends, or the parent is gone.
pub fn node(job: &Job, group_job: &GroupJob, control: &mut Control) -> anyhow::Result<()> {
    let Some(mode) = group_job.ordering.mode() else { bail!("no group has the order {}", group_job.ordering) };
    let config = group_job.shape.config(group_job.senders, mode, group_job.block_bytes, group_job.schedule);
    let membership = group_job.membership.then(|| Timeouts::after_ns(policy::SUSPECT_AFTER_NS));
    // Nobody joins a group that is measured.
    let config = Config { membership, senders_max: 0, reads: group_job.reads, ..config };
    let mut session = meet(job)?;
    with_fabric!(group_job.fabric, job, fabric => {
        let group = Group::join(&config, &fabric, &mut session)?;
        drop(session);
        control.wake_with(group.waker());
        control.ready(group.notices().to_vec())?;
        Member::new(group, job, group_job).serve(control)
    })
}

/// A node that sends and delivers as it is told.
pub(in crate::experiments) struct Member<G> {
    engine: G,
    me: Rank,
    senders: u64,
    sends: bool,
    message_bytes: u64,
    burst: u64,
    verify: Verify,
    pace: Pace,
    /// For waits between trials, so that other processes can be measured then.
    idle_pace: Pace,
    own_core: bool,
    /// Makes the loop slower, if it is to be.
    drag: Option<Drag>,
    receiver: Receiver,
    /// Reads, for as long as messages come.
    reads: bool,
    /// Messages sent in all trials.
    sent: u64,
    /// It is recorded what happens to blocks.
    traced: bool,
    /// Of a long trial.
    watch: Option<Watch>,
    /// Where people watch; what was counted before the trial.
    show: Option<(Show, Stats)>,
}

/// Deliveries over time.
struct Watch {
    /// Messages of the trial.
    messages: u64,
    next_ns: u64,
    looks: Vec<(u64, u64)>,
}

impl Watch {
    /// Looks if it is time: `remaining` messages are still to come.
    fn look(&mut self, remaining: u64) {
        let now_ns = os::now_ns();
        if now_ns >= self.next_ns {
            self.looks.push((now_ns, self.messages - remaining));
            self.next_ns = now_ns + WATCH_NS;
        }
    }
}

impl<G: Engine> Member<G> {
    pub(in crate::experiments) fn new(engine: G, job: &Job, group_job: &GroupJob) -> Member<G> {
        let members = job.nodes as usize;
        let idle_pace = policy::pace(group_job.own_core, group_job.fabric);
        Member {
            me: Rank::new(job.rank as usize),
            senders: u64::from(group_job.senders - group_job.delay.idle),
            sends: job.rank < group_job.senders - group_job.delay.idle,
            message_bytes: group_job.message_bytes,
            burst: policy::send_burst(group_job.own_core, group_job.fabric, group_job.message_bytes),
            verify: group_job.verify,
            pace: if group_job.spin { Pace::spinning() } else { idle_pace.clone() },
            idle_pace,
            own_core: group_job.own_core,
            drag: (job.rank + group_job.delay.slow >= job.nodes).then(|| Drag::of(group_job)),
            receiver: Receiver::new(members, group_job),
            reads: group_job.reads && job.rank + 1 == job.nodes,
            sent: 0,
            traced: false,
            watch: None,
            show: None,
            engine,
        }
    }

    /// Does as it is told, until it is told to end.
    pub(in crate::experiments) fn serve(mut self, control: &mut Control) -> anyhow::Result<()> {
        loop {
            match self.next_order(control)? {
                GroupOrder::Trial(trial) => {
                    let seen = self.run(&trial, control)?;
                    control.done(&seen)?;
                }
                GroupOrder::Finish => {
                    return self.engine.close(&mut self.receiver, &mut self.idle_pace);
                }
            }
        }
    }

    /// Keeps the group going until an order comes.
    fn next_order(&mut self, control: &Control) -> anyhow::Result<GroupOrder> {
        loop {
            if let Some(order) = control.poll().context("the next order")? {
                return Ok(order);
            }
            self.engine.turn(&mut self.receiver, &mut self.idle_pace, None)?;
        }
    }

    fn run(&mut self, trial: &Trial, control: &Control) -> anyhow::Result<Seen> {
        self.show = trial.shown.then(|| (Show::begin(control.live_line()), self.engine.stats()));
        let seen = self.trial(trial);
        self.show = None;
        seen
    }

    fn trial(&mut self, trial: &Trial) -> anyhow::Result<Seen> {
        self.receiver.begin(trial, self.senders * trial.messages);
        // What passed between trials was no turn.
        self.drag.iter_mut().for_each(Drag::rest);
        self.traced = trial.traced;
        self.engine.record(trial.traced.then(|| Timeline::new(EVENTS_MAX)));
        // Before the mark: others may send, and be answered with nulls, as soon as it is up everywhere.
        let (messages, stats_before) = (self.receiver.remaining, self.engine.stats());
        self.pass_mark(2 * trial.number + 1)?;
        self.watch = trial.watched.then(|| Watch { messages, next_ns: 0, looks: Vec::new() });
        let cpu_before = os::cpu_ns();
        let mut seen = Seen::default();
        let goal = if self.sends { self.sent + trial.messages } else { self.sent };
        if trial.timed {
            seen.sends_ns.reserve(trial.messages as usize);
            seen.calls_ns.reserve(if matches!(trial.load, Load::Paced(_)) { trial.messages as usize } else { 0 });
        }
        if self.sends {
            seen.first_send_ns = os::now_ns();
        }
        match trial.load {
            Load::Full if trial.timed => self.send_timed(goal, &mut seen)?,
            Load::Full => self.send_all(goal)?,
            Load::Closed => self.send_in_turns(goal, &mut seen)?,
            Load::Paced(interval_ns) => self.send_paced(goal, interval_ns, &mut seen)?,
        }
        if self.reads {
            self.read_on(&mut seen)?;
        }
        while self.receiver.remaining > 0 {
            self.turn()?;
        }
        seen.cpu_ns = os::cpu_ns() - cpu_before;
        seen.last_delivery_ns = self.receiver.last_ns;
        self.pass_mark(2 * trial.number + 2)?;
        seen.counted = Counted::between(&stats_before, &self.engine.stats());
        seen.relayed = self.engine.last_relay().map(Relayed::of);
        if let Some(timeline) = self.engine.record(None) {
            (seen.events, seen.events_lost) = (events(timeline.records()), timeline.lost());
        }
        self.traced = false;
        seen.order = self.receiver.order.hashes().to_vec();
        seen.deliveries_ns = std::mem::take(&mut self.receiver.deliveries_ns);
        seen.looks = self.watch.take().map(|watch| watch.looks).unwrap_or_default();
        Ok(seen)
    }

    fn pass_mark(&mut self, mark: u64) -> anyhow::Result<()> {
        self.engine.raise_mark(mark);
        while self.engine.mark_of_all() < mark {
            self.turn()?;
        }
        Ok(())
    }

    /// Sends the next message if there is room; whether there was.
    #[inline(always)]
    fn send_next(&mut self) -> anyhow::Result<bool> {
        let (me, index, verify) = (self.me, self.sent, self.verify);
        let fill = |bytes: &mut [u8]| payload::fill(bytes, me, index, verify);
        let is_sent = self.engine.send(self.message_bytes, fill).with_context(|| format!("message {index}"))?;
        self.sent += u64::from(is_sent);
        Ok(is_sent)
    }

    /// What happens to blocks from here on happens now.
    fn note_time(&mut self) {
        if self.traced
            && let Some(timeline) = self.engine.timeline_mut()
        {
            timeline.set_now(os::now_ns());
        }
    }

    fn turn(&mut self) -> anyhow::Result<()> {
        self.note_time();
        match &mut self.drag {
            None => {
                self.engine.turn(&mut self.receiver, &mut self.pace, None)?;
            }
            Some(drag) => drag.turn(&mut self.engine, &mut self.receiver, &mut self.pace)?,
        }
        if let Some(watch) = &mut self.watch {
            watch.look(self.receiver.remaining);
        }
        if let Some((show, before)) = &mut self.show {
            show.look(self.sent - self.receiver.counts[self.me.index()], || Counted::between(before, &self.engine.stats()));
        }
        if let Some(wrong) = &self.receiver.wrong {
            bail!("{wrong}");
        }
        Ok(())
    }

    fn send_all(&mut self, goal: u64) -> anyhow::Result<()> {
        while self.sent < goal {
            let burst_end = goal.min(self.sent.saturating_add(self.burst));
            while self.sent < burst_end && self.send_next()? {}
            self.turn()?;
        }
        Ok(())
    }

    /// As [`send_all`](Member::send_all), keeping the time of each send.
    fn send_timed(&mut self, goal: u64, seen: &mut Seen) -> anyhow::Result<()> {
        while self.sent < goal {
            let burst_end = goal.min(self.sent.saturating_add(self.burst));
            while self.sent < burst_end {
                let now_ns = os::now_ns();
                if !self.send_next()? {
                    break;
                }
                seen.sends_ns.push(now_ns);
            }
            self.turn()?;
        }
        Ok(())
    }

    fn send_in_turns(&mut self, goal: u64, seen: &mut Seen) -> anyhow::Result<()> {
        while self.sent < goal {
            let now_ns = os::now_ns();
            self.note_time();
            if self.send_next()? {
                seen.sends_ns.push(now_ns);
            } else {
                // Delivered here, and not everywhere: the window opens by what others say.
                self.turn()?;
            }
            while self.receiver.counts[self.me.index()] < self.sent {
                self.turn()?;
            }
        }
        Ok(())
    }

    /// Reads until all messages are here, and once at least.
    fn read_on(&mut self, seen: &mut Seen) -> anyhow::Result<()> {
        loop {
            let asked_ns = os::now_ns();
            let point = self.engine.read_point()?;
            while !self.engine.has_reached(point) {
                self.turn()?;
            }
            if seen.reads_ns.len() < policy::latencies_max(1) as usize {
                seen.reads_ns.push(os::now_ns() - asked_ns);
            }
            if self.receiver.remaining == 0 {
                return Ok(());
            }
        }
    }

    fn send_paced(&mut self, goal: u64, interval_ns: u64, seen: &mut Seen) -> anyhow::Result<()> {
        // Senders take turns within an interval, so that their messages do not all meet.
        let offset_ns = interval_ns * u64::from(self.me.0) / self.senders;
        let mut due_ns = os::now_ns() + offset_ns;
        let mut spinning = Pace::spinning();
        while self.sent < goal {
            let now_ns = os::now_ns();
            if now_ns >= due_ns {
                let burst_end = goal.min(self.sent.saturating_add(self.burst));
                while self.sent < burst_end && due_ns <= now_ns {
                    let called_ns = os::now_ns();
                    if !self.send_next()? {
                        break;
                    }
                    // From when it was due: what a late send costs is the sender's latency too.
                    seen.sends_ns.push(due_ns);
                    seen.calls_ns.push(called_ns);
                    due_ns += interval_ns;
                }
                self.turn()?;
            } else if self.own_core {
                self.engine.turn(&mut self.receiver, &mut spinning, None)?;
            } else {
                let until = Instant::now() + Duration::from_nanos(due_ns - now_ns);
                self.engine.turn(&mut self.receiver, &mut self.pace, Some(until))?;
            }
        }
        Ok(())
    }
}
