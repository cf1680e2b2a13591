//! Chain replication: the head puts messages into a log, which passes from member to member.
//!
//! ```text
//!   sender --> head      my stream to the head, who decides where it goes
//!   head   --> ... --> tail     all streams pass down the chain, each member writing those of the next one's rows
//!   whole  --> ... -->          "I and all before me have this much of the log", one Word a batch
//!          <-- ... <-- received_seq    "all members have this much of it", from the tail back up
//! ```
//!
//! The log is the head's own stream, and behind each decision in it the messages that this one takes of others: so a
//! head that is alone decides nothing. Payloads stay where their sender wrote them, in the ring of its row, and pass
//! down the chain from there: nothing is copied into another ring. A sender that stands in the chain has its own stream
//! already: who comes before it leaves it out, and it passes it on itself.
//!
//! A member delivers what `received_seq` of the next one covers; the tail, what it is told is `whole` before it and it
//! has itself. Both words are minima along a line, so a member delivers what every member has, as in round-robin, and
//! the end of a view needs nothing else: who goes on makes a new chain by rank.
//!
//! # What it costs
//!
//! Of n members, for a batch of k messages of b bytes of the head, over one Span and one Word a link:
//!
//! | step | writes | bytes on a link, all links alike |
//! | --- | --- | --- |
//! | message, down | 2 (n - 1) | k record(b) + 8 |
//! | whole, down | n - 1 | 8 |
//! | received_seq, up | n - 1 | 8 |
//! | delivered_seq, to the senders | n - 1 | in at the head: 8 (n - 1) |
//!
//! A batch of many bytes goes in pieces, so that what it takes on its way down is the time of one piece a member and
//! not of the batch.
//!
//! Together 5 (n - 1) writes. The head delivers after 2 (n - 1) hops, and is the last. One sender has every link to
//! itself, whatever n is; if all send, each link carries all messages but those of the member behind it, and a sender's
//! link its hand-over to the head besides.
//!
//! # Why all deliver the same
//!
//! The log is a function of the head's stream. What is delivered stands in a prefix of it that all have, decisions
//! included: so all of it lies below any trim, and whoever goes on finds it in the same place. Behind that, decisions
//! below the trim count as far as their messages lie below it, and what has no place is delivered by index and then
//! sender.
//!
//! Source: van Renesse and Schneider (OSDI 2004). Different here: the head decides on the order of others' streams and
//! does not copy them, all members deliver, and membership is that of the group.

mod line;
mod log;
mod own;

use squall_sst::{Counter, Frontier, Malformed, Table};
use squall_transport::{Outbox, Rank};

use crate::columns::Columns;
use crate::cost::Cost;
use crate::mutation::Mutation;
use crate::orderer::{Orderer, Run};
pub use line::Line;
use log::Log;
use own::Own;

#[cfg(test)]
mod tests;

/// The head's place among the senders: it is the first of them.
const HEAD: usize = 0;
/// Bytes of what a decision takes of one sender: its place, and how many.
const TAKE_BYTES: usize = 8;
/// Senders that one decision takes from, at the most.
const TAKES_MAX: usize = Chain::DECISION_BYTES_MAX / TAKE_BYTES;
/// No decision takes so many of one sender.
const COUNT_LIMIT: u64 = 1 << 48;

/// One total order, which the head of a chain decides on.
#[derive(Clone, Debug)]
pub struct Chain {
    columns: Columns,
    line: Line,
    senders: usize,
    /// My place among the senders.
    mine: Option<usize>,
    log: Log,
    own: Own,
    /// Of each sender: below which index it was delivered here; as the head, what I have decided on.
    handed: Vec<u64>,
    said: Vec<u64>,
    /// So much of the log I have, and all before me.
    whole: Counter,
    /// So much of it all have.
    received_seq: Counter,
    delivered_seq: Counter,
    delivered_by: Frontier,
    /// Up to here others were told, of both.
    told: (u64, u64),
    /// What those beside me said last.
    heard: (u64, u64),
    stable: u64,
    mutation: Mutation,
}

impl Chain {
    /// Longest decision.
    pub const DECISION_BYTES_MAX: usize = 64;

