//! Addresses of this host: its loopback, and the interface that a link-local address belongs to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

/// The loopback address that works here: `127.0.0.1`, or `::1` where there is no IPv4.
///
/// # Errors
/// What the system says of the first, if there is neither: the loopback interface is down, in a container that was
/// given none, say. Members of one host meet at a [`Place::Local`](crate::exchange::Place::Local) then, and use `shm`.
pub fn loopback() -> io::Result<IpAddr> {
    // Where its interface is down an address can still be bound, but nothing leads there. To connect a datagram socket
    // sends nothing.
    let works = |address: IpAddr| UdpSocket::bind((address, 0))?.connect((address, 9)).map(|()| address);
    works(Ipv4Addr::LOCALHOST.into()).or_else(|error| works(Ipv6Addr::LOCALHOST.into()).map_err(|_| error))
}

/// `address`, which is of this host. To a link-local one its interface is added, without which it means nothing.
pub fn own(address: SocketAddr) -> SocketAddr {
    let interfaces = || std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    if let SocketAddr::V6(v6) = address
        && lacks_interface(address)
        && let Some(index) = interface_of(&interfaces(), *v6.ip())
    {
        return SocketAddrV6::new(*v6.ip(), v6.port(), v6.flowinfo(), index).into();
    }
    address
}

/// `address` of another host, as this one reaches it whose end is `mine`: a link-local one by the same interface.
pub fn beside(mine: SocketAddr, address: SocketAddr) -> SocketAddr {
    match (mine, address) {
        (SocketAddr::V6(mine), SocketAddr::V6(v6)) if lacks_interface(address) => {
            SocketAddrV6::new(*v6.ip(), v6.port(), v6.flowinfo(), mine.scope_id()).into()
        }
        _ => address,
    }
}

/// Whether it is a link-local address without its interface.
pub(crate) fn lacks_interface(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.scope_id() == 0 && v6.ip().is_unicast_link_local())
}

/// The index of the interface that `address` belongs to, where it is only one. `table` is what the kernel lists:
/// address, index, bits, scope, flags, all in hex, and the interface's name.
fn interface_of(table: &str, address: Ipv6Addr) -> Option<u32> {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let here = u128::from_str_radix(fields.next()?, 16).ok()?;
        let index = u32::from_str_radix(fields.next()?, 16).ok()?;
        (here == address.to_bits()).then_some(index)
    };
    let mut found = table.lines().filter_map(entry);
    found.next().filter(|first| found.all(|other| other == *first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "00000000000000000000000000000001 01 80 10 80       lo\n\
        fe800000000000000000000000000001 0c 40 20 80    cable0\n\
        fe800000000000000000000000000002 02 40 20 80     eth0\n\
        fe800000000000000000000000000002 03 40 20 80     eth1\n";

    #[test]
    fn a_link_local_address_is_known_by_its_interface() {
        let of = |text: &str| interface_of(TABLE, text.parse().expect("an address"));
        assert_eq!(of("fe80::1"), Some(12));
        assert_eq!(of("fe80::2"), None, "it is ambiguous");
        assert_eq!(of("fe80::3"), None);
    }

    #[test]
    fn a_peer_is_reached_by_my_interface_if_it_has_none_of_its_own() {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let mine = parse("[fe80::1%12]:0");
        for (theirs, reached) in [
            ("[fe80::7]:80", "[fe80::7%12]:80"),
            ("[fe80::7%3]:80", "[fe80::7%3]:80"),
            ("[2001:db8::7]:80", "[2001:db8::7]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(beside(mine, parse(theirs)), parse(reached));
        }
    }
}
