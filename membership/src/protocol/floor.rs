//! What every voter must have received, since it was delivered here: no row of the view's end may say less.

use squall_sst::Malformed;
use squall_transport::Rank;

use super::Protocol;
use crate::mutation::Mutation;
use crate::row::{Accepted, Row};

impl Protocol {
    /// I have delivered so much of each sender, because every voter had said that it has received it: a row that is to
    /// end the view may not say less. Said before [`Protocol::freeze`], and only where that is how messages are
    /// delivered; where members fill each other, a majority had said so, and only no cut may say less.
    ///
    /// # Panics
    /// If the vector has not one place a sender.
    pub fn say_delivered(&mut self, delivered: Vec<u64>) {
        assert_eq!(delivered.len(), self.sender_count, "one frontier a sender");
        self.delivered = delivered;
        for rank in (0..self.voters).map(Rank::new) {
            if rank != self.me && self.hears(rank) && self.is_below(rank, &self.rows[rank.index()].clone()) {
                self.suspect(rank);
            }
        }
    }

    /// Whether this row of a voter says that it has received, or cuts off, what it once told me to have; what it is is
    /// noted. Who repeats what another one cut off is not named for it: it may not have delivered as much.
    pub(super) fn is_below(&mut self, peer: Rank, row: &Row) -> bool {
        if !self.votes(peer) || self.mutation != Mutation::None {
            return false;
        }
        let below = |ends: &[u64]| ends.iter().zip(&self.delivered).find(|(end, delivered)| end < delivered).map(|(end, _)| *end);
        let received = row.received.as_deref().filter(|_| self.filling.is_none()).and_then(below);
        let Accepted { leader, trim, .. } = &row.accepted;
        let cut = trim.as_deref().and_then(below);
        let own = cut.filter(|_| *leader == Some(peer));
        let fault = received.map(|value| ("membership.received", value)).or(own.map(|value| ("membership.trim", value)));
        if let Some((column, value)) = fault {
            self.blame(Malformed { member: peer, column, value });
        }
        received.is_some() || cut.is_some()
    }

    /// A member wrote what no member writes; the first such thing is kept.
    pub(crate) fn blame(&mut self, malformed: Malformed) {
        self.blamed.get_or_insert(malformed);
    }

    /// The first thing in a row of this view that no member writes, and whose row that is.
    pub fn blamed(&self) -> Option<Malformed> {
        self.blamed
    }
}
