//! Who gives way where too many connections have not proved themselves.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

/// How far a connection has come; less gives way to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It has said nothing.
    Silent,
    /// It has said something that proves nothing.
    Speaking,
    /// It has shown that it holds the secret.
    Proven,
}

/// Which of the connections that wait, in the order they came, gives way to a newcomer: the longest there of the source
/// with the most that have come as little far as any. None, if all have proved themselves.
///
/// So a flood pushes out itself: an honest newcomer says who it is at once, and shares a source with few.
pub(crate) fn gives_way<S: Eq + Hash>(waiting: impl IntoIterator<Item = (S, Standing)>) -> Option<usize> {
    let waiting: Vec<_> = waiting.into_iter().collect();
    let least = waiting.iter().map(|(_, standing)| *standing).min().filter(|&least| least < Standing::Proven)?;
    // By source: how many, and the first.
    let mut sources: HashMap<&S, (usize, usize)> = HashMap::new();
    for (index, (source, _)) in waiting.iter().enumerate().filter(|(_, (_, standing))| *standing == least) {
        sources.entry(source).or_insert((0, index)).0 += 1;
    }
    sources.into_values().max_by_key(|&(count, first)| (count, usize::MAX - first)).map(|(_, first)| first)
}

/// What counts as one source: an IPv4 host, or an IPv6 network, all of whose addresses one host may use.
pub(crate) fn source(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = !(u64::MAX as u128);
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(Ipv6Addr::from(v6.to_bits() & NETWORK).into(), IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Proven, Silent, Speaking};

    #[test]
    fn the_oldest_of_the_greatest_crowd_gives_way() {
        assert_eq!(gives_way([('a', Silent), ('b', Silent), ('b', Silent), ('a', Silent), ('b', Silent)]), Some(1));
        assert_eq!(gives_way([('a', Silent), ('b', Silent)]), Some(0));
        assert_eq!(gives_way::<char>([]), None);
    }

    #[test]
    fn who_has_come_further_stays_before_those_who_have_not() {
        assert_eq!(gives_way([('a', Speaking), ('a', Proven), ('a', Speaking), ('b', Silent)]), Some(3));
        assert_eq!(gives_way([('a', Proven), ('a', Speaking), ('b', Speaking), ('b', Speaking)]), Some(2));
        assert_eq!(gives_way([('a', Proven), ('b', Proven)]), None);
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let of = |text: &str| source(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:0:1::7"), of("2001:db8:0:1:ffff::8"));
        assert_ne!(of("2001:db8:0:1::7"), of("2001:db8:0:2::7"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
    }
}
