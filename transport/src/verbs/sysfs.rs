//! What the kernel tells of RDMA devices in `/sys`: ports, GIDs, network interfaces, NUMA nodes.

use std::cmp::Ordering;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How a port's packets look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// InfiniBand: local identifiers, given by a subnet manager.
    InfiniBand,
    /// RDMA over Converged Ethernet.
    Roce,
    /// RDMA over TCP; connections come by `librdmacm` alone.
    Iwarp,
    /// Something else on Ethernet, without the reliable connections that this provider is made of: EFA, usNIC.
    Other,
}

impl std::fmt::Display for LinkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LinkKind::InfiniBand => "InfiniBand",
            LinkKind::Roce => "RoCE",
            LinkKind::Iwarp => "iWARP",
            LinkKind::Other => "neither InfiniBand, RoCE nor iWARP",
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
    /// Leading bits of the address that all hosts of its network share, as far as the interface says.
    pub prefix_bits: Option<u8>,
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

    /// Names the network that it is an address of: `192.0.2.0/24`. An InfiniBand GID begins with its subnet's prefix.
    pub fn network(&self) -> Option<String> {
        let bits = self.prefix_bits?;
        let mask = |width: u8| u128::MAX.checked_shl(u32::from(width - bits.min(width))).unwrap_or(0);
        Some(match self.address() {
            IpAddr::V4(v4) => format!("{}/{bits}", Ipv4Addr::from(v4.to_bits() & mask(32) as u32)),
            IpAddr::V6(v6) => format!("{}/{bits}", Ipv6Addr::from(v6.to_bits() & mask(128))),
        })
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
    /// What it carries, in megabits a second.
    pub rate_mbps: u64,
    /// Partitions that it belongs to: (place in its table, key). The upper bit of a key says full member.
    pub partitions: Vec<(u16, u16)>,
}

/// One RDMA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name: `mlx5_0`, `rxe0`.
    pub name: String,
    /// The NUMA node of its slot.
    pub numa_node: Option<u32>,
    /// PCI bridges between it and the processors; none of a device in software.
    pub bridges: Option<u32>,
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

/// Trees that look like `/sys` and `/proc`.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    sys: PathBuf,
    proc: PathBuf,
}

impl Tree {
    /// This machine's.
    pub(super) fn system() -> Tree {
        Tree { sys: "/sys".into(), proc: "/proc".into() }
    }

    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Tree {
        Tree { sys: root.into(), proc: root.join("proc") }
    }

    /// All RDMA devices, by name.
    pub(super) fn devices(&self) -> Vec<DeviceInfo> {
        let (class, networks) = (self.sys.join("class/infiniband"), Networks::read(&self.proc));
        let mut devices: Vec<_> = entries(&class).into_iter().map(|name| device(&class.join(&name), name, &networks)).collect();
        devices.sort_by(|a, b| natural(&a.name, &b.name));
        devices
    }

    /// The NUMA node that all of `cpus` belong to, if they do.
    pub(super) fn node_of(&self, cpus: &[usize]) -> Option<u32> {
        let nodes = self.sys.join("devices/system/node");
        let mut found = entries(&nodes).into_iter().filter_map(|name| {
            let node: u32 = name.strip_prefix("node")?.parse().ok()?;
            let list = cpu_list(&text(&nodes.join(&name).join("cpulist"))?);
            cpus.iter().any(|cpu| list.contains(cpu)).then_some(node)
        });
        found.next().filter(|_| found.next().is_none())
    }

    /// How far `to` is from `from`, as the firmware says: 10 is near.
    pub(super) fn distance(&self, from: u32, to: u32) -> Option<u32> {
        let distances = text(&self.sys.join(format!("devices/system/node/node{from}/distance")))?;
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

/// Orders names as people count: `mlx5_2` before `mlx5_10`.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, text_b) = (split(a, |byte| !byte.is_ascii_digit()), split(b, |byte| !byte.is_ascii_digit()));
        let (digits_a, digits_b) = (split(text_a.1, |byte| byte.is_ascii_digit()), split(text_b.1, |byte| byte.is_ascii_digit()));
        // Digits of any length; what only leading zeroes tell apart comes in order of text.
        let (number_a, number_b) = (digits_a.0.trim_start_matches('0'), digits_b.0.trim_start_matches('0'));
        let order = text_a.0.cmp(text_b.0).then(number_a.len().cmp(&number_b.len())).then(number_a.cmp(number_b));
        let order = order.then(digits_a.0.cmp(digits_b.0));
        (a, b) = (digits_a.1, digits_b.1);
        if order.is_ne() || (a.is_empty() && b.is_empty()) {
            return order.then(a.len().cmp(&b.len()));
        }
    }
}

