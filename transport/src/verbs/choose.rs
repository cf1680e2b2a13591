//! Which device, port and GID, if nobody says.

use super::options::VerbsOptions;
use super::sysfs::{DeviceInfo, Gid, LinkKind, PortInfo, Tree};

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
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} port {} ({}), GID {} = {}", self.device, self.port, self.link, self.gid.index, self.gid.address())
    }
}

/// The best port for `options` among `devices`. Smaller keys are better: wished-for, near, InfiniBand or RoCE before iWARP, then by name.
///
/// An InfiniBand GID is always the first of its table. On Ethernet an IPv4-mapped RoCE v2 GID comes first: it is routed like any other IP
/// packet and names the interface that the peers reach. GIDs of iWARP are no IP addresses: whose device an address is comes out when the connection manager
/// binds to it.
pub(super) fn choose(devices: &[DeviceInfo], options: &VerbsOptions, tree: &Tree, near: Option<u32>) -> Result<Choice, String> {
    let ports = devices
        .iter()
        .filter(|device| options.device.as_ref().is_none_or(|name| *name == device.name))
        .flat_map(|device| device.ports.iter().map(move |port| (device, port)))
        .filter(|(_, port)| options.port.is_none_or(|number| number == port.number));
    let mut candidates = Vec::new();
    for (device, port) in ports {
        if let (true, Some(gid)) = (port.active, best_gid(port, options)) {
            let distance = near.zip(device.numa_node).and_then(|(near, node)| tree.distance(near, node)).unwrap_or(u32::MAX);
            let key = (distance, port.link == LinkKind::Iwarp, rank_of_gid(port, &gid), device.name.clone(), port.number);
            candidates.push((key, Choice { device: device.name.clone(), port: port.number, link: port.link, gid }));
        }
    }
    candidates.sort_by(|(a, _), (b, _)| a.cmp(b));
    candidates.into_iter().next().map(|(_, choice)| choice).ok_or_else(|| refusal(devices, options))
}

/// Smaller is better.
fn rank_of_gid(port: &PortInfo, gid: &Gid) -> u8 {
    match port.link {
        LinkKind::InfiniBand => gid.index.min(1),
        LinkKind::Iwarp => u8::from(gid.v4().is_none()),
        LinkKind::Roce => match (gid.v2, gid.v4(), gid.raw[0] == 0xFE) {
            (true, Some(_), _) => 0,
            (true, None, false) => 1,
            (true, None, true) => 2,
            (false, _, _) => 3,
        },
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
    let considered = || {
        let devices = devices.iter().filter(|device| options.device.as_ref().is_none_or(|name| *name == device.name));
        devices.flat_map(|device| &device.ports).filter(|port| options.port.is_none_or(|number| number == port.number))
    };
    if considered().next().is_none() {
        return format!("there is no such port; found: {found}");
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
        choose(&tree.devices(), options, &tree, near)
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
    fn a_port_that_is_down_is_passed_over_and_iwarp_comes_last() {
        let fill = |root: &std::path::Path| {
            roce(root, "a0", "1: DOWN", -1, &[MAPPED]);
            fixture::device(root, "b0", "4: RNIC", "Ethernet", "4: ACTIVE", -1, &[MAPPED]);
            roce(root, "c0", "4: ACTIVE", -1, &[LOCAL]);
        };
        assert_eq!(chosen(fill, &VerbsOptions::default(), None).unwrap().device, "c0");
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
