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

/// What `holders` of these have reached.
///
/// Worked example: of three that have received 5, 9 and 7, one has reached 9, two have reached 7, and three 5.
///
/// # Panics
/// If there are not so many.
pub(crate) fn reached_by(received: impl Iterator<Item = u64>, holders: usize) -> u64 {
    let mut sorted: Vec<u64> = received.collect();
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    sorted[holders - 1]
}

/// Whether a member that has received so much of each sender lacks nothing below a cut.
pub fn reaches(received: &[u64], trim: &[u64]) -> bool {
    received.iter().zip(trim).all(|(received, trim)| received >= trim)
}

/// The next member at each rank, and how many of them vote, given the present ones, of whom the first `voters` vote,
/// and the changes: voters that stay, learners that are to vote, learners that stay so, newcomers; each of them in
/// their order.
pub fn members_after(members: &[NodeId], voters: usize, changes: &[Change]) -> (Vec<NodeId>, usize) {
    let listed = |what: What| changes.iter().any(|change| change.what == what);
    let goes = |rank: Rank| listed(What::Remove(rank)) || (listed(What::Leave(rank)) && !listed(What::Stay(rank)));
    let stay = |ranks: std::ops::Range<usize>| ranks.map(Rank::new).filter(|&rank| !goes(rank));
    let votes = changes.iter().filter_map(|change| if let What::Vote(rank) = change.what { Some(rank) } else { None });
    let mut promoted: Vec<Rank> = Vec::new();
    for rank in votes.filter(|rank| (voters..members.len()).contains(&rank.index()) && !goes(*rank)) {
        if !promoted.contains(&rank) {
            promoted.push(rank);
        }
    }
    let learn = stay(voters..members.len()).filter(|rank| !promoted.contains(rank));
    let join = changes.iter().filter_map(|change| if let What::Join(newcomer) = change.what { Some(newcomer.node()) } else { None });
    let next_voters = stay(0..voters).count() + promoted.len();
    let next = stay(0..voters).chain(promoted.iter().copied()).chain(learn).map(|rank| members[rank.index()]).chain(join);
    (next.collect(), next_voters)
}

/// How many members must agree.
///
/// More than half: two such sets of one view always share a member. A view of two that was split has a witness instead,
/// which sides with one of them at most: that one is enough.
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
        let after = |voters, changes: &[Change]| members_after(&members, voters, changes);
        let by = Rank(0);
        let changes = [
            Change { by, what: What::Join(Newcomer { node: 5, contact: [0; 3] }) },
            Change { by, what: What::Remove(Rank(1)) },
            Change { by, what: What::Leave(Rank(3)) },
        ];
        assert_eq!(after(4, &changes), ([10, 12, 5].map(NodeId).to_vec(), 2));
        assert_eq!(after(3, &[]), (members.to_vec(), 3));
        // Who learns comes behind all that vote; who votes twice, or has voted, votes once; who goes does not vote.
        let changes = [What::Vote(Rank(3)), What::Vote(Rank(3)), What::Vote(Rank(0)), What::Vote(Rank(2)), What::Remove(Rank(2))];
        let changes = changes.map(|what| Change { by, what });
        assert_eq!(after(1, &changes), ([10, 13, 11].map(NodeId).to_vec(), 2));
        let changes = [What::Leave(Rank(0)), What::Leave(Rank(1)), What::Stay(Rank(1)), What::Stay(Rank(2)), What::Remove(Rank(2))];
        assert_eq!(after(3, &changes.map(|what| Change { by, what })), ([11, 13].map(NodeId).to_vec(), 1));
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
            prop_assert!(received.iter().all(|vector| reaches(vector, &trim)));
            for sender in 0..3 {
                prop_assert!(received.iter().any(|vector| vector[sender] == trim[sender]));
            }
        }
    }
}
