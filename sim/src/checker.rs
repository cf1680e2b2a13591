//! The checker: reads a trace and says which properties it breaks.

use std::collections::{BTreeMap, HashMap};

use squall_transport::NodeId;

use crate::chain::Chain;
use crate::leaders::Leaders;
use crate::property::Broken;
use crate::reads::Reads;
use crate::states::States;
use crate::trace::{Event, Interleaving, Trace};
use crate::view::View;

pub use crate::property::{Property, Violation};

/// What the checker found and how much it looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// In the order of the trace; at most [`VIOLATIONS_MAX`].
    pub violations: Vec<Violation>,
    /// Messages sent.
    pub sends: u64,
    /// Messages handed to applications.
    pub deliveries: u64,
    /// Turns filled with nulls.
    pub nulls: u64,
    /// Views that anybody installed.
    pub views: u64,
}

impl Verdict {
    /// Whether every property holds.
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether some violation is of `property`.
    pub fn breaks(&self, property: Property) -> bool {
        self.violations.iter().any(|violation| violation.property == property)
    }
}

/// A run that goes wrong goes wrong in thousands of events: the first of them tell the story.
pub const VIOLATIONS_MAX: usize = 20;

/// How the reason of a process begins that stopped because of a bug.
pub const PANICKED: &str = "panicked: ";

/// Checks every property that the events of `trace` can tell about.
///
/// A trace without [`Event::Finish`] is one that was cut off: what should have happened by its end is not asked of it.
/// Stability (13) and reads (33) are asked of traces in one global order only, since it relates moments at different
/// processes.
pub fn check(trace: &Trace) -> Verdict {
    let changing = trace.events.iter().any(Event::is_change);
    let mut checker = Checker { global: trace.interleaving == Interleaving::Global, changing, ..Checker::default() };
    for (index, event) in trace.events.iter().enumerate() {
        checker.event = index;
        checker.prepare(event);
    }
    for (index, event) in trace.events.iter().enumerate() {
        checker.event = index;
        checker.look(event);
        checker.look_at_change(event);
        checker.look_at_reads(event);
    }
    checker.event = trace.events.len();
    checker.conclude();
    checker.verdict
}

#[derive(Default)]
struct Checker {
    global: bool,
    /// Members may change: what follows from the loss of one is for the chain of views to say.
    changing: bool,
    chain: Chain,
    leaders: Leaders,
    states: States,
    reads: Reads,
    event: usize,
    /// Somebody has crashed; in a trace without a common order, somebody crashes somewhere in it.
    crashed: bool,
    verdict: Verdict,
    views: BTreeMap<u64, View>,
    processes: HashMap<NodeId, Process>,
}

#[derive(Default)]
struct Process {
    view: Option<u64>,
    learns: bool,
    gone: bool,
    finished: bool,
}

impl Checker {
    /// First pass: what was announced. In a trace of real processes a delivery may stand before the send that it
    /// delivers.
    fn prepare(&mut self, event: &Event) {
        match event {
            Event::Install { process, view, members, voters, senders, order } => {
                self.processes.entry(*process).or_default();
                let new = View::new(members, *voters, senders, *order);
                if !self.views.entry(*view).or_insert_with(|| new.clone()).is_same(&new) {
                    self.broken(
                        Property::ViewIdentity,
                        format!("{process} installs view {view} with other members, voters, senders or mode"),
                    );
                }
                if !members.contains(process) {
                    self.broken(Property::SelfInclusion, format!("{process} installs view {view} and is not in it"));
                }
            }
            Event::Send { process, view, sender, index, hash } => {
                self.verdict.sends += 1;
                let result = self.view(*view, *process).and_then(|view| view.announce_send(*process, *sender, *index, *hash));
                self.note(result);
            }
            Event::Null { process, view, sender, first, count } => {
                self.verdict.nulls += count;
                let result = self.view(*view, *process).and_then(|view| view.announce_nulls(*process, *sender, *first, *count));
                self.note(result);
            }
            Event::Decide { process, view, sender, first, count } => {
                let result = self.view(*view, *process).and_then(|view| view.announce_decisions(*process, *sender, *first, *count));
                self.note(result);
            }
            Event::Crash { .. } => self.crashed |= !self.global,
            _ => {}
        }
    }

