//! The state of the application that the processes of a group replicate: all deliveries count, each leaves its mark.

use squall_sim::trace::state_after;
use squall_transport::sim::mix;

const WORD: usize = 8;
/// Bytes before the marks when it travels.
const HEAD_BYTES: usize = 3 * WORD;

/// How many messages were delivered, a hash over them in their order, and memory in which each leaves its mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Messages delivered in the group's whole history.
    pub(super) count: u64,
    /// A hash over them in their order, as the simulator's checker works it out.
    pub(super) chain: u64,
    /// Over all marks and their places: kept up to date, so that giving the state away costs no more than a copy.
    sum: u64,
    marks: Vec<u8>,
}

/// What one mark adds to the sum.
fn part(at: usize, mark: u64) -> u64 {
    if mark == 0 { 0 } else { mix(mark ^ mix(at as u64)) }
}

impl State {
    /// Before the first delivery, with `bytes` bytes of marks.
    pub(super) fn new(bytes: u64) -> State {
        State { count: 0, chain: 0, sum: 0, marks: vec![0; (bytes as usize).next_multiple_of(WORD).max(WORD)] }
    }

    /// A message was delivered.
    pub(super) fn add(&mut self, payload_hash: u64) {
        self.count += 1;
        self.chain = state_after(self.chain, payload_hash);
        let words = self.marks.len() / WORD;
        let place = (self.chain % words as u64) as usize;
        let Some(mark) = self.marks[place * WORD..].first_chunk_mut() else { return };
        let before = u64::from_le_bytes(*mark);
        *mark = self.chain.to_le_bytes();
        self.sum ^= part(place, before) ^ part(place, self.chain);
    }

    /// All of it, as bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.marks.len());
        for word in [self.count, self.chain, self.sum] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.marks);
        bytes
    }

    /// What [`State::to_bytes`] gave; `None` if any byte of it is another.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<State> {
        let (head, marks) = bytes.split_at_checked(HEAD_BYTES)?;
        let word = |at: usize| head[at * WORD..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let (words, rest) = marks.as_chunks::<WORD>();
        let sum = words.iter().enumerate().fold(0, |sum, (place, mark)| sum ^ part(place, u64::from_le_bytes(*mark)));
        let state = State { count: word(0)?, chain: word(1)?, sum: word(2)?, marks: marks.to_vec() };
        (state.sum == sum && rest.is_empty() && !words.is_empty()).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_its_bytes_and_depends_on_the_order() {
        let after = |hashes: &[u64]| {
            let mut state = State::new(100);
            hashes.iter().for_each(|hash| state.add(*hash));
            state
        };
        let many: Vec<u64> = (0..100).collect();
        let state = after(&many);
        assert_eq!(State::from_bytes(&state.to_bytes()), Some(state.clone()));
        assert_ne!(after(&[2, 1, 3]), after(&[1, 2, 3]));
        assert_ne!(after(&[1, 2]).chain, after(&[1, 2, 3]).chain);
        assert_eq!(State::from_bytes(&[0; 17]), None);
    }

    #[test]
    fn a_state_with_a_byte_changed_lost_or_added_is_none() {
        let mut state = State::new(64);
        (0..20).for_each(|hash| state.add(hash));
        let bytes = state.to_bytes();
        for at in HEAD_BYTES..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(State::from_bytes(&other), None, "byte {at}");
        }
        assert_eq!(State::from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(State::from_bytes(&[&bytes[..], &[1; 8]].concat()), None);
    }
}
