//! The first messages of an epoch.
//!
//! All senders may begin at once, most of all where a change of view cut off what each of them was sending. If their
//! messages shared the links fairly, they would all be through at the end, and only then would anything be delivered.
//! So as long as there are such messages, blocks of lower senders' go first: that is the order of delivery.
//!
//! Whoever has no block of an earlier message to post now posts one of a later. But where members share processors
//! ([`Rdmc::in_order`]), what it posts then takes time from those who pass on the earlier one, which everybody waits
//! for. There it posts nothing of a later message until the earlier one is here. Nobody waits for ever: of those under
//! way the message of the lowest sender waits for none, and a sender that has no buffer always finds one
//! ([`Shares`](crate::shares::Shares)).

use squall_sst::{Malformed, Table};
use squall_transport::Outbox;

use super::{Frontiers, Progress, Rdmc};

impl Rdmc {
    /// Whether such messages are under way here. Whoever shares processors then does best to let others run between two
    /// steps: they may have a block of an earlier message to pass on.
    pub fn is_young(&self) -> bool {
        self.is_young
    }

    /// Where all deliver in the one order of senders, and share processors: whoever has yet to receive some of a
    /// sender's first message posts nothing of a later sender's.
    #[must_use]
    pub fn in_order(self) -> Rdmc {
        Rdmc { in_order: true, ..self }
    }

    /// Posts what it can of each sender's first message, lower senders first. Whether all else has to wait.
    #[cold]
    pub(super) fn post_first_messages(
        &mut self,
        table: &Table,
        outbox: &mut Outbox,
        budget_bytes: u64,
        progress: &mut Progress,
    ) -> Result<bool, Malformed> {
        for sender in 0..self.senders.len() {
            let slot = self.columns.slot(sender, 0);
            let under_way = !self.slots[slot].is_free() && self.slots[slot].number() == 0 && !self.slots[slot].is_quiet();
            while under_way && progress.posted_bytes < budget_bytes && self.post_next(slot, table, outbox, 0, progress)? {}
            let Frontiers { begun, received, .. } = self.frontiers[sender];
            if self.in_order && begun > 0 && received == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
