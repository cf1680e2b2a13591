//! The protocol on a table: rows that land go in, my row goes out, silence becomes suspicion.

use squall_sst::{Column, Malformed, Table};
use squall_transport::{NodeId, Outbox, Rank};

use crate::limits::AT_ODDS_TIMEOUTS;
use crate::mutation::Mutation;
use crate::outcome::{Decision, Phase, RequestError, Witness};
use crate::protocol::{Ends, Protocol};
use crate::publication::{Found, Publication};
use crate::pulse::{Patience, Pulse};
use crate::ranks::Ranks;
use crate::row::{Columns, Leaving, Newcomer, Row};
use crate::timeouts::Timeouts;

/// One member's membership in one view.
///
/// [`step`](Membership::step) it often, at least as often as [`next_ns`](Membership::next_ns) says, and do what
/// [`phase`](Membership::phase) asks for.
#[derive(Debug)]
pub struct Membership {
    protocol: Protocol,
    publication: Publication,
    pulse: Pulse,
    /// My row as it was handed to the publication.
    published: Row,
    /// Links that broke: nothing is posted there.
    down: Ranks,
    /// Peers to whom the fabric has yet to send what it took.
    backlog: Ranks,
    waits: Waits,
    /// Until when this view rests, in running time.
    rest_until_ns: u64,
}

/// How long this member has waited for what it does not wait for without end, besides silence.
#[derive(Debug)]
struct Waits {
    /// As a leader, for what learners that are to vote have yet to receive, since the list grew last, and how long it
    /// was then: who is listed later has as much time as those before.
    laggards: Patience,
    listed: usize,
    /// In a view that is over, for learners alone.
    learners: Patience,
    /// In a view that is over, by peer, for room to tell it so.
    room: Vec<Patience>,
    /// As a learner, for others to lose a voter that it has lost.
    odds: Patience,
    /// For others to have the state and to vote, so that it may leave; and how long it had waited before.
    leave: Patience,
    left_ns: u64,
}

impl Membership {
    /// Member `me` of the view of `nodes`, all of whom vote, and whose table has `columns`. `signs` are words of other
    /// protocols that their row's owner raises and pushes to all: they say as much as a heartbeat. `lost` are members
    /// that did not come into this view: they are suspected from the start.
    ///
    /// # Panics
    /// If the columns were composed for another number of members, or `me` is no member or lost.
    pub fn new(columns: Columns, me: Rank, nodes: Vec<NodeId>, timeouts: Timeouts, signs: Vec<Column>, lost: Ranks) -> Membership {
        let protocol = Protocol::new(me, nodes, columns.senders(), lost);
        Membership::with(protocol, columns, timeouts, signs)
    }

    /// As [`Membership::new`], with a protocol of the caller's making: [`Protocol::with_voters`],
    /// [`Protocol::set_senders`].
    ///
    /// # Panics
    /// If the columns were composed for another number of members or senders.
    pub fn with(protocol: Protocol, columns: Columns, timeouts: Timeouts, signs: Vec<Column>) -> Membership {
        let members = protocol.members();
        assert_eq!(columns.members(), members, "columns for another view");
        let waits = Waits {
            laggards: Patience::default(),
            listed: 0,
            learners: Patience::default(),
            room: vec![Patience::default(); members],
            odds: Patience::default(),
            leave: Patience::default(),
            left_ns: 0,
        };
        Membership {
            pulse: Pulse::new(timeouts, columns.heartbeat, signs, members),
            publication: Publication::new(columns),
            published: Row::default(),
            down: protocol.suspects(),
            backlog: Ranks::EMPTY,
            protocol,
            waits,
            rest_until_ns: 0,
        }
    }

    /// The view rests for so long, in running time, but no longer than silence may last: rule R.
    pub fn rest_for(&mut self, rest_ns: u64) {
        self.rest_until_ns = self.pulse.running_ns() + rest_ns.min(self.pulse.limits().suspect_after_ns);
    }

    fn rest_left_ns(&self) -> u64 {
        self.rest_until_ns.saturating_sub(self.pulse.running_ns())
    }

    /// Takes in what has landed, does what can be done, queues what is to be told. It is `now_ns`, in any monotone
    /// time. Whether anything changed here, or is still to be told.
    pub fn step(&mut self, now_ns: u64, table: &Table, outbox: &mut Outbox) -> bool {
        self.pulse.pass(now_ns);
        self.protocol.set_rests(self.rest_left_ns() > 0);
        self.listen(table);
        let mut progress = self.advance();
        if self.doubt(table, outbox) {
            progress |= self.advance();
        }
        self.tell(table, outbox) | progress
    }

    fn advance(&mut self) -> bool {
        let mut progress = false;
        while self.protocol.advance() {
            progress = true;
        }
        progress
    }

