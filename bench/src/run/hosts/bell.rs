//! Wakes a thread that sleeps on sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// A descriptor that can be read once it was rung.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        Ok(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes who sleeps on it, or will.
    pub(super) fn ring(&self) {
        // It fails only when it has been rung 2^64 times and nobody came.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Before looking at what it was rung for.
    pub(super) fn silence(&self) {
        // It fails only if it was not rung.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