    /// Second pass: whether each event may happen where it stands.
    fn look(&mut self, event: &Event) {
        match event {
            Event::Install { process, view, .. } => self.install(*process, *view),
            Event::Send { process, view, sender, index, .. } => {
                let result = self.current(*process, *view, "sends").and_then(|view| view.send(*sender, *index));
                self.note(result);
            }
            Event::Null { process, view, sender, first, count } => {
                let global = self.global;
                let result =
                    self.current(*process, *view, "fills turns").and_then(|view| view.null(*process, *sender, *first, *count, global));
                self.note(result);
            }
            Event::Decide { process, view, sender, first, count } => {
                let result = self.current(*process, *view, "decides").and_then(|view| view.decide(*process, *sender, *first, *count));
                self.note(result);
            }
            Event::Receive { process, view, sender, count } => {
                let global = self.global;
                let result = self.current(*process, *view, "receives").and_then(|view| view.receive(*process, *sender, *count, global));
                self.note(result);
            }
            Event::Deliver { process, view, seq, sender, index, hash } => {
                self.verdict.deliveries += 1;
                let global = self.global;
                let result = self.delivering(*process, *view);
                match result {
                    Ok(view) => {
                        let results = view.deliver(*process, *seq, *sender, *index, *hash, global);
                        results.into_iter().for_each(|result| self.note(result));
                    }
                    Err(broken) => self.note(Err(broken)),
                }
            }
            Event::Trim { process, view, vector, .. } => {
                let result = self.current(*process, *view, "cuts").and_then(|view| view.trim(*process, vector));
                self.note(result);
            }
            Event::Suspect { process, view, .. }
            | Event::Leave { process, view }
            | Event::Wedge { process, view }
            | Event::Accept { process, view, .. }
            | Event::Behind { process, view }
            | Event::Cut { process, view, .. } => {
                let result = self.current(*process, *view, "changes members").map(|_| ());
                self.note(result);
            }
            Event::Restore { process, view, taken, .. } => {
                let result = self.delivering(*process, *view).and_then(|view| view.restore(*process, taken));
                self.note(result);
            }
            Event::Learn { process, view } | Event::Vote { process, view } => {
                self.processes.entry(*process).or_default().learns = matches!(event, Event::Learn { .. });
                let result = self.current(*process, *view, "gets a vote").map(|_| ());
                self.note(result);
            }
            Event::AskRead { process, .. } | Event::Read { process, .. } => {
                if self.processes.entry(*process).or_default().gone {
                    self.broken(Property::Reads, format!("{process} reads after it had gone"));
                }
            }
            Event::Crash { process } => {
                self.crashed |= self.global;
                self.processes.entry(*process).or_default().gone = true;
            }
            Event::Stop { process, reason } => {
                let stopped = self.processes.entry(*process).or_default();
                stopped.gone = true;
                let was_member = stopped.view.is_some();
                if reason.starts_with(PANICKED) {
                    self.broken(Property::ViewProgress, format!("{process} {reason}"));
                } else if was_member && !self.crashed && !self.changing {
                    self.broken(Property::ViewProgress, format!("{process} stops although nobody has crashed: {reason}"));
                }
            }
            Event::Finish { process, unsent, idle_posts } => {
                self.processes.entry(*process).or_default().finished = true;
                if *unsent > 0 {
                    self.broken(Property::SendProgress, format!("{process} could not send {unsent} messages that it wanted to send"));
                }
                if *idle_posts > 0 {
                    self.broken(Property::Quiescence, format!("{process} posted {idle_posts} writes with nothing left to do"));
                }
            }
        }
    }

    /// Where members may change: how views follow each other.
    fn look_at_change(&mut self, event: &Event) {
        if !self.changing {
            return;
        }
        let held = match event {
            Event::Restore { view, taken, .. } => self.views.get(view).map_or(0, |view| view.messages_below(taken)),
            _ => 0,
        };
        let (states, leaders) = (self.states.look(event, held), if self.global { self.leaders.look(event) } else { Ok(()) });
        let chain = self.chain.look(event, &self.states);
        [states, leaders, chain].into_iter().for_each(|result| self.note(result));
    }

    /// What was delivered when is one clock's to say.
    fn look_at_reads(&mut self, event: &Event) {
        if self.global {
            let result = self.reads.look(event);
            self.note(result);
        }
    }

    fn install(&mut self, process: NodeId, view: u64) {
        let before = self.processes.entry(process).or_default().view.replace(view);
        if before.is_some_and(|before| before >= view) {
            self.broken(Property::ViewMonotony, format!("{process} installs view {view} after {before:?}"));
        }
    }

    /// After the last event: what should have happened.
    fn conclude(&mut self) {
        let whole = self.processes.values().all(|process| process.finished && !process.gone);
        let mut broken: Vec<Broken> = Vec::new();
        let members = || self.processes.values().filter(|process| process.view.is_some());
        let (gone, finished) =
            members().fold((false, false), |(gone, finished), process| (gone | process.gone, finished | process.finished));
        if gone && finished && !self.changing {
            broken.push((Property::ViewProgress, "a member is gone and others stay as if nothing had happened".into()));
        }
        for (id, view) in &self.views {
            broken.extend(view.conclude(if self.changing { self.chain.is_whole(*id) } else { whole }));
        }
        self.verdict.views = if self.changing { self.chain.views() } else { self.views.len() as u64 };
        if self.changing {
            broken.extend(self.chain.conclude());
        }
        broken.extend(self.reads.conclude(|process| self.processes.get(&process).is_some_and(|process| process.finished)));
        broken.sort_by_key(|(property, _)| *property);
        for (property, what) in broken {
            self.broken(property, what);
        }
    }

    fn view(&mut self, view: u64, process: NodeId) -> Result<&mut View, Broken> {
        let unknown = || (Property::SameView, format!("{process} names view {view}, which nobody installed"));
        self.views.get_mut(&view).ok_or_else(unknown)
    }

    /// The view, if it is the one that the process is in.
    fn current(&mut self, process: NodeId, view: u64, does: &str) -> Result<&mut View, Broken> {
        let state = self.processes.entry(process).or_default();
        if state.gone {
            return Err((Property::SameView, format!("{process} {does} after it had gone")));
        }
        if state.view != Some(view) {
            return Err((Property::SameView, format!("{process} {does} in view {view} while in {:?}", state.view)));
        }
        self.view(view, process)
    }

    /// As [`Checker::current`], for what may lag behind: a learner that was given its state delivers what it held back
    /// in earlier views.
    fn delivering(&mut self, process: NodeId, view: u64) -> Result<&mut View, Broken> {
        let state = self.processes.entry(process).or_default();
        if state.learns && !state.gone && state.view.is_some_and(|current| view < current) {
            return self.view(view, process);
        }
        self.current(process, view, "delivers")
    }

    fn note(&mut self, result: Result<(), Broken>) {
        if let Err((property, what)) = result {
            self.broken(property, what);
        }
    }

    fn broken(&mut self, property: Property, what: String) {
        if self.verdict.violations.len() < VIOLATIONS_MAX {
            self.verdict.violations.push(Violation { property, event: self.event, what });
        }
    }
}
