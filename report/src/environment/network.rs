//! Network interfaces and RDMA devices.

use serde::{Deserialize, Serialize};

use super::tree::Tree;

/// A network interface. Addresses are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkInterface {
    /// Its name.
    pub name: String,
    /// `up`, `down`, `unknown`.
    pub state: String,
    /// Link rate in 10^6 bits a second, if it has one.
    pub megabits_per_second: Option<u64>,
    /// Largest packet, bytes.
    pub mtu_bytes: u64,
    /// Driver, if a device is behind it.
    pub driver: String,
    /// NUMA node of the device, if it has one.
    pub numa_node: Option<u32>,
}

/// An RDMA device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InfinibandDevice {
    /// Its name.
    pub name: String,
    /// What the adapter calls itself.
    pub adapter: String,
    /// Version of the firmware; soft-RoCE has none.
    pub firmware: String,
    /// Driver; `rdma_rxe` is soft-RoCE.
    pub driver: String,
    /// NUMA node of the device, if it has one.
    pub numa_node: Option<u32>,
    /// Its ports.
    pub ports: Vec<InfinibandPort>,
}

/// A port of an RDMA device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InfinibandPort {
    /// Its number, from 1.
    pub port: u32,
    /// `4: ACTIVE` and so on.
    pub state: String,
    /// `5: LinkUp` and so on.
    pub physical_state: String,
    /// `100 Gb/sec (4X EDR)` and so on.
    pub rate: String,
    /// `InfiniBand` or `Ethernet`.
    pub link_layer: String,
    /// The network interface over it.
    pub interface: String,
    /// Largest packet of that interface, bytes; an RDMA path MTU is the power of two below it.
    pub mtu_bytes: Option<u64>,
    /// Entries of the GID table that are in use: index and type, such as `3: RoCE v2`.
    pub gids: Vec<String>,
}

impl NetworkInterface {
    pub(super) fn read_all(tree: &Tree) -> Vec<NetworkInterface> {
        tree.names("sys/class/net")
            .into_iter()
            .filter_map(|name| {
                let at = |file: &str| format!("sys/class/net/{name}/{file}");
                Some(NetworkInterface {
                    mtu_bytes: tree.number(&at("mtu"))?,
                    state: tree.text(&at("operstate")).unwrap_or_default(),
                    megabits_per_second: tree.number(&at("speed")).filter(|rate| *rate > 0),
                    driver: tree.link_name(&at("device/driver")).unwrap_or_default(),
                    numa_node: numa_node(tree, &at("device/numa_node")),
                    name,
                })
            })
            .collect()
    }
}

impl InfinibandDevice {
    pub(super) fn read_all(tree: &Tree) -> Vec<InfinibandDevice> {
        tree.names("sys/class/infiniband")
            .into_iter()
            .map(|name| {
                let at = |file: &str| format!("sys/class/infiniband/{name}/{file}");
                let adapter = ["hca_type", "board_id", "node_desc"];
                InfinibandDevice {
                    adapter: adapter.iter().find_map(|file| tree.text(&at(file))).unwrap_or_default(),
                    firmware: tree.text(&at("fw_ver")).unwrap_or_default(),
                    driver: tree
                        .link_name(&at("device/driver"))
                        .or_else(|| tree.text(&at("parent")).map(|_| "rdma_rxe".to_owned()))
                        .unwrap_or_default(),
                    numa_node: numa_node(tree, &at("device/numa_node")),
                    ports: tree.names(&at("ports")).iter().filter_map(|port| InfinibandPort::read(tree, &at("ports"), port)).collect(),
                    name,
                }
            })
            .collect()
    }

    /// `mlx5_0 (firmware 16.35, 100 Gb/sec (4X EDR))`.
    pub fn headline(&self) -> String {
        let firmware = match self.firmware.as_str() {
            "" => "no firmware".to_owned(),
            version => format!("firmware {version}"),
        };
        let rate = self.ports.first().map_or("no port", |port| port.rate.as_str());
        format!("{} ({firmware}, {rate})", self.name)
    }
}

