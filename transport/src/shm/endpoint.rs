//! The data path: copies into the peers' mappings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::bell::Bell;
use super::fence;
use super::link::{Kept, Met};
use super::process::Process;
use super::watch::{Gone, Watch};
use crate::endpoint::{Endpoint, Event, OpenError, QueueFull, Waker};
use crate::link_name::LinkName;
use crate::park;
use crate::rank::Rank;
use crate::region::{CopyMethod, Region, STREAM_BYTES_MIN, carry};
use crate::write::{RegionId, Write};

/// What is assumed where the system does not tell.
const LAST_LEVEL_CACHE_BYTES_USUAL: usize = 8 << 20;

/// Size of the largest cache of the first core: regions of a group that fit it together stay there, and copies past it
/// would only be slower.
fn last_level_cache_bytes() -> usize {
    let told = |index: u32| {
        let text = std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok()?;
        text.trim().strip_suffix('K')?.parse::<usize>().ok().map(|kibibytes| kibibytes << 10)
    };
    (0..8).filter_map(told).max().unwrap_or(LAST_LEVEL_CACHE_BYTES_USUAL)
}

#[derive(Debug)]
struct Peer {
    regions: Vec<Region>,
    link_name: Option<LinkName>,
    process: Option<Process>,
    bell: Bell,
    touched: bool,
    down: bool,
}

/// One member's links over shared memory.
#[derive(Debug)]
pub struct ShmEndpoint {
    me: Rank,
    regions: Vec<Region>,
    bell: Bell,
    /// By rank; none at my own and at absent members.
    peers: Vec<Option<Peer>>,
    /// Peers posted to since the last flush.
    touched: Vec<Rank>,
    gone: Arc<Gone>,
    /// From this length on a copy goes past the cache.
    stream_bytes_min: usize,
    /// Whether I fence for all when I go to sleep: see [`fence`].
    fences_for_all: bool,
    /// Whether all linked with me do, so that I need no fence of mine after writing.
    remote_fences: bool,
    /// By rank: why there was no link from the start.
    absent: Vec<Option<String>>,
    /// Absent members that no poll has reported.
    unreported: Vec<Rank>,
    /// Set by a [`Waker`] until a park has seen it.
    called: Arc<AtomicBool>,
    watch: Watch,
}

impl ShmEndpoint {
    pub(super) fn new(me: Rank, regions: Vec<Region>, bell: Bell, met: Met) -> Result<ShmEndpoint, OpenError> {
        let Met { links, absent, fences_for_all, remote_fences } = met;
        let members = absent.len();
        let unreported: Vec<Rank> = (0..members).filter(|&index| absent[index].is_some()).map(Rank::new).collect();
        let mut peers: Vec<Option<Peer>> = (0..members).map(|_| None).collect();
        let mut sockets = Vec::with_capacity(links.len());
        for link in links {
            let (process, bell) = (Process::of(&link.socket), link.bell);
            sockets.push((link.peer, link.socket));
            peers[link.peer.index()] =
                Some(Peer { regions: link.regions, link_name: link.link_name, process, bell, touched: false, down: false });
        }
        let (watch, gone) = Watch::start(members, sockets, bell.clone()).map_err(|reason| OpenError::System {
            fabric: "shm",
            what: "starting the thread that watches for the end of peers".into(),
            reason,
        })?;
        if !unreported.is_empty() {
            gone.news.store(true, Ordering::Relaxed);
        }
        let group_bytes = members * regions.iter().map(Region::bytes).sum::<usize>();
        let stream_bytes_min = if group_bytes <= last_level_cache_bytes() / 2 { usize::MAX } else { STREAM_BYTES_MIN };
        Ok(ShmEndpoint {
            stream_bytes_min,
            me,
            regions,
            bell,
            peers,
            touched: Vec::with_capacity(members),
            gone,
            fences_for_all,
            remote_fences,
            absent,
            unreported,
            called: Arc::default(),
            watch,
        })
    }

