//! What was chosen, once it is open.

use std::net::IpAddr;
use std::sync::Arc;

use super::choose::Choice;
use super::device::Device;

/// A device that was chosen and opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) device: Arc<Device>,
    pub(super) choice: Choice,
    /// The address that connections are made from, where the connection manager makes them.
    pub(super) address: Option<IpAddr>,
}
