//! What a leader does: takes over, proposes, and cuts.

use squall_transport::{NodeId, Rank};

use super::Protocol;
use crate::limits::{CHANGES_MAX, MEMBERS_MAX, WISHES_MAX};
use crate::mutation::Mutation;
use crate::ranks::Ranks;
use crate::row::{Accepted, Change, Leaving, Row, What};
use crate::trim::{members_after, ragged_trim, reaches};

impl Protocol {
    /// If it is for me to lead: takes over, proposes, and cuts.
    pub(super) fn lead(&mut self) {
        if self.leader() != self.me || !self.may_lead() {
            return;
        }
        if self.row.accepted.leader != Some(self.me) && !self.take_over() {
            return;
        }
        if !self.adopted && self.row.accepted.trim.is_none() {
            self.propose();
        }
        if self.row.accepted.leader == Some(self.me) {
            self.cut();
        }
    }

    /// Whether all voters that follow me have turned their back on those before me: nothing new can come from there any
    /// more.
    fn may_lead(&self) -> bool {
        if self.mutation == Mutation::LearnerLeads && !self.votes(self.me) {
            return true;
        }
        let before = Ranks::below(self.me);
        let turned = |rank: Rank| self.row_of(rank).suspected.has_all(&before);
        self.votes(self.me) && (self.mutation == Mutation::LeadsEarly || self.trusted_voters().all(turned))
    }

    /// Makes the newest that any voter here has accepted my own proposal, as it is: a majority may have it. `false` if
    /// I lack some of what it keeps, so that I cannot accept it yet.
    fn take_over(&mut self) -> bool {
        let accepted = self.trusted_voters().map(|rank| &self.row_of(rank).accepted).filter(|accepted| !accepted.is_empty());
        let newest = match self.mutation {
            Mutation::AdoptsOldest => accepted.min_by_key(|accepted| accepted.age()),
            _ => accepted.max_by_key(|accepted| accepted.age()),
        };
        let Some(newest) = newest else { return true };
        if newest.trim.as_ref().is_some_and(|trim| !self.holds(trim)) {
            return false;
        }
        self.row.accepted = match self.mutation {
            Mutation::IgnoresAccepted => Accepted::default(),
            _ => Accepted { leader: Some(self.me), ..newest.clone() },
        };
        self.adopted = !matches!(self.mutation, Mutation::IgnoresAccepted | Mutation::BlendsChanges);
        true
    }

    /// Adds what is to be changed and is not in the list yet: losses, then votes, then leaves, then joins. In a view
    /// that rests, votes and joins begin no change, but what does takes them along.
    fn propose(&mut self) {
        let is_urgent = || self.suspects != Ranks::EMPTY || self.trusted().any(|rank| self.row_of(rank).leaving != Leaving::No);
        if self.rests && self.row.accepted.changes.is_empty() && !is_urgent() {
            return;
        }
        let lost = self.suspects.iter().map(What::Remove);
        let is_whole = |rank: &Rank| self.row_of(*rank).whole && self.row_of(*rank).leaving == Leaving::No;
        let votes = self.trusted_learners().filter(is_whole).map(What::Vote);
        let leaves = self.trusted().filter(|&rank| self.row_of(rank).leaving != Leaving::No).map(What::Leave);
        let joins = self.trusted().flat_map(|rank| &self.row_of(rank).requests).copied().map(What::Join);
        let wanted: Vec<What> = lost.chain(votes).chain(leaves).chain(joins).collect();
        for what in wanted {
            let changes = &self.row.accepted.changes;
            if !changes.iter().any(|change| is_same(&change.what, &what)) && self.has_place(&what) {
                self.row.accepted.leader = Some(self.me);
                self.row.accepted.changes.push(Change { by: self.me, what });
            }
        }
        self.keep_a_voter();
    }

    /// Who was to stay may be lost after others were to leave: then one of those stays, if there is anybody who needs
    /// it.
    fn keep_a_voter(&mut self) {
        if self.row.accepted.changes.is_empty() || self.mutation == Mutation::LeavesAtOnce {
            return;
        }
        let (next, voters) = self.next_with(&[]);
        if voters > 0 || next.is_empty() {
            return;
        }
        let asks = |rank: &Rank| self.row_of(*rank).leaving == Leaving::Asks;
        let stays = self.trusted_voters().find(asks);
        if let Some(rank) = stays {
            self.row.accepted.changes.push(Change { by: self.me, what: What::Stay(rank) });
        }
    }

    /// Members and voters of the next view, after the list and these changes behind it.
    fn next_with(&self, more: &[What]) -> (Vec<NodeId>, usize) {
        let more = more.iter().map(|&what| Change { by: self.me, what });
        let changes: Vec<Change> = self.row.accepted.changes.iter().copied().chain(more).collect();
        members_after(&self.nodes, self.voters, &changes)
    }

