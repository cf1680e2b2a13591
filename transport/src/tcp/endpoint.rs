//! The links of one epoch behind one epoll instance.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use super::kept::Kept;
use super::limits::{EVENTS_MAX, STAGING_BYTES};
use super::link::{Link, Taken};
use super::meet::{Ends, Met, meet};
use crate::endpoint::{Endpoint, Event, OpenError, QueueFull, Waker};
use crate::exchange::Exchange;
use crate::rank::Rank;
use crate::region::Region;
use crate::write::{Place, RegionId, Write};

/// What epoll calls the eventfd of the wakers; links go by their rank.
const ALARM: u64 = u64::MAX;

/// One member's sockets to all others.
pub struct TcpEndpoint {
    rank: Rank,
    /// By rank; none to myself and where the link is broken.
    links: Vec<Option<Link>>,
    regions: Vec<Region>,
    epoll: OwnedFd,
    alarm: Arc<OwnedFd>,
    /// What is ready: filled by a look, emptied by the next poll.
    ready: Vec<(u64, epoll::EventFlags)>,
    staging: Box<[u8; STAGING_BYTES]>,
    down: VecDeque<Rank>,
    /// By rank: why there was no link from the start.
    absent: Vec<Option<String>>,
    /// Something landed, or a link broke, since the last `arm`.
    stirred: bool,
}

impl TcpEndpoint {
    pub(super) fn open(ends: &Ends, exchange: &mut dyn Exchange, regions: &[Region], kept: Vec<Kept>) -> Result<TcpEndpoint, OpenError> {
        let Met { links, absent } = meet(ends, exchange, regions, kept)?;
        let system = |errno: rustix::io::Errno| OpenError::System { fabric: "tcp", what: "setting up epoll".into(), reason: errno.into() };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?;
        let alarm = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(system)?;
        epoll::add(&epoll, &alarm, epoll::EventData::new_u64(ALARM), epoll::EventFlags::IN).map_err(system)?;
        for (index, link) in links.iter().enumerate() {
            if let Some(link) = link {
                epoll::add(&epoll, link.socket(), epoll::EventData::new_u64(index as u64), interest(false)).map_err(system)?;
            }
        }
        let mut down = VecDeque::with_capacity(links.len());
        down.extend((0..links.len()).filter(|&index| absent[index].is_some()).map(Rank::new));
        Ok(TcpEndpoint {
            rank: exchange.rank(),
            links,
            regions: regions.to_vec(),
            epoll,
            alarm: Arc::new(alarm),
            ready: Vec::with_capacity(EVENTS_MAX),
            staging: Box::new([0; STAGING_BYTES]),
            down,
            absent,
            stirred: false,
        })
    }

    /// Ends the epoch here; the sockets that the next one may use.
    pub(super) fn retire(mut self) -> Vec<Kept> {
        let links = std::mem::take(&mut self.links);
        links.into_iter().flatten().filter_map(|link| link.keep(&mut self.staging, &self.regions)).collect()
    }

    /// Asks epoll what is ready. What does not fit comes with the next look: readiness is level-triggered, and the
    /// kernel takes turns.
    fn look(&mut self, timeout: Duration) {
        let timeout = Timespec { tv_sec: timeout.as_secs().min(1 << 30) as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS_MAX];
        match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
            Ok((events, _)) => self.ready.extend(events.iter().map(|&epoll::Event { flags, data }| (data.u64(), flags))),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("epoll_wait on my own descriptor: {errno}"),
        }
    }

    /// One pass over the links that are ready.
    fn progress(&mut self) {
        if self.ready.is_empty() {
            self.look(Duration::ZERO);
        }
        while let Some((data, flags)) = self.ready.pop() {
            if data == ALARM {
                continue;
            }
            let index = data as usize;
            if flags.intersects(epoll::EventFlags::OUT) {
                self.send(index);
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.take_in(index);
            }
        }
    }

    fn take_in(&mut self, index: usize) {
        let Some(link) = &mut self.links[index] else {
            return;
        };
        match link.take_in(&mut self.staging, &self.regions) {
            Taken::Bytes => self.stirred = true,
            Taken::Nothing => {}
            Taken::Broken => {
                // Dropping the socket takes it out of epoll.
                self.links[index] = None;
                self.down.push_back(Rank::new(index));
                self.stirred = true;
            }
        }
    }

    fn send(&mut self, index: usize) {
        let Some(link) = &mut self.links[index] else {
            return;
        };
        let awaits_room = link.send(&self.regions);
        if awaits_room != link.awaits_room {
            link.awaits_room = awaits_room;
            let data = epoll::EventData::new_u64(index as u64);
            if let Err(errno) = epoll::modify(&self.epoll, link.socket(), data, interest(awaits_room)) {
                panic!("epoll_ctl on my own descriptors: {errno}");
            }
        }
    }

    fn check(&self, write: &Write, peer_bytes: &[u64]) {
        let inside = |place: Place, len: u64, bytes: u64| {
            assert!(place.offset <= bytes && len <= bytes - place.offset, "{len} bytes at {place:?} lie outside a region of {bytes}");
        };
        let mine = |place: Place| self.regions[usize::from(place.region.0)].bytes() as u64;
        let theirs = |place: Place| peer_bytes[usize::from(place.region.0)];
        match *write {
            Write::Word { at, .. } => {
                assert!(at.offset.is_multiple_of(8), "a word at {at:?} is not aligned");
                inside(at, 8, theirs(at));
            }
            Write::Span { from, to, len } => {
                assert!(len > 0, "an empty span");
                inside(from, len, mine(from));
                inside(to, len, theirs(to));
            }
        }
    }
}

