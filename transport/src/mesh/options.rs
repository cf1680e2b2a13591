//! Limits of a mesh.

use std::time::Duration;

use crate::exchange::frame::HEADER_BYTES_MAX;
use crate::exchange::{BindError, FRAME_BYTES_MAX, MEMBERS_MAX};
use crate::lost::LOST_AFTER;

const FRAME_BYTES_MIN: usize = 16 << 10;
const QUEUE_BYTES_MAX: usize = 1 << 30;

/// What a waiting message counts beside its bytes, so that empty ones are bounded too.
pub(super) const MESSAGE_COST_BYTES: usize = 64;

const _: () = assert!(MESSAGE_COST_BYTES <= HEADER_BYTES_MAX && FRAME_BYTES_MAX <= QUEUE_BYTES_MAX);

/// Limits of a mesh.
#[derive(Clone, Debug)]
pub struct MeshOptions {
    /// The longest frame either side of a connection may send, in bytes; the smaller one of the two sides counts. A
    /// message or a part of a gather is up to 256 bytes shorter.
    pub frame_bytes_max: usize,
    /// Bytes that may wait to be sent to one peer; at least `frame_bytes_max`. Each message counts 64 bytes more than
    /// it has.
    pub unsent_bytes_max: usize,
    /// Bytes of one peer's messages that may wait to be taken before its socket is no longer read; at least
    /// `frame_bytes_max`. It is passed by what one turn reads, and doubled while a meeting runs, so that messages do
    /// not hold up gathers.
    pub unread_bytes_max: usize,
    /// The most connections that stand or are being dialled at once.
    pub peers_max: usize,
    /// How long one [`connect`](super::Mesh::connect) tries.
    pub connect_timeout: Duration,
    /// From accepting a connection to its hello.
    pub handshake_timeout: Duration,
    /// How long what was queued may take to be said after [`disconnect`](super::Mesh::disconnect) or when the mesh is
    /// dropped.
    pub farewell_timeout: Duration,
    /// How long a peer's host may be silent before the connection with it is down: a pulled cable, a host without
    /// power. At least [`LOST_AFTER_MIN`](crate::LOST_AFTER_MIN). A peer that takes nothing for as long while something
    /// waits to be sent to it is down too.
    pub lost_after: Duration,
}

impl Default for MeshOptions {
    /// Frames of 1 MiB, 4 MiB a peer and direction, 256 peers, 5 s to connect and to shake hands, 1 s to part,
    /// [`LOST_AFTER`](crate::LOST_AFTER).
    fn default() -> Self {
        Self {
            frame_bytes_max: 1 << 20,
            unsent_bytes_max: 4 << 20,
            unread_bytes_max: 4 << 20,
            peers_max: 256,
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            farewell_timeout: Duration::from_secs(1),
            lost_after: LOST_AFTER,
        }
    }
}

impl MeshOptions {
    pub(super) fn check(&self) -> Result<(), BindError> {
        check("frame_bytes_max", self.frame_bytes_max, FRAME_BYTES_MIN, FRAME_BYTES_MAX)?;
        check("unsent_bytes_max", self.unsent_bytes_max, self.frame_bytes_max, QUEUE_BYTES_MAX)?;
        check("unread_bytes_max", self.unread_bytes_max, self.frame_bytes_max, QUEUE_BYTES_MAX)?;
        check("peers_max", self.peers_max, 1, MEMBERS_MAX)
    }
}

fn check(name: &'static str, value: usize, min: usize, max: usize) -> Result<(), BindError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(BindError::Option { name, value, min, max }) }
}
