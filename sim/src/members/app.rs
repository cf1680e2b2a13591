//! The application of a process: sends messages, and has a state that newcomers are given.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Cursor, Read};

use squall_group::{Delivery, Mode, Outgoing, StatePiece, Upcalls, View};
use squall_transport::sim::{Random, mix};
use squall_transport::{NodeId, Rank};

use super::reached::{All, Reached};
use super::scenario::{MembersScenario, SUSPECT_AFTER_NS};
use crate::recorder::Recorder;
use crate::trace::{Event, hash_bytes, state_after};

/// The shortest message: long enough that no two are alike.
const BYTES_MIN: u64 = 16;
/// The longest that a state's own bytes are.
const STATE_BYTES_MAX: usize = 1 << 12;
/// As much state as a member has on its way to another one.
const WINDOW_BYTES: u64 = 1 << 20;
/// No state at all: what a newcomer has whose pieces did not fit together.
const GARBAGE: u64 = u64::MAX;

/// The view that a state has come to, and by sender up to where it holds messages of that.
type Taken = (u64, BTreeMap<Rank, u64>);

pub(super) struct App {
    node: NodeId,
    mode: Mode,
    /// None before the first view.
    recorder: Option<Recorder>,
    events: Vec<Event>,
    random: Random,
    bytes: (u64, u64),
    pub(super) left: u64,
    every_ns: u64,
    pub(super) ready_at_ns: u64,
    count: u64,
    me: Option<View>,
    /// Its rank in the view whose messages it is handed.
    rank: Option<Rank>,
    sent: BTreeMap<u64, u64>,
    cut: Vec<u64>,
    pub(super) again: VecDeque<u64>,
    /// Mine that I have not delivered.
    pub(super) outstanding: u64,
    /// What was made of all deliveries.
    pub(super) state: u64,
    taken: Taken,
    /// It has the state of the view that it is in.
    live: bool,
    /// It wants to leave.
    leaves: bool,
    ballast_bytes: u64,
    given: Vec<u8>,
    restore_bytes_per_s: u64,
    /// Time that restoring took and that has yet to pass.
    pub(super) debt_ns: u64,
    /// State that began to come so far; how much of it came, and how long that took to take in.
    begun: u64,
    given_bytes: u64,
    restoring_ns: u64,
    /// Views that it heard of before it was in one.
    outside_views: u64,
    reached: All,
}

impl App {
    pub(super) fn new(node: NodeId, scenario: &MembersScenario, messages: u64, random: Random, now_ns: u64) -> App {
        let config = &scenario.options.config;
        App {
            node,
            mode: config.mode,
            recorder: None,
            events: Vec::new(),
            random,
            bytes: (config.small_max, config.large_max),
            left: messages,
            every_ns: scenario.busy_ns / (messages + 1),
            ready_at_ns: now_ns,
            count: 0,
            me: None,
            rank: None,
            sent: BTreeMap::new(),
            cut: Vec::new(),
            again: VecDeque::new(),
            outstanding: 0,
            state: 0,
            taken: Default::default(),
            live: false,
            leaves: false,
            ballast_bytes: scenario.state_bytes,
            given: Vec::new(),
            restore_bytes_per_s: scenario.restore_bytes_per_s,
            debt_ns: 0,
            begun: 0,
            given_bytes: 0,
            restoring_ns: 0,
            outside_views: 0,
            reached: All::new(),
        }
    }

