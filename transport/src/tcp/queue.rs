//! Writes that wait to be sent to one peer.

use std::os::fd::BorrowedFd;

use super::frame::{Frame, HEADER_BYTES};
use super::limits::{GATHER_ENTRIES_MAX, QUEUE_BYTES_MAX, QUEUE_SPANS_MAX, SMALL_SPAN_BYTES_MAX};
use crate::endpoint::QueueFull;
use crate::region::{Gather, Region, lift_words};
use crate::write::{Place, Write};

const BYTES_MASK: u64 = QUEUE_BYTES_MAX as u64 - 1;
const SPANS_MASK: u64 = QUEUE_SPANS_MAX as u64 - 1;

/// A bounded queue towards one peer: a ring of bytes (headers, words, small payloads) with larger payloads named by
/// reference in between.
///
/// ```text
///   bytes   hhhhhhhhhhhhh|hhhhhhh|hhhhhhhhhhh        positions count for ever
///                        ^       ^
///   spans                at: 13  at: 20              payloads that go between them
/// ```
#[derive(Debug)]
pub(super) struct SendQueue {
    bytes: Box<[u8]>,
    sent: u64,
    queued: u64,
    spans: Box<[LargeSpan]>,
    spans_sent: u64,
    spans_queued: u64,
}

/// A payload that goes after the byte before position `at`.
#[derive(Clone, Copy, Debug)]
struct LargeSpan {
    at: u64,
    from: Place,
    len: u64,
}

