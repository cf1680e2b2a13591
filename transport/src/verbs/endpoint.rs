//! The links of one epoch behind one completion queue.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::abi::{self, CStruct, WorkCompletion};
use super::completion::CompletionQueue;
use super::counters::Counters;
use super::device::Device;
use super::errors::system;
use super::failure::Failure;
use super::limits::{COMPLETIONS_AT_ONCE, POLLS_PER_CLOCK, WORD_BYTES};
use super::link::{FAREWELL, Link, WAKE_UP};
use super::memory::MemoryRegion;
use super::open::Parts;
use super::opened::Opened;
use super::options::VerbsOptions;
use super::request::RequestId;
use super::sleep;
use crate::atomic::Ordering;
use crate::endpoint::{Endpoint, Event, OpenError, QueueFull, Requests, Waker};
use crate::rank::Rank;
use crate::write::{Place, RegionId, Write};

/// One member's queue pairs to all others.
///
/// Fields are dropped in order: queue pairs first, so that nothing of a peer lands any more (T5), then what they used.
#[derive(Debug)]
pub struct VerbsEndpoint {
    /// By rank; none to myself and where the link is down.
    links: Vec<Option<Link>>,
    /// Links of members that said farewell. They stay until the end, so that the device still acknowledges the
    /// farewell.
    departed: Vec<Link>,
    rank: Rank,
    failures: Vec<Option<Failure>>,
    /// By rank: why there was no link from the start.
    absent: Vec<Option<String>>,
    completions: Arc<CompletionQueue>,
    taken: Box<[WorkCompletion; COMPLETIONS_AT_ONCE]>,
    memory: Vec<Arc<MemoryRegion>>,
    _control: Arc<MemoryRegion>,
    device: Arc<Device>,
    port: u8,
    inline_bytes: u64,
    alarm: Arc<OwnedFd>,
    down: VecDeque<Rank>,
    /// A peer woke me or a link broke since the last `arm`.
    stirred: bool,
    armed: bool,
    quiet_at_arm: bool,
    /// The next completion makes the channel readable.
    notifying: bool,
    polls: u32,
    probed_at: Instant,
    probe_every: Duration,
    linger: Duration,
    /// News of the device that were looked at.
    news_seen: u64,
    /// My port was down when it was last looked at.
    port_is_down: bool,
    /// How long it may be.
    port_patience: Duration,
    /// Of links that are down.
    counted: Counters,
    counted_writes: bool,
}

