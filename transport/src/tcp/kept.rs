//! A socket between two epochs.
//!
//! ```text
//!   old epoch's frames | mark: its tag | new epoch's frames
//!   thrown away here                     landed by the new link alone
//! ```
//! A member that retires its endpoint ends its stream with a mark; at the next opening both ends say which tags they
//! hold, and a socket is used again where they hold the same. The tag is derived anew from each epoch's token, so that
//! ends which missed an epoch do not meet. Nothing of the old epoch lands once its endpoint is gone (T5): what still
//! comes before the mark is read into a buffer that nobody looks at, and nothing behind it is read at all.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpStream};

use super::frame::{BadFrame, Frame, HEADER_BYTES};
use super::limits::DRAIN_READS_MAX;
use crate::link_name::{LinkName, Tag};

/// Bytes thrown away by one read.
const DISCARD_BYTES: usize = 16 << 10;

/// A socket whose epoch has ended here.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) link_name: LinkName,
    /// Until it is used again.
    socket: Option<TcpStream>,
    rest: Rest,
}

/// The old epoch's stream up to the peer's mark.
#[derive(Debug)]
pub(super) struct Rest {
    /// Sizes of my regions in the old epoch.
    pub(super) region_bytes: Vec<u64>,
    /// Bytes of a payload that are still to come.
    pub(super) payload: u64,
    /// A header that is not complete.
    pub(super) header: [u8; HEADER_BYTES],
    pub(super) count: usize,
    /// The mark has come.
    pub(super) ended: bool,
}

impl Kept {
    /// A socket into which my mark was written.
    pub(super) fn new(socket: TcpStream, link_name: LinkName, rest: Rest) -> Kept {
        Kept { link_name, socket: Some(socket), rest }
    }

    /// The socket, to be used in the next epoch.
    ///
    /// # Panics
    /// If the peer's mark has not come.
    pub(super) fn into_socket(mut self) -> TcpStream {
        assert!(self.rest.ended, "what is left of the old epoch must not be taken for the new one's");
        self.socket.take().expect("there until now")
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.socket.as_ref().expect("there until it is used again")
    }

    /// Reads on towards the peer's mark and not beyond; whether it has come.
    pub(super) fn read(&mut self) -> std::io::Result<bool> {
        let (rest, mut socket) = (&mut self.rest, self.socket.as_ref().expect("there until it is used again"));
        while !rest.ended {
            let mut discarded = [0; DISCARD_BYTES];
            let into = match rest.payload {
                0 => &mut rest.header[rest.count..],
                payload => &mut discarded[..payload.min(DISCARD_BYTES as u64) as usize],
            };
            match socket.read(into) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(got) if rest.payload > 0 => rest.payload -= got as u64,
                Ok(got) => {
                    rest.count += got;
                    if rest.count == HEADER_BYTES {
                        rest.pass(self.link_name.tag).map_err(|bad| std::io::Error::new(ErrorKind::InvalidData, bad))?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            close(&socket, &mut [0; DISCARD_BYTES]);
        }
    }
}

/// Ends a connection in an orderly way: unread bytes are thrown away, because closing over them would reset the
/// connection and destroy what is on its way to the peer.
pub(super) fn close(mut socket: &TcpStream, scratch: &mut [u8]) {
    let _ = socket.shutdown(Shutdown::Write);
    for _ in 0..DRAIN_READS_MAX {
        match socket.read(scratch) {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
}

impl Rest {
    /// Passes over the header that is complete now.
    fn pass(&mut self, tag: Tag) -> Result<(), BadFrame> {
        self.count = 0;
        match Frame::decode(&self.header, |region| self.region_bytes.get(usize::from(region)).copied())? {
            Frame::Word { .. } => {}
            Frame::Span { len, .. } => self.payload = len,
            Frame::End { tag: theirs } if theirs == tag => self.ended = true,
            Frame::End { .. } => return Err(BadFrame::End),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::rank::NodeId;
    use crate::write::TABLE;

    const TAG: Tag = [1, 2];

    /// A kept socket in the middle of a span of 100 bytes, of which 40 are still to come, and its other end.
    fn pair() -> (Kept, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mine = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let theirs = listener.accept().unwrap().0;
        let rest = Rest { region_bytes: vec![4096], payload: 40, header: [0; HEADER_BYTES], count: 0, ended: false };
        (Kept::new(mine, LinkName { me: NodeId(1), peer: NodeId(2), tag: TAG }, rest), theirs)
    }

    fn old_epoch() -> Vec<u8> {
        let mut bytes = vec![0xFF; 40];
        bytes.extend(Frame::Word { region: TABLE, offset: 8, value: 3 }.encode());
        bytes.extend(Frame::Span { region: TABLE, offset: 8, len: 50 }.encode());
        bytes.extend([0xEE; 50]);
        bytes
    }

    #[test]
    fn everything_up_to_the_mark_is_thrown_away_and_nothing_behind_it_is_read() {
        let (mut kept, mut theirs) = pair();
        let mut sent = old_epoch();
        sent.extend(Frame::End { tag: TAG }.encode());
        sent.extend(b"new epoch");
        for byte in sent {
            theirs.write_all(&[byte]).unwrap();
        }
        assert!(kept.read().unwrap());
        let mut next = [0; 9];
        kept.into_socket().read_exact(&mut next).unwrap();
        assert_eq!(&next, b"new epoch");
    }

    #[test]
    fn the_mark_of_another_epoch_and_nonsense_are_refused() {
        for last in [Frame::End { tag: [1, 3] }.encode(), [0xFF; HEADER_BYTES]] {
            let (mut kept, mut theirs) = pair();
            theirs.write_all(&old_epoch()).unwrap();
            theirs.write_all(&last).unwrap();
            assert_eq!(kept.read().unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }

    #[test]
    fn without_the_mark_it_waits_and_an_end_is_an_error() {
        let (mut kept, mut theirs) = pair();
        kept.socket().set_nonblocking(true).unwrap();
        theirs.write_all(&old_epoch()).unwrap();
        assert!(!kept.read().unwrap());
        drop(theirs);
        let error = loop {
            if let Err(error) = kept.read() {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
