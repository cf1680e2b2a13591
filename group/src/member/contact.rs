//! Where a newcomer listens, in the three words that travel with its name.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use squall_membership::Newcomer;
use squall_transport::NodeId;

use crate::view::CONTACT_SENDS;

/// The port lies in these bits of the last word.
const PORT_SHIFT: u32 = 16;

/// A newcomer that listens at `address`.
pub(crate) fn newcomer(node: NodeId, address: SocketAddr, sends: bool) -> Newcomer {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let bits = u128::from(ip);
    let flags = if sends { CONTACT_SENDS } else { 0 };
    Newcomer { node: node.0, contact: [(bits >> 64) as u64, bits as u64, u64::from(address.port()) << PORT_SHIFT | flags] }
}

/// Where it listens.
pub(crate) fn address_of(newcomer: &Newcomer) -> SocketAddr {
    let [high, low, last] = newcomer.contact;
    let ip = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).to_canonical();
    SocketAddr::new(ip, (last >> PORT_SHIFT) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_three_words() {
        for text in ["127.0.0.1:1", "10.1.2.3:65535", "[2001:db8::7]:80", "[::1]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            for sends in [false, true] {
                let newcomer = newcomer(NodeId(7), address, sends);
                assert_eq!(address_of(&newcomer), address);
                assert_eq!(newcomer.contact[2] & CONTACT_SENDS != 0, sends);
            }
        }
    }
}
