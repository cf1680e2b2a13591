//! What can go wrong in a mesh.

use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::exchange::BindError;
use crate::rank::NodeId;

/// Why a mesh cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// It cannot listen, or an option is out of its range.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Peers are told the address, and cannot connect to one that names no host.
    #[error(
        "a mesh cannot listen at {address}: give one address of this host that its peers can reach (port 0 lets the system choose a port)"
    )]
    Unspecified {
        /// The address that was given.
        address: SocketAddr,
    },
    /// The operating system does not give what it needs.
    #[error("a mesh cannot start, {doing} failed: {reason}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the operating system says.
        reason: io::Error,
    },
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeshSendError {
    /// No connection with this node stands.
    #[error("node {node} is not connected: connect to it and wait until it is up")]
    NotConnected {
        /// The node.
        node: NodeId,
    },
    /// The peer does not read as fast as this side sends.
    #[error("{waiting_bytes} bytes already wait to be sent to node {node}, of at most {bytes_max}: send again when it has read some")]
    Full {
        /// The node.
        node: NodeId,
        /// What waits already.
        waiting_bytes: usize,
        /// The most that may wait.
        bytes_max: usize,
    },
    /// The message is larger than one frame.
    #[error("a message of {bytes} bytes is larger than the smaller frame_bytes_max of the two sides allows ({bytes_max})")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The most that one message may carry.
        bytes_max: usize,
    },
}

/// Why a process that listens does not take a connection of one that holds the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(super) enum MeshRefusal {
    #[error("this node is already connected")]
    Standing,
    #[error("it has the node id of the process that dialled, {node}: each process needs a node id of its own")]
    SameNode { node: NodeId },
    #[error("it has as many connections as its peers_max allows ({peers_max})")]
    Full { peers_max: u32 },
    #[error("it does not keep up with connections that come and go")]
    Busy,
    #[error("the hello is invalid: {reason}")]
    Malformed { reason: String },
}

impl MeshRefusal {
    /// Whether trying again soon may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Standing | Self::Busy)
    }
}
