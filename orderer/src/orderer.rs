//! What every order is.

use squall_sst::{Malformed, Table};
use squall_transport::{Outbox, Rank};

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

    /// A decision that `sender` put at `index` of its stream has come: it counts as soon as everything up to it is
    /// received. `false` if no sender decides that; where nobody decides, all.
    fn decided(&mut self, sender: usize, index: u64, decision: &[u8]) -> bool {
        let _ = (sender, index, decision);
        false
    }

    /// Writes into `decision` what I decide now, for my own stream, if anything; whether it is. There is `room` for so
    /// many, one at least, and my stream ends before `next_index`. Call it again once it is in the stream.
    ///
    /// # Errors
    /// As [`Orderer::refresh`].
    fn decide(&mut self, table: &Table, room: u64, next_index: u64, decision: &mut Vec<u8>) -> Result<bool, Malformed> {
        let _ = (table, room, next_index, decision);
        Ok(false)
    }

    /// The index up to which my own stream is to be filled with nulls by now (0: none owed).
    fn owed(&self) -> u64;

    /// Notes what was received, and tells the others if it is `due`, or if it is no more than a round of turns: a lone
    /// message waits for nothing.
    fn acknowledge(&mut self, table: &Table, outbox: &mut Outbox, due: bool);

    /// Tells what was noted and not told, since it was not due or a queue was full, where others go by that. What a
    /// member does that notes nothing more.
    fn tell(&mut self, table: &Table, outbox: &mut Outbox) {
        let _ = (table, outbox);
    }

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
