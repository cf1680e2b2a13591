//! The application's state on its way to newcomers.
//!
//! It goes in pieces over the mesh, beside the messages of the view: the newcomer receives these meanwhile and delivers them once it has all. How far that can go on is bounded by
//! the senders' windows. Noise keeps the pieces of one giver whole and in their order; a giver that is lost is suspected, and the next view begins with another
//! snapshot.

use std::fmt;
use std::io::{self, Read};

use squall_transport::NodeId;
use squall_transport::mesh::{Mesh, MeshSendError};

use super::message::Control;
use crate::group::{StatePiece, Upcalls};

/// Bytes of state in one message.
const PIECE_BYTES: usize = 128 << 10;
/// Pieces that are handed to the mesh in one turn of the loop.
const PIECES_A_TURN_MAX: usize = 4;

/// How a turn of giving went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gave {
    /// There is more, and room for it.
    More,
    /// The mesh has no room now.
    Full,
    All,
    /// The newcomer is gone.
    Lost,
}

/// State that this member gives to one newcomer.
pub(crate) struct Giving {
    pub(crate) to: NodeId,
    view: u64,
    source: Box<dyn Read + Send>,
    piece: Vec<u8>,
    begun: bool,
    /// Bytes that were handed over; the piece lies behind them.
    offset: u64,
    ended: bool,
}

impl fmt::Debug for Giving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Giving").field("to", &self.to).field("view", &self.view).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Giving {
    pub(crate) fn new(to: NodeId, view: u64, source: Box<dyn Read + Send>) -> Giving {
        Giving { to, view, source, piece: Vec::new(), begun: false, offset: 0, ended: false }
    }

    /// Hands over what there is room for.
    ///
    /// # Errors
    /// What reading the application's snapshot says.
    pub(crate) fn turn(&mut self, mesh: &Mesh) -> io::Result<Gave> {
        for _ in 0..PIECES_A_TURN_MAX {
            self.read()?;
            let said = match self {
                Giving { begun: false, view, .. } => Control::Begin { view: *view }.say(mesh, self.to),
                Giving { ended: true, view, offset, .. } if self.piece.is_empty() => {
                    Control::End { view: *view, bytes: *offset }.say(mesh, self.to)
                }
                Giving { view, offset, .. } => Control::Bytes { view: *view, offset: *offset }.say_with(mesh, self.to, &self.piece),
            };
            match said {
                Ok(()) => {}
                Err(MeshSendError::Full { .. }) => return Ok(Gave::Full),
                Err(_) => return Ok(Gave::Lost),
            }
            if !self.begun {
                self.begun = true;
            } else if self.piece.is_empty() {
                return Ok(Gave::All);
            } else {
                self.offset += self.piece.len() as u64;
                self.piece.clear();
            }
        }
        Ok(Gave::More)
    }

    /// Fills the piece, if it is empty and there is more.
    fn read(&mut self) -> io::Result<()> {
        if self.piece.is_empty() && !self.ended {
            self.source.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut self.piece)?;
            self.ended = self.piece.len() < PIECE_BYTES;
        }
        Ok(())
    }
}

/// State that this newcomer is given.
#[derive(Debug)]
pub(crate) struct Taking {
    /// The view that begins with it.
    view: u64,
    giver: Option<NodeId>,
    bytes: u64,
}

impl Taking {
    pub(crate) fn new(view: u64) -> Taking {
        Taking { view, giver: None, bytes: 0 }
    }

    /// Takes a message of `from` in. Whether that was the end; an error if it does not follow what came before.
    pub(crate) fn hear(&mut self, from: NodeId, said: &Control, behind: &[u8], upcalls: &mut impl Upcalls) -> Result<bool, String> {
        let of_giver = self.giver == Some(from);
        match *said {
            Control::Begin { view } if view == self.view => {
                (self.giver, self.bytes) = (Some(from), 0);
                upcalls.restore(StatePiece::Begin);
            }
            Control::Bytes { view, offset } if view == self.view && of_giver => {
                if offset != self.bytes {
                    return Err(format!("member {from} gave bytes {offset} and up of its state where {} and up were due", self.bytes));
                }
                self.bytes += behind.len() as u64;
                upcalls.restore(StatePiece::Bytes(behind));
            }
            Control::End { view, bytes } if view == self.view && of_giver => {
                if bytes != self.bytes {
                    return Err(format!("member {from} gave {} of {bytes} bytes of its state", self.bytes));
                }
                upcalls.restore(StatePiece::End);
                return Ok(true);
            }
            // Of a view that is over, or of one who is no longer the giver.
            _ => {}
        }
        Ok(false)
    }
}
