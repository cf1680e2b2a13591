//! The application of a process: sends messages when it likes, and from within upcalls.

use std::collections::{BTreeMap, VecDeque};

use squall_group::{Delivery, Group, Outgoing, Upcalls, View};
use squall_transport::sim::{Random, mix};
use squall_transport::{Endpoint, NodeId, Rank};

use super::scenario::Churn;
use crate::mutant::Mutant;
use crate::recorder::Recorder;
use crate::trace::{hash_bytes, state_after};

/// The shortest message: long enough that no two are alike.
const BYTES_MIN: u64 = 16;

/// The application: sends messages when it likes, and from within upcalls.
pub(super) struct App {
    pub(super) node: NodeId,
    pub(super) recorder: Recorder,
    ordered: bool,
    random: Random,
    pub(super) me: Rank,
    pub(super) sends: bool,
    bytes: (u64, u64),
    /// When the next message becomes ready, and how many are left.
    pub(super) left: u64,
    every_ns: u64,
    pub(super) ready_at_ns: u64,
    count: u64,
    /// Of this view: hash by index.
    sent: BTreeMap<u64, u64>,
    /// Cut off, to be sent again.
    cut: Vec<u64>,
    pub(super) again: VecDeque<u64>,
    /// Mine that I have not delivered.
    pub(super) outstanding: u64,
    /// Delivered in this view.
    pub(super) delivered: u64,
    /// What was made of all deliveries; none: it is still to come from another process.
    pub(super) state: Option<u64>,
    /// What it was before the last delivery.
    before: u64,
    /// What it was when the view began, as others are told; none: it did not have it then.
    pub(super) at_start: Option<u64>,
    mutant: Option<Mutant>,
    /// The last message of mine that was delivered.
    last: Vec<u8>,
    /// What is sent once too often.
    twice: Option<Vec<u8>>,
}

impl App {
    pub(super) fn new(view: &View, messages: u64, churn: &Churn, mutant: Option<Mutant>, random: Random, now_ns: u64) -> App {
        App {
            node: view.node(),
            recorder: Recorder::new(view, churn.config.mode),
            ordered: churn.config.mode.is_total(),
            random,
            me: view.me,
            sends: view.is_sender(),
            bytes: (churn.config.small_max, churn.config.large_max),
            left: messages,
            every_ns: churn.busy_ns / (messages + 1),
            ready_at_ns: now_ns,
            count: 0,
            sent: BTreeMap::new(),
            cut: Vec::new(),
            again: VecDeque::new(),
            outstanding: 0,
            delivered: 0,
            state: (view.id == 0).then_some(0),
            before: 0,
            at_start: (view.id == 0).then_some(0),
            mutant,
            last: Vec::new(),
            twice: None,
        }
    }

    pub(super) fn enter(&mut self, view: &View, behind: bool) {
        self.me = view.me;
        self.sends = view.is_sender();
        self.recorder.installed(view);
        self.sent.clear();
        self.delivered = 0;
        self.at_start =
            self.state.filter(|_| !behind).map(|state| if self.mutant == Some(Mutant::JoinerMissesOne) { self.before } else { state });
        if self.mutant == Some(Mutant::SentTwice) && !self.again.is_empty() && !self.last.is_empty() {
            self.twice = Some(self.last.clone());
        }
        if !self.ordered {
            // There is no cut: what was not delivered in the view in which it was sent never is.
            self.outstanding = 0;
        }
    }

    /// Without a state nothing may be delivered.
    pub(super) fn await_state<E: Endpoint>(&mut self, group: &mut Group<E>) {
        if self.state.is_none() && !group.view().votes(group.view().me) {
            group.await_state();
            self.recorder.behind();
        }
    }

    /// Sends what is ready. Whether anything was sent.
    pub(super) fn send_ready(&mut self, now_ns: u64, outgoing: &mut Outgoing) -> bool {
        let before = self.count;
        self.send_twice(outgoing);
        while self.sends && self.left > 0 && self.ready_at_ns <= now_ns && self.send(outgoing) {
            self.left -= 1;
            self.ready_at_ns += self.random.between(0, 2 * self.every_ns);
        }
        self.count > before
    }

    fn send(&mut self, outgoing: &mut Outgoing) -> bool {
        let (small, large) = self.bytes;
        let len = if large > small && self.random.chance(250) {
            self.random.between(small + 1, large)
        } else {
            self.random.between(BYTES_MIN, small)
        };
        let Ok(mut slot) = outgoing.reserve(len) else { return false };
        let seed = mix(self.node.0 << 32 ^ self.count);
        for (place, chunk) in slot.bytes_mut().chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&mix(seed ^ place as u64).to_le_bytes()[..chunk.len()]);
        }
        let hash = hash_bytes(slot.bytes_mut());
        let index = slot.commit();
        self.count += 1;
        self.note(index, hash);
        self.outstanding += 1;
        true
    }

    /// After what was cut off, one more that was not: a fault on purpose.
    fn send_twice(&mut self, outgoing: &mut Outgoing) {
        if let Some(bytes) = self.twice.take_if(|_| self.again.is_empty())
            && let Ok(index) = outgoing.send(&bytes)
        {
            self.note(index, hash_bytes(&bytes));
            self.outstanding += 1;
        }
    }

    fn note(&mut self, index: u64, hash: u64) {
        self.recorder.sent(index, hash);
        self.sent.insert(index, hash);
    }
}

impl Upcalls for App {
    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing) {
        self.recorder.delivered(&delivery);
        if let Some(state) = &mut self.state {
            self.before = *state;
            *state = state_after(*state, hash_bytes(delivery.payload));
        }
        if self.mutant == Some(Mutant::SentTwice) && delivery.sender == self.me {
            self.last = delivery.payload.to_vec();
        }
        self.delivered += 1;
        // A rank of an earlier view says nothing about this one.
        self.outstanding -= u64::from(delivery.sender == self.me && !self.recorder.is_behind());
        if self.sends && self.left > 0 && self.random.chance(100) && self.send(outgoing) {
            self.left -= 1;
        }
    }

    fn view_installed(&mut self, view: &View) {
        self.recorder.follows(view);
        self.delivered = 0;
    }

    fn cut(&mut self, index: u64) {
        self.recorder.cut(index);
        self.cut.extend(self.sent.get(&index));
    }

    fn view_ended(&mut self, _next: Option<&View>) {
        let older = std::mem::take(&mut self.again);
        self.again = self.cut.drain(..).chain(older).collect();
    }

    fn sent_again(&mut self, index: u64) {
        if let Some(hash) = self.again.pop_front() {
            self.note(index, hash);
        }
    }
}
