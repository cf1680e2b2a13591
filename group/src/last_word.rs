//! What a member says before it ends: because of whom.

use squall_transport::Rank;

/// Set if what the member wrote is why it is named.
const ACCUSES: u64 = 1 << 32;

/// The word of the column `group.lost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastWord {
    /// Because of whom.
    pub(crate) of: Rank,
    /// That member wrote what no member writes; otherwise it was lost.
    pub(crate) accuses: bool,
}

impl LastWord {
    /// One more than the rank, so that 0 says nothing.
    pub(crate) fn encode(self) -> u64 {
        (u64::from(self.of.0) + 1) | if self.accuses { ACCUSES } else { 0 }
    }

    /// What a word says in a group of `members`: nothing if no member writes it.
    pub(crate) fn parse(word: u64, members: usize) -> Option<LastWord> {
        let rank = (word & !ACCUSES).checked_sub(1).filter(|&rank| rank < members as u64)?;
        Some(LastWord { of: Rank::new(rank as usize), accuses: word & ACCUSES != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_word_says_what_encodes_to_it_or_nothing(word in prop_oneof![any::<u64>(), 0u64..5, ACCUSES..ACCUSES + 5], members in 1usize..5) {
            match LastWord::parse(word, members) {
                Some(said) => prop_assert!(said.encode() == word && said.of.index() < members),
                None => prop_assert!((word & !ACCUSES) == 0 || (word & !ACCUSES) > members as u64),
            }
        }
    }
}
