//! Which interfaces and ports the hosts of a run use.

use std::net::IpAddr;
use std::str::FromStr;

use if_addrs::{IfAddr, Interface};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use squall_report::environment::Topology;
use squall_transport::Ports;

use crate::jobs::os;

/// Which interfaces and ports the hosts of a run use. What the first host is told holds for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[command(next_help_heading = "Network between hosts")]
pub struct Network {
    /// Interfaces for data, by name or subnet, best first; ^ in front leaves one out. Of those that a rule takes, the
    /// one nearest to the cores in use comes first. Those that do not reach all peers are named and left out [example:
    /// ib0,10.0.0.0/8,^10.1.0.0/16]
    #[arg(long, value_name = "LIST", value_delimiter = ',', env = "SQUALL_INTERFACE")]
    pub interface: Vec<InterfaceRule>,
    /// Ports at which hosts listen, where a firewall lets only those through [default: any] [example: 7400-7499]
    #[arg(long, value_name = "FIRST-LAST", default_value_t = Ports::ANY, hide_default_value = true, env = "SQUALL_PORTS")]
    pub ports: Ports,
}

/// A rule of `--interface`: what to take, or with `^` what to leave out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct InterfaceRule {
    leaves_out: bool,
    means: Means,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Means {
    Name(String),
    Subnet(IpNet),
}

/// An address of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnAddress {
    /// The name of its interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
}

impl OwnAddress {
    /// Whether it means something on its own link alone.
    pub fn is_of_one_link(&self) -> bool {
        remoteness(self.address) == 2
    }
}

impl InterfaceRule {
    fn is_of(&self, interface: &str, address: IpAddr) -> bool {
        match &self.means {
            Means::Name(name) => name == interface,
            Means::Subnet(subnet) => subnet.contains(&address),
        }
    }
}

impl FromStr for InterfaceRule {
    type Err = String;

    fn from_str(text: &str) -> Result<InterfaceRule, String> {
        let (leaves_out, what) = text.strip_prefix('^').map_or((false, text), |what| (true, what));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:@".contains(&byte);
        let means = match (what.parse::<IpNet>(), what.parse::<IpAddr>()) {
            (Ok(subnet), _) => Means::Subnet(subnet.trunc()),
            (_, Ok(address)) => Means::Subnet(address.into()),
            _ if !what.is_empty() && what.bytes().all(is_name) => Means::Name(what.to_owned()),
            _ => return Err(format!("`{text}` is no interface and no subnet: give ib0, 10.0.0.0/8, or ^eth0 to leave one out")),
        };
        Ok(InterfaceRule { leaves_out, means })
    }
}

impl std::fmt::Display for InterfaceRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let leaves_out = if self.leaves_out { "^" } else { "" };
        match &self.means {
            Means::Name(name) => write!(f, "{leaves_out}{name}"),
            Means::Subnet(subnet) => write!(f, "{leaves_out}{subnet}"),
        }
    }
}

impl From<InterfaceRule> for String {
    fn from(rule: InterfaceRule) -> String {
        rule.to_string()
    }
}

impl TryFrom<String> for InterfaceRule {
    type Error = String;

    fn try_from(text: String) -> Result<InterfaceRule, String> {
        text.parse()
    }
}

/// The rules as they are written.
pub fn rules(rules: &[InterfaceRule]) -> String {
    rules.iter().map(InterfaceRule::to_string).collect::<Vec<_>>().join(",")
}

/// The addresses of this host that the rules take, best first.
///
/// # Errors
/// If there is none, with those that there are.
pub fn own_addresses(rules: &[InterfaceRule]) -> Result<Vec<OwnAddress>, String> {
    let interfaces = if_addrs::get_if_addrs().map_err(|error| format!("this host does not say what interfaces it has: {error}"))?;
    // Also those that are down: the kernel says so late, and who asks tries them.
    let topology = Topology::of_this_machine();
    // The first core is the first that a node is given.
    let first: Vec<usize> = topology.spread(&os::cores()).into_iter().take(1).collect();
    chosen(rules, interfaces.iter().map(own).collect(), |interface| topology.distance(interface, &first))
}

fn own(interface: &Interface) -> OwnAddress {
    let address = match &interface.addr {
        IfAddr::V4(v4) => v4.ip.into(),
        IfAddr::V6(v6) => v6.ip.into(),
    };
    OwnAddress { interface: interface.name.clone(), address }
}

