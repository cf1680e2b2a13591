//! Writes that a protocol wants to make, on their way to an [`Endpoint`].

use std::collections::VecDeque;

use crate::endpoint::{Endpoint, QueueFull};
use crate::rank::Rank;
use crate::write::{Place, Write};

/// Writes that may wait for one peer. Protocols ask [`Outbox::room`] first: full is an answer, never a wait.
pub const OUTBOX_WRITES_MAX: usize = 64;

/// A bounded queue of writes a peer. Protocol crates push into it; `group` drains it into the endpoint.
///
/// Order to one peer is kept. A Word that follows a Word to the same place replaces it: words are monotone or owned by
/// their writer, so a later value makes the earlier one worthless, and moving it back can never overtake data it
/// publishes.
#[derive(Debug)]
pub struct Outbox {
    queues: Vec<VecDeque<Write>>,
    waiting: usize,
    written: Written,
}

/// What was handed on to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Words.
    pub words: u64,
    /// Spans.
    pub spans: u64,
    /// Bytes of the Spans.
    pub span_bytes: u64,
}

impl Written {
    #[inline]
    fn count(&mut self, write: Write) {
        match write {
            Write::Word { .. } => self.words += 1,
            Write::Span { len, .. } => {
                self.spans += 1;
                self.span_bytes += len;
            }
        }
    }
}

impl Outbox {
    /// Empty queues to `members` peers (one's own stays unused).
    pub fn new(members: usize) -> Outbox {
        Outbox {
            queues: (0..members).map(|_| VecDeque::with_capacity(OUTBOX_WRITES_MAX)).collect(),
            waiting: 0,
            written: Written::default(),
        }
    }

    /// Writes that still fit in the queue to `to`.
    #[inline]
    pub fn room(&self, to: Rank) -> usize {
        OUTBOX_WRITES_MAX - self.queues[to.index()].len()
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether a Word for this place waits for `to`.
    pub fn holds(&self, to: Rank, place: Place) -> bool {
        self.queues[to.index()].iter().any(|write| matches!(write, Write::Word { at, .. } if *at == place))
    }

    /// Queues a write; `QueueFull` leaves nothing behind.
    #[inline]
    pub fn push(&mut self, to: Rank, write: Write) -> Result<(), QueueFull> {
        let queue = &mut self.queues[to.index()];
        if let (Write::Word { at, .. }, Some(Write::Word { at: before, value })) = (write, queue.back_mut())
            && *before == at
            && let Write::Word { value: newer, .. } = write
        {
            *value = newer;
            return Ok(());
        }
        if queue.len() == OUTBOX_WRITES_MAX {
            return Err(QueueFull);
        }
        queue.push_back(write);
        self.waiting += 1;
        Ok(())
    }

    /// Posts as much as the endpoint takes. Whether anything was posted.
    #[inline]
    pub fn drain<E: Endpoint + ?Sized>(&mut self, endpoint: &mut E) -> bool {
        if self.waiting == 0 {
            return false;
        }
        let before = self.waiting;
        for (index, queue) in self.queues.iter_mut().enumerate() {
            while let Some(&write) = queue.front() {
                if endpoint.post(Rank::new(index), write).is_err() {
                    break;
                }
                self.written.count(write);
                queue.pop_front();
                self.waiting -= 1;
            }
        }
        self.waiting != before
    }

    /// What the endpoint took so far.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Takes the oldest write that waits for `to`; for tests and simulated wires.
    pub fn pop(&mut self, to: Rank) -> Option<Write> {
        let write = self.queues[to.index()].pop_front();
        self.waiting -= usize::from(write.is_some());
        write
    }

    /// Forgets everything that waits for `to`, whose link is down.
    pub fn discard(&mut self, to: Rank) {
        self.waiting -= self.queues[to.index()].len();
        self.queues[to.index()].clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::TABLE;

    fn word(offset: u64, value: u64) -> Write {
        Write::Word { at: Place::new(TABLE, offset), value }
    }

    #[test]
    fn a_later_word_to_the_same_place_replaces_the_last_one() {
        let mut outbox = Outbox::new(2);
        let to = Rank::new(1);
        outbox.push(to, word(8, 1)).unwrap();
        outbox.push(to, word(8, 2)).unwrap();
        outbox.push(to, word(16, 3)).unwrap();
        outbox.push(to, word(8, 4)).unwrap();
        assert_eq!(outbox.pop(to), Some(word(8, 2)));
        assert_eq!(outbox.pop(to), Some(word(16, 3)));
        assert_eq!(outbox.pop(to), Some(word(8, 4)));
        assert_eq!(outbox.pop(to), None);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_full_queue_is_an_answer_and_leaves_nothing_behind() {
        let mut outbox = Outbox::new(2);
        let to = Rank::new(1);
        for i in 0..OUTBOX_WRITES_MAX as u64 {
            outbox.push(to, word(8 * i, i)).unwrap();
        }
        assert_eq!(outbox.room(to), 0);
        assert!(outbox.holds(to, Place::new(TABLE, 8)) && !outbox.holds(to, Place::new(TABLE, 9999 * 8)));
        assert_eq!(outbox.push(to, word(9999 * 8, 1)), Err(QueueFull));
        outbox.discard(to);
        assert_eq!(outbox.room(to), OUTBOX_WRITES_MAX);
        assert!(outbox.is_empty() && !outbox.holds(to, Place::new(TABLE, 8)));
    }
}
