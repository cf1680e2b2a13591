//! Writes down what one member of a group does, for the checker.

use squall_group::{Delivery, Group, Mode, View};
use squall_membership::Ranks;
use squall_transport::{Endpoint, NodeId, Rank};

use crate::trace::{Event, hash_bytes};

/// Writes down what one member of a group does, simulated or real: tell it of every message sent and delivered as it
/// happens, and call [`Recorder::stepped`] after every turn of the loop.
#[derive(Debug)]
pub struct Recorder {
    process: NodeId,
    view: u64,
    /// The view whose messages it delivers: an earlier one while it hands out what was held back.
    delivers: u64,
    /// It waits for its state, or hands out what was held back meanwhile.
    behind: bool,
    learns: bool,
    rank: Rank,
    order: Mode,
    /// What the trace was told of the view's end.
    suspects: Ranks,
    wedged: bool,
    accepted: Option<(Rank, bool)>,
    /// With whose cut it has decided.
    decided: Option<(Rank, bool)>,
    trimmed: bool,
    cut: Vec<Event>,
    senders: Vec<Rank>,
    /// What the trace was told last, by place among the senders.
    received: Vec<u64>,
    /// First index of my own that the trace was not told of.
    own_index: u64,
    /// Sent since the last turn: index and hash.
    sent: Vec<(u64, u64)>,
    /// Delivered since the last turn.
    deliveries: Vec<Event>,
    /// Deliveries that are yet to be noted in the wrong order.
    swaps_left: u64,
    events: Vec<Event>,
}

impl Recorder {
    /// The recorder of a member that has just joined.
    pub fn new(view: &View, order: Mode) -> Recorder {
        let mut recorder = Recorder {
            process: view.node(),
            view: view.id,
            delivers: view.id,
            behind: false,
            learns: false,
            rank: view.me,
            order,
            suspects: Ranks::EMPTY,
            wedged: false,
            accepted: None,
            decided: None,
            trimmed: false,
            cut: Vec::new(),
            received: Vec::new(),
            senders: Vec::new(),
            own_index: 0,
            sent: Vec::new(),
            deliveries: Vec::new(),
            swaps_left: 0,
            events: Vec::new(),
        };
        recorder.installed(view);
        recorder
    }

    /// The member has entered this view.
    pub fn installed(&mut self, view: &View) {
        let (process, order, senders) = (self.process, self.order, view.senders.clone());
        (self.view, self.rank, self.senders, self.own_index) = (view.id, view.me, senders.clone(), 0);
        self.received = vec![0; senders.len()];
        (self.suspects, self.wedged, self.trimmed) = (Ranks::EMPTY, false, false);
        (self.accepted, self.decided) = (None, None);
        let (members, voters) = (view.nodes.clone(), view.voters);
        self.events.push(Event::Install { process, view: view.id, members, voters, senders, order });
        if !self.behind {
            self.delivers = view.id;
        }
        let learns = !view.votes(view.me);
        match (std::mem::replace(&mut self.learns, learns), learns) {
            (_, true) => self.events.push(Event::Learn { process, view: view.id }),
            (true, false) => self.events.push(Event::Vote { process, view: view.id }),
            (false, false) => {}
        }
    }

    /// What is handed out from here on is of this view: told by the group while it hands out what was held back.
    pub fn follows(&mut self, view: &View) {
        self.delivers = view.id;
    }

    /// Whether the member delivers what was held back.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// The member was told that its message `index` was cut off.
    pub fn cut(&mut self, index: u64) {
        self.cut.push(Event::Cut { process: self.process, view: self.view, index });
    }

    /// The member waits for the state that comes before what it receives.
    pub fn behind(&mut self) {
        self.behind = true;
        self.events.push(Event::Behind { process: self.process, view: self.view });
    }

    /// The member was given that state, which is that of `view`, and holds of its messages what lies below `taken`, by
    /// place among the view's senders; nothing if that is empty.
    pub fn restored(&mut self, view: u64, state: u64, taken: Vec<u64>) {
        self.events.push(Event::Restore { process: self.process, view, state, taken });
    }

    /// The member asked for a read, its `read`th.
    pub fn asks_to_read(&mut self, read: u64) {
        self.events.push(Event::AskRead { process: self.process, read });
    }

    /// The member may read what it asked for.
    pub fn reads(&mut self, read: u64) {
        self.events.push(Event::Read { process: self.process, read });
    }

    /// The member wants to leave.
    pub fn leaves(&mut self) {
        self.events.push(Event::Leave { process: self.process, view: self.view });
    }

    /// Notes the next two deliveries of one turn in the wrong order: a fault on purpose.
    pub(crate) fn swap_once(&mut self) {
        self.swaps_left = 1;
    }

    /// Which process it writes about.
    pub fn process(&self) -> NodeId {
        self.process
    }

    /// A message was committed as `index`.
    pub fn sent(&mut self, index: u64, payload_hash: u64) {
        self.sent.push((index, payload_hash));
    }

    /// A message was handed to the application.
    pub fn delivered(&mut self, delivery: &Delivery<'_>) {
        let Delivery { seq, sender, index, payload } = *delivery;
        self.deliveries.push(Event::Deliver { process: self.process, view: self.delivers, seq, sender, index, hash: hash_bytes(payload) });
    }

