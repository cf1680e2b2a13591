//! RDMA devices: their ports and addresses, which of them would be used and why, and what is wrong with them.

use serde::Serialize;
use squall_report::Environment;
use squall_report::environment::InfinibandDevice;
use squall_transport::verbs::{self, Choice, DeviceInfo, LinkKind, PortInfo, VerbsFabric};

use super::finding::Finding;
use crate::ask::machine::Machine;
use crate::jobs::rdma::Rdma;

/// Upper bit of a partition's key: a full member.
const FULL_MEMBER: u16 = 0x8000;
/// What an interface needs so that RoCE packets carry 4096 bytes.
const INTERFACE_MTU: u64 = 4200;

/// What RDMA there is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Devices {
    /// Ports of all devices.
    pub ports: Vec<Port>,
    /// What would be used, for people; nothing if nothing can be.
    pub chosen: Option<String>,
    /// Why that, or why nothing.
    pub why: String,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its device.
    pub device: String,
    /// Its number, from 1.
    pub port: u8,
    /// `ACTIVE`, `DOWN`, `INIT`.
    pub state: String,
    /// InfiniBand, RoCE or iWARP.
    pub link: String,
    /// What it carries, in megabits a second.
    pub rate_mbps: u64,
    /// Version of the device's firmware; software devices have none.
    pub firmware: String,
    /// Largest packet of the interface over it, in bytes.
    pub mtu_bytes: Option<u64>,
    /// NUMA node of the device.
    pub numa_node: Option<u32>,
    /// Keys of its partitions, in hex; the upper bit says full member.
    pub partitions: Vec<String>,
    /// Its addresses.
    pub gids: Vec<Address>,
}

/// An entry of a port's table of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Address {
    /// Its place in the table.
    pub index: u8,
    /// The address.
    pub address: String,
    /// The network interface behind it.
    pub interface: Option<String>,
    /// What it is good for.
    pub merit: &'static str,
    /// Whether it would be used.
    pub is_chosen: bool,
}

/// Looks at the devices, used as `asked`.
pub(super) fn look(environment: &Environment, asked: &Rdma) -> Devices {
    let candidates = VerbsFabric::new(asked.options(None)).candidates();
    let first = candidates.as_ref().ok().and_then(|candidates| candidates.first());
    let ports = verbs::availability().unwrap_or_default().iter().flat_map(|device| ports(device, environment, first)).collect();
    match &candidates {
        Ok(candidates) => Devices { ports, chosen: first.map(ToString::to_string), why: why(candidates.len()) },
        Err(error) => Devices { ports, chosen: None, why: error.to_string() },
    }
}

fn why(candidates: usize) -> String {
    match candidates {
        1 => "it is the only port that can be used".into(),
        more => format!(
            "the best of {more} ports that can be used: InfiniBand and RoCE go before iWARP, then routed addresses, then the highest \
             rate, then the device nearest to the cores, by NUMA node and PCI bridges"
        ),
    }
}

fn ports(device: &DeviceInfo, environment: &Environment, chosen: Option<&Choice>) -> Vec<Port> {
    let known = environment.infiniband.iter().find(|known| known.name == device.name);
    let port = |port: &PortInfo| {
        let uses = chosen.filter(|choice| choice.device == device.name && choice.port == port.number);
        let address = |gid: &verbs::Gid| Address {
            index: gid.index,
            address: gid.address().to_string(),
            interface: gid.interface.clone(),
            merit: verbs::merit(port, gid),
            is_chosen: uses.is_some_and(|choice| choice.gid.index == gid.index),
        };
        let same = |known: &&InfinibandDevice| {
            known.ports.iter().find(|other| other.port == u32::from(port.number)).and_then(|port| port.mtu_bytes)
        };
        Port {
            device: device.name.clone(),
            port: port.number,
            state: port.state.clone(),
            link: port.link.to_string(),
            rate_mbps: port.rate_mbps,
            firmware: known.map_or_else(String::new, |known| known.firmware.clone()),
            mtu_bytes: known.as_ref().and_then(same),
            numa_node: device.numa_node,
            partitions: port.partitions.iter().map(|(_, key)| format!("{key:#06x}")).collect(),
            gids: port.gids.iter().map(address).collect(),
        }
    };
    device.ports.iter().map(port).collect()
}