    /// Whether the list may take this too. A newcomer needs a name that no member has, a view that is not full, and
    /// buffers if it is to send; the last voter does not leave while others are there, or ask to come.
    fn has_place(&self, what: &What) -> bool {
        let changes = &self.row.accepted.changes;
        let changes_max = if let What::Remove(_) = what { CHANGES_MAX - 1 } else { WISHES_MAX };
        let fits = match what {
            What::Remove(_) | What::Stay(_) | What::Vote(_) => true,
            What::Leave(rank) => self.may_leave(*rank),
            What::Join(newcomer) => {
                let (next, voters) = self.next_with(&[]);
                let free = !newcomer.sends() || self.senders_to_be() < self.senders.senders_max;
                !self.nodes.contains(&newcomer.node()) && next.len() < MEMBERS_MAX && voters > 0 && free
            }
        };
        changes.len() < changes_max && fits
    }

    /// How many will send once all that are in the view after the list vote.
    fn senders_to_be(&self) -> usize {
        let changes = || self.row.accepted.changes.iter().map(|change| change.what);
        let goes = |rank: &Rank| changes().any(|what| matches!(what, What::Remove(gone) | What::Leave(gone) if gone == *rank));
        let stay = self.senders.now.iter().chain(self.senders.later.iter()).filter(|rank| !goes(rank)).count();
        stay + changes().filter(|what| matches!(what, What::Join(newcomer) if newcomer.sends())).count()
    }

    /// Whether this member may leave: it does not vote, others do, or there is nobody whom it would leave without a
    /// voter.
    fn may_leave(&self, rank: Rank) -> bool {
        let insists = self.row_of(rank).leaving == Leaving::Insists || self.mutation == Mutation::LeavesAtOnce;
        let needs = |row: &Row| row.leaving == Leaving::No;
        let needed = || self.trusted_learners().any(|learner| needs(self.row_of(learner)));
        let asked = || self.trusted().any(|member| !self.row_of(member).requests.is_empty());
        let others = || self.next_with(&[What::Leave(rank)]).1 > 0;
        !self.votes(rank) || insists || others() || !(needed() || asked())
    }

    /// Once all voters that follow me are wedged, and learners that are to vote have what those will deliver: the least
    /// that voters have received; where members fill each other the most, once I have that.
    fn cut(&mut self) {
        let accepted = &self.row.accepted;
        if accepted.changes.is_empty() || accepted.trim.is_some() || !self.laggards().is_empty() {
            return;
        }
        let short = u64::from(self.mutation == Mutation::CutsShort);
        self.row.accepted.trim = self.cut_to_be().map(|ends| ends.iter().map(|end| end.saturating_sub(short)).collect());
    }

    /// Learners that are to vote in the next view and have yet to receive what it begins behind: I lead, and wait for
    /// them.
    pub fn laggards(&self) -> Ranks {
        let Accepted { leader, changes, trim: None } = &self.row.accepted else { return Ranks::EMPTY };
        if *leader != Some(self.me) {
            return Ranks::EMPTY;
        }
        let Some(kept) = self.cut_to_be() else { return Ranks::EMPTY };
        let votes = changes.iter().filter_map(|change| if let What::Vote(rank) = change.what { Some(rank) } else { None });
        let lags = |rank: &Rank| !self.row_of(*rank).received.as_ref().is_some_and(|received| reaches(received, &kept));
        votes.filter(|rank| !self.suspects.has(*rank) && lags(rank)).collect()
    }

    /// Where I will cut, once all that I trust have wedged.
    fn cut_to_be(&self) -> Option<Vec<u64>> {
        if self.filling.is_some() { self.filled_cut() } else { self.least() }
    }

    /// The least that voters have received, once all that I trust have wedged.
    pub(super) fn least(&self) -> Option<Vec<u64>> {
        self.frozen().map(|frozen| ragged_trim(frozen.iter().map(Vec::as_slice), self.sender_count))
    }

    /// What each voter that I trust has received, once all of them have wedged.
    pub(super) fn frozen(&self) -> Option<Vec<Vec<u64>>> {
        let counted = if self.mutation == Mutation::LearnerTrims { self.nodes.len() } else { self.voters };
        let counts = |rank: Rank| !self.suspects.has(rank) || self.mutation == Mutation::TrimCountsSuspects;
        let all = (0..counted).map(Rank::new).filter(|&rank| counts(rank));
        all.map(|rank| match &self.row_of(rank).received {
            None if self.suspects.has(rank) || !self.votes(rank) => Some(vec![0; self.sender_count]),
            received => received.clone(),
        })
        .collect()
    }
}

/// Whether two changes concern the same member or newcomer in the same way.
fn is_same(one: &What, other: &What) -> bool {
    match (one, other) {
        (What::Remove(a) | What::Leave(a), What::Remove(b) | What::Leave(b)) | (What::Vote(a), What::Vote(b)) => a == b,
        (What::Join(a), What::Join(b)) => a.node == b.node,
        _ => false,
    }
}
