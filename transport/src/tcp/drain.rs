//! How fast a connection's bytes leave, and how much of them may wait before it.
//!
//! What is posted waits behind what was posted before. On a fast link that is nothing to speak of. On a slow one a
//! sender's window may take a third of a second, and acknowledgements wait behind it that open the windows of others:
//! all fill theirs, and then all wait. So between hosts a stream goes in pieces, the next one when the kernel has room
//! for it, and on a slow link in pieces of some milliseconds.
//!
//! ```text
//!   the socket takes no more --> bytes acknowledged over the time in which there were any: the link's rate
//!   rate * PIECE_MS          --> bytes of a piece; as many may wait in the kernel (TCP_NOTSENT_LOWAT)
//! ```

use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::count::Count;

/// What a piece takes on the link, in milliseconds: long for a member to wake in, short beside a window that is worth
/// cutting up.
const PIECE_MS: u64 = 10;
/// Of less, what a piece costs would be felt.
const PIECE_BYTES_MIN: u64 = 16 << 10;
/// A link that sends so much in the time of a piece is not slow; more would not make it faster.
const PIECE_BYTES_MAX: u64 = 256 << 10;
/// Between two looks at the rate.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What was counted before is of another time: perhaps little was sent then.
const FORGET_AFTER: Duration = Duration::from_millis(100);
/// A rate is taken over so long a time in which something was on its way, in microseconds.
const BUSY_US_MIN: u64 = 10_000;

/// One connection's.
#[derive(Debug)]
pub(super) struct Drain {
    before: Count,
    looked: Option<Instant>,
    piece_bytes: u64,
}

impl Drain {
    /// Of a connection that is not known to be slow, whatever it was in an epoch before this one.
    pub(super) fn new(socket: &TcpStream) -> Drain {
        let drain = Drain { before: Count::default(), looked: None, piece_bytes: PIECE_BYTES_MAX };
        drain.limit(socket);
        drain
    }

    /// Bytes of a piece.
    #[inline]
    pub(super) fn piece_bytes(&self) -> u64 {
        self.piece_bytes
    }

    /// The connection took no more, so that its rate is the link's: what it is by now.
    pub(super) fn socket_was_full(&mut self, socket: &TcpStream) {
        let now = Instant::now();
        let since = self.looked.map_or(Duration::MAX, |looked| now - looked);
        if since < LOOK_EVERY {
            return;
        }
        self.looked = Some(now);
        let Some(count) = Count::of(socket) else {
            return;
        };
        if since > FORGET_AFTER {
            self.before = count;
        }
        let Some(piece_bytes) = self.piece(count) else {
            return;
        };
        if piece_bytes != self.piece_bytes {
            self.piece_bytes = piece_bytes;
            self.limit(socket);
        }
    }

    /// Tells the kernel how much may wait in it.
    fn limit(&self, socket: &TcpStream) {
        // 0 is what the system has chosen.
        let lowat = if self.piece_bytes == PIECE_BYTES_MAX { 0 } else { self.piece_bytes as u32 };
        // A kernel that refuses lets more wait, which is slower and as good.
        let _ = SockRef::from(socket).set_tcp_notsent_lowat(lowat);
    }

    /// What a piece is, if enough time has been counted to tell.
    fn piece(&mut self, count: Count) -> Option<u64> {
        let busy_us = count.busy_us.checked_sub(self.before.busy_us)?;
        if busy_us < BUSY_US_MIN {
            return None;
        }
        let acked_bytes = count.acked_bytes.saturating_sub(self.before.acked_bytes);
        self.before = count;
        let bytes = u128::from(acked_bytes) * u128::from(PIECE_MS * 1000) / u128::from(busy_us);
        // In steps, so that it seldom changes.
        Some(1 << u64::try_from(bytes).unwrap_or(u64::MAX).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX).ilog2())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_piece_is_what_a_link_sends_in_some_milliseconds() {
        let mut drain = Drain { before: Count::default(), looked: None, piece_bytes: PIECE_BYTES_MAX };
        // 200 Mb/s that seven share.
        let mut count = Count { acked_bytes: 357_000, busy_us: 100_000 };
        assert_eq!(drain.piece(count), Some(32 << 10));
        count.busy_us += BUSY_US_MIN - 1;
        assert_eq!(drain.piece(count), None, "too short to tell");
        count.busy_us += 1_000_000;
        assert_eq!(drain.piece(count), Some(PIECE_BYTES_MIN), "nothing moved");
        // 10 Gb/s that seven share.
        let count = Count { acked_bytes: count.acked_bytes + 17_800_000, busy_us: count.busy_us + 100_000 };
        assert_eq!(drain.piece(count), Some(PIECE_BYTES_MAX), "it is not slow");
        assert_eq!(drain.piece(Count::default()), None, "a kernel that does not count");
        let absurd = Count { acked_bytes: u64::MAX, busy_us: count.busy_us + BUSY_US_MIN };
        assert_eq!(drain.piece(absurd), Some(PIECE_BYTES_MAX));
    }

    #[test]
    fn a_small_piece_is_what_may_wait_in_the_kernel_and_an_epoch_begins_without() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let may_wait = || SockRef::from(&socket).tcp_notsent_lowat().unwrap();
        let slow = Drain { piece_bytes: 32 << 10, ..Drain::new(&socket) };
        slow.limit(&socket);
        assert_eq!(may_wait(), 32 << 10);
        Drain::new(&socket);
        assert_eq!(may_wait(), 0);
    }
}