fn chosen<D: Ord>(rules: &[InterfaceRule], all: Vec<OwnAddress>, distance: impl Fn(&str) -> D) -> Result<Vec<OwnAddress>, String> {
    let (out, takes): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.leaves_out);
    // The place of the rule that takes it. Loopback, which leads nowhere, is taken only if it is meant.
    let place = |own: &OwnAddress| match takes.is_empty() {
        true => (!own.address.is_loopback()).then_some(0),
        false => takes.iter().position(|rule| rule.is_of(&own.interface, own.address)),
    };
    let is_left_out = |own: &OwnAddress| out.iter().any(|rule| rule.is_of(&own.interface, own.address));
    let mut taken: Vec<(usize, u8, OwnAddress)> =
        all.iter().filter(|own| !is_left_out(own)).filter_map(|own| Some((place(own)?, remoteness(own.address), own.clone()))).collect();
    if taken.is_empty() {
        let here: Vec<String> = all.iter().map(|own| format!("{} {}", own.interface, own.address)).collect();
        let rules = self::rules(rules);
        return Err(format!("--interface {rules} takes no address of this host, which has: {}; `ip address` shows them", here.join(", ")));
    }
    taken.sort_by_key(|(place, remoteness, own)| (*place, *remoteness, distance(&own.interface)));
    Ok(taken.into_iter().map(|(_, _, own)| own).collect())
}

/// IPv4 first, then IPv6, then what does not leave its link.
fn remoteness(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if !v6.is_unicast_link_local() => 1,
        IpAddr::V6(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: [(&str, &str); 6] =
        [("lo", "127.0.0.1"), ("eth0", "192.168.1.5"), ("eth0", "fe80::1"), ("ib0", "10.1.0.5"), ("ib1", "10.2.0.5"), ("eth0", "fd00::5")];

    fn taken(text: &str) -> Result<String, String> {
        taken_where("", text)
    }

    /// The same where one interface is in a slot far from the cores.
    fn taken_where(far: &str, text: &str) -> Result<String, String> {
        let rules: Vec<InterfaceRule> = text.split(',').filter(|rule| !rule.is_empty()).map(|rule| rule.parse().unwrap()).collect();
        let own = |(interface, address): (&str, &str)| OwnAddress { interface: interface.into(), address: address.parse().unwrap() };
        let chosen = chosen(&rules, HOST.map(own).into(), |interface| u8::from(interface == far))?;
        Ok(chosen.iter().map(|own| own.address.to_string()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn interfaces_are_taken_by_name_and_by_subnet_in_the_order_of_the_rules() {
        assert_eq!(taken("ib0"), Ok("10.1.0.5".into()));
        assert_eq!(taken("10.0.0.0/8"), Ok("10.1.0.5 10.2.0.5".into()));
        assert_eq!(taken("ib1,10.0.0.0/8,eth0"), Ok("10.2.0.5 10.1.0.5 192.168.1.5 fd00::5 fe80::1".into()));
        assert_eq!(taken("10.0.0.0/8,^10.1.0.0/16"), Ok("10.2.0.5".into()));
        assert_eq!(taken("^ib0,^ib1"), Ok("192.168.1.5 fd00::5 fe80::1".into()), "loopback is taken only if it is meant");
        assert_eq!(taken("lo"), Ok("127.0.0.1".into()));
        assert_eq!(taken("fd00::5"), Ok("fd00::5".into()));
    }

    #[test]
    fn of_rails_the_nearest_is_taken_unless_the_other_is_named_first() {
        assert_eq!(taken_where("ib0", "10.0.0.0/8"), Ok("10.2.0.5 10.1.0.5".into()));
        assert_eq!(taken_where("ib1", "10.0.0.0/8"), Ok("10.1.0.5 10.2.0.5".into()));
        assert_eq!(taken_where("ib0", "ib0,ib1"), Ok("10.1.0.5 10.2.0.5".into()));
    }

    #[test]
    fn rules_that_take_nothing_name_what_there_is() {
        let error = taken("ib7").unwrap_err();
        assert!(error.contains("--interface ib7 takes no address") && error.contains("ib0 10.1.0.5"), "{error}");
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in ["ib0", "^eth0.7", "10.0.0.0/8", "^fd00::/8"] {
            assert_eq!(text.parse::<InterfaceRule>().unwrap().to_string(), text);
        }
        assert_eq!("10.1.2.3/8".parse::<InterfaceRule>().unwrap().to_string(), "10.0.0.0/8");
        for text in ["", "^", "ib 0", "10.0.0.0/99"] {
            assert!(text.parse::<InterfaceRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn this_host_has_a_loopback_address() {
        let rule = "127.0.0.0/8".parse().unwrap();
        assert!(own_addresses(&[rule]).unwrap().iter().any(|own| own.address.is_loopback()));
    }
}
