//! The modelled fabric and its endpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::network::ModelNetwork;
use crate::endpoint::{Endpoint, Event, Fabric, OpenError, QueueFull, Requests, Waker};
use crate::exchange::Exchange;
use crate::rank::Rank;
use crate::region::{Region, RegionError, RegionOptions};
use crate::write::Write;

/// One member's way into a [`ModelNetwork`].
#[derive(Clone, Debug)]
pub struct ModelFabric {
    network: ModelNetwork,
}

impl ModelFabric {
    /// A fabric on `network`.
    pub fn on(network: &ModelNetwork) -> ModelFabric {
        ModelFabric { network: network.clone() }
    }
}

impl Fabric for ModelFabric {
    type Endpoint = ModelEndpoint;

    fn name(&self) -> &'static str {
        "model"
    }

    /// Reserved address space: what is never touched never becomes memory.
    fn region(&self, bytes: usize, _options: &RegionOptions) -> Result<Region, RegionError> {
        Region::reserve(bytes)
    }

    /// Returns at once, so that one thread can open all members in turn. All have opened before the first turn.
    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<ModelEndpoint, OpenError> {
        let (rank, members) = (exchange.rank(), self.network.members());
        if exchange.members() != members {
            let why = format!("the exchange has {} members, the modelled network {members}", exchange.members());
            return Err(OpenError::Unavailable { fabric: "model", why });
        }
        self.network.state().open(rank.index(), regions);
        Ok(ModelEndpoint { network: self.network.clone(), rank, members, woken: Arc::default() })
    }
}

/// One member's links in the model. What it posts leaves at the end of the member's turn ([`ModelNetwork::end_turn`]).
#[derive(Debug)]
pub struct ModelEndpoint {
    network: ModelNetwork,
    rank: Rank,
    members: usize,
    woken: Arc<AtomicBool>,
}

impl Endpoint for ModelEndpoint {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn members(&self) -> usize {
        self.members
    }

    #[inline]
    fn post(&mut self, to: Rank, write: Write) -> Result<(), QueueFull> {
        assert!(to != self.rank && to.index() < self.members, "rank {to} is no peer of mine");
        self.network.state().post(self.rank.index(), to.index(), write)
    }

    /// Nothing here: doorbells are the turn's end, when it is known how long the turn took.
    fn flush(&mut self) {}

    /// Nothing here: what has come was taken in when the turn began. No link breaks.
    fn poll(&mut self) -> Option<Event> {
        None
    }

    fn requests(&self) -> Requests {
        let counted = self.network.counted(self.rank);
        Requests { posted: counted.writes, doorbells: counted.doorbells }
    }

    fn backlog(&self) -> bool {
        self.network.state().has_backlog(self.rank.index())
    }

    fn arm(&mut self) {}

    fn disarm(&mut self) {}

    /// Returns at once: the owner of the members decides when the next turn is.
    fn park(&mut self, _timeout: Duration) {
        // Relaxed: the flag publishes nothing but itself.
        self.woken.store(false, Ordering::Relaxed);
    }

    fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::new(move || woken.store(true, Ordering::Relaxed))
    }
}
