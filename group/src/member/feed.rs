//! What a member delivers, as bytes for those who follow it.
//!
//! A record is its kind, the length of the rest, and the rest: a delivery, or the view that begins. Records are put one
//! behind the other and cut into pieces anywhere, so that a message of any length goes through.

use std::collections::VecDeque;

use squall_transport::Rank;

use super::message::Outline;
use crate::upcalls::Delivery;

const DELIVERY: u8 = 1;
const VIEW: u8 = 2;
/// Kind and length.
const HEADER_BYTES: usize = 9;
/// Sequence number, sender and index.
const DELIVERY_BYTES: usize = 18;
/// Bytes of records that are kept in one piece of memory, unless one record is longer.
const BLOCK_BYTES: usize = 64 << 10;
/// More than any view takes.
const VIEW_BYTES_MAX: u64 = 1 << 20;

/// The records that somebody has yet to be given. Positions count all bytes that were ever put.
#[derive(Debug, Default)]
pub(crate) struct Log {
    blocks: VecDeque<Block>,
    end: u64,
}

#[derive(Debug)]
struct Block {
    start: u64,
    bytes: Vec<u8>,
}

impl Log {
    /// Behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn deliver(&mut self, delivery: &Delivery<'_>) {
        let Delivery { seq, sender, index, payload } = *delivery;
        let block = self.begin(DELIVERY, DELIVERY_BYTES + payload.len());
        block.extend_from_slice(&seq.to_le_bytes());
        block.extend_from_slice(&sender.0.to_le_bytes());
        block.extend_from_slice(&index.to_le_bytes());
        block.extend_from_slice(payload);
    }

    pub(crate) fn begin_view(&mut self, outline: &Outline) {
        let bytes = postcard::to_stdvec(outline).expect("plain data");
        self.begin(VIEW, bytes.len()).extend_from_slice(&bytes);
    }

    fn begin(&mut self, kind: u8, len: usize) -> &mut Vec<u8> {
        let full = self.blocks.back().is_none_or(|block| block.bytes.len() + HEADER_BYTES + len > BLOCK_BYTES);
        if full {
            self.blocks.push_back(Block { start: self.end, bytes: Vec::with_capacity(BLOCK_BYTES.min(HEADER_BYTES + len)) });
        }
        self.end += (HEADER_BYTES + len) as u64;
        let block = self.blocks.back_mut().expect("one was made if there was none");
        block.bytes.push(kind);
        block.bytes.extend_from_slice(&(len as u64).to_le_bytes());
        &mut block.bytes
    }

    /// Up to `max` bytes from `from` on.
    pub(crate) fn copy(&self, from: u64, max: usize) -> Vec<u8> {
        let first = self.blocks.partition_point(|block| block.start + block.bytes.len() as u64 <= from);
        let mut copy = Vec::new();
        for block in self.blocks.range(first..) {
            let skip = from.saturating_sub(block.start) as usize;
            let take = (block.bytes.len() - skip).min(max - copy.len());
            copy.extend_from_slice(&block.bytes[skip..skip + take]);
            if copy.len() == max {
                break;
            }
        }
        copy
    }

    /// Nobody needs what lies before `position`.
    pub(crate) fn forget(&mut self, position: u64) {
        while self.blocks.front().is_some_and(|block| block.start + block.bytes.len() as u64 <= position) {
            self.blocks.pop_front();
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Delivery { seq: u64, sender: Rank, index: u64, payload: &'a [u8] },
    View(Outline),
}

/// Puts records together again.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    at: usize,
}

impl Reader {
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next record and its length, if it is here, with payloads of up to `payload_bytes_max`.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn look(&self, payload_bytes_max: u64) -> Result<Option<(Record<'_>, usize)>, String> {
        let rest = &self.bytes[self.at..];
        let Some((header, body)) = rest.split_at_checked(HEADER_BYTES) else { return Ok(None) };
        let len = u64::from_le_bytes(header[1..].try_into().expect("eight bytes"));
        if len > (payload_bytes_max + DELIVERY_BYTES as u64).max(VIEW_BYTES_MAX) {
            return Err(format!("what was delivered is told in a record of {len} bytes"));
        }
        let Some(body) = body.get(..len as usize) else { return Ok(None) };
        Ok(Some((record(header[0], body).ok_or("a record of what was delivered is invalid")?, HEADER_BYTES + body.len())))
    }

    /// Done with a record of this length.
    pub(crate) fn pass(&mut self, len: usize) {
        self.at += len;
    }
}

fn record(kind: u8, body: &[u8]) -> Option<Record<'_>> {
    match kind {
        DELIVERY => {
            let (head, payload) = body.split_at_checked(DELIVERY_BYTES)?;
            let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
            let sender = Rank(u16::from_le_bytes([head[8], head[9]]));
            Some(Record::Delivery { seq: word(0), sender, index: word(10), payload })
        }
        VIEW => postcard::from_bytes(body).ok().map(Record::View),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use squall_transport::NodeId;

    const MAX: u64 = 300_000;

    fn outline(id: u64) -> Outline {
        Outline { id, nodes: vec![NodeId(id), NodeId(7)], voters: 2, senders: vec![Rank(1)], will_send: vec![] }
    }

    fn read_all(reader: &mut Reader, seen: &mut Vec<(u64, usize)>) {
        loop {
            let (entry, len) = match reader.look(MAX).expect("they are records") {
                Some((Record::Delivery { seq, payload, .. }, len)) => ((seq, payload.len()), len),
                Some((Record::View(outline), len)) => ((outline.id, usize::MAX), len),
                None => return,
            };
            seen.push(entry);
            reader.pass(len);
        }
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_were_put_however_they_are_cut(
            lens in prop::collection::vec(0usize..100_000, 1..12), piece in 1usize..50_000,
        ) {
            let mut log = Log::default();
            let (mut put, mut seen, mut reader, mut at) = (Vec::new(), Vec::new(), Reader::default(), 0);
            for (number, &len) in lens.iter().enumerate() {
                let (seq, payload) = (number as u64, vec![number as u8; len]);
                if number % 3 == 2 {
                    log.begin_view(&outline(seq));
                    put.push((seq, usize::MAX));
                }
                log.deliver(&Delivery { seq, sender: Rank(1), index: seq, payload: &payload });
                put.push((seq, len));
                let bytes = log.copy(at, piece);
                at += bytes.len() as u64;
                reader.put(&bytes);
                read_all(&mut reader, &mut seen);
                log.forget(at);
            }
            while at < log.end() {
                let bytes = log.copy(at, piece);
                prop_assert!(!bytes.is_empty() && bytes.len() <= piece);
                at += bytes.len() as u64;
                reader.put(&bytes);
                read_all(&mut reader, &mut seen);
            }
            prop_assert_eq!(put, seen);
        }

        #[test]
        fn any_bytes_are_records_or_a_mistake(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::default();
            reader.put(&bytes);
            while let Ok(Some((_, len))) = reader.look(MAX) {
                reader.pass(len);
            }
        }
    }
}
