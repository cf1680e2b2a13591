//! The topology as `/sys` tells it.

use super::super::tree::{Tree, list_of};
use super::{Card, Core, Node, SharedCache, Topology};
use crate::environment::cpu::bytes;
use crate::environment::memory::NumaNode;

const CPUS: &str = "sys/devices/system/cpu";
/// Caches of one core alone tell nothing of who is near to whom.
const LEVEL_MIN: u64 = 2;

pub(super) fn read(tree: &Tree) -> Topology {
    let nodes = NumaNode::read_all(tree);
    let nodes = nodes.into_iter().map(|node| Node { node: node.node, bytes: node.total_bytes, cpus: list_of(&node.cpus) });
    Topology { source: "sysfs".into(), cores: cores(tree), caches: caches(tree), nodes: nodes.collect(), cards: cards(tree) }
}

/// Numbers of the processors that the tree knows.
fn cpus(tree: &Tree) -> Vec<usize> {
    tree.names(CPUS).iter().filter_map(|name| name.strip_prefix("cpu")?.parse().ok()).collect()
}

fn cores(tree: &Tree) -> Vec<Core> {
    let mut cores: Vec<Core> = Vec::new();
    for cpu in cpus(tree) {
        let at = |file: &str| format!("{CPUS}/cpu{cpu}/topology/{file}");
        // What is off line has no such folder.
        let Some(package) = tree.number(&at("physical_package_id")) else { continue };
        let siblings = tree.text(&at("thread_siblings_list")).map_or_else(|| vec![cpu], |list| list_of(&list));
        if !cores.iter().any(|core| core.cpus.contains(&cpu)) {
            cores.push(Core { package: package as u32, cpus: siblings });
        }
    }
    cores
}

fn caches(tree: &Tree) -> Vec<SharedCache> {
    let mut caches: Vec<SharedCache> = Vec::new();
    for cpu in cpus(tree) {
        let folder = format!("{CPUS}/cpu{cpu}/cache");
        for name in tree.names(&folder).iter().filter(|name| name.starts_with("index")) {
            let at = |file: &str| format!("{folder}/{name}/{file}");
            let level = tree.number(&at("level")).unwrap_or(0);
            let size = tree.text(&at("size")).and_then(|size| bytes(&size));
            let (Some(size), true) = (size, level >= LEVEL_MIN) else { continue };
            let cpus = tree.text(&at("shared_cpu_list")).map_or_else(|| vec![cpu], |list| list_of(&list));
            let cache = SharedCache { level: level as u32, bytes: size, cpus };
            if !caches.contains(&cache) {
                caches.push(cache);
            }
        }
    }
    caches.sort_by_key(|cache| (cache.level, cache.cpus.first().copied()));
    caches
}

fn cards(tree: &Tree) -> Vec<Card> {
    let of = |class: &str, is_rdma: bool| -> Vec<Card> {
        let names = tree.names(class).into_iter();
        names.filter_map(|name| card(tree, &format!("{class}/{name}/device"), name, is_rdma)).collect()
    };
    [of("sys/class/infiniband", true), of("sys/class/net", false)].concat()
}

/// The card behind the link `device`; a device of no bus (loopback, a bridge, soft-RoCE) has none, or one without a
/// slot.
fn card(tree: &Tree, device: &str, name: String, is_rdma: bool) -> Option<Card> {
    let mut place = tree.real_path(device)?;
    // A virtio card lies below its slot.
    while !place.file_name().is_some_and(|last| is_slot(&last.to_string_lossy())) {
        if !place.pop() {
            return None;
        }
    }
    let slot = place.file_name()?.to_string_lossy().into_owned();
    let bridges = place.components().filter(|part| is_slot(&part.as_os_str().to_string_lossy())).count() as u32 - 1;
    let near = tree.text_of(&place.join("local_cpulist")).map_or_else(Vec::new, |list| list_of(&list));
    Some(Card { name, is_rdma, slot, bridges, near })
}

/// Whether a folder's name is an address on a PCI bus: `0000:41:00.0`.
fn is_slot(name: &str) -> bool {
    let parts: Vec<&str> = name.split([':', '.']).collect();
    let is_hex = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.len() == 4 && name.matches(':').count() == 2 && parts.iter().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::super::super::tree::fixture;
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn packages_cores_caches_and_cards_are_found_in_their_places() {
        let slot = "sys/devices/pci0000:40/0000:40:01.1/0000:41:00.0";
        let cpu = |cpu: usize, file: &str| format!("sys/devices/system/cpu/cpu{cpu}/{file}");
        let mut files: Vec<(String, String)> = Vec::new();
        for (number, siblings, package) in [(0, "0,2", "0"), (1, "1,3", "1"), (2, "0,2", "0"), (3, "1,3", "1")] {
            files.push((cpu(number, "topology/physical_package_id"), package.into()));
            files.push((cpu(number, "topology/thread_siblings_list"), siblings.into()));
            files.push((cpu(number, "cache/index0/level"), "1".into()));
            files.push((cpu(number, "cache/index0/size"), "32K".into()));
            files.push((cpu(number, "cache/index3/level"), "3".into()));
            files.push((cpu(number, "cache/index3/size"), "16M".into()));
            files.push((cpu(number, "cache/index3/shared_cpu_list"), siblings.into()));
        }
        files.push((format!("{slot}/local_cpulist"), "1,3".into()));
        files.push((format!("{slot}/infiniband/mlx5_0/fw_ver"), "1".into()));
        files.push((format!("{slot}/virtio0/net/eth0/mtu"), "1500".into()));
        files.push(("sys/devices/virtual/net/lo/mtu".into(), "65536".into()));
        files.push(("sys/devices/system/node/node1/cpulist".into(), "1,3".into()));
        let root = fixture(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>());
        let at = |path: &str| root.path().join(path);
        for (class, name, device) in [("infiniband", "mlx5_0", slot.to_owned()), ("net", "eth0", format!("{slot}/virtio0"))] {
            std::fs::create_dir_all(at(&format!("sys/class/{class}/{name}"))).unwrap();
            symlink(at(&device), at(&format!("sys/class/{class}/{name}/device"))).unwrap();
        }
        std::fs::create_dir_all(at("sys/class/net/lo")).unwrap();

        let found = Topology::from_root(root.path());
        assert_eq!(found.cores, [Core { package: 0, cpus: vec![0, 2] }, Core { package: 1, cpus: vec![1, 3] }]);
        assert_eq!(found.caches.iter().map(|cache| (cache.level, cache.bytes)).collect::<Vec<_>>(), [(3, 16 << 20), (3, 16 << 20)]);
        assert_eq!((found.packages(), found.node_of(3), found.node_of(0)), (vec![0, 1], Some(1), None));
        let cards: Vec<_> = found.cards.iter().map(|card| (card.name.as_str(), card.is_rdma, card.bridges)).collect();
        assert_eq!(cards, [("mlx5_0", true, 1), ("eth0", false, 1)]);
        assert!(found.cards.iter().all(|card| card.slot == "0000:41:00.0" && card.near == [1, 3]));
    }

    #[test]
    fn slots_are_told_from_other_folders() {
        for name in ["0000:41:00.0", "10000:e1:00.0"] {
            assert!(is_slot(name), "{name}");
        }
        for name in ["pci0000:40", "virtio0", "", "0000:41:00", "a.b.c.d"] {
            assert!(!is_slot(name), "{name}");
        }
    }
}
