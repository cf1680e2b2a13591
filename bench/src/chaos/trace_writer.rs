//! Turns what happens at one member into entries of its trace, in an order that the checker can follow.

use std::fs::File;

use squall_group::{Delivery, Group, Mode, View};
use squall_sim::trace::{Event, hash_bytes};
use squall_transport::{Endpoint, NodeId, Rank};

use super::trace_file::{Entry, TraceFile};

/// Writes down what one member does.
///
/// Messages of its own are written out before they leave the process: between [`TraceWriter::sent`] and the next turn
/// of the loop call [`TraceWriter::write_out`].
#[derive(Debug)]
pub(super) struct TraceWriter {
    file: TraceFile,
    process: NodeId,
    order: Mode,
    /// The view that the member is in; none before its first.
    view: Option<View>,
    /// It waits for the application's state.
    behind: bool,
    /// It has no vote.
    learns: bool,
    /// The view whose messages it delivers.
    delivers: u64,
    /// It wants to leave.
    leaves: bool,
    suspects: Vec<Rank>,
    wedged: bool,
    trimmed: bool,
    /// First index of the member's own that the trace does not tell of.
    own_index: u64,
    /// Of this turn: they stand behind what the turn found out about the view's end.
    late: Vec<Event>,
}

impl TraceWriter {
    /// Writes about `process` into `file`.
    pub(super) fn new(process: NodeId, order: Mode, file: File) -> TraceWriter {
        TraceWriter {
            file: TraceFile::new(file),
            process,
            order,
            view: None,
            behind: false,
            learns: false,
            delivers: 0,
            leaves: false,
            suspects: Vec::new(),
            wedged: false,
            trimmed: false,
            own_index: 0,
            late: Vec::new(),
        }
    }

    fn event(&mut self, event: Event) {
        self.file.note(&Entry::Event(event));
    }

    /// The member has entered this view.
    fn entered(&mut self, view: &View) {
        (self.suspects, self.wedged, self.trimmed, self.own_index) = (Vec::new(), false, false, 0);
        let (members, senders) = (view.nodes.clone(), view.senders.clone());
        self.event(Event::Install { process: self.process, view: view.id, members, voters: view.voters, senders, order: self.order });
        let learns = !view.votes(view.me);
        match (std::mem::replace(&mut self.learns, learns), learns) {
            (_, true) => self.event(Event::Learn { process: self.process, view: view.id }),
            (true, false) => self.event(Event::Vote { process: self.process, view: view.id }),
            (false, false) => {}
        }
        self.view = Some(view.clone());
        self.note_leave();
    }

    /// The member is in this view with a state of it, which holds of its messages what lies below `taken`, by place
    /// among the view's senders.
    pub(super) fn installed(&mut self, view: &View, state: u64, taken: Vec<u64>) {
        self.delivers = view.id;
        let comes = std::mem::replace(&mut self.behind, false) || (self.view.is_none() && view.id > 0);
        if self.view.as_ref().is_none_or(|known| known.id < view.id) {
            self.entered(view);
            if comes {
                self.event(Event::Behind { process: self.process, view: view.id });
            }
        }
        if comes {
            self.event(Event::Restore { process: self.process, view: view.id, state, taken });
        }
        self.file.write_out();
    }

    /// The process was given a state, in a view or before its first.
    pub(super) fn took(&mut self, whole: bool) {
        let view = self.view.as_ref().map_or(0, |view| view.id);
        self.file.note(&Entry::Took { view, whole });
    }

    /// A message was committed as `index`.
    pub(super) fn sent(&mut self, index: u64, hash: u64) {
        let Some((view, sender)) = self.view.as_ref().map(|view| (view.id, view.me)) else { return };
        self.note_nulls(index);
        self.own_index = index + 1;
        self.event(Event::Send { process: self.process, view, sender, index, hash });
    }

    /// Indices that were used up to `until` and are no messages are nulls, or decisions where there are such.
    fn note_nulls(&mut self, until: u64) {
        let Some((view, sender)) = self.view.as_ref().map(|view| (view.id, view.me)) else { return };
        if self.own_index < until {
            let (first, count) = (self.own_index, until - self.own_index);
            self.event(Event::silent(self.order, self.process, view, sender, first, count));
            self.own_index = until;
        }
    }

