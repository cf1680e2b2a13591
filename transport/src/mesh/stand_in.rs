//! Addresses that stand for Unix sockets, so that processes of one host find each other where there is no IP.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::exchange::Place;
use crate::exchange::token::random_bytes;

/// `100::/64` leads nowhere in any network (RFC 6666), so no process listens at such an address.
const NOWHERE: u64 = 0x0100 << 48;
/// It means nothing: an address has a port.
const PORT: u16 = 1;

/// One that nobody else has.
pub(super) fn new() -> SocketAddr {
    let mut number = [0; 8];
    number.copy_from_slice(&random_bytes()[..8]);
    let bits = u128::from(NOWHERE) << 64 | u128::from(u64::from_be_bytes(number));
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(bits)), PORT)
}

/// The name of the Unix socket that `address` stands for, if it stands for one.
pub(super) fn name(address: SocketAddr) -> Option<String> {
    let IpAddr::V6(ip) = address.ip() else { return None };
    let bits = u128::from(ip);
    ((bits >> 64) as u64 == NOWHERE).then(|| format!("squall-mesh-{:016x}", bits as u64))
}

/// Where a mesh with this address listens.
pub(super) fn place(address: SocketAddr) -> Place {
    name(address).map_or(Place::Ip(address), Place::Local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_names_one_socket_and_survives_as_text() {
        let (one, other) = (new(), new());
        assert_ne!(name(one), name(other));
        assert_eq!(name(one.to_string().parse().expect("an address")), name(one));
        assert!(name(one).is_some_and(|name| name.starts_with("squall-mesh-")));
        for text in ["127.0.0.1:7", "[::1]:7", "[2001:db8::7]:80", "[100:0:0:1::7]:0"] {
            assert_eq!(name(text.parse().expect("an address")), None, "{text}");
        }
    }
}
