//! What the kernel tells of RDMA devices in `/sys`: ports, GIDs, network interfaces, NUMA nodes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// How a port's packets look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// InfiniBand: local identifiers, given by a subnet manager.
    InfiniBand,
    /// RDMA over Converged Ethernet.
    Roce,
    /// RDMA over TCP; connections come by `librdmacm` alone.
    Iwarp,
}

impl std::fmt::Display for LinkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LinkKind::InfiniBand => "InfiniBand",
            LinkKind::Roce => "RoCE",
            LinkKind::Iwarp => "iWARP",
        })
    }
}

/// One entry of a port's table of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gid {
    /// Its place in the table.
    pub index: u8,
    /// The address.
    pub raw: [u8; 16],
    /// Whether packets under it are UDP (RoCE v2).
    pub v2: bool,
    /// The network interface behind it.
    pub interface: Option<String>,
}

impl Gid {
    /// The IP address that it stands for on Ethernet.
    pub fn address(&self) -> IpAddr {
        let v6 = Ipv6Addr::from(self.raw);
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
    }

    /// Its IPv4 address, if it stands for one.
    pub fn v4(&self) -> Option<Ipv4Addr> {
        Ipv6Addr::from(self.raw).to_ipv4_mapped()
    }
}

/// One port of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its number, from 1.
    pub number: u8,
    /// Whether it carries traffic.
    pub active: bool,
    /// Its state as the kernel calls it: `ACTIVE`, `DOWN`, `INIT`, `ARMED`.
    pub state: String,
    /// How its packets look.
    pub link: LinkKind,
    /// Its addresses that are not empty.
    pub gids: Vec<Gid>,
}

/// One RDMA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name: `mlx5_0`, `rxe0`.
    pub name: String,
    /// The NUMA node of its slot.
    pub numa_node: Option<u32>,
    /// Its ports.
    pub ports: Vec<PortInfo>,
}

impl std::fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        for port in &self.ports {
            write!(f, " port {} {} {}", port.number, port.link, port.state)?;
            if let Some(gid) = port.gids.iter().find(|gid| gid.v4().is_some()) {
                write!(f, " {}", gid.address())?;
            }
        }
        match self.numa_node {
            Some(node) => write!(f, " (NUMA node {node})"),
            None => Ok(()),
        }
    }
}

/// A tree that looks like `/sys`.
#[derive(Clone, Debug)]
pub(super) struct Tree(PathBuf);

impl Tree {
    /// This machine's.
    pub(super) fn system() -> Tree {
        Tree("/sys".into())
    }

    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Tree {
        Tree(root.into())
    }

    /// All RDMA devices, by name.
    pub(super) fn devices(&self) -> Vec<DeviceInfo> {
        let class = self.0.join("class/infiniband");
        let mut devices: Vec<_> = entries(&class).into_iter().map(|name| device(&class.join(&name), name)).collect();
        devices.sort_by(|a, b| a.name.cmp(&b.name));
        devices
    }

    /// The NUMA node that all of `cpus` belong to, if they do.
    pub(super) fn node_of(&self, cpus: &[usize]) -> Option<u32> {
        let nodes = self.0.join("devices/system/node");
        let mut found = entries(&nodes).into_iter().filter_map(|name| {
            let node: u32 = name.strip_prefix("node")?.parse().ok()?;
            let list = cpu_list(&text(&nodes.join(&name).join("cpulist"))?);
            cpus.iter().any(|cpu| list.contains(cpu)).then_some(node)
        });
        found.next().filter(|_| found.next().is_none())
    }

