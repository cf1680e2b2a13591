//! The state that an application makes of its deliveries, and that newcomers are given.

use std::collections::{BTreeMap, HashMap};

use squall_transport::NodeId;

use crate::property::{Broken, Property};
use crate::trace::{Event, state_after};

/// What is known of everybody's state.
#[derive(Default)]
pub(crate) struct States {
    processes: HashMap<NodeId, State>,
    /// The state after so many messages of each view, where there is one order.
    known: BTreeMap<(u64, u64), u64>,
    ordered: bool,
}

/// What a process has made of what it has delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It joined and never asked for any.
    None,
    /// It waits for what was before its view.
    Behind,
    /// It was given that, and delivers what came since.
    Follows(Made),
    Known(Made),
}

/// A state, and after how many messages of which view it is that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    state: u64,
    view: u64,
    messages: u64,
}

impl Made {
    /// After one more message, of this view.
    fn after(self, view: u64, hash: u64) -> Made {
        let before = if view == self.view { self.messages } else { 0 };
        Made { state: state_after(self.state, hash), view, messages: before + 1 }
    }

    /// Where this view begins.
    fn at(self, view: u64) -> Made {
        if view == self.view { self } else { Made { view, messages: 0, ..self } }
    }
}

impl States {
    /// What `event` breaks, where it stands; a state that somebody is given holds `held` messages of its view.
    pub(crate) fn look(&mut self, event: &Event, held: u64) -> Result<(), Broken> {
        match event {
            Event::Install { process, view, order, .. } => self.install(*process, *view, order.is_total()),
            Event::Behind { process, view } => match self.processes.insert(*process, State::Behind) {
                Some(State::Known(_) | State::Follows(_)) => {
                    Err((Property::StateTransfer, format!("{process} waits in view {view} for a state that it has")))
                }
                _ => Ok(()),
            },
            Event::Restore { process, view, state, .. } => self.restore(*process, Made { state: *state, view: *view, messages: held }),
            Event::Deliver { process, view, hash, .. } => self.deliver(*process, *view, *hash),
            Event::Vote { process, view } => self.vote(*process, *view),
            Event::Finish { process, .. } if self.processes.get(process) == Some(&State::Behind) => {
                Err((Property::StateTransfer, format!("at the end {process} still waits for its state")))
            }
            _ => Ok(()),
        }
    }

    fn install(&mut self, process: NodeId, view: u64, ordered: bool) -> Result<(), Broken> {
        self.ordered = ordered;
        let first = self.known.keys().all(|(known, _)| *known == view);
        let made = Made { state: 0, view, messages: 0 };
        let state = *self.processes.entry(process).or_insert(if first { State::Known(made) } else { State::None });
        let State::Known(made) = state else { return Ok(()) };
        self.processes.insert(process, State::Known(made.at(view)));
        if !self.agrees(made.at(view)) {
            return Err((Property::Uniformity, format!("{process} begins view {view} with another state than others")));
        }
        Ok(())
    }

    /// Who delivers what came since its state was made begins each view as the others did.
    fn deliver(&mut self, process: NodeId, view: u64, hash: u64) -> Result<(), Broken> {
        match self.processes.get(&process).copied() {
            Some(State::Behind) => {
                Err((Property::StateTransfer, format!("{process} delivers in view {view} before it has the state of before")))
            }
            Some(State::Known(made)) => {
                let made = made.after(view, hash);
                self.processes.insert(process, State::Known(made));
                if self.ordered {
                    self.known.entry((made.view, made.messages)).or_insert(made.state);
                }
                Ok(())
            }
            Some(State::Follows(made)) => {
                self.processes.insert(process, State::Follows(made.after(view, hash)));
                if made.view == view || self.agrees(made.at(view)) {
                    return Ok(());
                }
                Err((Property::StateTransfer, format!("{process} comes to view {view} with another state than others")))
            }
            Some(State::None) | None => Ok(()),
        }
    }

    /// Who votes has the state with which the view begins.
    fn vote(&mut self, process: NodeId, view: u64) -> Result<(), Broken> {
        match self.processes.get(&process).copied() {
            Some(State::Follows(made)) => {
                self.processes.insert(process, State::Known(made.at(view)));
                if self.agrees(made.at(view)) {
                    return Ok(());
                }
                Err((Property::StateTransfer, format!("{process} comes to view {view} with another state than others")))
            }
            Some(State::Behind) => Err((Property::StateContinuity, format!("{process} votes in view {view} and has no state"))),
            Some(State::Known(_) | State::None) | None => Ok(()),
        }
    }

    /// Whether all that came so far had the same state there, if there is one order.
    fn agrees(&mut self, made: Made) -> bool {
        let known = *self.known.entry((made.view, made.messages)).or_insert(made.state);
        !self.ordered || known == made.state
    }

    fn restore(&mut self, process: NodeId, made: Made) -> Result<(), Broken> {
        let before = self.processes.insert(process, State::Follows(made));
        if before != Some(State::Behind) {
            let what = format!("{process} is given a state in view {} that it does not wait for", made.view);
            return Err((Property::StateTransfer, what));
        }
        if !self.agrees(made) {
            let (view, messages) = (made.view, made.messages);
            let what = format!("{process} is given another state than the one after {messages} messages of view {view}");
            return Err((Property::StateTransfer, what));
        }
        Ok(())
    }

    /// Whether the process waits for its state, or delivers what came since.
    pub(crate) fn is_behind(&self, process: NodeId) -> bool {
        matches!(self.processes.get(&process), Some(State::Behind | State::Follows(_)))
    }
}
