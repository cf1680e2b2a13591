//! One process of a group whose members come and go.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use squall_group::{Delivery, Group, Newcomer, Outgoing, Phase, Upcalls, View, Witness};
use squall_transport::region::RegionError;
use squall_transport::sim::{Random, SimEndpoint, SimFabric, SimNetwork, SoloExchange, mix};
use squall_transport::{Exchange, Fabric, NodeId, OpenError, Rank, Region, RegionOptions};

use crate::churn::Churn;
use crate::mutant::Mutant;
use crate::recorder::Recorder;
use crate::trace::{Event, hash_bytes};

/// The shortest message: long enough that no two are alike.
const BYTES_MIN: u64 = 16;

/// The simulated fabric, or one that lies about what it severs.
pub(crate) struct ChurnFabric {
    inner: SimFabric,
    lies: bool,
}

impl ChurnFabric {
    pub(crate) fn on(network: &SimNetwork, mutant: Option<Mutant>) -> ChurnFabric {
        ChurnFabric { inner: SimFabric::on(network), lies: mutant == Some(Mutant::LateWrite) }
    }
}

impl Fabric for ChurnFabric {
    type Endpoint = SimEndpoint;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn severs(&self) -> bool {
        self.lies || self.inner.severs()
    }

    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        self.inner.region(bytes, options)
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<SimEndpoint, OpenError> {
        self.inner.open(exchange, regions)
    }
}

/// One process of a group whose members come and go.
pub(crate) struct Process {
    /// None: crashed, stopped or left.
    group: Option<Group<SimEndpoint>>,
    network: SimNetwork,
    app: App,
    mutant: Option<Mutant>,
    /// Asked for while the view could not take them.
    pub(crate) next_step_ns: u64,
    pub(crate) stalled_until_ns: u64,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// Something happened.
    Busy,
    /// Nothing did.
    Idle,
    /// The group is over at this process.
    Over,
}

/// The application: sends messages when it likes, and from within upcalls.
struct App {
    node: NodeId,
    recorder: Recorder,
    random: Random,
    me: Rank,
    sends: bool,
    bytes: (u64, u64),
    /// When the next message becomes ready, and how many are left.
    left: u64,
    every_ns: u64,
    ready_at_ns: u64,
    count: u64,
    /// Of this view: hash by index.
    sent: BTreeMap<u64, u64>,
    /// Cut off, to be sent again.
    cut: Vec<u64>,
    again: VecDeque<u64>,
    /// Mine that I have not delivered.
    outstanding: u64,
    /// Delivered in this view.
    delivered: u64,
}

impl Process {
    pub(crate) fn new(
        mut group: Group<SimEndpoint>,
        network: SimNetwork,
        messages: u64,
        churn: &Churn,
        mutant: Option<Mutant>,
        random: Random,
    ) -> Process {
        let (view, small, large) = (group.view(), churn.config.small_max, churn.config.large_max);
        let app = App {
            node: view.node(),
            recorder: Recorder::new(view, churn.config.mode),
            random,
            me: view.me,
            sends: view.my_sender().is_some(),
            bytes: (small, large),
            left: messages,
            every_ns: churn.busy_ns / (messages + 1),
            ready_at_ns: network.now_ns(),
            count: 0,
            sent: BTreeMap::new(),
            cut: Vec::new(),
            again: VecDeque::new(),
            outstanding: 0,
            delivered: 0,
        };
        if let Some(mutation) = mutant.and_then(Mutant::membership) {
            group.set_mutation(mutation);
        }
        Process { group: Some(group), network, app, mutant, next_step_ns: 0, stalled_until_ns: 0 }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.group.is_some()
    }

    pub(crate) fn take_events(&mut self) -> impl Iterator<Item = Event> {
        self.app.recorder.take()
    }

    /// Whether something landed since it was asked last.
    pub(crate) fn take_news(&self) -> bool {
        self.network.take_news(self.app.me)
    }