    /// Whether it is in a view with the state.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    pub(super) fn is_unordered(&self) -> bool {
        self.mode == Mode::Unordered
    }

    /// Whether it ever was in a view.
    pub(super) fn was_in(&self) -> bool {
        self.me.is_some()
    }

    /// It wants to leave, in this view or a later one.
    pub(super) fn leaves(&mut self) {
        self.leaves = true;
        if let Some(recorder) = &mut self.recorder {
            recorder.leaves();
        }
    }

    pub(super) fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_mut()
    }

    /// What it came through.
    pub(super) fn reached(&self) -> impl Iterator<Item = Reached> {
        self.reached.iter().copied()
    }

    /// What was written down since the last call.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.events);
        events.extend(self.recorder.iter_mut().flat_map(Recorder::take));
        events
    }

    /// Something that happens outside of any view too.
    pub(super) fn note(&mut self, event: Event) {
        self.events.extend(self.recorder.iter_mut().flat_map(Recorder::take));
        self.events.push(event);
    }

    /// The process is in `view`, with the state or without. While it hands out what was held back it is told of earlier
    /// views than the one that it is in.
    pub(super) fn enter(&mut self, view: &View, live: bool) {
        if self.me.as_ref().is_none_or(|me| me.id < view.id) {
            self.install(view);
        }
        if live && let Some(recorder) = &mut self.recorder {
            recorder.follows(view);
            if !std::mem::replace(&mut self.live, true) {
                let taken = |sender| self.taken.1.get(sender).copied().unwrap_or(0);
                recorder.restored(view.id, self.state, view.senders.iter().map(taken).collect());
            }
        }
    }

    fn install(&mut self, view: &View) {
        match &mut self.recorder {
            Some(recorder) => recorder.installed(view),
            None => {
                // Who founds a group has what there is from the start.
                self.live = view.id == 0;
                self.recorder = Some(Recorder::new(view, self.mode));
            }
        }
        let recorder = self.recorder.as_mut().expect("it was made if there was none");
        if !self.live {
            recorder.behind();
        }
        if self.leaves {
            recorder.leaves();
        }
        (self.me, self.sent) = (Some(view.clone()), BTreeMap::new());
        if self.mode == Mode::Unordered {
            self.outstanding = 0;
        }
    }

    /// Sends what is ready. Whether anything was sent.
    pub(super) fn send_ready(&mut self, now_ns: u64, outgoing: &mut Outgoing) -> bool {
        let before = self.count;
        while self.left > 0 && self.ready_at_ns <= now_ns && self.send(outgoing) {
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
        self.note_sent(index, hash);
        self.outstanding += 1;
        true
    }

    fn note_sent(&mut self, index: u64, hash: u64) {
        if let Some(recorder) = &mut self.recorder {
            recorder.sent(index, hash);
        }
        self.sent.insert(index, hash);
    }

    fn ballast(&self, state: u64) -> impl Iterator<Item = u8> + use<> {
        (0..self.ballast_bytes).map(move |place| (state.rotate_left(place as u32 % 61) as u8) ^ (place >> 3) as u8)
    }

    /// The state, and ballast behind that can be told from it.
    fn bytes_of_state(&self) -> Vec<u8> {
        let own = (self.state, &self.taken);
        let mut bytes = postcard::to_stdvec(&own).expect("plain data");
        bytes.extend(self.ballast(self.state));
        bytes
    }

    /// The state that pieces make, if they fit together.
    fn put_together(&mut self) {
        let given = std::mem::take(&mut self.given);
        let head = &given[..given.len().min(STATE_BYTES_MAX)];
        let read: Option<((u64, Taken), &[u8])> = postcard::take_from_bytes(head).ok();
        (self.state, self.taken) = (GARBAGE, Default::default());
        if let Some(((state, taken), rest)) = read
            && given[head.len() - rest.len()..].iter().copied().eq(self.ballast(state))
        {
            (self.state, self.taken) = (state, taken);
        }
    }
}

impl Upcalls for App {
    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing) {
        self.state = state_after(self.state, hash_bytes(delivery.payload));
        self.taken.1.insert(delivery.sender, delivery.index + 1);
        let Some(recorder) = self.recorder.as_mut().filter(|_| self.live) else { return };
        recorder.delivered(&delivery);
        if self.rank == Some(delivery.sender) {
            self.outstanding -= 1;
        }
        if self.left > 0 && self.random.chance(100) && self.send(outgoing) {
            self.left -= 1;
        }
    }

    fn cut(&mut self, index: u64) {
        if let Some(recorder) = &mut self.recorder {
            recorder.cut(index);
        }
        self.cut.extend(self.sent.get(&index));
    }

    fn view_ended(&mut self, _next: Option<&View>) {
        let older = std::mem::take(&mut self.again);
        self.again = self.cut.drain(..).chain(older).collect();
    }

    fn view_installed(&mut self, view: &View) {
        self.rank = view.is_mine().then_some(view.me);
        self.outside_views += u64::from(!view.is_mine() && self.me.is_none());
        if self.outside_views > 1 {
            self.reached.insert(Reached::FollowedOn);
        }
        if view.id > self.taken.0 {
            self.taken = (view.id, BTreeMap::new());
        }
        if view.is_mine() {
            self.enter(view, true);
        }
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        Box::new(Cursor::new(self.bytes_of_state()))
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        match piece {
            StatePiece::Begin => {
                self.given.clear();
                (self.begun, self.restoring_ns, self.given_bytes) = (self.begun + 1, 0, 0);
                if self.begun > 1 {
                    self.reached.insert(Reached::BeganAgain);
                }
            }
            StatePiece::Bytes(bytes) => {
                self.given.extend_from_slice(bytes);
                let takes_ns = (bytes.len() as u64).saturating_mul(1_000_000_000) / self.restore_bytes_per_s;
                (self.debt_ns, self.restoring_ns) = (self.debt_ns + takes_ns, self.restoring_ns + takes_ns);
                self.given_bytes += bytes.len() as u64;
            }
            StatePiece::End => {
                self.put_together();
                if self.restoring_ns > SUSPECT_AFTER_NS {
                    self.reached.insert(Reached::SlowRestore);
                }
                if self.given_bytes > WINDOW_BYTES {
                    self.reached.insert(Reached::LargeState);
                }
            }
        }
    }

    fn sent_again(&mut self, index: u64) {
        if let Some(hash) = self.again.pop_front() {
            self.note_sent(index, hash);
        }
    }
}