    /// Takes in the others' rows, lower ranks first. The last words of a peer whose link is broken too: they came
    /// before it broke.
    fn listen(&mut self, table: &Table) {
        for peer in self.peers() {
            if self.protocol.hears(peer) {
                match self.publication.look(peer, table) {
                    Found::Nothing => {}
                    Found::Row(row) => self.protocol.see(peer, row),
                    Found::Malformed { batch } => {
                        self.protocol.blame(Malformed { member: peer, column: "membership.row", value: batch });
                        self.protocol.suspect(peer);
                    }
                }
            }
        }
    }

    /// Notices whom this member has lost, and what it has waited for too long. Whether there is anything.
    fn doubt(&mut self, table: &Table, outbox: &Outbox) -> bool {
        let before = self.protocol.doubts();
        for peer in self.peers() {
            if self.down.has(peer) {
                self.protocol.suspect(peer);
            }
            let unsaid = self.protocol.row().installed && self.is_unsaid(peer, outbox);
            let untold = self.protocol.hears(peer) && (unsaid || self.publication.is_behind([peer].into_iter()));
            if (self.protocol.waits_for(peer) || untold) && self.pulse.is_silent(peer, table) {
                self.protocol.suspect(peer);
            }
            // A peer that is done here too does not wait for my last words.
            let stuffed = untold && self.protocol.row().installed;
            if self.waits.room[peer.index()].is_over(stuffed, self.pulse.running_ns(), self.pulse.limits().suspect_after_ns) {
                self.protocol.suspect(peer);
            }
        }
        self.doubt_learners();
        let waits_to_leave = self.protocol.row().leaving == Leaving::Asks;
        let leave_ns = self.pulse.limits().leave_ns.saturating_sub(self.waits.left_ns);
        if self.waits.leave.is_over(waits_to_leave, self.pulse.running_ns(), leave_ns) {
            self.protocol.insist_on_leaving();
        }
        before != self.protocol.doubts()
    }

    /// Nobody waits long for a learner, and none stays that the voters' view of who is there does not fit.
    fn doubt_learners(&mut self) {
        if self.protocol.voters() == self.protocol.members() {
            return;
        }
        let (running_ns, limits) = (self.pulse.running_ns(), self.pulse.limits());
        let (laggards, listed) = (self.protocol.laggards(), self.protocol.row().accepted.changes.len());
        if std::mem::replace(&mut self.waits.listed, listed) != listed {
            self.waits.laggards = Patience::default();
        }
        if self.waits.laggards.is_over(!laggards.is_empty(), running_ns, limits.suspect_after_ns) {
            laggards.iter().for_each(|rank| self.protocol.suspect(rank));
        }
        if self.waits.learners.is_over(self.protocol.waits_for_learners_only(), running_ns, limits.learner_ns) {
            let learners = (self.protocol.voters()..self.protocol.members()).map(Rank::new);
            learners.filter(|&rank| self.protocol.waits_for(rank)).collect::<Ranks>().iter().for_each(|rank| self.protocol.suspect(rank));
        }
        let odds = self.protocol.at_odds_with().is_some();
        if self.waits.odds.is_over(odds, running_ns, limits.suspect_after_ns.saturating_mul(AT_ODDS_TIMEOUTS)) {
            self.protocol.give_up();
        }
    }

    /// Queues my row and my heartbeat. Whether anything was queued that is more than a heartbeat.
    fn tell(&mut self, table: &Table, outbox: &mut Outbox) -> bool {
        if matches!(self.protocol.phase(), Phase::Stopped(_) | Phase::Split) {
            if !self.protocol.spins() {
                self.pulse.skip();
            }
            return false;
        }
        if *self.protocol.row() != self.published {
            // Rarely: turning a row into words takes longer than a turn of the loop.
            self.published.clone_from(self.protocol.row());
            self.publication.set(&self.published, table);
        }
        let (down, peers) = (self.down, self.peers());
        let linked = || peers.clone().filter(move |&peer| !down.has(peer));
        let mut told = false;
        if self.publication.is_behind(linked()) {
            // Suspects too: so they learn that the group goes on without them.
            told = linked().fold(false, |told, peer| self.publication.push(peer, table, outbox) | told);
        }
        let suspects = self.protocol.suspects();
        self.pulse.beat(table, outbox, linked().filter(|&peer| !suspects.has(peer)));
        told
    }

    /// All members but me. Holds nothing of me.
    fn peers(&self) -> impl Iterator<Item = Rank> + Clone + use<> {
        let me = self.protocol.me();
        (0..self.protocol.members()).map(Rank::new).filter(move |&peer| peer != me)
    }

    /// The link to `peer` is broken. What it said before is heard by the next step, and nothing after that.
    pub fn link_down(&mut self, peer: Rank) {
        self.down.add(peer);
    }

