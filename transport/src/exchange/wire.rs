//! A link on its socket. Nothing here blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::door::say;
use super::link::{Link, LinkError};
use super::stream::Stream;

/// How much one turn reads, so that no connection keeps the others waiting.
const TURN_BYTES_MAX: usize = 256 << 10;
const READ_BYTES: usize = 64 << 10;

/// A non-blocking socket and what was read from and is to be written to it.
pub(crate) struct Wire {
    stream: Stream,
    pub(crate) link: Link,
    ended: Option<String>,
    heard_all: bool,
    said_all: bool,
    write_failed: bool,
}

impl Wire {
    /// The other host is given up once it was silent for `lost_after`.
    pub(crate) fn new(stream: impl Into<Stream>, link: Link, lost_after: Duration) -> io::Result<Self> {
        let stream = stream.into();
        stream.set_up(lost_after)?;
        Ok(Self { stream, link, ended: None, heard_all: false, said_all: false, write_failed: false })
    }

    /// Why nothing more will come from the other side, once that is known.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Whether the socket has taken all that was said so far.
    pub(crate) fn has_said(&self) -> bool {
        self.link.unsent().is_empty() && !self.write_failed
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Ends it with a word that its handshake need not be over for.
    pub(crate) fn turn_away(self, why: &[u8]) {
        say(&self.stream, why);
    }

    /// Changes how long the other host may be silent.
    pub(crate) fn give_up_after(&self, lost_after: Duration) -> io::Result<()> {
        self.stream.set_up(lost_after)
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, self.ended.is_none());
        interest.set(PollFlags::OUT, !self.link.unsent().is_empty());
        interest
    }

    /// Waits until the socket is ready for what is wanted of it (true), or the deadline (false).
    pub(crate) fn wait(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = left.try_into().ok();
            match rustix::event::poll(&mut [PollFd::new(self, self.interest())], timeout.as_ref()) {
                Ok(ready) if ready > 0 => return Ok(true),
                Ok(_) if Instant::now() >= deadline => return Ok(false),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads what is there, up to a turn's worth, into the link.
    pub(crate) fn fill(&mut self) -> Result<(), LinkError> {
        if self.ended.is_none() { self.fill_rest().map(|_| ()) } else { Ok(()) }
    }

    /// As [`fill`](Self::fill), also once writing has failed: what came before that is still there. The number of bytes
    /// that were read.
    pub(crate) fn fill_rest(&mut self) -> Result<usize, LinkError> {
        self.read(|link, bytes| link.receive(bytes))
    }

    /// Reads what is there and drops it.
    pub(crate) fn discard(&mut self) {
        if self.ended.is_none() {
            // The closure never fails.
            let _ = self.read(|_, _| Ok(()));
        }
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) {
        while !self.link.unsent().is_empty() {
            match (&self.stream).write(self.link.unsent()) {
                Ok(bytes) => self.link.mark_sent(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    let unsent = self.link.unsent().len();
                    self.link.mark_sent(unsent);
                    self.write_failed = true;
                    self.ended.get_or_insert_with(|| error.to_string());
                }
            }
        }
    }

    /// Tells the other side that nothing more will come, once all is written. Reading goes on: closing a socket with
    /// unread bytes would destroy what the other side has yet to read.
    pub(crate) fn say_all(&mut self) {
        self.flush();
        if self.link.unsent().is_empty() && !self.said_all {
            self.said_all = true;
            // It fails only where the other side is gone already.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    fn read(&mut self, mut take: impl FnMut(&mut Link, &[u8]) -> Result<(), LinkError>) -> Result<usize, LinkError> {
        let mut buffer = [0; READ_BYTES];
        let mut read_bytes = 0;
        while !self.heard_all && read_bytes < TURN_BYTES_MAX {
            match (&self.stream).read(&mut buffer) {
                Ok(0) => self.end("connection closed".to_owned()),
                Ok(bytes) => {
                    read_bytes += bytes;
                    take(&mut self.link, &buffer[..bytes])?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => self.end(error.to_string()),
            }
        }
        Ok(read_bytes)
    }

    fn end(&mut self, reason: String) {
        self.heard_all = true;
        self.ended.get_or_insert(reason);
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// `duration` after `start`, or in a time that nobody lives to see.
pub(crate) fn after(start: Instant, duration: Duration) -> Instant {
    const AGE: Duration = Duration::from_secs(1 << 32);
    start + duration.min(AGE)
}
