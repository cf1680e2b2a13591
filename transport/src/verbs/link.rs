//! One peer: its queue pair, what waits to go there, and whether it sleeps.

use std::io;

use super::card::RemoteMemory;
use super::chain::{Chain, Source};
use super::counters::Counters;
use super::counting::{self, Counting, Nonsense};
use super::credits::Credits;
use super::failure::Failure;
use super::limits::{MAILBOX_BYTES, RECEIVES};
use super::memory::MemoryRegion;
use super::queue_pair::{QueuePair, ReadyToSend, Receive};
use super::request::RequestId;
use super::wake::Wake;
use super::words::Words;
use crate::atomic::Ordering;
use crate::endpoint::QueueFull;
use crate::rank::Rank;
use crate::region::Region;
use crate::write::Place;

/// Wakes the peer.
pub(super) const WAKE_UP: u32 = 1;
/// Says that nothing more will come.
pub(super) const FAREWELL: u32 = 2;

/// How a completion is raised at the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// By the immediate of a write.
    Immediate,
    /// By a message of one word: iWARP has no immediates.
    Message,
}

/// A live link to one peer.
#[derive(Debug)]
pub(super) struct Link {
    peer: Rank,
    queue_pair: QueuePair<ReadyToSend>,
    pub(super) regions: Vec<RemoteMemory>,
    /// Where my mailbox is at the peer.
    mailbox: RemoteMemory,
    /// Where the peer's invitations come in.
    control: Region,
    chain: Chain,
    credits: Credits,
    /// Where values wait, if they cannot travel inside requests.
    words: Option<Words>,
    wake: Wake,
    /// Bytes that one request can move.
    message_bytes_max: u64,
    signal: Signal,
    /// None: writes land in order.
    counting: Option<Counting>,
    /// For the peer's wake-up and its farewell, and for what is counted.
    receives: Box<[Receive]>,
    mtu_bytes: Option<u32>,
    /// End of the request that last told the peer what was counted off.
    returned_end: u64,
    counters: Counters,
}

/// Where a link leads.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) peer: Rank,
    pub(super) regions: Vec<RemoteMemory>,
    /// Where my mailbox is at the peer.
    pub(super) mailbox: RemoteMemory,
    /// Bytes of the path MTU, where packets have one of their own.
    pub(super) mtu_bytes: Option<u32>,
    /// Where writes are counted.
    pub(super) counting: Option<Counting>,
}

