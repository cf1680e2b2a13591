//! Every limit of this provider.

/// Bytes of headers and small Spans that wait for one peer; a power of two.
pub(super) const QUEUE_BYTES_MAX: usize = 64 << 10;
/// Spans by reference that wait for one peer; a power of two.
pub(super) const QUEUE_SPANS_MAX: usize = 256;
/// Up to this length a Span's payload is copied into the queue when it is posted and is landed whole, word by word:
/// cheaper than a gather entry, and a counter inside it never tears.
pub(super) const SMALL_SPAN_BYTES_MAX: usize = 1 << 10;
/// Entries of one gathered send (the kernel takes 1024).
pub(super) const GATHER_ENTRIES_MAX: usize = 128;
/// Bytes of one read into the staging buffer, which all links share.
pub(super) const STAGING_BYTES: usize = 128 << 10;
/// Bytes read behind a large Span's own: enough to see what follows it, few enough that little of the next large Span
/// is copied twice.
pub(super) const STAGING_BEHIND_SPAN_BYTES: usize = 8 << 10;
/// Reads that throw away what still comes when a link is closed.
pub(super) const DRAIN_READS_MAX: usize = 64;
/// Links that one look at what is ready finds; the others are found by the next.
pub(super) const EVENTS_MAX: usize = 64;
/// Time for all members to link up once addresses are known, in milliseconds.
pub(super) const LINK_UP_MS_MAX: u64 = 20_000;
/// Accepted connections that have not proved themselves yet; beyond it one gives way to a new one.
pub(super) const UNPROVEN_MAX: usize = 256;
/// Connections taken in before those that are there are heard.
pub(super) const ACCEPTS_PER_TURN_MAX: usize = 64;
/// Between two attempts to connect to a peer that closed before it answered, in milliseconds; each pause is twice the
/// last.
pub(super) const REDIAL_MS_MIN: u64 = 5;
pub(super) const REDIAL_MS_MAX: u64 = 250;

use super::frame::HEADER_BYTES;

const _: () = {
    assert!(QUEUE_BYTES_MAX.is_power_of_two() && QUEUE_SPANS_MAX.is_power_of_two());
    assert!(QUEUE_BYTES_MAX >= 16 * (HEADER_BYTES + SMALL_SPAN_BYTES_MAX), "a queue holds a batch of the largest small Spans");
    assert!(STAGING_BYTES > 2 * (HEADER_BYTES + SMALL_SPAN_BYTES_MAX), "staging holds a carried frame and new bytes");
    assert!(STAGING_BEHIND_SPAN_BYTES <= STAGING_BYTES && STAGING_BEHIND_SPAN_BYTES > HEADER_BYTES);
    assert!(GATHER_ENTRIES_MAX >= 8 && GATHER_ENTRIES_MAX <= 1024);
};
