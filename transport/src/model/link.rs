//! One direction between two members: what waits, and what is on its way.

use std::collections::VecDeque;

use crate::write::Write;

/// A write that has not left completely.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) write: Write,
    /// Bytes on the line that are left.
    pub(super) left: u64,
    /// Of a block and its counter: the lane that they go by.
    pub(super) lane: Option<u64>,
}

/// A write that has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flying {
    pub(super) write: Write,
    pub(super) lane: Option<u64>,
    /// Its last byte's place among all bytes of the link.
    pub(super) end: u64,
    pub(super) landing_ps: u64,
}

#[derive(Debug, Default)]
pub(super) struct Link {
    /// Posted, in order.
    pub(super) waiting: VecDeque<Pending>,
    pub(super) flying: VecDeque<Flying>,
    /// Movers: what the receiver's is to take in.
    pub(super) landed: VecDeque<Flying>,
    /// Bytes posted that the card has not been told of.
    pub(super) untold: u64,
    /// Bytes that the card may send.
    pub(super) told: u64,
    /// Whether it stands in line for its sender's egress port.
    pub(super) in_line: bool,
    /// Posted and not landed.
    pub(super) outstanding: usize,
    /// A post was refused since a write last landed.
    pub(super) refused: bool,
    /// All bytes that have left.
    pub(super) sent: u64,
    pub(super) last_landing_ps: u64,
    /// Kernels: bytes between the two calls, those that have come, those that were taken in, and whether the sender
    /// waits for room.
    pub(super) in_kernels: u64,
    pub(super) arrived: u64,
    pub(super) taken: u64,
    pub(super) awaits_room: bool,
    pub(super) is_ready: bool,
}

impl Link {
    /// Queues a write of so many bytes on the line.
    pub(super) fn push(&mut self, write: Write, line_bytes: u64) {
        self.waiting.push_back(Pending { write, left: line_bytes, lane: None });
        self.untold += line_bytes;
    }

    /// Whether a write that has left is due.
    pub(super) fn lands(&self, now_ps: u64) -> bool {
        self.flying.front().is_some_and(|flying| flying.landing_ps <= now_ps)
    }
}
