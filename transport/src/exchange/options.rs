//! Limits of a rendezvous.

use std::io;
use std::time::Duration;

use super::frame::HEADER_BYTES_MAX;
use super::place::Place;
use crate::lost::LOST_AFTER;

/// The most members that one rendezvous serves.
pub const MEMBERS_MAX: usize = 1024;
/// The longest frame that options may allow.
pub const FRAME_BYTES_MAX: usize = 256 << 20;

/// The shortest frame limit that options may set: a frame that names all members must fit.
const FRAME_BYTES_MIN: usize = 16 << 10;

const _: () = assert!(MEMBERS_MAX * size_of::<u32>() + 2 * HEADER_BYTES_MAX <= FRAME_BYTES_MIN);
const _: () = assert!(MEMBERS_MAX <= u16::MAX as usize && FRAME_BYTES_MAX <= u32::MAX as usize);

/// Limits of a rendezvous.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// How many members the epoch has, `1..=MEMBERS_MAX`.
    pub members: usize,
    /// From accepting a connection to its hello.
    pub handshake_timeout: Duration,
    /// From binding to the last member's hello.
    pub join_timeout: Duration,
    /// From the first part of a gather to its last, once all have joined.
    pub gather_timeout: Duration,
    /// The longest frame either side may send, in bytes: a control message, or all parts of one gather together.
    pub frame_bytes_max: usize,
    /// How long a host may be silent before its connection is given up, at both ends: a pulled cable, a host without
    /// power. At least [`LOST_AFTER_MIN`](crate::LOST_AFTER_MIN). A member that reads nothing for as long while
    /// something waits to be sent to it is given up too.
    pub lost_after: Duration,
}

impl ServerOptions {
    /// The usual limits for `members` members: 5 s to shake hands, 30 s to join, 60 s to gather, frames of 16 MiB,
    /// [`LOST_AFTER`](crate::LOST_AFTER).
    pub fn new(members: usize) -> Self {
        Self {
            members,
            handshake_timeout: Duration::from_secs(5),
            join_timeout: Duration::from_secs(30),
            gather_timeout: Duration::from_secs(60),
            frame_bytes_max: 16 << 20,
            lost_after: LOST_AFTER,
        }
    }
}

impl ServerOptions {
    pub(super) fn check(&self) -> Result<(), BindError> {
        check("members", self.members, 1, MEMBERS_MAX)?;
        check("frame_bytes_max", self.frame_bytes_max, FRAME_BYTES_MIN, FRAME_BYTES_MAX)
    }

    /// The most that one message may carry, in bytes.
    pub(super) fn payload_bytes_max(&self) -> usize {
        self.frame_bytes_max - HEADER_BYTES_MAX
    }

    /// How long a member waits for a gather before it gives the rendezvous up: longer than the rendezvous itself waits,
    /// so that members are told why rather than left to guess.
    pub(super) fn patience(&self) -> Duration {
        const MARGIN: Duration = Duration::from_secs(5);
        self.join_timeout.saturating_add(self.gather_timeout).saturating_add(MARGIN)
    }
}

/// Why a rendezvous cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {reason} (is it an address of this host, and its port free?)")]
    Listen {
        /// The address that was given.
        address: Place,
        /// What the operating system says.
        reason: io::Error,
    },
    /// An option is out of its range.
    #[error("{name} is {value}, not within {min}..={max}")]
    Option {
        /// Which.
        name: &'static str,
        /// What was given.
        value: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
}

fn check(name: &'static str, value: usize, min: usize, max: usize) -> Result<(), BindError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(BindError::Option { name, value, min, max }) }
}
