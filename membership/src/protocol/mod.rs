//! The protocol itself: rows of others in, my row out. It knows no table, no time and no fabric.

mod deciding;
mod filling;
mod floor;
mod leading;

use squall_sst::Malformed;
use squall_transport::{NodeId, Rank};

use crate::limits::{MEMBERS_MAX, REQUESTS_MAX};
use crate::mutation::Mutation;
use crate::outcome::{Decision, Phase, RequestError, Stop, Witness};
use crate::plausible::{Members, can_follow, is_covered};
use crate::ranks::Ranks;
use crate::row::{Accepted, Leaving, Newcomer, Row};
use crate::trim::quorum;
pub use filling::Ends;
use filling::Filling;

/// Who sends, and how many may: what a leader needs to know before it takes in a newcomer that is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Senders {
    /// Who sends in this view.
    pub now: Ranks,
    /// Learners that are to send once they vote.
    pub later: Ranks,
    /// How many may send in any view.
    pub senders_max: usize,
}

impl Senders {
    /// As many as like.
    pub const UNLIMITED: Senders = Senders { now: Ranks::EMPTY, later: Ranks::EMPTY, senders_max: usize::MAX };
}

/// One member's part of the protocol in one view. See the crate's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Protocol {
    me: Rank,
    nodes: Vec<NodeId>,
    /// How many of the members vote: the first ones.
    voters: usize,
    /// Places in the trim.
    sender_count: usize,
    senders: Senders,
    row: Row,
    /// What the others last said, by rank; my own is unused.
    rows: Vec<Row>,
    /// Whom I suspect. My row says so once it is sure that I go on; a learner's never does.
    suspects: Ranks,
    /// Whose link broke after this view was over: neither suspected nor waited for.
    gone: Ranks,
    /// The changes that I lead are another leader's, and stay as they are.
    adopted: bool,
    /// Votes and joins wait, should I lead.
    rests: bool,
    wants_wedge: bool,
    /// Of each sender, what I had delivered when I wedged; empty where it says nothing about what others have.
    delivered: Vec<u64>,
    /// Where views end at the most that any voter has.
    filling: Option<Filling>,
    blamed: Option<Malformed>,
    witness: Option<Witness>,
    decision: Option<Decision>,
    /// Whose cut I had accepted when I decided.
    decided_with: Option<Rank>,
    stop: Option<Stop>,
    mutation: Mutation,
}

impl Protocol {
    /// Member `me` of the view of `nodes`, all of whom vote, with `senders` senders; `suspects` are members that are
    /// known to be lost already.
    ///
    /// # Panics
    /// If `me` is no member, or there are more than [`MEMBERS_MAX`].
    pub fn new(me: Rank, nodes: Vec<NodeId>, senders: usize, suspects: Ranks) -> Protocol {
        let voters = nodes.len();
        Protocol::with_voters(me, nodes, voters, senders, suspects)
    }

    /// As [`Protocol::new`], in a view of which the first `voters` members vote and the others learn.
    ///
    /// # Panics
    /// As there, or if nobody votes.
    pub fn with_voters(me: Rank, nodes: Vec<NodeId>, voters: usize, senders: usize, suspects: Ranks) -> Protocol {
        assert!(me.index() < nodes.len() && nodes.len() <= MEMBERS_MAX, "rank {me} of {} members", nodes.len());
        assert!((1..=nodes.len()).contains(&voters), "{voters} of {} members vote", nodes.len());
        assert!(!suspects.has(me), "nobody suspects itself");
        Protocol {
            me,
            voters,
            sender_count: senders,
            senders: Senders::UNLIMITED,
            row: Row::default(),
            rows: vec![Row::default(); nodes.len()],
            nodes,
            suspects,
            gone: Ranks::EMPTY,
            adopted: false,
            wants_wedge: false,
            rests: false,
            delivered: Vec::new(),
            filling: None,
            blamed: None,
            witness: None,
            decision: None,
            decided_with: None,
            stop: None,
            mutation: Mutation::None,
        }
    }

    /// Who sends, for the case that this member leads.
    pub fn set_senders(&mut self, senders: Senders) {
        self.senders = senders;
    }

    /// Whether the view is too young for changes that can wait, for the case that this member leads.
    pub fn set_rests(&mut self, rests: bool) {
        self.rests = rests || self.mutation == Mutation::RestsForEver;
    }

