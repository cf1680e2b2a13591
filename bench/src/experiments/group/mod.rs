//! The parent's side of everything that a group does: warm-up, trials, and whether all nodes saw the same.

mod drag;
pub(super) mod engine;
pub mod node;
pub(super) mod over_time;
pub(super) mod receiver;

use std::time::{Duration, Instant};

use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use crate::ask::setting::{Setting, Variant};
use crate::experiments::show::Shown;
use crate::experiments::warm_up::WarmUp;
use crate::jobs::group::{GroupJob, GroupOrder, Load, Relayed, Seen, Trial};
use crate::jobs::job::Work;
use crate::jobs::kinds::{FabricKind, Ordering};
use crate::jobs::live::Live;
use crate::jobs::os;
use crate::jobs::shape::Shape;
use crate::run::fault::Fault;
use crate::run::progress::Progress;
use crate::run::stage::Stage;
use crate::run::workers::Workers;
use squall_report::{Row, units};

/// The nodes of one point, all members of one group.
pub(super) struct Members<'a> {
    workers: Workers<'a>,
    setting: Setting,
    patience: Duration,
    trials: u64,
    /// Whether trials are long enough for bandwidth over time.
    watched: bool,
    /// For people who watch; none if nobody does, or trials are over too soon.
    shown: Option<(&'a Progress, Shown)>,
}

/// One trial as all nodes saw it.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Messages of each sender.
    pub(super) messages: u64,
    /// From the first send to the delivery of the last message at the last node.
    pub(super) seconds: f64,
    /// By rank.
    pub(super) nodes: Vec<Seen>,
}

impl<'a> Members<'a> {
    /// Starts the nodes and has them join.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub(super) fn start(point: &PlannedPoint, stage: &Stage<'a>) -> Result<Members<'a>, Fault> {
        let setting = &point.setting;
        let axes = &stage.request.axes;
        let own_core = stage.machine.own_core(setting.nodes);
        let job = GroupJob {
            fabric: setting.fabric.unwrap_or(FabricKind::Shm),
            ordering: setting.ordering.unwrap_or(Ordering::ORDERED),
            senders: setting.senders,
            message_bytes: setting.message_bytes,
            shape: setting.shape.unwrap_or_else(|| Shape::of(setting.message_bytes, setting.window)),
            block_bytes: setting.block_bytes,
            schedule: setting.schedule,
            verify: stage.verify(),
            spin: axes.spin,
            membership: axes.membership,
            own_core,
            delay: setting.delay(),
            reads: setting.variant == Variant::Reading,
        };
        let work = if job.ordering == Ordering::Omnipaxos { Work::Omnipaxos } else { Work::Group };
        let works = (0..setting.nodes).map(|_| work(job.clone())).collect();
        let set_up = policy::set_up_seconds(setting.nodes, point.memory_bytes);
        let deadline = Instant::now() + stage.patience(set_up);
        let workers = stage.workers(works, deadline)?;
        // The fewest messages of a warm-up may take longer than a trial: one sender's to many others over slow links.
        let least = stage.seconds_at_bound(point, policy::WARM_UP_MESSAGES_MIN);
        Ok(Members {
            workers,
            setting: setting.clone(),
            patience: stage.patience(point.trial_seconds.max(least)),
            trials: 0,
            watched: over_time::is_long(point.trial_seconds),
            shown: stage.shown(point).map(|progress| (progress, Shown::new(setting.nodes, setting.message_bytes, setting.window))),
        })
    }

    /// What the nodes could not have as asked, each sentence once.
    pub(super) fn notices(&self) -> Vec<String> {
        let mut notices: Vec<String> = Vec::new();
        for notice in self.workers.notices() {
            let what = notice.split_once(": ").map_or(notice.as_str(), |(_, what)| what);
            if !notices.iter().any(|known| known == what) {
                notices.push(what.to_owned());
            }
        }
        notices
    }

    /// `note` with how well the clocks of the last trial agree.
    pub(super) fn noted(&self, note: String) -> String {
        self.workers.noted(note)
    }

    /// How far times of different nodes in the last trial may be apart by mistake, in nanoseconds.
    pub(super) fn clock_uncertainty_ns(&self) -> u64 {
        self.workers.clock_uncertainty_ns()
    }

    /// One trial; all nodes must have seen the same order.
    ///
    /// # Errors
    /// As [`Workers::run`], or two nodes whose deliveries differ.
    pub(super) fn run(&mut self, messages: u64, load: Load, timed: bool) -> Result<Outcome, Fault> {
        let shown = self.shown.is_some();
        self.order(Trial { number: self.trials, messages, load, timed, traced: false, watched: self.watched, shown })
    }

    /// One message, of which it is recorded what happens to each block.
    ///
    /// # Errors
    /// As [`run`](Members::run).
    pub(super) fn trace(&mut self) -> Result<Outcome, Fault> {
        self.order(Trial { number: self.trials, messages: 1, load: Load::Closed, timed: false, traced: true, watched: false, shown: false })
    }

    fn order(&mut self, trial: Trial) -> Result<Outcome, Fault> {
        self.trials += 1;
        let messages = trial.messages;
        let shown = &mut self.shown;
        let mut watch = |rank: usize, live: Live| {
            if let Some((progress, shown)) = shown {
                progress.live(&shown.hear(rank, live).text());
            }
        };
        let nodes: Vec<Seen> = self.workers.run_watched(&GroupOrder::Trial(trial), Instant::now() + self.patience, &mut watch)?;
        if let Some(differing) = nodes.iter().position(|seen| seen.order != nodes[0].order) {
            let what = if self.setting.ordering.is_some_and(|ordering| ordering.is_total()) {
                "the total order"
            } else {
                "the order of a sender's messages"
            };
            return Err(Fault::Failed(format!("nodes 0 and {differing} disagree on {what}")));
        }
        let first = nodes.iter().map(|seen| seen.first_send_ns).filter(|&ns| ns > 0).min().unwrap_or(0);
        let last = nodes.iter().map(|seen| seen.last_delivery_ns).max().unwrap_or(0);
        Ok(Outcome { messages, seconds: os::seconds(last.saturating_sub(first).max(1)), nodes })
    }

    /// Warms up in growing steps until the rate is known, so that no fabric is too slow for the first; messages of each
    /// sender for a trial of `seconds`.
    ///
    /// # Errors
    /// As [`run`](Members::run).
    pub(super) fn warm_up(&mut self, load: Load, seconds: f64, asked: Option<u64>) -> Result<u64, Fault> {
        let mut steps = WarmUp::new(policy::warm_up_messages(self.setting.message_bytes, self.setting.senders), seconds, asked);
        loop {
            let outcome = self.run(steps.messages(), load, false)?;
            if let Some(messages) = steps.next(outcome.seconds) {
                return Ok(messages);
            }
        }
    }

    /// Has the nodes leave.
    pub(super) fn finish(self) {
        self.workers.dismiss(&GroupOrder::Finish);
    }
}

