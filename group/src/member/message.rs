//! What members, newcomers and witnesses say to each other over the mesh.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use squall_membership::{MEMBERS_MAX, Ranks};
use squall_rdmc::Limit;
use squall_transport::mesh::{MeshSendError, Net};
use squall_transport::{NodeId, Rank};

use crate::view::View;

/// One message. Raw bytes follow a [`Control::State`] and a [`Control::Feed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// A newcomer to a contact: asks to become a member, and to be given the state as this transfer.
    Ask {
        transfer: u64,
        /// It wants to send.
        sends: bool,
        /// What it was configured with.
        agreement: String,
    },
    /// A contact to a newcomer: it is given the state, and will be proposed.
    Noted { transfer: u64, outline: Outline, addresses: Vec<(NodeId, SocketAddr)> },
    /// A contact to a newcomer: not by me. Why, for people; and who may take it, if the reason is this contact's alone.
    Refused { transfer: u64, reason: String, others: Vec<SocketAddr> },
    /// A member that has no state to another: give it to me as this transfer.
    Want { transfer: u64 },
    /// The answer of one that has none either.
    Without { transfer: u64 },
    /// A member to a newcomer: the view that it is in.
    Welcome(Welcome),
    /// A member to one that the group goes on without: the view that it is no longer in.
    Removed { view: u64 },
    /// State follows, from the start: that of after so many messages of each sender of this view.
    Begin { course: Course, outline: Outline, taken: Vec<u64> },
    /// The next bytes of it; they follow this header. So many came before.
    State { course: Course, offset: u64 },
    /// That was all of it, so many bytes.
    End { course: Course, bytes: u64 },
    /// The next bytes of what was delivered since; they follow this header. So many came before.
    Feed { course: Course, offset: u64 },
    /// So many bytes of state and feed have been taken in.
    Took { course: Course, bytes: u64 },
    /// The transfer is of no more use: all is here, or somebody else gives it.
    Done { transfer: u64 },
    /// One of two members to a witness: the other is lost, side with me. The ballot names the view; only its members
    /// know it.
    Side { ballot: [u8; 32] },
    /// The witness's answer: whether it sides with whoever asked.
    Sided { ballot: [u8; 32], with_you: bool },
}

/// Which beginning of which transfer. Transfers are numbered by who takes them, beginnings by who gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Course {
    pub(crate) transfer: u64,
    pub(crate) round: u32,
}

/// A view as those see it who are not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outline {
    pub(crate) id: u64,
    pub(crate) nodes: Vec<NodeId>,
    /// How many of them vote.
    pub(crate) voters: usize,
    pub(crate) senders: Vec<Rank>,
    /// Learners that are to send once they vote.
    pub(crate) will_send: Vec<Rank>,
}

impl Outline {
    pub(crate) fn of(view: &View) -> Outline {
        let (nodes, senders, will_send) = (view.nodes.clone(), view.senders.clone(), view.will_send.iter().collect());
        Outline { id: view.id, nodes, voters: view.voters, senders, will_send }
    }

    /// Whether its members are distinct, its ranks are some of theirs, and a view may follow it.
    fn makes_sense(&self) -> bool {
        let members = self.nodes.len();
        let distinct: HashSet<&NodeId> = self.nodes.iter().collect();
        let votes = |rank: &Rank| rank.index() < self.voters;
        let learns = |rank: &Rank| !votes(rank) && rank.index() < members;
        (1..=members).contains(&self.voters)
            && members <= MEMBERS_MAX
            && distinct.len() == members
            && self.id != u64::MAX
            && self.senders.iter().all(votes)
            && self.will_send.iter().all(learns)
    }

    /// The view as those see it who are not in it, or not yet: with a row that nobody has.
    pub(crate) fn as_outsider(&self) -> Option<View> {
        let view = self.seen_by(NodeId(u64::MAX))?;
        Some(View { me: Rank::new(view.members), ..view })
    }

    /// The view as `node` sees it, who is in it or not, if it makes sense.
    pub(crate) fn seen_by(&self, node: NodeId) -> Option<View> {
        let members = self.nodes.len();
        if !self.makes_sense() {
            return None;
        }
        let me = Rank::new(self.nodes.iter().position(|&member| member == node).unwrap_or(members));
        let (nodes, senders, will_send) = (self.nodes.clone(), self.senders.clone(), self.will_send.iter().copied().collect());
        Some(View { id: self.id, me, members, nodes, voters: self.voters, senders, will_send, lost: Ranks::EMPTY })
    }
}

