//! One member of a simulated group: the group itself, its application, and what the trace needs to know.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use squall_group::{Delivery, Group, Outgoing, SendError, Upcalls};
use squall_transport::Rank;
use squall_transport::sim::{Random, SimNetwork, mix};

use crate::checker::PANICKED;
use crate::mutant::Mutant;
use crate::recorder::Recorder;
use crate::sabotage::SimulatedEndpoint;
use crate::scenario::{Burst, Plan, Scenario};
use crate::trace::{Event, hash_bytes};

/// One member of a simulated group.
pub(crate) struct Member {
    /// None: crashed or ended.
    group: Option<Group<SimulatedEndpoint>>,
    app: App,
    pub(crate) bursts: VecDeque<Burst>,
    /// When it steps next; none while it sleeps.
    pub(crate) next_step_ns: Option<u64>,
    /// Steps in a row that found nothing to do.
    pub(crate) idle_steps: u64,
}

/// Whether a member behaves as one that shares its core, of `seed`: every other one does.
pub(crate) fn shares_core(seed: u64, member: Rank) -> bool {
    mix(seed ^ mix(member.index() as u64 + 1)) & 1 == 1
}

/// What a step came to.
pub(crate) enum Stepped {
    /// Whether anything happened.
    On { progress: bool },
    /// The group is over at this member.
    Ended,
}

impl Member {
    pub(crate) fn new(
        mut group: Group<SimulatedEndpoint>,
        scenario: &Scenario,
        mutant: Option<Mutant>,
        network: &SimNetwork,
        random: Random,
    ) -> Member {
        let rank = group.view().me;
        let plan = &scenario.plans[rank.index()];
        let mut recorder = Recorder::new(group.view(), scenario.config.mode);
        if mutant == Some(Mutant::SwappedDeliveries) && rank.index() + 1 == scenario.members {
            recorder.swap_once();
        }
        let app = App {
            rank,
            recorder,
            network: network.clone(),
            random,
            plan: plan.clone(),
            small_max: scenario.config.small_max,
            bytes_max: scenario.config.large_max.max(scenario.config.small_max),
            wanted: 0,
            replies_left: plan.replies_max,
            next_len: None,
            sent_count: 0,
            delivered_count: 0,
        };
        if let Some(mutation) = mutant.and_then(Mutant::order) {
            group.set_order_mutation(mutation);
        }
        group.gather_acknowledgements(shares_core(scenario.seed, rank));
        let bursts = plan.bursts.iter().copied().collect();
        Member { group: Some(group), app, bursts, next_step_ns: Some(0), idle_steps: 0 }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.group.is_some()
    }

    /// Messages it wants to send and could not so far, those of later bursts among them.
    pub(crate) fn unsent(&self) -> u64 {
        self.app.wanted + self.bursts.iter().map(|burst| burst.messages).sum::<u64>()
    }

    pub(crate) fn sent_count(&self) -> u64 {
        self.app.sent_count
    }

    pub(crate) fn delivered_count(&self) -> u64 {
        self.app.delivered_count
    }

    pub(crate) fn raise_mark(&mut self, value: u64) {
        if let Some(group) = &mut self.group {
            group.raise_mark(value);
        }
    }

    pub(crate) fn sees_mark(&self, value: u64) -> bool {
        self.group.as_ref().is_none_or(|group| group.mark_of_all() >= value)
    }

    /// Ends it without a word.
    pub(crate) fn crash(&mut self) {
        self.group = None;
        self.next_step_ns = None;
        self.app.recorder.crashed();
    }

    /// The run is over.
    pub(crate) fn finish(&mut self, idle_posts: u64) {
        let unsent = self.unsent();
        self.app.recorder.finished(unsent, idle_posts);
    }

    /// What was written down since the last call.
    pub(crate) fn take_events(&mut self) -> impl Iterator<Item = Event> {
        self.app.recorder.take()
    }

    /// Messages of bursts that are due by now are wanted; whether there were any.
    pub(crate) fn take_bursts(&mut self, now_ns: u64) -> bool {
        let before = self.app.wanted;
        while let Some(burst) = self.bursts.front().filter(|burst| burst.at_ns <= now_ns) {
            self.app.wanted += burst.messages;
            self.bursts.pop_front();
        }
        self.app.wanted > before
    }

