//! A node of a try: writes into another node's memory, and answers what is written into its own.
//!
//! ```text
//!   from -> to   Span (a block of words that only this try has), Word HEARD behind it      checked word by word, once
//!                Word HEARD, one in turns with SAID back                                    latency
//!                Span, Word HEARD; up to a window of them; Word SAID for each that came     bandwidth
//! ```

use std::any::Any;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use squall_transport::exchange::ExchangeError;
use squall_transport::verbs::VerbsEndpoint;
use squall_transport::{Endpoint, Exchange, Fabric, NodeId, Place, Rank, Region, RegionOptions, TABLE, Write, WriteOrder};

use crate::jobs::control::Control;
use crate::jobs::fabric::{meet, with_fabric};
use crate::jobs::job::Job;
use crate::jobs::reach::{Opened, ReachJob, ReachOrder, Tried};

/// A block is as large as what fabrics carry best.
const BLOCK_BYTES: u64 = 1 << 20;
/// Blocks under way.
const WINDOW: u64 = 8;
/// Turns of which the middle is told.
const TURNS: u64 = 200;
/// How long a peer may be silent within a try.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long nodes wait for one that no link can be made to.
const PATIENCE: Duration = Duration::from_secs(8);

/// Each peer has a line here, in which it counts what it sent.
const HEARD: u64 = 0;
/// And one in which it counts what it took of mine.
const SAID: u64 = 64 * LINES_MAX;
const LINES_MAX: u64 = crate::ask::axes::NODES_MAX as u64;
/// What I write from.
const SOURCE: u64 = 2 * SAID;
/// Where peers write, one at a time.
const SINK: u64 = SOURCE + BLOCK_BYTES;

/// The node's side.
///
/// # Errors
/// If the fabric cannot be opened, or the parent is gone. What fails between two nodes is an answer.
pub fn node(job: &Job, reach: &ReachJob, control: &mut Control) -> anyhow::Result<()> {
    with_fabric!(reach.fabric, job, fabric => {
        let region = fabric.region((SINK + BLOCK_BYTES) as usize, &RegionOptions::data_path())?;
        let mut session = meet(job)?;
        let mut patient;
        let exchange: &mut dyn Exchange = if reach.is_patient {
            patient = Patient { absent: vec![false; job.nodes as usize], inner: session };
            &mut patient
        } else {
            &mut session
        };
        let endpoint = fabric.open(exchange, std::slice::from_ref(&region))?;
        let is_counted = fabric.write_order() == WriteOrder::Counted;
        control.ready(region.notices().to_vec())?;
        serve(endpoint, &region, is_counted, control)
    })
}

fn serve<E: Endpoint + 'static>(endpoint: E, region: &Region, is_counted: bool, control: &mut Control) -> anyhow::Result<()> {
    let me = endpoint.rank();
    let mut reacher = Reacher { endpoint, region };
    loop {
        match control.next()? {
            ReachOrder::Describe => control.done(&reacher.describe(is_counted))?,
            ReachOrder::Try { from, to, round, time } => {
                let tried = match (Rank(from as u16), Rank(to as u16)) {
                    (from, to) if from == me => reacher.write(to, round, time).unwrap_or_else(|error| Tried::Failed(format!("{error:#}"))),
                    (from, to) if to == me => match reacher.answer(from, round) {
                        Ok(()) => Tried::Nothing,
                        Err(error) => Tried::Failed(format!("{error:#}")),
                    },
                    _ => Tried::Nothing,
                };
                control.done(&tried)?;
            }
            ReachOrder::Finish => return Ok(()),
        }
    }
}

struct Reacher<'a, E> {
    endpoint: E,
    region: &'a Region,
}

