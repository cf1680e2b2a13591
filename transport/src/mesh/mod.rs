//! Standing control connections between the processes of a group, over which they meet again when its view changes.
//!
//! The members of the first epoch meet at a [rendezvous](crate::exchange::RendezvousServer). Those of a later one
//! cannot wait for such a place, and some of them are gone: they meet over connections that stand already.
//!
//! ```text
//!   Mesh::open          one address, one thread, one connection with each other process
//!     connect(address)  -> Up | Unreachable        next, wait: what happened, in order
//!     send(node)        -> Message at the other    Down: that connection ended
//!     meet(members)     -> MeshExchange            Exchange::all_gather: parts go straight from each to each
//! ```
//!
//! ```text
//!   dialler                                  the other
//!      |  <- Noise, both prove the cluster key ->  |
//!      |  <- hello: node, address                  |
//!      |     hello ->                              |
//!      |  <- welcome, or why not                   |
//! ```
//!
//! If two processes dial each other at the same time, the one with the smaller [`NodeId`] keeps the other's hello until
//! its own is answered, and the other welcomes it: one connection stands at both sides, and nothing was queued on
//! another.
//!
//! A mesh of one host needs no IP: [`Mesh::open_local`] listens at a Unix socket, which its address only stands for.
//!
//! What it does not do: route, find processes, or connect again by itself after a [`Down`](MeshEvent::Down).

mod connection;
mod dial;
mod driver;
mod error;
mod event;
mod greeting;
mod meeting;
mod message;
mod net;
mod options;
mod parts;
mod shared;
mod stand_in;
#[cfg(test)]
mod tests;

pub use error::{MeshError, MeshSendError};
pub use event::MeshEvent;
pub use meeting::{Meeting, MeshExchange};
pub use net::{Gather, Net};
pub use options::MeshOptions;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::endpoint::Waker;
use crate::exchange::door::Door;
use crate::exchange::frame::HEADER_BYTES_MAX;
use crate::exchange::stream::Listener;
use crate::exchange::{BindError, ClusterKey, Place};
use crate::rank::NodeId;

use driver::Driver;
use shared::{Order, Shared};

/// One process' end of the connections.
///
/// All its methods may be called from any thread; none but [`wait`](Self::wait) and [`sleep`](Self::sleep) waits.
/// Dropping it closes all connections: what was queued is still said, for up to
/// [`farewell_timeout`](MeshOptions::farewell_timeout).
pub struct Mesh {
    node: NodeId,
    address: SocketAddr,
    payload_bytes_max: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Mesh {
    /// Listens at exactly `address` (port 0: the operating system chooses one) and starts the thread `squall-mesh`.
    ///
    /// # Errors
    /// [`MeshError`]; peers are told the address, so an unspecified one is refused.
    pub fn open(address: SocketAddr, key: &ClusterKey, node: NodeId, options: MeshOptions) -> Result<Self, MeshError> {
        Self::open_as(message::MESH_VERSION, address, key, node, options)
    }

    /// As [`open`](Self::open), for the processes of this host (and network namespace) alone, and without any IP: it
    /// listens at a Unix socket. Its address is one that leads nowhere, and means this socket to other meshes here.
    ///
    /// # Errors
    /// [`MeshError`].
    pub fn open_local(key: &ClusterKey, node: NodeId, options: MeshOptions) -> Result<Self, MeshError> {
        Self::open(stand_in::new(), key, node, options)
    }

    fn open_as(version: u8, address: SocketAddr, key: &ClusterKey, node: NodeId, options: MeshOptions) -> Result<Self, MeshError> {
        options.check()?;
        if address.ip().is_unspecified() {
            return Err(MeshError::Unspecified { address });
        }
        let (door, address) = listen(address).map_err(|reason| BindError::Listen { address: address.into(), reason })?;
        let system = |doing| move |reason| MeshError::System { doing, reason };
        let shared = Shared::new(&options).map_err(|errno| system("making an eventfd")(errno.into()))?;
        let shared = Arc::new(shared);
        let payload_bytes_max = options.frame_bytes_max - HEADER_BYTES_MAX;
        let driver = Driver::new(door, address, version, key.mesh_secret(), node, options, Arc::clone(&shared));
        let builder = thread::Builder::new().name("squall-mesh".to_owned());
        let thread = builder.spawn(move || driver.run()).map_err(system("starting its thread"))?;
        Ok(Self { node, address, payload_bytes_max, shared, thread: Some(thread) })
    }

    /// Who this process is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Wants a connection with the process that listens at `address`; with a `node`, it must be that one, and nothing
    /// happens if a connection with it stands or is being made.
    ///
    /// Tries again while nothing listens there, up to [`connect_timeout`](MeshOptions::connect_timeout). Ends in
    /// [`MeshEvent::Up`] or [`MeshEvent::Unreachable`].
    pub fn connect(&self, address: SocketAddr, node: Option<NodeId>) {
        self.shared.change(|state| state.connect(address, node));
    }

    /// Parts with a peer, or stops dialling it: what is queued is still said, then the connection is closed. No
    /// [`Down`](MeshEvent::Down) tells of it.
    pub fn disconnect(&self, node: NodeId) {
        self.shared.change(|state| state.disconnect(node));
    }

    /// Queues a message. Never waits.
    ///
    /// # Errors
    /// [`MeshSendError`].
    pub fn send(&self, to: NodeId, bytes: &[u8]) -> Result<(), MeshSendError> {
        self.shared.change(|state| state.send(to, bytes))
    }

    /// The next event, if any. Without one it costs one load, so it may be called in every turn of a hot loop.
    pub fn next(&self) -> Option<MeshEvent> {
        self.shared.next()
    }

    /// The next event; `None` if there is none until the deadline.
    pub fn wait(&self, deadline: Instant) -> Option<MeshEvent> {
        self.shared.wait(deadline)
    }

    /// Sleeps until an event waits, a meeting may have come further, a [`Mesh::waker`] calls, or the deadline; takes
    /// nothing. It may also return without a reason.
    pub fn sleep(&self, deadline: Instant) {
        self.shared.sleep(deadline);
    }

    /// A handle that ends the current or, if none, the next [`Mesh::sleep`] from another thread.
    pub fn waker(&self) -> Waker {
        let shared = Arc::clone(&self.shared);
        Waker::new(move || shared.stir())
    }

    /// Whom to wake whenever an event is put, at once too if one waits now; `None`: nobody.
    pub fn set_waker(&self, waker: Option<Waker>) {
        self.shared.change(|state| state.set_waker(waker));
    }

    /// The connections that stand: with whom, and where they listen.
    pub fn peers(&self) -> Vec<(NodeId, SocketAddr)> {
        self.shared.change(|state| state.peers.iter().map(|(&node, peer)| (node, peer.address)).collect())
    }

    /// Begins a meeting.
    ///
    /// # Panics
    /// If the rank of this process is not `me` in it, or two members are the same node.
    pub fn meet(&self, meeting: Meeting) -> MeshExchange {
        MeshExchange::new(self, meeting)
    }
}

fn listen(address: SocketAddr) -> io::Result<(Door, SocketAddr)> {
    let listener = Listener::bind(&stand_in::place(address))?;
    // A stand-in stays what it is; a port may have been chosen.
    let address = if let Place::Ip(bound) = listener.place()? { bound } else { address };
    Ok((Door::new(listener), address))
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.shared.change(|state| state.order(Order::Close));
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has said so, and its connections are closed.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("node", &self.node).field("address", &self.address).finish_non_exhaustive()
    }
}
