//! One peer: its socket, what waits to go there, and where its stream stands.

use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use super::drain::Drain;
use super::frame::{Frame, HEADER_BYTES};
use super::intake::Intake;
use super::kept::{self, Kept};
use super::limits::STAGING_BYTES;
use super::queue::SendQueue;
use crate::endpoint::QueueFull;
use crate::link_name::LinkName;
use crate::region::{Region, receive};
use crate::within_host::is_within_host;
use crate::write::Write;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Bytes landed or were carried.
    Bytes,
    /// There was nothing.
    Nothing,
    /// The stream ended, the socket failed or the peer sent what it must not: the link is broken.
    Broken,
}

/// A live link to one peer.
#[derive(Debug)]
pub(super) struct Link {
    socket: TcpStream,
    queue: SendQueue,
    intake: Intake,
    /// Sizes of the peer's regions in bytes.
    region_bytes: Vec<u64>,
    /// Whom it leads to beyond this epoch, if that is known.
    link_name: Option<LinkName>,
    /// Sending failed; what the peer sent before is still read, then the link is broken.
    mute: bool,
    /// The socket was full; epoll says when it is not.
    pub(super) awaits_room: bool,
    /// None within one host, where there is no link to wait for.
    drain: Option<Drain>,
}

impl Link {
    pub(super) fn new(socket: TcpStream, region_bytes: Vec<u64>, link_name: Option<LinkName>) -> Link {
        let (queue, intake) = (SendQueue::new(), Intake::new());
        let drain = (!is_within_host(&socket)).then(|| Drain::new(&socket));
        Link { socket, queue, intake, region_bytes, link_name, mute: false, awaits_room: false, drain }
    }

    /// How many bytes of a stream to post at once: [`Endpoint::allowance`](crate::Endpoint::allowance).
    #[inline]
    pub(super) fn allowance(&self) -> u64 {
        match &self.drain {
            None => u64::MAX,
            Some(_) if self.awaits_room => 0,
            Some(drain) => drain.piece_bytes(),
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(super) fn region_bytes(&self) -> &[u64] {
        &self.region_bytes
    }

    #[inline]
    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    #[inline]
    pub(super) fn push(&mut self, write: Write, regions: &[Region]) -> Result<(), QueueFull> {
        if self.mute {
            return Ok(());
        }
        self.queue.push(write, regions)
    }

    /// Sends what is queued; whether the socket had no room for all of it.
    pub(super) fn send(&mut self, regions: &[Region]) -> bool {
        match self.queue.send(self.socket.as_fd(), regions) {
            Ok(true) => false,
            Ok(false) => {
                if let Some(drain) = &mut self.drain {
                    drain.socket_was_full(&self.socket);
                }
                true
            }
            Err(_) => {
                // Reading goes on until the end that this shutdown makes certain; there the link is found broken.
                self.mute = true;
                self.queue.clear();
                let _ = self.socket.shutdown(Shutdown::Both);
                false
            }
        }
    }

    /// Reads once and lands what came.
    pub(super) fn take_in(&mut self, staging: &mut [u8; STAGING_BYTES], regions: &[Region]) -> Taken {
        let read = receive(self.socket.as_fd(), self.intake.target(regions), self.intake.staging(staging));
        match read {
            Ok(0) => Taken::Broken,
            Ok(got) => match self.intake.absorb(got, staging, regions) {
                Ok(()) if self.intake.ended().is_some_and(|tag| self.link_name.is_none_or(|link_name| link_name.tag != tag)) => {
                    Taken::Broken
                }
                Ok(()) => Taken::Bytes,
                Err(_) => Taken::Broken,
            },
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Taken::Nothing,
            Err(_) => Taken::Broken,
        }
    }

    /// Ends this epoch's stream and keeps the socket for the next, if everything that was posted is on its way.
    /// Otherwise the link is closed.
    pub(super) fn keep(mut self, staging: &mut [u8; STAGING_BYTES], regions: &[Region]) -> Option<Kept> {
        let awaits_room = self.send(regions);
        if let Some(link_name) = self.link_name.filter(|_| !awaits_room && !self.mute) {
            let mark = Frame::End { tag: link_name.tag }.encode();
            // A part of a mark is as good as none: the peer finds its stream broken.
            if matches!((&self.socket).write(&mark), Ok(HEADER_BYTES)) {
                return Some(Kept::new(self.socket, link_name, self.intake.into_rest(regions)));
            }
        }
        kept::close(&self.socket, staging);
        None
    }

    /// Ends the link; what was flushed is sent as far as the socket takes it.
    pub(super) fn close(mut self, staging: &mut [u8; STAGING_BYTES], regions: &[Region]) {
        self.send(regions);
        kept::close(&self.socket, staging);
    }
}
