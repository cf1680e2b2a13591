//! The columns of the shared state table that this crate owns, and what their words say.
//!
//! Row r is written by member r alone, but not every member is told the same: a word that r pushes to q may be meant
//! for q only. So a row's words here are facts *between r and the member that reads its copy*, and r's own copy of its
//! row stays unused.
//!
//! Slots: transfer t of a sender uses slot t mod `transfers_max`. Words of a slot carry the transfer's number, so a
//! word left over from an earlier transfer of the slot says nothing about a later one.

use squall_sst::{Column, LayoutBuilder};
use squall_transport::region::Pool;

use crate::limits::Limits;

/// Bits of a `sent` word that count blocks.
const COUNT_BITS: u32 = 20;
/// Bits of a `ready` word that say where the buffer is, in units of [`Pool::ALIGNMENT`]: pools of up to 1 TiB.
const BUFFER_BITS: u32 = 28;
/// Bytes of the largest pool whose buffers a `ready` word can name.
pub(crate) const POOL_BYTES_LIMIT: u64 = Pool::ALIGNMENT << BUFFER_BITS;

/// Where the columns lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Per sender and slot, at `sender * transfers_max + slot`. Row r at member q: how many blocks of the slot's
    /// transfer r has sent to q; the schedule says which. Written by r behind each block's Span (rules T1 and T3), read
    /// by q. Grows: first the transfer, then the count.
    pub sent: squall_sst::Columns,
    /// Per sender and slot. Row r at member q: r has a buffer for the slot's transfer, and where. Written by r once a
    /// transfer and only to those that send to r in it, read by q. Invariant: the buffer takes blocks of this transfer
    /// and nothing else until r has received all of them.
    pub ready: squall_sst::Columns,
    /// Per sender. Row r at member q: r has received all transfers of the sender below this, completely. Written by r
    /// to the members that sent to r in them, read by q, which may then stop keeping what it sent. Grows.
    pub received: squall_sst::Columns,
    transfers_max: u32,
}

/// The columns of what members that have stopped give each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillColumns {
    /// Per sender and slot. Row r at member q: r has stopped, lacks the slot's transfer, asks q for it, and has a
    /// buffer for it, and where, as in [`Columns::ready`]. Written by r once an epoch and only to whom it asks, read
    /// by q. Invariant: r gives the buffer back at the end of the epoch and no sooner.
    pub wants: squall_sst::Columns,
    /// Per sender and slot. Row r at member q: one more than the slot's transfer, once r has written all of it into
    /// the buffer that q named. Written by r behind the Spans it publishes; read by q.
    pub given: squall_sst::Columns,
}

impl FillColumns {
    pub(crate) const WANTS: &str = "rdmc wants";
    pub(crate) const GIVEN: &str = "rdmc given";

    /// Adds the columns for a group with `senders` senders to the table.
    pub fn compose(layout: &mut LayoutBuilder, senders: usize, limits: &Limits) -> FillColumns {
        let slots = senders * limits.transfers_max as usize;
        FillColumns { wants: layout.words(FillColumns::WANTS, slots), given: layout.words(FillColumns::GIVEN, slots) }
    }
}

impl Columns {
    pub(crate) const SENT: &str = "rdmc sent";
    pub(crate) const READY: &str = "rdmc ready";

    /// Adds the columns for a group with `senders` senders to the table.
    pub fn compose(layout: &mut LayoutBuilder, senders: usize, limits: &Limits) -> Columns {
        let slots = senders * limits.transfers_max as usize;
        Columns {
            sent: layout.words(Columns::SENT, slots),
            ready: layout.words(Columns::READY, slots),
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

/// Blocks of `transfer` that a `sent` word tells of: none if it is about an earlier transfer; `None` if it is about a
/// later one, which cannot come before this one is complete.
#[inline]
pub(crate) fn sent_count(word: u64, transfer: u64) -> Option<u32> {
    let earlier_by = (transfer << COUNT_BITS).wrapping_sub(word >> COUNT_BITS << COUNT_BITS);
    match earlier_by {
        0 => Some((word & ((1 << COUNT_BITS) - 1)) as u32),
        _ => (earlier_by >> (u64::BITS - 1) == 0).then_some(0),
    }
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

/// What a `ready` word says about a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// It is about an earlier one.
    NotYet,
    /// Byte offset of the buffer in the peer's pool.
    At(u64),
    /// It is about a later one, which cannot come before this one is complete.
    Later,
}

/// What the word says about `transfer`.
#[inline]
pub(crate) fn ready_for(word: u64, transfer: u64) -> Ready {
    let mine = transfer.wrapping_add(1) << BUFFER_BITS;
    let earlier_by = mine.wrapping_sub(word >> BUFFER_BITS << BUFFER_BITS);
    match earlier_by {
        0 => Ready::At((word ^ mine) * Pool::ALIGNMENT),
        _ if earlier_by >> (u64::BITS - 1) == 0 => Ready::NotYet,
        _ => Ready::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_another_transfer_says_nothing_and_that_of_a_later_one_is_wrong() {
        for transfer in [0, 1, 5, (1 << 44) - 1, u64::MAX] {
            let sent = sent_word(transfer, 7);
            assert_eq!((sent_count(sent, transfer), sent_count(sent, transfer.wrapping_add(4))), (Some(7), Some(0)));
            assert_eq!(sent_count(sent, transfer.wrapping_sub(4)), None);
            let ready = ready_word(transfer, 3 * Pool::ALIGNMENT);
            assert_eq!(ready_for(ready, transfer), Ready::At(3 * Pool::ALIGNMENT));
            assert_eq!(ready_for(ready, transfer.wrapping_add(4)), Ready::NotYet);
            assert_eq!(ready_for(ready, transfer.wrapping_sub(4)), Ready::Later);
        }
        assert_eq!((sent_count(0, 0), ready_for(0, 0)), (Some(0), Ready::NotYet));
    }

    #[test]
    fn sent_words_grow() {
        let words = [sent_word(3, 1), sent_word(3, 2), sent_word(7, 1), sent_word(11, 1)];
        assert!(words.is_sorted());
    }
}
