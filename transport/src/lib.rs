//! Registered memory and one-sided writes into it: the bottom of Squall.
//!
//! ```text
//!   Exchange            Fabric::open            Endpoint::post(to, Span | Word)
//!   who is there,  -->  links to every  -->     my Region ==> the peer's Region
//!   token, agree        other member
//! ```
//!
//! - [`region`]: memory that peers may write, rings and pools in it, and who may touch which byte when.
//! - [`write`](mod@write): the one verb's operand, [`Span`](write::Write::Span) (by reference) and
//!   [`Word`](write::Write::Word) (by value).
//! - [`endpoint`]: what a provider is, with rules T1 to T7.
//! - [`exchange`]: how members meet, prove themselves and swap addresses.
//! - [`mesh`]: standing connections between processes, over which they meet again when the group changes.
//! - Providers: [`shm`] (one host), [`tcp`] (everywhere), [`verbs`] (RDMA), [`sim`] (virtual time, unkind), [`model`]
//!   (virtual time, as long as hosts and network cards take).
//!
//! What it does not do: order messages, know senders, or retry anything; data on the wire is not encrypted.

#[cfg(not(loom))]
mod absent;
#[cfg(not(loom))]
mod address;
pub mod atomic;
#[cfg(not(loom))]
mod counted;
#[cfg(not(loom))]
pub mod endpoint;
#[cfg(not(loom))]
pub mod exchange;
#[cfg(not(loom))]
mod link_name;
#[cfg(not(loom))]
mod lost;
#[cfg(not(loom))]
pub mod mesh;
#[cfg(not(loom))]
pub mod model;
#[cfg(not(loom))]
pub mod outbox;
pub mod park;
#[cfg(not(loom))]
mod ports;
pub mod rank;
#[cfg(not(loom))]
pub mod region;
#[cfg(not(loom))]
pub mod shm;
#[cfg(not(loom))]
pub mod sim;
#[cfg(not(loom))]
pub mod tcp;
#[cfg(not(loom))]
pub mod verbs;
#[cfg(not(loom))]
mod within_host;
pub mod write;

#[cfg(not(loom))]
pub use address::{beside, loopback, own};
#[cfg(not(loom))]
pub use endpoint::{Endpoint, Event, Fabric, OpenError, QueueFull, Requests, Waker, WriteOrder};
#[cfg(not(loom))]
pub use exchange::Exchange;
#[cfg(not(loom))]
pub use lost::{LOST_AFTER, LOST_AFTER_MIN};
#[cfg(not(loom))]
pub use outbox::{Outbox, Written};
#[cfg(not(loom))]
pub use ports::{Ports, PortsError};
pub use rank::{NodeId, Rank};
#[cfg(not(loom))]
pub use region::{Region, RegionOptions};
#[cfg(not(loom))]
pub use within_host::unpaced_within_host;
pub use write::{POOL, Place, RegionId, TABLE, Write};
