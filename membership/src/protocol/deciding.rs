//! What a follower does: accepts from the leader, and counts who else has.

use squall_transport::Rank;

use super::Protocol;
use crate::mutation::Mutation;
use crate::outcome::{Decision, Stop};
use crate::row::Accepted;
use crate::trim::members_after;

impl Protocol {
    /// Accepts what the leader proposes, if it is newer than what I have. A learner does too, to know what is decided;
    /// nobody counts it.
    pub(super) fn follow(&mut self) {
        let leader = self.leader();
        if leader == self.me {
            return;
        }
        let theirs = &self.rows[leader.index()].accepted;
        let leads = theirs.leader == Some(leader) || self.mutation == Mutation::FollowsAnyBallot;
        // A trim that was made without asking me is not for me, if I am one of those who are asked.
        let asked = theirs.trim.is_none() || self.row.received.is_some() || !self.votes(self.me);
        let whole = theirs.trim.as_ref().is_none_or(|trim| self.holds(trim));
        if leads && theirs.age() > self.row.accepted.age() && whole && (asked || self.mutation != Mutation::None) {
            self.row.accepted = theirs.clone();
        }
    }

    /// Once enough of us have accepted the same trim from the same leader, it stands; and what another voter has acted
    /// on stood before.
    pub(super) fn decide(&mut self) {
        if self.decision.is_some() || (self.votes(self.me) && self.row.received.is_none()) {
            return;
        }
        let acted = self.trusted_voters().map(|rank| self.row_of(rank)).find(|row| row.installed).map(|row| row.accepted.clone());
        let acted = acted.filter(|_| self.mutation != Mutation::IgnoresAccepted);
        if acted.as_ref().and_then(|acted| acted.trim.as_ref()).is_some_and(|trim| !self.holds(trim)) {
            return;
        }
        if let Some(accepted) = &acted
            && accepted.age() > self.row.accepted.age()
        {
            self.row.accepted.clone_from(accepted);
        }
        let stands = acted.or_else(|| self.enough_accepted().then(|| self.row.accepted.clone()));
        let Some(Accepted { leader: Some(leader), changes, trim: Some(trim) }) = stands else { return };
        let (members, voters) = members_after(&self.nodes, self.voters, &changes);
        if voters == 0 && members.contains(&self.nodes[self.me.index()]) {
            // The last voter insisted on leaving.
            self.stop = Some(Stop::NoVoters);
            return;
        }
        let trim = match (self.mutation, &self.row.received) {
            (Mutation::DeliversPastTrim, Some(received)) => received.clone(),
            _ => trim,
        };
        self.decided_with = self.row.accepted.leader.filter(|_| self.row.accepted.trim.is_some());
        self.decision = Some(Decision { leader, changes, trim, members, voters });
    }

    /// Whether enough of us have accepted the trim that I have, from the leader that I have it from.
    fn enough_accepted(&self) -> bool {
        let Accepted { leader: Some(leader), trim: Some(_), .. } = &self.row.accepted else { return false };
        let same = |rank: &Rank| self.row_of(*rank).accepted.leader == Some(*leader) && self.row_of(*rank).accepted.trim.is_some();
        let alone = self.mutation == Mutation::ActsAlone || self.mutation == Mutation::MinorityActs;
        alone || self.trusted_voters().filter(same).count() >= self.needed()
    }
}