    /// One turn of its loop: sends what it wants to send, steps the group, and writes down what happened.
    pub(crate) fn step(&mut self) -> Stepped {
        let Some(group) = &mut self.group else { return Stepped::Ended };
        let app = &mut self.app;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let sent = app.send_wanted(group.outgoing());
            let stepped = group.step(app).map(|turn| turn.is_busy() | sent);
            app.recorder.stepped(group);
            stepped
        }));
        let reason = match result {
            Ok(Ok(progress)) => {
                self.idle_steps = if progress { 0 } else { self.idle_steps + 1 };
                return Stepped::On { progress };
            }
            Ok(Err(ended)) => ended.to_string(),
            Err(panic) => {
                let message = panic.downcast_ref::<String>().cloned();
                let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                format!("{PANICKED}{}", message.unwrap_or_default())
            }
        };
        // A group that panicked may panic again when it is dropped.
        let group = self.group.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(group)));
        self.next_step_ns = None;
        self.app.recorder.stopped(reason);
        Stepped::Ended
    }
}

/// The application: sends what the plan says, from its loop and from within upcalls, and remembers what it was handed.
struct App {
    rank: Rank,
    recorder: Recorder,
    network: SimNetwork,
    random: Random,
    plan: Plan,
    small_max: u64,
    bytes_max: u64,
    wanted: u64,
    replies_left: u64,
    /// Length of the message that is to be sent next, once it was drawn.
    next_len: Option<u64>,
    sent_count: u64,
    delivered_count: u64,
}

impl App {
    /// Sends as much as it wants and may. Whether anything was sent.
    fn send_wanted(&mut self, outgoing: &mut Outgoing) -> bool {
        let before = self.sent_count;
        while self.wanted > 0 && self.sent_count - before < self.plan.sends_a_step && self.send_one(outgoing) {
            self.wanted -= 1;
        }
        self.sent_count > before
    }

    /// Sends the next message; `false` if there is no room now.
    fn send_one(&mut self, outgoing: &mut Outgoing) -> bool {
        let len = self.next_len.unwrap_or_else(|| self.draw_len());
        self.next_len = Some(len);
        if self.random.chance(50) {
            // Memory that is reserved and not committed is nobody's message.
            if let Ok(mut slot) = outgoing.reserve(len) {
                slot.bytes_mut().fill(0xEE);
            }
        }
        let (index, hash) = match outgoing.reserve(len) {
            Ok(mut slot) => {
                fill(slot.bytes_mut(), self.rank, self.sent_count);
                let hash = hash_bytes(slot.bytes_mut());
                (slot.commit(), hash)
            }
            Err(SendError::WindowFull | SendError::PoolExhausted) => return false,
            Err(error) => panic!("a message of {len} bytes was refused: {error}"),
        };
        self.recorder.sent(index, hash);
        self.sent_count += 1;
        self.next_len = None;
        true
    }

    fn draw_len(&mut self) -> u64 {
        let random = &mut self.random;
        if random.chance(self.plan.large_per_mille) {
            return random.between(self.small_max + 1, self.bytes_max);
        }
        // Often the shortest and the longest: that is where the edges are.
        match random.below(4) {
            0 => random.below(2).min(self.small_max),
            1 => self.small_max,
            _ => random.between(0, self.small_max),
        }
    }
}

impl Upcalls for App {
    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing) {
        self.recorder.delivered(&delivery);
        self.delivered_count += 1;
        if self.replies_left > 0 && self.random.chance(self.plan.reply_per_mille) {
            self.replies_left -= 1;
            if !self.send_one(outgoing) {
                self.wanted += 1;
            }
        }
        // The application takes its time, and memory changes meanwhile.
        self.network.pass_call_time();
    }
}

/// The payload of message `number` of `sender`: every word depends on both and on its place.
fn fill(bytes: &mut [u8], sender: Rank, number: u64) {
    let seed = mix(u64::from(sender.0) << 48 ^ number);
    for (place, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = mix(seed ^ place as u64).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}
