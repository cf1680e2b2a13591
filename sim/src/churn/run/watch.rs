//! What a run is asked for that no trace tells: who stops in time, who is quiet, who goes on.

use squall_group::View;
use squall_transport::NodeId;

use super::Run;
use crate::checker::{Property, Violation};
use crate::churn::fault::SUSPECT_AFTER_NS;
use crate::churn::process::Process;

/// A process that runs and does not reach a majority of its view leaves that view within this time, by stopping or by
/// going on.
const CORNERED_NS_MAX: u64 = 4 * SUSPECT_AFTER_NS;
/// What was said last has landed and was answered after this time at rest.
const SETTLE_NS: u64 = 2 * SUSPECT_AFTER_NS;
/// For so long nothing but heartbeats may be posted.
const QUIET_NS: u64 = 2 * SUSPECT_AFTER_NS;

impl Run<'_> {
    /// A process that has just stepped and has for too long not reached a majority of its view should be gone.
    pub(super) fn look_who_is_cornered(&mut self, index: usize) {
        let Some(view) = self.processes[index].view() else { return };
        let now_ns = self.clock.now_ns();
        let reached = view.nodes[..view.voters].iter().filter(|&&node| self.is_in_touch(view, node)).count();
        if view.voters <= 2 || reached * 2 > view.voters || !view.votes(view.me) {
            self.observed.cornered.remove(&index);
            return;
        }
        // A process that did not run could not notice anything.
        let (view, members, woke_ns) = (view.id, view.voters, self.processes[index].stalled_until_ns);
        let (since_ns, _) = match self.observed.cornered.get(&index) {
            Some(&(since_ns, before)) if before == view => (since_ns.max(woke_ns), view),
            _ => (now_ns, view),
        };
        self.observed.cornered.insert(index, (since_ns, view));
        if now_ns > since_ns + CORNERED_NS_MAX {
            self.observed.cornered.remove(&index);
            let node = self.processes[index].node();
            let what =
                format!("{node} has reached {reached} of {members} voters of view {view} for {CORNERED_NS_MAX} ns and is still in it");
            self.see(Property::MinorityStops, what);
        }
    }

    /// Whether `node` is there in the same view and can be talked to.
    fn is_in_touch(&self, view: &View, node: NodeId) -> bool {
        let same = |process: &Process| process.view().is_some_and(|other| other.id == view.id && other.node() == node);
        node == view.node() || (self.reaches(view.node(), node) && self.live().any(same))
    }

    /// Everything has come to rest: it stays so, and nothing is posted but heartbeats.
    pub(super) fn be_quiet(&mut self) {
        if self.live().next().is_none() {
            return self.ask_for_survivors();
        }
        let views = |run: &Run<'_>| run.processes.iter().map(|process| process.view().map(|view| view.id)).collect::<Vec<_>>();
        let before = views(self);
        self.processes.iter_mut().for_each(Process::read_no_more);
        self.pass(SETTLE_NS);
        let posts: Vec<u64> = self.processes.iter().map(Process::posts).collect();
        self.pass(QUIET_NS);
        if views(self) != before || !self.rests() {
            let what = format!("the group was at rest, and then went on without a reason: {}", self.states());
            return self.see(Property::ViewProgress, what);
        }
        let between_ns = self.churn.config.membership.map_or(QUIET_NS, |timeouts| timeouts.heartbeat.as_nanos() as u64);
        let heartbeats = QUIET_NS / between_ns + 2;
        for (index, process) in self.processes.iter().enumerate() {
            let peers = process.view().map_or(0, |view| view.members as u64 - 1);
            self.observed.idle_posts.insert(index, (process.posts() - posts[index]).saturating_sub(heartbeats * peers));
        }
    }

    /// If fewer than half were hit, some must have gone on.
    fn ask_for_survivors(&mut self) {
        if let Some(victims) = self.victims.filter(|victims| victims * 2 < self.churn.members) {
            let what = format!("faults hit {victims} of {} members at the most, and nobody has gone on", self.churn.members);
            self.see(Property::ViewProgress, what);
        }
    }

    /// It never came to rest: what is missing.
    pub(super) fn tell_restless(&mut self, rest_ns: u64) {
        let level =
            self.live().map(|process| process.view().map(|view| &view.nodes)).collect::<Vec<_>>().windows(2).all(|two| two[0] == two[1]);
        let property = match (level, self.asking.iter().any(|asking| asking.comes)) {
            (false, _) => Property::ViewProgress,
            (true, true) => Property::JoinProgress,
            (true, false) => Property::DeliveryProgress,
        };
        let what = format!("no rest {rest_ns} ns after the last fault: {}", self.states());
        self.see(property, what);
    }

    fn pass(&mut self, ns: u64) {
        let until_ns = self.clock.now_ns() + ns;
        while self.clock.now_ns() < until_ns {
            self.advance();
        }
    }

    fn states(&self) -> String {
        self.live().map(Process::state).collect::<Vec<_>>().join("; ")
    }

    pub(super) fn see(&mut self, property: Property, what: String) {
        self.seen.push(Violation { property, event: self.trace.events.len(), what });
    }
}
