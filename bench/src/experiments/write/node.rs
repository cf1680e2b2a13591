//! `write`: raw one-sided writes between two nodes, without a group. The counterpart of perftest's `ib_write_bw` and
//! `ib_write_lat`.
//!
//! ```text
//!   bandwidth   node 0: Spans into node 1's ring, Word (count) behind them, as many as the window holds
//!               node 1: checks each message, Word (count) back
//!   latency     the same with one message in turns: 0 to 1, 1 to 0; half a round trip is recorded
//!               a message that fits into the Word beside its count travels in it
//! ```
//!
//! perftest takes a message for complete when its last byte has changed. Bytes of one write may land in any order (rule
//! T2), so here only a Word says so, which costs one more request a flush; a tiny message is one write in both.
//!
//! ```text
//!   HEAD   63..0 messages sent                          in_word: 63..32 messages sent, 31..0 the message
//! ```

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};
use hdrhistogram::Histogram;
use squall_transport::region::{Ring, RingReader, RingWriter};
use squall_transport::{Endpoint, Event, Fabric, Place, Rank, Region, RegionOptions, TABLE, Write};

use crate::ask::policy;
use crate::experiments::payload;
use crate::experiments::show::Show;
use crate::jobs::control::Control;
use crate::jobs::fabric::{meet, with_fabric};
use crate::jobs::group::Counted;
use crate::jobs::job::Job;
use crate::jobs::kinds::Verify;
use crate::jobs::os;
use crate::jobs::write::{IN_WORD_BYTES_MAX, OUTGOING, WriteJob, WriteOrder, Written, region_bytes, ring_bytes, stride};

/// Bytes of messages that one Word publishes at most.
const PUBLISH_BYTES: u64 = 64 << 10;

/// Where the peer writes how many messages it has sent.
const HEAD: u64 = 0;
/// Where the peer writes how many messages it has taken.
const TAKEN: u64 = 64;

/// The node's side.
///
/// # Errors
/// If the fabric cannot be opened, the peer goes, a payload is wrong, or the parent is gone.
pub fn node(job: &Job, write: &WriteJob, control: &mut Control) -> anyhow::Result<()> {
    ensure!(job.nodes == 2, "raw writes go between two nodes");
    with_fabric!(write.fabric, job, fabric => {
        let region = fabric.region(region_bytes(write.message_bytes, write.window) as usize, &RegionOptions::data_path())?;
        let mut session = meet(job)?;
        let endpoint = fabric.open(&mut session, std::slice::from_ref(&region))?;
        let mut pair = Pair::new(endpoint, region, write);
        control.wake_with(pair.endpoint.waker());
        control.ready(pair.region.notices().to_vec())?;
        drop(session);
        serve(&mut pair, write.shown && job.rank == 0, control)
    })
}

fn serve<E: Endpoint>(pair: &mut Pair<E>, shown: bool, control: &mut Control) -> anyhow::Result<()> {
    loop {
        let order = loop {
            if let Some(order) = control.poll()? {
                break order;
            }
            pair.wait()?;
        };
        let cpu_before = os::cpu_ns();
        let mut latencies = Histogram::<u64>::new(3)?;
        (pair.show, pair.parks) = (shown.then(|| Show::begin(control.live_line())), 0);
        let began_ns = os::now_ns();
        match order {
            WriteOrder::Bandwidth(_) if pair.in_word => bail!("messages in Words go one at a time"),
            WriteOrder::Bandwidth(count) if pair.endpoint.rank() == Rank(0) => pair.send(count)?,
            WriteOrder::Bandwidth(count) => pair.receive(count)?,
            WriteOrder::Latency(count) => pair.ping_pong(count, &mut latencies)?,
            WriteOrder::Finish => return Ok(()),
        }
        let ended_ns = os::now_ns();
        let half_round_trips = latencies.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
        control.done(&Written { began_ns, ended_ns, cpu_ns: os::cpu_ns() - cpu_before, half_round_trips })?;
    }
}

