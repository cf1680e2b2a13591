//! Words that members are owed: `ready` and `received`. They wait here while an outbox is full.

use squall_transport::{Outbox, Place, Rank, Write};

/// A word for one peer.
#[derive(Clone, Copy, Debug)]
enum Notice {
    /// A buffer is ready: this value at this place.
    Ready { to: Rank, at: Place, value: u64 },
    /// The frontier of a sender moved: whatever it is when the word goes out.
    Received { to: Rank, sender: usize },
}

/// All words that are owed, oldest first.
#[derive(Debug)]
pub(crate) struct Notices {
    members: usize,
    owed: Vec<Notice>,
    /// Whether a `received` word is owed, at `sender * members + peer`: one is enough however far the frontier moves.
    received_owed: Vec<bool>,
}

impl Notices {
    pub(crate) fn new(senders: usize, members: usize) -> Self {
        Notices { members, owed: Vec::new(), received_owed: vec![false; senders * members] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    pub(crate) fn add_ready(&mut self, to: Rank, at: Place, value: u64) {
        self.owed.push(Notice::Ready { to, at, value });
    }

    pub(crate) fn add_received(&mut self, to: Rank, sender: usize) {
        let owed = &mut self.received_owed[sender * self.members + to.index()];
        if !std::mem::replace(owed, true) {
            self.owed.push(Notice::Received { to, sender });
        }
    }

    /// Pushes what there is room for; `received` names the place and the value of a sender's frontier. How many went
    /// out.
    pub(crate) fn push(&mut self, outbox: &mut Outbox, received: impl Fn(usize) -> (Place, u64)) -> u32 {
        if self.owed.is_empty() {
            return 0;
        }
        let before = self.owed.len();
        let (members, received_owed) = (self.members, &mut self.received_owed);
        self.owed.retain(|notice| match *notice {
            Notice::Ready { to, at, value } => outbox.push(to, Write::Word { at, value }).is_err(),
            Notice::Received { to, sender } => {
                let (at, value) = received(sender);
                let full = outbox.push(to, Write::Word { at, value }).is_err();
                received_owed[sender * members + to.index()] = full;
                full
            }
        });
        (before - self.owed.len()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_transport::TABLE;
    use squall_transport::outbox::OUTBOX_WRITES_MAX;

    #[test]
    fn a_full_outbox_delays_words_and_frontiers_go_out_at_their_newest() {
        let (mut notices, mut outbox) = (Notices::new(2, 3), Outbox::new(3));
        let (to, free) = (Rank::new(1), Rank::new(2));
        for word in 0..OUTBOX_WRITES_MAX as u64 {
            outbox.push(to, Write::Word { at: Place::new(TABLE, 8 * word), value: word }).unwrap();
        }
        let ready = Place::new(TABLE, 8000);
        notices.add_ready(to, ready, 77);
        notices.add_received(to, 1);
        notices.add_received(to, 1);
        notices.add_received(free, 1);
        let place = Place::new(TABLE, 9000);
        assert_eq!(notices.push(&mut outbox, |_| (place, 4)), 1);
        assert_eq!(outbox.pop(free), Some(Write::Word { at: place, value: 4 }));
        outbox.discard(to);
        assert_eq!(notices.push(&mut outbox, |_| (place, 6)), 2);
        assert_eq!(outbox.pop(to), Some(Write::Word { at: ready, value: 77 }));
        assert_eq!(outbox.pop(to), Some(Write::Word { at: place, value: 6 }));
        assert!(notices.is_empty() && outbox.is_empty());
    }
}
