//! Sleeping on descriptors.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Sleeps until one of `fds` is readable or `timeout` is over; which are, one bit each. It may return early without a
/// reason.
pub(super) fn wait<const N: usize>(fds: &[BorrowedFd<'_>; N], timeout: Duration) -> u32 {
    let timeout = Timespec { tv_sec: timeout.as_secs().min(1 << 30) as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) => polled.iter().enumerate().fold(0, |bits, (at, fd)| bits | u32::from(!fd.revents().is_empty()) << at),
        Err(rustix::io::Errno::INTR) => 0,
        Err(errno) => panic!("poll on my own descriptors: {errno}"),
    }
}