impl Outcome {
    /// How much the devices of all nodes had to do for a message, if there are devices.
    pub(super) fn requests(&self, senders: u32) -> Option<String> {
        let a_message = |of: fn(&Seen) -> u64| {
            let all: u64 = self.nodes.iter().map(of).sum();
            units::number(all as f64 / (self.messages as f64 * f64::from(senders)))
        };
        let any = self.nodes.iter().any(|seen| seen.counted.requests > 0);
        any.then(|| {
            format!(
                "{} work requests and {} doorbells a message",
                a_message(|seen| seen.counted.requests),
                a_message(|seen| seen.counted.doorbells)
            )
        })
    }

    /// What members wrote to each other for a delivery, and the processor time that a message took of all of them.
    pub(super) fn written(&self, senders: u32) -> String {
        let sum = |of: fn(&Seen) -> u64| self.nodes.iter().map(of).sum::<u64>() as f64;
        let messages = self.messages as f64 * f64::from(senders);
        let a_delivery = |of: fn(&Seen) -> u64| units::number(sum(of) / messages / self.nodes.len() as f64);
        format!(
            "{} words, {} spans and {} of their bytes a delivery, {} us of processor time a message",
            a_delivery(|seen| seen.counted.words),
            a_delivery(|seen| seen.counted.spans),
            a_delivery(|seen| seen.counted.span_bytes),
            units::number(sum(|seen| seen.cpu_ns) / 1e3 / messages)
        )
    }

    /// How most senders' last messages were relayed: the first ones of a group may go otherwise, before its members
    /// know that others send too.
    pub(super) fn relayed(&self) -> Option<Relayed> {
        let all: Vec<Relayed> = self.nodes.iter().filter_map(|seen| seen.relayed).collect();
        all.iter().copied().max_by_key(|one| all.iter().filter(|other| *other == one).count())
    }

    /// The columns that any trial of a group has.
    pub(super) fn row(&self, stage: &Stage<'_>, setting: &Setting, part: Option<&str>) -> Row {
        let sum = |of: fn(&Seen) -> u64| self.nodes.iter().map(of).sum::<u64>();
        let mean = |total: u64, batches: u64| (batches > 0).then(|| total as f64 / batches as f64);
        let messages = self.messages as f64 * f64::from(setting.sending());
        Row {
            messages_per_sender: Some(self.messages),
            seconds: Some(self.seconds),
            algbw_gigabytes_per_second: Some(messages * setting.message_bytes as f64 / self.seconds / 1e9),
            messages_per_second: Some(messages / self.seconds),
            cpu_seconds: Some(os::seconds(sum(|seen| seen.cpu_ns))),
            nulls: Some(sum(|seen| seen.counted.nulls_sent)),
            send_batch_mean: mean(sum(|seen| seen.counted.messages_sent + seen.counted.nulls_sent), sum(|seen| seen.counted.send_batches)),
            receive_batch_mean: mean(sum(|seen| seen.counted.received), sum(|seen| seen.counted.receive_batches)),
            delivery_batch_mean: mean(sum(|seen| seen.counted.delivered), sum(|seen| seen.counted.delivery_batches)),
            verified: stage.verify().name().into(),
            ..setting.row_as(self.relayed(), part)
        }
    }
}
