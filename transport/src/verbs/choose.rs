//! Which device, port and GID, if nobody says.

use std::cmp::{Ordering, Reverse};

use super::options::VerbsOptions;
use super::sysfs::{DeviceInfo, Gid, LinkKind, PARTITION, PortInfo, Tree, natural};

/// A port and the address it is used under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The device's name.
    pub device: String,
    /// Its port, from 1.
    pub port: u8,
    /// How its packets look.
    pub link: LinkKind,
    /// The address.
    pub gid: Gid,
    /// The partition: its place in the port's table, and its key.
    pub partition: (u16, u16),
}

impl Choice {
    /// Names the network that it leads to: hosts that give the same name reach each other there.
    pub(super) fn network(&self) -> Option<String> {
        Some(format!("{} {}", self.link, self.gid.network()?))
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} port {} ({}), GID {} = {}", self.device, self.port, self.link, self.gid.index, self.gid.address())?;
        match self.partition.1 & PARTITION {
            PARTITION => Ok(()),
            other => write!(f, ", partition {other:#06x}"),
        }
    }
}

/// The ports that fit `options` among `devices`, the best first; at least one. Better are: InfiniBand or RoCE before
/// iWARP, addresses that are routed, links that carry more, devices near to `near`, devices behind fewer PCI bridges,
/// and names in natural order.
///
/// An InfiniBand GID is always the first of its table. On Ethernet an IPv4-mapped RoCE v2 GID comes first: it is routed
/// like any other IP packet and names the interface that the peers reach. GIDs of iWARP are no IP addresses: whose
/// device an address is comes out when the connection manager binds to it.
pub(super) fn choices(devices: &[DeviceInfo], options: &VerbsOptions, tree: &Tree, near: Option<u32>) -> Result<Vec<Choice>, String> {
    let mut candidates = Vec::new();
    for (device, port) in considered(devices, options).filter(|(_, port)| port.active && port.link != LinkKind::Other) {
        if let (Some(gid), Some(partition)) = (best_gid(port, options), best_partition(port, options)) {
            let distance = near.zip(device.numa_node).and_then(|(near, node)| tree.distance(near, node)).unwrap_or(u32::MAX);
            let bridges = device.bridges.unwrap_or(u32::MAX);
            let key = (port.link == LinkKind::Iwarp, rank_of_gid(port, &gid), Reverse(port.rate_mbps), distance, bridges);
            candidates.push((key, Choice { device: device.name.clone(), port: port.number, link: port.link, gid, partition }));
        }
    }
    candidates.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| in_order(one, other)));
    match candidates.is_empty() {
        true => Err(refusal(devices, options)),
        false => Ok(candidates.into_iter().map(|(_, choice)| choice).collect()),
    }
}

fn in_order(one: &Choice, other: &Choice) -> Ordering {
    natural(&one.device, &other.device).then(one.port.cmp(&other.port))
}

/// The place of the choice among `mine` that all members can share, where `lists` are the networks that each can use,
/// in the order it likes them; of a member that says nothing it is empty. Of the networks that all can use, what the
/// first member likes best: each host of a cluster with several rails takes the same rail. The best of mine, if there
/// is no such network: there may be a route.
pub(super) fn common(mine: &[Option<String>], lists: &[Vec<String>]) -> usize {
    let given: Vec<_> = lists.iter().filter(|list| !list.is_empty()).collect();
    let shared = given.first().into_iter().flat_map(|first| first.iter()).find(|network| given.iter().all(|list| list.contains(network)));
    shared.and_then(|shared| mine.iter().position(|network| network.as_ref() == Some(shared))).unwrap_or(0)
}

/// Ports of the device and number that are asked for.
fn considered<'a>(devices: &'a [DeviceInfo], options: &'a VerbsOptions) -> impl Iterator<Item = (&'a DeviceInfo, &'a PortInfo)> {
    let named = devices.iter().filter(|device| options.device.as_ref().is_none_or(|name| *name == device.name));
    let ports = named.flat_map(|device| device.ports.iter().map(move |port| (device, port)));
    ports.filter(|(_, port)| options.port.is_none_or(|number| number == port.number))
}

