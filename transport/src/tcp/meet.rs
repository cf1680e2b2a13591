//! Links to all other members: what they announce, and the sockets of their meeting.

use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use super::announcement::{Announcement, announce};
use super::kept::Kept;
use super::link::Link;
use super::meeting::Meeting;
use super::socket::{failed, listen};
use crate::absent::Absent;
use crate::address::beside;
use crate::endpoint::OpenError;
use crate::exchange::Exchange;
use crate::link_name::LinkName;
use crate::lost::give_up_after;
use crate::ports::Ports;
use crate::rank::Rank;
use crate::region::Region;
use crate::within_host::unpaced_within_host;

/// What came of meeting, by rank.
pub(super) struct Met {
    /// None to myself and to absent members.
    pub(super) links: Vec<Option<Link>>,
    /// Why there is no link.
    pub(super) absent: Vec<Option<String>>,
}

/// What my ends of all links are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Where they listen and dial from.
    pub(super) bind: IpAddr,
    /// At which ports they listen.
    pub(super) ports: Ports,
    /// How long a peer's host may be silent.
    pub(super) lost_after: Duration,
}

/// Links to all other members that can be had; `kept` are my sockets of the last epoch.
pub(super) fn meet(ends: &Ends, exchange: &mut dyn Exchange, regions: &[Region], kept: Vec<Kept>) -> Result<Met, OpenError> {
    let (mut door, address) = listen(ends.bind, ends.ports)?;
    let (mut absent, me, link_name) = (Absent::of(exchange), exchange.rank(), LinkName::of(exchange));
    let resumable = kept.into_iter().filter_map(|kept| Some((kept.link_name.find(&link_name)?, kept)));
    let mut resumable: Vec<(Rank, Kept)> = resumable.collect();
    let mine = Announcement {
        listens_at: address,
        region_bytes: regions.iter().map(|region| region.bytes() as u64).collect(),
        kept: resumable.iter().map(|(peer, kept)| (*peer, kept.link_name.tag)).collect(),
    };
    let announced = announce(exchange, &mut absent, regions, mine)?;
    resumable.retain(|(peer, kept)| !absent.is_absent(*peer) && announced[peer.index()].kept.contains(&(me, kept.link_name.tag)));
    // Between hosts, link-local addresses lose their interface: it is another one's there.
    let addresses: Vec<_> = announced.iter().map(|announced| beside(address, announced.listens_at)).collect();
    let sockets = Meeting::new(&mut door, exchange, &mut absent, resumable).link(ends.bind, &addresses)?;
    for socket in sockets.iter().flatten() {
        let set_up = socket.set_nodelay(true).and_then(|()| give_up_after(socket, ends.lost_after));
        set_up.map_err(failed("setting up a data socket"))?;
        unpaced_within_host(socket);
    }
    if exchange.patience().is_none() {
        exchange.all_gather("tcp linked", &[])?;
    }
    let links = sockets.into_iter().zip(announced).zip(link_name);
    let link = |((socket, announced), link_name): ((Option<TcpStream>, Announcement), Option<LinkName>)| {
        socket.map(|socket| Link::new(socket, announced.region_bytes, link_name))
    };
    Ok(Met { links: links.map(link).collect(), absent: absent.into_reasons() })
}