impl VerbsEndpoint {
    pub(super) fn new(rank: Rank, opened: &Opened, options: &VerbsOptions, parts: Parts) -> Result<VerbsEndpoint, OpenError> {
        let alarm =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| system("making an eventfd", errno.into()))?;
        let mut links = parts.links;
        let members = links.len();
        let mut down = VecDeque::with_capacity(members);
        down.extend((0..members).filter(|&index| parts.absent[index].is_some()).map(Rank::new));
        // The first writes over new links were the provider's.
        links.iter_mut().flatten().for_each(Link::forget_counters);
        Ok(VerbsEndpoint {
            links,
            departed: Vec::with_capacity(members),
            rank,
            failures: vec![None; members],
            absent: parts.absent,
            completions: parts.completions,
            taken: Box::new([WorkCompletion::zeroed(); COMPLETIONS_AT_ONCE]),
            memory: parts.memory,
            _control: parts.control,
            device: Arc::clone(&opened.device),
            port: opened.choice.port,
            inline_bytes: u64::from(parts.inline_bytes),
            alarm: Arc::new(alarm),
            down,
            stirred: false,
            armed: false,
            quiet_at_arm: false,
            notifying: false,
            polls: 0,
            probed_at: Instant::now(),
            probe_every: options.detection.probe_every,
            linger: options.linger,
            news_seen: 0,
            port_is_down: false,
            port_patience: options.detection.gives_up_after(),
            counted: Counters::default(),
            counted_writes: options.counted,
        })
    }

    /// Why the link to `rank` is down, if it ever stood.
    pub fn failure(&self, rank: Rank) -> Option<Failure> {
        self.failures.get(rank.index()).copied().flatten()
    }

    /// What was posted since the endpoint was opened. It takes a look at each link: for the end of a measurement, not
    /// for its loop.
    pub fn counters(&self) -> Counters {
        self.links.iter().flatten().fold(self.counted, |sum, link| sum + link.counters())
    }

    /// Bytes that a packet to `rank` carries: the smaller of both ends' path MTU. None where the link is down, or by
    /// TCP (iWARP).
    pub fn path_mtu_bytes(&self, rank: Rank) -> Option<u32> {
        self.links.get(rank.index())?.as_ref()?.mtu_bytes()
    }

    /// Whether the device promises that its writes for `rank` land in order (`ibv_query_qp_data_in_order`). None where
    /// the link is down, or the library is older than the question. This provider assumes that order whatever the
    /// answer, unless told to count ([`VerbsOptions::counted`]).
    pub fn promises_order(&self, rank: Rank) -> Option<bool> {
        self.links.get(rank.index())?.as_ref()?.promises_order()
    }

    /// Does `act` with every live link; those where it fails are down.
    #[inline]
    fn each(&mut self, mut act: impl FnMut(&mut Link) -> Result<(), Failure>) {
        for index in 0..self.links.len() {
            if let Some(link) = &mut self.links[index]
                && let Err(failure) = act(link)
            {
                self.break_link(index, failure);
            }
        }
    }

    #[cold]
    fn break_link(&mut self, index: usize, failure: Failure) {
        let Some(link) = self.links[index].take() else {
            return;
        };
        self.counted = self.counted + link.counters();
        if failure == Failure::Farewell {
            self.departed.push(link);
        }
        // Any other link is dropped here: nothing of that peer lands from now on.
        self.failures[index] = Some(failure);
        self.down.push_back(Rank::new(index));
        self.stirred = true;
    }

    /// Takes in completions and wakes peers that went to sleep meanwhile.
    #[inline]
    fn progress(&mut self) {
        loop {
            let count = self.completions.poll(&mut self.taken[..]);
            for at in 0..count {
                let completion = self.taken[at];
                self.complete(&completion);
            }
            if count < COMPLETIONS_AT_ONCE {
                break;
            }
        }
        if self.armed {
            self.each(|link| link.tend().and_then(|()| link.fence()));
        } else {
            self.each(Link::tend);
        }
    }

    fn complete(&mut self, completion: &WorkCompletion) {
        let id = RequestId::decode(completion.wr_id);
        let index = id.peer.index();
        // Completions of links that are down may still come.
        let Some(Some(link)) = self.links.get_mut(index) else {
            return;
        };
        if completion.status != abi::SUCCESS {
            return self.break_link(index, Failure::Completion { status: completion.status, vendor: completion.vendor_err });
        }
        if !id.receive {
            return link.completed(id.sequence);
        }
        match link.heard(id.sequence, completion.imm_data) {
            WAKE_UP => {
                self.stirred = true;
                if let Err(failure) = link.woken(id.sequence) {
                    self.break_link(index, failure);
                }
            }
            FAREWELL => self.break_link(index, Failure::Farewell),
            code => self.count(index, id.sequence, code),
        }
    }

    /// Takes in what a peer counted, and sets the words that may be seen now.
    fn count(&mut self, index: usize, slot: u64, code: u32) {
        let Some(Some(link)) = self.links.get_mut(index) else {
            return;
        };
        let memory = &self.memory;
        let set = |at: Place, value: u64| {
            let region = memory.get(usize::from(at.region.0)).map(|memory| memory.region());
            let inside = |bytes: u64| at.offset.is_multiple_of(8) && at.offset < bytes;
            let region = region.filter(|region| inside(region.bytes() as u64));
            // Release: pairs with the acquire of the reader of the word; its Spans are in.
            region.is_some_and(|region| {
                region.link_word(at.offset).store(value, Ordering::Release);
                true
            })
        };
        match link.count(slot, code, set) {
            Ok(counted) => self.stirred |= counted,
            Err(failure) => self.break_link(index, failure),
        }
    }

    /// Waits, for a bounded time, until all that was posted has landed.
    fn linger(&mut self, deadline: Instant) {
        let mut now = Instant::now();
        while now < deadline {
            self.request_notify();
            self.progress();
            if !self.links.iter().flatten().any(Link::is_awaiting) {
                break;
            }
            self.sleep(now, deadline);
            now = Instant::now();
        }
    }

    /// Looks at the clock now and then: probes, and what the device reports.
    #[inline]
    fn tick(&mut self) {
        self.polls = self.polls.wrapping_add(1);
        if self.polls.is_multiple_of(POLLS_PER_CLOCK) {
            let now = Instant::now();
            if now.duration_since(self.probed_at) >= self.probe_every {
                self.keep_house(now);
            }
        }
    }

    #[cold]
    fn keep_house(&mut self, now: Instant) {
        self.probed_at = now;
        self.device.take_events();
        if self.device.has_news(&mut self.news_seen) || self.port_is_down {
            let (device, port, patience) = (Arc::clone(&self.device), self.port, self.port_patience);
            self.port_is_down = device.is_down(port);
            self.each(|link| if device.failed(port, link.number(), patience) { Err(Failure::Device) } else { Ok(()) });
        }
        // Nothing leaves by a port that is down, and soft-RoCE does not even try again.
        if !self.port_is_down {
            self.each(Link::probe);
        }
    }

    fn is_quiet(&self) -> bool {
        self.links.iter().flatten().all(Link::is_quiet)
    }

    fn request_notify(&mut self) {
        if !self.notifying {
            match self.completions.request_notify() {
                Ok(()) => self.notifying = true,
                // A completion queue that does not work any more belongs to a device that is gone.
                Err(_) => self.each(|_| Err(Failure::Device)),
            }
        }
    }

    /// Sleeps at most until `deadline` or the next probe is due; whether a waker called.
    fn sleep(&mut self, now: Instant, deadline: Instant) -> bool {
        let ready = if self.links.iter().all(Option::is_none) {
            // Nobody is left who could wake me, and the descriptors of a device that is gone are always ready.
            sleep::wait(&[self.alarm.as_fd()], deadline.saturating_duration_since(now)) << 1
        } else {
            let until = deadline.min(self.probed_at + self.probe_every);
            let fds = [self.completions.fd(), self.alarm.as_fd(), self.device.async_fd()];
            sleep::wait(&fds, until.saturating_duration_since(now))
        };
        if ready & 1 != 0 {
            self.completions.take_notifications();
            self.notifying = false;
        }
        let now = Instant::now();
        if ready & 4 != 0 || now >= self.probed_at + self.probe_every {
            self.keep_house(now);
        }
        if ready & 2 != 0 {
            // Resets the counter of all wakes so far. Nothing to read is the other outcome, and as good.
            let _ = rustix::io::read(&*self.alarm, &mut [0; 8]);
        }
        ready & 2 != 0
    }

    #[inline]
    fn check(&self, link: &Link, write: &Write) {
        let inside = |place: Place, len: u64, bytes: u64| {
            assert!(place.offset <= bytes && len <= bytes - place.offset, "{len} bytes at {place:?} lie outside a region of {bytes}");
        };
        match *write {
            Write::Word { at, .. } => {
                assert!(at.offset.is_multiple_of(8), "a word at {at:?} is not aligned");
                inside(at, u64::from(WORD_BYTES), link.regions[usize::from(at.region.0)].bytes);
            }
            Write::Span { from, to, len } => {
                assert!(len > 0, "an empty span");
                inside(from, len, self.memory[usize::from(from.region.0)].region().bytes() as u64);
                inside(to, len, link.regions[usize::from(to.region.0)].bytes);
            }
        }
    }
}

