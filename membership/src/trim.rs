//! Arithmetic of the cut, and of what follows it.

use squall_transport::{NodeId, Rank};

use crate::row::{Change, What};

/// The cut: of each sender as much as every one of these members has received.
///
/// Worked example: one member has received 4 of sender 0 and 2 of sender 1, another 3 and 5: what both have is 3 and 2.
pub fn ragged_trim<'a>(received: impl IntoIterator<Item = &'a [u64]>, senders: usize) -> Vec<u64> {
    let mut trim = vec![u64::MAX; senders];
    for vector in received {
        trim.iter_mut().zip(vector).for_each(|(least, &mine)| *least = mine.min(*least));
    }
    trim
}

/// The next member at each rank, given the present ones and the changes: those that stay in their order, then newcomers in theirs.
pub fn members_after(members: &[NodeId], changes: &[Change]) -> Vec<NodeId> {
    let goes = |rank: Rank| changes.iter().any(|change| matches!(change.what, What::Remove(gone) | What::Leave(gone) if gone == rank));
    let stay = members.iter().enumerate().filter(|(rank, _)| !goes(Rank::new(*rank))).map(|(_, node)| *node);
    let join = changes.iter().filter_map(|change| match change.what {
        What::Join(newcomer) => Some(newcomer.node()),
        What::Remove(_) | What::Leave(_) => None,
    });
    stay.chain(join).collect()
}

/// How many members must agree.
///
/// More than half: two such sets of one view always share a member. A view of two that was split has a witness instead, which
/// sides with one of them at most: that one is enough.
pub fn quorum(members: usize, witnessed: bool) -> usize {
    if witnessed { 1 } else { members / 2 + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Newcomer;
    use proptest::prelude::*;

    #[test]
    fn the_trim_is_the_least_of_each_sender() {
        let received: [&[u64]; 3] = [&[4, 2, 9], &[3, 5, 9], &[7, 2, 8]];
        assert_eq!(ragged_trim(received, 3), [3, 2, 8]);
    }

    #[test]
    fn members_keep_their_order_and_newcomers_come_last() {
        let members = [10, 11, 12, 13].map(NodeId);
        let by = Rank(0);
        let changes = [
            Change { by, what: What::Join(Newcomer { node: 5, contact: [0; 3] }) },
            Change { by, what: What::Remove(Rank(1)) },
            Change { by, what: What::Leave(Rank(3)) },
        ];
        assert_eq!(members_after(&members, &changes), [10, 12, 5].map(NodeId));
        assert_eq!(members_after(&members, &[]), members);
    }

    proptest! {
        #[test]
        fn two_quorums_of_a_view_share_a_member(members in 1usize..64, a: u64, b: u64) {
            let of = |bits: u64| (bits & u64::MAX >> (64 - members)).count_ones() as usize;
            if of(a) >= quorum(members, false) && of(b) >= quorum(members, false) {
                prop_assert!(of(a & b) > 0);
            }
        }

        #[test]
        fn nobody_lacks_what_the_trim_keeps(received in proptest::collection::vec(proptest::collection::vec(0u64..9, 3), 1..6)) {
            let trim = ragged_trim(received.iter().map(Vec::as_slice), 3);
            for sender in 0..3 {
                prop_assert!(received.iter().all(|vector| vector[sender] >= trim[sender]));
                prop_assert!(received.iter().any(|vector| vector[sender] == trim[sender]));
            }
        }
    }
}
