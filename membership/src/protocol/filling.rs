//! Where a view ends at the most that any voter has: who lacks some of it is given it before it agrees.

use squall_transport::Rank;

use super::Protocol;
use crate::mutation::Mutation;
use crate::trim::{reached_by, reaches};

/// What voters that go on had received when they wedged, a sender at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// What may have been delivered: with those that are lost, more than half of the voters may have had it.
    pub chosen: Vec<u64>,
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
        let frozen = self.frozen().filter(|frozen| !frozen.is_empty())?;
        let lost = self.voters.saturating_sub(frozen.len());
        // So many of those that go on have what was delivered, at the least.
        let holders = match self.mutation {
            Mutation::CutsLarge => frozen.len(),
            _ => (self.voters / 2 + 1).saturating_sub(lost).clamp(1, frozen.len()),
        };
        let reached_by = |holders: usize| {
            let of = |sender| reached_by(frozen.iter().map(|received| received[sender]), holders);
            (0..self.sender_count).map(of).collect()
        };
        Some(Ends { chosen: reached_by(holders), most: reached_by(1) })
    }

    /// I have so much of each sender by now. If it is for me to cut, and the voters' ends are these, I cut there: at
    /// the most, or below it before what members are not given for nothing, but never below what may be delivered.
    ///
    /// # Panics
    /// If a vector has not one place a sender.
    pub fn hold(&mut self, held: Vec<u64>, cut: Option<(Ends, Vec<u64>)>) {
        assert_eq!(held.len(), self.sender_count, "one frontier a sender");
        if let Some(filling) = &mut self.filling {
            *filling = Filling { held, cut };
        }
    }

    /// So much of the sender at this place is to be kept, as far as is known here: what may have been delivered, and
    /// what any voter that I trust has accepted to keep.
    pub fn kept_of(&self, sender: usize, ends: Option<&Ends>) -> u64 {
        let cuts = self.trusted_voters().filter_map(|rank| self.row_of(rank).accepted.trim.as_ref()).map(|trim| trim[sender]);
        cuts.chain(ends.map(|ends| ends.chosen[sender])).max().unwrap_or(0)
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
            return self.least();
        }
        let (made_of, cut) = self.filling.as_ref()?.cut.as_ref()?;
        (*made_of == ends && self.holds(cut)).then(|| cut.clone())
    }

    /// What a learner is to reach as far as voters that have wedged say.
    pub(super) fn least_or_most(&self) -> Option<Vec<u64>> {
        if self.filling.is_some() { self.ends().map(|ends| ends.most) } else { self.least() }
    }
}
