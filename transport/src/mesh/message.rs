//! What two processes of a mesh say to each other. The raw bytes of a message or part follow its header in the same
//! frame.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::rank::NodeId;

use super::error::MeshRefusal;

/// The version of the headers below. Peers of different versions refuse each other.
pub(super) const MESH_VERSION: u8 = 1;

/// The longest frame before a connection stands.
pub(super) const HELLO_BYTES_MAX: usize = 512;

/// Names one meeting on the wire without giving its token away.
pub(super) type MeetingId = [u8; 16];

/// The headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Header {
    /// First of all, from the side that was dialled; the dialler answers with its own.
    Hello(Hello),
    /// The dialled side's answer to a hello: the connection stands.
    Welcome,
    /// The dialled side's other answer. Nothing follows.
    Refused(MeshRefusal),
    /// The application's bytes (the payload).
    Message,
    /// A part of a gather (the payload).
    Give { meeting: MeetingId, step: u32, what: String },
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) node: NodeId,
    /// Where it listens.
    pub(super) address: SocketAddr,
    pub(super) frame_bytes_max: u32,
}

impl Hello {
    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if self.address.ip().is_unspecified() || self.address.port() == 0 {
            return Some("the address names no host or port");
        }
        ((self.frame_bytes_max as usize) < HELLO_BYTES_MAX).then_some("the frame limit is too small")
    }
}