/// What a word of the block of a try holds.
fn content(round: u32, from: Rank, index: u64) -> u64 {
    (u64::from(round) << 32 | u64::from(from.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index
}

/// A count that no other try has.
fn counted(round: u32, count: u64) -> u64 {
    u64::from(round) << 32 | count
}

/// The last count of a try: nothing follows.
const OVER: u64 = u32::MAX as u64;

impl<E: Endpoint + 'static> Reacher<'_, E> {
    fn describe(&mut self, is_counted: bool) -> Opened {
        // Links that broke, or never stood, say so at a poll.
        while self.endpoint.poll().is_some() {}
        let peers = (0..self.endpoint.members()).map(Rank::new);
        let verbs = (&self.endpoint as &dyn Any).downcast_ref::<VerbsEndpoint>();
        let missing = |rank: Rank| if rank == self.endpoint.rank() { None } else { self.endpoint.down_reason(rank) };
        Opened {
            is_counted,
            promises_order: peers.clone().map(|rank| verbs.and_then(|verbs| verbs.promises_order(rank))).collect(),
            path_mtu_bytes: peers.clone().map(|rank| verbs.and_then(|verbs| verbs.path_mtu_bytes(rank))).collect(),
            missing: peers.map(missing).collect(),
        }
    }

    fn write(&mut self, to: Rank, round: u32, time: Duration) -> anyhow::Result<Tried> {
        let me = self.endpoint.rank();
        for index in 0..BLOCK_BYTES / 8 {
            // Relaxed: the post that sends it comes later in this thread.
            self.region.word(SOURCE + 8 * index).store(content(round, me, index), Ordering::Relaxed);
        }
        let mut sent = 1;
        self.block(to, counted(round, sent))?;
        self.until(to, SAID, counted(round, sent))?;
        let mut turns = Vec::with_capacity(TURNS as usize);
        for _ in 0..TURNS {
            let began = Instant::now();
            sent += 1;
            self.word(to, HEARD, counted(round, sent))?;
            self.until(to, SAID, counted(round, sent))?;
            turns.push(began.elapsed().as_secs_f64() * 1e6 / 2.0);
        }
        turns.sort_by(f64::total_cmp);
        let began = Instant::now();
        let first = sent;
        while began.elapsed() < time {
            sent += 1;
            self.block(to, counted(round, sent))?;
            self.until(to, SAID, counted(round, sent.saturating_sub(WINDOW).max(first)))?;
        }
        self.until(to, SAID, counted(round, sent))?;
        let seconds = began.elapsed().as_secs_f64();
        self.word(to, HEARD, counted(round, OVER))?;
        self.drain(to)?;
        Ok(Tried::Through { bytes: (sent - first) * BLOCK_BYTES, seconds, latency_us: turns[turns.len() / 2] })
    }

    fn answer(&mut self, from: Rank, round: u32) -> anyhow::Result<()> {
        let mut heard = counted(round, 0);
        loop {
            let count = self.until(from, HEARD, heard + 1)?;
            if count == counted(round, OVER) {
                return Ok(());
            }
            if heard == counted(round, 0) {
                self.check(from, round)?;
            }
            heard = count;
            self.word(from, SAID, heard)?;
        }
    }

    /// Whether what came is what was sent, word by word.
    fn check(&self, from: Rank, round: u32) -> anyhow::Result<()> {
        for index in 0..BLOCK_BYTES / 8 {
            // Relaxed: the acquire of the count behind it made it visible.
            if self.region.word(SINK + 8 * index).load(Ordering::Relaxed) != content(round, from, index) {
                bail!("word {index} of a block arrived with other bytes than were sent, or after the count behind it");
            }
        }
        Ok(())
    }

    fn block(&mut self, to: Rank, count: u64) -> anyhow::Result<()> {
        self.post(to, Write::Span { from: Place::new(TABLE, SOURCE), to: Place::new(TABLE, SINK), len: BLOCK_BYTES })?;
        self.word(to, HEARD, count)
    }

    fn word(&mut self, to: Rank, line: u64, value: u64) -> anyhow::Result<()> {
        let at = line + 64 * u64::from(self.endpoint.rank().0);
        self.post(to, Write::Word { at: Place::new(TABLE, at), value })?;
        self.endpoint.flush();
        Ok(())
    }

    fn post(&mut self, to: Rank, write: Write) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.endpoint.post(to, write).is_err() {
            self.endpoint.flush();
            self.look(to, began)?;
        }
        Ok(())
    }

    /// Sends what still waits for room.
    fn drain(&mut self, to: Rank) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.endpoint.backlog() {
            self.look(to, began)?;
        }
        Ok(())
    }

    /// Waits until the count of `peer` in `line` is at least `count`; what it is.
    fn until(&mut self, peer: Rank, line: u64, count: u64) -> anyhow::Result<u64> {
        let began = Instant::now();
        loop {
            // Acquire: pairs with the release of the peer's Word; the Spans before it are visible.
            let seen = self.region.word(line + 64 * u64::from(peer.0)).load(Ordering::Acquire);
            if seen >> 32 == count >> 32 && seen >= count {
                return Ok(seen);
            }
            self.look(peer, began)?;
        }
    }

    /// One idle turn of a wait that began then.
    fn look(&mut self, peer: Rank, began: Instant) -> anyhow::Result<()> {
        while self.endpoint.poll().is_some() {}
        if let Some(why) = self.endpoint.down_reason(peer) {
            bail!("no link: {why}");
        }
        if began.elapsed() > SILENCE_MAX {
            return Err(anyhow!("nothing came for {} s", SILENCE_MAX.as_secs()));
        }
        std::thread::yield_now();
        Ok(())
    }
}

/// A meeting that goes on without nodes that no link can be made to, so that the others can still be tried.
struct Patient<X> {
    inner: X,
    absent: Vec<bool>,
}

impl<X: Exchange> Exchange for Patient<X> {
    fn rank(&self) -> Rank {
        self.inner.rank()
    }

    fn members(&self) -> usize {
        self.inner.members()
    }

    fn token(&self) -> &[u8; 32] {
        self.inner.token()
    }

    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        let parts = self.inner.all_gather(what, mine)?;
        Ok(parts.into_iter().zip(&self.absent).map(|(part, absent)| if *absent { Vec::new() } else { part }).collect())
    }

    fn patience(&self) -> Option<Duration> {
        Some(PATIENCE)
    }

    fn is_absent(&self, rank: Rank) -> bool {
        self.absent.get(rank.index()).copied().unwrap_or(false)
    }

    fn give_up(&mut self, rank: Rank) {
        if let Some(absent) = self.absent.get_mut(rank.index()) {
            *absent = true;
        }
    }

    fn node(&self, rank: Rank) -> Option<NodeId> {
        self.inner.node(rank)
    }
}
