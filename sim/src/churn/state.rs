//! Newcomers get the state of the application from somebody who has it.

use squall_group::View;

use super::run::Run;

/// Whoever is asked and is not there is asked again after this time.
const ASK_AGAIN_NS: u64 = 50_000;

/// The state with which a view begins, on its way to a process that has none.
pub(super) struct Transfer {
    to: usize,
    view: u64,
    /// Who is asked, by rank.
    giver: usize,
    /// It gives.
    gives: bool,
    /// So many in a row of those that could be asked have no state either.
    without: usize,
    pub(super) next_ns: u64,
}

/// What somebody says who is asked for the state.
enum Answer {
    /// Nothing, so far.
    None,
    /// It has none, or is lost.
    Without,
    Has(u64),
}

impl Run<'_> {
    /// A process that has no state has entered a view.
    pub(super) fn fetch(&mut self, to: usize) {
        let Some(view) = self.processes[to].view() else { return };
        let (view, now_ns) = (view.id, self.clock.now_ns());
        self.transfers.retain(|transfer| transfer.to != to);
        self.transfers.push(Transfer { to, view, giver: 0, gives: false, without: 0, next_ns: now_ns });
    }

    /// What is due comes, or somebody else is asked.
    pub(super) fn transfer(&mut self) {
        let now_ns = self.clock.now_ns();
        for transfer in self.transfers.extract_if(.., |transfer| transfer.next_ns <= now_ns).collect::<Vec<_>>() {
            let view = self.processes[transfer.to].view().filter(|view| view.id == transfer.view);
            if let Some(view) = view.cloned() {
                self.ask_for_state(transfer, &view);
            }
        }
    }

    fn ask_for_state(&mut self, mut transfer: Transfer, view: &View) {
        let now_ns = self.clock.now_ns();
        match self.answer(&transfer, view) {
            Answer::Has(state) if transfer.gives => {
                let process = &mut self.processes[transfer.to];
                process.restore(state);
                process.next_step_ns = process.next_step_ns.min(now_ns).max(process.stalled_until_ns);
                self.trace.events.extend(process.take_events());
                return;
            }
            Answer::Has(_) => {
                let takes_ns = self.random.below(self.churn.state_ns + 1);
                (transfer.gives, transfer.next_ns) = (true, now_ns + takes_ns);
                self.ambush_giver(view.nodes[transfer.giver], now_ns + takes_ns / 2);
                return self.transfers.push(transfer);
            }
            Answer::Without => transfer.without += 1,
            Answer::None => transfer.without = 0,
        }
        if transfer.without >= view.members {
            // Everybody was asked: what this group knew is lost.
            let process = &mut self.processes[transfer.to];
            process.stop("no member of the view has the state that it begins with".into());
            self.trace.events.extend(process.take_events());
            return self.come_back(transfer.to);
        }
        (transfer.giver, transfer.gives) = ((transfer.giver + 1) % view.members, false);
        transfer.next_ns = now_ns + 1 + self.random.below(ASK_AGAIN_NS);
        self.transfers.push(transfer);
    }

    fn answer(&self, transfer: &Transfer, view: &View) -> Answer {
        let (node, to) = (view.nodes[transfer.giver], &self.processes[transfer.to]);
        if node == to.node() || to.suspects(node) {
            return Answer::Without;
        }
        let there = |process: &&super::process::Process| process.node() == node && process.view().is_some_and(|other| other.id == view.id);
        match self.live().find(there).filter(|_| self.reaches(node, to.node())) {
            None => Answer::None,
            Some(giver) => giver.state_at_start().map_or(Answer::Without, Answer::Has),
        }
    }
}
