//! A set of ranks.

use std::fmt;

use squall_transport::Rank;

use crate::limits::MEMBERS_MAX;

/// Words of the set.
pub(crate) const RANK_WORDS: usize = MEMBERS_MAX / 64;

/// A set of ranks of one view.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ranks([u64; RANK_WORDS]);

impl Ranks {
    /// None.
    pub const EMPTY: Ranks = Ranks([0; RANK_WORDS]);

    /// Whether `rank` is among them. No rank from [`MEMBERS_MAX`] on ever is: only views whose members never change are
    /// so large.
    #[inline]
    pub fn has(&self, rank: Rank) -> bool {
        self.0.get(rank.index() / 64).is_some_and(|word| word >> (rank.index() % 64) & 1 == 1)
    }

    /// Adds `rank`; whether it is new.
    pub fn add(&mut self, rank: Rank) -> bool {
        let before = *self;
        self.0[rank.index() / 64] |= 1 << (rank.index() % 64);
        *self != before
    }

    /// Adds all of `others`; whether any is new.
    pub fn add_all(&mut self, others: &Ranks) -> bool {
        let before = *self;
        self.0.iter_mut().zip(&others.0).for_each(|(mine, theirs)| *mine |= theirs);
        *self != before
    }

    /// Whether all of `others` are among them.
    pub fn has_all(&self, others: &Ranks) -> bool {
        self.0.iter().zip(&others.0).all(|(mine, theirs)| theirs & !mine == 0)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Ranks::EMPTY
    }

    /// All ranks below `end`.
    pub fn below(end: Rank) -> Ranks {
        (0..end.index()).map(Rank::new).collect()
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = Rank> + '_ {
        (0..MEMBERS_MAX).map(Rank::new).filter(|rank| self.has(*rank))
    }

    /// Words that ranks below `members` take in a row.
    pub(crate) fn words_for(members: usize) -> usize {
        members.div_ceil(64)
    }

    pub(crate) fn word(&self, index: usize) -> u64 {
        self.0[index]
    }

    pub(crate) fn set_word(&mut self, index: usize, word: u64) {
        self.0[index] = word;
    }
}

impl FromIterator<Rank> for Ranks {
    fn from_iter<I: IntoIterator<Item = Rank>>(ranks: I) -> Ranks {
        let mut set = Ranks::EMPTY;
        ranks.into_iter().for_each(|rank| {
            set.add(rank);
        });
        set
    }
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|rank| rank.0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_what_was_added() {
        let mut set = Ranks::EMPTY;
        assert!(set.add(Rank(3)) && !set.add(Rank(3)) && set.add(Rank(200)));
        assert_eq!((set.count(), set.has(Rank(3)), set.has(Rank(4))), (2, true, false));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Rank(3), Rank(200)]);
        assert!(!set.has(Rank::new(MEMBERS_MAX)) && !set.has(Rank(5000)), "beyond what a set can hold");
        assert!(Ranks::below(Rank(4)).has_all(&Ranks::from_iter([Rank(0), Rank(3)])));
        assert!(!Ranks::below(Rank(3)).has_all(&set) && Ranks::below(Rank(0)).is_empty());
    }
}