/// The partition that is asked for, else the default one, else the first; as full member, where there is a choice. RoCE
/// has one, iWARP none.
fn best_partition(port: &PortInfo, options: &VerbsOptions) -> Option<(u16, u16)> {
    let wanted = options.partition.map(|key| key & PARTITION);
    if port.link != LinkKind::InfiniBand {
        return wanted.is_none_or(|wanted| wanted == PARTITION).then_some((0, u16::MAX));
    }
    let fits = port.partitions.iter().filter(|(_, key)| wanted.is_none_or(|wanted| key & PARTITION == wanted));
    let best = fits.min_by_key(|(index, key)| (key & PARTITION != PARTITION, key & !PARTITION == 0, *index)).copied();
    // A table that cannot be read has an entry all the same.
    best.or_else(|| (wanted.is_none() && port.partitions.is_empty()).then_some((0, u16::MAX)))
}

/// Smaller is better.
fn rank_of_gid(port: &PortInfo, gid: &Gid) -> u8 {
    match port.link {
        LinkKind::InfiniBand => gid.index.min(1),
        LinkKind::Iwarp | LinkKind::Other => u8::from(gid.v4().is_none()),
        LinkKind::Roce => match (gid.v2, gid.v4(), gid.raw[0] == 0xFE) {
            (true, Some(_), _) => 0,
            (true, None, false) => 1,
            (true, None, true) => 2,
            (false, _, _) => 3,
        },
    }
}

/// What an address of a port is good for, for people.
pub fn merit(port: &PortInfo, gid: &Gid) -> &'static str {
    match (port.link, rank_of_gid(port, gid)) {
        (LinkKind::InfiniBand, 0) => "the port's own",
        (LinkKind::InfiniBand, _) => "another of the port; the first serves all",
        (LinkKind::Iwarp, _) => "names the device; connections are made by IP addresses",
        (LinkKind::Other, _) => "of no reliable connections",
        (LinkKind::Roce, 0) => "RoCE v2 over IPv4: routed, and named by the address that peers reach",
        (LinkKind::Roce, 1) => "RoCE v2 over IPv6: routed",
        (LinkKind::Roce, 2) => "RoCE v2, link-local: reaches its own Ethernet only",
        (LinkKind::Roce, _) => "RoCE v1: not routed",
    }
}

fn best_gid(port: &PortInfo, options: &VerbsOptions) -> Option<Gid> {
    let fits = |gid: &&Gid| {
        let address_fits = port.link == LinkKind::Iwarp || options.address.is_none_or(|address| address == gid.address());
        options.gid_index.is_none_or(|index| index == gid.index) && address_fits
    };
    port.gids.iter().filter(fits).min_by_key(|gid| (rank_of_gid(port, gid), gid.index)).cloned()
}