/// What epoll watches a link for.
fn interest(awaits_room: bool) -> epoll::EventFlags {
    if awaits_room { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}

impl Endpoint for TcpEndpoint {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn members(&self) -> usize {
        self.links.len()
    }

    fn region_bytes(&self, rank: Rank, region: RegionId) -> Option<u64> {
        let link = self.links.get(rank.index())?.as_ref()?;
        link.region_bytes().get(usize::from(region.0)).copied()
    }

    #[inline]
    fn post(&mut self, to: Rank, write: Write) -> Result<(), QueueFull> {
        assert!(to != self.rank && to.index() < self.links.len(), "rank {to} is no peer of mine");
        if let Some(link) = &self.links[to.index()] {
            self.check(&write, link.region_bytes());
        }
        match &mut self.links[to.index()] {
            Some(link) => link.push(write, &self.regions),
            None => Ok(()),
        }
    }

    /// From the peer behind me around, so that not all members send to the first one first: where links are slow, the
    /// others would wait meanwhile.
    fn flush(&mut self) {
        for index in (self.rank.index() + 1..self.links.len()).chain(0..self.rank.index()) {
            if self.links[index].as_ref().is_some_and(|link| link.has_queued() && !link.awaits_room) {
                self.send(index);
            }
        }
    }

    fn poll(&mut self) -> Option<Event> {
        if self.down.is_empty() {
            self.progress();
        }
        self.down.pop_front().map(Event::Down)
    }

    fn down_reason(&self, rank: Rank) -> Option<String> {
        self.absent.get(rank.index())?.clone()
    }

    fn backlog(&self) -> bool {
        self.links.iter().flatten().any(Link::has_queued)
    }

    fn backlog_to(&self, to: Rank) -> bool {
        self.links[to.index()].as_ref().is_some_and(Link::has_queued)
    }

    #[inline]
    fn allowance(&self, to: Rank) -> u64 {
        self.links[to.index()].as_ref().map_or(u64::MAX, Link::allowance)
    }

    fn arm(&mut self) {
        self.stirred = false;
    }

    fn disarm(&mut self) {}

    fn park(&mut self, timeout: Duration) {
        if self.stirred || !self.ready.is_empty() || !self.down.is_empty() {
            return;
        }
        self.look(timeout);
        if self.ready.iter().any(|&(data, _)| data == ALARM) {
            // Resets the counter of all wakes so far. Nothing to read is the other outcome, and as good.
            let _ = rustix::io::read(&*self.alarm, &mut [0; 8]);
        }
    }

    fn waker(&self) -> Waker {
        let alarm = Arc::clone(&self.alarm);
        Waker::new(move || {
            // Only a counter at its limit refuses; it wakes all the same.
            let _ = rustix::io::write(&*alarm, &1u64.to_ne_bytes());
        })
    }
}

impl std::fmt::Debug for TcpEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpEndpoint").field("rank", &self.rank).field("links", &self.links).finish_non_exhaustive()
    }
}