/// Findings about the devices that were looked at.
pub(super) fn findings(environment: &Environment, machine: &Machine, devices: &Devices) -> Vec<Finding> {
    if environment.infiniband.is_empty() && devices.ports.is_empty() {
        let what = "no device on this machine; one in software shows that programs run, at no speed";
        return vec![Finding::note("RDMA", what).mended_by("sudo modprobe rdma_rxe && sudo rdma link add rxe0 type rxe netdev INTERFACE")];
    }
    let mut found = vec![match &devices.chosen {
        Some(chosen) => Finding::note("RDMA", format!("{chosen} is used: {}", devices.why)),
        None => Finding::wrong("RDMA", devices.why.clone()).mended_by(mend_of(devices)),
    }];
    found.extend(devices.ports.iter().flat_map(|port| about_port(port, machine, devices.chosen.is_some())));
    for (at, device) in environment.infiniband.iter().enumerate() {
        let differs = |other: &&InfinibandDevice| other.adapter == device.adapter && other.firmware != device.firmware;
        if let Some(other) = environment.infiniband[..at].iter().find(differs) {
            let what = format!("firmware {}, and {} of the same kind has {}", device.firmware, other.name, other.firmware);
            found.push(Finding::advice(&device.name, what).mended_by(format!("sudo mlxfwmanager -d {}", device.name)));
        }
    }
    found
}

/// The command for devices of which none can be used.
fn mend_of(devices: &Devices) -> String {
    let interface = devices.ports.iter().flat_map(|port| &port.gids).find_map(|gid| gid.interface.clone());
    let has_state = |state: &str| devices.ports.iter().any(|port| port.state == state && port.link == LinkKind::InfiniBand.to_string());
    match devices.ports.is_empty() {
        true if devices.why.contains("install") => "sudo apt-get install libibverbs1 ibverbs-providers".into(),
        true => "sudo modprobe ib_uverbs && ls -l /dev/infiniband".into(),
        false if has_state("INIT") => "sudo systemctl start opensm   # on one host of the subnet".into(),
        false => format!("sudo ip link set {} up", interface.as_deref().unwrap_or("INTERFACE")),
    }
}

fn about_port(port: &Port, machine: &Machine, is_any_used: bool) -> Vec<Finding> {
    let about = format!("{} port {}", port.device, port.port);
    let mut found = Vec::new();
    if port.state != "ACTIVE" {
        let what = format!("{}: it carries nothing", port.state);
        found.push(match is_any_used {
            true => Finding::note(&about, what),
            false => Finding::wrong(&about, what),
        });
        return found;
    }
    let is_roce = port.link == LinkKind::Roce.to_string();
    let interface = port.gids.iter().find_map(|gid| gid.interface.clone());
    if let (true, Some(mtu), Some(interface)) = (is_roce, port.mtu_bytes.filter(|&mtu| mtu < INTERFACE_MTU), interface) {
        let what = format!("packets of {interface} hold {mtu} bytes; with {INTERFACE_MTU} RoCE carries 4096 in one");
        let mend = format!("sudo ip link set dev {interface} mtu {INTERFACE_MTU}   # on every host and switch of the network");
        found.push(Finding::advice(&about, what).mended_by(mend));
    }
    let is_full = |key: &String| u16::from_str_radix(key.trim_start_matches("0x"), 16).is_ok_and(|key| key & FULL_MEMBER != 0);
    if port.link == LinkKind::InfiniBand.to_string() && !port.partitions.is_empty() && !port.partitions.iter().any(is_full) {
        let what = format!("a limited member of its partitions ({}): limited members do not reach each other", port.partitions.join(", "));
        found.push(Finding::advice(&about, what).mended_by("edit /etc/opensm/partitions.conf: ALL=full; sudo systemctl restart opensm"));
    }
    if let Some(far) = far_cores(&port.device, machine) {
        found.push(far);
    }
    found
}

