//! The receiving side: one sender's ring as this member has it.

use squall_sst::{Malformed, Table};
use squall_transport::Rank;
use squall_transport::region::{Ring, RingReader};

use crate::columns::Columns;
use crate::log::Log;
use crate::piece::piece_end;
use crate::record::{HEADER_BYTES, Kind, data_length, parse, record_bytes, step};

/// What a delivery takes from the ring.
#[derive(Debug)]
pub enum Taken<'a> {
    /// A null.
    Null,
    /// Messages in a row, all of one length: one at least.
    Data(Payloads<'a>),
    /// A large message. Its descriptor was shown by [`Inbound::look`], and what was decided on it then stays so: these
    /// bytes may have changed.
    Large(&'a [u8]),
    /// A decision about the order, which was shown by [`Inbound::look`].
    Decision,
}

/// The payloads of messages in a row, all of one length.
#[derive(Clone, Debug)]
pub struct Payloads<'a> {
    /// What is left of their records.
    records: &'a [u8],
    record_bytes: usize,
    payload_bytes: usize,
}

impl<'a> Iterator for Payloads<'a> {
    type Item = &'a [u8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (record, rest) = self.records.split_at_checked(self.record_bytes)?;
        self.records = rest;
        Some(&record[HEADER_BYTES as usize..][..self.payload_bytes])
    }
}