/// The beginning of `text` that is of one kind, and the rest.
fn split(text: &str, is: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(|byte| !is(byte)).unwrap_or(text.len()))
}

/// The networks of all interfaces, as the kernel lists them in `/proc/net`.
#[derive(Debug, Default)]
struct Networks {
    /// Interface, network, bits.
    v4: Vec<(String, u32, u8)>,
    /// Interface, address, bits.
    v6: Vec<(String, u128, u8)>,
}

impl Networks {
    fn read(proc: &Path) -> Networks {
        // Iface Destination Gateway Flags RefCnt Use Metric Mask ...: words in the host's own order of bytes.
        let hex = |field: &str| u32::from_str_radix(field, 16).ok().map(u32::from_be);
        let v4 = |line: &str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [interface, destination, gateway, _, _, _, _, mask, ..] = fields[..] else {
                return None;
            };
            let (destination, gateway, mask) = (hex(destination)?, hex(gateway)?, hex(mask)?);
            (gateway == 0 && mask != 0).then(|| (interface.to_owned(), destination, mask.count_ones() as u8))
        };
        // address, index, bits, scope, flags, interface: all but the last in hex.
        let v6 = |line: &str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [address, _, bits, _, _, interface] = fields[..] else {
                return None;
            };
            Some((interface.to_owned(), u128::from_str_radix(address, 16).ok()?, u8::from_str_radix(bits, 16).ok()?))
        };
        let lines = |path: &str| text(&proc.join(path)).unwrap_or_default();
        Networks { v4: lines("net/route").lines().filter_map(v4).collect(), v6: lines("net/if_inet6").lines().filter_map(v6).collect() }
    }

    /// Bits of the network that `address` of `interface` is in.
    fn bits(&self, interface: &str, address: IpAddr) -> Option<u8> {
        match address {
            IpAddr::V4(v4) => {
                let holds = |network: u32, bits: u8| (v4.to_bits() ^ network).leading_zeros() >= u32::from(bits);
                let found = self.v4.iter().filter(|(name, network, bits)| name == interface && holds(*network, *bits));
                found.map(|&(_, _, bits)| bits).max()
            }
            IpAddr::V6(v6) => {
                let found = self.v6.iter().find(|(name, address, _)| name == interface && *address == v6.to_bits());
                found.map(|&(_, _, bits)| bits)
            }
        }
    }
}

/// The node types of `/sys` that this provider knows.
const NODE_CA: &str = "1";
const NODE_RNIC: &str = "4";

fn device(folder: &Path, name: String, networks: &Networks) -> DeviceInfo {
    // "1: CA"; where a kernel does not say, it is one.
    let kind = text(&folder.join("node_type"));
    let kind = kind.as_deref().map_or(NODE_CA, |kind| kind.split(':').next().unwrap_or(kind)).to_owned();
    let numa_node = text(&folder.join("device/numa_node")).and_then(|node| node.parse().ok());
    let ports = folder.join("ports");
    let mut numbers: Vec<u8> = entries(&ports).iter().filter_map(|port| port.parse().ok()).collect();
    numbers.sort_unstable();
    let ports = numbers.into_iter().map(|number| port(&ports.join(number.to_string()), number, &kind, networks)).collect();
    DeviceInfo { name, numa_node, bridges: bridges(&folder.join("device")), ports }
}

/// Slots on the way to a device's own: each but the last is a bridge.
fn bridges(device: &Path) -> Option<u32> {
    let place = fs::canonicalize(device).ok()?;
    place.components().filter(|part| is_slot(&part.as_os_str().to_string_lossy())).count().checked_sub(1).map(|count| count as u32)
}

