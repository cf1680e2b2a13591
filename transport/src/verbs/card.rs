//! What members tell each other before their queue pairs meet.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::options::VerbsOptions;
use super::queue_pair::Path;
use super::sysfs::{LinkKind, PARTITION};
use crate::absent::Absent;
use crate::endpoint::OpenError;
use crate::exchange::{Exchange, connection_token};
use crate::rank::Rank;

/// Version of the card, of the rolls behind it, and of what control words and immediates mean.
const VERSION: u8 = 3;

/// Memory at a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RemoteMemory {
    pub(super) address: u64,
    pub(super) bytes: u64,
    pub(super) key: u32,
}

impl RemoteMemory {
    /// Whether every address in it is a number.
    fn fits(&self) -> bool {
        self.address.checked_add(self.bytes).is_some()
    }
}

/// How its packets look, on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wire {
    InfiniBand,
    RoceV1,
    RoceV2,
    Iwarp,
}

impl Wire {
    pub(super) fn of(link: LinkKind, v2: bool) -> Wire {
        match link {
            LinkKind::InfiniBand => Wire::InfiniBand,
            LinkKind::Iwarp => Wire::Iwarp,
            LinkKind::Roce if v2 => Wire::RoceV2,
            LinkKind::Roce => Wire::RoceV1,
            LinkKind::Other => unreachable!("it is never chosen"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Wire::InfiniBand => "InfiniBand",
            Wire::RoceV1 => "RoCE v1",
            Wire::RoceV2 => "RoCE v2",
            Wire::Iwarp => "iWARP",
        }
    }
}

/// One member's card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Card {
    pub(super) version: u8,
    pub(super) wire: Wire,
    pub(super) gid: [u8; 16],
    pub(super) lid: u16,
    /// As the C enumeration counts.
    pub(super) mtu: u8,
    pub(super) regions: Vec<RemoteMemory>,
    pub(super) control: RemoteMemory,
    /// Whether writes are counted.
    pub(super) counted: bool,
    /// Where the connection manager listens, if it makes the connections.
    pub(super) listens_at: Option<SocketAddr>,
    /// Numbers of the queue pairs, by rank of the peer each is for; of mine 0.
    pub(super) queue_pairs: Vec<u32>,
    /// The key of its partition.
    pub(super) partition: u16,
    /// Its port takes nothing without a global header.
    pub(super) needs_global_route: bool,
}

impl Card {
    pub(super) fn new(wire: Wire, gid: [u8; 16], lid: u16, mtu: u8, control: RemoteMemory) -> Card {
        Card {
            version: VERSION,
            wire,
            gid,
            lid,
            mtu,
            regions: Vec::new(),
            control,
            counted: false,
            listens_at: None,
            queue_pairs: Vec::new(),
            partition: u16::MAX,
            needs_global_route: false,
        }
    }

    /// Gives mine and takes everyone's but for absent members, each checked against mine.
    pub(super) fn exchange(&self, exchange: &mut dyn Exchange, absent: &mut Absent) -> Result<Vec<Option<Card>>, OpenError> {
        let mine = postcard::to_stdvec(self).expect("a card always encodes");
        let parts = exchange.all_gather("verbs addresses", &mine)?;
        absent.look(&parts);
        let members = parts.len();
        let mut cards = vec![None; members];
        cards[exchange.rank().index()] = Some(self.clone());
        for peer in absent.peers().collect::<Vec<_>>() {
            match self.read(&parts[peer.index()], members) {
                Ok(card) => cards[peer.index()] = Some(card),
                Err(what) => absent.exclude(exchange, peer, OpenError::Peer { fabric: "verbs", peer, what })?,
            }
        }
        Ok(cards)
    }

    fn read(&self, part: &[u8], members: usize) -> Result<Card, String> {
        let theirs: Card = postcard::from_bytes(part).map_err(|error| format!("its card is unreadable ({error})"))?;
        self.accept(&theirs, members).map(|()| theirs)
    }

