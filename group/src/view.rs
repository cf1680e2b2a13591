//! Who is in the group.

use squall_membership::{Decision, Newcomer, Ranks, What};
use squall_transport::exchange::derived_token;
use squall_transport::{NodeId, Rank};

/// Bit of the last word of a newcomer's contact: it wants to send.
pub const CONTACT_SENDS: u64 = Newcomer::SENDS;

/// The members of an epoch, and who of them sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its place in the chain of views; the first is 0.
    pub id: u64,
    /// My row; where I only look on, the first that no member has.
    pub me: Rank,
    /// How many members; ranks are `0..members`.
    pub members: usize,
    /// Their names, by rank.
    pub nodes: Vec<NodeId>,
    /// How many of them vote: the first ones. The others learn: they receive, but nothing waits for them.
    pub voters: usize,
    /// Who sends, by rank.
    pub senders: Vec<Rank>,
    /// Learners that are to send once they vote.
    pub will_send: Ranks,
    /// Members that were lost before this view began: they never come, and the next view is without them.
    pub lost: Ranks,
}

impl View {
    /// The first view of a group that met with this token: whoever knows token and rank knows the name.
    pub fn first(me: Rank, members: usize, senders: &[Rank], token: &[u8; 32]) -> View {
        let [a, b, c, d, e, f, ..] = *token;
        let base = u64::from_le_bytes([0, 0, a, b, c, d, e, f]);
        let nodes = (0..members as u64).map(|rank| NodeId(base + rank)).collect();
        View { id: 0, me, members, nodes, voters: members, senders: senders.to_vec(), will_send: Ranks::EMPTY, lost: Ranks::EMPTY }
    }

    /// That of a process that knows of no group.
    pub(crate) fn nobodys() -> View {
        View {
            id: 0,
            me: Rank::new(0),
            members: 0,
            nodes: Vec::new(),
            voters: 0,
            senders: Vec::new(),
            will_send: Ranks::EMPTY,
            lost: Ranks::EMPTY,
        }
    }

    /// Whether I am a member.
    pub fn is_mine(&self) -> bool {
        self.me.index() < self.members
    }

    /// Whether I send.
    pub fn is_sender(&self) -> bool {
        self.sends(self.me)
    }

    /// Whether `rank` sends.
    pub fn sends(&self, rank: Rank) -> bool {
        self.senders.contains(&rank)
    }

    /// The place of `rank` among the senders, if it sends: what [`Group::received`](crate::Group::received) and trims
    /// count by, where everything else names members by their ranks.
    pub fn place_of(&self, rank: Rank) -> Option<usize> {
        self.senders.iter().position(|&sender| sender == rank)
    }

    /// Whether `rank` votes; whoever does not is a learner.
    pub fn votes(&self, rank: Rank) -> bool {
        rank.index() < self.voters
    }

    /// The row of `node`, if it is a member.
    pub fn rank_of(&self, node: NodeId) -> Option<Rank> {
        self.nodes.iter().position(|&member| member == node).map(Rank::new)
    }

    /// The secret that exactly the members of this view share, of that of the view before.
    pub(crate) fn token_after(&self, before: &[u8; 32]) -> [u8; 32] {
        let mut said = b"view".to_vec();
        said.extend_from_slice(&self.id.to_le_bytes());
        said.extend(self.nodes.iter().flat_map(|node| node.0.to_le_bytes()));
        derived_token(before, &said)
    }

    /// My name.
    ///
    /// # Panics
    /// If I am no member.
    pub fn node(&self) -> NodeId {
        self.nodes[self.me.index()]
    }

    /// The same view as `node` sees it, if it is a member: what a newcomer is told. Nobody is lost to itself, whatever
    /// others take it for.
    pub fn seen_by(&self, node: NodeId) -> Option<View> {
        let me = self.rank_of(node)?;
        Some(View { me, lost: self.lost.iter().filter(|&rank| rank != me).collect(), ..self.clone() })
    }

    /// The view that follows, as decided, for this member; `None` if it is not in it. `lost` are ranks of this view.
    ///
    /// Whoever sent and stays goes on sending, and learners that get their vote send if they wanted to when they came.
    /// If nobody is left who sends, voters do, as many as there are buffers for beside those of learners that will
    /// send. If these take them all, the last learner comes as a receiver: a view has a sender, and no more than
    /// `senders_max`.
    pub(crate) fn after(&self, decision: &Decision, lost: Ranks, senders_max: usize) -> Option<View> {
        let (nodes, voters) = (&decision.members, decision.voters);
        let rank_of = |node: NodeId| nodes.iter().position(|&member| member == node).map(Rank::new);
        let next_of = |rank: Rank| rank_of(self.nodes[rank.index()]);
        let me = rank_of(self.node())?;
        let (sending, will_send): (Vec<Rank>, Vec<Rank>) =
            self.will_send.iter().filter_map(next_of).partition(|rank| rank.index() < voters);
        let join = decision.changes.iter().filter_map(|change| match change.what {
            What::Join(newcomer) if newcomer.sends() => rank_of(newcomer.node()),
            _ => None,
        });
        let mut senders: Vec<Rank> = self.senders.iter().copied().filter_map(next_of).chain(sending).collect();
        senders.sort_unstable();
        let mut will_send: Vec<Rank> = will_send.into_iter().chain(join).collect();
        if senders.is_empty() {
            will_send.sort_unstable();
            will_send.truncate(senders_max.saturating_sub(1));
            senders = (0..voters.min(senders_max - will_send.len())).map(Rank::new).collect();
        }
        let will_send = will_send.into_iter().collect();
        let lost = lost.iter().filter_map(next_of).collect();
        Some(View { id: self.id + 1, me, members: nodes.len(), nodes: nodes.clone(), voters, senders, will_send, lost })
    }

