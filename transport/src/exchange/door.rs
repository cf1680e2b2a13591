//! A listening socket of a process that may be short of descriptors.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::place::Place;
use super::stream::{Listener, Stream};
use crate::lost::LOST_AFTER;

/// How long not to accept after accepting failed for want of something that another attempt would lack too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What came of opening the door once.
#[derive(Debug)]
pub(crate) enum Knock {
    /// Somebody, from there.
    Came(Stream, Place),
    /// Nobody waits.
    Nobody,
    /// The system lacks what a connection needs, or refuses this listener.
    Short(io::Error),
}

/// A listener that can say no where the process has no descriptor left: it gives up one that it holds in reserve, lets
/// the one in that waits longest, tells it why it cannot stay, and takes a reserve again.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Listener,
    reserve: Option<File>,
    /// Not to be opened before.
    shut_until: Option<Instant>,
}

impl Door {
    pub(crate) fn new(listener: Listener) -> Door {
        Door { listener, reserve: reserve(), shut_until: None }
    }

    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.shut_until.is_none_or(|until| now >= until)
    }

    /// When to look again although nobody knocks.
    pub(crate) fn timer(&self) -> Option<Instant> {
        self.shut_until
    }

    /// Takes in who waits longest.
    pub(crate) fn accept(&mut self) -> Knock {
        self.shut_until = None;
        loop {
            match self.listener.accept() {
                Ok((stream, from)) => return Knock::Came(stream, from),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Knock::Nobody,
                // A connection that died before it was let in is the stranger's trouble.
                Err(error) if is_of_connection(&error) => {}
                Err(error) => return Knock::Short(error),
            }
        }
    }

    /// Tells all who wait, up to `count`, `why` they cannot come in, and opens no more for a while.
    pub(crate) fn turn_away(&mut self, why: &[u8], count: usize) {
        for _ in 0..count {
            if self.reserve.take().is_none() {
                break;
            }
            let accepted = self.listener.accept();
            if let Ok((stream, _)) = &accepted {
                say(stream, why);
            }
            let over = accepted.is_err();
            drop(accepted);
            self.reserve = reserve();
            if over {
                break;
            }
        }
        self.reserve = self.reserve.take().or_else(reserve);
        self.shut();
    }

    /// Opens no more for a while: who waits goes on waiting.
    pub(crate) fn shut(&mut self) {
        self.shut_until = Some(Instant::now() + ACCEPT_PAUSE);
    }
}

/// Says `why` to one that has to go, if its socket takes it at once.
pub(crate) fn say(stream: &Stream, why: &[u8]) {
    let _ = stream.set_up(LOST_AFTER);
    let _ = { stream }.write(why);
}

/// A descriptor that can be done without. None where there is none left, until another time.
fn reserve() -> Option<File> {
    File::open("/dev/null").or_else(|_| File::open("/")).ok()
}

/// Whether it is an error of the connection that was to be let in: accept(2) names them.
fn is_of_connection(error: &io::Error) -> bool {
    const OF_NETWORK: [i32; 8] = [
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ENONET,
        libc::EPERM,
    ];
    let known = matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted);
    known || error.raw_os_error().is_some_and(|errno| OF_NETWORK.contains(&errno))
}

/// Whether the system, or this process, has no descriptor or memory for one more.
pub(crate) fn is_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
