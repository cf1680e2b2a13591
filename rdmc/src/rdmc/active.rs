//! Which transfers are under way, and which of them to look at.
//!
//! With many senders and windows hundreds are under way, and each step finds news of few. So what has to be looked at
//! in every step lies side by side: the counters by which blocks come, with what they said last, and a bit for each
//! transfer that may have a block to post. A bit too many costs a look; one too few would be a block that nobody sends.

use squall_sst::{Column, Table};
use squall_transport::{Outbox, Rank};

use crate::transfer::Transfer;

/// What no counter says: the first look always looks closer.
const NEVER: u64 = u64::MAX;

/// A counter by which blocks of a transfer come.
#[derive(Debug)]
struct Counted {
    column: Column,
    peer: Rank,
    position: u32,
    seen: u64,
}

/// Slots with something to receive or to post, in the order in which they began. A position is a place in that order.
#[derive(Debug, Default)]
pub(super) struct Active {
    slots: Vec<usize>,
    counters: Vec<Counted>,
    /// A bit a position: it may have a block to post.
    ripe: Vec<u64>,
    /// By position: the peers that it sends to, if they are one or two, as where all relay.
    peers: Vec<Option<[Rank; 2]>>,
    /// Whose turn it was last to post.
    turn: usize,
    /// Some have nothing left to do.
    is_stale: bool,
}

impl Active {
    pub(super) fn with_capacity(slots: usize) -> Active {
        Active { slots: Vec::with_capacity(slots), ..Active::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot at a position.
    pub(super) fn slot(&self, position: usize) -> usize {
        self.slots[position]
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().copied()
    }

    /// `transfer`, in this slot, has begun.
    pub(super) fn push(&mut self, slot: usize, transfer: &Transfer) {
        let position = self.slots.len();
        self.slots.push(slot);
        self.peers.push(transfer.one_or_two_peers());
        if !transfer.is_complete() {
            let counter = |peer| Counted { column: transfer.sent(), peer, position: position as u32, seen: NEVER };
            self.counters.extend(transfer.in_neighbours().map(counter));
        }
        self.ripe.resize(self.slots.len().div_ceil(64), 0);
        if transfer.may_post() {
            self.set_ripe(position);
        }
    }

    /// The first counter from place `from` on that says something new, and the position that it is of. Taken note of
    /// once [`Active::note`] is told so.
    #[inline]
    pub(super) fn news(&self, from: usize, table: &Table) -> Option<News> {
        let said = |counter: &Counted| table.get(counter.column, counter.peer);
        let is_new = |counter: &Counted, said: u64| said != counter.seen || said == NEVER;
        self.counters[from..].iter().zip(from..).find_map(|(counter, place)| {
            let said = said(counter);
            is_new(counter, said).then_some(News { place, position: counter.position as usize, said })
        })
    }

    /// What it said was heard.
    pub(super) fn note(&mut self, news: News) {
        self.counters[news.place].seen = news.said;
    }

    /// Whether no transfer that has a block to post is taken for one that has none.
    pub(super) fn is_sound(&self, slots: &[Transfer]) -> bool {
        (0..self.slots.len()).all(|position| self.first_ripe(position, position + 1).is_some() || !slots[self.slots[position]].may_post())
    }

    pub(super) fn set_ripe(&mut self, position: usize) {
        self.ripe[position / 64] |= 1 << (position % 64);
    }

    pub(super) fn clear_ripe(&mut self, position: usize) {
        self.ripe[position / 64] &= !(1 << (position % 64));
    }

    /// The first position from `from` on and below `end` that may have a block to post.
    #[inline]
    fn first_ripe(&self, from: usize, end: usize) -> Option<usize> {
        let mut from = from;
        while from < end {
            let left = self.ripe[from / 64] >> (from % 64);
            if left != 0 {
                let position = from + left.trailing_zeros() as usize;
                return (position < end).then_some(position);
            }
            from = (from / 64 + 1) * 64;
        }
        None
    }

    /// A round over all that may have a block to post, behind the one whose turn it was last.
    pub(super) fn round(&mut self) -> Round {
        let len = self.slots.len();
        self.turn = self.turn.min(len.saturating_sub(1));
        Round { next: self.turn + 1, end: len, wraps: true }
    }

    /// The next position of a round; those are left out that no peer of has room for.
    #[inline]
    pub(super) fn next_in(&self, round: &mut Round, outbox: &Outbox, room: usize) -> Option<usize> {
        loop {
            match self.first_ripe(round.next, round.end) {
                Some(position) => {
                    round.next = position + 1;
                    if self.peers[position].is_none_or(|peers| peers.iter().any(|&peer| outbox.room(peer) >= room)) {
                        return Some(position);
                    }
                }
                None if round.wraps => *round = Round { next: 0, end: (self.turn + 1).min(self.slots.len()), wraps: false },
                None => return None,
            }
        }
    }

    pub(super) fn set_turn(&mut self, position: usize) {
        self.turn = position;
    }

    /// Some have nothing left to do: [`Active::retain`] is due.
    pub(super) fn set_stale(&mut self) {
        self.is_stale = true;
    }

    pub(super) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Keeps those transfers of `slots` that `stays` says of. The others keep their order.
    pub(super) fn retain(&mut self, slots: &[Transfer], mut stays: impl FnMut(usize) -> bool) {
        let mut places = vec![None; self.slots.len()];
        let mut kept = 0;
        for (position, place) in places.iter_mut().enumerate() {
            let slot = self.slots[position];
            if !stays(slot) {
                continue;
            }
            (self.slots[kept], self.peers[kept]) = (slot, self.peers[position]);
            if slots[slot].may_post() {
                self.set_ripe(kept)
            } else {
                self.clear_ripe(kept)
            }
            *place = Some(kept as u32);
            kept += 1;
        }
        (kept..self.slots.len()).for_each(|position| self.clear_ripe(position));
        self.slots.truncate(kept);
        self.peers.truncate(kept);
        self.counters.retain_mut(|counter| {
            let Some(position) = places[counter.position as usize] else { return false };
            counter.position = position;
            !slots[self.slots[position as usize]].is_complete()
        });
        self.is_stale = false;
    }
}

/// A counter that says something new.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    /// Its place among the counters.
    pub(super) place: usize,
    /// The transfer's.
    pub(super) position: usize,
    said: u64,
}

/// How far a round has come.
#[derive(Debug)]
pub(super) struct Round {
    next: usize,
    end: usize,
    wraps: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_round_comes_by_each_that_may_post_once_and_begins_behind_the_last_turn(
            ripe in proptest::collection::vec(any::<bool>(), 1..200), turn in 0usize..220
        ) {
            let (slots, peers) = ((0..ripe.len()).collect(), vec![None; ripe.len()]);
            let mut active = Active { slots, peers, turn, ripe: vec![0; ripe.len().div_ceil(64)], ..Active::default() };
            let may_post = |position: &usize| ripe[*position];
            (0..ripe.len()).filter(may_post).for_each(|position| active.set_ripe(position));
            let (mut round, outbox) = (active.round(), Outbox::new(1));
            let seen: Vec<usize> = std::iter::from_fn(|| active.next_in(&mut round, &outbox, 1)).collect();
            let behind = (turn + 1).min(ripe.len());
            let expected: Vec<usize> = (behind..ripe.len()).chain(0..behind).filter(may_post).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
