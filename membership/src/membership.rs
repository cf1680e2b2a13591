//! The protocol on a table: rows that land go in, my row goes out, silence becomes suspicion.

use squall_sst::{Column, Table};
use squall_transport::{NodeId, Outbox, Rank};

use crate::mutation::Mutation;
use crate::protocol::{Decision, Phase, Protocol, RequestError, Witness};
use crate::publication::{Found, Publication};
use crate::pulse::{Pulse, Timeouts};
use crate::ranks::Ranks;
use crate::row::{Columns, Newcomer, Row};

/// One member's membership in one view.
///
/// [`step`](Membership::step) it often, at least as often as [`next_ns`](Membership::next_ns) says, and do what [`phase`](Membership::phase) asks for.
#[derive(Debug)]
pub struct Membership {
    protocol: Protocol,
    publication: Publication,
    pulse: Pulse,
    /// My row as it was handed to the publication.
    published: Row,
    /// Links that broke: nothing is posted there.
    down: Ranks,
}

impl Membership {
    /// Member `me` of the view of `nodes`, whose table has `columns`. `signs` are words of other protocols that their row's owner raises and pushes to
    /// all: they say as much as a heartbeat. `lost` are members that did not come into this view: they are suspected from the start.
    ///
    /// # Panics
    /// If the columns were composed for another number of members, or `me` is no member or lost.
    pub fn new(columns: Columns, me: Rank, nodes: Vec<NodeId>, timeouts: Timeouts, signs: Vec<Column>, lost: Ranks) -> Membership {
        assert_eq!(columns.members(), nodes.len(), "columns for another view");
        let pulse = Pulse::new(timeouts, columns.heartbeat, signs, nodes.len());
        let protocol = Protocol::new(me, nodes, columns.senders(), lost);
        Membership { protocol, publication: Publication::new(columns), pulse, published: Row::default(), down: lost }
    }

    /// Takes in what has landed, does what can be done, queues what is to be told. It is `now_ns`, in any monotone time. Whether anything changed here, or
    /// is still to be told.
    pub fn step(&mut self, now_ns: u64, table: &Table, outbox: &mut Outbox) -> bool {
        self.pulse.pass(now_ns);
        self.listen(table);
        let mut progress = false;
        while self.protocol.advance() {
            progress = true;
        }
        self.tell(table, outbox) | progress
    }

    /// Takes in the others' rows, lower ranks first, and notices who is silent.
    fn listen(&mut self, table: &Table) {
        let me = self.protocol.me();
        for peer in (0..self.protocol.members()).map(Rank::new) {
            if peer == me || !self.protocol.hears(peer) {
                continue;
            }
            match self.publication.look(peer, table) {
                Found::Nothing => {}
                Found::Row(row) => self.protocol.see(peer, row),
                Found::Malformed => self.protocol.suspect(peer),
            }
            if self.protocol.waits_for(peer) && self.pulse.is_silent(peer, table) {
                self.protocol.suspect(peer);
            }
        }
    }

    /// Queues my row and my heartbeat. Whether anything was queued that is more than a heartbeat.
    fn tell(&mut self, table: &Table, outbox: &mut Outbox) -> bool {
        if matches!(self.protocol.phase(), Phase::Stopped(_) | Phase::Split) {
            return false;
        }
        if *self.protocol.row() != self.published {
            // Rarely: turning a row into words takes longer than a turn of the loop.
            self.published.clone_from(self.protocol.row());
            self.publication.set(&self.published, table);
        }
        let (me, down, members) = (self.protocol.me(), self.down, self.protocol.members());
        let linked = || (0..members).map(Rank::new).filter(move |&peer| peer != me && !down.has(peer));
        let mut told = false;
        if self.publication.is_behind(linked()) {
            // Suspects too: so they learn that the group goes on without them.
            told = linked().fold(false, |told, peer| self.publication.push(peer, table, outbox) | told);
        }
        let suspects = self.protocol.suspects();
        self.pulse.beat(table, outbox, linked().filter(|&peer| !suspects.has(peer)));
        told
    }

    /// The link to `peer` is broken.
    pub fn link_down(&mut self, peer: Rank) {
        self.down.add(peer);
        self.protocol.suspect(peer);
    }

    /// When the next step is due even if nothing lands, in the time that steps are given.
    pub fn next_ns(&self) -> u64 {
        self.pulse.next_ns()
    }

    /// Whether some member that still counts has not been told all of my row: polling and stepping moves it.
    pub fn is_behind(&self) -> bool {
        let counts = |peer: &Rank| *peer != self.protocol.me() && self.protocol.hears(*peer) && !self.down.has(*peer);
        self.publication.is_behind((0..self.protocol.members()).map(Rank::new).filter(counts))
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

    /// As [`Protocol::request`].
    ///
    /// # Errors
    /// As there.
    pub fn request(&mut self, newcomer: Newcomer) -> Result<(), RequestError> {
        self.protocol.request(newcomer)
    }

    /// This member wants to leave.
    pub fn leave(&mut self) {
        self.protocol.leave();
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
