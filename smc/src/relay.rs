//! A stream that passes through this member on its way to the next one.

use squall_sst::Table;
use squall_transport::{Outbox, Rank};

use crate::inbound::Inbound;
use crate::piece::PIECE_BYTES;

/// Passes one sender's stream on to one member, from where it lies here to the same place there.
///
/// Bytes that were looked at here are written by nobody before every member has delivered them, that member included,
/// so they may be sent from here as late as they like.
#[derive(Debug)]
pub struct Relay {
    to: Rank,
    /// Position up to which it was passed on.
    passed: u64,
}

impl Relay {
    /// Passes a stream on to `to`, from its beginning.
    pub fn new(to: Rank) -> Relay {
        Relay { to, passed: 0 }
    }

    /// Queues what was looked at here since the last time, and the head behind it. Whether there was anything, and room
    /// for it; else it is tried again. `allowance` is as in [`Outbound::ship`](crate::Outbound::ship).
    #[inline]
    pub fn pass(&mut self, inbound: &Inbound, table: &Table, outbox: &mut Outbox, allowance: impl Fn(Rank) -> u64) -> bool {
        debug_assert_ne!(self.to, table.me());
        let (looked_at, before) = (inbound.position(), self.passed);
        if before == looked_at {
            return false;
        }
        let allowed = allowance(self.to);
        // Two Spans where the ring wraps, and the Word.
        while self.passed != looked_at && self.passed - before < allowed && outbox.room(self.to) >= 3 {
            let end = inbound.piece_end(self.passed, allowed.min(PIECE_BYTES));
            inbound.columns().push(inbound.ring(), inbound.sender(), self.passed..end, self.to, outbox);
            self.passed = end;
        }
        self.passed != before
    }
}