    /// How far `to` is from `from`, as the firmware says: 10 is near.
    pub(super) fn distance(&self, from: u32, to: u32) -> Option<u32> {
        let distances = text(&self.0.join(format!("devices/system/node/node{from}/distance")))?;
        distances.split_whitespace().nth(to as usize)?.parse().ok()
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(read) = fs::read_dir(folder) else {
        return Vec::new();
    };
    read.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Numbers of a list like `0-3,8`.
fn cpu_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn device(folder: &Path, name: String) -> DeviceInfo {
    let iwarp = text(&folder.join("node_type")).is_some_and(|kind| kind.starts_with("4:"));
    let numa_node = text(&folder.join("device/numa_node")).and_then(|node| node.parse().ok());
    let ports = folder.join("ports");
    let mut numbers: Vec<u8> = entries(&ports).iter().filter_map(|port| port.parse().ok()).collect();
    numbers.sort_unstable();
    let ports = numbers.into_iter().map(|number| port(&ports.join(number.to_string()), number, iwarp)).collect();
    DeviceInfo { name, numa_node, ports }
}

fn port(folder: &Path, number: u8, iwarp: bool) -> PortInfo {
    // "4: ACTIVE"
    let state = text(&folder.join("state")).unwrap_or_default();
    let state = state.split_once(": ").map_or(state.as_str(), |(_, name)| name).to_owned();
    let link = match text(&folder.join("link_layer")).as_deref() {
        _ if iwarp => LinkKind::Iwarp,
        Some("InfiniBand") => LinkKind::InfiniBand,
        _ => LinkKind::Roce,
    };
    let mut indices: Vec<u8> = entries(&folder.join("gids")).iter().filter_map(|index| index.parse().ok()).collect();
    indices.sort_unstable();
    let gids = indices.into_iter().filter_map(|index| gid(folder, index)).collect();
    PortInfo { number, active: state == "ACTIVE", state, link, gids }
}

fn gid(port: &Path, index: u8) -> Option<Gid> {
    let raw = parse_gid(&text(&port.join(format!("gids/{index}")))?)?;
    if raw == [0; 16] {
        return None;
    }
    let v2 = text(&port.join(format!("gid_attrs/types/{index}"))).is_some_and(|kind| kind.contains("v2"));
    let interface = text(&port.join(format!("gid_attrs/ndevs/{index}"))).filter(|name| !name.is_empty());
    Some(Gid { index, raw, v2, interface })
}

/// Reads `fe80:0000:...` as the kernel prints it: eight groups in full.
fn parse_gid(text: &str) -> Option<[u8; 16]> {
    text.parse::<Ipv6Addr>().ok().map(|address| address.octets())
}

/// Trees for tests.
#[cfg(test)]
pub(super) mod fixture {
    use std::fs;
    use std::path::Path;

    /// Writes a file, with the folders it needs.
    pub(crate) fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{content}\n")).unwrap();
    }

    /// A device with one port; GIDs are given as (address, type, interface).
    pub(crate) fn device(root: &Path, name: &str, kind: &str, layer: &str, state: &str, node: i32, gids: &[(&str, &str, &str)]) {
        let base = format!("class/infiniband/{name}");
        write(root, &format!("{base}/node_type"), kind);
        write(root, &format!("{base}/device/numa_node"), &node.to_string());
        write(root, &format!("{base}/ports/1/state"), state);
        write(root, &format!("{base}/ports/1/link_layer"), layer);
        for (index, (gid, kind, interface)) in gids.iter().enumerate() {
            write(root, &format!("{base}/ports/1/gids/{index}"), gid);
            write(root, &format!("{base}/ports/1/gid_attrs/types/{index}"), kind);
            write(root, &format!("{base}/ports/1/gid_attrs/ndevs/{index}"), interface);
        }
    }

    /// Two NUMA nodes of four CPUs.
    pub(crate) fn two_nodes(root: &Path) {
        write(root, "devices/system/node/node0/cpulist", "0-1,4-5");
        write(root, "devices/system/node/node1/cpulist", "2-3,6-7");
        write(root, "devices/system/node/node0/distance", "10 21");
        write(root, "devices/system/node/node1/distance", "21 10");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_as_the_kernel_writes_it() {
        let root = tempfile::tempdir().unwrap();
        let local = ("fe80:0000:0000:0000:0011:22ff:fe33:4455", "RoCE v2", "eth0");
        let mapped = ("0000:0000:0000:0000:0000:ffff:c000:0201", "RoCE v2", "eth0");
        let empty = ("0000:0000:0000:0000:0000:0000:0000:0000", "", "");
        fixture::device(root.path(), "rxe0", "1: CA", "Ethernet", "4: ACTIVE", -1, &[local, mapped, empty]);
        fixture::device(root.path(), "ib0", "1: CA", "InfiniBand", "2: INIT", 1, &[]);
        fixture::device(root.path(), "siw0", "4: RNIC", "Ethernet", "4: ACTIVE", 0, &[mapped]);
        let [ib, rxe, siw] = &Tree::at(root.path()).devices()[..] else { panic!("three devices") };
        assert_eq!((ib.ports[0].link, ib.ports[0].active, ib.numa_node), (LinkKind::InfiniBand, false, Some(1)));
        assert_eq!((siw.ports[0].link, siw.numa_node), (LinkKind::Iwarp, Some(0)));
        assert_eq!(rxe.numa_node, None);
        let [first, second] = &rxe.ports[0].gids[..] else { panic!("two addresses") };
        assert_eq!((first.v4(), first.v2), (None, true));
        assert_eq!((second.index, second.address()), (1, "192.0.2.1".parse().unwrap()));
        assert_eq!(second.interface.as_deref(), Some("eth0"));
        assert_eq!(rxe.to_string(), "rxe0 port 1 RoCE ACTIVE 192.0.2.1");
    }

    #[test]
    fn a_machine_without_devices_has_none() {
        let root = tempfile::tempdir().unwrap();
        assert!(Tree::at(root.path()).devices().is_empty());
    }

    #[test]
    fn cores_of_one_node_name_it_and_cores_of_several_do_not() {
        let root = tempfile::tempdir().unwrap();
        fixture::two_nodes(root.path());
        let tree = Tree::at(root.path());
        assert_eq!(tree.node_of(&[2, 6]), Some(1));
        assert_eq!(tree.node_of(&[1, 2]), None);
        assert_eq!(tree.node_of(&[99]), None);
        assert_eq!((tree.distance(0, 1), tree.distance(1, 1), tree.distance(5, 0)), (Some(21), Some(10), None));
    }
}
