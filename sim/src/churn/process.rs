//! One process of a group whose members come and go.

use std::panic::{AssertUnwindSafe, catch_unwind};

use squall_group::{Group, JoinRefused, Newcomer, Phase, View, Witness};
use squall_transport::region::RegionError;
use squall_transport::sim::{Random, SimEndpoint, SimFabric, SimNetwork, SoloExchange};
use squall_transport::{Exchange, Fabric, NodeId, OpenError, Rank, Region, RegionOptions, WriteOrder};

use super::app::App;
use super::fault::Moment;
use super::scenario::Churn;
use crate::checker::PANICKED;
use crate::mutant::Mutant;
use crate::reads::Reader;
use crate::trace::Event;

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

    fn write_order(&self) -> WriteOrder {
        self.inner.write_order()
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
    reader: Reader,
    mutant: Option<Mutant>,
    leaving: bool,
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

impl Process {
    pub(crate) fn new(
        mut group: Group<SimEndpoint>,
        network: SimNetwork,
        messages: u64,
        churn: &Churn,
        mutant: Option<Mutant>,
        random: Random,
    ) -> Process {
        let mut app = App::new(group.view(), messages, churn, mutant, random, network.now_ns());
        mutate(&mut group, mutant);
        app.await_state(&mut group);
        group.promise_witness();
        let reader = Reader::new(churn.config.reads, churn.seed, app.node);
        Process { group: Some(group), network, app, reader, mutant, leaving: false, next_step_ns: 0, stalled_until_ns: 0 }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.group.is_some()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving
    }

    pub(crate) fn node(&self) -> NodeId {
        self.app.node
    }

    /// The view that it is in.
    pub(crate) fn view(&self) -> Option<&View> {
        self.group.as_ref().map(Group::view)
    }

    /// Whether it suspects the process of this name.
    pub(crate) fn suspects(&self, node: NodeId) -> bool {
        let Some(group) = &self.group else { return false };
        let rank = group.view().nodes.iter().position(|&member| member == node).map(Rank::new);
        rank.zip(group.membership()).is_some_and(|(rank, membership)| membership.protocol().suspects().has(rank))
    }

    /// Whether it waits for the state that comes before what it receives.
    pub(crate) fn awaits_state(&self) -> bool {
        self.group.as_ref().is_some_and(Group::awaits_state)
    }

    /// Whether it votes in its view.
    pub(crate) fn votes(&self) -> bool {
        self.view().is_some_and(|view| view.votes(view.me))
    }

    /// The state with which its view began, if it has it.
    pub(crate) fn state_at_start(&self) -> Option<u64> {
        self.app.at_start
    }

    /// Here is the state with which `view` began, which it has come to.
    pub(crate) fn restore(&mut self, view: u64, state: u64) {
        if let Some(group) = &mut self.group {
            group.restored(view);
            self.app.state = Some(state);
            self.app.recorder.restored(view, state, Vec::new());
        }
    }

    /// Gives the group up.
    pub(crate) fn stop(&mut self, reason: String) {
        self.group = None;
        self.app.recorder.stopped(reason);
    }

    /// Writes that it has posted in its view.
    pub(crate) fn posts(&self) -> u64 {
        self.network.posts(self.app.me)
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

    /// Whether it leads, and is so far.
    pub(crate) fn leads(&self, moment: Moment) -> bool {
        let Some(membership) = self.group.as_ref().and_then(|group| group.membership()) else { return false };
        let row = membership.protocol().row();
        let there = match moment {
            Moment::Proposed => !row.accepted.changes.is_empty(),
            Moment::Cut => row.accepted.trim.is_some(),
            Moment::Acted => row.installed,
        };
        there && row.accepted.leader == Some(self.app.me)
    }

    /// Whether it has accepted anything from this leader, or where the view ends.
    pub(crate) fn has_accepted(&self, leader: Rank, trimmed: bool) -> bool {
        let Some(membership) = self.group.as_ref().and_then(|group| group.membership()) else { return false };
        let accepted = &membership.protocol().row().accepted;
        accepted.leader == Some(leader) && (accepted.trim.is_some() || !trimmed)
    }

    /// One turn of its loop.
    pub(crate) fn step(&mut self, now_ns: u64) -> Stepped {
        let Some(group) = &mut self.group else { return Stepped::Over };
        let (app, reader) = (&mut self.app, &mut self.reader);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let sent = app.send_ready(now_ns, group.outgoing());
            // Every other member behaves as one that shares its core, in the next view the others.
            group.gather_acknowledgements((group.view().id + group.view().me.index() as u64) & 1 == 1);
            reader.ask(&mut app.recorder, || group.read_point());
            let stepped = group.step_at(now_ns, app).map(|turn| turn.is_busy() | sent);
            app.recorder.stepped(group);
            reader.look(&mut app.recorder, |point| group.has_reached(point));
            stepped
        }));
        let reason = match result {
            Ok(Ok(true)) => return Stepped::Busy,
            Ok(Ok(false)) => return Stepped::Idle,
            Ok(Err(ended)) => ended.to_string(),
            Err(panic) => {
                let message = panic.downcast_ref::<String>().cloned();
                let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                format!("{PANICKED}{}", message.unwrap_or_default())
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
        mutate(&mut group, self.mutant);
        self.app.enter(view, group.is_behind());
        self.app.await_state(&mut group);
        if self.leaving {
            self.app.recorder.leaves();
        }
        (self.group, self.network) = (Some(group), network);
    }

    /// A newcomer asks. If it cannot be taken now, it asks again later. Whether there are buffers for what it wants to
    /// send.
    pub(crate) fn ask(&mut self, newcomer: Newcomer) -> bool {
        let refused = self.group.as_mut().and_then(|group| group.request(newcomer).err());
        !matches!(refused, Some(JoinRefused::Senders { .. }))
    }

    pub(crate) fn leave(&mut self) {
        if let Some(group) = &mut self.group {
            self.leaving = true;
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

    /// Ends it without a word; its links tell within this time, or nothing does.
    pub(crate) fn crash(&mut self, told_ns: Option<u64>) {
        match told_ns {
            Some(told_ns) => self.network.crash(self.app.me, told_ns),
            None => self.network.fall_silent(self.app.me),
        }
        self.group = None;
        self.app.recorder.crashed();
    }

    /// It reads in its next step.
    pub(crate) fn read_soon(&mut self) {
        self.reader.be_keen();
    }

    /// It asks for no more reads.
    pub(crate) fn read_no_more(&mut self) {
        self.reader.close();
    }

    /// The run is over.
    pub(crate) fn finish(&mut self, idle_posts: u64) {
        if self.group.is_some() {
            let unsent = if self.app.sends { self.app.left } else { 0 };
            self.app.recorder.finished(unsent, idle_posts);
        }
    }

    /// Whether it has nothing left to do: in one view with all its members, all sent and all delivered.
    pub(crate) fn rests(&self, live: &[&Process]) -> bool {
        let Some(group) = &self.group else { return true };
        let (view, app) = (group.view(), &self.app);
        let steady = group.membership().is_none_or(|membership| membership.phase() == Phase::Steady);
        let same = |other: &&Process| other.group.as_ref().is_some_and(|group| group.view().nodes == view.nodes);
        let level = |other: &&Process| other.app.delivered == app.delivered;
        let done = !group.is_behind()
            && view.voters == view.members
            && app.outstanding == 0
            && app.again.is_empty()
            && (app.left == 0 || !app.sends)
            && self.reader.rests();
        steady && done && live.len() == view.members && live.iter().all(|other| same(other) && level(other))
    }

    /// For people.
    pub(crate) fn state(&self) -> String {
        let app = &self.app;
        let group = self.group.as_ref().map(|group| {
            let phase = group.membership().map(|membership| membership.phase());
            format!(
                "view {} of {:?}, {} of whom vote, {phase:?}",
                group.view().id,
                group.view().nodes.iter().map(|node| node.0).collect::<Vec<_>>(),
                group.view().voters
            )
        });
        let behind = if self.group.as_ref().is_some_and(Group::is_behind) { " behind" } else { "" };
        format!("{}{behind} {group:?} left {} outstanding {} again {}", app.node, app.left, app.outstanding, app.again.len())
    }
}

/// Builds the fault in, if it is one of a rule.
fn mutate(group: &mut Group<SimEndpoint>, mutant: Option<Mutant>) {
    if let Some(mutation) = mutant.and_then(Mutant::membership) {
        group.set_mutation(mutation);
    }
    if let Some(mutation) = mutant.and_then(Mutant::order) {
        group.set_order_mutation(mutation);
    }
    if let Some(mutation) = mutant.and_then(Mutant::read) {
        group.set_read_mutation(mutation);
    }
}

/// Another member, if there is one.
fn other(view: &View, bits: u64) -> Option<Rank> {
    let others: Vec<Rank> = (0..view.members).map(Rank::new).filter(|&rank| rank != view.me).collect();
    (!others.is_empty()).then(|| others[(bits % others.len() as u64) as usize])
}
