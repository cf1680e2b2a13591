//! Who holds which rank.

use crate::rank::{NodeId, Rank};

use super::refusal::Refusal;

/// The ranks of one epoch. One who leaves keeps its rank and identity taken: a newcomer belongs to another epoch.
#[derive(Debug)]
pub(super) struct Seats(Vec<Option<NodeId>>);

impl Seats {
    pub(super) fn new(members: usize) -> Self {
        Self(vec![None; members])
    }

    pub(super) fn members(&self) -> usize {
        self.0.len()
    }

    pub(super) fn taken_count(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub(super) fn are_full(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    pub(super) fn free(&self) -> Vec<Rank> {
        let free = self.0.iter().enumerate().filter(|(_, holder)| holder.is_none());
        free.map(|(index, _)| Rank::new(index)).collect()
    }

    /// Seats `node` at the rank it wants, or at the lowest that is free.
    pub(super) fn admit(&mut self, node: NodeId, wanted: Option<Rank>) -> Result<Rank, Refusal> {
        if let Some(index) = self.0.iter().position(|holder| *holder == Some(node)) {
            return Err(Refusal::DuplicateNode { node, rank: Rank::new(index) });
        }
        let members = self.members();
        let free = || self.0.iter().position(Option::is_none).map(Rank::new);
        let rank = wanted.or_else(free).ok_or(Refusal::Full { members })?;
        let seat = self.0.get_mut(rank.index()).ok_or(Refusal::NoSuchRank { rank, members })?;
        if let Some(holder) = *seat {
            return Err(Refusal::DuplicateRank { rank, node: holder });
        }
        *seat = Some(node);
        Ok(rank)
    }

    /// Frees a seat that was given to the wrong one.
    pub(super) fn vacate(&mut self, rank: Rank) {
        self.0[rank.index()] = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_given_as_wanted_or_lowest_first() {
        let mut seats = Seats::new(3);
        assert_eq!(seats.admit(NodeId(10), Some(Rank(1))), Ok(Rank(1)));
        assert_eq!(seats.admit(NodeId(11), None), Ok(Rank(0)));
        assert_eq!(seats.free(), [Rank(2)]);
        assert_eq!(seats.admit(NodeId(12), None), Ok(Rank(2)));
        assert!(seats.are_full());
    }

    #[test]
    fn refusals_name_their_reason() {
        let mut seats = Seats::new(2);
        assert_eq!(seats.admit(NodeId(10), Some(Rank(2))), Err(Refusal::NoSuchRank { rank: Rank(2), members: 2 }));
        assert_eq!(seats.admit(NodeId(10), Some(Rank(0))), Ok(Rank(0)));
        let twice = Refusal::DuplicateNode { node: NodeId(10), rank: Rank(0) };
        assert_eq!(seats.admit(NodeId(10), Some(Rank(1))), Err(twice));
        let taken = Refusal::DuplicateRank { rank: Rank(0), node: NodeId(10) };
        assert_eq!(seats.admit(NodeId(11), Some(Rank(0))), Err(taken));
        assert_eq!(seats.admit(NodeId(11), None), Ok(Rank(1)));
        assert_eq!(seats.admit(NodeId(12), None), Err(Refusal::Full { members: 2 }));
    }
}