    /// When membership wants a step, or the next message becomes ready.
    pub(crate) fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let due_ns = self.group.as_ref()?.due_ns()?;
        let ready = self.app.left > 0 && self.app.ready_at_ns > now_ns;
        Some(if ready { due_ns.min(self.app.ready_at_ns) } else { due_ns })
    }

    /// If only a witness can tell whether it goes on: the view.
    pub(crate) fn needs_witness(&self) -> Option<View> {
        self.group.as_ref().filter(|group| group.needs_witness()).map(|group| group.view().clone())
    }

    pub(crate) fn hear_witness(&mut self, witness: Witness) {
        if let Some(group) = &mut self.group {
            group.hear_witness(witness);
        }
    }

    pub(crate) fn next_view(&self) -> Option<View> {
        self.group.as_ref()?.next_view().cloned()
    }

    /// Whether it has proposed a list of changes, or a trim, to others.
    pub(crate) fn leads(&self, trim: bool) -> bool {
        let Some(membership) = self.group.as_ref().and_then(|group| group.membership()) else { return false };
        let accepted = &membership.protocol().row().accepted;
        accepted.leader == Some(self.app.me) && !accepted.changes.is_empty() && (accepted.trim.is_some() || !trim)
    }

    /// One turn of its loop.
    pub(crate) fn step(&mut self, now_ns: u64) -> Stepped {
        let Some(group) = &mut self.group else { return Stepped::Over };
        let app = &mut self.app;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let sent = app.send_ready(now_ns, group.outgoing());
            let stepped = group.step_at(now_ns, app).map(|progress| progress | sent);
            app.recorder.stepped(group);
            stepped
        }));
        let reason = match result {
            Ok(Ok(true)) => return Stepped::Busy,
            Ok(Ok(false)) => return Stepped::Idle,
            Ok(Err(ended)) => ended.to_string(),
            Err(panic) => {
                let message = panic.downcast_ref::<String>().cloned();
                let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                format!("panicked: {}", message.unwrap_or_default())
            }
        };
        let group = self.group.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(group)));
        self.app.recorder.stopped(reason);
        Stepped::Over
    }

    /// Goes over to the next view.
    pub(crate) fn install(&mut self, view: &View, network: SimNetwork) {
        let Some(group) = self.group.take() else { return };
        let mut solo = SoloExchange::new(view.me, view.members);
        let mut group = group.install(&ChurnFabric::on(&network, self.mutant), &mut solo).expect("a scenario's view can be installed");
        if let Some(mutation) = self.mutant.and_then(Mutant::membership) {
            group.set_mutation(mutation);
        }
        self.app.enter(view);
        (self.group, self.network) = (Some(group), network);
    }

    /// A newcomer asks. If it cannot be taken now, it asks again later.
    pub(crate) fn ask(&mut self, newcomer: Newcomer) {
        if let Some(group) = &mut self.group {
            let _ = group.request(newcomer);
        }
    }

    pub(crate) fn leave(&mut self) {
        if let Some(group) = &mut self.group {
            group.leave();
            self.app.recorder.leaves();
        }
    }

    pub(crate) fn suspect(&mut self, bits: u64) {
        let Some(group) = &mut self.group else { return };
        if let Some(other) = other(group.view(), bits) {
            group.suspect(other);
        }
    }

    /// Breaks the link to another member.
    pub(crate) fn cut(&mut self, bits: u64) {
        let Some(group) = &self.group else { return };
        if let Some(other) = other(group.view(), bits) {
            self.network.cut(self.app.me, other, 50_000);
        }
    }

    /// Ends it without a word; its links tell, or nothing does.
    pub(crate) fn crash(&mut self, told: bool) {
        if told {
            self.network.crash(self.app.me, 100_000);
        } else {
            self.network.fall_silent(self.app.me);
        }
        self.group = None;
        self.app.recorder.crashed();
    }

    /// The run is over.
    pub(crate) fn finish(&mut self) {
        if self.group.is_some() {
            self.app.recorder.finished(self.app.left, 0);
        }
    }

    /// Whether it has nothing left to do: in one view with all its members, all sent and all delivered.
    pub(crate) fn rests(&self, live: &[&Process]) -> bool {
        let Some(group) = &self.group else { return true };
        let (view, app) = (group.view(), &self.app);
        let steady = group.membership().is_none_or(|membership| membership.phase() == Phase::Steady);
        let same = |other: &&Process| other.group.as_ref().is_some_and(|group| group.view().nodes == view.nodes);
        let level = |other: &&Process| other.app.delivered == app.delivered;
        let done = app.outstanding == 0 && app.again.is_empty() && (app.left == 0 || !app.sends);
        steady && done && live.len() == view.members && live.iter().all(|other| same(other) && level(other))
    }

    /// For people.
    pub(crate) fn state(&self) -> String {
        let app = &self.app;
        let group = self.group.as_ref().map(|group| {
            let phase = group.membership().map(|membership| membership.phase());
            format!("view {} of {:?} {phase:?}", group.view().id, group.view().nodes.iter().map(|node| node.0).collect::<Vec<_>>())
        });
        format!("{} {group:?} left {} outstanding {} again {}", app.node, app.left, app.outstanding, app.again.len())
    }
}

/// Another member, if there is one.
fn other(view: &View, bits: u64) -> Option<Rank> {
    let others: Vec<Rank> = (0..view.members).map(Rank::new).filter(|&rank| rank != view.me).collect();
    (!others.is_empty()).then(|| others[(bits % others.len() as u64) as usize])
}

impl App {
    fn enter(&mut self, view: &View) {
        self.me = view.me;
        self.sends = view.my_sender().is_some();
        self.recorder.installed(view);
        self.sent.clear();
        self.delivered = 0;
    }

    /// Sends what is ready. Whether anything was sent.
    fn send_ready(&mut self, now_ns: u64, outgoing: &mut Outgoing) -> bool {
        let before = self.count;
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

    fn note(&mut self, index: u64, hash: u64) {
        self.recorder.sent(index, hash);
        self.sent.insert(index, hash);
    }
}

impl Upcalls for App {
    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing) {
        self.recorder.delivered(&delivery);
        self.delivered += 1;
        self.outstanding -= u64::from(delivery.sender == self.me);
        if self.sends && self.left > 0 && self.random.chance(100) && self.send(outgoing) {
            self.left -= 1;
        }
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
