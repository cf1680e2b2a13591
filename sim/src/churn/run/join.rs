//! Newcomers on their way into a group.

use squall_group::{Newcomer, View};
use squall_transport::NodeId;

use super::Run;
use super::asking::Asking;
use crate::churn::fault::SUSPECT_AFTER_NS;

/// A newcomer that has not become a member by then asks somebody else.
const ASK_AGAIN_NS: u64 = 3 * SUSPECT_AFTER_NS;

impl Run<'_> {
    /// Newcomers that are in `view`, which has just been installed, come, if whoever installed it can tell them.
    pub(super) fn bring(&mut self, view: &View) {
        let node = view.node();
        let mut came = Vec::new();
        for asking in self.asking.extract_if(.., |asking| view.nodes.contains(&asking.newcomer.node())).collect::<Vec<_>>() {
            match self.reaches(node, asking.newcomer.node()) {
                true => came.push(asking),
                false => self.asking.push(Asking { missed: true, ..asking }),
            }
        }
        for asking in came.into_iter().filter(|asking| asking.comes) {
            let view = view.seen_by(asking.newcomer.node()).expect("it is a member");
            self.enter(view);
        }
    }

    /// Newcomers that wait ask somebody.
    pub(super) fn ask(&mut self) {
        let now_ns = self.clock.now_ns();
        for at in 0..self.asking.len() {
            if self.asking[at].ask_at_ns > now_ns {
                continue;
            }
            self.asking[at].ask_at_ns = now_ns + ASK_AGAIN_NS;
            if std::mem::take(&mut self.asking[at].missed) {
                // A name is good for one membership, even for one that it did not know of.
                let old = self.asking[at].newcomer;
                self.names += 1;
                self.asking[at].newcomer = Newcomer { node: self.names, ..old };
                self.choose_side(NodeId(self.names), Some(old.node()));
            }
            let newcomer = self.asking[at].newcomer;
            let near: Vec<usize> = (0..self.processes.len())
                .filter(|&index| self.processes[index].is_alive() && self.reaches(self.processes[index].node(), newcomer.node()))
                .collect();
            if !near.is_empty() {
                let contact = self.random.pick(&near);
                if !self.processes[contact].ask(newcomer) {
                    // It comes to listen.
                    self.asking[at].newcomer.contact = [0; 3];
                }
            }
        }
        self.give_up();
    }

    /// Where there is no group that it could reach there is nothing to join; and who will not come does not ask for
    /// ever.
    fn give_up(&mut self) {
        let now_ns = self.clock.now_ns();
        let asking = std::mem::take(&mut self.asking);
        let hopes = |asking: &Asking| {
            let (node, may_heal) = (asking.newcomer.node(), self.sides.as_ref().is_some_and(|sides| !sides.stays()));
            let near = self.live().any(|process| may_heal || self.reaches(process.node(), node));
            near && (asking.comes || now_ns < self.last_fault_ns)
        };
        self.asking = asking.into_iter().filter(hopes).collect();
    }

    /// Whether these two can talk to each other.
    pub(super) fn reaches(&self, one: NodeId, other: NodeId) -> bool {
        self.sides.as_ref().is_none_or(|sides| !sides.divide(one, other))
    }
}