impl Endpoint for VerbsEndpoint {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn members(&self) -> usize {
        self.links.len()
    }

    fn region_bytes(&self, rank: Rank, region: RegionId) -> Option<u64> {
        let link = self.links.get(rank.index())?.as_ref()?;
        link.regions.get(usize::from(region.0)).map(|memory| memory.bytes)
    }

    #[inline]
    fn post(&mut self, to: Rank, write: Write) -> Result<(), QueueFull> {
        assert!(to != self.rank && to.index() < self.links.len(), "rank {to} is no peer of mine");
        let Some(link) = &self.links[to.index()] else {
            return Ok(());
        };
        self.check(link, &write);
        let Some(link) = &mut self.links[to.index()] else {
            return Ok(());
        };
        match write {
            Write::Word { at, value } => link.push_word(at, value),
            Write::Span { from, to, len } => {
                let target = link.regions[usize::from(to.region.0)];
                let memory = &self.memory[usize::from(from.region.0)];
                let source = memory.region().address() as u64 + from.offset;
                if len <= self.inline_bytes {
                    link.push_inline(source, len as u32, target.address + to.offset, target.key)
                } else {
                    link.push_span(source, memory.local_key(), len, target.address + to.offset, target.key)
                }
            }
        }
    }

    #[inline]
    fn flush(&mut self) {
        self.each(Link::flush);
    }

