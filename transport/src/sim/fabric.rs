//! The simulated fabric and its endpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::link::LinkSpec;
use super::network::SimNetwork;
use crate::endpoint::{Endpoint, Event, Fabric, OpenError, QueueFull, Waker, WriteOrder};
use crate::exchange::Exchange;
use crate::rank::Rank;
use crate::region::{Region, RegionError, RegionOptions};
use crate::write::{RegionId, Write};

/// One member's way into a [`SimNetwork`].
#[derive(Clone, Debug)]
pub struct SimFabric {
    network: SimNetwork,
}

impl SimFabric {
    /// A network of `members` with equal links, and each member's fabric by rank.
    pub fn mesh(seed: u64, members: usize, link: LinkSpec) -> (SimNetwork, Vec<SimFabric>) {
        let network = SimNetwork::new(seed, members, link);
        let fabrics = (0..members).map(|_| SimFabric::on(&network)).collect();
        (network, fabrics)
    }

    /// A member's fabric on a network that is there: for members that come one by one.
    pub fn on(network: &SimNetwork) -> SimFabric {
        SimFabric { network: network.clone() }
    }
}

impl Fabric for SimFabric {
    type Endpoint = SimEndpoint;

    fn name(&self) -> &'static str {
        "sim"
    }

    fn severs(&self) -> bool {
        !self.network.state().is_mapped()
    }

    fn write_order(&self) -> WriteOrder {
        if self.network.state().is_counted() { WriteOrder::Counted } else { WriteOrder::Ordered }
    }

    /// Plain memory: where it lies does not matter in virtual time.
    fn region(&self, bytes: usize, _options: &RegionOptions) -> Result<Region, RegionError> {
        Region::allocate(bytes, &RegionOptions::default())
    }

    /// Returns at once, so that one thread can open all members in turn. What is posted to a member before it has
    /// opened waits for that. Absent members are those that the exchange does without; a member that another opened
    /// without is told so.
    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<SimEndpoint, OpenError> {
        let (rank, members) = (exchange.rank(), self.network.members());
        if exchange.members() != members {
            let why = format!("the exchange has {} members, the simulated network {members}", exchange.members());
            return Err(OpenError::Unavailable { fabric: "sim", why });
        }
        let node = self.network.node(rank);
        let is_absent = |peer: &Rank| exchange.patience().is_some() && *peer != rank && exchange.is_absent(*peer);
        let absent: Vec<Rank> = (0..members).map(Rank::new).filter(is_absent).collect();
        let mut state = self.network.state();
        state.open(node, regions);
        absent.iter().for_each(|&absent| state.shut_out(node, self.network.node(absent)));
        drop(state);
        Ok(SimEndpoint { network: self.network.clone(), rank, node, members, absent, woken: Arc::default() })
    }
}

/// One member's links in virtual time.
#[derive(Debug)]
pub struct SimEndpoint {
    network: SimNetwork,
    rank: Rank,
    node: usize,
    members: usize,
    /// Members that it was opened without.
    absent: Vec<Rank>,
    woken: Arc<AtomicBool>,
}

impl SimEndpoint {
    /// The network it is part of.
    pub fn network(&self) -> &SimNetwork {
        &self.network
    }
}

impl Endpoint for SimEndpoint {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn members(&self) -> usize {
        self.members
    }

    /// Members open one after another, so a peer's regions may not be there yet. In a simulation all members keep the
    /// rules.
    fn region_bytes(&self, _rank: Rank, _region: RegionId) -> Option<u64> {
        Some(u64::MAX)
    }

    fn post(&mut self, to: Rank, write: Write) -> Result<(), QueueFull> {
        let to = self.network.node(to);
        let mut state = self.network.state();
        state.pass_call_time();
        state.post(self.node, to, write)
    }

    fn flush(&mut self) {
        self.network.state().flush(self.node);
    }

    fn poll(&mut self) -> Option<Event> {
        let mut state = self.network.state();
        state.pass_call_time();
        state.apply(self.node);
        state.take_event(self.node)
    }

    fn down_reason(&self, rank: Rank) -> Option<String> {
        self.absent.contains(&rank).then(|| "it did not come to this epoch".to_owned())
    }

    fn allowance(&self, to: Rank) -> u64 {
        let to = self.network.node(to);
        self.network.state().allowance(self.node, to)
    }

    fn arm(&mut self) {
        self.network.state().forget_news(self.node);
    }

    fn disarm(&mut self) {}

    /// Lets virtual time pass until there is a reason to look.
    fn park(&mut self, timeout: Duration) {
        // Relaxed: the flag publishes nothing but itself.
        if self.woken.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut state = self.network.state();
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = state.now_ns().saturating_add(timeout_ns);
        state.wait(self.node, until_ns);
    }

    /// Ends the next [`park`](Endpoint::park); one that runs is virtual time passing and over before anyone could call.
    fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::new(move || woken.store(true, Ordering::Relaxed))
    }
}

impl Drop for SimEndpoint {
    fn drop(&mut self) {
        self.network.state().close(self.node);
    }
}
