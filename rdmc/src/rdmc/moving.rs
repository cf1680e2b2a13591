//! A step: blocks come in, blocks go out.

use squall_sst::{Malformed, Table};
use squall_transport::{Outbox, POOL, Place, TABLE, Write};

use super::{Progress, Rdmc};
use crate::columns::sent_word;
use crate::limits::WRITES_A_BLOCK;
use crate::transfer::{Post, Reach};

impl Rdmc {
    /// Takes in what has landed and posts what can be posted, one block of each transfer in turn, until `budget_bytes`
    /// are spent (the last block may go beyond), nothing is left or nothing has room.
    ///
    /// # Errors
    /// A member wrote what no member writes. What was done before it was read stands.
    #[inline]
    pub fn step(&mut self, table: &Table, outbox: &mut Outbox, budget_bytes: u64) -> Result<Progress, Malformed> {
        let mut progress = Progress::default();
        if self.active.is_empty() && self.notices.is_empty() {
            return Ok(progress);
        }
        self.take_in(table, &mut progress)?;
        progress.noticed = self.push_notices(outbox);
        self.post_in_turn(table, outbox, budget_bytes, &mut progress)?;
        if self.active.is_stale() {
            self.retire();
        }
        Ok(progress)
    }

    /// Goes on sending my messages below number `end` to those that relay nothing, while nothing else moves any more:
    /// what [`step`](Rdmc::step) does for them.
    ///
    /// # Errors
    /// As there.
    pub fn feed(&mut self, table: &Table, outbox: &mut Outbox, budget_bytes: u64, end: u64) -> Result<Progress, Malformed> {
        let mut progress = Progress::default();
        let Some(own) = self.own else { return Ok(progress) };
        for position in 0..self.active.len() {
            let slot = self.active.slot(position);
            if self.slots[slot].sender() == own && self.slots[slot].number() < end {
                while progress.posted_bytes < budget_bytes && self.post_next(slot, table, outbox, self.relays, &mut progress)? {}
            }
        }
        Ok(progress)
    }

    fn take_in(&mut self, table: &Table, progress: &mut Progress) -> Result<(), Malformed> {
        let mut from = 0;
        while let Some(news) = self.active.news(from, table) {
            from = news.place + 1;
            let transfer = &mut self.slots[self.active.slot(news.position)];
            let arrived = transfer.take_in(table, &mut self.timeline)?;
            self.active.note(news);
            if arrived == 0 {
                continue;
            }
            progress.arrived_blocks += arrived;
            if transfer.may_post() {
                self.active.set_ripe(news.position);
            }
            if transfer.payload().is_some() {
                progress.completed += 1;
                if transfer.is_quiet() {
                    self.active.set_stale();
                }
                let sender = transfer.sender();
                self.advance(sender);
            }
        }
        Ok(())
    }

    pub(super) fn push_notices(&mut self, outbox: &mut Outbox) -> u32 {
        let (received, me, frontiers) = (self.columns.received, self.me, &self.frontiers);
        self.notices.push(outbox, |sender| (Place::new(TABLE, received.get(sender).at(me)), frontiers[sender].received))
    }

    /// Posts blocks: first those of senders' first messages in this epoch, then one block of each active transfer in
    /// turn, until a whole round brings nothing or the budget is spent.
    fn post_in_turn(&mut self, table: &Table, outbox: &mut Outbox, budget_bytes: u64, progress: &mut Progress) -> Result<(), Malformed> {
        if self.is_young && self.post_first_messages(table, outbox, budget_bytes, progress)? {
            return Ok(());
        }
        debug_assert!(self.active.is_sound(&self.slots), "a block would wait for ever");
        let mut round = self.active.round();
        while progress.posted_bytes < budget_bytes
            && let Some(position) = self.active.next_in(&mut round, outbox, self.room())
        {
            let slot = self.active.slot(position);
            if self.post_next(slot, table, outbox, 0, progress)? {
                self.active.set_turn(position);
                round = self.active.round();
            } else if !self.slots[slot].may_post() {
                self.active.clear_ripe(position);
            }
        }
        Ok(())
    }

    /// Places that a peer's queue must have before a block goes there, in writes.
    fn room(&self) -> usize {
        self.limits.outbox_spare + WRITES_A_BLOCK
    }

    /// The next block of a slot to a member from rank `first` on, if there is one to post now. Whether there was.
    #[inline]
    pub(super) fn post_next(
        &mut self,
        slot: usize,
        table: &Table,
        outbox: &mut Outbox,
        first: usize,
        progress: &mut Progress,
    ) -> Result<bool, Malformed> {
        let reach = Reach { pools: &self.pools, first, room: self.room() };
        let Some(post) = self.slots[slot].next_post(table, outbox, reach, &mut self.timeline)? else { return Ok(false) };
        if self.slots[slot].is_quiet() {
            self.active.set_stale();
        }
        self.post(slot, post, table, outbox);
        progress.posted_blocks += 1;
        progress.posted_bytes += post.bytes;
        Ok(true)
    }

    /// The one place where blocks leave: the data by Span, then the counter that publishes it by Word, to the same peer
    /// (T1, T3).
    fn post(&self, slot: usize, post: Post, table: &Table, outbox: &mut Outbox) {
        let transfer = &self.slots[slot];
        let span = Write::Span { from: Place::new(POOL, post.from), to: Place::new(POOL, post.target), len: post.bytes };
        let at = Place::new(TABLE, transfer.sent().at(self.me));
        let word = Write::Word { at, value: sent_word(transfer.number(), post.count) };
        for write in self.mutation.apply(span, word, transfer.sent(), table) {
            outbox.push(post.to, write).expect("there was room for both writes of the block");
        }
    }

    /// Takes transfers that have nothing left to receive or to post off the active list.
    pub(super) fn retire(&mut self) {
        let (slots, draining) = (&self.slots, &mut self.draining);
        self.active.retain(slots, |slot| {
            let quiet = slots[slot].is_quiet();
            if quiet && slots[slot].is_delivered() {
                draining.push(slot);
            }
            !quiet
        });
        self.is_young = self.is_young && self.active.slots().any(|slot| slots[slot].number() == 0);
    }
}