    fn accept(&self, theirs: &Card, members: usize) -> Result<(), String> {
        if theirs.version != VERSION {
            return Err(format!("it speaks version {} of this fabric, I speak {VERSION}; run the same build everywhere", theirs.version));
        }
        if theirs.wire != self.wire {
            let mend = "name the device and GID index at each, so that all agree";
            return Err(format!("it chose {}, I chose {}: {mend}", theirs.wire.name(), self.wire.name()));
        }
        let [mine, other] = [self.partition, theirs.partition].map(|key| key & PARTITION);
        if mine != other {
            return Err(format!("it is in partition {other:#06x}, I am in {mine:#06x}: name one that all are in"));
        }
        if (self.partition | theirs.partition) & !PARTITION == 0 {
            return Err(format!(
                "both are limited members of partition {mine:#06x}, which do not hear each other: one needs to be a full member"
            ));
        }
        if self.wire == Wire::RoceV2 && is_v4(&theirs.gid) != is_v4(&self.gid) {
            let family = |gid| if is_v4(gid) { "IPv4" } else { "IPv6" };
            let mend = "give every interface an IPv4 address, or name GID indices of one family";
            return Err(format!("its GID is an {} address, mine {}: {mend}", family(&theirs.gid), family(&self.gid)));
        }
        if theirs.regions.len() != self.regions.len() || theirs.queue_pairs.len() != members {
            let (regions, mine) = (theirs.regions.len(), self.regions.len());
            return Err(format!("it opens with {regions} regions where I have {mine}; same program?"));
        }
        if theirs.counted != self.counted {
            let word = |counted| if counted { "counts writes" } else { "trusts the order of writes" };
            return Err(format!("it {}, mine {}: give every member the same option", word(theirs.counted), word(self.counted)));
        }
        // Region 0 is the table, which is laid out alike everywhere, and so is the control memory.
        let alike = self.regions.first().zip(theirs.regions.first()).into_iter().chain([(&self.control, &theirs.control)]);
        for (mine, theirs) in alike {
            if mine.bytes != theirs.bytes {
                let (theirs, mine) = (theirs.bytes, mine.bytes);
                return Err(format!("its memory has {theirs} bytes where mine has {mine}; same program and configuration?"));
            }
        }
        if let Some(memory) = theirs.regions.iter().chain([&theirs.control]).find(|memory| !memory.fits()) {
            return Err(format!("its memory of {} bytes at {:#x} ends beyond all addresses", memory.bytes, memory.address));
        }
        if !(1..=5).contains(&theirs.mtu) {
            return Err(format!("its path MTU is number {}, which does not exist", theirs.mtu));
        }
        Ok(())
    }
}

fn is_v4(gid: &[u8; 16]) -> bool {
    std::net::Ipv6Addr::from(*gid).to_ipv4_mapped().is_some()
}

/// The way from me to `peer`.
pub(super) fn path(exchange: &dyn Exchange, peer: Rank, mine: &Card, theirs: &Card, at: (u8, u8), options: &VerbsOptions) -> Path {
    let me = exchange.rank();
    let (port, gid_index) = at;
    let psn = |from, to| {
        let token = connection_token(exchange.token(), from, to, "verbs packet numbers");
        u32::from_le_bytes([token[0], token[1], token[2], 0])
    };
    // Within one InfiniBand subnet local identifiers lead the whole way.
    let is_global = mine.wire != Wire::InfiniBand
        || mine.gid[..8] != theirs.gid[..8]
        || options.gid_index.is_some()
        || mine.needs_global_route
        || theirs.needs_global_route;
    Path {
        port,
        gid_index,
        gid: is_global.then_some(theirs.gid),
        lid: theirs.lid,
        traffic_class: options.traffic_class,
        service_level: options.service_level,
        mtu: mine.mtu.min(theirs.mtu),
        peer_number: theirs.queue_pairs[me.index()],
        send_psn: psn(me, peer),
        receive_psn: psn(peer, me),
    }
}