impl SendQueue {
    pub(super) fn new() -> SendQueue {
        let nothing = LargeSpan { at: 0, from: Place::new(crate::write::TABLE, 0), len: 0 };
        SendQueue {
            bytes: vec![0; QUEUE_BYTES_MAX].into(),
            sent: 0,
            queued: 0,
            spans: vec![nothing; QUEUE_SPANS_MAX].into(),
            spans_sent: 0,
            spans_queued: 0,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.queued && self.spans_sent == self.spans_queued
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.sent = self.queued;
        self.spans_sent = self.spans_queued;
    }

    /// Queues one write whose ranges the caller has checked; `QueueFull` leaves nothing behind.
    #[inline]
    pub(super) fn push(&mut self, write: Write, regions: &[Region]) -> Result<(), QueueFull> {
        let room = QUEUE_BYTES_MAX - (self.queued - self.sent) as usize;
        match write {
            Write::Word { at, value } => {
                if room < HEADER_BYTES {
                    return Err(QueueFull);
                }
                self.append(&Frame::Word { region: at.region, offset: at.offset, value }.encode());
            }
            Write::Span { from, to, len } => {
                let header = Frame::Span { region: to.region, offset: to.offset, len }.encode();
                if len <= SMALL_SPAN_BYTES_MAX as u64 {
                    if room < HEADER_BYTES + len as usize {
                        return Err(QueueFull);
                    }
                    let mut payload = [0; SMALL_SPAN_BYTES_MAX];
                    let payload = &mut payload[..len as usize];
                    lift_words(&regions[usize::from(from.region.0)], from.offset, payload);
                    self.append(&header);
                    self.append(payload);
                } else {
                    if room < HEADER_BYTES || self.spans_queued - self.spans_sent == QUEUE_SPANS_MAX as u64 {
                        return Err(QueueFull);
                    }
                    self.append(&header);
                    self.spans[(self.spans_queued & SPANS_MASK) as usize] = LargeSpan { at: self.queued, from, len };
                    self.spans_queued += 1;
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) {
        let at = (self.queued & BYTES_MASK) as usize;
        let until_end = bytes.len().min(QUEUE_BYTES_MAX - at);
        self.bytes[at..at + until_end].copy_from_slice(&bytes[..until_end]);
        self.bytes[..bytes.len() - until_end].copy_from_slice(&bytes[until_end..]);
        self.queued += bytes.len() as u64;
    }

    /// Hands the queue to the socket until it is empty or the socket is full. Whether it is empty.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, regions: &[Region]) -> std::io::Result<bool> {
        while !self.is_empty() {
            let mut gather = Gather::new();
            self.gather(&mut gather, regions);
            let wanted = gather.bytes();
            match gather.send(socket) {
                Ok(sent) => {
                    self.advance(sent as u64);
                    if sent < wanted {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Names the front of the queue, as much as fits.
    fn gather<'a>(&'a self, gather: &mut Gather<'a, GATHER_ENTRIES_MAX>, regions: &'a [Region]) {
        let mut at = self.sent;
        for index in self.spans_sent..self.spans_queued {
            // A run of bytes takes up to two entries, the payload a third.
            if gather.room() < 5 {
                return;
            }
            let span = self.spans[(index & SPANS_MASK) as usize];
            self.gather_bytes(gather, at, span.at);
            gather.push_region(&regions[usize::from(span.from.region.0)], span.from.offset, span.len);
            at = span.at;
        }
        self.gather_bytes(gather, at, self.queued);
    }

    fn gather_bytes<'a>(&'a self, gather: &mut Gather<'a, GATHER_ENTRIES_MAX>, from: u64, until: u64) {
        let (at, len) = ((from & BYTES_MASK) as usize, (until - from) as usize);
        let until_end = len.min(QUEUE_BYTES_MAX - at);
        gather.push_slice(&self.bytes[at..at + until_end]);
        gather.push_slice(&self.bytes[..len - until_end]);
    }

    /// Takes the first `sent` bytes, over ring and payloads in wire order, off the queue.
    fn advance(&mut self, mut sent: u64) {
        while self.spans_sent < self.spans_queued {
            let span = &mut self.spans[(self.spans_sent & SPANS_MASK) as usize];
            let before = span.at - self.sent;
            if sent < before {
                break;
            }
            sent -= before;
            self.sent = span.at;
            if sent < span.len {
                span.len -= sent;
                span.from.offset += sent;
                return;
            }
            sent -= span.len;
            self.spans_sent += 1;
        }
        self.sent += sent;
        debug_assert!(self.sent <= self.queued);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::region::RegionOptions;
    use crate::write::{POOL, TABLE};
    use proptest::prelude::*;

    fn regions() -> Vec<Region> {
        let region = Region::allocate(64 << 10, &RegionOptions::default()).unwrap();
        for offset in (0..64 << 10).step_by(8) {
            region.word(offset).store(offset.wrapping_mul(0x9E37_79B9_7F4A_7C15), std::sync::atomic::Ordering::Relaxed);
        }
        vec![region.clone(), region]
    }

    fn wire(write: Write, regions: &[Region]) -> Vec<u8> {
        match write {
            Write::Word { at, value } => Frame::Word { region: at.region, offset: at.offset, value }.encode().to_vec(),
            Write::Span { from, to, len } => {
                let mut bytes = Frame::Span { region: to.region, offset: to.offset, len }.encode().to_vec();
                let mut payload = vec![0; len as usize];
                lift_words(&regions[0], from.offset, &mut payload);
                bytes.extend(payload);
                bytes
            }
        }
    }

    fn any_write() -> impl Strategy<Value = Write> {
        prop_oneof![
            (0u64..100, any::<u64>()).prop_map(|(word, value)| Write::Word { at: Place::new(TABLE, word * 8), value }),
            (0u64..1000, 1u64..1200).prop_map(|(from, len)| Write::Span { from: Place::new(POOL, from), to: Place::new(TABLE, 5), len }),
            (0u64..1000, 1025u64..60_000).prop_map(|(from, len)| Write::Span {
                from: Place::new(POOL, from),
                to: Place::new(TABLE, 5),
                len
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_wire_carries_every_write_in_order(writes in proptest::collection::vec(any_write(), 1..400), chunk in 100usize..100_000) {
            let regions = regions();
            let (near, mut far) = UnixStream::pair().unwrap();
            far.set_nonblocking(true).unwrap();
            let mut queue = SendQueue::new();
            let (mut expected, mut got, mut buffer) = (Vec::new(), Vec::new(), vec![0; chunk]);
            let mut writes = writes.into_iter().peekable();
            while writes.peek().is_some() || !queue.is_empty() {
                while let Some(&write) = writes.peek() {
                    if queue.push(write, &regions).is_err() {
                        break;
                    }
                    expected.extend(wire(write, &regions));
                    writes.next();
                }
                queue.send(near.as_fd(), &regions).unwrap();
                while let Ok(count) = far.read(&mut buffer) {
                    got.extend_from_slice(&buffer[..count]);
                }
            }
            prop_assert!(got == expected);
        }
    }

    #[test]
    fn a_full_queue_leaves_nothing_behind() {
        let regions = regions();
        let mut queue = SendQueue::new();
        let span = Write::Span { from: Place::new(TABLE, 0), to: Place::new(TABLE, 0), len: 5000 };
        for _ in 0..QUEUE_SPANS_MAX {
            queue.push(span, &regions).unwrap();
        }
        let queued = queue.queued;
        assert_eq!(queue.push(span, &regions), Err(QueueFull));
        assert_eq!(queue.queued, queued);
        while queue.push(Write::Word { at: Place::new(TABLE, 0), value: 1 }, &regions).is_ok() {}
        assert!(QUEUE_BYTES_MAX - (queue.queued - queue.sent) as usize <= HEADER_BYTES);
    }
}