/// Whether none of the cores that nodes may run on is near to a device that has near ones.
fn far_cores(device: &str, machine: &Machine) -> Option<Finding> {
    let card = machine.topology.cards.iter().find(|card| card.name == device && !card.near.is_empty())?;
    let is_near = machine.cores.iter().any(|core| card.near.contains(core));
    let near = card.near.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    (!is_near).then(|| {
        let what = format!("near to cores {near}, of which this process may use none");
        Finding::advice(device, what).mended_by(format!("taskset -c {near} squall ..."))
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use squall_report::environment::{Card, Topology};

    fn port(state: &str, link: LinkKind) -> Port {
        let gids = vec![Address { interface: Some("eth2".into()), ..Address::default() }];
        Port { device: "mlx5_0".into(), port: 1, state: state.into(), link: link.to_string(), gids, ..Port::default() }
    }

    fn found(ports: Vec<Port>, chosen: Option<&str>, why: &str) -> Vec<Finding> {
        let mut environment = Environment::default();
        for firmware in ["16.1", "16.2"] {
            let name = format!("mlx5_{firmware}");
            environment.infiniband.push(InfinibandDevice {
                name,
                adapter: "MT4119".into(),
                firmware: firmware.into(),
                ..InfinibandDevice::default()
            });
        }
        let card = Card { name: "mlx5_0".into(), is_rdma: true, near: vec![8, 9], ..Card::default() };
        let topology = Topology { cards: vec![card], ..Topology::default() };
        let machine = Machine { cores: vec![0, 1], topology, ..Machine::default() };
        findings(&environment, &machine, &Devices { ports, chosen: chosen.map(Into::into), why: why.into() })
    }

    fn mend<'a>(found: &'a [Finding], about: &str, level: Level) -> Vec<&'a str> {
        found.iter().filter(|f| f.about == about && f.level == level).filter_map(|f| f.mend.as_deref()).collect()
    }

    #[test]
    fn devices_that_cannot_be_used_are_wrong_and_each_cause_has_its_own_mend() {
        let of = |ports, why| found(ports, None, why);
        let rdma = |found: &[Finding]| mend(found, "RDMA", Level::Wrong)[0].to_owned();
        assert!(rdma(&of(vec![], "no libibverbs; install libibverbs1")).contains("apt-get install libibverbs1"));
        assert!(rdma(&of(vec![], "finds no devices")).contains("modprobe ib_uverbs"));
        assert!(rdma(&of(vec![port("INIT", LinkKind::InfiniBand)], "no active port")).contains("opensm"));
        let down = of(vec![port("DOWN", LinkKind::Roce)], "no active port");
        assert_eq!(rdma(&down), "sudo ip link set eth2 up");
        assert!(down.iter().any(|finding| finding.about == "mlx5_0 port 1" && finding.level == Level::Wrong));
    }

    #[test]
    fn a_port_that_is_used_may_still_be_better() {
        let small = Port { mtu_bytes: Some(1500), ..port("ACTIVE", LinkKind::Roce) };
        let limited = Port { partitions: vec!["0x7fff".into()], ..port("ACTIVE", LinkKind::InfiniBand) };
        let found_now = found(vec![small.clone(), limited.clone()], Some("mlx5_0 port 1"), "it is the only one");
        let mends = mend(&found_now, "mlx5_0 port 1", Level::Advice);
        assert!(mends[0].contains("mtu 4200") && mends[1].contains("partitions.conf"), "{mends:?}");
        assert!(mend(&found_now, "mlx5_0", Level::Advice)[0].starts_with("taskset -c 8,9"));
        assert!(mend(&found_now, "mlx5_16.2", Level::Advice)[0].contains("mlxfwmanager"));
        let good = Port { mtu_bytes: Some(9000), ..small };
        let full = Port { partitions: vec!["0x7fff".into(), "0xffff".into()], ..limited };
        let found = found(vec![good, full], Some("mlx5_0 port 1"), "");
        assert!(mend(&found, "mlx5_0 port 1", Level::Advice).is_empty());
    }

    #[test]
    fn no_device_at_all_is_no_fault() {
        let found = findings(&Environment::default(), &Machine::default(), &Devices::default());
        assert_eq!(found[0].level, Level::Note);
    }
}
