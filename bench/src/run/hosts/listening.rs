//! The first host's rendezvous, before anybody has come.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use squall_transport::exchange::{BindError, ClusterKey, RendezvousServer, ServerOptions};
use squall_transport::{NodeId, Ports, Rank};

use crate::jobs::frame::FRAME_BYTES_MAX;

/// What agents send around a node's frame.
const FRAME_MARGIN_BYTES: usize = 1 << 20;

/// A rendezvous that has its address and waits for nobody yet.
pub struct Listening {
    pub(super) server: RendezvousServer,
    pub(super) address: SocketAddr,
    pub(super) count: u32,
    pub(super) wait: Duration,
}

impl Listening {
    /// Listens at `address` for `count - 1` other hosts, for up to `wait`.
    ///
    /// # Errors
    /// If it cannot.
    pub fn at(address: SocketAddr, key: &ClusterKey, count: u32, wait: Duration) -> Result<Listening, BindError> {
        let frame_bytes_max = FRAME_BYTES_MAX + FRAME_MARGIN_BYTES;
        let options = ServerOptions { join_timeout: wait, frame_bytes_max, ..ServerOptions::new(count as usize) };
        let mut server = RendezvousServer::bind(address, key, options)?;
        server.seat(Rank(0), NodeId(u64::MAX)).expect("nobody has joined yet");
        Ok(Listening { address: server.local_addr(), server, count, wait })
    }

    /// As [`at`](Self::at), at one of `ports`.
    ///
    /// # Errors
    /// If it cannot.
    pub fn within(address: IpAddr, ports: Ports, key: &ClusterKey, count: u32, wait: Duration) -> Result<Listening, BindError> {
        ports.first_free(|port| Listening::at(SocketAddr::new(address, port), key, count, wait), is_taken)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Whether somebody else has the port.
fn is_taken(error: &BindError) -> bool {
    matches!(error, BindError::Listen { reason, .. } if reason.kind() == ErrorKind::AddrInUse)
}
