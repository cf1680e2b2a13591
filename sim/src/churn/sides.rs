//! Two sides that do not hear each other.

use std::collections::BTreeSet;

use squall_transport::sim::SimNetwork;
use squall_transport::{NodeId, Rank};

use super::fault::{Partition, PartitionEnd};

/// Two sides that do not hear each other, in whatever views they are.
#[derive(Debug)]
pub(crate) struct Sides {
    apart: BTreeSet<NodeId>,
    partition: Partition,
    /// [`SimNetwork::FOREVER_NS`] if it never ends.
    pub(crate) until_ns: u64,
}

impl Sides {
    pub(crate) fn new(apart: BTreeSet<NodeId>, partition: Partition, now_ns: u64) -> Sides {
        let until_ns = if partition.end == PartitionEnd::Stays { SimNetwork::FOREVER_NS } else { now_ns + partition.lasts_ns };
        Sides { apart, partition, until_ns }
    }

    /// Whether these two cannot talk to each other.
    pub(crate) fn divide(&self, one: NodeId, other: NodeId) -> bool {
        self.apart.contains(&one) != self.apart.contains(&other)
    }

    /// Whether it is on the side that was taken apart.
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.apart.contains(&node)
    }

    /// Whether it never ends.
    pub(crate) fn stays(&self) -> bool {
        self.partition.end == PartitionEnd::Stays
    }

    /// One more process, on the side that was taken apart.
    pub(crate) fn add(&mut self, node: NodeId) {
        self.apart.insert(node);
    }

    /// Holds the links of a view across.
    pub(crate) fn hold(&self, network: &SimNetwork, nodes: &[NodeId]) {
        for (from, to) in self.across(nodes) {
            network.hold(from, to, self.until_ns);
            if !self.partition.one_way {
                network.hold(to, from, self.until_ns);
            }
        }
    }

    /// It is over.
    pub(crate) fn end<'a>(&self, meshes: impl Iterator<Item = (&'a SimNetwork, &'a [NodeId])>) {
        if self.partition.end == PartitionEnd::Breaks {
            for (network, nodes) in meshes {
                self.across(nodes).for_each(|(from, to)| network.cut(from, to, 50_000));
            }
        }
    }

    /// Ranks on the one side, each with each of the other side.
    fn across<'a>(&'a self, nodes: &'a [NodeId]) -> impl Iterator<Item = (Rank, Rank)> + 'a {
        let ranks = move |apart: bool| (0..nodes.len()).filter(move |&rank| self.has(nodes[rank]) == apart).map(Rank::new);
        ranks(true).flat_map(move |from| ranks(false).map(move |to| (from, to)))
    }
}