    /// The order of `senders` in a group of `members`, of whom the first `voters` vote; I am `me`.
    ///
    /// # Panics
    /// If nobody sends.
    pub fn new(columns: Columns, members: usize, voters: usize, senders: &[Rank], me: Rank) -> Chain {
        let line = Line::new(senders, voters, me);
        // Learners hear from the head what all voters have.
        let learners = (voters..members).map(Rank::new).filter(|_| me == line.head());
        Chain {
            columns,
            line,
            senders: senders.len(),
            mine: senders.iter().position(|&sender| sender == me),
            log: Log::new(HEAD, senders.len()),
            own: Own::default(),
            handed: vec![0; senders.len()],
            said: vec![0; senders.len()],
            whole: Counter::read_by(columns.whole, line.after()),
            received_seq: Counter::read_by(columns.received_seq, line.before().into_iter().chain(learners)),
            delivered_seq: Counter::read_by(columns.delivered_seq, senders.iter().copied()),
            delivered_by: Frontier::new(columns.delivered_seq, Columns::DELIVERED_SEQ, members),
            told: (0, 0),
            heard: (0, 0),
            stable: 0,
            mutation: Mutation::None,
        }
    }

    /// What a message costs: see the module. `copies` counts what is handed to the head; a member that sends passes on
    /// its own messages beside all others', but for those of the next one.
    pub fn cost(members: usize, senders: usize) -> Cost {
        let links = members as u64 - 1;
        let of_all = 1.0 / senders as f64;
        let copies = match (members, senders) {
            (1, _) => 0.0,
            (_, 1) => 1.0,
            // Only what the other one sends passes each way.
            (2, _) => of_all,
            // Who comes behind the last sender takes everything, or everybody hands his own to the head.
            (_, senders) if senders < members => 1.0 + of_all,
            _ => 1.0,
        };
        Cost { writes: 5 * links, hops: 2 * links, hops_to_last: 2 * links, copies }
    }

    /// Breaks a rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_mutation(&mut self, mutation: Mutation) {
        self.mutation = mutation;
    }

    /// First position in the log that I have not delivered.
    pub fn delivered_seq(&self) -> u64 {
        self.log.delivered()
    }

    /// So much of the log I and all before me have.
    fn whole_here(&self, table: &Table) -> u64 {
        let before = self.line.before().map_or(u64::MAX, |before| table.get(self.columns.whole, before));
        match self.mutation {
            Mutation::ForwardedEarly if before != u64::MAX => before.min(self.log.end()),
            _ => before.min(self.log.whole()),
        }
    }

    /// Whether I do not wait for those behind me, a fault.
    fn goes_ahead(&self) -> bool {
        match self.mutation {
            Mutation::TailIgnored => true,
            Mutation::LinkSkipped => self.line.before() == Some(self.line.head()),
            _ => false,
        }
    }

    /// What a member beside me says, which cannot go back or be above `most`.
    fn hear(
        table: &Table,
        (column, name): (squall_sst::Column, &'static str),
        member: Rank,
        heard: u64,
        most: u64,
    ) -> Result<u64, Malformed> {
        let value = table.get(column, member);
        if value < heard || value > most { Err(Malformed { member, column: name, value }) } else { Ok(value) }
    }
}

impl Orderer for Chain {
    #[inline]
    fn received(&mut self, sender: usize, frontier: u64, _data_until: u64) {
        let (own, mine) = (&mut self.own, self.mine);
        self.log.received(sender, frontier, |run| {
            if mine == Some(run.sender) {
                own.push(run);
            }
        });
    }

    fn decided(&mut self, sender: usize, index: u64, decision: &[u8]) -> bool {
        let (takes, rest) = decision.as_chunks::<TAKE_BYTES>();
        let take = |take: &[u8; TAKE_BYTES]| {
            let word = u64::from_le_bytes(*take);
            ((word >> 48) as usize, word % COUNT_LIMIT)
        };
        let takes: Vec<(usize, u64)> = takes.iter().map(take).collect();
        let is_one = sender == HEAD && rest.is_empty() && (1..=TAKES_MAX).contains(&takes.len());
        let known = |&(taken, count): &(usize, u64)| taken != HEAD && taken < self.senders && count > 0;
        if !is_one || !takes.iter().all(known) {
            return false;
        }
        self.log.decided(index, takes);
        true
    }

