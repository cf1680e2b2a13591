//! What a mesh tells.

use std::net::SocketAddr;

use crate::rank::NodeId;

/// What happened at a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeshEvent {
    /// A connection is up, whichever side dialled. It comes again if [`connect`](super::Mesh::connect) without a node
    /// finds one that stood before.
    Up {
        /// The process at the other end.
        node: NodeId,
        /// Where it listens.
        address: SocketAddr,
    },
    /// A [`connect`](super::Mesh::connect) led to nothing.
    Unreachable {
        /// What was dialled.
        address: SocketAddr,
        /// Who was wanted.
        node: Option<NodeId>,
        /// Why not.
        reason: String,
    },
    /// A connection that stood is gone. All messages that came over it come before this.
    Down {
        /// The process at the other end.
        node: NodeId,
        /// How that showed.
        reason: String,
    },
    /// A peer's bytes.
    Message {
        /// Who sent them.
        from: NodeId,
        /// What it sent.
        bytes: Vec<u8>,
    },
}
