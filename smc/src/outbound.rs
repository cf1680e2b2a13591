//! The sending side: reserve, commit, ship, reclaim.

use std::collections::VecDeque;

use squall_sst::Table;
use squall_transport::region::{Ring, RingWriter};
use squall_transport::{Outbox, Rank};

use crate::columns::{Columns, Limits};
use crate::piece::{PIECE_BYTES, piece_end};
use crate::record::{DECISION_BYTES_MAX, DECISION_ROOM_BYTES, DECISIONS_KEPT_BYTES, HEADER_BYTES, Kind, header, record_bytes};

/// Stops in a full window: it opens in steps of this part of it.
const STOPS_A_WINDOW: u64 = 16;
/// Messages between two stops at the most.
const STOP_EVERY_MAX: u64 = 64;
/// Stops that there is room for from the start.
const STOPS_EXPECTED: usize = 4096;

/// The window has no room: try again when more has been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sender's window is full; try again when more has been delivered")]
pub struct WindowFull;

/// What one sender has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboundStats {
    /// Messages committed, nulls not counted.
    pub messages: u64,
    /// Nulls committed.
    pub nulls: u64,
    /// Decisions committed.
    pub decisions: u64,
    /// Turns in which something was shipped.
    pub batches: u64,
    /// Most indices (messages and nulls) shipped in one turn.
    pub batch_max: u64,
}

/// One sender's own ring and how far each peer has it.
#[derive(Debug)]
pub struct Outbound {
    writer: RingWriter,
    columns: Columns,
    limits: Limits,
    /// Bytes that messages leave free.
    room_kept: u64,
    /// Index of the next message.
    next_index: u64,
    /// Where the record that was reserved last begins, and its payload's length.
    reserved: Option<(u64, u64)>,
    /// Everything before this is delivered by all.
    kept: Kept,
    /// Places between records where reclaiming can stop, oldest first: walking every record again would cost more than
    /// it frees.
    stops: VecDeque<Kept>,
    /// Messages and nulls between two stops.
    stop_every: u64,
    /// Index from which on the next stop is due.
    next_stop: u64,
    /// To whom I write.
    readers: Vec<Rank>,
    /// Some of them pass it on: it goes in pieces.
    in_pieces: bool,
    /// Position up to which each peer was sent the ring.
    shipped: Vec<u64>,
    shipped_index: u64,
    behind: bool,
    stats: OutboundStats,
}

/// A place between two records, and what lies before it.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    position: u64,
    index: u64,
    messages: u64,
}

impl Outbound {
    /// The sender of `ring`, in my copy of the table, with `members` members.
    pub fn new(ring: Ring, columns: Columns, limits: Limits, members: usize) -> Outbound {
        Outbound {
            writer: RingWriter::new(ring),
            columns,
            limits,
            room_kept: 0,
            next_index: 0,
            reserved: None,
            kept: Kept::default(),
            stops: VecDeque::with_capacity(STOPS_EXPECTED),
            stop_every: (limits.window_messages / STOPS_A_WINDOW).clamp(1, STOP_EVERY_MAX),
            next_stop: 1,
            readers: (0..members).map(Rank::new).collect(),
            in_pieces: false,
            shipped: vec![0; members],
            shipped_index: 0,
            behind: false,
            stats: OutboundStats::default(),
        }
    }

    /// I write to `readers` only, of whom some pass it on to the others ([`Relay`](crate::Relay)).
    pub fn read_by(self, readers: Vec<Rank>) -> Outbound {
        Outbound { readers, in_pieces: true, ..self }
    }

    /// Messages leave room for decisions: what fills the ring may wait for them.
    pub fn keep_room(self) -> Outbound {
        Outbound { room_kept: DECISIONS_KEPT_BYTES, ..self }
    }