    fn decide(&mut self, _table: &Table, _room: u64, _next_index: u64, decision: &mut Vec<u8>) -> Result<bool, Malformed> {
        decision.clear();
        if self.mine != Some(HEAD) {
            return Ok(false);
        }
        for sender in HEAD + 1..self.senders {
            let here = self.log.received_of(sender);
            let ahead = u64::from(self.mutation == Mutation::DecidedAhead && here > self.said[sender]);
            let count = (here + ahead).saturating_sub(self.said[sender]).min(COUNT_LIMIT - 1);
            if count > 0 && decision.len() < Chain::DECISION_BYTES_MAX {
                decision.extend(((sender as u64) << 48 | count).to_le_bytes());
                self.said[sender] += count;
            }
        }
        Ok(!decision.is_empty())
    }

    #[inline]
    fn owed(&self) -> u64 {
        0
    }

    #[inline]
    fn acknowledge(&mut self, table: &Table, outbox: &mut Outbox, due: bool) {
        if !self.line.has_me() {
            return;
        }
        // What a member beside me should not say is found when it is looked at next: here it counts for nothing.
        let whole = self.whole_here(table).max(self.whole.value());
        self.whole.raise(table, whole);
        let all = match self.line.after().filter(|_| !self.goes_ahead()) {
            Some(after) => table.get(self.columns.received_seq, after).min(whole),
            None => whole,
        };
        self.received_seq.raise(table, all.max(self.received_seq.value()));
        let values = (self.whole.value(), self.received_seq.value());
        if due || (values.0 - self.told.0).max(values.1 - self.told.1) <= self.senders as u64 {
            self.told = values;
            self.whole.push(table, outbox);
            self.received_seq.push(table, outbox);
        }
    }

    fn tell(&mut self, table: &Table, outbox: &mut Outbox) {
        self.received_seq.push(table, outbox);
    }

    #[inline]
    fn refresh(&mut self, table: &Table) -> Result<(), Malformed> {
        let received_seq = (self.columns.received_seq, Columns::RECEIVED_SEQ);
        if let Some(before) = self.line.before() {
            self.heard.0 = Chain::hear(table, (self.columns.whole, Columns::WHOLE), before, self.heard.0, u64::MAX)?;
        }
        if let Some(after) = self.line.after() {
            // Nobody behind me has what I have not said to have.
            self.heard.1 = Chain::hear(table, received_seq, after, self.heard.1, self.whole.value())?;
        }
        if self.line.has_me() {
            self.stable = self.received_seq.value().min(self.log.whole());
        } else {
            self.heard.1 = Chain::hear(table, received_seq, self.line.head(), self.heard.1, u64::MAX)?;
            self.stable = self.heard.1.min(self.log.whole());
        }
        Ok(())
    }

    #[inline]
    fn next(&mut self, max: u64) -> Option<Run> {
        let run = self.log.next(max, self.stable)?;
        self.handed[run.sender] = run.index + run.count;
        Some(run)
    }

    fn next_to(&mut self, trim: &[u64]) -> Option<Run> {
        let run = self.log.next_to(trim, &self.handed, self.mutation == Mutation::CutDecisionsCount)?;
        self.handed[run.sender] = run.index + run.count;
        Some(run)
    }

    #[inline]
    fn delivered(&mut self, table: &Table, outbox: &mut Outbox) {
        self.delivered_seq.raise(table, self.log.delivered());
        self.delivered_seq.push(table, outbox);
    }

    fn delivered_at(&self, table: &Table, member: Rank) -> u64 {
        self.own.below(table.get(self.columns.delivered_seq, member))
    }

    #[inline]
    fn delivered_everywhere(&mut self, table: &Table) -> Result<u64, Malformed> {
        if self.mine.is_none() {
            return Ok(0);
        }
        // Nobody has delivered what I have not said to have.
        let delivered = self.delivered_by.least(table, self.delivered_seq.value(), self.whole.value())?;
        Ok(self.own.forget(delivered))
    }
}