    /// Breaks a rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_mutation(&mut self, mutation: Mutation) {
        self.mutation = mutation;
    }

    /// Whether it looks all the time where it waits for a witness, on purpose.
    pub(crate) fn spins(&self) -> bool {
        self.mutation == Mutation::SplitSpins
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

    /// Members of the view that vote: the first ones.
    pub fn voters(&self) -> usize {
        self.voters
    }

    /// Whether `rank` votes; whoever does not is a learner.
    pub fn votes(&self, rank: Rank) -> bool {
        rank.index() < self.voters
    }

    /// Whom I suspect.
    pub fn suspects(&self) -> Ranks {
        self.suspects
    }

    /// Members that do not come into the next view: whom I suspect or, since nobody heeds what a learner suspects, whom
    /// voters do. Those that agree to what was decided are heard first, and nobody whom one before it suspects: who is
    /// left out may suspect anybody. Never this one: a learner that they suspect, and that the next view has all the
    /// same, hears so there.
    pub fn lost(&self) -> Ranks {
        if self.votes(self.me) {
            return self.suspects;
        }
        let decider = self.decision.as_ref().map(|decision| decision.leader);
        let agrees = |rank: &Rank| {
            let Accepted { leader, trim, .. } = &self.rows[rank.index()].accepted;
            trim.is_some() && *leader == decider
        };
        let (agreed, others): (Vec<Rank>, Vec<Rank>) = (0..self.voters).map(Rank::new).partition(agrees);
        let mut lost = Ranks::EMPTY;
        for voter in agreed.into_iter().chain(others) {
            if !lost.has(voter) || self.mutation == Mutation::HeedsOutcasts {
                lost.add_all(&self.rows[voter.index()].suspected);
            }
        }
        lost.iter().filter(|&rank| rank != self.me).collect()
    }

    /// What follows this view, once it is decided.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// From whom I had accepted where the view ends at the moment when I decided: my row may have gone on since.
    pub fn decided_with(&self) -> Option<Rank> {
        self.decided_with
    }

    /// Where this member is.
    pub fn phase(&self) -> Phase {
        match (&self.stop, &self.decision) {
            (Some(stop), _) => Phase::Stopped(*stop),
            (None, Some(_)) if self.row.installed => Phase::Installed,
            (None, _) if self.is_split() => Phase::Split,
            (None, Some(_)) => Phase::Decided,
            (None, None) if !self.votes(self.me) => Phase::Steady,
            (None, None) if self.row.received.is_some() => Phase::Wedged,
            (None, None) if self.wants_wedge => Phase::Wedging,
            (None, None) => Phase::Steady,
        }
    }

    /// The lowest voter that I do not suspect: whom I follow.
    pub fn leader(&self) -> Rank {
        if self.mutation == Mutation::LearnerLeads && !self.votes(self.me) {
            return self.me;
        }
        self.trusted_voters().next().unwrap_or(self.me)
    }

    /// The link to `peer` is broken, or it was silent for too long.
    pub fn suspect(&mut self, peer: Rank) {
        if peer == self.me {
            return;
        }
        // A voter that knows the decision needs nobody, and others may have gone on: those that took it for lost too.
        // Before that nobody goes that I may still need: it waits for me.
        let needs_nobody = self.row.installed || (self.decision.is_some() && self.votes(self.me));
        if needs_nobody {
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

    /// What `peer` says now; its earlier rows may have been skipped. Nothing of a suspect counts, and who says what it
    /// cannot say becomes one.
    pub fn see(&mut self, peer: Rank, row: Row) {
        if self.hears(peer) && peer != self.me {
            // Who suspects me has not counted me in its trim, and nobody counts a learner.
            let counted = self.votes(self.me) && !row.suspected.has(self.me);
            let received = self.row.received.as_deref().filter(|_| counted && self.filling.is_none());
            let view = Members { nodes: &self.nodes, voters: self.voters };
            let follows = || can_follow(&row, &self.rows[peer.index()], self.votes(peer), view, received);
            if self.mutation == Mutation::None && !follows() || self.is_below(peer, &row) {
                return self.suspect(peer);
            }
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

    /// This member wants to leave, as soon as others that vote stay, or nobody does.
    pub fn leave(&mut self) {
        self.row.leaving = self.row.leaving.max(Leaving::Asks);
    }

    /// This member leaves, whoever stays.
    pub fn insist_on_leaving(&mut self) {
        self.row.leaving = Leaving::Insists;
    }

    /// This learner has the state, and can vote, unless it is at odds with the voters: they would lose whom it has
    /// lost. Voters can from the start.
    pub fn say_whole(&mut self) {
        self.row.whole |= !self.votes(self.me) && self.at_odds_with().is_none();
    }

    /// I have stopped sending, receiving and delivering, and have received so much of each sender. Said by voters.
    ///
    /// # Panics
    /// If it was said before, the vector has not one place a sender, or this is a learner.
    pub fn freeze(&mut self, received: Vec<u64>) {
        assert!(self.votes(self.me), "a learner does not wedge");
        assert!(self.row.received.is_none() && received.len() == self.sender_count, "one frontier a sender, once a view");
        let is_wrong = |rank: &Rank| {
            let row = &self.rows[rank.index()];
            *rank != self.me && !row.suspected.has(self.me) && !is_covered(&row.accepted, &received)
        };
        if self.mutation == Mutation::None && self.filling.is_none() {
            let wrong: Vec<Rank> = self.trusted_voters().filter(is_wrong).collect();
            wrong.into_iter().for_each(|rank| self.suspect(rank));
        }
        self.row.received = Some(received);
    }

    /// What this learner must have received when the view ends, as far as it can see: what voters that have wedged will
    /// deliver.
    pub fn tail(&self) -> Option<Vec<u64>> {
        if self.votes(self.me) {
            return None;
        }
        self.decision.as_ref().map(|decision| decision.trim.clone()).or_else(|| self.least_or_most())
    }

    /// This learner has received so much of each sender, and goes on receiving. It says so when it has reached its
    /// [`Protocol::tail`].
    ///
    /// # Panics
    /// If the vector has not one place a sender, or this is a voter.
    pub fn reach(&mut self, received: Vec<u64>) {
        assert!(!self.votes(self.me) && received.len() == self.sender_count, "one frontier a sender, of a learner");
        self.row.received = Some(received);
    }

    /// What a tie-break witness said. Heeded in [`Phase::Split`], where it was asked for.
    pub fn hear_witness(&mut self, witness: Witness) {
        if self.is_split() {
            self.witness = Some(witness);
        }
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

    /// Whether learners alone keep this member in a view that is over.
    pub fn waits_for_learners_only(&self) -> bool {
        self.row.installed && !self.is_settled() && !self.trusted_voters().any(|peer| self.waits_for(peer))
    }

    /// Whether `rank` has said that it has acted on the decision: whatever it posted in this view has landed here,
    /// since that came before.
    pub fn has_installed(&self, rank: Rank) -> bool {
        self.row_of(rank).installed
    }

    /// Whether `peer` may have to say something that matters here. No learner says anything that matters to another
    /// one.
    pub fn waits_for(&self, peer: Rank) -> bool {
        let over = self.row.installed && self.rows[peer.index()].installed;
        let matters = peer != self.me && (self.votes(peer) || self.votes(self.me));
        matters && self.hears(peer) && !over
    }

    /// A voter that this learner has lost, and no voter that it hears has. Or a learner: if it lacks more than half of
    /// them, counting itself, it is this one that is cut off, and not they.
    pub fn at_odds_with(&self) -> Option<Rank> {
        if self.votes(self.me) || self.decision.is_some() {
            return None;
        }
        let lost = self.lost();
        let (voters, learners): (Vec<Rank>, Vec<Rank>) =
            self.suspects.iter().filter(|&rank| !lost.has(rank)).partition(|&rank| self.votes(rank));
        let lacks_most = 2 * learners.len() > self.nodes.len() - self.voters;
        voters.first().or(learners.first().filter(|_| lacks_most)).copied()
    }

    /// This learner has been at odds with the voters for too long: it stops, and nobody misses it.
    pub fn give_up(&mut self) {
        if let Some(with) = self.at_odds_with() {
            self.stop = Some(Stop::AtOdds { with });
        }
    }

    /// Whom this member does not hear any more, and whether it has stopped: what makes it look again at what follows.
    pub(crate) fn doubts(&self) -> (Ranks, Ranks, Option<Stop>, Leaving) {
        (self.suspects, self.gone, self.stop, self.row.leaving)
    }

    /// Does what can be done now. Whether my row or my phase changed.
    pub fn advance(&mut self) -> bool {
        if self.stop.is_some() {
            return false;
        }
        let before = (self.row.clone(), self.phase());
        self.spread();
        if self.goes_on() {
            if self.votes(self.me) {
                self.row.suspected = self.suspects;
                self.wants_wedge |= !self.suspects.is_empty();
            }
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

    /// Those of them that count in a vote.
    fn trusted_voters(&self) -> impl Iterator<Item = Rank> + '_ {
        let end = if self.mutation == Mutation::LearnerCounts { self.nodes.len() } else { self.voters };
        (0..end).map(Rank::new).filter(|&rank| !self.suspects.has(rank))
    }

    /// Those of them that do not vote.
    fn trusted_learners(&self) -> impl Iterator<Item = Rank> + '_ {
        (self.voters..self.nodes.len()).map(Rank::new).filter(|&rank| !self.suspects.has(rank))
    }

    fn row_of(&self, rank: Rank) -> &Row {
        if rank == self.me { &self.row } else { &self.rows[rank.index()] }
    }

    /// Suspects whom other voters suspect, lower ranks heard first; stops if that is me.
    fn spread(&mut self) {
        for rank in (0..self.voters).map(Rank::new) {
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
        quorum(self.voters, self.witness == Some(Witness::Sides))
    }

    /// Whether this is one of two voters, and has lost the other.
    fn is_split(&self) -> bool {
        let lost = self.voters == 2 && self.votes(self.me) && (0..2).any(|rank| self.suspects.has(Rank(rank)));
        lost && self.witness.is_none() && self.mutation != Mutation::MinorityActs
    }

    /// Whether enough of us are left. Asked before anybody is told of a suspicion: whoever is alone does not drag
    /// others down. A learner does not count; it goes on while there is anybody to follow.
    fn goes_on(&mut self) -> bool {
        if self.stop.is_some() || self.is_split() {
            return false;
        }
        let (left, members, needed) = (self.trusted_voters().count(), self.voters, self.needed());
        if !self.votes(self.me) {
            if left == 0 && self.decision.is_none() {
                self.stop = Some(Stop::NoVoters);
            }
        } else if left < needed && self.mutation != Mutation::MinorityActs {
            self.stop = Some(Stop::NoQuorum { left, members, needed });
        }
        self.stop.is_none()
    }
}
