//! Links from epoch to epoch: what both ends know them by.

use crate::exchange::{Exchange, connection_token};
use crate::rank::{NodeId, Rank};

/// Names the link of two members in one epoch.
pub(crate) type Tag = [u64; 2];

/// Whom a link leads to beyond its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkName {
    pub(crate) me: NodeId,
    pub(crate) peer: NodeId,
    /// Of the epoch.
    pub(crate) tag: Tag,
}

impl LinkName {
    /// Of the links of all members, by rank, where their names are known.
    pub(crate) fn of(exchange: &dyn Exchange) -> Vec<Option<LinkName>> {
        let (me, token) = (exchange.rank(), exchange.token());
        let link_name = |peer| Some(LinkName { me: exchange.node(me)?, peer: exchange.node(peer)?, tag: tag(token, me, peer) });
        (0..exchange.members()).map(|index| link_name(Rank::new(index))).collect()
    }

    /// The rank that this link's peer has where links are called `all`.
    pub(crate) fn find(&self, all: &[Option<LinkName>]) -> Option<Rank> {
        let is_same = |other: &Option<LinkName>| other.is_some_and(|other| (other.me, other.peer) == (self.me, self.peer));
        all.iter().position(is_same).map(Rank::new)
    }
}

/// What both ends of a link call the epoch with this token.
fn tag(token: &[u8; 32], one: Rank, other: Rank) -> Tag {
    let token = connection_token(token, one.min(other), one.max(other), "link of one epoch");
    [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| token[at + byte])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_call_their_link_the_same_and_each_epoch_otherwise() {
        let tags = [tag(&[1; 32], Rank(0), Rank(3)), tag(&[2; 32], Rank(0), Rank(3)), tag(&[1; 32], Rank(0), Rank(2))];
        assert_eq!(tags[0], tag(&[1; 32], Rank(3), Rank(0)));
        assert!(tags[0] != tags[1] && tags[0] != tags[2]);
    }
}
