//! The columns of the shared state table that this crate owns, and what their words say.
//!
//! Row r is written by member r alone, but not every member is told the same: a word that r pushes to q may be meant for q
//! only. So a row's words here are facts *between r and the member that reads its copy*, and r's own copy of its row stays
//! unused.
//!
//! Slots: transfer t of a sender uses slot t mod `transfers_max`. Words of a slot carry the transfer's number, so a word left
//! over from an earlier transfer of the slot says nothing about a later one.

use squall_sst::{Column, LayoutBuilder};
use squall_transport::region::Pool;

use crate::limits::Limits;

/// Bits of a `sent` word that count blocks.
const COUNT_BITS: u32 = 20;
/// Bits of a `ready` word that say where the buffer is, in units of [`Pool::ALIGNMENT`]: pools of up to 1 TiB.
const BUFFER_BITS: u32 = 28;

/// Where the columns lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Per sender and slot, at `sender * transfers_max + slot`. Row r at member q: how many blocks of the slot's transfer r has
    /// sent to q; the schedule says which. Written by r behind each block's Span (rules T1 and T3), read by q. Grows: first the
    /// transfer, then the count.
    pub sent: squall_sst::Columns,
    /// Per sender and slot. Row r at member q: r has a buffer for the slot's transfer, and where. Written by r once a transfer and
    /// only to those that send to r in it, read by q. Invariant: the buffer takes blocks of this transfer and nothing else until r
    /// has received all of them.
    pub ready: squall_sst::Columns,
    /// Per sender. Row r at member q: r has received all transfers of the sender below this, completely. Written by r to the
    /// members that sent to r in them, read by q, which may then stop keeping what it sent. Grows.
    pub received: squall_sst::Columns,
    transfers_max: u32,
}

impl Columns {
    /// Adds the columns for a group with `senders` senders to the table.
    pub fn compose(layout: &mut LayoutBuilder, senders: usize, limits: &Limits) -> Columns {
        let slots = senders * limits.transfers_max as usize;
        Columns {
            sent: layout.words("rdmc sent", slots),
            ready: layout.words("rdmc ready", slots),
            received: layout.words("rdmc received", senders),
            transfers_max: limits.transfers_max,
        }
    }

    /// Index of a transfer's words in `sent` and `ready`, and of its slot.
    #[inline]
    pub(crate) fn slot(&self, sender: usize, transfer: u64) -> usize {
        let slots = self.transfers_max as usize;
        sender * slots + (transfer % u64::from(self.transfers_max)) as usize
    }

    pub(crate) fn sent_of(&self, slot: usize) -> Column {
        self.sent.get(slot)
    }

    pub(crate) fn ready_of(&self, slot: usize) -> Column {
        self.ready.get(slot)
    }

    pub(crate) fn transfers_max(&self) -> u32 {
        self.transfers_max
    }
}

/// A `sent` word: the transfer's low 44 bits, then the count.
#[inline]
pub(crate) fn sent_word(transfer: u64, count: u32) -> u64 {
    transfer << COUNT_BITS | u64::from(count)
}

/// Blocks of `transfer` that a `sent` word tells of; none if it is about another transfer.
#[inline]
pub(crate) fn sent_count(word: u64, transfer: u64) -> u32 {
    let count = (word ^ sent_word(transfer, 0)) as u32;
    if word >> COUNT_BITS == sent_word(transfer, 0) >> COUNT_BITS { count } else { 0 }
}

/// A `ready` word: one more than the transfer's number, low 36 bits (0 is the untouched word), then the buffer's place.
///
/// # Panics
/// If the offset is not a multiple of [`Pool::ALIGNMENT`] or lies beyond 1 TiB.
pub(crate) fn ready_word(transfer: u64, offset: u64) -> u64 {
    let place = offset / Pool::ALIGNMENT;
    assert!(offset.is_multiple_of(Pool::ALIGNMENT) && place >> BUFFER_BITS == 0, "no buffer lies at {offset}");
    transfer.wrapping_add(1) << BUFFER_BITS | place
}

/// Byte offset of the buffer in the peer's pool if the word says that the peer is ready for `transfer`.
#[inline]
pub(crate) fn ready_offset(word: u64, transfer: u64) -> Option<u64> {
    let place = word ^ (transfer.wrapping_add(1) << BUFFER_BITS);
    (place >> BUFFER_BITS == 0).then_some(place * Pool::ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_another_transfer_says_nothing() {
        for transfer in [0, 1, 5, (1 << 44) - 1, u64::MAX] {
            let sent = sent_word(transfer, 7);
            assert_eq!((sent_count(sent, transfer), sent_count(sent, transfer.wrapping_add(4))), (7, 0));
            let ready = ready_word(transfer, 3 * Pool::ALIGNMENT);
            assert_eq!(ready_offset(ready, transfer), Some(3 * Pool::ALIGNMENT));
            assert_eq!(ready_offset(ready, transfer.wrapping_add(4)), None);
        }
        assert_eq!((sent_count(0, 0), ready_offset(0, 0)), (0, None));
    }

    #[test]
    fn sent_words_grow() {
        let words = [sent_word(3, 1), sent_word(3, 2), sent_word(7, 1), sent_word(11, 1)];
        assert!(words.is_sorted());
    }
}