/// Two nodes with a ring each way.
struct Pair<E> {
    endpoint: E,
    peer: Rank,
    region: Region,
    writer: RingWriter,
    reader: RingReader,
    message_bytes: u64,
    stride: u64,
    window: u64,
    verify: Verify,
    spin: bool,
    /// Whether an idle turn gives the core away.
    yields: bool,
    in_word: bool,
    sent: u64,
    /// Messages that the peer was told of.
    published: u64,
    taken: u64,
    /// Messages that the peer has taken, as far as it was looked at.
    acknowledged: u64,
    /// When this node began to wait.
    idle_since: Option<Instant>,
    idle_turns: u32,
    /// Times it slept since the last order.
    parks: u64,
    /// Where people watch.
    show: Option<Show>,
}

impl<E: Endpoint> Pair<E> {
    fn new(endpoint: E, region: Region, write: &WriteJob) -> Pair<E> {
        let ring_bytes = ring_bytes(write.message_bytes, write.window);
        let peer = Rank(1 - endpoint.rank().0);
        Pair {
            endpoint,
            peer,
            writer: RingWriter::new(Ring::new(&region, OUTGOING, ring_bytes)),
            reader: RingReader::new(Ring::new(&region, OUTGOING + ring_bytes, ring_bytes)),
            region,
            message_bytes: write.message_bytes,
            stride: stride(write.message_bytes),
            window: write.window,
            verify: write.verify,
            spin: write.spin,
            yields: !write.own_core && !write.spin,
            in_word: write.in_word,
            sent: 0,
            published: 0,
            taken: 0,
            acknowledged: 0,
            idle_since: None,
            idle_turns: 0,
            parks: 0,
            show: None,
        }
    }

    fn send(&mut self, count: u64) -> anyhow::Result<()> {
        let (before, goal) = (self.sent, self.sent + count);
        while self.sent < goal {
            let free = self.window - (self.sent - self.acknowledged());
            self.look(self.acknowledged - before);
            if free == 0 {
                self.wait()?;
                continue;
            }
            self.idle_since = None;
            let burst = free.min(goal - self.sent).min(policy::WRITE_BURST_MAX);
            for _ in 0..burst {
                self.post_message()?;
                if (self.sent - self.published) * self.message_bytes >= PUBLISH_BYTES {
                    self.publish()?;
                }
            }
            self.publish()?;
            self.endpoint.flush();
        }
        while self.acknowledged() < goal {
            self.wait()?;
        }
        self.idle_since = None;
        Ok(())
    }

    fn receive(&mut self, count: u64) -> anyhow::Result<()> {
        let goal = self.taken + count;
        while self.taken < goal {
            if self.take_messages()? == 0 {
                self.wait()?;
                continue;
            }
            self.idle_since = None;
            self.post(Write::Word { at: Place::new(TABLE, TAKEN), value: self.taken })?;
            self.endpoint.flush();
        }
        Ok(())
    }

    fn ping_pong(&mut self, count: u64, latencies: &mut Histogram<u64>) -> anyhow::Result<()> {
        let first = self.endpoint.rank() == Rank(0);
        for round in 0..count {
            self.look(round);
            let began_ns = os::now_ns();
            if first {
                self.send_one()?;
            }
            while self.take_messages()? == 0 {
                self.wait()?;
            }
            self.idle_since = None;
            if first {
                latencies.record((os::now_ns() - began_ns) / 2)?;
            } else {
                self.send_one()?;
            }
            // What came back says that what was sent has been taken.
            self.writer.reclaim(self.writer.tail());
        }
        Ok(())
    }

    /// Shows that so many messages, or round trips, of the order are over.
    fn look(&mut self, delivered: u64) {
        if let Some(show) = &mut self.show {
            let parks = self.parks;
            show.look(self.sent - self.acknowledged, || Counted { delivered, parks, ..Counted::default() });
        }
    }

    /// Messages that the peer has taken; their ring space is free again.
    fn acknowledged(&mut self) -> u64 {
        // Acquire: pairs with the release of the peer's Word.
        self.acknowledged = self.region.word(TAKEN).load(Ordering::Acquire);
        self.writer.reclaim(self.acknowledged * self.stride);
        self.acknowledged
    }

    /// One message to the peer, at once.
    fn send_one(&mut self) -> anyhow::Result<()> {
        if self.in_word {
            let mut bytes = [0; IN_WORD_BYTES_MAX as usize];
            payload::fill(&mut bytes[..self.message_bytes as usize], self.endpoint.rank(), self.sent, self.verify);
            self.sent += 1;
            let value = self.sent << 32 | u64::from(u32::from_le_bytes(bytes));
            self.post(Write::Word { at: Place::new(TABLE, HEAD), value })?;
        } else {
            self.post_message()?;
            self.publish()?;
        }
        self.endpoint.flush();
        Ok(())
    }

