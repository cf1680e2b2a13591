//! What a member does in a step, and when the next one is due.

use std::net::SocketAddr;

use squall_transport::mesh::{MeshSendError, Net};
use squall_transport::{Fabric, NodeId, Rank};

use super::giving::Limits;
use super::message::{Control, Outline};
use super::taking::{Taking, Took};
use super::tap::Tap;
use super::{Member, MemberError, MemberMutation, Stage};
use crate::error::{Ended, JoinRefused};
use crate::group::Group;
use crate::turn::Turn;
use crate::upcalls::Upcalls;

/// Words and news of the mesh that are heard in one step, so that messages get their turn too.
const EVENTS_A_STEP_MAX: usize = 64;
/// A view that took so long to come rests for so many times as long: newcomers take a tenth of the group's time at the
/// most.
const REST_TIMES: u64 = 9;

/// What a group's turn came to, for a member, that has yet to end itself.
pub(super) fn progress_of(turned: Result<Turn, Ended>) -> Result<bool, MemberError> {
    match turned? {
        Turn::Left => Err(Ended::Closed.into()),
        turn => Ok(turn.is_busy()),
    }
}

/// What the caller is told of a turn: that this member has left, once.
pub(super) fn told(was_over: bool, turned: Result<bool, MemberError>) -> Result<Turn, MemberError> {
    match turned {
        Err(MemberError::Ended(Ended::Closed)) if !was_over => Ok(Turn::Left),
        other => other.map(Turn::from),
    }
}

impl<F: Fabric, N: Net> Member<F, N> {
    /// Does what is to be done at `now_ns`, in any monotone time of the caller, which may be a virtual one and is
    /// counted in nanoseconds for that: hears the mesh, goes on with whatever is under way, steps the group. Never
    /// waits: step again when something lands or is heard, or [`Member::due_ns`] has come.
    ///
    /// # Errors
    /// The group is over for this member, and why; the same answer from then on.
    pub fn step_at(&mut self, now_ns: u64, upcalls: &mut impl Upcalls) -> Result<Turn, MemberError> {
        self.stepped = true;
        let was_over = self.over.is_some();
        let stepped = self.step_once(now_ns, upcalls);
        told(was_over, stepped)
    }

    fn step_once(&mut self, now_ns: u64, upcalls: &mut impl Upcalls) -> Result<bool, MemberError> {
        let mut progress = self.tend(now_ns, upcalls)?;
        if self.is_steppable() {
            let (group, mut tap) = self.tapped(upcalls);
            let stepped = group.step_at(now_ns, &mut tap);
            progress |= self.end_if(progress_of(stepped))?;
            self.call_newcomers();
        }
        Ok(progress)
    }

    /// When the next step is due even if nothing lands and nothing is heard, in the time that steps are given.
    pub fn due_ns(&self, now_ns: u64) -> u64 {
        let stage_ns = match &self.stage {
            Stage::Founding(founding) => Some(founding.due_ns()),
            Stage::Following(following) => self.taking.is_none().then(|| following.due_ns()),
            Stage::Passing(passing) => Some(passing.due_ns(now_ns)),
            Stage::InView => self.group.as_ref().and_then(Group::due_ns),
            Stage::Nowhere => None,
        };
        // Between views nobody asks another giver.
        let looks = matches!(self.stage, Stage::Following(_) | Stage::InView);
        let taking_ns = self.taking.as_ref().filter(|_| looks).and_then(|taking| match taking.has_more() {
            true => (!self.waits_for_its_view() && !self.application_waits).then_some(now_ns),
            false => Some(taking.heard_ns + self.patience.giver_ns + 1),
        });
        let asks = self.is_in_view() && self.group.as_ref().is_some_and(Group::needs_witness);
        let witness_ns = self.second.deadline_ns().filter(|_| asks);
        let giving_ns = self.givings.due_ns(now_ns, &self.limits());
        let due = [stage_ns, taking_ns, giving_ns, witness_ns, self.held_until_ns()];
        due.into_iter().flatten().min().unwrap_or(u64::MAX).max(now_ns)
    }

    /// Whether the group is to be stepped: it is there and nothing else comes first.
    pub(super) fn is_steppable(&self) -> bool {
        matches!(self.stage, Stage::InView) && self.group.as_ref().is_some_and(|group| group.next_view().is_none())
    }

