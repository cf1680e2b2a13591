//! Provider `shm`: one host, many processes. Regions are memfds passed over Unix sockets; a post is a copy into the peer's mapping.
//!
//! ```text
//!   my Region --post(Span): copy--> peer's Region, mapped here
//!   flush: is the peer asleep? its bell (a futex word in a memfd of its own) says so; wake it
//!   the Unix socket that carried the memfds stays open: its hang-up is the peer's end
//! ```
//!
//! Sockets have abstract names that are new each time, so a killed run leaves nothing stale behind: memfds and sockets end with
//! the last process that holds them.

mod bell;
mod endpoint;
mod fence;
mod link;
mod watch;

pub use endpoint::ShmEndpoint;

use crate::endpoint::{Fabric, OpenError};
use crate::exchange::Exchange;
use crate::region::{Region, RegionError, RegionOptions};

/// The shared-memory fabric of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShmFabric;

impl ShmFabric {
    /// The shared-memory fabric of this host.
    pub fn new() -> ShmFabric {
        ShmFabric
    }
}

impl Fabric for ShmFabric {
    type Endpoint = ShmEndpoint;

    fn name(&self) -> &'static str {
        "shm"
    }

    /// A peer writes by its own mapping, which nobody can take from it.
    fn severs(&self) -> bool {
        false
    }

    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        Region::allocate(bytes, options)
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<ShmEndpoint, OpenError> {
        let bell = bell::Bell::new()?;
        let fenceable = fence::register();
        let met = link::connect(exchange, regions, &bell, fenceable)?;
        ShmEndpoint::new(exchange.rank(), regions.to_vec(), bell, met, fenceable)
    }
}