/// Whether a folder's name is an address on a PCI bus: `0000:41:00.0`.
fn is_slot(name: &str) -> bool {
    let parts: Vec<&str> = name.split([':', '.']).collect();
    let is_hex = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.len() == 4 && name.matches(':').count() == 2 && parts.iter().all(is_hex)
}

fn port(folder: &Path, number: u8, kind: &str, networks: &Networks) -> PortInfo {
    // "4: ACTIVE"
    let state = text(&folder.join("state")).unwrap_or_default();
    let state = state.split_once(": ").map_or(state.as_str(), |(_, name)| name).to_owned();
    let link = match text(&folder.join("link_layer")).as_deref() {
        _ if kind == NODE_RNIC => LinkKind::Iwarp,
        _ if kind != NODE_CA => LinkKind::Other,
        Some("InfiniBand") => LinkKind::InfiniBand,
        _ => LinkKind::Roce,
    };
    let gids = numbered(&folder.join("gids")).into_iter().filter_map(|index| gid(folder, index, link, networks)).collect();
    let partition = |index: u16| Some((index, key(&text(&folder.join(format!("pkeys/{index}")))?)?));
    let partitions = numbered(&folder.join("pkeys")).into_iter().filter_map(partition).filter(|(_, key)| key & PARTITION != 0);
    let rate_mbps = text(&folder.join("rate")).and_then(|rate| parse_rate(&rate)).unwrap_or(0);
    PortInfo { number, active: state == "ACTIVE", state, link, gids, rate_mbps, partitions: partitions.collect() }
}

/// The bits of a partition's key that name it; what is left says full member.
pub(super) const PARTITION: u16 = 0x7FFF;

/// The files of a table, by their place in it.
fn numbered<T: Ord + FromStr>(folder: &Path) -> Vec<T> {
    let mut indices: Vec<T> = entries(folder).iter().filter_map(|index| index.parse().ok()).collect();
    indices.sort_unstable();
    indices
}

