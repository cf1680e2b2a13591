//! What a member says before it ends: because of whom.

use squall_transport::Rank;

/// Bits of a rank, and of what is one more than one.
const RANK_BITS: u32 = 32;

/// The word of the column `group.lost`: in its lower half one more than the rank because of whom the group is over, in
/// its upper half one more than that of the accuser, if there is one. 0 says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastWord {
    /// Because of whom.
    pub(crate) of: Rank,
    /// Who found that member to have written what no member writes, and ended because of it. None: the member was lost.
    pub(crate) accuser: Option<Rank>,
}

impl LastWord {
    pub(crate) fn encode(self) -> u64 {
        let half = |rank: Rank| u64::from(rank.0) + 1;
        half(self.of) | self.accuser.map_or(0, half) << RANK_BITS
    }

    /// What a word says in a group of `members`: nothing if no member writes it.
    pub(crate) fn parse(word: u64, members: usize) -> Option<LastWord> {
        let rank = |half: u64| (1..=members as u64).contains(&half).then(|| Rank::new(half as usize - 1));
        let of = rank(word & ((1 << RANK_BITS) - 1))?;
        match word >> RANK_BITS {
            0 => Some(LastWord { of, accuser: None }),
            // Nobody accuses itself.
            accuser => rank(accuser).filter(|&accuser| accuser != of).map(|accuser| LastWord { of, accuser: Some(accuser) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_word_says_what_encodes_to_it_or_nothing(
            lower in prop_oneof![0..6u64, 0..1u64 << RANK_BITS], upper in prop_oneof![0..6u64, 0..1u64 << RANK_BITS], members in 1usize..5
        ) {
            let word = upper << RANK_BITS | lower;
            let members_max = members as u64;
            match LastWord::parse(word, members) {
                Some(said) => prop_assert!(said.encode() == word && said.of.index() < members),
                None => prop_assert!(lower == 0 || lower > members_max || upper > members_max || lower == upper),
            }
        }
    }
}
