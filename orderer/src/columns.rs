//! What the order keeps in the table.

use squall_sst::{Column, Columns as Words, LayoutBuilder};

/// The columns of the order.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// `received_seq`: the row's owner has received every message below this Seq. Written by the owner, by value, once
    /// a batch; read by all, who deliver below the least of voters' words. Never goes back.
    pub received_seq: Column,
    /// `delivered_seq`: the row's owner has delivered every message below this Seq, and will not read their ring bytes
    /// again. Written by the owner, by value, once a batch; read by senders, who reclaim below the least of them. Never
    /// goes back; never above any member's received_seq.
    pub delivered_seq: Column,
    /// `acknowledged[sender]`, unordered mode: the row's owner has delivered every message of that sender below this
    /// index. Written by the owner at that sender's copy only, read by that sender. Never goes back.
    pub acknowledged: Words,
}

impl Columns {
    pub(crate) const RECEIVED_SEQ: &str = "order.received_seq";
    pub(crate) const DELIVERED_SEQ: &str = "order.delivered_seq";
    pub(crate) const ACKNOWLEDGED: &str = "order.acknowledged";

    /// Adds them to a table.
    pub fn compose(layout: &mut LayoutBuilder, senders: usize) -> Columns {
        Columns {
            received_seq: layout.word(Columns::RECEIVED_SEQ),
            delivered_seq: layout.word(Columns::DELIVERED_SEQ),
            acknowledged: layout.words(Columns::ACKNOWLEDGED, senders),
        }
    }
}