    /// Index of the next message; equally, how many indices were committed.
    #[inline]
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Position in bytes of the ring's tail.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.writer.tail()
    }

    /// What was sent.
    pub fn stats(&self) -> OutboundStats {
        self.stats
    }

    /// The largest payload a record of this ring can have: two always fit, so that one never waits for itself.
    pub fn payload_max(&self) -> u64 {
        self.limits.payload_max()
    }

    /// Memory for a payload of `bytes` bytes, in the ring, to fill in place. A reservation that is not committed leaves
    /// nothing behind.
    #[inline(always)]
    pub fn reserve(&mut self, bytes: u64) -> Result<(), WindowFull> {
        assert!(bytes <= self.payload_max(), "a payload of {bytes} bytes does not fit a ring of {}", self.limits.ring_bytes);
        if self.stats.messages - self.kept.messages >= self.limits.window_messages {
            return Err(WindowFull);
        }
        let position = self.place(record_bytes(bytes), self.room_kept)?;
        self.reserved = Some((position, bytes));
        Ok(())
    }

    /// The reserved payload.
    ///
    /// # Panics
    /// If nothing is reserved.
    #[inline(always)]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let (position, bytes) = self.reserved.expect("a reservation");
        self.writer.bytes_mut(position + HEADER_BYTES, bytes)
    }

    /// Forgets the reservation.
    pub fn cancel(&mut self) {
        self.reserved = None;
    }

    /// Makes the reserved record the next message; its index.
    ///
    /// # Panics
    /// If nothing is reserved.
    #[inline(always)]
    pub fn commit(&mut self, kind: Kind) -> u64 {
        let (position, bytes) = self.reserved.take().expect("a reservation");
        self.pad_to(position);
        self.writer.set_word(position, header(kind, bytes));
        self.writer.advance(record_bytes(bytes));
        self.stats.messages += 1;
        self.behind = true;
        self.next_index += 1;
        self.stop();
        self.next_index - 1
    }

    /// Makes the tail a place where reclaiming can stop, unless it is one: nothing that was shipped is kept for ever.
    #[inline]
    fn stop_here(&mut self) {
        if self.stops.back().map_or(self.kept.index, |stop| stop.index) != self.next_index {
            self.next_stop = self.next_index;
            self.stop();
        }
    }

    /// Makes the tail a place where reclaiming can stop, if the last one is far enough back.
    #[inline(always)]
    fn stop(&mut self) {
        if self.next_index >= self.next_stop {
            self.next_stop = self.next_index + self.stop_every;
            self.stops.push_back(Kept { position: self.writer.tail(), index: self.next_index, messages: self.stats.messages });
        }
    }

    /// Commits nulls until `next_index` is `index`, if it is not already; `WindowFull` if the ring has no room for the
    /// record, or `index` is too far ahead of what was delivered: it takes part of the way, and the rest later.
    pub fn fill(&mut self, index: u64) -> Result<(), WindowFull> {
        if index <= self.next_index {
            return Ok(());
        }
        // Receivers have delivered what was reclaimed here, and allow the same from there.
        let reach = index.min(self.kept.index + self.columns.nulls_ahead_max());
        if reach <= self.next_index {
            return Err(WindowFull);
        }
        let run = reach - self.next_index;
        let position = self.place(HEADER_BYTES, 0)?;
        self.pad_to(position);
        self.writer.set_word(position, header(Kind::Nulls, run));
        self.writer.advance(HEADER_BYTES);
        self.next_index = reach;
        self.stats.nulls += run;
        self.behind = true;
        self.stop();
        if reach == index { Ok(()) } else { Err(WindowFull) }
    }

    /// How many decisions there is room for, whatever their length and wherever the lap ends.
    pub fn decisions_left(&self) -> u64 {
        self.writer.free() / DECISION_ROOM_BYTES
    }

    /// Commits a decision about the order; its index.
    ///
    /// # Errors
    /// There is no room in the ring.
    ///
    /// # Panics
    /// If it is longer than [`DECISION_BYTES_MAX`].
    pub fn decide(&mut self, decision: &[u8]) -> Result<u64, WindowFull> {
        let bytes = decision.len() as u64;
        assert!(bytes <= DECISION_BYTES_MAX, "a decision of {bytes} bytes");
        let position = self.place(record_bytes(bytes), 0)?;
        self.reserved = None;
        self.pad_to(position);
        self.writer.bytes_mut(position + HEADER_BYTES, bytes).copy_from_slice(decision);
        self.writer.set_word(position, header(Kind::Decision, bytes));
        self.writer.advance(record_bytes(bytes));
        self.next_index += 1;
        self.stats.decisions += 1;
        self.behind = true;
        self.stop();
        Ok(self.next_index - 1)
    }

    /// Where a record of `bytes` bytes goes, if as many as are `kept` stay free behind it.
    #[inline(always)]
    fn place(&self, bytes: u64, kept: u64) -> Result<u64, WindowFull> {
        let tail = self.writer.tail();
        let until_end = self.writer.ring().until_end(tail);
        let position = if bytes <= until_end { tail } else { tail + until_end };
        if position - tail + bytes + kept > self.writer.free() { Err(WindowFull) } else { Ok(position) }
    }

    /// Fills the ring from the tail to `position`, where a record begins, with padding.
    #[inline(always)]
    fn pad_to(&mut self, position: u64) {
        let tail = self.writer.tail();
        if position != tail {
            self.writer.set_word(tail, header(Kind::Padding, position - tail - HEADER_BYTES));
            self.writer.advance(position - tail);
        }
    }

    /// Queues, for every peer, what was committed since the last time and the head behind it: about as many bytes, in
    /// whole records, as [`Endpoint::allowance`](squall_transport::Endpoint::allowance) says. Whether anything was
    /// queued. A peer that is allowed nothing, or whose queue is full, gets it later.
    #[inline]
    pub fn ship(&mut self, table: &Table, outbox: &mut Outbox, allowance: impl Fn(Rank) -> u64) -> bool {
        if !self.behind {
            return false;
        }
        self.behind = false;
        self.stop_here();
        let (tail, mut shipped) = (self.writer.tail(), false);
        for reader in 0..self.readers.len() {
            let to = self.readers[reader];
            if to == table.me() || self.shipped[to.index()] == tail {
                continue;
            }
            let allowed = allowance(to);
            // Two Spans where the ring wraps, and the Word.
            if outbox.room(to) < 3 || allowed == 0 {
                self.behind = true;
                continue;
            }
            self.ship_to(to, tail, allowed, table, outbox);
            self.behind |= self.shipped[to.index()] != tail;
            shipped = true;
        }
        if shipped {
            self.stats.batches += 1;
            self.stats.batch_max = self.stats.batch_max.max(self.next_index - self.shipped_index);
            self.shipped_index = self.next_index;
        }
        shipped
    }

    fn ship_to(&mut self, to: Rank, tail: u64, allowed: u64, table: &Table, outbox: &mut Outbox) {
        let (ring, before) = (self.writer.ring(), self.shipped[to.index()]);
        let (mut shipped, piece_bytes) = (before, if self.in_pieces { allowed.min(PIECE_BYTES) } else { allowed });
        while shipped != tail && shipped - before < allowed && outbox.room(to) >= 3 {
            let end = piece_end(ring, |at| self.writer.word(at), shipped, tail, piece_bytes);
            self.columns.push(ring, table.me(), shipped..end, to, outbox);
            shipped = end;
        }
        self.shipped[to.index()] = shipped;
    }

    /// Every member has delivered my messages before `index`: their space is free again, up to the last stop before it.
    /// Whether that made room.
    #[inline]
    pub fn reclaim(&mut self, index: u64) -> bool {
        if index == self.next_index && index != self.kept.index {
            // The tail is as good as a stop: a member that is alone may have delivered what it never shipped.
            self.kept = Kept { position: self.writer.tail(), index, messages: self.stats.messages };
            self.stops.clear();
            self.writer.reclaim(self.kept.position);
            return true;
        }
        let mut moved = false;
        while let Some(stop) = self.stops.front()
            && stop.index <= index
        {
            self.kept = *stop;
            self.stops.pop_front();
            moved = true;
        }
        if moved {
            self.writer.reclaim(self.kept.position);
        }
        moved
    }
}