    /// How long this process has run, as far as steps tell: a gap between two of them counts for a part of the time of
    /// silence at the most.
    pub fn running_ns(&self) -> u64 {
        self.pulse.running_ns()
    }

    /// The time-outs.
    pub fn timeouts(&self) -> Timeouts {
        self.pulse.timeouts()
    }

    /// When the next step is due even if nothing lands, in the time that steps are given.
    pub fn next_ns(&self) -> u64 {
        match self.rest_left_ns() {
            0 => self.pulse.next_ns(),
            left_ns => self.pulse.next_ns().min(self.pulse.now_ns() + left_ns),
        }
    }

    /// To whom the fabric has yet to send what it took, now that this member has installed: with its part in this view
    /// that would be lost, and my last words may be among it.
    pub fn note_backlog(&mut self, peers: Ranks) {
        self.backlog = peers;
    }

    /// Whether some member that still counts has not been told all of my row, or its end waits in `outbox` or in the
    /// fabric: polling and stepping moves it.
    pub fn is_behind(&self, outbox: &Outbox) -> bool {
        let counts = |peer: &Rank| self.protocol.hears(*peer) && !self.down.has(*peer);
        let mut peers = self.peers().filter(counts);
        self.publication.is_behind(peers.clone()) || peers.any(|peer| self.is_unsaid(peer, outbox))
    }

    /// Whether my last words wait for room to a peer to whom they matter. A learner's matter to no other learner, which
    /// may be gone without having read them.
    fn is_unsaid(&self, peer: Rank, outbox: &Outbox) -> bool {
        let me = self.protocol.me();
        let matters = self.protocol.votes(me) || self.protocol.votes(peer);
        matters && (self.backlog.has(peer) || self.publication.is_unsaid(peer, me, outbox))
    }

    /// What this member is to do. See [`Phase`].
    pub fn phase(&self) -> Phase {
        self.protocol.phase()
    }

    /// The protocol's own state, for traces.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// As [`Protocol::freeze`].
    pub fn freeze(&mut self, received: Vec<u64>) {
        self.protocol.freeze(received);
    }

    /// As [`Protocol::reach`].
    pub fn reach(&mut self, received: Vec<u64>) {
        self.protocol.reach(received);
    }

    /// As [`Protocol::hold`].
    ///
    /// # Panics
    /// As there.
    pub fn hold(&mut self, held: Vec<u64>, cut: Option<(Ends, Vec<u64>)>) {
        self.protocol.hold(held, cut);
    }

    /// What was decided.
    pub fn decision(&self) -> Option<&Decision> {
        self.protocol.decision()
    }

    /// As [`Protocol::install`].
    pub fn install(&mut self) {
        self.protocol.install();
    }

    /// As [`Protocol::is_settled`].
    pub fn is_settled(&self) -> bool {
        self.protocol.is_settled()
    }

    /// As [`Protocol::say_delivered`].
    ///
    /// # Panics
    /// As there.
    pub fn say_delivered(&mut self, delivered: Vec<u64>) {
        self.protocol.say_delivered(delivered);
    }

    /// As [`Protocol::request`].
    ///
    /// # Errors
    /// As there.
    pub fn request(&mut self, newcomer: Newcomer) -> Result<(), RequestError> {
        self.protocol.request(newcomer)
    }

    /// As [`Protocol::leave`]. It insists after [`Timeouts::leave`].
    pub fn leave(&mut self) {
        self.leave_after(0);
    }

    /// The same; of that time it has waited `waited_ns` already, in an earlier view, or for somebody outside of this
    /// one.
    pub fn leave_after(&mut self, waited_ns: u64) {
        if self.protocol.row().leaving == Leaving::No {
            self.waits.left_ns = waited_ns;
        }
        self.protocol.leave();
    }

    /// Whether this member wants to leave, and how long it has waited for that.
    pub fn leaving(&self) -> (Leaving, u64) {
        let waited_ns = self.waits.leave.waited_ns(self.pulse.running_ns());
        (self.protocol.row().leaving, self.waits.left_ns.saturating_add(waited_ns))
    }

    /// As [`Protocol::insist_on_leaving`].
    pub fn insist_on_leaving(&mut self) {
        self.protocol.insist_on_leaving();
    }

    /// As [`Protocol::say_whole`].
    pub fn say_whole(&mut self) {
        self.protocol.say_whole();
    }

    /// Suspects `peer` for a reason of the caller's own.
    pub fn suspect(&mut self, peer: Rank) {
        self.protocol.suspect(peer);
    }

    /// As [`Protocol::hear_witness`].
    pub fn hear_witness(&mut self, witness: Witness) {
        self.protocol.hear_witness(witness);
    }

    /// Breaks a rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_mutation(&mut self, mutation: Mutation) {
        self.protocol.set_mutation(mutation);
    }
}
