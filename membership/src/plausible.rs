//! What the row of a member can be, given what it said before. A row that cannot be is the fault of its writer.

use squall_transport::NodeId;

use crate::limits::MEMBERS_MAX;
use crate::row::{Accepted, Row};
use crate::trim::members_after;

/// A view as far as it says what rows can be: its members, the first `voters` of whom vote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Members<'a> {
    pub(crate) nodes: &'a [NodeId],
    pub(crate) voters: usize,
}

/// Whether a member of the view that had said `before` can say `row`, as another sees it that has received so much of
/// each sender (`None`: no trim has to cover it, since it has not wedged, or does not vote). `votes`: whether the row's
/// owner does; a learner goes on receiving.
pub(crate) fn can_follow(row: &Row, before: &Row, votes: bool, view: Members<'_>, received: Option<&[u64]>) -> bool {
    row.suspected.has_all(&before.suspected)
        && row.leaving >= before.leaving
        && row.installed >= before.installed
        && row.whole >= before.whole
        && before.received.as_ref().is_none_or(|before| row.received.as_ref().is_some_and(|now| grows(now, before, votes)))
        && row.requests.starts_with(&before.requests)
        && moves_forward(&row.accepted, &before.accepted)
        && is_view(&row.accepted, view)
        && received.is_none_or(|received| is_covered(&row.accepted, received))
}

/// What a voter has received stays as it said once; what a learner has only grows.
fn grows(now: &[u64], before: &[u64], votes: bool) -> bool {
    if votes { now == before } else { now.len() == before.len() && now.iter().zip(before).all(|(now, before)| now >= before) }
}

/// Leaders are taken in the order of their ranks, and the proposal of one only grows, up to its trim.
fn moves_forward(accepted: &Accepted, before: &Accepted) -> bool {
    match accepted.leader == before.leader {
        true if before.trim.is_some() => accepted == before,
        true => accepted.changes.starts_with(&before.changes),
        false => accepted.leader > before.leader,
    }
}

/// The changes make a view: nobody comes twice, and it is not too large.
fn is_view(accepted: &Accepted, view: Members<'_>) -> bool {
    let (mut next, _) = members_after(view.nodes, view.voters, &accepted.changes);
    let members = next.len();
    next.sort_unstable();
    next.dedup();
    next.len() == members && members <= MEMBERS_MAX
}

/// Whoever cuts has asked all that go on: the trim is at most what any of them has received.
pub(crate) fn is_covered(accepted: &Accepted, received: &[u64]) -> bool {
    accepted.trim.as_ref().is_none_or(|trim| trim.iter().zip(received).all(|(trim, received)| trim <= received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Change, Leaving, Newcomer, What};
    use squall_transport::Rank;

    const NODES: [NodeId; 3] = [NodeId(10), NodeId(11), NodeId(12)];
    const VIEW: Members<'static> = Members { nodes: &NODES, voters: 3 };

    fn newcomer(node: u64) -> Newcomer {
        Newcomer { node, contact: [0; 3] }
    }

    fn accepted(leader: u16, whats: &[What], trim: Option<Vec<u64>>) -> Accepted {
        let changes = whats.iter().map(|&what| Change { by: Rank(0), what }).collect();
        Accepted { leader: Some(Rank(leader)), changes, trim }
    }

    fn says(accepted: Accepted) -> Row {
        Row { accepted, ..Row::default() }
    }

    #[test]
    fn rows_only_move_forward() {
        let remove = What::Remove(Rank(2));
        let first = Row { suspected: [Rank(2)].into_iter().collect(), requests: vec![newcomer(1)], ..says(accepted(0, &[remove], None)) };
        let wedged = Row { received: Some(vec![4]), ..first.clone() };
        let cut = Row { accepted: accepted(0, &[remove, What::Leave(Rank(1))], Some(vec![4])), leaving: Leaving::Asks, ..wedged.clone() };
        let taken_over = Row { accepted: accepted(1, &[remove], None), ..cut.clone() };
        let done = Row { installed: true, ..taken_over.clone() };
        let rows = [Row::default(), first, wedged, cut, taken_over, done];
        for (at, before) in rows.iter().enumerate() {
            for (later, row) in rows.iter().enumerate() {
                assert_eq!(can_follow(row, before, true, VIEW, None), later >= at, "{later} after {at}");
            }
        }
        let closed = says(accepted(0, &[remove], Some(vec![4])));
        for other in [accepted(0, &[remove], Some(vec![3])), accepted(0, &[remove, remove], Some(vec![4])), accepted(0, &[remove], None)] {
            assert!(!can_follow(&says(other), &closed, true, VIEW, None));
        }
    }

    #[test]
    fn nobody_comes_twice_and_a_view_has_an_end() {
        let follows = |whats: &[What]| can_follow(&says(accepted(0, whats, None)), &Row::default(), true, VIEW, None);
        assert!(follows(&[What::Remove(Rank(0)), What::Join(newcomer(1))]));
        assert!(!follows(&[What::Join(newcomer(11))]), "a member");
        assert!(!follows(&[What::Join(newcomer(1)), What::Join(newcomer(1))]));
        let many: Vec<NodeId> = (0..MEMBERS_MAX as u64).map(NodeId).collect();
        let view = Members { nodes: &many, voters: 1 };
        assert!(!is_view(&accepted(0, &[What::Join(newcomer(u64::MAX))], None), view));
    }

    #[test]
    fn a_learner_goes_on_receiving_and_forgets_nothing() {
        let has = |received: [u64; 2], whole| Row { received: Some(received.to_vec()), whole, ..Row::default() };
        let follows = |row: Row, before: Row, votes| can_follow(&row, &before, votes, VIEW, None);
        assert!(follows(has([4, 6], true), has([4, 5], false), false) && !follows(has([4, 6], true), has([4, 5], false), true));
        assert!(!follows(has([4, 4], true), has([4, 5], true), false) && !follows(has([4, 5], false), has([4, 5], true), false));
        assert!(!follows(Row::default(), has([0, 0], false), false));
    }

    #[test]
    fn a_trim_beyond_what_i_have_is_none() {
        let row = says(accepted(0, &[What::Remove(Rank(2))], Some(vec![4, 5])));
        let follows = |received: Option<&[u64]>| can_follow(&row, &Row::default(), true, VIEW, received);
        assert!(follows(None) && follows(Some(&[4, 9])) && !follows(Some(&[9, 4])));
    }
}
