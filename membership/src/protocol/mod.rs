//! The protocol itself: rows of others in, my row out. It knows no table, no time and no fabric.

use squall_transport::{NodeId, Rank};

use crate::limits::{CHANGES_MAX, MEMBERS_MAX, REQUESTS_MAX};
use crate::mutation::Mutation;
use crate::ranks::Ranks;
use crate::row::{Accepted, Change, Newcomer, Row, What};
use crate::trim::{members_after, quorum, ragged_trim};

/// Why a member stops for good: it delivers nothing more and installs nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Stop {
    /// Another member suspects this one: the group goes on without it.
    #[error("member {by} suspects this one, so the group goes on without it; join again under a new name")]
    Excluded {
        /// Who said so first.
        by: Rank,
    },
    /// So many are suspected that the rest is no majority: another part of the group may go on.
    #[error("only {left} of {members} members are left here and {needed} are needed: another part of the group may go on")]
    NoQuorum {
        /// Members not suspected, this one among them.
        left: usize,
        /// Members of the view.
        members: usize,
        /// How many it takes.
        needed: usize,
    },
}

/// What a tie-break witness said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Witness {
    /// It sides with this member, and in this view with no other, ever.
    Sides,
    /// It has sided with the other member, or cannot be asked.
    Refuses,
}

/// Why a newcomer cannot be asked for here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is a member.
    #[error("{0} is a member already; a process that comes back needs a new name")]
    Member(NodeId),
    /// Too many wait.
    #[error("{REQUESTS_MAX} newcomers wait at this member already; try another member, or later")]
    Full,
    /// The view is full.
    #[error("the view has {MEMBERS_MAX} members, more are not supported")]
    ViewFull,
    /// The next view is decided, or this member has stopped: ask again in the next view, or another member.
    #[error("this view is over; ask again in the next one")]
    Over,
}

/// What follows this view, the same at every member that learns it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Who led it.
    pub leader: Rank,
    /// What happens to the list of members.
    pub changes: Vec<Change>,
    /// Where each sender's messages end in this view, exclusive.
    pub trim: Vec<u64>,
    /// Members of the next view by rank.
    pub members: Vec<NodeId>,
}

/// Where a member is on its way from one view to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing is to be changed.
    Steady,
    /// The view is to end: stop sending, receiving and delivering, then [`Protocol::freeze`].
    Wedging,
    /// Frozen, and waiting for the others.
    Wedged,
    /// One of two members is alone: only a witness can tell which of them goes on.
    Split,
    /// The next view is decided: deliver up to the trim, then [`Protocol::install`].
    Decided,
    /// Acted upon; this epoch is kept only as long as others need it.
    Installed,
    /// Over.
    Stopped(Stop),
}

/// One member's part of the protocol in one view. See the crate's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Protocol {
    me: Rank,
    nodes: Vec<NodeId>,
    senders: usize,
    row: Row,
    /// What the others last said, by rank; my own is unused.
    rows: Vec<Row>,
    /// Whom I suspect. My row says so once it is sure that I go on.
    suspects: Ranks,
    /// Whose link broke after this view was over: neither suspected nor waited for.
    gone: Ranks,
    /// The changes that I lead are another leader's, and stay as they are.
    adopted: bool,
    wants_wedge: bool,
    witness: Option<Witness>,
    decision: Option<Decision>,
    stop: Option<Stop>,
    mutation: Mutation,
}

impl Protocol {
    /// Member `me` of the view of `nodes`, with `senders` senders; `suspects` are members that are known to be lost already.
    ///
    /// # Panics
    /// If `me` is no member, or there are more than [`MEMBERS_MAX`].
    pub fn new(me: Rank, nodes: Vec<NodeId>, senders: usize, suspects: Ranks) -> Protocol {
        assert!(me.index() < nodes.len() && nodes.len() <= MEMBERS_MAX, "rank {me} of {} members", nodes.len());
        assert!(!suspects.has(me), "nobody suspects itself");
        Protocol {
            me,
            senders,
            row: Row::default(),
            rows: vec![Row::default(); nodes.len()],
            nodes,
            suspects,
            gone: Ranks::EMPTY,
            adopted: false,
            wants_wedge: false,
            witness: None,
            decision: None,
            stop: None,
            mutation: Mutation::None,
        }
    }