impl Drop for TcpEndpoint {
    fn drop(&mut self) {
        for link in std::mem::take(&mut self.links).into_iter().flatten() {
            link.close(&mut self.staging, &self.regions);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::TcpFabric;
    use super::*;
    use crate::endpoint::Fabric as _;
    use crate::exchange::LocalExchange;
    use crate::lost::LOST_AFTER;
    use crate::ports::Ports;
    use crate::rank::NodeId;
    use crate::region::RegionOptions;

    const ENDS: Ends = Ends { bind: IpAddr::V4(Ipv4Addr::LOCALHOST), ports: Ports::ANY, lost_after: LOST_AFTER };

    /// My endpoint, and the naked link of a peer that may say anything.
    fn with_a_peer() -> (TcpEndpoint, Region, Link) {
        let mut exchanges = LocalExchange::mesh(2);
        let (mut theirs, mut mine) = (exchanges.pop().unwrap(), exchanges.pop().unwrap());
        let region = Region::allocate(4096, &RegionOptions::default()).unwrap();
        std::thread::scope(|scope| {
            let other = region.clone();
            let peer = scope.spawn(move || meet(&ENDS, &mut theirs, &[other], Vec::new()).unwrap().links.swap_remove(0).unwrap());
            let endpoint = TcpEndpoint::open(&ENDS, &mut mine, std::slice::from_ref(&region), Vec::new()).unwrap();
            (endpoint, region, peer.join().unwrap())
        })
    }

    fn until_an_event(endpoint: &mut TcpEndpoint) -> Event {
        loop {
            if let Some(event) = endpoint.poll() {
                return event;
            }
            endpoint.arm();
            endpoint.park(Duration::from_secs(60));
        }
    }

    #[test]
    fn a_bad_frame_breaks_the_link_and_nothing_else() {
        let (mut endpoint, region, peer) = with_a_peer();
        peer.socket().write_all(&[0xFF; 1000]).unwrap();
        assert_eq!(until_an_event(&mut endpoint), Event::Down(Rank::new(1)));
        assert_eq!(endpoint.poll(), None);
        let word = Write::Word { at: Place::new(crate::write::TABLE, 0), value: 1 };
        assert_eq!(endpoint.post(Rank::new(1), word), Ok(()));
        endpoint.flush();
        assert!(!endpoint.backlog());
        assert_eq!(region.word(0).load(crate::atomic::Ordering::Relaxed), 0);
    }

    #[test]
    fn a_peer_that_resets_is_down_once_and_no_signal_kills_the_sender() {
        let (mut endpoint, _, peer) = with_a_peer();
        let word = Write::Word { at: Place::new(crate::write::TABLE, 0), value: 1 };
        endpoint.post(Rank::new(1), word).unwrap();
        endpoint.flush();
        // Closing over unread bytes resets.
        drop(peer);
        for _ in 0..100 {
            endpoint.post(Rank::new(1), word).unwrap();
            endpoint.flush();
        }
        assert_eq!(until_an_event(&mut endpoint), Event::Down(Rank::new(1)));
        assert_eq!(endpoint.poll(), None);
    }

    #[test]
    fn what_a_peer_has_yet_to_read_is_a_backlog_to_that_peer_until_it_does() {
        let (mut endpoint, _, peer) = with_a_peer();
        let word = Write::Word { at: Place::new(crate::write::TABLE, 0), value: 1 };
        assert!(!endpoint.backlog_to(Rank::new(1)));
        while !endpoint.backlog_to(Rank::new(1)) {
            while endpoint.post(Rank::new(1), word).is_ok() {}
            endpoint.flush();
        }
        assert!(!endpoint.backlog_to(Rank::new(0)), "nothing waits for myself");
        let mut bytes = vec![0; 1 << 20];
        while endpoint.backlog_to(Rank::new(1)) {
            let _ = peer.socket().read(&mut bytes);
            assert_eq!(endpoint.poll(), None);
        }
    }

    /// Two members with names, each with a fabric and memory of its own.
    fn open_named(fabrics: &[TcpFabric; 2]) -> Vec<(TcpEndpoint, Region)> {
        let open = |(exchange, fabric): (LocalExchange, &TcpFabric)| {
            let mut exchange = exchange.named(&[NodeId(7), NodeId(5)]);
            let region = Region::allocate(4096, &RegionOptions::default()).unwrap();
            (fabric.open(&mut exchange, std::slice::from_ref(&region)).unwrap(), region)
        };
        let (open, members) = (&open, LocalExchange::mesh(2).into_iter().zip(fabrics));
        std::thread::scope(|scope| {
            let threads: Vec<_> = members.map(|member| scope.spawn(move || open(member))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn port(endpoint: &TcpEndpoint) -> u16 {
        endpoint.links.iter().flatten().next().unwrap().socket().local_addr().unwrap().port()
    }

    #[test]
    fn the_sockets_of_retired_endpoints_are_used_again() {
        let fabrics = [TcpFabric::default(), TcpFabric::default()];
        let mut ports = Vec::new();
        for _ in 0..4 {
            let members = open_named(&fabrics);
            ports.push([port(&members[0].0), port(&members[1].0)]);
            members.into_iter().zip(&fabrics).for_each(|((endpoint, _), fabric)| fabric.retire(endpoint));
        }
        assert!(ports.iter().all(|of_epoch| *of_epoch == ports[0]), "{ports:?}");
        let mut members = open_named(&fabrics);
        let (endpoint, _) = members.remove(1);
        // This end is dropped instead: it has no more epochs.
        drop(endpoint);
        assert_eq!(until_an_event(&mut members[0].0), Event::Down(Rank::new(1)));
    }

    #[test]
    fn who_retired_is_down_only_once_its_fabric_has_gone() {
        let [one, other] = [TcpFabric::default(), TcpFabric::default()];
        let mut members = open_named(&[one.clone(), other.clone()]);
        let (endpoint, _) = members.remove(1);
        other.retire(endpoint);
        let mine = &mut members[0].0;
        mine.arm();
        // The mark has come.
        mine.park(Duration::from_secs(60));
        assert_eq!(mine.poll(), None);
        drop(other);
        assert_eq!(until_an_event(mine), Event::Down(Rank::new(1)));
    }

    #[test]
    fn a_socket_that_only_one_end_kept_is_made_anew() {
        let fabrics = [TcpFabric::default(), TcpFabric::default()];
        let mut members = open_named(&fabrics);
        let before = port(&members[1].0);
        fabrics[1].retire(members.remove(1).0);
        drop(members);
        let members = open_named(&fabrics);
        assert_ne!(port(&members[1].0), before);
    }
}