    #[inline]
    fn poll(&mut self) -> Option<Event> {
        if self.down.is_empty() {
            self.progress();
            self.tick();
        }
        self.down.pop_front().map(Event::Down)
    }

    fn requests(&self) -> Requests {
        let counters = self.counters();
        Requests { posted: counters.writes + counters.control, doorbells: counters.doorbells }
    }

    fn down_reason(&self, rank: Rank) -> Option<String> {
        let absent = || self.absent.get(rank.index()).cloned().flatten();
        self.failure(rank).map(|failure| failure.to_string()).or_else(absent)
    }

    fn backlog(&self) -> bool {
        self.links.iter().flatten().any(Link::has_queued)
    }

    fn arm(&mut self) {
        self.stirred = false;
        self.armed = true;
        self.flush();
        self.each(Link::fence);
        self.quiet_at_arm = self.is_quiet();
    }

    fn disarm(&mut self) {
        self.armed = false;
    }

    fn park(&mut self, timeout: Duration) {
        let mut now = Instant::now();
        let deadline = now + timeout.min(Duration::from_secs(1 << 30));
        loop {
            self.request_notify();
            // Once more after the request: what completed before it notifies nobody.
            self.progress();
            // What was posted or invited since the last `arm` has landed only now: the caller has to look at memory
            // after that.
            let settled = !self.quiet_at_arm && self.is_quiet();
            if self.stirred || settled || !self.down.is_empty() || now >= deadline || self.sleep(now, deadline) {
                break;
            }
            now = Instant::now();
        }
        self.armed = false;
    }

    fn waker(&self) -> Waker {
        let alarm = Arc::clone(&self.alarm);
        Waker::new(move || {
            // Only a counter at its limit refuses; it wakes all the same.
            let _ = rustix::io::write(&*alarm, &1u64.to_ne_bytes());
        })
    }
}

impl Drop for VerbsEndpoint {
    /// Says farewell behind everything posted and waits, for a bounded time, until it has landed.
    fn drop(&mut self) {
        self.armed = false;
        self.flush();
        let deadline = Instant::now() + self.linger;
        if self.counted_writes {
            // A farewell could overtake them.
            self.linger(deadline);
        }
        self.each(Link::say_farewell);
        self.linger(deadline);
    }
}