    fn post_message(&mut self) -> anyhow::Result<()> {
        let (at, len) = (self.writer.tail(), self.message_bytes);
        payload::fill(self.writer.bytes_mut(at, len), self.endpoint.rank(), self.sent, self.verify);
        self.writer.advance(self.stride);
        self.sent += 1;
        let from = self.writer.ring().place(at);
        self.post(Write::Span { from: Place::new(TABLE, from), to: Place::new(TABLE, from + self.writer.ring().bytes()), len })
    }

    /// Tells the peer what has been sent.
    fn publish(&mut self) -> anyhow::Result<()> {
        self.published = self.sent;
        self.post(Write::Word { at: Place::new(TABLE, HEAD), value: self.sent })
    }

    fn post(&mut self, write: Write) -> anyhow::Result<()> {
        while self.endpoint.post(self.peer, write).is_err() {
            self.endpoint.flush();
            self.poll()?;
        }
        Ok(())
    }

    /// Checks and releases what has come; how many messages.
    fn take_messages(&mut self) -> anyhow::Result<u64> {
        self.poll()?;
        if self.in_word {
            return self.take_word();
        }
        // Acquire: pairs with the release of the peer's Word; the Spans before it are visible.
        let head = self.region.word(HEAD).load(Ordering::Acquire);
        let fresh = head - self.taken;
        if fresh > 0 && !self.reader.publish(head * self.stride) {
            bail!("the peer says {head} messages after {}, more than the window", self.taken);
        }
        for _ in 0..fresh {
            let at = self.reader.released();
            if !payload::holds(self.reader.bytes(at, self.message_bytes), self.peer, self.taken, self.verify) {
                return Err(anyhow!("message {} of {} bytes arrived with other bytes than were sent", self.taken, self.message_bytes));
            }
            self.reader.release(at + self.stride);
            self.taken += 1;
        }
        Ok(fresh)
    }

    /// The same where a message comes inside its Word.
    fn take_word(&mut self) -> anyhow::Result<u64> {
        // Relaxed: the Word publishes nothing but itself.
        let word = self.region.word(HEAD).load(Ordering::Relaxed);
        if word >> 32 == self.taken & u64::from(u32::MAX) {
            return Ok(0);
        }
        let bytes = (word as u32).to_le_bytes();
        ensure!(
            payload::holds(&bytes[..self.message_bytes as usize], self.peer, self.taken, self.verify),
            "message {} of {} bytes arrived with other bytes than were sent",
            self.taken,
            self.message_bytes
        );
        self.taken += 1;
        Ok(1)
    }

    /// Whether something came that was not looked at.
    fn has_news(&self) -> bool {
        let head = self.region.word(HEAD).load(Ordering::Acquire);
        let taken = self.region.word(TAKEN).load(Ordering::Acquire);
        let count = if self.in_word { head >> 32 } else { head };
        let seen = if self.in_word { self.taken & u64::from(u32::MAX) } else { self.taken };
        count != seen || taken != self.acknowledged
    }

    fn poll(&mut self) -> anyhow::Result<()> {
        match self.endpoint.poll() {
            Some(Event::Down(peer)) => match self.endpoint.down_reason(peer) {
                Some(why) => bail!("the link to the other node is down: {why}"),
                None => bail!("the other node is gone"),
            },
            None => Ok(()),
        }
    }

    /// One idle turn: spin for a while, then sleep.
    fn wait(&mut self) -> anyhow::Result<()> {
        const LOOK_EVERY: u32 = 64;
        self.poll()?;
        self.idle_turns = self.idle_turns.wrapping_add(1);
        if self.spin || self.endpoint.backlog() || !self.idle_turns.is_multiple_of(LOOK_EVERY) {
            if self.yields {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
            return Ok(());
        }
        let now = Instant::now();
        if now.duration_since(*self.idle_since.get_or_insert(now)) < policy::WRITE_SPIN {
            return Ok(());
        }
        self.endpoint.arm();
        if self.has_news() {
            self.endpoint.disarm();
        } else {
            self.parks += 1;
            self.endpoint.park(Duration::from_millis(100));
        }
        Ok(())
    }
}
