//! The state of the application that the processes of a group replicate: all deliveries count, each leaves its mark.

use std::io::{self, Read};
use std::sync::Arc;

use squall_sim::trace::state_after;
use squall_transport::Rank;
use squall_transport::sim::mix;

const WORD: usize = 8;
/// Members of a view at the most: those that are asked for, and those that joins bring.
const RANKS_MAX: usize = 128;
/// Bytes before the marks when it travels: the count, the hash, the sum, the view, and what of it was delivered.
const HEAD_BYTES: usize = (4 + RANKS_MAX) * WORD;
/// Marks that are copied when one of them changes while the state is on its way.
const CHUNK_BYTES: usize = 256 << 10;

/// How many messages were delivered, a hash over them in their order, and memory in which each leaves its mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Messages delivered in the group's whole history.
    pub(super) count: u64,
    /// A hash over them in their order, as the simulator's checker works it out.
    pub(super) chain: u64,
    /// Over all marks and their places: kept up to date, so that giving the state away reads no mark.
    sum: u64,
    /// The view that it is of, and by rank the first message of it that it does not hold.
    view: u64,
    taken: Vec<u64>,
    /// All of [`CHUNK_BYTES`] but the last. What travels shares them.
    chunks: Vec<Arc<Vec<u8>>>,
}

/// What one mark adds to the sum.
fn part(at: usize, mark: u64) -> u64 {
    if mark == 0 { 0 } else { mix(mark ^ mix(at as u64)) }
}

/// What the marks of chunk `number` add to the sum.
fn part_of_chunk(number: usize, chunk: &[u8]) -> u64 {
    let first = number * (CHUNK_BYTES / WORD);
    let (marks, _) = chunk.as_chunks::<WORD>();
    marks.iter().enumerate().fold(0, |sum, (at, mark)| sum ^ part(first + at, u64::from_le_bytes(*mark)))
}

impl State {
    /// Before the first delivery, with `bytes` bytes of marks.
    pub(super) fn new(bytes: u64) -> State {
        let mut left = (bytes as usize).next_multiple_of(WORD).max(WORD);
        let mut chunks = Vec::new();
        while left > 0 {
            let bytes = left.min(CHUNK_BYTES);
            chunks.push(Arc::new(vec![0; bytes]));
            left -= bytes;
        }
        State { count: 0, chain: 0, sum: 0, view: 0, taken: vec![0; RANKS_MAX], chunks }
    }

    /// What comes is of view `view`, unless it holds messages of that one already.
    pub(super) fn begins(&mut self, view: u64) {
        if view > self.view {
            (self.view, self.taken) = (view, vec![0; RANKS_MAX]);
        }
    }

    /// By rank: the first message of view `view` that it does not hold.
    pub(super) fn taken(&self, view: u64) -> impl Fn(Rank) -> u64 + '_ {
        move |rank| if view == self.view { self.taken.get(rank.index()).copied().unwrap_or(0) } else { 0 }
    }

    /// Message `index` of `sender` was delivered.
    pub(super) fn add(&mut self, sender: Rank, index: u64, payload_hash: u64) {
        if let Some(taken) = self.taken.get_mut(sender.index()) {
            *taken = index + 1;
        }
        self.count += 1;
        self.chain = state_after(self.chain, payload_hash);
        let Some(last) = self.chunks.last() else { return };
        let words = ((self.chunks.len() - 1) * CHUNK_BYTES + last.len()) / WORD;
        let place = (self.chain % words as u64) as usize;
        let chunk = Arc::make_mut(&mut self.chunks[place * WORD / CHUNK_BYTES]);
        let Some(mark) = chunk[place * WORD % CHUNK_BYTES..].first_chunk_mut() else { return };
        let before = u64::from_le_bytes(*mark);
        *mark = self.chain.to_le_bytes();
        self.sum ^= part(place, before) ^ part(place, self.chain);
    }

    /// All of it, as bytes to be read: as it is at this moment, whatever is added to it later.
    pub(super) fn travels(&self) -> Travelling {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        for word in [self.count, self.chain, self.sum, self.view].iter().chain(&self.taken) {
            head.extend_from_slice(&word.to_le_bytes());
        }
        let pieces = std::iter::once(Arc::new(head)).chain(self.chunks.iter().cloned()).collect();
        Travelling { pieces, piece: 0, at: 0 }
    }
}

/// A state on its way out.
#[derive(Debug)]
pub(super) struct Travelling {
    pieces: Vec<Arc<Vec<u8>>>,
    /// What is read next.
    piece: usize,
    at: usize,
}

impl Read for Travelling {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.pieces.get(self.piece) else { return Ok(0) };
        let bytes = buffer.len().min(piece.len() - self.at);
        buffer[..bytes].copy_from_slice(&piece[self.at..self.at + bytes]);
        self.at += bytes;
        if self.at == piece.len() {
            (self.piece, self.at) = (self.piece + 1, 0);
        }
        Ok(bytes)
    }
}