/// Why nothing was chosen, and what to do.
fn refusal(devices: &[DeviceInfo], options: &VerbsOptions) -> String {
    if devices.is_empty() {
        return "no RDMA device on this machine; scripts/soft-roce makes one in software".into();
    }
    let found = devices.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let device = |name: &String| devices.iter().find(|device| device.name == *name);
    if let Some(name) = options.device.as_ref().filter(|name| device(name).is_none()) {
        return format!("there is no device {name}; found: {found}");
    }
    let considered = || considered(devices, options).map(|(_, port)| port);
    if considered().next().is_none() {
        return format!("there is no such port; found: {found}");
    }
    if considered().all(|port| port.link == LinkKind::Other) {
        return format!(
            "its devices know no reliable connections, of which this fabric is made (EFA and usNIC are such); use tcp there; found: {found}"
        );
    }
    if !considered().any(|port| port.active) {
        let state = considered().map(|port| port.state.as_str()).collect::<Vec<_>>().join(", ");
        let mend = if considered().any(|port| port.link == LinkKind::InfiniBand) {
            "an InfiniBand port in INIT waits for a subnet manager (opensm), a port that is DOWN for its cable"
        } else {
            "set the network interface behind it up (ip link set DEVICE up)"
        };
        return format!("no active port ({state}): {mend}; found: {found}");
    }
    if let Some(key) = options.partition.filter(|_| !considered().any(|port| best_partition(port, options).is_some())) {
        return format!(
            "no port is in partition {key:#06x}; the subnet manager gives them out, /sys/class/infiniband/*/ports/*/pkeys shows them"
        );
    }
    if let Some(address) = options.address {
        return format!("no active port has the address {address}; give the interface behind an RDMA device that address; found: {found}");
    }
    match options.gid_index {
        Some(index) => format!("GID index {index} is empty; `ls /sys/class/infiniband/*/ports/*/gids` shows the table; found: {found}"),
        None => format!("the port has no GID: give its network interface an address; found: {found}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sysfs::fixture;
    use super::*;

    const LOCAL: (&str, &str, &str) = ("fe80:0000:0000:0000:0011:22ff:fe33:4455", "RoCE v2", "eth0");
    const V1: (&str, &str, &str) = ("0000:0000:0000:0000:0000:ffff:c000:0201", "IB/RoCE v1", "eth0");
    const MAPPED: (&str, &str, &str) = ("0000:0000:0000:0000:0000:ffff:c000:0201", "RoCE v2", "eth0");
    const OTHER: (&str, &str, &str) = ("0000:0000:0000:0000:0000:ffff:c000:0202", "RoCE v2", "eth1");

    fn chosen(fill: impl Fn(&std::path::Path), options: &VerbsOptions, near: Option<u32>) -> Result<Choice, String> {
        let root = tempfile::tempdir().unwrap();
        fill(root.path());
        let tree = Tree::at(root.path());
        choices(&tree.devices(), options, &tree, near).map(|choices| choices.into_iter().next().unwrap())
    }

    fn roce(root: &std::path::Path, name: &str, state: &str, node: i32, gids: &[(&str, &str, &str)]) {
        fixture::device(root, name, "1: CA", "Ethernet", state, node, gids);
    }

    #[test]
    fn a_mapped_v2_gid_is_preferred() {
        let choice = chosen(|root| roce(root, "rxe0", "4: ACTIVE", -1, &[LOCAL, V1, MAPPED]), &VerbsOptions::default(), None).unwrap();
        assert_eq!(choice.to_string(), "rxe0 port 1 (RoCE), GID 2 = 192.0.2.1");
        let by_hand = VerbsOptions { gid_index: Some(0), ..VerbsOptions::default() };
        let choice = chosen(|root| roce(root, "rxe0", "4: ACTIVE", -1, &[LOCAL, V1, MAPPED]), &by_hand, None).unwrap();
        assert_eq!(choice.gid.index, 0);
    }

    #[test]
    fn each_address_says_what_it_is_good_for() {
        let root = tempfile::tempdir().unwrap();
        roce(root.path(), "rxe0", "4: ACTIVE", -1, &[LOCAL, V1, MAPPED]);
        let port = Tree::at(root.path()).devices().remove(0).ports.remove(0);
        let merits: Vec<_> = port.gids.iter().map(|gid| merit(&port, gid)).collect();
        assert!(merits[0].contains("link-local") && merits[1].contains("v1") && merits[2].contains("IPv4: routed"), "{merits:?}");
    }

    #[test]
    fn the_nearest_of_two_nics_is_taken_unless_an_address_names_the_other() {
        let fill = |root: &std::path::Path| {
            fixture::two_nodes(root);
            roce(root, "mlx5_0", "4: ACTIVE", 0, &[MAPPED]);
            roce(root, "mlx5_1", "4: ACTIVE", 1, &[OTHER]);
        };
        let free = VerbsOptions::default();
        for (near, device) in [(Some(0), "mlx5_0"), (Some(1), "mlx5_1"), (None, "mlx5_0")] {
            assert_eq!(chosen(fill, &free, near).unwrap().device, device);
        }
        let named = VerbsOptions { address: Some("192.0.2.2".parse().unwrap()), ..VerbsOptions::default() };
        assert_eq!(chosen(fill, &named, Some(0)).unwrap().device, "mlx5_1");
    }

    #[test]
    fn of_equally_near_nics_the_one_behind_fewer_bridges_is_taken() {
        let nodes = |root: &std::path::Path, nodes: [i32; 2]| {
            fixture::two_nodes(root);
            for ((name, bridges), node) in [("mlx5_0", 3), ("mlx5_1", 1)].into_iter().zip(nodes) {
                roce(root, name, "4: ACTIVE", node, &[MAPPED]);
                fixture::behind(root, name, bridges);
            }
            // In software, and in no slot.
            roce(root, "a0", "4: ACTIVE", nodes[0], &[MAPPED]);
        };
        let free = VerbsOptions::default();
        let of = |nodes_of: [i32; 2], near| chosen(|root| nodes(root, nodes_of), &free, near).unwrap().device;
        assert_eq!(of([0, 0], Some(0)), "mlx5_1");
        assert_eq!(of([0, 1], Some(0)), "mlx5_0", "another NUMA node is farther than any bridge");
        assert_eq!(of([-1, -1], None), "mlx5_1", "where nodes are not known too");
    }

    #[test]
    fn a_port_that_is_down_is_passed_over_and_iwarp_comes_last() {
        let fill = |root: &std::path::Path| {
            roce(root, "a0", "1: DOWN", -1, &[MAPPED]);
            fixture::device(root, "b0", "4: RNIC", "Ethernet", "4: ACTIVE", -1, &[MAPPED]);
            roce(root, "c0", "4: ACTIVE", -1, &[LOCAL]);
        };
        assert_eq!(chosen(fill, &VerbsOptions::default(), None).unwrap().device, "c0");
    }

    #[test]
    fn the_faster_link_is_taken_before_the_nearer_and_names_are_counted() {
        let fill = |root: &std::path::Path| {
            fixture::two_nodes(root);
            for (name, node, rate) in
                [("mlx5_0", 0, "25 Gb/sec (1X EDR)"), ("mlx5_10", 1, "100 Gb/sec (4X EDR)"), ("mlx5_2", 1, "100 Gb/sec (4X EDR)")]
            {
                roce(root, name, "4: ACTIVE", node, &[MAPPED]);
                fixture::rate(root, name, rate);
            }
        };
        assert_eq!(chosen(fill, &VerbsOptions::default(), Some(0)).unwrap().device, "mlx5_2");
    }

    #[test]
    fn a_link_without_a_routed_address_comes_after_slower_ones_with_one() {
        let fill = |root: &std::path::Path| {
            roce(root, "mlx5_0", "4: ACTIVE", -1, &[LOCAL]);
            fixture::rate(root, "mlx5_0", "400 Gb/sec (4X NDR)");
            roce(root, "mlx5_1", "4: ACTIVE", -1, &[MAPPED]);
            fixture::rate(root, "mlx5_1", "100 Gb/sec (4X EDR)");
        };
        assert_eq!(chosen(fill, &VerbsOptions::default(), None).unwrap().device, "mlx5_1");
    }

    const SUBNET: (&str, &str, &str) = ("fe80:0000:0000:0001:0011:22ff:fe33:4455", "IB/RoCE v1", "");

    #[test]
    fn partitions_are_searched_for_the_default_and_for_the_one_that_is_named() {
        let fill = |root: &std::path::Path| {
            fixture::device(root, "ib0", "1: CA", "InfiniBand", "4: ACTIVE", -1, &[SUBNET]);
            fixture::partitions(root, "ib0", &["0x8001", "0x7fff", "0x0002", "0x8002", "0xffff"]);
        };
        let with = |partition| chosen(fill, &VerbsOptions { partition, ..VerbsOptions::default() }, None);
        assert_eq!(with(None).unwrap().partition, (4, 0xFFFF));
        assert_eq!(with(Some(0x8001)).unwrap().partition, (0, 0x8001));
        // As full member, if that can be had.
        assert_eq!(with(Some(0x0002)).unwrap().partition, (3, 0x8002));
        assert!(with(Some(2)).unwrap().to_string().ends_with("partition 0x0002"));
        let error = with(Some(0x8003)).unwrap_err();
        assert!(error.contains("no port is in partition 0x8003"), "{error}");
        // None but others: the first that there is.
        let other = |root: &std::path::Path| {
            fixture::device(root, "ib0", "1: CA", "InfiniBand", "4: ACTIVE", -1, &[SUBNET]);
            fixture::partitions(root, "ib0", &["0x0000", "0x0005", "0x8007"]);
        };
        assert_eq!(chosen(other, &VerbsOptions::default(), None).unwrap().partition, (2, 0x8007));
        let unread = |root: &std::path::Path| fixture::device(root, "ib0", "1: CA", "InfiniBand", "4: ACTIVE", -1, &[SUBNET]);
        assert_eq!(chosen(unread, &VerbsOptions::default(), None).unwrap().partition, (0, 0xFFFF));
    }

    #[test]
    fn efa_is_not_taken_for_roce() {
        let fill = |root: &std::path::Path| fixture::device(root, "efa_0", "7: UNSPECIFIED", "Ethernet", "4: ACTIVE", -1, &[LOCAL]);
        let error = chosen(fill, &VerbsOptions::default(), None).unwrap_err();
        assert!(error.contains("no reliable connections"), "{error}");
        let both = |root: &std::path::Path| {
            fill(root);
            roce(root, "mlx5_0", "4: ACTIVE", -1, &[MAPPED]);
        };
        assert_eq!(chosen(both, &VerbsOptions::default(), None).unwrap().device, "mlx5_0");
    }

    #[test]
    fn all_hosts_take_the_rail_that_all_have() {
        let list = |networks: &[&str]| networks.iter().map(|&network| network.to_owned()).collect::<Vec<_>>();
        let mine = ["a", "b", "c"].map(|network| Some(network.to_owned()));
        let lists = [list(&["c", "b", "a"]), list(&["a", "b", "c"]), list(&["d", "b", "a"])];
        assert_eq!(common(&mine, &lists), 1);
        // Absent members have no say.
        assert_eq!(common(&mine, &[vec![], lists[0].clone(), lists[1].clone()]), 2);
        // Nothing in common, or nothing known: there may be a route.
        assert_eq!(common(&mine, &[list(&["a"]), list(&["d"])]), 0);
        assert_eq!(common(&[None, None], &[vec![], vec![]]), 0);
    }

    #[test]
    fn what_cannot_be_had_is_said_with_the_mend() {
        let free = VerbsOptions::default();
        let error = |fill: &dyn Fn(&std::path::Path), options: &VerbsOptions| chosen(fill, options, None).unwrap_err();
        assert!(error(&|_| {}, &free).contains("no RDMA device"));
        let down = |root: &std::path::Path| roce(root, "rxe0", "1: DOWN", -1, &[MAPPED]);
        assert!(error(&down, &free).contains("no active port (DOWN): set the network interface behind it up"));
        let init = |root: &std::path::Path| fixture::device(root, "ib0", "1: CA", "InfiniBand", "2: INIT", -1, &[LOCAL]);
        assert!(error(&init, &free).contains("subnet manager"));
        let up = |root: &std::path::Path| roce(root, "rxe0", "4: ACTIVE", -1, &[MAPPED]);
        let with = |options: VerbsOptions| error(&up, &options);
        assert!(with(VerbsOptions { gid_index: Some(7), ..free.clone() }).contains("GID index 7 is empty"));
        assert!(with(VerbsOptions { device: Some("mlx5_0".into()), ..free.clone() }).contains("no device mlx5_0; found: rxe0"));
        assert!(with(VerbsOptions { port: Some(2), ..free.clone() }).contains("no such port"));
        let elsewhere = VerbsOptions { address: Some("203.0.113.1".parse().unwrap()), ..free };
        assert!(with(elsewhere).contains("no active port has the address 203.0.113.1"));
    }
}