    /// Ends the epoch here; what the next one may use, and memory of peers that it may not.
    pub(super) fn retire(mut self) -> (Vec<Kept>, Vec<Region>) {
        let mut kept = Vec::new();
        let mut stale = Vec::new();
        for (rank, socket) in self.watch.stop() {
            match self.peers[rank.index()].take() {
                Some(Peer { regions: theirs, link_name: Some(link_name), down: false, .. }) => {
                    kept.push(Kept { link_name, socket, mine: self.regions.clone(), theirs });
                }
                peer => stale.extend(peer.into_iter().flat_map(|peer| peer.regions)),
            }
        }
        stale.extend(self.peers.drain(..).flatten().flat_map(|peer| peer.regions));
        (kept, stale)
    }

    #[cfg(test)]
    pub(super) fn peer_regions(&self, rank: Rank) -> &[Region] {
        self.peers[rank.index()].as_ref().map_or(&[], |peer| &peer.regions)
    }

    #[cold]
    fn next_gone(&mut self) -> Option<Event> {
        if let Some(absent) = self.unreported.pop() {
            return Some(Event::Down(absent));
        }
        // Acquire: pairs with the release of the watching thread; the flags of the peers are seen with it.
        if self.gone.news.swap(false, Ordering::Acquire) {
            for (index, peer) in self.peers.iter_mut().enumerate() {
                if let Some(peer) = peer
                    && !peer.down
                    && self.gone.peers[index].load(Ordering::Relaxed)
                {
                    peer.down = true;
                    // There may be more: look again at the next poll.
                    self.gone.news.store(true, Ordering::Relaxed);
                    return Some(Event::Down(Rank::new(index)));
                }
            }
        }
        None
    }
}

impl Endpoint for ShmEndpoint {
    fn rank(&self) -> Rank {
        self.me
    }

    fn members(&self) -> usize {
        self.peers.len()
    }

    fn region_bytes(&self, rank: Rank, region: RegionId) -> Option<u64> {
        let peer = self.peers.get(rank.index())?.as_ref()?;
        peer.regions.get(usize::from(region.0)).map(|region| region.bytes() as u64)
    }

    #[inline]
    fn post(&mut self, to: Rank, write: Write) -> Result<(), QueueFull> {
        let Some(peer) = self.peers[to.index()].as_mut().filter(|peer| !peer.down) else {
            assert!(to != self.me, "a post goes to another member");
            return Ok(());
        };
        match write {
            Write::Span { from, to, len } => {
                let source = &self.regions[usize::from(from.region.0)];
                let target = &peer.regions[usize::from(to.region.0)];
                let method = if len as usize >= self.stream_bytes_min { CopyMethod::Streaming } else { CopyMethod::Plain };
                carry(source, from.offset, target, to.offset, len, method);
            }
            Write::Word { at, value } => {
                // Release: pairs with the acquire of the peer's reader; the Spans before it are visible with it.
                peer.regions[usize::from(at.region.0)].link_word(at.offset).store(value, Ordering::Release);
            }
        }
        if !peer.touched {
            peer.touched = true;
            self.touched.push(to);
        }
        Ok(())
    }

    #[inline]
    fn flush(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        fence::published(self.remote_fences);
        while let Some(rank) = self.touched.pop() {
            if let Some(peer) = &mut self.peers[rank.index()] {
                peer.touched = false;
                peer.bell.ring();
            }
        }
    }

    #[inline]
    fn poll(&mut self) -> Option<Event> {
        if !self.gone.news.load(Ordering::Relaxed) {
            return None;
        }
        self.next_gone()
    }

    fn down_reason(&self, rank: Rank) -> Option<String> {
        self.absent.get(rank.index())?.clone()
    }

    fn is_gone(&self, rank: Rank) -> bool {
        let process = self.peers[rank.index()].as_ref().and_then(|peer| peer.process.as_ref());
        process.is_some_and(Process::is_over)
    }

    fn arm(&mut self) {
        self.bell.announce(self.fences_for_all);
    }

    fn disarm(&mut self) {
        self.bell.retract();
    }

    fn park(&mut self, timeout: Duration) {
        // The waker sets this before it asks whether we sleep; `arm` said so before we look: one of us sees the other.
        if self.called.swap(false, Ordering::Relaxed) || !self.unreported.is_empty() {
            return self.bell.retract();
        }
        self.bell.sleep(timeout);
        self.called.store(false, Ordering::Relaxed);
    }

    fn waker(&self) -> Waker {
        let (bell, called) = (self.bell.clone(), Arc::clone(&self.called));
        Waker::new(move || {
            called.store(true, Ordering::Relaxed);
            park::published();
            bell.ring();
        })
    }
}
