//! The first messages of an epoch.
//!
//! All senders may begin at once, most of all where a change of view cut off what each of them was sending. If their
//! messages shared the links fairly, they would all be through at the end, and only then would anything be delivered.
//! So as long as there are such messages, blocks of lower senders' go first: that is the order of delivery. Nothing is
//! held back for it: whoever has no block of an earlier message to post now posts one of a later.

use squall_sst::{Malformed, Table};
use squall_transport::Outbox;

use super::{Progress, Rdmc};

impl Rdmc {
    /// Whether such messages are under way here. Whoever shares processors then does best to let others run between two
    /// steps: they may have a block of an earlier message to pass on.
    pub fn is_young(&self) -> bool {
        self.is_young
    }

    /// Posts what it can of each sender's first message, lower senders first.
    #[cold]
    pub(super) fn post_first_messages(
        &mut self,
        table: &Table,
        outbox: &mut Outbox,
        budget_bytes: u64,
        progress: &mut Progress,
    ) -> Result<(), Malformed> {
        for sender in 0..self.senders.len() {
            let slot = self.columns.slot(sender, 0);
            let under_way = !self.slots[slot].is_free() && self.slots[slot].number() == 0 && !self.slots[slot].is_quiet();
            while under_way && progress.posted_bytes < budget_bytes && self.post_next(slot, table, outbox, 0, progress)? {}
        }
        Ok(())
    }
}
