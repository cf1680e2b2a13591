//! Newcomers get the state of the application from somebody who has it.

use squall_group::View;
use squall_transport::NodeId;

use super::Run;
use super::transfer::Transfer;
use crate::checker::Property;
use crate::churn::process::Process;

/// Whoever is asked and is not there is asked again after this time.
const ASK_AGAIN_NS: u64 = 50_000;

/// What somebody says who is asked for the state.
enum Answer {
    /// Nothing, so far.
    None,
    /// It has none, or is lost.
    Without,
    Has(u64),
}

impl Run<'_> {
    /// A process that has no state has entered a view. Whoever gives it that of an earlier one goes on while it stays.
    pub(super) fn fetch(&mut self, to: usize) {
        let Some(view) = self.processes[to].view() else { return };
        let stays = |transfer: &Transfer| transfer.gives.is_some_and(|(giver, _)| view.rank_of(giver).is_some());
        if self.transfers.iter().any(|transfer| transfer.to == to && stays(transfer)) {
            return;
        }
        let (view, now_ns) = (view.id, self.clock.now_ns());
        self.transfers.retain(|transfer| transfer.to != to);
        self.transfers.push(Transfer::new(to, view, now_ns));
    }

    /// What is due comes, or somebody else is asked.
    pub(super) fn transfer(&mut self) {
        let now_ns = self.clock.now_ns();
        for transfer in self.transfers.extract_if(.., |transfer| transfer.next_ns <= now_ns).collect::<Vec<_>>() {
            let process = &self.processes[transfer.to];
            let Some(view) = process.view().filter(|_| process.awaits_state()).cloned() else { continue };
            match transfer.gives {
                Some((giver, state)) => self.give(transfer, giver, state, &view),
                None if transfer.view == view.id => self.ask_for_state(transfer, &view),
                None => {}
            }
        }
    }

    /// All of it has come, if whoever gave it is still there; else it is asked for anew, as it is at the beginning of
    /// the present view.
    fn give(&mut self, transfer: Transfer, giver: NodeId, state: u64, view: &View) {
        let now_ns = self.clock.now_ns();
        let near = self.live().any(|process| process.node() == giver) && self.reaches(giver, self.processes[transfer.to].node());
        if !near || self.processes[transfer.to].suspects(giver) {
            return self.ask_for_state(Transfer::new(transfer.to, view.id, now_ns), view);
        }
        let process = &mut self.processes[transfer.to];
        process.restore(transfer.view, state);
        process.next_step_ns = process.next_step_ns.min(now_ns).max(process.stalled_until_ns);
        self.trace.events.extend(process.take_events());
    }

    fn ask_for_state(&mut self, mut transfer: Transfer, view: &View) {
        let now_ns = self.clock.now_ns();
        match self.answer(&transfer, view) {
            Answer::Has(state) => {
                let (takes_ns, giver) = (self.random.below(self.churn.state_ns + 1), view.nodes[transfer.giver]);
                (transfer.gives, transfer.next_ns) = (Some((giver, state)), now_ns + takes_ns);
                self.ambush_giver(view.nodes[transfer.giver], now_ns + takes_ns / 2);
                return self.transfers.push(transfer);
            }
            Answer::Without => transfer.without += 1,
            Answer::None => transfer.without = 0,
        }
        if transfer.without >= view.members {
            // Everybody was asked: what this group knew is lost. Whoever votes has the state, so nobody is left who
            // does.
            let there = |other: &&Process| other.votes() && other.view().is_some_and(|other| other.id == view.id);
            let to = self.processes[transfer.to].node();
            let voter = self.live().find(there).map(Process::node).filter(|voter| self.trusts(to, *voter));
            if let Some(voter) = voter {
                let what = format!("{voter} votes in view {} and has no state to give", view.id);
                self.see(Property::StateContinuity, what);
            }
            let process = &mut self.processes[transfer.to];
            process.stop("no member of the view has the state that it begins with".into());
            self.trace.events.extend(process.take_events());
            return self.come_back(transfer.to);
        }
        transfer.giver = (transfer.giver + 1) % view.members;
        transfer.next_ns = now_ns + 1 + self.random.below(ASK_AGAIN_NS);
        self.transfers.push(transfer);
    }

    /// Whether it neither suspects it nor is cut off from it.
    fn trusts(&self, one: NodeId, other: NodeId) -> bool {
        let suspects = self.live().any(|process| process.node() == one && process.suspects(other));
        !suspects && self.reaches(one, other)
    }

    fn answer(&self, transfer: &Transfer, view: &View) -> Answer {
        let (node, to) = (view.nodes[transfer.giver], &self.processes[transfer.to]);
        if node == to.node() || to.suspects(node) {
            return Answer::Without;
        }
        let there = |process: &&Process| process.node() == node && process.view().is_some_and(|other| other.id == view.id);
        match self.live().find(there).filter(|_| self.reaches(node, to.node())) {
            None => Answer::None,
            Some(giver) => giver.state_at_start().map_or(Answer::Without, Answer::Has),
        }
    }
}
