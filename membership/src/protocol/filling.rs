//! Where a view ends at the most that any voter has: who lacks some of it is given it before it agrees.

use squall_transport::Rank;

use super::Protocol;
use crate::mutation::Mutation;
use crate::trim::{ragged_trim, reaches};

/// What voters that go on had received when they wedged, a sender at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// What all of them have.
    pub least: Vec<u64>,
    /// What one of them has.
    pub most: Vec<u64>,
}

/// How far I am filled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Filling {
    /// What I have by now.
    held: Vec<u64>,
    /// Where I would cut, and what that was made of.
    cut: Option<(Ends, Vec<u64>)>,
}

impl Protocol {
    /// The view ends at the most that any voter who goes on has received, and not at the least: members give each other
    /// what they lack.
    pub fn fill_up(&mut self) {
        self.filling = Some(Filling { held: vec![0; self.sender_count], cut: None });
    }

    /// What the voters that I trust had received, once all of them have wedged.
    pub fn ends(&self) -> Option<Ends> {
        let frozen = self.frozen()?;
        let mut most = vec![0; self.sender_count];
        for received in &frozen {
            most.iter_mut().zip(received).for_each(|(most, &theirs)| *most = theirs.max(*most));
        }
        Some(Ends { least: ragged_trim(frozen.iter().map(Vec::as_slice), self.sender_count), most })
    }

    /// I have so much of each sender by now. If it is for me to cut, and the voters' ends are these, I cut there: at
    /// the most, or below it where nobody can be filled, but never below what all of them have.
    ///
    /// # Panics
    /// If a vector has not one place a sender.
    pub fn hold(&mut self, held: Vec<u64>, cut: Option<(Ends, Vec<u64>)>) {
        assert_eq!(held.len(), self.sender_count, "one frontier a sender");
        if let Some(filling) = &mut self.filling {
            *filling = Filling { held, cut };
        }
    }

    /// What `rank` is known to have of the sender at this place: what it had when it wedged, and what it has accepted.
    pub fn known_of(&self, rank: Rank, sender: usize) -> u64 {
        let row = self.row_of(rank);
        let of = |ends: Option<&Vec<u64>>| ends.map_or(0, |ends| ends[sender]);
        of(row.received.as_ref()).max(of(row.accepted.trim.as_ref()))
    }

    /// Whether I have all that a cut keeps, where I could have been without.
    pub(super) fn holds(&self, trim: &[u64]) -> bool {
        let filled = self.filling.as_ref().is_none_or(|filling| reaches(&filling.held, trim));
        filled || !self.votes(self.me) || self.mutation == Mutation::FillSkipped
    }

    /// Where I will cut, once I have all that it keeps and nothing has changed since.
    pub(super) fn filled_cut(&self) -> Option<Vec<u64>> {
        let ends = self.ends()?;
        if self.mutation == Mutation::CutsAtLeast {
            return Some(ends.least);
        }
        let (made_of, cut) = self.filling.as_ref()?.cut.as_ref()?;
        (*made_of == ends && self.holds(cut)).then(|| cut.clone())
    }

    /// What a learner is to reach as far as voters that have wedged say.
    pub(super) fn least_or_most(&self) -> Option<Vec<u64>> {
        if self.filling.is_some() { self.ends().map(|ends| ends.most) } else { self.least() }
    }
}
