//! What a provider of one-sided writes is: [`Fabric`] opens an [`Endpoint`] for one epoch.

use std::sync::Arc;
use std::time::Duration;

use crate::exchange::{Exchange, ExchangeError};
use crate::rank::Rank;
use crate::region::{Region, RegionError, RegionOptions};
use crate::write::{RegionId, TABLE, Write};

/// The queue towards a peer has no room; the write left nothing behind (rule T4). Post it again after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the send queue to this peer is full; poll and post again")]
pub struct QueueFull;

/// What an endpoint has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The link to this member is broken (rule T6): nothing more is sent to it or comes from it.
    Down(Rank),
}

/// How the writes that are posted to one peer land.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOrder {
    /// In the order in which they are posted.
    Ordered,
    /// In any order: a Word carries how many Spans it stands behind, and the receiving endpoint applies it once they
    /// are in, at a [`poll`](Endpoint::poll) and behind all Words before it. So data by Span and the Word that
    /// publishes it are as good as ordered. What does not hold is that a Span lands behind an earlier Word, or behind
    /// an earlier Span.
    Counted,
}

/// Why a fabric could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The exchange with the other members failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// Memory could not be had or shared.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// A system call failed while the links were being made.
    #[error("{fabric}: {what}: {reason}")]
    System {
        /// The fabric's name.
        fabric: &'static str,
        /// What was being done, with addresses and peers.
        what: String,
        /// What the system said. Not a source of its own: the text has it already.
        reason: std::io::Error,
    },
    /// A peer did not behave as the protocol says.
    #[error("{fabric}: peer {peer}: {what}")]
    Peer {
        /// The fabric's name.
        fabric: &'static str,
        /// Which member.
        peer: Rank,
        /// What it did, what was expected, and the mend.
        what: String,
    },
    /// The fabric cannot work on this machine.
    #[error("{fabric} is unavailable: {why}")]
    Unavailable {
        /// The fabric's name.
        fabric: &'static str,
        /// The reason and the mend.
        why: String,
    },
}

/// Whether a peer's regions, of these sizes, can be those of a member whose regions are `mine`; if not, why.
pub(crate) fn check_regions(mine: &[Region], theirs: impl ExactSizeIterator<Item = u64>) -> Result<(), String> {
    if theirs.len() != mine.len() {
        return Err(format!("it opens with {} regions where I have {}; same program?", theirs.len(), mine.len()));
    }
    for (index, (mine, theirs)) in mine.iter().zip(theirs).enumerate() {
        let mine = mine.bytes() as u64;
        if RegionId(index as u16) == TABLE && theirs != mine {
            return Err(format!("its table has {theirs} bytes and mine {mine}; same program and configuration?"));
        }
    }
    Ok(())
}

/// What a device was given to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Work requests.
    pub posted: u64,
    /// Calls that handed them over, any number at once.
    pub doorbells: u64,
}

/// Wakes the owner of an endpoint that is parked, from any thread.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that does `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Waker {
        Waker(Arc::new(wake))
    }

    /// Ends the current or, if none, the next [`Endpoint::park`] early.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

/// A provider of one-sided writes.
pub trait Fabric {
    /// Its handle for one epoch.
    type Endpoint: Endpoint;

    /// The name users give it: `shm`, `tcp`, `verbs`, `sim`.
    fn name(&self) -> &'static str;

    /// Whether dropping an endpoint is enough to keep every peer from writing into its regions (rule T5), whatever that
    /// peer does: a socket is closed, a queue pair destroyed. Where a peer writes by its own mapping it is not: one
    /// that was stopped and does not know yet that it was removed still can. Memory that it was promised must then not
    /// be used again.
    fn severs(&self) -> bool {
        true
    }

    /// Whether what is posted goes over links, whose rate is not known and can be measured; not where this host's cores
    /// copy it, or where time is not that of a clock.
    fn has_links(&self) -> bool {
        false
    }

    /// How the writes of its endpoints land, and so how rule T1 comes about.
    fn write_order(&self) -> WriteOrder {
        WriteOrder::Ordered
    }

    /// Memory of `bytes` bytes that this fabric can write from and into.
    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError>;

    /// Links this member with all others of the exchange. A collective: every member calls it with regions of the same
    /// roles ([`TABLE`], [`POOL`](crate::write::POOL)). Tables are laid out alike, so a peer whose
    /// table has another size than mine shows nonsense; pools may differ ([`Endpoint::region_bytes`]). When it returns,
    /// every link stands in both directions and every region may be written by the others.
    ///
    /// Where the exchange has [patience](Exchange::patience), members that do not come, end, stop or show nonsense
    /// meanwhile are *absent*: there is no link to them, they are [given up](Exchange::give_up), and the new endpoint
    /// treats them as links that broke: it reports [`Event::Down`] for each, swallows what is posted to them, and knows
    /// a [reason](Endpoint::down_reason). Links are made with all members at once, and patience runs out for all at the
    /// same time. Members need not agree on who is absent: the link of a member that another gave up breaks soon after,
    /// if it ever stood.
    ///
    /// # Errors
    /// Where the exchange has no patience, what kept a peer from being linked. In any case what this member lacks
    /// itself: memory, descriptors, a device.
    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<Self::Endpoint, OpenError>;

