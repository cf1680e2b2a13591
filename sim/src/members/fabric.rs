//! The data links of whole members: each meeting has a mesh of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use squall_transport::region::RegionError;
use squall_transport::sim::{LinkSpec, SimEndpoint, SimFabric, SimNetwork};
use squall_transport::{Exchange, Fabric, NodeId, OpenError, Rank, Region, RegionOptions, WriteOrder};

/// Who does not hear whom, and until when.
#[derive(Debug, Default)]
pub(super) struct Deaf(pub(super) Vec<(NodeId, NodeId, u64)>);

/// The meshes of all meetings, by the token that only their members know.
#[derive(Debug)]
pub(super) struct Meshes {
    clock: SimNetwork,
    link: LinkSpec,
    meshes: BTreeMap<[u8; 32], (SimNetwork, Vec<NodeId>)>,
    pub(super) deaf: Deaf,
}

impl Meshes {
    pub(super) fn new(clock: &SimNetwork, link: LinkSpec) -> Meshes {
        Meshes { clock: clock.clone(), link, meshes: BTreeMap::new(), deaf: Deaf::default() }
    }

    fn of(&mut self, exchange: &dyn Exchange) -> SimNetwork {
        let members = exchange.members();
        let nodes: Vec<NodeId> = (0..members).filter_map(|rank| exchange.node(Rank::new(rank))).collect();
        let (clock, link) = (&self.clock, self.link);
        let (mesh, _) = self.meshes.entry(*exchange.token()).or_insert_with(|| (clock.extend(members, link), nodes));
        let mesh = mesh.clone();
        for (from, to, until_ns) in self.deaf.0.clone() {
            self.hold(from, to, until_ns);
        }
        mesh
    }

    /// What `from` posts to `to` lands only then, in whatever view both are.
    pub(super) fn hold(&self, from: NodeId, to: NodeId, until_ns: u64) {
        for (mesh, nodes) in self.meshes.values() {
            let rank = |node| nodes.iter().position(|&member| member == node).map(Rank::new);
            if let (Some(from), Some(to)) = (rank(from), rank(to)) {
                mesh.hold(from, to, until_ns);
            }
        }
    }
}

/// One process' way into whatever mesh it meets in.
#[derive(Clone, Debug)]
pub(super) struct ColonyFabric {
    meshes: Rc<RefCell<Meshes>>,
    last: Rc<RefCell<Option<(SimNetwork, Rank)>>>,
}

impl ColonyFabric {
    pub(super) fn on(meshes: &Rc<RefCell<Meshes>>) -> ColonyFabric {
        ColonyFabric { meshes: Rc::clone(meshes), last: Rc::default() }
    }

    /// The mesh that it opened last, and its rank there.
    pub(super) fn last(&self) -> Option<(SimNetwork, Rank)> {
        self.last.borrow().clone()
    }
}

impl Fabric for ColonyFabric {
    type Endpoint = SimEndpoint;

    fn name(&self) -> &'static str {
        "sim"
    }

    fn severs(&self) -> bool {
        SimFabric::on(&self.meshes.borrow().clock).severs()
    }

    fn write_order(&self) -> WriteOrder {
        SimFabric::on(&self.meshes.borrow().clock).write_order()
    }

    fn region(&self, bytes: usize, _options: &RegionOptions) -> Result<Region, RegionError> {
        Region::allocate(bytes, &RegionOptions::default())
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<SimEndpoint, OpenError> {
        let mesh = self.meshes.borrow_mut().of(exchange);
        *self.last.borrow_mut() = Some((mesh.clone(), exchange.rank()));
        SimFabric::on(&mesh).open(exchange, regions)
    }
}
