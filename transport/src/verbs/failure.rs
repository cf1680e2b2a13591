//! Why a link is down.

use std::fmt;
use std::io;

use super::abi;

/// Why a link to a peer is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It said that it leaves.
    Farewell,
    /// A request failed: the status and the vendor's code.
    Completion {
        /// `enum ibv_wc_status`.
        status: i32,
        /// What only the vendor knows.
        vendor: u32,
    },
    /// The device took no request: an error number.
    Post(i32),
    /// It counted what cannot be: see [`WriteOrder::Counted`](crate::WriteOrder::Counted).
    Uncountable,
    /// The device reported the queue pair or itself failed, or that the port is down, and it stayed so.
    Device,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Failure::Farewell => f.write_str("it left"),
            Failure::Completion { status: abi::RETRY_EXCEEDED, .. } => f.write_str(
                "it does not answer (retries exceeded): it is gone, the network between is down, its GID or path MTU is wrong, \
                 or its UDP port 4791 is filtered",
            ),
            Failure::Completion { status: abi::RNR_RETRY_EXCEEDED, .. } => f.write_str("it posts no receives (RNR retries exceeded)"),
            Failure::Completion { status: abi::REMOTE_ACCESS_ERROR, .. } => {
                f.write_str("it refuses access to its memory: its registration is gone, so it probably left")
            }
            Failure::Completion { status: abi::FLUSHED, .. } => f.write_str("its queue pair is in the error state (flushed)"),
            Failure::Completion { status, vendor } => write!(f, "a request failed with status {status} (vendor code {vendor:#x})"),
            Failure::Post(errno) => write!(f, "the device takes no requests: {}", io::Error::from_raw_os_error(errno)),
            Failure::Uncountable => f.write_str("it counted writes as no member does: it runs another version, or its memory is broken"),
            Failure::Device => f.write_str("the device reported it failed, or its port has been down for longer than a peer may be silent"),
        }
    }
}