    /// Ends an endpoint whose member goes on to the next epoch. As dropping it, T5 included, but what led to its peers
    /// may be kept for the next [`open`](Fabric::open), where the [nodes](Exchange::node) are known. A peer sees that
    /// this member is down only if it does not come to that, or when this fabric and all its clones are dropped: a
    /// member that stops drops its endpoint instead.
    fn retire(&self, endpoint: Self::Endpoint) {
        drop(endpoint);
    }
}

/// One member's links to all others, for one epoch.
///
/// Rules, which every provider passes (`tests/conformance`): T1 posts to one peer land in posting order; of a fabric
/// that is [counted](WriteOrder::Counted), each Word behind all that was posted before it. T2 bytes of one Span land in
/// any order; a Word never tears. T3 a Span's source is read late, a Word carries its value. T4 `post` never blocks:
/// `QueueFull` leaves nothing behind. T5 once it is dropped nothing from its peers lands in memory that is in use. T6 a
/// broken link is reported at least once and never invented. T7 nothing allocates after `open`.
pub trait Endpoint {
    /// My row.
    fn rank(&self) -> Rank;

    /// Members of the epoch, myself among them.
    fn members(&self) -> usize;

    /// Size in bytes of a region of this member, as far as this provider knows it: what is written there must lie
    /// inside. Asked once an epoch, not for each write. `None`: nothing is known, and the caller has to take it for as
    /// large as its own.
    fn region_bytes(&self, rank: Rank, region: RegionId) -> Option<u64> {
        let _ = (rank, region);
        None
    }

    /// Hands one write for `to` to the fabric. It may wait in a queue until [`flush`](Endpoint::flush).
    ///
    /// # Panics
    /// If `to` is this member itself or not a member, or the write lies outside the regions: a bug of the caller.
    fn post(&mut self, to: Rank, write: Write) -> Result<(), QueueFull>;

    /// Rings the doorbell: everything posted is on its way, and peers that sleep are woken.
    fn flush(&mut self);

    /// Makes progress (takes in what has arrived, sends what could not go out before) and reports an event, if any.
    /// Call until `None`.
    fn poll(&mut self) -> Option<Event>;

    /// Why the link to `rank` is down, for people, if this provider knows.
    fn down_reason(&self, rank: Rank) -> Option<String> {
        let _ = rank;
        None
    }

    /// Whether the process of this member has ended for sure, so that nothing more of it lands here. Only a provider
    /// that does not sever ([`Fabric::severs`]) needs to find out; `false` is always true enough.
    fn is_gone(&self, rank: Rank) -> bool {
        let _ = rank;
        false
    }

    /// What the device was given to do since the endpoint was opened; nothing where there is no device between. For the
    /// end of a measurement, not for its loop.
    fn requests(&self) -> Requests {
        Requests::default()
    }

    /// Whether writes that were posted still wait for room in the fabric, so that polling is needed to move them.
    fn backlog(&self) -> bool {
        false
    }

    /// Whether writes that were posted to this member still wait for room in the fabric, and would be lost if the
    /// endpoint ended now.
    fn backlog_to(&self, to: Rank) -> bool {
        let _ = to;
        false
    }

    /// Bytes of a stream that are worth posting to this member at once. More of them would only wait for the link, and
    /// what is posted behind them, acknowledgements above all, would wait with them. `u64::MAX` where nothing waits for
    /// a link. 0 while enough waits already: when that has left, a member that sleeps is woken.
    ///
    /// This is advice: what is posted beyond it is taken as always.
    #[inline]
    fn allowance(&self, to: Rank) -> u64 {
        let _ = to;
        u64::MAX
    }

    /// Says that this member is about to sleep. From here on whatever lands ends the next [`park`](Endpoint::park) at
    /// once. Look at memory once more between `arm` and `park`: what landed before `arm` wakes nobody.
    fn arm(&mut self);

    /// Takes [`arm`](Endpoint::arm) back without sleeping.
    fn disarm(&mut self);

    /// Sleeps until something lands, a [`Waker`] calls, a link breaks or `timeout` is over, whichever is first; it may
    /// also return without a reason. Needs `arm` before it.
    fn park(&mut self, timeout: Duration);

    /// A handle that ends a park from another thread.
    fn waker(&self) -> Waker;
}