impl InfinibandPort {
    fn read(tree: &Tree, ports: &str, name: &str) -> Option<InfinibandPort> {
        let at = |file: &str| format!("{ports}/{name}/{file}");
        let text = |file: &str| tree.text(&at(file)).unwrap_or_default();
        let gids: Vec<(String, String)> = tree
            .names(&at("gids"))
            .into_iter()
            .filter(|index| is_in_use(&text(&format!("gids/{index}"))))
            .map(|index| {
                let kind = text(&format!("gid_attrs/types/{index}"));
                (index, kind)
            })
            .collect();
        let first = gids.first().map_or("0", |(index, _)| index.as_str());
        let interface = text(&format!("gid_attrs/ndevs/{first}"));
        Some(InfinibandPort {
            port: name.parse().ok()?,
            state: text("state"),
            physical_state: text("phys_state"),
            rate: text("rate"),
            link_layer: text("link_layer"),
            mtu_bytes: tree.number(&format!("sys/class/net/{interface}/mtu")),
            interface,
            gids: gids.into_iter().map(|(index, kind)| format!("{index}: {kind}")).collect(),
        })
    }
}

fn is_in_use(gid: &str) -> bool {
    gid.chars().any(|c| c != '0' && c != ':')
}

fn numa_node(tree: &Tree, path: &str) -> Option<u32> {
    // The kernel writes -1 where the machine has no such notion.
    tree.text(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn interfaces_are_read_without_addresses() {
        let root = fixture(&[
            ("sys/class/net/eth0/mtu", "9000\n"),
            ("sys/class/net/eth0/operstate", "up\n"),
            ("sys/class/net/eth0/speed", "100000\n"),
            ("sys/class/net/eth0/device/numa_node", "1\n"),
            ("sys/class/net/eth0/address", "02:00:00:00:00:01\n"),
            ("sys/class/net/lo/mtu", "65536\n"),
            ("sys/class/net/lo/speed", "-1\n"),
            ("sys/class/net/bonding_masters", ""),
        ]);
        std::os::unix::fs::symlink("../../../bus/pci/drivers/mlx5_core", root.path().join("sys/class/net/eth0/device/driver")).unwrap();
        let found = NetworkInterface::read_all(&Tree::new(root.path()));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].megabits_per_second, Some(100_000));
        assert_eq!((found[0].driver.as_str(), found[0].numa_node), ("mlx5_core", Some(1)));
        assert_eq!((found[1].megabits_per_second, found[1].mtu_bytes), (None, 65_536));
        assert!(!format!("{found:?}").contains("02:00"));
    }

    #[test]
    fn an_rdma_device_tells_firmware_ports_and_gid_types() {
        let root = fixture(&[
            ("sys/class/net/eth2/mtu", "4200\n"),
            ("sys/class/infiniband/mlx5_0/fw_ver", "16.35.2000\n"),
            ("sys/class/infiniband/mlx5_0/hca_type", "MT4119\n"),
            ("sys/class/infiniband/mlx5_0/device/numa_node", "-1\n"),
            ("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n"),
            ("sys/class/infiniband/mlx5_0/ports/1/phys_state", "5: LinkUp\n"),
            ("sys/class/infiniband/mlx5_0/ports/1/rate", "100 Gb/sec (4X EDR)\n"),
            ("sys/class/infiniband/mlx5_0/ports/1/link_layer", "Ethernet\n"),
            ("sys/class/infiniband/mlx5_0/ports/1/gids/0", "0000:0000:0000:0000:0000:0000:0000:0000\n"),
            ("sys/class/infiniband/mlx5_0/ports/1/gids/3", "0000:0000:0000:0000:0000:ffff:c0a8:0001\n"),
            ("sys/class/infiniband/mlx5_0/ports/1/gid_attrs/types/3", "RoCE v2\n"),
            ("sys/class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/3", "eth2\n"),
        ]);
        let found = InfinibandDevice::read_all(&Tree::new(root.path()));
        let device = &found[0];
        assert_eq!((device.adapter.as_str(), device.numa_node), ("MT4119", None));
        assert_eq!(device.headline(), "mlx5_0 (firmware 16.35.2000, 100 Gb/sec (4X EDR))");
        let port = &device.ports[0];
        assert_eq!((port.port, port.state.as_str()), (1, "4: ACTIVE"));
        assert_eq!((port.interface.as_str(), port.mtu_bytes), ("eth2", Some(4200)));
        assert_eq!(port.gids, ["3: RoCE v2"]);
    }
}