impl Link {
    pub(super) fn new(
        queue_pair: QueuePair<ReadyToSend>,
        target: Target,
        control: &MemoryRegion,
        sends: u32,
        message_bytes_max: u64,
        signal: Signal,
        words: Option<Words>,
    ) -> Link {
        let (chain, credits, wake) = (Chain::new(sends as usize), Credits::new(sends), Wake::default());
        let Target { peer, regions, mailbox, mtu_bytes, counting } = target;
        let (receives, control) = (receives(control, peer, counting.is_some()).collect(), control.region().clone());
        Link {
            peer,
            queue_pair,
            regions,
            mailbox,
            control,
            chain,
            credits,
            words,
            wake,
            message_bytes_max,
            signal,
            counting,
            receives,
            mtu_bytes,
            returned_end: 0,
            counters: Counters::default(),
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.queue_pair.number()
    }

    pub(super) fn mtu_bytes(&self) -> Option<u32> {
        self.mtu_bytes
    }

    pub(super) fn promises_order(&self) -> Option<bool> {
        self.queue_pair.promises_order()
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// Counts from here on.
    pub(super) fn forget_counters(&mut self) {
        self.counters = Counters::default();
    }

    #[inline]
    pub(super) fn has_queued(&self) -> bool {
        !self.chain.is_empty()
    }

    /// Whether a completion, good or bad, is still to come.
    pub(super) fn is_awaiting(&self) -> bool {
        self.credits.is_awaiting()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.wake.is_quiet(self.credits.completed())
    }

    /// Queues a word for `at`, which lies inside the peer's region.
    #[inline]
    pub(super) fn push_word(&mut self, at: Place, value: u64) -> Result<(), QueueFull> {
        self.ask_room(1)?;
        if let Some(counting) = &mut self.counting {
            counting.push_word(&mut self.chain, at, value);
            return Ok(());
        }
        let target = self.regions[usize::from(at.region.0)];
        self.chain.push(Source::Value(value), target.address + at.offset, target.key);
        Ok(())
    }

    /// Whether so many requests fit.
    #[inline]
    fn ask_room(&self, requests: u64) -> Result<(), QueueFull> {
        let fits = self.credits.room(self.chain.len()) >= requests;
        let counts = self.counting.as_ref().is_none_or(|counting| counting.room() >= requests);
        if fits && counts { Ok(()) } else { Err(QueueFull) }
    }

    /// Counts the request that was queued last, if writes are counted.
    #[inline]
    fn mark_span(&mut self) {
        if let Some(counting) = &mut self.counting {
            counting.mark_span(&mut self.chain);
        }
    }

    /// Queues bytes that travel inside the request.
    #[inline]
    pub(super) fn push_inline(&mut self, source: u64, bytes: u32, address: u64, key: u32) -> Result<(), QueueFull> {
        self.ask_room(1)?;
        self.chain.push(Source::Inline { address: source, bytes }, address, key);
        self.mark_span();
        Ok(())
    }

    /// Queues bytes by reference, as several requests if they are more than one can move.
    #[inline]
    pub(super) fn push_span(&mut self, source: u64, source_key: u32, bytes: u64, address: u64, key: u32) -> Result<(), QueueFull> {
        self.ask_room(bytes.div_ceil(self.message_bytes_max))?;
        let mut at = 0;
        while at < bytes {
            let piece = (bytes - at).min(self.message_bytes_max);
            // At most 2^31: `message_bytes_max` comes from a 32-bit field and is capped.
            self.chain.push(Source::Memory { address: source + at, bytes: piece as u32, key: source_key }, address + at, key);
            self.mark_span();
            at += piece;
        }
        Ok(())
    }

    /// Hands everything queued to the device with one doorbell. If the peer sleeps, the last request wakes it.
    #[inline]
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        if self.chain.is_empty() {
            return Ok(());
        }
        let writes = self.chain.len() as u64;
        self.counters.writes += writes;
        self.wake.posted(self.credits.posted() + writes);
        if self.counting.is_some() {
            // Each of them raises a completion at the peer.
            return self.ring();
        }
        let invitation = self.invitation();
        if self.wake.look(invitation, self.credits.completed()) {
            match self.signal {
                Signal::Immediate => self.chain.with_immediate(WAKE_UP),
                Signal::Message if self.credits.control_room(self.chain.len()) => {
                    self.chain.push_message(u64::from(WAKE_UP));
                    self.counters.control += 1;
                }
                // The next `tend` does it.
                Signal::Message => return self.ring(),
            }
            self.wake.answer(invitation);
        }
        self.ring()
    }

    /// What the peer last wrote into its mailbox here.
    #[inline]
    fn invitation(&self) -> u64 {
        // Acquire: nothing that is done because of it comes before it.
        self.mail(INVITATION_AT).load(Ordering::Acquire)
    }

    /// A word that the peer writes here.
    #[inline]
    fn mail(&self, at: u64) -> &std::sync::atomic::AtomicU64 {
        self.control.word(MAILBOX_BYTES * self.peer.index() as u64 + at)
    }

    /// What the peer raised a completion for: the completion's immediate, or the word in receive `slot`.
    #[inline]
    pub(super) fn heard(&self, slot: u64, immediate: u32) -> u32 {
        match self.signal {
            // In network byte order.
            Signal::Immediate => u32::from_be(immediate),
            // Relaxed: the completion came after the word.
            Signal::Message => self.mail(receive_at(slot)).load(Ordering::Relaxed) as u32,
        }
    }

    /// Posts the chain.
    #[inline]
    fn ring(&mut self) -> Result<(), Failure> {
        let (peer, credits, counters) = (self.peer, &mut self.credits, &mut self.counters);
        counters.doorbells += 1;
        let first = self.chain.link(self.words.as_ref(), |must| {
            let (sequence, signalled) = credits.post(must);
            counters.signalled += u64::from(signalled);
            (RequestId { peer, receive: false, sequence }.encode(), signalled)
        });
        // SAFETY: a list of my chain, whose inline sources are its own values or region bytes that the endpoint keeps;
        // other sources are registered and kept by the endpoint until this queue pair is gone.
        unsafe { self.queue_pair.post_send(first) }.map_err(|error| Failure::Post(error.raw_os_error().unwrap_or(0)))
    }

    /// Posts one signalled word of the provider's own to my mailbox at the peer, if there is room; behind all data that
    /// was flushed, not behind what is queued.
    fn post_control(&mut self, at: u64, value: u64, immediate: Option<u32>) -> Result<bool, Failure> {
        if !self.credits.control_room(self.chain.len()) {
            return Ok(false);
        }
        let id = self.control_id();
        self.queue_pair
            .post_word(id, value, (self.mailbox.address + at, self.mailbox.key), immediate, self.words.as_ref())
            .map_err(|error: io::Error| Failure::Post(error.raw_os_error().unwrap_or(0)))?;
        Ok(true)
    }

    /// Names a signalled request of the provider's own that is posted now, with a doorbell of its own.
    fn control_id(&mut self) -> u64 {
        let (sequence, _) = self.credits.post(true);
        self.counters = self.counters + Counters { control: 1, doorbells: 1, signalled: 1, writes: 0 };
        RequestId { peer: self.peer, receive: false, sequence }.encode()
    }

    /// Raises a completion at the peer, behind all that was flushed, if there is room.
    fn raise(&mut self, code: u32) -> Result<bool, Failure> {
        if self.signal == Signal::Immediate {
            return self.post_control(PROBE_AT, 0, Some(code));
        }
        if !self.credits.control_room(self.chain.len()) {
            return Ok(false);
        }
        let id = self.control_id();
        self.queue_pair
            .post_message(id, u64::from(code), self.words.as_ref())
            .map_err(|error| Failure::Post(error.raw_os_error().unwrap_or(0)))?;
        Ok(true)
    }

    /// Takes in what the peer counted, which came with this code and took receive `slot`, and hands each word that may
    /// be set to `set`: `false` if it lies outside. Whether the code is one of those.
    pub(super) fn count(&mut self, slot: u64, code: u32, mut set: impl FnMut(Place, u64) -> bool) -> Result<bool, Failure> {
        let Some(counting) = &mut self.counting else {
            return Ok(false);
        };
        if !counting.hear(code).map_err(|Nonsense| Failure::Uncountable)? {
            return Ok(false);
        }
        while let Some(word) = counting.next() {
            if !set(word.at, word.value) {
                return Err(Failure::Uncountable);
            }
        }
        self.post_receive(slot)?;
        Ok(true)
    }

    /// Tells the peer what was counted off here, once it is worth it and the last such request has landed.
    fn give_back(&mut self) -> Result<(), Failure> {
        let code = self.counting.as_ref().and_then(Counting::to_return);
        if let Some(code) = code.filter(|_| self.credits.completed() >= self.returned_end)
            && self.post_control(PROBE_AT, 0, Some(code))?
        {
            self.returned_end = self.credits.posted();
            if let Some(counting) = &mut self.counting {
                counting.has_returned();
            }
        }
        Ok(())
    }

    /// Wakes the peer if it sleeps and may have missed something.
    #[inline]
    pub(super) fn tend(&mut self) -> Result<(), Failure> {
        if self.counting.is_some() {
            return self.give_back();
        }
        if !self.wake.is_dirty() {
            return Ok(());
        }
        let invitation = self.invitation();
        if self.wake.look(invitation, self.credits.completed()) && self.raise(WAKE_UP)? {
            self.wake.answer(invitation);
        }
        Ok(())
    }

    /// Brings the link nearer to quiet: invites the peer to wake me, behind all my data.
    pub(super) fn fence(&mut self) -> Result<(), Failure> {
        if self.wake.wants_fence(self.credits.completed()) && self.credits.control_room(self.chain.len()) {
            let invitation = self.wake.invite(self.credits.posted() + 1);
            self.post_control(INVITATION_AT, invitation, None)?;
        }
        Ok(())
    }

    /// Makes sure that the peer's silence would be noticed.
    pub(super) fn probe(&mut self) -> Result<(), Failure> {
        if !self.credits.is_awaiting() {
            self.post_control(PROBE_AT, 0, None)?;
        }
        Ok(())
    }

    /// The last write of this link.
    pub(super) fn say_farewell(&mut self) -> Result<(), Failure> {
        self.raise(FAREWELL).map(|_| ())
    }

    /// A request of mine has completed.
    #[inline]
    pub(super) fn completed(&mut self, sequence: u64) {
        self.credits.complete(sequence);
    }

    /// The peer woke me: the receive that this took is posted anew.
    pub(super) fn woken(&mut self, slot: u64) -> Result<(), Failure> {
        self.wake.woken();
        self.post_receive(slot)
    }

    /// Posts a receive anew that was taken.
    fn post_receive(&mut self, slot: u64) -> Result<(), Failure> {
        let Some(receive) = self.receives.get(slot as usize) else {
            return Ok(());
        };
        // SAFETY: a word of the control region, which the endpoint keeps longer than this link.
        unsafe { self.queue_pair.post_receive(receive) }.map_err(|error| Failure::Post(error.raw_os_error().unwrap_or(0)))
    }

    /// Writes `bytes` from registered memory to `to`, signalled: the first write over a new link.
    pub(super) fn greet(&mut self, source: u64, source_key: u32, bytes: u32, to: &RemoteMemory) -> Result<(), Failure> {
        self.chain.clear();
        self.chain.push(Source::Memory { address: source, bytes, key: source_key }, to.address, to.key);
        self.ring()?;
        self.probe()
    }
}

/// Where in a mailbox the invitation is.
const INVITATION_AT: u64 = 0;
/// Where words land that nobody reads.
const PROBE_AT: u64 = 8;

/// Where the word of the peer's message lands that takes receive `slot`.
const fn receive_at(slot: u64) -> u64 {
    16 + 8 * slot
}

/// The receives that wait for `peer`, in its mailbox here; each is named by its place among them. Those for what is
/// counted, which comes as immediates, leave memory alone.
pub(super) fn receives(control: &MemoryRegion, peer: Rank, counted: bool) -> impl Iterator<Item = Receive> {
    let mailbox = control.region().address() as u64 + MAILBOX_BYTES * peer.index() as u64;
    let key = control.local_key();
    (0..u64::from(receives_of(counted))).map(move |slot| Receive {
        id: RequestId { peer, receive: true, sequence: slot }.encode(),
        address: mailbox + receive_at(slot.min(u64::from(RECEIVES) - 1)),
        key,
    })
}

/// Receives of one queue pair.
pub(super) const fn receives_of(counted: bool) -> u32 {
    RECEIVES + if counted { counting::RECEIVES } else { 0 }
}

const _: () = assert!(receive_at(RECEIVES as u64) <= MAILBOX_BYTES);
