//! A connection that a member makes to a peer's data listener, until it is answered; however often that has to be
//! tried.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::hello::{HELLO_BYTES, TOKEN_BYTES};
use super::limits::{REDIAL_MS_MAX, REDIAL_MS_MIN};
use crate::endpoint::OpenError;
use crate::rank::Rank;

/// A connection that I make and that was not answered.
pub(super) struct Dialled {
    pub(super) peer: Rank,
    pub(super) address: SocketAddr,
    /// None between two attempts.
    pub(super) socket: Option<TcpStream>,
    /// When the next attempt is due, if none is under way, and the pause behind that.
    pub(super) due: Instant,
    pause: Duration,
    /// Why the last attempt led to nothing.
    pub(super) setback: Option<std::io::Error>,
    /// It is connected, and I said who I am.
    pub(super) greeted: bool,
    pub(super) said: [u8; TOKEN_BYTES],
    count: usize,
}

impl Dialled {
    /// Due at once.
    pub(super) fn to(peer: Rank, address: SocketAddr) -> Dialled {
        let (due, pause) = (Instant::now(), Duration::from_millis(REDIAL_MS_MIN));
        Dialled { peer, address, socket: None, due, pause, setback: None, greeted: false, said: [0; TOKEN_BYTES], count: 0 }
    }

    /// The attempt led to nothing, another may not.
    pub(super) fn again(self, setback: std::io::Error) -> Dialled {
        let due = Instant::now() + self.pause;
        let pause = (2 * self.pause).min(Duration::from_millis(REDIAL_MS_MAX));
        Dialled { due, pause, setback: Some(setback), ..Dialled::to(self.peer, self.address) }
    }

    /// Begins to connect.
    pub(super) fn begin(&self) -> std::io::Result<()> {
        let socket = self.socket.as_ref().expect("made just now");
        match SockRef::from(socket).connect(&self.address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
            _ => Ok(()),
        }
    }

    /// Says `hello` if the connection stands; `Ok` too while it does not yet.
    pub(super) fn greet(&mut self, hello: &[u8; HELLO_BYTES]) -> std::io::Result<()> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        if let Err(error) = socket.peer_addr() {
            return if error.kind() == ErrorKind::NotConnected { Ok(()) } else { Err(error) };
        }
        socket.write_all(hello)?;
        self.greeted = true;
        Ok(())
    }

    /// Reads what has come of the answer; whether it is complete.
    pub(super) fn listen(&mut self) -> std::io::Result<bool> {
        let Some(socket) = self.socket.as_mut().filter(|_| self.greeted) else {
            return Ok(false);
        };
        match socket.read(&mut self.said[self.count..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.count += count;
                Ok(self.count == TOKEN_BYTES)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn unreachable(&self, reason: std::io::Error) -> OpenError {
        OpenError::System { fabric: "tcp", what: format!("connecting to rank {} at {}", self.peer, self.address), reason }
    }

    pub(super) fn unanswered(&self, error: &std::io::Error) -> OpenError {
        let what = format!("it did not answer ({error}); did it fail, or does something else listen there?");
        OpenError::Peer { fabric: "tcp", peer: self.peer, what }
    }
}
