//! Things that will happen.

use std::sync::Arc;

use super::words::read_words;
use crate::counted::CountedWord;
use crate::region::Region;
use crate::write::Place;

/// Ordered by time, then by who was scheduled first; no two are equal.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) at_ns: u64,
    pub(super) count: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A piece of a Span is read from the memory of the sender, to land later.
    Read { link: usize, piece: Piece, landing_ns: u64, landing_count: u64 },
    /// A piece that was read before lands.
    Store { link: usize, to: Place, bytes: Vec<u8> },
    /// A piece is read and lands at the same moment.
    Copy { link: usize, piece: Piece },
    /// A word lands.
    Set { link: usize, at: Place, value: u64 },
    /// A word that is counted comes to the receiving endpoint.
    Come { link: usize, word: CountedWord },
    /// All of a Span has landed; its number, if it is counted.
    Landed { link: usize, number: Option<u64> },
    /// The receiving end learns that the link is broken.
    Report { from: usize, to: usize },
}

#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) source: Region,
    pub(super) from: u64,
    pub(super) to: Place,
    pub(super) len: u64,
    /// What these bytes were when the Span was posted, if it is audited: the whole Span, and where the piece begins in
    /// it.
    pub(super) posted: Option<(Arc<[u8]>, u64)>,
}

impl Piece {
    /// The bytes as they are now.
    pub(super) fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        read_words(&self.source, self.from, &mut bytes);
        bytes
    }

    /// Whether the bytes, as they are now, are others than were posted.
    pub(super) fn has_changed(&self, now: &[u8]) -> bool {
        let posted = self.posted.as_ref().map(|(whole, from)| &whole[*from as usize..][..now.len()]);
        posted.is_some_and(|posted| posted != now)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at_ns, self.count) == (other.at_ns, other.count)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at_ns, self.count).cmp(&(other.at_ns, other.count))
    }
}