/// One sender's ring as this member has it: what came (`seen`), and what was handed to the application (`taken`).
///
/// The sender can write the ring at any time. So a record's header is read once, when it is looked at; of what is taken
/// later only the payload comes from the ring.
#[derive(Debug)]
pub struct Inbound {
    reader: RingReader,
    columns: Columns,
    sender: Rank,
    /// Who writes the ring and its head here: whose fault it is if they are wrong.
    writer: Rank,
    seen: Cursor,
    taken: Cursor,
    /// The records between `taken` and `seen`.
    log: Log,
    /// Nulls left in the run at `taken`.
    run_left: u64,
    /// Position up to which others than the sender wrote the ring here.
    filled: u64,
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
        let (seen, taken) = (Cursor::default(), Cursor::default());
        Inbound { reader: RingReader::new(ring), columns, sender, writer: sender, seen, taken, log: Log::default(), run_left: 0, filled: 0 }
    }

    /// Whose ring it is.
    pub fn sender(&self) -> Rank {
        self.sender
    }

    /// The bytes are written here by `writer`, who passes them on.
    pub fn written_by(self, writer: Rank) -> Inbound {
        Inbound { writer, ..self }
    }

    /// Who writes the bytes here.
    pub fn writer(&self) -> Rank {
        self.writer
    }

    /// Where the piece of about `piece_bytes` of what was looked at ends that begins at `from`.
    pub(crate) fn piece_end(&self, from: u64, piece_bytes: u64) -> u64 {
        let to = self.position();
        // Whoever passes it on has not released it before the next one has it.
        if from < self.reader.released() { to } else { piece_end(self.reader.ring(), |at| self.reader.word(at), from, to, piece_bytes) }
    }

    pub(crate) fn ring(&self) -> &Ring {
        self.reader.ring()
    }

    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
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
    ///
    /// # Errors
    /// It goes back, or further than the ring is long.
    #[inline]
    pub fn publish(&mut self, table: &Table) -> Result<bool, Malformed> {
        let head = table.get(self.columns.head, self.sender);
        if head == self.reader.published() {
            return Ok(self.seen.position != head);
        }
        if !self.reader.publish(head) {
            if self.filled > 0 && head <= self.filled {
                // Others were faster.
                return Ok(self.seen.position != self.reader.published());
            }
            return Err(Malformed { member: self.writer, column: Columns::HEAD, value: head });
        }
        Ok(true)
    }

    /// Takes in what another member wrote in the sender's place, up to `position`. Whether a member writes so far.
    pub fn fill(&mut self, position: u64) -> bool {
        let goes = position <= self.reader.published() || self.reader.publish(position);
        self.filled = if goes { self.filled.max(position) } else { self.filled };
        goes
    }

    /// Position in bytes of the first record that was not looked at.
    #[inline]
    pub fn position(&self) -> u64 {
        self.seen.position
    }

    /// Takes in what I committed to my own ring, up to its tail.
    ///
    /// # Errors
    /// As [`Inbound::look`]: somebody else wrote into it.
    ///
    /// # Panics
    /// If the tail is not one of this ring.
    #[inline]
    pub fn see_own(&mut self, tail: u64, mut show: impl FnMut(Kind, u64, &[u8])) -> Result<Arrived, Malformed> {
        assert!(self.reader.publish(tail), "the tail of my own ring moves forward");
        self.look(|kind, index, payload| {
            show(kind, index, payload);
            true
        })
    }

    /// Looks at every record that came since the last time. `show` is told of each large message and each decision:
    /// kind, index, and descriptor or payload; if it answers `false` (no buffer for it), looking stops there until the
    /// next turn.
    ///
    /// # Errors
    /// A record that no sender writes.
    #[inline]
    pub fn look(&mut self, mut show: impl FnMut(Kind, u64, &[u8]) -> bool) -> Result<Arrived, Malformed> {
        let (start, published) = (self.seen, self.reader.published());
        let (mut at, mut data_until) = (start, 0);
        // Where the lap ends, or what came.
        let mut until = published.min(at.position + self.reader.ring().until_end(at.position));
        // Data records in a row that have the same header, and the bytes of each: none so far.
        let (mut header, mut records, mut bytes) = (0, 0, u64::MAX);
        while at.position < published {
            if at.position == until {
                until = published.min(until + self.reader.ring().bytes());
            }
            let (word, available) = (self.reader.word(at.position), until - at.position);
            if word != header || bytes > available {
                self.log.push(header, records);
                let fits = |length: u64| length < available && record_bytes(length) <= available;
                let Some(length) = data_length(word).filter(|&length| fits(length)) else {
                    (records, self.seen) = (0, at);
                    let Some(kind) = self.look_at_other(word, available, &mut show)? else { break };
                    at = self.seen;
                    data_until = if kind == Kind::Large { at.index } else { data_until };
                    continue;
                };
                (header, records, bytes) = (word, 0, record_bytes(length));
            }
            let same = 1 + self.reader.same_words(word, at.position + bytes, until, bytes);
            records += same;
            at = Cursor { position: at.position + same * bytes, index: at.index + same };
            data_until = at.index;
        }
        self.log.push(header, records);
        self.seen = at;
        Ok(Arrived { indices: at.index - start.index, data_until })
    }

    /// Looks at the record at `seen`, which has this header, of which so many bytes are here, and which is no data. Its
    /// kind, unless there is no buffer for it.
    #[cold]
    fn look_at_other(
        &mut self,
        header: u64,
        available: u64,
        show: &mut impl FnMut(Kind, u64, &[u8]) -> bool,
    ) -> Result<Option<Kind>, Malformed> {
        let Cursor { position, index } = self.seen;
        let Some((kind, length, bytes)) = self.record(header, available, index) else {
            return Err(Malformed { member: self.writer, column: Columns::RING, value: header });
        };
        let is_shown = matches!(kind, Kind::Large | Kind::Decision);
        if is_shown && !show(kind, index, self.reader.bytes(position + HEADER_BYTES, length)) {
            return Ok(None);
        }
        self.log.push(header, 1);
        let indices = match kind {
            Kind::Data | Kind::Large | Kind::Decision => 1,
            Kind::Nulls => length,
            Kind::Padding => 0,
        };
        self.seen = Cursor { position: position + bytes, index: index + indices };
        Ok(Some(kind))
    }

    /// Hands out what is next: one index, or messages of one length in a row, `max` of them at the most. They must have
    /// come ([`Inbound::seen`]), and stay until [`Inbound::release`].
    ///
    /// # Panics
    /// If `max` is 0, or more than what came.
    #[inline(always)]
    pub fn take(&mut self, max: u64) -> Taken<'_> {
        assert!(0 < max && max <= self.seen.index - self.taken.index, "only what came is taken");
        if self.run_left > 0 {
            self.run_left -= 1;
            self.taken.index += 1;
            return Taken::Null;
        }
        let (header, records) = self.log.oldest();
        match data_length(header) {
            Some(length) => Taken::Data(self.take_data(length, records.min(max))),
            None => self.take_other(max),
        }
    }

    /// Hands out the next `count` messages, which have this length, or those of them that lie before the lap's end.
    #[inline(always)]
    fn take_data(&mut self, length: u64, mut count: u64) -> Payloads<'_> {
        let (bytes, position) = (record_bytes(length), self.taken.position);
        let here = self.reader.ring().until_end(position);
        if count * bytes > here {
            count = here / bytes;
        }
        self.log.take(count);
        self.taken = Cursor { position: position + count * bytes, index: self.taken.index + count };
        let records = self.reader.bytes(position, count * bytes);
        Payloads { records, record_bytes: bytes as usize, payload_bytes: length as usize }
    }

    /// Hands out what is next and no message.
    #[cold]
    fn take_other(&mut self, max: u64) -> Taken<'_> {
        let (kind, length) = parse(self.log.oldest().0).expect("it was parsed when it came");
        self.log.take(1);
        let payload = self.taken.position + HEADER_BYTES;
        self.taken.position += if kind == Kind::Nulls { HEADER_BYTES } else { record_bytes(length) };
        if kind == Kind::Padding {
            return self.take(max);
        }
        self.taken.index += 1;
        match kind {
            Kind::Nulls => {
                self.run_left = length - 1;
                Taken::Null
            }
            Kind::Large => Taken::Large(self.reader.bytes(payload, length)),
            _ => Taken::Decision,
        }
    }

    /// Gives back what was taken.
    #[inline]
    pub fn release(&mut self) {
        self.reader.release(self.taken.position);
    }

    /// Kind, length and bytes of the record with this header at index `index`, of whose bytes so many are here; `None`
    /// if no sender makes it.
    #[cold]
    fn record(&self, header: u64, available: u64, index: u64) -> Option<(Kind, u64, u64)> {
        let (kind, length) = parse(header)?;
        let bytes = step(kind, length, available)?;
        let is_far = kind == Kind::Nulls && index + length > self.taken.index + self.columns.nulls_ahead_max();
        (!is_far).then_some((kind, length, bytes))
    }
}
