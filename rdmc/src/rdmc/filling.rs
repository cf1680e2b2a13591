//! What members that have stopped give each other: large messages, each from its own copy.
//!
//! ```text
//!   who lacks some      wants[slot]: where --------------> one that has it      asked for it, and nobody else
//!   who is asked        the message, given[slot] --------> it                   from its own buffer
//! ```
//!
//! So where a message is delivered that not all have, those that have it keep it:
//!
//! - A receiver gives a buffer back only once all voters have its message, and a sender takes a slot for another
//!   message only once all voters have *delivered* its last one ([`Rdmc::spread`]).
//! - So a message that is announced says that all have delivered what the slot had before: its buffer, if it is still
//!   kept, goes back at once. Whoever hears of a message has a slot for it, and a buffer if the pool holds as many as
//!   all senders may have under way: whatever others have, a member that has stopped can be given.
//!
//! If the one that was asked is lost, another is. Both write the same bytes, as do those who had yet to send blocks of
//! the message by its schedule; but one that is lost here and lives may do so late. So a buffer that was told of stays
//! out until the epoch is over, and whoever was asked and has not said that all is written may write it even then
//! ([`Leftover::asked`](super::Leftover::asked)).

use squall_sst::{Malformed, Table};
use squall_transport::region::Pool;
use squall_transport::{Outbox, POOL, Place, Rank, Write};

use super::Rdmc;
use crate::columns::{FillColumns, Ready, ready_for, ready_word};
use crate::limits::WRITES_A_BLOCK;
use crate::mutation::Mutation;
use crate::transfer::Transfer;

/// Where members give each other what they lack, and how far this one is with it.
#[derive(Debug)]
pub(super) struct Filling {
    columns: FillColumns,
    /// Of each sender, transfers that all voters have; of mine, that they have delivered: all below this number.
    spread: Vec<u64>,
    /// Whom I asked for what I lack, at `columns.slot(sender, transfer)`.
    asked: Vec<Vec<Rank>>,
    /// Bytes that I wrote, by member and then slot.
    given_bytes: Vec<Vec<u64>>,
}

impl Filling {
    /// Whether somebody may have to be given what this slot has, or may write it.
    pub(super) fn keeps(&self, slot: usize, transfer: &Transfer) -> bool {
        self.is_asked(slot) || transfer.number() >= self.spread[transfer.sender()]
    }

    /// Whether others were asked for what this slot has.
    pub(super) fn is_asked(&self, slot: usize) -> bool {
        !self.asked[slot].is_empty()
    }

    /// Who was asked for the transfer in this slot, and has not said that all of it is written.
    pub(super) fn unfinished(&self, slot: usize, transfer: u64, table: &Table) -> Vec<Rank> {
        let given = self.columns.given.get(slot);
        self.asked[slot].iter().copied().filter(|&giver| table.get(given, giver) != transfer + 1).collect()
    }
}

impl Rdmc {
    /// Members that have stopped give each other what they lack: buffers are kept for it.
    pub fn filled_by(self, columns: FillColumns) -> Rdmc {
        let (asked, given_bytes) = (vec![Vec::new(); self.slots.len()], vec![vec![0; self.slots.len()]; self.members]);
        let filling = Filling { columns, spread: vec![0; self.senders.len()], asked, given_bytes };
        Rdmc { filling: Some(Box::new(filling)), ..self }
    }

    /// All voters have what `sender` sent below transfer `end`; if that is me, they have delivered it.
    pub fn spread(&mut self, sender: usize, end: u64) {
        if let Some(filling) = &mut self.filling {
            filling.spread[sender] = end.max(filling.spread[sender]);
        }
    }

    /// `transfer` of another sender is announced: all voters have delivered what its slot had before. Nobody reads that
    /// any more, and what I had to pass on of it has landed.
    pub(super) fn make_room(&mut self, sender: usize, transfer: u64, pool: &mut Pool) {
        let Some(before) = transfer.checked_sub(u64::from(self.limits.transfers_max)) else { return };
        let slot = self.columns.slot(sender, transfer);
        let (kept, old) = (self.draining.iter().position(|&draining| draining == slot), &mut self.slots[slot]);
        let keeps = self.filling.as_ref().is_some_and(|filling| !filling.is_asked(slot));
        let Some(place) = kept.filter(|_| keeps && old.number() == before) else { return };
        self.draining.remove(place);
        if let Some(buffer) = old.end() {
            self.shares.put(sender, old.class(), buffer, pool);
        }
    }

