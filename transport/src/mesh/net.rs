//! What a member of a changing group needs of its mesh: the seam at which a simulated one takes its place.

use std::net::SocketAddr;

use crate::endpoint::Waker;
use crate::exchange::{Exchange, ExchangeError};
use crate::rank::NodeId;

use super::{Meeting, Mesh, MeshEvent, MeshExchange, MeshSendError};

/// A process' end of control connections. Nothing here waits, and nothing reads a clock: what takes time is polled with
/// the time as the caller knows it. The methods are those of [`Mesh`], where they are told.
pub trait Net {
    /// A meeting under way.
    type Gather: Gather;

    /// Who this process is.
    fn node(&self) -> NodeId;

    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// As [`Mesh::connect`].
    fn connect(&self, address: SocketAddr, node: Option<NodeId>);

    /// As [`Mesh::disconnect`].
    fn disconnect(&self, node: NodeId);

    /// As [`Mesh::send`].
    ///
    /// # Errors
    /// As there.
    fn send(&self, to: NodeId, bytes: &[u8]) -> Result<(), MeshSendError>;

    /// As [`Mesh::next`].
    fn next(&self) -> Option<MeshEvent>;

    /// As [`Mesh::peers`].
    fn peers(&self) -> Vec<(NodeId, SocketAddr)>;

    /// As [`Mesh::set_waker`].
    fn set_waker(&self, waker: Option<Waker>);

    /// As [`Mesh::meet`].
    fn meet(&self, meeting: Meeting) -> Self::Gather;
}

/// An [`Exchange`] whose gathers can also be looked at without waiting.
pub trait Gather: Exchange {
    /// The parts of the next gather, once nobody is waited for any more. The first call begins it, at `now_ns`, in any
    /// monotone time of the caller; each call until it is over names the same gather.
    ///
    /// # Errors
    /// As [`Exchange::all_gather`].
    fn poll(&mut self, now_ns: u64, what: &str, mine: &[u8]) -> Option<Result<Vec<Vec<u8>>, ExchangeError>>;

    /// When to look again at the latest, if a gather is under way.
    fn due_ns(&self, now_ns: u64) -> Option<u64>;
}

impl Net for Mesh {
    type Gather = MeshExchange;

    fn node(&self) -> NodeId {
        Mesh::node(self)
    }

    fn address(&self) -> SocketAddr {
        Mesh::address(self)
    }

    fn connect(&self, address: SocketAddr, node: Option<NodeId>) {
        Mesh::connect(self, address, node);
    }

    fn disconnect(&self, node: NodeId) {
        Mesh::disconnect(self, node);
    }

    fn send(&self, to: NodeId, bytes: &[u8]) -> Result<(), MeshSendError> {
        Mesh::send(self, to, bytes)
    }

    fn next(&self) -> Option<MeshEvent> {
        Mesh::next(self)
    }

    fn peers(&self) -> Vec<(NodeId, SocketAddr)> {
        Mesh::peers(self)
    }

    fn set_waker(&self, waker: Option<Waker>) {
        Mesh::set_waker(self, waker);
    }

    fn meet(&self, meeting: Meeting) -> MeshExchange {
        Mesh::meet(self, meeting)
    }
}