    /// The group and what hears it.
    pub(super) fn tapped<'a, U: Upcalls>(&'a mut self, upcalls: &'a mut U) -> (&'a mut Group<F::Endpoint>, Tap<'a, U>) {
        let Member { group, givings, taken, mutation, .. } = self;
        let group = group.as_mut().expect("the caller looked");
        let log = givings.log().filter(|_| *mutation != MemberMutation::StaleState);
        (group, Tap { upcalls, log, taken })
    }

    /// All but the group's own step.
    pub(super) fn tend(&mut self, now_ns: u64, upcalls: &mut impl Upcalls) -> Result<bool, MemberError> {
        if let Some(over) = &self.over {
            return Err(over.clone());
        }
        let result = self.tend_all(now_ns, upcalls);
        self.end_if(result)
    }

    fn tend_all(&mut self, now_ns: u64, upcalls: &mut impl Upcalls) -> Result<bool, MemberError> {
        let mut progress = false;
        for _ in 0..EVENTS_A_STEP_MAX {
            let Some(event) = self.net.next() else { break };
            self.hear(event, now_ns, upcalls)?;
            progress = true;
        }
        progress |= match &self.stage {
            Stage::Founding(_) => self.gather(now_ns)?,
            Stage::Following(_) => self.follow(now_ns)?,
            Stage::Passing(_) => self.pass_on(now_ns, upcalls)?,
            Stage::InView => self.tend_view(now_ns, upcalls)?,
            Stage::Nowhere => false,
        };
        if self.leaving.is_some() && matches!(self.stage, Stage::Following(_)) {
            self.lose_giver(now_ns, None)?;
            return Err(Ended::Closed.into());
        }
        // Others wait for whoever is on its way into a view: what it is being given waits until then.
        if !matches!(self.stage, Stage::Passing(_)) {
            progress |= self.take(upcalls)?;
        }
        Ok(progress | self.give(now_ns, upcalls))
    }

    fn tend_view(&mut self, now_ns: u64, upcalls: &mut impl Upcalls) -> Result<bool, MemberError> {
        self.note_entry(now_ns);
        // In a step of its own, so that whoever traces sees the old view's end.
        if self.group.as_ref().is_some_and(|group| group.next_view().is_some()) {
            self.leave_view()?;
            return self.pass_on(now_ns, upcalls).map(|_| true);
        }
        for early in std::mem::take(&mut self.early) {
            self.ask(early, now_ns, upcalls);
        }
        self.press();
        self.second_opinion(now_ns);
        self.part(now_ns);
        self.seek(now_ns)
    }

    /// The first look at the time since it entered the view.
    pub(super) fn note_entry(&mut self, now_ns: u64) {
        if let (Some(change), Some(group), Stage::InView) = (&mut self.change, &mut self.group, &self.stage)
            && change.installed_ns.is_none()
        {
            change.installed_ns = Some(now_ns);
            group.rest_for(now_ns.saturating_sub(change.wedged_ns).saturating_mul(REST_TIMES));
        }
    }

    /// Asks the group for those who asked me.
    fn press(&mut self) {
        let Member { asks, group, net, .. } = self;
        let Some(group) = group else { return };
        asks.press(group, |node, transfer, refusal: JoinRefused| {
            // It may be gone; then it needs no answer. State on its way there may leave no room for one: then later.
            let said = Control::refusal(transfer, refusal.to_string()).say(net, node);
            !matches!(said, Err(MeshSendError::Full { .. }))
        });
    }

    /// Leaves, if it wants to and may.
    fn part(&mut self, now_ns: u64) {
        let Some(since) = &mut self.leaving else { return };
        let waited_ns = now_ns.saturating_sub(*since.get_or_insert(now_ns));
        let held = self.is_last_with_state() && !self.givings.is_empty() && waited_ns < self.leave_ns();
        if let Some(group) = self.group.as_mut().filter(|_| !held) {
            group.leave_after(waited_ns);
        }
    }

    /// How long a leave waits for others to have the state, whether they take it outside of the view or learn in it.
    fn leave_ns(&self) -> u64 {
        self.options.config.membership.map_or(0, |timeouts| u64::try_from(timeouts.leave.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Until when it stays although it wants to leave, if it does.
    fn held_until_ns(&self) -> Option<u64> {
        let since_ns = self.leaving??;
        (self.is_in_view() && self.is_last_with_state() && !self.givings.is_empty()).then(|| since_ns.saturating_add(self.leave_ns()))
    }

    /// Whether all other members are lost, or still being given the state by this one.
    pub(super) fn is_last_with_state(&self) -> bool {
        let takes = |node: NodeId| self.is_suspected(node) || self.givings.takers().any(|taker| taker == node);
        let me = self.view.me;
        let voters = (0..self.view.voters).map(Rank::new).filter(|rank| *rank != me).map(|rank| self.view.nodes[rank.index()]);
        !self.lacks_state() && self.view.votes(me) && voters.into_iter().all(takes)
    }

    /// Where the other members listen, but for those that are lost.
    pub(super) fn others(&self) -> Vec<SocketAddr> {
        let others = self.view.nodes.iter().filter(|node| **node != self.net.node() && !self.is_suspected(**node));
        others.filter_map(|node| self.addresses.get(node).copied()).collect()
    }

    /// A member that has no state and no giver asks another member. Whether it did.
    fn seek(&mut self, now_ns: u64) -> Result<bool, MemberError> {
        if !self.behind {
            return Ok(false);
        }
        let mut after = None;
        if let Some(taking) = &self.taking {
            let suspected = self.is_suspected(taking.giver);
            if !suspected && (taking.has_more() || now_ns <= taking.heard_ns + self.patience.giver_ns) {
                return Ok(false);
            }
            after = Some(taking.giver);
            self.lose_giver(now_ns, None)?;
        }
        let me = self.net.node();
        let others: Vec<NodeId> = self.view.nodes.iter().copied().filter(|&node| node != me && !self.is_suspected(node)).collect();
        if others.iter().all(|node| self.without.contains(node)) {
            return Err(MemberError::StateLost { view: self.view.id });
        }
        let peers = self.net.peers();
        let may = |node: &NodeId| !self.without.contains(node) && peers.iter().any(|peer| peer.0 == *node);
        let first = after.and_then(|after| others.iter().position(|&node| node == after)).map_or(0, |place| place + 1);
        let Some(&giver) = (0..others.len()).map(|place| &others[(first + place) % others.len()]).find(|node| may(node)) else {
            return Ok(false);
        };
        self.transfers += 1;
        // If it has gone, its Down follows.
        let _ = Control::Want { transfer: self.transfers }.say(&self.net, giver);
        self.taking = Some(Taking::new(giver, self.transfers, now_ns));
        Ok(true)
    }

    fn is_suspected(&self, node: NodeId) -> bool {
        let (Some(rank), Some(group)) = (self.view.rank_of(node), &self.group) else { return false };
        group.membership().is_some_and(|membership| membership.protocol().suspects().has(rank))
    }

    /// Takes in a piece of what this process is given. Whether there was one.
    fn take(&mut self, upcalls: &mut impl Upcalls) -> Result<bool, MemberError> {
        if self.waits_for_its_view() || self.reach(upcalls) {
            return Ok(false);
        }
        self.application_waits = self.taking.is_some() && !upcalls.is_ready();
        if self.application_waits {
            return Ok(false);
        }
        let (me, in_view, id) = (self.net.node(), self.is_in_view(), self.view.id);
        let config = &self.options.config;
        let payload_bytes_max = config.message_bytes_max();
        let Some(taking) = &mut self.taking else { return Ok(false) };
        let enters = |outline: &Outline| outline.nodes.contains(&me) && !(in_view && id >= outline.id);
        let took = taking.turn(&self.net, payload_bytes_max, enters, &mut self.outside, upcalls).map_err(MemberError::State)?;
        if !self.waits_for_its_view() {
            self.reach(upcalls);
        }
        Ok(took != Took::Nothing)
    }

    /// Whether what it was given is of a view that it has yet to enter.
    fn waits_for_its_view(&self) -> bool {
        let Some(outline) = self.taking.as_ref().and_then(Taking::outline) else { return false };
        outline.nodes.contains(&self.net.node()) && !(self.is_in_view() && self.view.id >= outline.id)
    }

    /// If what it was given has come to a view that it was in by itself, it goes on from there. Whether it does. Else
    /// the application hears of the view that it has come to.
    pub(super) fn reach(&mut self, upcalls: &mut impl Upcalls) -> bool {
        if self.waits_for_its_view() {
            return false;
        }
        let in_view = self.is_in_view();
        let Some(taking) = &mut self.taking else { return false };
        let Some(outline) = taking.outline().filter(|_| !taking.told) else { return false };
        if in_view && outline.id > self.view.id {
            // Of a view that is to come and that this process is not in, or so its giver says: it hears why from
            // others.
            return false;
        }
        if let Some(group) = self.group.as_mut().filter(|_| in_view && outline.id >= self.first) {
            group.restored(outline.id);
            self.taken = taking.taken().to_vec();
            let (giver, transfer) = (taking.giver, taking.transfer());
            (self.taking, self.behind) = (None, false);
            // If it has gone it gives nothing.
            let _ = Control::Done { transfer }.say(&self.net, giver);
            return true;
        }
        if let Some(view) = outline.as_outsider() {
            if !in_view {
                self.view = view.clone();
            }
            taking.told = true;
            upcalls.view_installed(&view);
        }
        false
    }

    /// Gives state to those who have none. Whether there was anything to do.
    fn give(&mut self, now_ns: u64, upcalls: &mut impl Upcalls) -> bool {
        if self.givings.is_empty() || self.group.is_none() {
            return false;
        }
        let (limits, at) = (self.limits(), self.position());
        let given = self.givings.turn(&self.net, &limits, now_ns, || at.clone(), upcalls);
        for (newcomer, transfer) in given.near {
            if let Err(reason) = self.asks.note(newcomer, transfer) {
                // It may be gone; then it needs no answer.
                let _ = Control::refusal(transfer, reason).say(&self.net, newcomer.node());
                self.givings.drop_of(newcomer.node());
            }
        }
        given.progress
    }

    fn limits(&self) -> Limits {
        Limits {
            bytes_per_second: self.options.state_bytes_per_second,
            log_bytes_max: self.options.backlog_bytes_max,
            message_bytes_max: self.options.config.large_max,
            idle_ns: self.patience.idle_ns,
            silent_ns: self.patience.long_ns,
            spins: self.mutation == MemberMutation::FullSpins,
        }
    }
}