    /// Breaks a rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_mutation(&mut self, mutation: Mutation) {
        self.mutation = mutation;
    }

    /// My row, for the others.
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// My rank.
    pub fn me(&self) -> Rank {
        self.me
    }

    /// Members of the view.
    pub fn members(&self) -> usize {
        self.nodes.len()
    }

    /// Whom I suspect.
    pub fn suspects(&self) -> Ranks {
        self.suspects
    }

    /// What follows this view, once it is decided.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// Where this member is.
    pub fn phase(&self) -> Phase {
        match (&self.stop, &self.decision) {
            (Some(stop), _) => Phase::Stopped(*stop),
            (None, Some(_)) if self.row.installed => Phase::Installed,
            (None, _) if self.is_split() => Phase::Split,
            (None, Some(_)) => Phase::Decided,
            (None, None) if self.row.received.is_some() => Phase::Wedged,
            (None, None) if self.wants_wedge => Phase::Wedging,
            (None, None) => Phase::Steady,
        }
    }

    /// The lowest rank that I do not suspect: whom I follow.
    pub fn leader(&self) -> Rank {
        self.trusted().next().unwrap_or(self.me)
    }

    /// The link to `peer` is broken, or it was silent for too long.
    pub fn suspect(&mut self, peer: Rank) {
        if peer == self.me {
            return;
        }
        // Who has installed needs nobody, and others may have gone on. Before that nobody goes that I may still need: it waits for me.
        if self.row.installed {
            self.gone.add(peer);
        } else {
            self.suspects.add(peer);
        }
    }

    /// Whether what `peer` says still counts.
    pub fn hears(&self, peer: Rank) -> bool {
        let lost = self.gone.has(peer) || (self.suspects.has(peer) && self.mutation != Mutation::ForgetsSuspicion);
        self.stop.is_none() && !lost
    }

    /// What `peer` says now; its earlier rows may have been skipped. Nothing of a suspect counts.
    pub fn see(&mut self, peer: Rank, row: Row) {
        if self.hears(peer) && peer != self.me {
            if self.mutation == Mutation::ForgetsSuspicion && self.suspects.has(peer) {
                let others: Ranks = self.suspects.iter().filter(|&other| other != peer).collect();
                self.suspects = others;
            }
            self.rows[peer.index()] = row;
        }
    }

    /// A newcomer asks to join by way of this member.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn request(&mut self, newcomer: Newcomer) -> Result<(), RequestError> {
        if self.decision.is_some() || self.stop.is_some() {
            return Err(RequestError::Over);
        }
        if self.nodes.contains(&newcomer.node()) {
            return Err(RequestError::Member(newcomer.node()));
        }
        if self.row.requests.iter().any(|waits| waits.node == newcomer.node) {
            return Ok(());
        }
        if self.nodes.len() + self.row.requests.len() >= MEMBERS_MAX {
            return Err(RequestError::ViewFull);
        }
        if self.row.requests.len() == REQUESTS_MAX {
            return Err(RequestError::Full);
        }
        self.row.requests.push(newcomer);
        Ok(())
    }

    /// Newcomers that asked here.
    pub fn requests(&self) -> &[Newcomer] {
        &self.row.requests
    }

    /// This member wants to leave.
    pub fn leave(&mut self) {
        self.row.leaving = true;
    }

    /// I have stopped sending, receiving and delivering, and have received so much of each sender.
    ///
    /// # Panics
    /// If it was said before, or the vector has not one place a sender.
    pub fn freeze(&mut self, received: Vec<u64>) {
        assert!(self.row.received.is_none() && received.len() == self.senders, "one frontier a sender, once a view");
        self.row.received = Some(received);
    }

    /// What a tie-break witness said, for [`Phase::Split`].
    pub fn hear_witness(&mut self, witness: Witness) {
        self.witness.get_or_insert(witness);
    }

    /// I have delivered up to the trim.
    ///
    /// # Panics
    /// If nothing is decided.
    pub fn install(&mut self) {
        assert!(self.decision.is_some(), "only what was decided is installed");
        self.row.installed = true;
    }

    /// Whether nobody needs this view any more: everyone who was not lost has acted on the decision.
    pub fn is_settled(&self) -> bool {
        self.row.installed && !self.trusted().any(|peer| self.waits_for(peer))
    }

    /// Whether `rank` has said that it has acted on the decision: whatever it posted in this view has landed here, since that came before.
    pub fn has_installed(&self, rank: Rank) -> bool {
        self.row_of(rank).installed
    }

    /// Whether `peer` may have to say something that matters here.
    pub fn waits_for(&self, peer: Rank) -> bool {
        peer != self.me && self.hears(peer) && !(self.row.installed && self.rows[peer.index()].installed)
    }

    /// Does what can be done now. Whether my row or my phase changed.
    pub fn advance(&mut self) -> bool {
        if self.stop.is_some() {
            return false;
        }
        let before = (self.row.clone(), self.phase());
        self.spread();
        if self.check_quorum() {
            self.row.suspected = self.suspects;
            self.wants_wedge |= !self.suspects.is_empty();
            self.follow();
            self.lead();
            self.wants_wedge |= !self.row.accepted.is_empty();
            self.decide();
        }
        before != (self.row.clone(), self.phase())
    }

    /// Members that I do not suspect, myself among them, ascending.
    fn trusted(&self) -> impl Iterator<Item = Rank> + '_ {
        (0..self.nodes.len()).map(Rank::new).filter(|&rank| !self.suspects.has(rank))
    }

    fn row_of(&self, rank: Rank) -> &Row {
        if rank == self.me { &self.row } else { &self.rows[rank.index()] }
    }

    /// Suspects whom others suspect, lower ranks heard first; stops if that is me.
    fn spread(&mut self) {
        for rank in (0..self.nodes.len()).map(Rank::new) {
            if rank == self.me || self.suspects.has(rank) {
                continue;
            }
            let theirs = self.rows[rank.index()].suspected;
            if theirs.has(self.me) {
                self.stop = Some(Stop::Excluded { by: rank });
                return;
            }
            if !self.suspects.has_all(&theirs) {
                self.suspects.add_all(&theirs);
                // What was heard of ranks before this one is not taken back, but they may be suspects now.
                return self.spread();
            }
        }
    }

    fn needed(&self) -> usize {
        quorum(self.nodes.len(), self.witness == Some(Witness::Sides))
    }

    fn is_split(&self) -> bool {
        self.nodes.len() == 2 && !self.suspects.is_empty() && self.witness.is_none() && self.mutation != Mutation::MinorityActs
    }

    /// Whether enough of us are left. Asked before anybody is told of a suspicion: whoever is alone does not drag others down.
    fn check_quorum(&mut self) -> bool {
        if self.stop.is_some() || self.is_split() {
            return false;
        }
        let (left, members, needed) = (self.trusted().count(), self.nodes.len(), self.needed());
        if left < needed && self.mutation != Mutation::MinorityActs {
            self.stop = Some(Stop::NoQuorum { left, members, needed });
            return false;
        }
        true
    }

    /// Accepts what the leader proposes, if it is newer than what I have.
    fn follow(&mut self) {
        let leader = self.leader();
        if leader == self.me {
            return;
        }
        let theirs = &self.rows[leader.index()].accepted;
        if theirs.leader == Some(leader) && theirs.age() > self.row.accepted.age() {
            self.row.accepted = theirs.clone();
        }
    }

    /// If it is for me to lead: takes over, proposes, and cuts.
    fn lead(&mut self) {
        if self.leader() != self.me || !self.may_lead() {
            return;
        }
        if self.row.accepted.leader != Some(self.me) {
            self.take_over();
        }
        if !self.adopted && self.row.accepted.trim.is_none() {
            self.propose();
        }
        if self.row.accepted.leader == Some(self.me) {
            self.cut();
        }
    }

    /// Whether all who follow me have turned their back on those before me: nothing new can come from there any more.
    fn may_lead(&self) -> bool {
        let before = Ranks::below(self.me);
        self.mutation == Mutation::LeadsEarly || self.trusted().all(|rank| self.row_of(rank).suspected.has_all(&before))
    }

    /// Makes the newest that anyone here has accepted my own proposal, as it is: a majority may have it.
    fn take_over(&mut self) {
        let newest = self.trusted().map(|rank| &self.row_of(rank).accepted).max_by_key(|accepted| accepted.age());
        let Some(newest) = newest.filter(|accepted| !accepted.is_empty()) else { return };
        self.row.accepted = match self.mutation {
            Mutation::IgnoresAccepted => Accepted::default(),
            _ => Accepted { leader: Some(self.me), ..newest.clone() },
        };
        self.adopted = !matches!(self.mutation, Mutation::IgnoresAccepted | Mutation::BlendsChanges);
    }

    /// Adds what is to be changed and is not in the list yet: losses, then leaves, then joins.
    fn propose(&mut self) {
        let lost = self.suspects.iter().map(What::Remove);
        let leaves = self.trusted().filter(|&rank| self.row_of(rank).leaving).map(What::Leave);
        let joins = self.trusted().flat_map(|rank| &self.row_of(rank).requests).copied().map(What::Join);
        let wanted: Vec<What> = lost.chain(leaves).chain(joins).collect();
        for what in wanted {
            let changes = &self.row.accepted.changes;
            if changes.len() < CHANGES_MAX && !changes.iter().any(|change| is_same(&change.what, &what)) && self.has_place(&what) {
                self.row.accepted.leader = Some(self.me);
                self.row.accepted.changes.push(Change { by: self.me, what });
            }
        }
    }

    /// A newcomer needs a name that no member has, and a view that is not full.
    fn has_place(&self, what: &What) -> bool {
        let What::Join(newcomer) = what else { return true };
        let next = members_after(&self.nodes, &self.row.accepted.changes);
        !self.nodes.contains(&newcomer.node()) && next.len() < MEMBERS_MAX
    }

    /// Once all who follow me are wedged: the least that they have received.
    fn cut(&mut self) {
        let accepted = &self.row.accepted;
        if accepted.changes.is_empty() || accepted.trim.is_some() {
            return;
        }
        let counts = |rank: Rank| !self.suspects.has(rank) || self.mutation == Mutation::TrimCountsSuspects;
        let zeros = vec![0; self.senders];
        let all = (0..self.nodes.len()).map(Rank::new).filter(|&rank| counts(rank));
        let frozen: Option<Vec<&[u64]>> = all
            .map(|rank| match &self.row_of(rank).received {
                None if self.suspects.has(rank) => Some(zeros.as_slice()),
                received => received.as_deref(),
            })
            .collect();
        let Some(frozen) = frozen else { return };
        self.row.accepted.trim = Some(ragged_trim(frozen, self.senders));
    }

    /// Once enough of us have accepted the same trim from the same leader, it stands; and what another has acted on stood before.
    fn decide(&mut self) {
        if self.decision.is_some() || self.row.received.is_none() {
            return;
        }
        let acted = self.trusted().map(|rank| self.row_of(rank)).find(|row| row.installed).map(|row| row.accepted.clone());
        let acted = acted.filter(|_| self.mutation != Mutation::IgnoresAccepted);
        if let Some(accepted) = &acted
            && accepted.age() > self.row.accepted.age()
        {
            self.row.accepted.clone_from(accepted);
        }
        let stands = acted.or_else(|| self.enough_accepted().then(|| self.row.accepted.clone()));
        let Some(Accepted { leader: Some(leader), changes, trim: Some(trim) }) = stands else { return };
        let members = members_after(&self.nodes, &changes);
        let trim = match (self.mutation, &self.row.received) {
            (Mutation::DeliversPastTrim, Some(received)) => received.clone(),
            _ => trim,
        };
        self.decision = Some(Decision { leader, changes, trim, members });
    }

    /// Whether enough of us have accepted the trim that I have, from the leader that I have it from.
    fn enough_accepted(&self) -> bool {
        let Accepted { leader: Some(leader), trim: Some(_), .. } = &self.row.accepted else { return false };
        let same = |rank: &Rank| self.row_of(*rank).accepted.leader == Some(*leader) && self.row_of(*rank).accepted.trim.is_some();
        let alone = self.mutation == Mutation::ActsAlone || self.mutation == Mutation::MinorityActs;
        alone || self.trusted().filter(same).count() >= self.needed()
    }
}

/// Whether two changes concern the same member or newcomer.
fn is_same(one: &What, other: &What) -> bool {
    match (one, other) {
        (What::Remove(a) | What::Leave(a), What::Remove(b) | What::Leave(b)) => a == b,
        (What::Join(a), What::Join(b)) => a.node == b.node,
        _ => false,
    }
}
