//! When and in which order messages are delivered.
//!
//! [`RoundRobin`]: one total order over the messages of all senders, uniform: a message is delivered once every member
//! has received it. `Seq = index * senders + sender`, so with three senders index 2 of sender 1 has Seq 7. A sender with
//! nothing to say fills its turn with nulls. Where some members do not vote, a delivery waits for voters only.
//! [`Unordered`]: a message is delivered when it is received, in its sender's order only.
//!
//! ```text
//!   received(sender, frontier) --> received_seq --Word--> all     stable = min over all members of received_seq
//!   refresh(), next(): runs of turns below stable   --> deliver -->  delivered_seq --Word--> all   (senders reclaim their rings)
//! ```
//!
//! What it does not do: move or hold payloads, know how large messages travel, or count time.
//!
//! Source: Derecho (TOCS 2019), section 5 and appendix B. (The paper's formula for the global index is transposed.)

#![forbid(unsafe_code)]

mod round_robin;
mod unordered;

pub use round_robin::RoundRobin;
pub use unordered::Unordered;

use squall_sst::{Column, Columns as Words, LayoutBuilder, Malformed, Table};
use squall_transport::{Outbox, Rank};

/// The columns of the order.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// `received_seq`: the row's owner has received every message below this Seq. Written by the owner, by value, once
    /// a batch; read by all, who deliver below the least of voters' words. Never goes back.
    pub received_seq: Column,
    /// `delivered_seq`: the row's owner has delivered every message below this Seq, and will not read their ring bytes
    /// again. Written by the owner, by value, once a batch; read by senders, who reclaim below the least of them. Never
    /// goes back; never above any member's received_seq.
    pub delivered_seq: Column,
    /// `acknowledged[sender]`, unordered mode: the row's owner has delivered every message of that sender below this
    /// index. Written by the owner at that sender's copy only, read by that sender. Never goes back.
    pub acknowledged: Words,
}

impl Columns {
    pub(crate) const RECEIVED_SEQ: &str = "order.received_seq";
    pub(crate) const DELIVERED_SEQ: &str = "order.delivered_seq";
    pub(crate) const ACKNOWLEDGED: &str = "order.acknowledged";

    /// Adds them to a table.
    pub fn compose(layout: &mut LayoutBuilder, senders: usize) -> Columns {
        Columns {
            received_seq: layout.word(Columns::RECEIVED_SEQ),
            delivered_seq: layout.word(Columns::DELIVERED_SEQ),
            acknowledged: layout.words(Columns::ACKNOWLEDGED, senders),
        }
    }
}

/// Turns in a row of one sender that may be delivered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Position of the first in the order (in unordered mode: of this member's own deliveries).
    pub seq: u64,
    /// Whose turn it is, by its place among the senders.
    pub sender: usize,
    /// Index of the first.
    pub index: u64,
    /// How many.
    pub count: u64,
}

/// Decides what is delivered next.
pub trait Orderer {
    /// Everything of `sender` below `frontier` has been received; `data_until` is the index behind its last message
    /// that is no null (0 if none so far), which may lie beyond `frontier` when a large message was announced.
    fn received(&mut self, sender: usize, frontier: u64, data_until: u64);

    /// The index up to which my own stream is to be filled with nulls by now (0: none owed).
    fn owed(&self) -> u64;

    /// Tells the others what was received.
    fn acknowledge(&mut self, table: &Table, outbox: &mut Outbox);

    /// Looks how far the others are. Once a batch: what becomes deliverable meanwhile waits for the next batch, so that
    /// acknowledgements get out between them.
    ///
    /// # Errors
    /// A member said what it cannot know, or took back what it had said.
    fn refresh(&mut self, table: &Table) -> Result<(), Malformed>;

    /// The next turns that may be delivered, `max` at the most, if any. Call it again after delivering them.
    fn next(&mut self, max: u64) -> Option<Run>;

    /// The next turn that is to be delivered although not everyone is known to have it, because the view ends and of
    /// each sender what lies below `trim` is kept: per sender no gaps; a turn whose sender's trim lies below it is
    /// passed over. Call it again after delivering it; `None` once all is delivered.
    fn next_to(&mut self, trim: &[u64]) -> Option<Run>;

    /// Tells the others what was delivered. Call it after the last run of a batch.
    fn delivered(&mut self, table: &Table, outbox: &mut Outbox);

    /// Index of my own stream below which this member has delivered.
    fn delivered_at(&self, table: &Table, member: Rank) -> u64;

    /// Index of my own stream below which every member has delivered.
    ///
    /// # Errors
    /// As [`Orderer::refresh`].
    fn delivered_everywhere(&mut self, table: &Table) -> Result<u64, Malformed>;
}
