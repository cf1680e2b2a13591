//! What a run of whole members is asked for that no trace tells.

use squall_group::{Ended, MemberError};
use squall_transport::NodeId;
use squall_transport::mesh::Net;

use super::process::{Process, is_regular};
use super::run::Run;
use super::scenario::PATIENCE_NS;
use crate::checker::{Property, Violation};
use crate::trace::Event;

/// Whoever leaves while nobody takes state from it is gone by then.
const LEAVES_NS_MAX: u64 = 25 * PATIENCE_NS;

impl Run<'_> {
    pub(super) fn see(&mut self, property: Property, what: String) {
        self.seen.push(Violation { property, event: self.trace.events.len(), what });
    }

    /// A process is over.
    pub(super) fn look_at_the_end(&mut self, index: usize, error: Option<&MemberError>) {
        let (process, now_ns) = (&self.processes[index], self.clock.now_ns());
        let (node, had_state, hurt) = (process.node(), process.app.is_live(), process.hurt);
        let last = self.last == Some(index) && self.processes.iter().any(Process::is_live);
        let Some(error) = error else { return };
        if !is_regular(error) {
            // State that does not fit together is noticed by whoever takes it.
            let property = if matches!(error, MemberError::State(_)) { Property::StateTransfer } else { Property::ViewProgress };
            return self.see(property, format!("{node} stops at {now_ns} ns: {error}"));
        }
        let left = matches!(error, MemberError::Ended(Ended::Closed));
        if !self.hurt && !hurt && had_state && !left && !self.is_left_out_without_state(node) {
            let what = format!("nothing happened to anybody who had the state, and {node}, which had it, stops: {error}");
            return self.see(Property::ViewProgress, what);
        }
        let finds_none = matches!(error, MemberError::StateLost { .. }) && self.left_out(node).is_none();
        if finds_none && !self.hurt && !hurt {
            return self.see(Property::StateTransfer, format!("{node} finds no state, and nobody who had it was lost: {error}"));
        }
        if last && !hurt && !left {
            self.see(Property::JoinProgress, format!("{node} came when all was calm, and is not taken in: {error}"));
        }
    }

    /// Whether it had no state yet when others went on without it: taking that in may have kept it from a meeting.
    fn is_left_out_without_state(&self, node: NodeId) -> bool {
        let got_it = |event: &Event| matches!(event, Event::Restore { process, .. } if *process == node);
        let events = &self.trace.events;
        self.left_out(node).is_some_and(|place| events.iter().rposition(got_it).is_some_and(|restored| place < restored))
    }

    /// Where the voters of its last view begin to go on without this process: then it reaches nobody who has the state,
    /// whom nothing happened to.
    fn left_out(&self, node: NodeId) -> Option<usize> {
        let (last, members, voters) = self.trace.events.iter().rev().find_map(|event| match event {
            Event::Install { process, view, members, voters, .. } if *process == node => Some((*view, members, *voters)),
            _ => None,
        })?;
        let leaves_out = |event: &Event| match event {
            Event::Suspect { process, view, whom } => {
                *view == last && members.get(whom.index()) == Some(&node) && members.iter().take(voters).any(|voter| voter == process)
            }
            _ => false,
        };
        self.trace.events.iter().position(leaves_out)
    }

    /// A process that has just stepped.
    pub(super) fn look_at_the_step(&mut self, index: usize) {
        let now_ns = self.clock.now_ns();
        let process = &self.processes[index];
        if let Some(since_ns) = process.leaves_since_ns
            && process.is_alive()
            && self.processes.iter().all(|other| !other.is_alive() || other.is_live())
            && now_ns > since_ns.max(self.takers_until_ns).max(process.stalled_until_ns) + LEAVES_NS_MAX
        {
            let what = format!("{} has wanted to leave for {LEAVES_NS_MAX} ns, and nobody needs it", process.node());
            self.processes[index].leaves_since_ns = Some(now_ns);
            return self.see(Property::ViewProgress, what);
        }
        self.look_at_requests(index);
        let process = &self.processes[index];
        if let Some(since_ns) = process.meets_since_ns
            && now_ns >= since_ns + PATIENCE_NS / 2
            && process.stalled_until_ns < since_ns
            && self.waits_for_the_gone(process, since_ns)
        {
            let what = format!("{} waits in a meeting for members that it knows to be gone", process.node());
            self.processes[index].meets_since_ns = Some(now_ns + PATIENCE_NS);
            self.see(Property::ViewProgress, what);
        }
    }

    /// Nobody asks the group for newcomers that it knows to be gone.
    fn look_at_requests(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let (node, new, peers) = (process.node(), process.take_requests(), process.net.peers());
        if !new.is_empty() {
            self.turn_over();
        }
        let process = &self.processes[index];
        let hears = process.net.next_ns().is_some_and(|next_ns| next_ns == 0);
        for gone in new.into_iter().filter(|new| !hears && peers.iter().all(|peer| peer.0 != *new)) {
            let what = format!("{node} asks the group to take in {gone}, which it knows to be gone");
            self.see(Property::ChangeDerivation, what);
        }
    }

    /// Whether all members that are alive and those that might be for all it knows have come to where it is, so that it
    /// waits for dead ones that it has no connection with. Who has lost it, and whom it has not lost yet, may have met
    /// without it.
    fn waits_for_the_gone(&self, process: &Process, since_ns: u64) -> bool {
        if self.any_apart(since_ns) {
            return false;
        }
        let Some(view) = process.view() else { return false };
        let peers = process.net.peers();
        let knows_gone = |node| peers.iter().all(|peer| peer.0 != node);
        let there = |other: &Process| {
            view.nodes.contains(&other.node())
                && other.is_alive()
                && (other.meets_since_ns.is_none() && other.view().is_none_or(|theirs| theirs.id <= view.id)
                    || other.stalled_until_ns >= since_ns)
        };
        let has_lost_it = |other: &Process| {
            let is_known = view.nodes.contains(&other.node()) && other.is_alive() && !knows_gone(other.node());
            is_known && other.net.peers().iter().all(|peer| peer.0 != process.node())
        };
        let missing = self.processes.iter().any(|other| there(other) || has_lost_it(other));
        !missing && view.nodes.iter().all(|&node| self.is_here(node) || knows_gone(node))
    }

    fn is_here(&self, node: NodeId) -> bool {
        self.processes.iter().any(|process| process.is_alive() && process.node() == node)
    }

    /// It never came to rest: what is missing.
    pub(super) fn tell_restless(&mut self, rest_ns: u64) {
        let (now_ns, steps) = (self.clock.now_ns(), self.steps);
        let states: Vec<String> = self.processes.iter().filter(|process| process.is_alive()).map(|process| process.state(now_ns)).collect();
        let behind = self.processes.iter().any(|process| process.is_alive() && !process.is_live());
        let property = if behind { Property::JoinProgress } else { Property::DeliveryProgress };
        self.see(
            property,
            format!("at {now_ns} ns and after {steps} steps, no rest {rest_ns} ns after the last fault: {}", states.join("; ")),
        );
    }
}
