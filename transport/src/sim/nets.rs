//! The simulated control connections of all processes, and what may happen to them.

use super::connections::{NetSpec, Shared};
use super::net::SimNet;
use super::network::SimNetwork;
use crate::rank::NodeId;

/// All processes' control connections. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct SimNets {
    shared: Shared,
}

impl SimNets {
    /// None yet, in the time of `clock`.
    pub fn new(seed: u64, spec: NetSpec, clock: &SimNetwork) -> SimNets {
        SimNets { shared: Shared::new(seed, spec, clock) }
    }

    /// A process of this name begins to listen, at an address of its own.
    pub fn open(&self, node: NodeId) -> SimNet {
        let (number, address) = self.shared.state().open(node);
        SimNet::new(self.shared.clone(), number, node, address)
    }

    /// The process ends. Its peers are told; of what it said last a part is lost. Not `told`: its host is gone, and
    /// nobody is told anything.
    pub fn end(&self, net: &SimNet, told: bool) {
        self.shared.state().end(net.number(), told, self.shared.now_ns());
    }

    /// The process neither answers dials nor takes anything until then.
    pub fn stop(&self, net: &SimNet, until_ns: u64) {
        self.shared.state().stop(net.number(), until_ns);
    }

    /// The connection between two processes breaks, and both are told; of what is on its way a part is lost. Whether
    /// there was one.
    pub fn cut(&self, one: NodeId, other: NodeId) -> bool {
        self.shared.state().cut(one, other, self.shared.now_ns())
    }

    /// Messages that were refused so far because too much waited for their receiver.
    pub fn refused(&self) -> u64 {
        self.shared.state().refused()
    }

    /// What `from` says to `to` from now on comes only after `until_ns`; nobody is told. [`SimNetwork::FOREVER_NS`]:
    /// never.
    pub fn hold(&self, from: NodeId, to: NodeId, until_ns: u64) {
        self.shared.state().hold(from, to, until_ns);
    }
}
