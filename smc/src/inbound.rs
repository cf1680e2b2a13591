//! The receiving side: one sender's ring as this member has it.

use squall_sst::Table;
use squall_transport::Rank;
use squall_transport::region::{Ring, RingReader};

use crate::Columns;
use crate::record::{HEADER_BYTES, INDICES_MAX, Kind, data_length, parse, record_bytes, step};

/// The ring holds what no sender writes: the sender or the memory under it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring of member {sender} is malformed at position {position}: that member runs another version, or its memory is broken")]
pub struct Malformed {
    /// Whose ring.
    pub sender: Rank,
    /// Where, in bytes.
    pub position: u64,
}

/// What a delivery takes from the ring.
#[derive(Debug)]
pub enum Taken<'a> {
    /// A null.
    Null,
    /// A message with its payload.
    Data(&'a [u8]),
    /// A large message with its descriptor.
    Large(&'a [u8]),
}

/// One sender's ring as this member has it: what came (`seen`), and what was handed to the application (`taken`).
#[derive(Debug)]
pub struct Inbound {
    reader: RingReader,
    columns: Columns,
    sender: Rank,
    seen: Cursor,
    taken: Cursor,
    /// Nulls left in the run at `taken`.
    run_left: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    position: u64,
    index: u64,
}

/// What one turn found in a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Indices that came, nulls counted.
    pub indices: u64,
    /// Index after the last message that is no null, of those that came in this turn; 0 if none did.
    pub data_until: u64,
}

impl Inbound {
    /// The ring of `sender`, in my copy of the table.
    pub fn new(ring: Ring, columns: Columns, sender: Rank) -> Inbound {
        Inbound { reader: RingReader::new(ring), columns, sender, seen: Cursor::default(), taken: Cursor::default(), run_left: 0 }
    }

    /// Whose ring it is.
    pub fn sender(&self) -> Rank {
        self.sender
    }

    /// Indices that have come, exclusive.
    #[inline]
    pub fn seen(&self) -> u64 {
        self.seen.index
    }

    /// Indices handed out, exclusive.
    #[inline]
    pub fn taken(&self) -> u64 {
        self.taken.index
    }

    /// Takes in the head that the sender pushed. Whether there is anything to look at.
    #[inline]
    pub fn publish(&mut self, table: &Table) -> Result<bool, Malformed> {
        let head = table.get(self.columns.head, self.sender);
        if head == self.reader.published() {
            return Ok(self.seen.position != head);
        }
        if !self.reader.publish(head) {
            return Err(Malformed { sender: self.sender, position: head });
        }
        Ok(true)
    }

    /// Takes in what I committed to my own ring: up to its tail, `index` indices. No need to look at it. Indices that are new.
    ///
    /// # Panics
    /// If the tail is not one of this ring.
    #[inline]
    pub fn see_own(&mut self, tail: u64, index: u64) -> u64 {
        assert!(self.reader.publish(tail), "the tail of my own ring moves forward");
        let new = index - self.seen.index;
        self.seen = Cursor { position: tail, index };
        new
    }

    /// Looks at every record that came since the last time. `large` is told index and descriptor of each large message; if it answers `false` (no buffer for
    /// it), looking stops there until the next turn.
    #[inline]
    pub fn look(&mut self, mut large: impl FnMut(u64, &[u8]) -> bool) -> Result<Arrived, Malformed> {
        let (start, published) = (self.seen, self.reader.published());
        let (mut at, mut data_until) = (start, 0);
        while at.position < published {
            if let Some(bytes) = self.data(at.position).map(record_bytes) {
                at = Cursor { position: at.position + bytes, index: at.index + 1 };
                data_until = at.index;
                continue;
            }
            let (kind, length, bytes) = self.record(at.position)?;
            match kind {
                Kind::Data => {
                    at.index += 1;
                    data_until = at.index;
                }
                Kind::Nulls => {
                    at.index += length;
                    if at.index > INDICES_MAX {
                        return Err(Malformed { sender: self.sender, position: at.position });
                    }
                }
                Kind::Large => {
                    if !large(at.index, self.reader.bytes(at.position + HEADER_BYTES, length)) {
                        break;
                    }
                    at.index += 1;
                    data_until = at.index;
                }
                Kind::Padding => {}
            }
            at.position += bytes;
        }
        self.seen = at;
        Ok(Arrived { indices: at.index - start.index, data_until })
    }

    /// Hands out the next index, which must have come ([`Inbound::seen`]). What it borrows stays until [`Inbound::release`].
    #[inline(always)]
    pub fn take(&mut self) -> Taken<'_> {
        assert!(self.taken.index < self.seen.index, "only what came is taken");
        self.taken.index += 1;
        if self.run_left > 0 {
            self.run_left -= 1;
            return Taken::Null;
        }
        let position = self.taken.position;
        if let Some(length) = self.data(position) {
            self.taken.position = position + record_bytes(length);
            return Taken::Data(self.reader.bytes(position + HEADER_BYTES, length));
        }
        self.take_other()
    }

    #[cold]
    fn take_other(&mut self) -> Taken<'_> {
        loop {
            let position = self.taken.position;
            let (kind, length, bytes) = self.record(position).expect("it was well formed when it came, and nobody writes it");
            self.taken.position += bytes;
            match kind {
                Kind::Padding => {}
                Kind::Nulls => {
                    self.run_left = length - 1;
                    return Taken::Null;
                }
                Kind::Data => return Taken::Data(self.reader.bytes(position + HEADER_BYTES, length)),
                Kind::Large => return Taken::Large(self.reader.bytes(position + HEADER_BYTES, length)),
            }
        }
    }

    /// Gives back what was taken.
    #[inline]
    pub fn release(&mut self) {
        self.reader.release(self.taken.position);
    }

    /// Length of the payload if a well-formed data record is at `position`.
    #[inline(always)]
    fn data(&self, position: u64) -> Option<u64> {
        let length = data_length(self.reader.word(position))?;
        let available = (self.reader.published() - position).min(self.reader.ring().until_end(position));
        (length < available && record_bytes(length) <= available).then_some(length)
    }

    fn record(&self, position: u64) -> Result<(Kind, u64, u64), Malformed> {
        let available = (self.reader.published() - position).min(self.reader.ring().until_end(position));
        parse(self.reader.word(position))
            .and_then(|(kind, length)| Some((kind, length, step(kind, length, available)?)))
            .ok_or(Malformed { sender: self.sender, position })
    }
}
