//! The topology as libhwloc 2 tells it.

use hwlocality::Topology as Hwloc;
use hwlocality::object::TopologyObject;
use hwlocality::object::attributes::ObjectAttributes;
use hwlocality::object::types::{BridgeType, OSDeviceType, ObjectType};
use hwlocality::topology::builder::TypeFilter;

use super::{Card, Core, Node, SharedCache, Topology};

const CACHES: [(u32, ObjectType); 4] =
    [(2, ObjectType::L2Cache), (3, ObjectType::L3Cache), (4, ObjectType::L4Cache), (5, ObjectType::L5Cache)];

/// Nothing if the library cannot tell.
pub(super) fn read() -> Option<Topology> {
    let found = Hwloc::builder().with_io_type_filter(TypeFilter::KeepImportant).ok()?.build().ok()?;
    let version = hwlocality::hwloc_api_version();
    Some(Topology { source: format!("hwloc {}.{}", version >> 16, version >> 8 & 0xff), ..of(&found) })
}

fn of(found: &Hwloc) -> Topology {
    let number = |object: &TopologyObject| object.os_index().unwrap_or(0) as u32;
    let core = |object: &TopologyObject| Core {
        package: object.first_ancestor_with_type(ObjectType::Package).map_or(0, number),
        cpus: cpus(object),
    };
    let cache = |level: u32, object: &TopologyObject| match object.attributes() {
        Some(ObjectAttributes::Cache(cache)) => {
            Some(SharedCache { level, bytes: cache.size().map_or(0, std::num::NonZeroU64::get), cpus: cpus(object) })
        }
        _ => None,
    };
    let node = |object: &TopologyObject| match object.attributes() {
        Some(ObjectAttributes::NUMANode(memory)) => {
            Some(Node { node: number(object), bytes: memory.local_memory().map_or(0, std::num::NonZeroU64::get), cpus: cpus(object) })
        }
        _ => None,
    };
    let of_level = |(level, kind)| found.objects_with_type(kind).filter_map(move |object| cache(level, object));
    let mut topology = Topology {
        source: String::new(),
        cores: found.objects_with_type(ObjectType::Core).map(core).collect(),
        caches: CACHES.into_iter().flat_map(of_level).collect(),
        nodes: found.objects_with_type(ObjectType::NUMANode).filter_map(node).collect(),
        cards: found.os_devices().filter_map(card).collect(),
    };
    topology.cores.sort_by_key(|core| core.cpus.first().copied());
    topology.nodes.sort_by_key(|node| node.node);
    topology.cards.sort_by(|a, b| (!a.is_rdma, &a.name).cmp(&(!b.is_rdma, &b.name)));
    topology
}

fn card(object: &TopologyObject) -> Option<Card> {
    let Some(ObjectAttributes::OSDevice(device)) = object.attributes() else { return None };
    let is_rdma = match device.device_type() {
        OSDeviceType::OpenFabrics => true,
        OSDeviceType::Network => false,
        _ => return None,
    };
    let slot = object.ancestors().find_map(|above| match above.attributes() {
        Some(ObjectAttributes::PCIDevice(slot)) => {
            Some(format!("{:04x}:{:02x}:{:02x}.{:x}", slot.domain(), slot.bus_id(), slot.bus_device(), slot.function()))
        }
        _ => None,
    })?;
    // The host's own bridge is where the processors begin.
    let is_between = |above: &&TopologyObject| match above.attributes() {
        Some(ObjectAttributes::Bridge(bridge)) => bridge.upstream_type() == BridgeType::PCI,
        _ => false,
    };
    let bridges = object.ancestors().filter(is_between).count() as u32;
    let near = object.first_non_io_ancestor().map_or_else(Vec::new, cpus);
    Some(Card { name: object.name()?.to_string_lossy().into_owned(), is_rdma, slot, bridges, near })
}

fn cpus(object: &TopologyObject) -> Vec<usize> {
    object.cpuset().map_or_else(Vec::new, |set| set.iter_set().map(usize::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hwloc_and_sysfs_tell_the_same_of_cores_and_cards() {
        let by_hwloc = read().expect("the library was there when this was built");
        let by_sysfs = Topology::from_root(std::path::Path::new("/"));
        assert!(by_hwloc.source.starts_with("hwloc 2."), "{}", by_hwloc.source);
        assert_eq!(by_hwloc.cores, by_sysfs.cores);
        let names = |topology: &Topology| topology.cards.iter().map(|card| (card.name.clone(), card.slot.clone())).collect::<Vec<_>>();
        assert_eq!(names(&by_hwloc), names(&by_sysfs));
    }

    #[test]
    fn a_synthetic_machine_has_its_packages_caches_and_nodes() {
        let machine = "pack:2 numa:1(memory=1GB) l3:1(size=8MB) core:2 pu:2";
        let found = of(&Hwloc::builder().from_synthetic(machine).unwrap().build().unwrap());
        assert_eq!((found.packages(), found.cores.len(), found.nodes.len()), (vec![0, 1], 4, 2));
        assert_eq!(found.cores[1].cpus.len(), 2);
        assert_eq!(found.caches.iter().filter(|cache| cache.level == 3).count(), 2);
        assert_eq!(found.node_of(5), Some(1));
    }
}
