//! The state that an application makes of its deliveries, and that newcomers are given.

use std::collections::{BTreeMap, HashMap};

use squall_transport::NodeId;

use crate::property::{Broken, Property};
use crate::trace::{Event, state_after};

/// What is known of everybody's state.
#[derive(Default)]
pub(crate) struct States {
    processes: HashMap<NodeId, State>,
    /// The state with which each view begins, where there is one order.
    views: BTreeMap<u64, u64>,
    ordered: bool,
}

/// What a process has made of what it has delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It joined and never asked for any.
    None,
    /// It waits for what was before its view.
    Behind,
    /// It was given that, and delivers what came since; in which view it is with that.
    Follows {
        state: u64,
        view: u64,
    },
    Known(u64),
}

impl States {
    /// What `event` breaks, where it stands.
    pub(crate) fn look(&mut self, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Install { process, view, ordered, .. } => self.install(*process, *view, *ordered),
            Event::Behind { process, view } => match self.processes.insert(*process, State::Behind) {
                Some(State::Known(_) | State::Follows { .. }) => {
                    Err((Property::StateTransfer, format!("{process} waits in view {view} for a state that it has")))
                }
                _ => Ok(()),
            },
            Event::Restore { process, view, state } => self.restore(*process, *view, *state),
            Event::Deliver { process, view, hash, .. } => match self.processes.get_mut(process) {
                Some(State::Behind) => {
                    Err((Property::StateTransfer, format!("{process} delivers in view {view} before it has the state of before")))
                }
                Some(State::Known(state)) => {
                    *state = state_after(*state, *hash);
                    Ok(())
                }
                Some(State::Follows { .. }) => self.follow(*process, *view, *hash),
                Some(State::None) | None => Ok(()),
            },
            Event::Vote { process, view } => self.vote(*process, *view),
            Event::Finish { process, .. } if self.processes.get(process) == Some(&State::Behind) => {
                Err((Property::StateTransfer, format!("at the end {process} still waits for its state")))
            }
            _ => Ok(()),
        }
    }

    fn install(&mut self, process: NodeId, view: u64, ordered: bool) -> Result<(), Broken> {
        self.ordered = ordered;
        let first = self.views.is_empty() || (self.views.len() == 1 && self.views.contains_key(&view));
        let state = *self.processes.entry(process).or_insert(if first { State::Known(0) } else { State::None });
        let State::Known(state) = state else { return Ok(()) };
        let known = *self.views.entry(view).or_insert(state);
        if ordered && known != state {
            return Err((Property::Uniformity, format!("{process} begins view {view} with another state than others")));
        }
        Ok(())
    }

    /// Who delivers what came since its state was made begins each view as the others did.
    fn follow(&mut self, process: NodeId, view: u64, hash: u64) -> Result<(), Broken> {
        let Some(State::Follows { state, view: last }) = self.processes.get(&process).copied() else { return Ok(()) };
        self.processes.insert(process, State::Follows { state: state_after(state, hash), view });
        if view != last { self.agrees(process, view, state) } else { Ok(()) }
    }

    /// Who votes has the state with which the view begins.
    fn vote(&mut self, process: NodeId, view: u64) -> Result<(), Broken> {
        match self.processes.get(&process).copied() {
            Some(State::Follows { state, .. }) => {
                self.processes.insert(process, State::Known(state));
                self.agrees(process, view, state)
            }
            Some(State::Behind) => Err((Property::StateContinuity, format!("{process} votes in view {view} and has no state"))),
            Some(State::Known(_) | State::None) | None => Ok(()),
        }
    }

    /// Where there is one order all begin a view with the same state.
    fn agrees(&mut self, process: NodeId, view: u64, state: u64) -> Result<(), Broken> {
        let known = *self.views.entry(view).or_insert(state);
        if self.ordered && known != state {
            return Err((Property::StateTransfer, format!("{process} comes to view {view} with another state than others")));
        }
        Ok(())
    }

    fn restore(&mut self, process: NodeId, view: u64, state: u64) -> Result<(), Broken> {
        let before = self.processes.insert(process, State::Follows { state, view });
        if before != Some(State::Behind) {
            return Err((Property::StateTransfer, format!("{process} is given a state in view {view} that it does not wait for")));
        }
        let known = *self.views.entry(view).or_insert(state);
        if self.ordered && known != state {
            return Err((Property::StateTransfer, format!("{process} is given another state than the one with which view {view} begins")));
        }
        Ok(())
    }

    /// Whether the process waits for its state, or delivers what came since.
    pub(crate) fn is_behind(&self, process: NodeId) -> bool {
        matches!(self.processes.get(&process), Some(State::Behind | State::Follows { .. }))
    }
}
