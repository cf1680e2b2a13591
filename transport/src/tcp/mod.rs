//! Provider `tcp`: one socket a peer, everywhere the baseline.
//!
//! ```text
//!   post    headers, words and small Spans --> bytes of the peer's queue; large Spans by reference
//!   flush   one gathered send a peer: queue bytes and region ranges in wire order
//!   poll    one epoll_wait; one read a ready peer: the rest of a large Span straight into the region,
//!           what follows it into a staging buffer, from where headers, words and small Spans land
//! ```
//!
//! TCP keeps a link's bytes in order, so writes land in posting order (T1), and a Word is stored with release after everything before it.
//! A large Span is copied by the kernel alone: out of the sender's region and into the receiver's. What the peer sends is checked frame by frame; the first
//! bad frame breaks the link.
//!
//! The sockets of an endpoint that is [retired](crate::Fabric::retire) are kept for the next epoch, where the exchange knows its members by name.
//!
//! It does not encrypt, and it does not reconnect: a broken link stays broken for its epoch.

mod endpoint;
mod frame;
mod intake;
mod kept;
mod limits;
mod link;
mod meet;
mod queue;

pub use endpoint::TcpEndpoint;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kept::Kept;

use crate::endpoint::{Fabric, OpenError};
use crate::exchange::Exchange;
use crate::region::{Region, RegionError, RegionOptions};

/// Makes endpoints over TCP whose sockets all belong to one local address. Clones share the sockets that were kept from retired endpoints.
#[derive(Clone, Debug)]
pub struct TcpFabric {
    bind: IpAddr,
    kept: Arc<Mutex<Vec<Kept>>>,
}

impl TcpFabric {
    /// Data connections listen at, and are made from, `bind`, an address of this host that the other members reach.
    pub fn new(bind: IpAddr) -> TcpFabric {
        TcpFabric { bind, kept: Arc::default() }
    }
}

impl TcpFabric {
    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TcpFabric {
    /// Members on this host only.
    fn default() -> TcpFabric {
        TcpFabric::new(Ipv4Addr::LOCALHOST.into())
    }
}

impl Fabric for TcpFabric {
    type Endpoint = TcpEndpoint;

    fn name(&self) -> &'static str {
        "tcp"
    }

    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        Region::allocate(bytes, options)
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<TcpEndpoint, OpenError> {
        if self.bind.is_unspecified() {
            let why = format!("{} means all interfaces; name the one address that the members share", self.bind);
            return Err(OpenError::Unavailable { fabric: "tcp", why });
        }
        let me = exchange.node(exchange.rank());
        let kept = self.kept().extract_if(.., |kept| Some(kept.lasting.me) == me).collect();
        TcpEndpoint::open(self.bind, exchange, regions, kept)
    }

    fn retire(&self, endpoint: TcpEndpoint) {
        let kept = endpoint.retire();
        self.kept().extend(kept);
    }
}
