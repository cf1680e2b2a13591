//! The application's state in `view-change`: how many messages of each sender there were, and as much besides as is
//! asked for.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::thread;
use std::time::Duration;

use squall_group::StatePiece;

/// What the rest of the state is made of.
const FILLER: u8 = 7;
/// What is read of a count at the most.
const COUNTS_BYTES_MAX: usize = 1 << 20;

/// Messages delivered, by the sender's name.
pub(super) type Counts = BTreeMap<u64, u64>;

/// The state: how long the counts are, the counts, and `bytes` more.
pub(super) fn snapshot(counts: &Counts, bytes: u64) -> Box<dyn Read + Send> {
    let counts = postcard::to_stdvec(counts).expect("plain data");
    let head = [&(counts.len() as u64).to_le_bytes()[..], &counts].concat();
    Box::new(Cursor::new(head).chain(io::repeat(FILLER).take(bytes)))
}

/// The state as it comes.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    /// Its beginning, with the counts.
    head: Vec<u8>,
    bytes: u64,
}

impl Restoring {
    /// Takes a piece in, no faster than `bytes_per_second`; the counts once it is whole.
    ///
    /// # Errors
    /// It is no such state.
    pub(super) fn take(&mut self, piece: StatePiece<'_>, bytes: u64, bytes_per_second: Option<u64>) -> Result<Option<Counts>, String> {
        match piece {
            StatePiece::Begin => *self = Restoring::default(),
            StatePiece::Bytes(came) => {
                self.bytes += came.len() as u64;
                let room = COUNTS_BYTES_MAX - self.head.len();
                self.head.extend_from_slice(&came[..came.len().min(room)]);
                if let Some(rate) = bytes_per_second {
                    // As a disk or a decoder would: not by the clock of the group.
                    thread::sleep(Duration::from_secs_f64(came.len() as f64 / rate as f64));
                }
            }
            StatePiece::End => return self.counts(bytes).map(Some),
        }
        Ok(None)
    }

    fn counts(&self, bytes: u64) -> Result<Counts, String> {
        let nonsense = || format!("the state from another member does not decode: {} bytes", self.bytes);
        let (length, rest) = self.head.split_first_chunk().ok_or_else(nonsense)?;
        let length = u64::from_le_bytes(*length);
        let counts = rest.get(..length as usize).ok_or_else(nonsense)?;
        let missing = self.bytes != 8 + length + bytes || rest[length as usize..].iter().any(|&byte| byte != FILLER);
        if missing {
            return Err(nonsense());
        }
        postcard::from_bytes(counts).map_err(|_| nonsense())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(state: &[u8], bytes: u64) -> Result<Option<Counts>, String> {
        let mut restoring = Restoring::default();
        restoring.take(StatePiece::Begin, bytes, None)?;
        for piece in state.chunks(1000) {
            restoring.take(StatePiece::Bytes(piece), bytes, None)?;
        }
        restoring.take(StatePiece::End, bytes, None)
    }

    #[test]
    fn a_state_comes_back_whole_or_is_refused() {
        let counts = Counts::from([(1, 70), (5, 1 << 40)]);
        for bytes in [0, 1, 3 << 20] {
            let mut state = Vec::new();
            snapshot(&counts, bytes).read_to_end(&mut state).unwrap();
            assert_eq!(restored(&state, bytes), Ok(Some(counts.clone())));
            state.pop();
            assert!(restored(&state, bytes).is_err(), "a byte is missing");
        }
        assert!(restored(&[], 0).is_err());
    }
}