    /// I have stopped, and lack some of this transfer: asks the first of these members for it, unless one of them was
    /// asked last. Whether one is asked now.
    pub fn ask(
        &mut self,
        sender: usize,
        transfer: u64,
        mut givers: impl Iterator<Item = Rank> + Clone,
        table: &Table,
        outbox: &mut Outbox,
    ) -> bool {
        let slot = self.columns.slot(sender, transfer);
        let Some(filling) = self.filling.as_mut().filter(|_| self.slots[slot].lacks(transfer)) else { return false };
        let asked = &mut filling.asked[slot];
        let is_asked = givers.clone().any(|giver| asked.last() == Some(&giver));
        let Some(giver) = givers.next().filter(|_| !is_asked) else { return false };
        let value = ready_word(transfer, self.slots[slot].offset());
        let told = outbox.push(giver, Write::Word { at: table.place(filling.columns.wants.get(slot)), value }).is_ok();
        asked.extend(told.then_some(giver));
        told
    }

    /// Takes in what those that were asked have written here, as far as `hears` says that they are heard. Whether there
    /// was anything.
    ///
    /// # Errors
    /// One says that it has written what it was not asked for.
    pub fn take_given(&mut self, table: &Table, hears: impl Fn(Rank) -> bool) -> Result<bool, Malformed> {
        let mut taken = false;
        for slot in 0..self.slots.len() {
            let (transfer, Some(filling)) = (&mut self.slots[slot], &self.filling) else { return Ok(false) };
            if !filling.is_asked(slot) || !transfer.lacks(transfer.number()) {
                continue;
            }
            let column = filling.columns.given.get(slot);
            let heard = filling.asked[slot].iter().copied().filter(|&giver| hears(giver));
            let said = heard.map(|giver| (giver, table.get(column, giver))).find(|(_, value)| *value != 0);
            match said {
                Some((member, value)) if value != transfer.number() + 1 => {
                    return Err(Malformed { member, column: FillColumns::GIVEN, value });
                }
                None if self.mutation != Mutation::TakesUngiven => continue,
                _ => transfer.fill(),
            }
            let sender = transfer.sender();
            self.advance(sender);
            taken = true;
        }
        if taken {
            self.retire();
        }
        Ok(taken)
    }

    /// Gives `to` what it asked me for and is here, until `budget_bytes` are spent or its queue has no room. How many
    /// bytes were written.
    ///
    /// # Errors
    /// It names a buffer that does not lie in its pool.
    pub fn give(&mut self, to: Rank, table: &Table, outbox: &mut Outbox, budget_bytes: u64) -> Result<u64, Malformed> {
        let Some(filling) = &mut self.filling else { return Ok(0) };
        let mut spent = 0;
        for (slot, transfer) in self.slots.iter().enumerate() {
            let word = table.get(filling.columns.wants.get(slot), to);
            let ((bytes, block_bytes), number) = (transfer.lengths(), transfer.number());
            let (true, Ready::At(target)) = (transfer.has(number), ready_for(word, number)) else { continue };
            if target + bytes > self.pools[to.index()] {
                return Err(Malformed { member: to, column: FillColumns::WANTS, value: word });
            }
            let given = &mut filling.given_bytes[to.index()][slot];
            while *given < bytes && spent < budget_bytes && outbox.room(to) >= WRITES_A_BLOCK {
                let len = block_bytes.min(bytes - *given);
                let from = Place::new(POOL, transfer.offset() + *given);
                let _ = outbox.push(to, Write::Span { from, to: Place::new(POOL, target + *given), len });
                (*given, spent) = (*given + len, spent + len);
                if *given == bytes {
                    let at = table.place(filling.columns.given.get(slot));
                    let _ = outbox.push(to, Write::Word { at, value: number + 1 });
                }
            }
        }
        Ok(spent)
    }
}
