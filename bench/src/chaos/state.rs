//! The state of the application that the processes of a group replicate: all deliveries count, each leaves its mark.

use squall_sim::trace::{hash_bytes, state_after};

const WORD: usize = 8;
/// Bytes before the marks when it travels.
const HEAD_BYTES: usize = 2 * WORD;

/// How many messages were delivered, a hash over them in their order, and memory in which each leaves its mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Messages delivered in the group's whole history.
    pub(super) count: u64,
    /// A hash over them in their order, as the simulator's checker works it out.
    pub(super) chain: u64,
    marks: Vec<u8>,
}

impl State {
    /// Before the first delivery, with `bytes` bytes of marks.
    pub(super) fn new(bytes: u64) -> State {
        State { count: 0, chain: 0, marks: vec![0; (bytes as usize).next_multiple_of(WORD).max(WORD)] }
    }

    /// A message was delivered.
    pub(super) fn add(&mut self, payload_hash: u64) {
        self.count += 1;
        self.chain = state_after(self.chain, payload_hash);
        let words = self.marks.len() / WORD;
        let at = (self.chain % words as u64) as usize * WORD;
        self.marks[at..at + WORD].copy_from_slice(&self.chain.to_le_bytes());
    }

    /// All of it, as bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.marks.len());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.chain.to_le_bytes());
        bytes.extend_from_slice(&self.marks);
        bytes
    }

    /// What [`State::to_bytes`] gave; `None` if it is too short.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<State> {
        let (count, rest) = bytes.split_first_chunk()?;
        let (chain, marks) = rest.split_first_chunk()?;
        let whole = marks.len() >= WORD && marks.len().is_multiple_of(WORD);
        whole.then(|| State { count: u64::from_le_bytes(*count), chain: u64::from_le_bytes(*chain), marks: marks.to_vec() })
    }
}

/// The hash of a state on its way.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    hash_bytes(bytes)
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
        let state = after(&[1, 2, 3]);
        assert_eq!(State::from_bytes(&state.to_bytes()), Some(state.clone()));
        assert_ne!(after(&[2, 1, 3]), state);
        assert_ne!(after(&[1, 2]).chain, state.chain);
        assert_eq!(State::from_bytes(&[0; 17]), None);
    }
}
