//! Provider `tcp`: one socket a peer, everywhere the baseline.
//!
//! ```text
//!   post    headers, words and small Spans --> bytes of the peer's queue; large Spans by reference
//!   flush   one gathered send a peer: queue bytes and region ranges in wire order
//!   poll    one epoll_wait; one read a ready peer: the rest of a large Span straight into the region,
//!           what follows it into a staging buffer, from where headers, words and small Spans land
//! ```
//!
//! TCP keeps a link's bytes in order, so writes land in posting order (T1), and a Word is stored with release after
//! everything before it. A large Span is copied by the kernel alone: out of the sender's region and into the
//! receiver's. What the peer sends is checked frame by frame; the first bad frame breaks the link.
//!
//! The sockets of an endpoint that is [retired](crate::Fabric::retire) are kept for the next epoch, where the exchange
//! knows its members by name.
//!
//! A peer whose process ends is down at once: its sockets close. One whose host falls silent (a pulled cable, no power)
//! is down within [`lost_after`](TcpFabric::lost_after), whether anything is sent or not; the kernel keeps that time.
//!
//! It does not encrypt, and it does not reconnect: a broken link stays broken for its epoch.

mod announcement;
mod count;
mod dialled;
mod drain;
mod endpoint;
mod frame;
mod hello;
mod intake;
mod kept;
mod limits;
mod link;
mod meet;
mod meeting;
mod queue;
mod socket;

pub use endpoint::TcpEndpoint;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kept::Kept;
use meet::Ends;

use crate::address::loopback;
use crate::endpoint::{Fabric, OpenError};
use crate::exchange::Exchange;
use crate::lost::LOST_AFTER;
use crate::ports::Ports;
use crate::region::{Region, RegionError, RegionOptions};

/// Makes endpoints over TCP whose sockets all belong to one local address. Clones share the sockets that were kept from
/// retired endpoints.
#[derive(Clone, Debug)]
pub struct TcpFabric {
    /// None: the loopback address that works.
    bind: Option<IpAddr>,
    ports: Ports,
    lost_after: Duration,
    kept: Arc<Mutex<Vec<Kept>>>,
}

impl TcpFabric {
    /// Data connections listen at, and are made from, `bind`, an address of this host that the other members reach.
    pub fn new(bind: IpAddr) -> TcpFabric {
        TcpFabric { bind: Some(bind), ports: Ports::ANY, lost_after: LOST_AFTER, kept: Arc::default() }
    }

    /// A peer is down once its host was silent for `lost_after` ([`LOST_AFTER`] unless it is said, at least
    /// [`LOST_AFTER_MIN`](crate::LOST_AFTER_MIN)): its cable was pulled, it has no power. So is a peer that takes
    /// nothing for as long while something waits to be sent to it.
    pub fn lost_after(self, lost_after: Duration) -> TcpFabric {
        TcpFabric { lost_after, ..self }
    }

    /// Data connections are listened for at one of `ports`, which a firewall lets through.
    pub fn ports(self, ports: Ports) -> TcpFabric {
        TcpFabric { ports, ..self }
    }
}

impl TcpFabric {
    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TcpFabric {
    /// Members on this host only: at the [loopback] address that works.
    fn default() -> TcpFabric {
        TcpFabric { bind: None, ports: Ports::ANY, lost_after: LOST_AFTER, kept: Arc::default() }
    }
}

impl Fabric for TcpFabric {
    type Endpoint = TcpEndpoint;

    fn name(&self) -> &'static str {
        "tcp"
    }

    fn has_links(&self) -> bool {
        true
    }

    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        Region::allocate(bytes, options)
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<TcpEndpoint, OpenError> {
        let unavailable = |why| OpenError::Unavailable { fabric: "tcp", why };
        let without =
            |error| unavailable(format!("no loopback address can be used ({error}): set its interface up (ip link set lo up), or use shm"));
        let bind = self.bind.map_or_else(|| loopback().map_err(without), Ok)?;
        if bind.is_unspecified() {
            return Err(unavailable(format!("{bind} means all interfaces; name the one address that the members share")));
        }
        let me = exchange.node(exchange.rank());
        let kept = self.kept().extract_if(.., |kept| Some(kept.link_name.me) == me).collect();
        TcpEndpoint::open(&Ends { bind, ports: self.ports, lost_after: self.lost_after }, exchange, regions, kept)
    }

    fn retire(&self, endpoint: TcpEndpoint) {
        let kept = endpoint.retire();
        self.kept().extend(kept);
    }
}