/// A state on its way in.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    head: Vec<u8>,
    whole: Vec<Arc<Vec<u8>>>,
    /// Over the chunks that are whole.
    sum: u64,
    last: Vec<u8>,
}

impl Arriving {
    /// The next bytes of it.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let (head, mut marks) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.head.len()));
        self.head.extend_from_slice(head);
        while !marks.is_empty() {
            let (fits, rest) = marks.split_at(marks.len().min(CHUNK_BYTES - self.last.len()));
            self.last.reserve_exact(CHUNK_BYTES - self.last.len());
            self.last.extend_from_slice(fits);
            marks = rest;
            if self.last.len() == CHUNK_BYTES {
                self.end_chunk();
            }
        }
    }

    fn end_chunk(&mut self) {
        self.sum ^= part_of_chunk(self.whole.len(), &self.last);
        self.whole.push(Arc::new(std::mem::take(&mut self.last)));
    }

    /// What [`State::travels`] gave; `None` if any byte of it is another.
    pub(super) fn state(mut self) -> Option<State> {
        let is_even = self.last.len().is_multiple_of(WORD);
        if !self.last.is_empty() {
            self.end_chunk();
        }
        let (words, rest) = self.head.as_chunks::<WORD>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (&[count, chain, sum, view], taken) = words.split_first_chunk()?;
        let is_whole = sum == self.sum && taken.len() == RANKS_MAX && rest.is_empty() && is_even && !self.whole.is_empty();
        is_whole.then(|| State { count, chain, sum, view, taken: taken.to_vec(), chunks: self.whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(state: &State) -> Vec<u8> {
        let mut bytes = Vec::new();
        state.travels().read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// As it arrives in pieces of so many bytes.
    fn arrived(bytes: &[u8], piece_bytes: usize) -> Option<State> {
        let mut arriving = Arriving::default();
        bytes.chunks(piece_bytes).for_each(|piece| arriving.take(piece));
        arriving.state()
    }

    fn after(bytes: u64, hashes: impl IntoIterator<Item = u64>) -> State {
        let mut state = State::new(bytes);
        hashes.into_iter().for_each(|hash| state.add(Rank::new(hash as usize % 3), hash / 3, hash));
        state
    }

    #[test]
    fn a_state_survives_its_bytes_and_depends_on_the_order() {
        for bytes in [0, 100, CHUNK_BYTES as u64, 3 * CHUNK_BYTES as u64 + 8] {
            let state = after(bytes, 0..100);
            for piece_bytes in [7, 4096, CHUNK_BYTES, usize::MAX] {
                assert_eq!(arrived(&bytes_of(&state), piece_bytes), Some(state.clone()), "{bytes} in pieces of {piece_bytes}");
            }
        }
        assert_ne!(after(100, [2, 1, 3]), after(100, [1, 2, 3]));
        assert_ne!(after(100, [1, 2]).chain, after(100, [1, 2, 3]).chain);
        assert_eq!(arrived(&[0; 17], 17), None);
        assert_eq!(arrived(&[], 1), None);
    }

    #[test]
    fn a_state_travels_as_it_was_when_it_was_given() {
        let mut state = after(2 * CHUNK_BYTES as u64, 0..50);
        let (mut given, then) = (state.travels(), state.clone());
        (50..90).for_each(|hash| state.add(Rank::new(0), hash, hash));
        let mut bytes = Vec::new();
        given.read_to_end(&mut bytes).unwrap();
        assert_eq!(arrived(&bytes, 1000), Some(then));
    }

    #[test]
    fn a_state_knows_what_it_holds_of_its_view() {
        let mut state = after(64, 0..7);
        let taken = |state: &State, view| [0, 1, 2].map(|rank| state.taken(view)(Rank::new(rank)));
        assert_eq!((taken(&state, 0), taken(&state, 1)), ([3, 2, 2], [0; 3]));
        state.begins(0);
        let arrived = arrived(&bytes_of(&state), 100).unwrap();
        assert_eq!(taken(&arrived, 0), [3, 2, 2]);
        state.begins(1);
        assert_eq!((taken(&state, 0), taken(&state, 1)), ([0; 3], [0; 3]));
    }

    #[test]
    fn a_state_with_a_byte_changed_lost_or_added_is_none() {
        let bytes = bytes_of(&after(64, 0..20));
        for at in HEAD_BYTES..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(arrived(&other, 9), None, "byte {at}");
        }
        assert_eq!(arrived(&bytes[..bytes.len() - 1], 9), None);
        assert_eq!(arrived(&[&bytes[..], &[1; 8]].concat(), 9), None);
    }
}
