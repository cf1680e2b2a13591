//! One process' simulated control connections.

use std::net::SocketAddr;

use super::connections::Shared;
use super::gather::SimGather;
use crate::endpoint::Waker;
use crate::mesh::{Meeting, MeshEvent, MeshSendError, Net};
use crate::rank::NodeId;

/// One process' control connections in virtual time: what [`Mesh`](crate::mesh::Mesh) is on sockets.
#[derive(Clone, Debug)]
pub struct SimNet {
    shared: Shared,
    number: usize,
    node: NodeId,
    address: SocketAddr,
}

impl SimNet {
    pub(super) fn new(shared: Shared, number: usize, node: NodeId, address: SocketAddr) -> SimNet {
        SimNet { shared, number, node, address }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// When something comes that is to be looked at; in the past if something waits.
    pub fn next_ns(&self) -> Option<u64> {
        self.shared.state().next_ns(self.number)
    }
}

impl Net for SimNet {
    type Gather = SimGather;

    fn node(&self) -> NodeId {
        self.node
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn connect(&self, address: SocketAddr, node: Option<NodeId>) {
        self.shared.state().connect(self.number, address, node, self.shared.now_ns());
    }

    fn disconnect(&self, node: NodeId) {
        self.shared.state().disconnect(self.number, node, self.shared.now_ns());
    }

    fn send(&self, to: NodeId, bytes: &[u8]) -> Result<(), MeshSendError> {
        self.shared.state().send(self.number, to, bytes, self.shared.now_ns())
    }

    fn next(&self) -> Option<MeshEvent> {
        self.shared.state().next(self.number, self.shared.now_ns())
    }

    fn peers(&self) -> Vec<(NodeId, SocketAddr)> {
        let mut state = self.shared.state();
        let end = &mut state.ends[self.number];
        end.settle(self.shared.now_ns());
        end.peers.iter().map(|(&node, peer)| (node, peer.address)).collect()
    }

    /// Nobody sleeps in virtual time.
    fn set_waker(&self, _waker: Option<Waker>) {}

    fn meet(&self, meeting: Meeting) -> SimGather {
        assert_eq!(meeting.nodes.get(meeting.me.index()), Some(&self.node), "this process meets under its own rank");
        SimGather::new(&self.shared, self.number, meeting)
    }
}