    /// A message was handed to the application. Its hash.
    pub(super) fn delivered(&mut self, delivery: &Delivery<'_>) -> u64 {
        let Delivery { seq, sender, index, payload } = *delivery;
        let hash = hash_bytes(payload);
        // What a newcomer is told of what others deliver belongs to the state that it is given.
        if self.view.is_some() && !self.behind {
            self.late.push(Event::Deliver { process: self.process, view: self.delivers, seq, sender, index, hash });
        }
        hash
    }

    /// The member's message `index` is delivered nowhere.
    pub(super) fn cut(&mut self, index: u64) {
        if let Some(view) = &self.view {
            self.late.push(Event::Cut { process: self.process, view: view.id, index });
        }
    }

    /// The member wants to leave, in this view or a later one.
    pub(super) fn leaves(&mut self) {
        self.leaves = true;
        self.note_leave();
        self.file.write_out();
    }

    fn note_leave(&mut self) {
        if let Some(view) = self.view.as_ref().map(|view| view.id).filter(|_| self.leaves) {
            self.event(Event::Leave { process: self.process, view });
        }
    }

    /// A turn of the loop is over.
    pub(super) fn turned<E: Endpoint>(&mut self, group: &mut Group<E>) {
        if self.view.as_ref().is_none_or(|view| view.id != group.view().id) {
            // Whoever has the state, and has handed out all that it held back, was told of the view.
            self.entered(group.view());
            if group.awaits_state() {
                self.event(Event::Behind { process: self.process, view: group.view().id });
                self.behind = true;
            }
        }
        if group.view().is_sender() {
            let stats = group.stats();
            self.note_nulls(stats.messages_sent + stats.nulls_sent + stats.decisions_sent);
        }
        self.note_change(group);
        self.write_late();
    }

    fn write_late(&mut self) {
        for event in std::mem::take(&mut self.late) {
            self.event(event);
        }
        self.file.write_out();
    }

    /// Whom the member suspects, and how far the view's end is.
    fn note_change<E: Endpoint>(&mut self, group: &mut Group<E>) {
        let (process, view, senders) = (self.process, group.view().id, group.view().senders.clone());
        // A learner never wedges: it goes on receiving until it has what is delivered. So do all where members give
        // each other what they lack.
        let goes_on = !group.view().votes(group.view().me) || self.order.fills();
        let received: Vec<u64> = (0..senders.len()).filter(|_| goes_on).map(|position| group.received(position)).collect();
        let Some(protocol) = group.membership().map(|membership| membership.protocol()) else { return };
        for whom in protocol.suspects().iter() {
            if !self.suspects.contains(&whom) {
                self.event(Event::Suspect { process, view, whom });
                self.suspects.push(whom);
            }
        }
        // A learner does not wedge, and says what it has received only once that is enough.
        if let Some(received) = &protocol.row().received
            && !std::mem::replace(&mut self.wedged, true)
        {
            for (&sender, &count) in senders.iter().zip(received) {
                self.event(Event::Receive { process, view, sender, count });
            }
            if protocol.votes(protocol.me()) {
                self.event(Event::Wedge { process, view });
            }
        }
        if let Some(decision) = protocol.decision().filter(|_| protocol.row().installed)
            && !std::mem::replace(&mut self.trimmed, true)
        {
            for (&sender, &count) in senders.iter().zip(&received) {
                self.event(Event::Receive { process, view, sender, count });
            }
            let proposed_by = decision.changes.iter().map(|change| change.by).collect();
            let (vector, next) = (decision.trim.clone(), decision.members.clone());
            let (leader, next_voters) = (decision.leader, decision.voters);
            self.event(Event::Trim { process, view, leader, vector, proposed_by, next, next_voters });
        }
    }

    /// The group is over at this member.
    pub(super) fn stopped(&mut self, reason: String) {
        self.write_late();
        self.event(Event::Stop { process: self.process, reason });
        self.file.write_out();
    }

    /// Everything noted is handed to the system.
    pub(super) fn write_out(&mut self) {
        self.file.write_out();
    }

    /// Why the trace ends here, if it does; told once.
    pub(super) fn trouble(&mut self) -> Option<std::io::Error> {
        self.file.trouble()
    }
}
