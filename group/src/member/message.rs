//! What members, newcomers and witnesses say to each other over the mesh.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use squall_membership::MEMBERS_MAX;
use squall_transport::mesh::{Mesh, MeshSendError};
use squall_transport::{NodeId, Rank};

use crate::view::View;

/// One message. Raw bytes of the application's state follow a [`Control::Bytes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// A newcomer to its contact: asks to become a member.
    Ask {
        /// It wants to send.
        sends: bool,
        /// What it was configured with.
        agreement: String,
    },
    /// A contact to a newcomer: it will be proposed.
    Noted,
    /// A contact to a newcomer: it will not be proposed.
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// A member to a newcomer: the view that it is in.
    Welcome(Welcome),
    /// A member to one that the group goes on without.
    Removed {
        /// The view that it is no longer in.
        view: u64,
    },
    /// A member to a newcomer of `view`: state follows, from the start.
    Begin {
        /// The view that begins with it.
        view: u64,
    },
    /// The next bytes of it; they follow this header.
    Bytes {
        /// As above.
        view: u64,
        /// How many came before.
        offset: u64,
    },
    /// That was all of it.
    End {
        /// As above.
        view: u64,
        /// How many bytes there were.
        bytes: u64,
    },
    /// One of two members to a witness: the other is lost, side with me.
    Side {
        /// Names the view; only its members know it.
        ballot: [u8; 32],
    },
    /// The witness's answer.
    Sided {
        /// As asked.
        ballot: [u8; 32],
        /// Whether it sides with whoever asked.
        with_you: bool,
    },
}

/// What a newcomer has to know of its first view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) id: u64,
    pub(crate) nodes: Vec<NodeId>,
    /// How many of them vote.
    pub(crate) voters: usize,
    pub(crate) senders: Vec<Rank>,
    /// Learners that are to send once they vote.
    pub(crate) will_send: Vec<Rank>,
    pub(crate) lost: Vec<Rank>,
    pub(crate) token: [u8; 32],
    /// Where its members listen, as far as that is known.
    pub(crate) addresses: Vec<(NodeId, SocketAddr)>,
}

impl Welcome {
    pub(crate) fn new(view: &View, token: [u8; 32], addresses: Vec<(NodeId, SocketAddr)>) -> Welcome {
        Welcome {
            id: view.id,
            nodes: view.nodes.clone(),
            voters: view.voters,
            senders: view.senders.clone(),
            will_send: view.will_send.iter().collect(),
            lost: view.lost.iter().collect(),
            token,
            addresses,
        }
    }

    /// The view as `node` sees it, if it makes sense.
    pub(crate) fn view_of(&self, node: NodeId) -> Option<View> {
        let members = self.nodes.len();
        let distinct: HashSet<&NodeId> = self.nodes.iter().collect();
        if members > MEMBERS_MAX || distinct.len() != members || self.id == u64::MAX {
            return None;
        }
        let me = Rank::new(self.nodes.iter().position(|&member| member == node)?);
        let votes = |rank: &Rank| rank.index() < self.voters;
        let learns = |rank: &Rank| !votes(rank) && rank.index() < members;
        let fits = (1..=members).contains(&self.voters)
            && self.senders.iter().all(votes)
            && self.will_send.iter().all(learns)
            && self.lost.iter().all(|rank| rank.index() < members);
        fits.then(|| View {
            id: self.id,
            me,
            members,
            nodes: self.nodes.clone(),
            voters: self.voters,
            senders: self.senders.clone(),
            will_send: self.will_send.iter().copied().collect(),
            lost: self.lost.iter().copied().collect(),
        })
    }
}

impl Control {
    pub(crate) fn say(&self, mesh: &Mesh, to: NodeId) -> Result<(), MeshSendError> {
        self.say_with(mesh, to, &[])
    }

    /// Says it with `bytes` behind.
    pub(crate) fn say_with(&self, mesh: &Mesh, to: NodeId, bytes: &[u8]) -> Result<(), MeshSendError> {
        let mut message = postcard::to_stdvec(self).expect("plain data");
        message.extend_from_slice(bytes);
        mesh.send(to, &message)
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
        let mut message = postcard::to_stdvec(&Control::Bytes { view: 3, offset: 1 << 40 }).unwrap();
        message.extend_from_slice(b"state");
        assert_eq!(Control::heard(&message), Some((Control::Bytes { view: 3, offset: 1 << 40 }, &b"state"[..])));
    }

    #[test]
    fn a_welcome_with_ranks_that_nobody_has_makes_no_view() {
        let view = View::first(Rank(1), 3, &[Rank(0), Rank(2)], &[7; 32]);
        let welcome = Welcome::new(&view, [1; 32], Vec::new());
        assert_eq!(welcome.view_of(view.nodes[1]), Some(view.clone()));
        assert_eq!(welcome.view_of(NodeId(0)), None);
        assert_eq!(Welcome { senders: vec![Rank(3)], ..welcome.clone() }.view_of(view.nodes[1]), None);
        assert_eq!(Welcome { lost: vec![Rank(3)], ..welcome.clone() }.view_of(view.nodes[1]), None);
        assert_eq!(Welcome { id: u64::MAX, ..welcome.clone() }.view_of(view.nodes[1]), None, "no view follows it");
        let nodes = |names: Vec<u64>| Welcome { nodes: names.into_iter().map(NodeId).collect(), lost: Vec::new(), ..welcome.clone() };
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