/// Bytes of the path MTU that the C enumeration calls `mtu`.
pub(super) fn mtu_bytes(mtu: u8) -> u32 {
    128 << mtu
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::LocalExchange;
    use proptest::prelude::*;

    fn gid(address: &str) -> [u8; 16] {
        match address.parse().unwrap() {
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(v6) => v6.octets(),
        }
    }

    fn card(wire: Wire, address: &str) -> Card {
        let control = RemoteMemory { address: 4096, bytes: 8192, key: 7 };
        let mut card = Card::new(wire, gid(address), 3, 3, control);
        card.queue_pairs = vec![17, 18];
        card
    }

    #[test]
    fn cards_go_round_and_both_ends_agree_on_the_path() {
        let (mut a, mut b) = (card(Wire::RoceV2, "192.0.2.1"), card(Wire::RoceV2, "192.0.2.2"));
        (a.mtu, b.queue_pairs) = (5, vec![33, 34]);
        let mut mesh = LocalExchange::mesh(2);
        let (mut second, mut first) = (mesh.pop().unwrap(), mesh.pop().unwrap());
        let cards = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut absent = Absent::of(&second);
                b.exchange(&mut second, &mut absent).unwrap()
            });
            let mut absent = Absent::of(&first);
            assert_eq!(a.exchange(&mut first, &mut absent).unwrap(), other.join().unwrap());
            [a.clone(), b.clone()]
        });
        let options = VerbsOptions::default();
        let there = path(&first, Rank(1), &cards[0], &cards[1], (1, 0), &options);
        let back = path(&second, Rank(0), &cards[1], &cards[0], (1, 0), &options);
        assert_eq!((there.send_psn, there.receive_psn), (back.receive_psn, back.send_psn));
        assert_ne!(there.send_psn, there.receive_psn);
        assert!(there.send_psn < 1 << 24);
        assert_eq!((there.mtu, back.mtu, mtu_bytes(there.mtu)), (3, 3, 1024));
        assert_eq!((there.peer_number, back.peer_number), (33, 18));
        assert_eq!(there.gid, Some(cards[1].gid));
    }

    #[test]
    fn infiniband_needs_no_global_header_within_a_subnet() {
        let exchange = &LocalExchange::mesh(2)[0];
        let (near, far) = (card(Wire::InfiniBand, "fe80::1"), card(Wire::InfiniBand, "fd00::2"));
        let options = VerbsOptions::default();
        assert_eq!(path(exchange, Rank(1), &near, &near, (1, 0), &options).gid, None);
        assert_eq!(path(exchange, Rank(1), &near, &far, (1, 0), &options).gid, Some(far.gid));
        // Unless a port says that it takes nothing else.
        let strict = Card { needs_global_route: true, ..near.clone() };
        assert_eq!(path(exchange, Rank(1), &near, &strict, (1, 0), &options).gid, Some(near.gid));
        assert_eq!(path(exchange, Rank(1), &strict, &near, (1, 0), &options).gid, Some(near.gid));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_the_mend() {
        let mine = card(Wire::RoceV2, "192.0.2.1");
        let refused = |theirs: &Card| mine.accept(theirs, 2).unwrap_err();
        assert!(refused(&card(Wire::RoceV1, "192.0.2.2")).contains("it chose RoCE v1, I chose RoCE v2"));
        assert!(refused(&card(Wire::RoceV2, "fe80::2")).contains("IPv6 address, mine IPv4"));
        assert!(refused(&Card { version: 9, ..mine.clone() }).contains("version 9"));
        assert!(refused(&Card { partition: 0x8001, ..mine.clone() }).contains("in partition 0x0001, I am in 0x7fff"));
        let limited = Card { partition: 0x7FFF, ..mine.clone() };
        assert_eq!(mine.accept(&Card { queue_pairs: vec![1, 2], ..limited.clone() }, 2), Ok(()));
        assert!(limited.accept(&limited, 2).unwrap_err().contains("both are limited members"));
        assert!(refused(&Card { regions: vec![mine.control], ..mine.clone() }).contains("1 regions where I have 0"));
        let small = RemoteMemory { bytes: 4096, ..mine.control };
        assert!(refused(&Card { control: small, ..mine.clone() }).contains("4096 bytes where mine has 8192"));
        let wild = RemoteMemory { address: u64::MAX - 4096, ..mine.control };
        assert!(refused(&Card { control: wild, ..mine.clone() }).contains("beyond all addresses"));
        assert!(refused(&Card { counted: true, ..mine.clone() }).contains("it counts writes, mine trusts"));
        assert!(refused(&Card { mtu: 6, ..mine.clone() }).contains("does not exist"));
        assert!(refused(&Card { queue_pairs: vec![1], ..mine.clone() }).contains("same program"));
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_no_more(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(card) = postcard::from_bytes::<Card>(&bytes) {
                let _ = self::card(Wire::RoceV2, "192.0.2.1").accept(&card, 2);
            }
        }
    }
}
