//! Who is in the group.

use squall_membership::{Decision, Newcomer, Ranks, What};
use squall_transport::exchange::derived_token;
use squall_transport::{NodeId, Rank};

/// Bit of the last word of a newcomer's contact: it wants to send.
pub const CONTACT_SENDS: u64 = 1;

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
    /// Who sends, by rank.
    pub senders: Vec<Rank>,
    /// Members that were lost before this view began: they never come, and the next view is without them.
    pub lost: Ranks,
}

impl View {
    /// The first view of a group that met with this token: whoever knows token and rank knows the name.
    pub fn first(me: Rank, members: usize, senders: &[Rank], token: &[u8; 32]) -> View {
        let [a, b, c, d, e, f, ..] = *token;
        let base = u64::from_le_bytes([0, 0, a, b, c, d, e, f]);
        let nodes = (0..members as u64).map(|rank| NodeId(base + rank)).collect();
        View { id: 0, me, members, nodes, senders: senders.to_vec(), lost: Ranks::EMPTY }
    }

    /// That of a process that knows of no group.
    pub(crate) fn nobodys() -> View {
        View { id: 0, me: Rank::new(0), members: 0, nodes: Vec::new(), senders: Vec::new(), lost: Ranks::EMPTY }
    }

    /// Whether I am a member.
    pub fn is_mine(&self) -> bool {
        self.me.index() < self.members
    }

    /// My place among the senders.
    pub fn my_sender(&self) -> Option<usize> {
        self.senders.iter().position(|&sender| sender == self.me)
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

    /// The same view as `node` sees it, if it is a member: what a newcomer is told.
    pub fn seen_by(&self, node: NodeId) -> Option<View> {
        Some(View { me: self.rank_of(node)?, ..self.clone() })
    }

    /// The view that follows, as decided, for this member; `None` if it is not in it. `suspects` are ranks of this view.
    ///
    /// Whoever sent and stays goes on sending, and newcomers send if their contact says so. If nobody is left who sends, everybody does.
    pub(crate) fn after(&self, decision: &Decision, suspects: Ranks) -> Option<View> {
        let nodes = &decision.members;
        let rank_of = |node: NodeId| nodes.iter().position(|&member| member == node).map(Rank::new);
        let me = rank_of(self.node())?;
        let stay = self.senders.iter().filter_map(|sender| rank_of(self.nodes[sender.index()]));
        let join = decision.changes.iter().filter_map(|change| match change.what {
            What::Join(newcomer) if sends(&newcomer) => rank_of(newcomer.node()),
            _ => None,
        });
        let mut senders: Vec<Rank> = stay.chain(join).collect();
        senders.sort_unstable();
        if senders.is_empty() {
            senders = (0..nodes.len()).map(Rank::new).collect();
        }
        let lost = suspects.iter().filter_map(|rank| rank_of(self.nodes[rank.index()])).collect();
        Some(View { id: self.id + 1, me, members: nodes.len(), nodes: nodes.clone(), senders, lost })
    }

    /// How many would send after these newcomers have joined.
    pub(crate) fn senders_with(&self, newcomers: &[Newcomer]) -> usize {
        self.senders.len() + newcomers.iter().filter(|newcomer| sends(newcomer)).count()
    }
}

fn sends(newcomer: &Newcomer) -> bool {
    newcomer.contact[2] & CONTACT_SENDS != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_membership::{Change, members_after};

    #[test]
    fn senders_keep_their_role_and_newcomers_bring_theirs() {
        let view = View { senders: vec![Rank(0), Rank(2)], ..View::first(Rank(2), 4, &[], &[7; 32]) };
        let by = Rank(1);
        let join = |node, sends| Change { by, what: What::Join(Newcomer { node, contact: [0, 0, sends] }) };
        let changes = vec![Change { by, what: What::Remove(Rank(0)) }, join(1, 1), join(2, 0)];
        let members = members_after(&view.nodes, &changes);
        let decision = Decision { leader: by, changes, trim: vec![0, 0], members };
        let next = view.after(&decision, [Rank(0), Rank(3)].into_iter().collect()).unwrap();
        assert_eq!((next.id, next.me, next.members), (1, Rank(1), 5));
        assert_eq!(next.senders, [Rank(1), Rank(3)]);
        assert_eq!(next.lost.iter().collect::<Vec<_>>(), [Rank(2)], "3 is still in it, and lost");
        assert_eq!(next.seen_by(NodeId(2)).unwrap().me, Rank(4));
        let gone = View { me: Rank(0), ..view };
        assert_eq!(gone.after(&decision, Ranks::EMPTY), None);
    }

    #[test]
    fn if_no_sender_is_left_everybody_sends() {
        let view = View::first(Rank(1), 3, &[Rank(0)], &[0; 32]);
        let changes = vec![Change { by: Rank(1), what: What::Remove(Rank(0)) }];
        let members = members_after(&view.nodes, &changes);
        let next = view.after(&Decision { leader: Rank(1), changes, trim: vec![0], members }, Ranks::EMPTY).unwrap();
        assert_eq!(next.senders, [Rank(0), Rank(1)]);
    }
}