    /// How many would send once all learners and these newcomers vote.
    pub(crate) fn senders_with(&self, newcomers: &[Newcomer]) -> usize {
        self.senders.len() + self.will_send.count() + newcomers.iter().filter(|newcomer| newcomer.sends()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_membership::{Change, members_after};

    fn decision(view: &View, changes: Vec<Change>) -> Decision {
        let (members, voters) = members_after(&view.nodes, view.voters, &changes);
        Decision { leader: Rank(1), changes, trim: vec![0; view.senders.len()], members, voters }
    }

    #[test]
    fn senders_keep_their_role_and_newcomers_send_once_they_vote() {
        let view = View { senders: vec![Rank(0), Rank(2)], ..View::first(Rank(2), 4, &[], &[7; 32]) };
        let change = |what| Change { by: Rank(1), what };
        let join = |node, sends| change(What::Join(Newcomer { node, contact: [0, 0, sends] }));
        let first = decision(&view, vec![change(What::Remove(Rank(0))), join(1, 1), join(2, 0)]);
        let next = view.after(&first, [Rank(0), Rank(3)].into_iter().collect(), 9).unwrap();
        assert_eq!((next.id, next.me, next.members, next.voters), (1, Rank(1), 5, 3));
        assert_eq!((next.senders.as_slice(), next.will_send.iter().collect::<Vec<_>>()), (&[Rank(1)][..], vec![Rank(3)]));
        assert_eq!(next.lost.iter().collect::<Vec<_>>(), [Rank(2)], "3 is still in it, and lost");
        assert_eq!(next.seen_by(NodeId(2)).unwrap().me, Rank(4));
        assert_eq!(next.seen_by(next.nodes[2]).unwrap().lost, Ranks::EMPTY, "nobody is lost to itself");
        let gone = View { me: Rank(0), ..view };
        assert_eq!(gone.after(&first, Ranks::EMPTY, 9), None);
        let second = next.after(&decision(&next, vec![change(What::Vote(Rank(4))), change(What::Vote(Rank(3)))]), Ranks::EMPTY, 9).unwrap();
        assert_eq!((second.voters, second.senders), (5, vec![Rank(1), Rank(4)]), "in the order of their votes");
    }

    #[test]
    fn who_sends_for_want_of_others_leaves_learners_their_buffers() {
        let view = View { senders: vec![Rank(1)], ..View::first(Rank(0), 3, &[], &[7; 32]) };
        let change = |what| Change { by: Rank(0), what };
        let join = |node| change(What::Join(Newcomer { node, contact: [0, 0, 1] }));
        let all = decision(&view, [1, 2, 3].map(join).into_iter().chain([change(What::Remove(Rank(1)))]).collect());
        let next = |senders_max| {
            let next = view.after(&all, Ranks::EMPTY, senders_max).unwrap();
            (next.senders, next.will_send.iter().collect::<Vec<_>>())
        };
        let learners = vec![Rank(2), Rank(3), Rank(4)];
        assert_eq!(next(9), (vec![Rank(0), Rank(1)], learners.clone()));
        assert_eq!(next(4), (vec![Rank(0)], learners.clone()));
        assert_eq!(next(3), (vec![Rank(0)], learners[..2].to_vec()), "there is a sender, and the last learner receives");
        assert_eq!(next(usize::MAX).0.len(), 2);
    }

    #[test]
    fn if_no_sender_is_left_those_that_vote_send_as_far_as_there_are_buffers() {
        let view = View { voters: 4, ..View::first(Rank(1), 5, &[Rank(0)], &[0; 32]) };
        let removal = || decision(&view, vec![Change { by: Rank(1), what: What::Remove(Rank(0)) }]);
        assert_eq!(view.after(&removal(), Ranks::EMPTY, 9).unwrap().senders, [0, 1, 2].map(Rank));
        assert_eq!(view.after(&removal(), Ranks::EMPTY, 1).unwrap().senders, [Rank(0)]);
    }
}