/// What a newcomer has to know of its first view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) outline: Outline,
    pub(crate) lost: Vec<Rank>,
    pub(crate) token: [u8; 32],
    /// Where its members listen, as far as that is known.
    pub(crate) addresses: Vec<(NodeId, SocketAddr)>,
    /// Names that are not taken again.
    pub(crate) gone: Vec<NodeId>,
    /// Where links are the limit of large messages, what a block costs over them ([`Limit::Links`]).
    pub(crate) overhead_bytes: Option<u64>,
}

impl Welcome {
    /// What large messages are limited by, as the others found it.
    pub(crate) fn limit(&self) -> Limit {
        self.overhead_bytes.map_or(Limit::Cores, |overhead_bytes| Limit::Links { overhead_bytes })
    }

    /// The view as `node` sees it, if it is in it and it makes sense.
    pub(crate) fn view_of(&self, node: NodeId) -> Option<View> {
        let view = self.outline.seen_by(node)?;
        // Nobody is lost to itself, whatever others say.
        let lost = self.lost.iter().copied().filter(|rank| rank.index() < view.members && *rank != view.me).collect();
        let fits = view.me.index() < view.members && self.lost.iter().all(|rank| rank.index() < view.members);
        fits.then_some(View { lost, ..view })
    }
}

impl Control {
    /// A refusal that all members would answer alike, or of which whoever asked knows whom else to ask.
    pub(crate) fn refusal(transfer: u64, reason: String) -> Control {
        Control::Refused { transfer, reason, others: Vec::new() }
    }

    pub(crate) fn say(&self, net: &impl Net, to: NodeId) -> Result<(), MeshSendError> {
        self.say_with(net, to, &[])
    }

    /// Says it with `bytes` behind.
    pub(crate) fn say_with(&self, net: &impl Net, to: NodeId, bytes: &[u8]) -> Result<(), MeshSendError> {
        let mut message = postcard::to_stdvec(self).expect("plain data");
        message.extend_from_slice(bytes);
        net.send(to, &message)
    }

    /// What was said, and the bytes behind it; `None` if it makes no sense.
    pub(crate) fn heard(message: &[u8]) -> Option<(Control, &[u8])> {
        postcard::take_from_bytes(message).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_follow_their_header() {
        let said = Control::State { course: Course { transfer: 3, round: 1 }, offset: 1 << 40 };
        let mut message = postcard::to_stdvec(&said).unwrap();
        message.extend_from_slice(b"state");
        assert_eq!(Control::heard(&message), Some((said, &b"state"[..])));
    }

    #[test]
    fn a_welcome_with_ranks_that_nobody_has_makes_no_view() {
        let view = View::first(Rank(1), 3, &[Rank(0), Rank(2)], &[7; 32]);
        let outline = Outline::of(&view);
        let welcome =
            Welcome { outline: outline.clone(), lost: vec![], token: [1; 32], addresses: vec![], gone: vec![], overhead_bytes: Some(7) };
        assert_eq!(welcome.view_of(view.nodes[1]), Some(view.clone()));
        assert_eq!(welcome.limit(), Limit::Links { overhead_bytes: 7 });
        assert_eq!(welcome.view_of(NodeId(0)), None);
        assert_eq!(outline.seen_by(NodeId(0)).unwrap().me, Rank(3), "an outsider has no row");
        let with = |change: &dyn Fn(&mut Outline)| {
            let mut changed = welcome.clone();
            change(&mut changed.outline);
            changed
        };
        assert_eq!(with(&|outline| outline.senders = vec![Rank(3)]).view_of(view.nodes[1]), None);
        assert_eq!(Welcome { lost: vec![Rank(3)], ..welcome.clone() }.view_of(view.nodes[1]), None);
        assert_eq!(
            Welcome { lost: vec![Rank(1)], ..welcome.clone() }.view_of(view.nodes[1]),
            Some(view.clone()),
            "nobody is lost to itself"
        );
        assert_eq!(with(&|outline| outline.id = u64::MAX).view_of(view.nodes[1]), None, "no view follows it");
        let nodes = |names: Vec<u64>| with(&|outline| outline.nodes = names.iter().copied().map(NodeId).collect());
        assert_eq!(nodes(vec![7, 8, 7]).view_of(NodeId(8)), None, "one node twice");
        assert!(nodes((0..256).collect()).view_of(NodeId(8)).is_some());
        assert_eq!(nodes((0..257).collect()).view_of(NodeId(8)), None, "more than a view has");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Control::heard(&bytes);
        }
    }
}
