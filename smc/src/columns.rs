//! What SMC keeps in the table, and its limits.

use std::ops::Range;

use squall_sst::{Column, Columns as Words, LayoutBuilder, RingColumn};
use squall_transport::region::Ring;
use squall_transport::{Outbox, Place, Rank, TABLE, Write};

use crate::record::HEADER_BYTES;

/// Nulls that are few enough in any group: they are handed out in some milliseconds.
const NULLS_AHEAD_LEAST: u64 = 1 << 20;

/// Limits of one sender's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the ring: a power of two.
    pub ring_bytes: u64,
    /// Messages that may be undelivered somewhere, nulls not counted.
    pub window_messages: u64,
}

impl Limits {
    /// The largest payload a record can have: two of them always fit the ring, so that a message never waits for
    /// itself.
    pub fn payload_max(&self) -> u64 {
        self.ring_bytes / 2 - HEADER_BYTES
    }
}

/// The columns of SMC.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// `head`: position in bytes up to which the row owner's ring is written at the reader. Written by the row's owner
    /// by value behind the Spans it publishes; read by every member. Never goes back; never more than the ring's size
    /// ahead of what all have delivered.
    pub head: Column,
    /// `ring`: the records of each sender. Written by that sender between head and what all have delivered; read by
    /// every member between what it has delivered and head.
    pub ring: RingColumn,
}

impl Columns {
    pub(crate) const HEAD: &str = "smc.head";
    pub(crate) const RING: &str = "smc.ring";

    /// Adds them to a table.
    pub fn compose(layout: &mut LayoutBuilder, senders: usize, limits: &Limits) -> Columns {
        Columns { head: layout.word(Columns::HEAD), ring: layout.rings(Columns::RING, senders, limits.ring_bytes) }
    }

    /// Queues the bytes at `positions` of `sender`'s ring for the same place at `to`, and behind them the head. There
    /// must be room for two Spans, where the ring wraps, and the Word.
    pub(crate) fn push(&self, ring: &Ring, sender: Rank, positions: Range<u64>, to: Rank, outbox: &mut Outbox) {
        let (mut position, end) = (positions.start, positions.end);
        while position < end {
            let len = (end - position).min(ring.until_end(position));
            let place = Place::new(TABLE, ring.place(position));
            let _ = outbox.push(to, Write::Span { from: place, to: place, len });
            position += len;
        }
        let _ = outbox.push(to, Write::Word { at: Place::new(TABLE, self.head.at(sender)), value: end });
    }

    /// How far a run of nulls may lead beyond what all have delivered.
    ///
    /// Nulls answer data, and undelivered data fit the rings: a record takes 8 bytes or more, so the last of it is no
    /// more than all rings' bytes / 8 indices ahead of what all have delivered, and as much again ahead of what its
    /// sender has reclaimed. Without a limit one word would let a broken sender keep all others busy with nulls for
    /// years.
    pub(crate) fn nulls_ahead_max(&self) -> u64 {
        (self.ring.rings() * self.ring.bytes() / 4).max(NULLS_AHEAD_LEAST)
    }
}

/// The columns of what members give each other when a view ends.
#[derive(Clone, Copy, Debug)]
pub struct FillColumns {
    /// `has[sender]`: one more than the position in bytes up to which the row's owner has that sender's ring, once it
    /// has stopped; 0 before. Written by the owner, by value; read by all, who give it what lies behind. Never goes
    /// back.
    pub has: Words,
    /// `filled[sender]`: position in bytes up to which the row's owner has written that sender's ring at the reader.
    /// Written by the owner at one member's copy, behind the Spans it publishes; read by that member. Never goes back.
    pub filled: Words,
}

impl FillColumns {
    pub(crate) const FILLED: &str = "smc.filled";

    /// Adds them to a table.
    pub fn compose(layout: &mut LayoutBuilder, senders: usize) -> FillColumns {
        FillColumns { has: layout.words("smc.has", senders), filled: layout.words(FillColumns::FILLED, senders) }
    }
}