/// Reads `0x7fff`.
fn key(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Reads `100 Gb/sec (4X EDR)`, or `2.5 Gb/sec (1X SDR)`.
fn parse_rate(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ')?;
    let number: f64 = number.parse().ok().filter(|number| (0.0..1e9).contains(number))?;
    unit.starts_with("Gb/sec").then_some((number * 1000.0) as u64)
}

fn gid(port: &Path, index: u8, link: LinkKind, networks: &Networks) -> Option<Gid> {
    let raw = parse_gid(&text(&port.join(format!("gids/{index}")))?)?;
    if raw == [0; 16] {
        return None;
    }
    let v2 = text(&port.join(format!("gid_attrs/types/{index}"))).is_some_and(|kind| kind.contains("v2"));
    let interface = text(&port.join(format!("gid_attrs/ndevs/{index}"))).filter(|name| !name.is_empty());
    let mut gid = Gid { index, raw, v2, interface, prefix_bits: None };
    gid.prefix_bits = match (link, &gid.interface) {
        (LinkKind::InfiniBand, _) => Some(64),
        (_, Some(interface)) => networks.bits(interface, gid.address()),
        (_, None) => None,
    };
    Some(gid)
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

    /// Puts a device behind so many PCI bridges, where it was in no slot.
    pub(crate) fn behind(root: &Path, name: &str, bridges: u32) {
        let base = root.join("class/infiniband").join(name);
        let ways: String = (0..bridges).map(|at| format!("0000:{at:02x}:01.0/")).collect();
        let slot =
            root.join(format!("devices/pci0000:00/{ways}0000:{name_of:02x}:00.0", name_of = name.len() + bridges as usize)).join(name);
        fs::create_dir_all(slot.parent().unwrap()).unwrap();
        fs::rename(base.join("device"), &slot).unwrap();
        std::os::unix::fs::symlink(&slot, base.join("device")).unwrap();
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

    /// What port 1 of a device carries.
    pub(crate) fn rate(root: &Path, name: &str, rate: &str) {
        write(root, &format!("class/infiniband/{name}/ports/1/rate"), rate);
    }

    /// Partitions of port 1 of a device, by their place.
    pub(crate) fn partitions(root: &Path, name: &str, keys: &[&str]) {
        for (index, key) in keys.iter().enumerate() {
            write(root, &format!("class/infiniband/{name}/ports/1/pkeys/{index}"), key);
        }
    }

    /// Networks of interfaces: (interface, network, mask), as the kernel of a little-endian machine writes them.
    pub(crate) fn routes(root: &Path, routes: &[(&str, [u8; 4], [u8; 4])]) {
        let mut table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n".to_owned();
        table += "eth9\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        for (interface, network, mask) in routes {
            let [network, mask] = [network, mask].map(|bytes| u32::from_ne_bytes(*bytes));
            table += &format!("{interface}\t{network:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0\n");
        }
        write(root, "proc/net/route", &table);
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
    fn rates_partitions_and_networks_are_read() {
        let root = tempfile::tempdir().unwrap();
        let mapped = ("0000:0000:0000:0000:0000:ffff:c000:0281", "RoCE v2", "eth0");
        let v6 = ("2001:0db8:0000:0007:0000:0000:0000:0001", "RoCE v2", "eth0");
        let elsewhere = ("0000:0000:0000:0000:0000:ffff:cb00:7101", "RoCE v2", "eth1");
        fixture::device(root.path(), "mlx5_10", "1: CA", "Ethernet", "4: ACTIVE", -1, &[mapped, v6, elsewhere]);
        fixture::device(
            root.path(),
            "mlx5_2",
            "1: CA",
            "InfiniBand",
            "4: ACTIVE",
            -1,
            &[("fe80:0000:0000:0001:0000:0000:0000:0007", "IB/RoCE v1", "")],
        );
        fixture::rate(root.path(), "mlx5_10", "2.5 Gb/sec (1X SDR)");
        fixture::rate(root.path(), "mlx5_2", "400 Gb/sec (4X NDR)");
        fixture::partitions(root.path(), "mlx5_2", &["0x7fff", "0x8001", "0x0000", "0x8000"]);
        fixture::routes(root.path(), &[("eth0", [192, 0, 2, 0], [255, 255, 255, 0]), ("eth0", [192, 0, 2, 128], [255, 255, 255, 128])]);
        fixture::write(root.path(), "proc/net/if_inet6", "20010db8000000070000000000000001 02 40 00 80     eth0");
        let [infiniband, roce] = &Tree::at(root.path()).devices()[..] else { panic!("two devices") };
        assert_eq!((infiniband.name.as_str(), roce.name.as_str()), ("mlx5_2", "mlx5_10"));
        assert_eq!((infiniband.ports[0].rate_mbps, roce.ports[0].rate_mbps), (400_000, 2_500));
        assert_eq!(infiniband.ports[0].partitions, [(0, 0x7FFF), (1, 0x8001)]);
        assert_eq!(infiniband.ports[0].gids[0].network().as_deref(), Some("fe80:0:0:1::/64"));
        let networks: Vec<_> = roce.ports[0].gids.iter().map(Gid::network).collect();
        assert_eq!(networks, [Some("192.0.2.128/25".into()), Some("2001:db8:0:7::/64".into()), None]);
    }

    #[test]
    fn names_are_ordered_as_people_count() {
        let mut names = ["mlx5_10", "rxe0", "mlx5_2", "mlx5_02", "mlx4_0", "mlx5", "mlx5_2_1", "mlx5_bond_0"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["mlx4_0", "mlx5", "mlx5_02", "mlx5_2", "mlx5_2_1", "mlx5_10", "mlx5_bond_0", "rxe0"]);
    }

    #[test]
    fn what_has_no_reliable_connections_is_neither_roce_nor_iwarp() {
        let root = tempfile::tempdir().unwrap();
        fixture::device(root.path(), "efa_0", "7: UNSPECIFIED", "Ethernet", "4: ACTIVE", -1, &[]);
        fixture::device(root.path(), "usnic_0", "6: usNIC UDP", "Ethernet", "4: ACTIVE", -1, &[]);
        assert!(Tree::at(root.path()).devices().iter().all(|device| device.ports[0].link == LinkKind::Other));
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