    /// A turn of the loop is over. Its events are put in an order that the checker can follow: what came from others,
    /// what this member put into its own stream, what it has of that, what it delivered.
    pub fn stepped<E: Endpoint>(&mut self, group: &mut Group<E>) {
        let mine = self.senders.iter().position(|&sender| sender == self.rank);
        for position in (0..self.senders.len()).filter(|&position| Some(position) != mine) {
            self.note_received(position, group);
        }
        self.note_own(group);
        // Once it is wedged its own ring is only looked at for what is cut off.
        if let Some(mine) = mine.filter(|_| !self.wedged) {
            self.note_received(mine, group);
        }
        if self.swaps_left > 0 && self.deliveries.len() > 1 {
            self.deliveries.swap(0, 1);
            self.swaps_left -= 1;
        }
        self.note_change(group);
        self.behind &= group.is_behind();
        self.events.append(&mut self.deliveries);
        self.events.append(&mut self.cut);
    }

    /// Whom it suspects, and how far the view's end is. A turn that wedges delivers nothing before it is decided, so
    /// this stands before the deliveries.
    fn note_change<E: Endpoint>(&mut self, group: &Group<E>) {
        let (process, view) = (self.process, self.view);
        let Some(protocol) = group.membership().map(|membership| membership.protocol()) else { return };
        let accepted = &protocol.row().accepted;
        let accepted = accepted.leader.map(|leader| (leader, accepted.trim.is_some()));
        let before = std::mem::replace(&mut self.accepted, accepted);
        let new = accepted != before;
        let accept = accepted.filter(|_| new).map(|(leader, trimmed)| Event::Accept { process, view, leader, trimmed });
        // Who accepts from a leader and loses it in the same turn has accepted first.
        let loses = |leader: Rank| protocol.suspects().has(leader) && !self.suspects.has(leader);
        let first = accepted.is_some_and(|(leader, _)| loses(leader));
        // So has who accepts, decides, loses its leader and comes to lead, all in one turn: its row holds the last
        // only.
        let decided = protocol.decided_with().map(|leader| (leader, true));
        let between = decided.filter(|_| self.decided != decided && new && accepted != decided && before != decided);
        self.decided = decided;
        if let Some((leader, trimmed)) = between.filter(|&(leader, _)| loses(leader)) {
            self.events.push(Event::Accept { process, view, leader, trimmed });
        }
        self.events.extend(accept.clone().filter(|_| first));
        for whom in protocol.suspects().iter().filter(|&whom| !self.suspects.has(whom)) {
            self.events.push(Event::Suspect { process, view, whom });
        }
        self.suspects = protocol.suspects();
        self.events.extend(accept.filter(|_| !first));
        if protocol.votes(self.rank) && protocol.row().received.is_some() && !std::mem::replace(&mut self.wedged, true) {
            self.events.push(Event::Wedge { process, view });
        }
        if let Some(decision) = protocol.decision().filter(|_| protocol.row().installed)
            && !std::mem::replace(&mut self.trimmed, true)
        {
            let proposed_by = decision.changes.iter().map(|change| change.by).collect();
            let (leader, vector, next) = (decision.leader, decision.trim.clone(), decision.members.clone());
            self.events.push(Event::Trim { process, view, leader, vector, proposed_by, next, next_voters: decision.voters });
        }
    }

    /// The group is over at this member, against its will.
    pub fn stopped(&mut self, reason: String) {
        self.events.push(Event::Stop { process: self.process, reason });
    }

    /// The process died.
    pub fn crashed(&mut self) {
        self.events.push(Event::Crash { process: self.process });
    }

    /// The run is over: see [`Event::Finish`].
    pub fn finished(&mut self, unsent: u64, idle_posts: u64) {
        self.events.push(Event::Finish { process: self.process, unsent, idle_posts });
    }

    /// What was written down since the last call.
    pub fn take(&mut self) -> impl Iterator<Item = Event> {
        self.events.drain(..)
    }

    fn note_received<E: Endpoint>(&mut self, position: usize, group: &mut Group<E>) {
        let count = group.received(position);
        if std::mem::replace(&mut self.received[position], count) != count {
            self.events.push(Event::Receive { process: self.process, view: self.view, sender: self.senders[position], count });
        }
    }

    /// My messages, and between them the nulls or decisions.
    fn note_own<E: Endpoint>(&mut self, group: &Group<E>) {
        for (index, hash) in std::mem::take(&mut self.sent) {
            self.note_silent(index);
            self.events.push(Event::Send { process: self.process, view: self.view, sender: self.rank, index, hash });
            self.own_index = index + 1;
        }
        let stats = group.stats();
        self.note_silent(stats.messages_sent + stats.nulls_sent + stats.decisions_sent);
    }

    /// Indices that were used up to `until` and are no messages are nulls, or decisions where there are such.
    fn note_silent(&mut self, until: u64) {
        if self.own_index < until {
            let (first, count) = (self.own_index, until - self.own_index);
            self.events.push(Event::silent(self.order, self.process, self.view, self.rank, first, count));
            self.own_index = until;
        }
    }
}
