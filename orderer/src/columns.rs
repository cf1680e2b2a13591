//! What the order keeps in the table.

use squall_sst::{Column, Columns as Words, LayoutBuilder};

/// The columns of the order.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// `received_seq`: the row's owner has received every message below this Seq. Written by the owner, by value, once
    /// a batch; read by all, who deliver below the least of voters' words, or below that of a majority. Never goes
    /// back.
    pub received_seq: Column,
    /// `delivered_seq`: the row's owner has delivered every message below this Seq, and will not read their ring bytes
    /// again. Written by the owner, by value, once a batch; read by senders, who reclaim below the least of them. Never
    /// goes back; never above any voter's received_seq, or that of a majority.
    pub delivered_seq: Column,
    /// `acknowledged[sender]`, unordered mode: the row's owner has delivered every message of that sender below this
    /// index. Written by the owner at that sender's copy only, read by that sender. Never goes back.
    pub acknowledged: Words,
    /// `stamp[sender]`, Lamport's order: the latest time that the row's owner has given to a message of that sender.
    /// Written by the owner at that sender's copy only, before `stamped`; read by that sender. Never goes back.
    pub stamp: Words,
    /// `stamped[sender]`, Lamport's order: the row's owner has given times to every message of that sender below this
    /// index, none later than `stamp`. Written and read as that. Never goes back; never above what the sender has sent.
    pub stamped: Words,
    /// `reach`, Lamport's order: whoever has this much of the row owner's stream lacks nothing of it that the owner's
    /// `received_seq` counts. Written by the owner at learners only, before `received_seq`; read by them. Never goes
    /// back.
    pub reach: Column,
    /// `whole`, a chain: the row's owner and all before it have everything of the log below this position. Written by
    /// the owner at the next member only, read by that one. Never goes back.
    pub whole: Column,
}

impl Columns {
    pub(crate) const RECEIVED_SEQ: &str = "order.received_seq";
    pub(crate) const DELIVERED_SEQ: &str = "order.delivered_seq";
    pub(crate) const ACKNOWLEDGED: &str = "order.acknowledged";
    pub(crate) const STAMP: &str = "order.stamp";
    pub(crate) const STAMPED: &str = "order.stamped";
    pub(crate) const REACH: &str = "order.reach";
    pub(crate) const WHOLE: &str = "order.whole";

    /// Adds them to a table.
    pub fn compose(layout: &mut LayoutBuilder, senders: usize) -> Columns {
        Columns {
            received_seq: layout.word(Columns::RECEIVED_SEQ),
            delivered_seq: layout.word(Columns::DELIVERED_SEQ),
            acknowledged: layout.words(Columns::ACKNOWLEDGED, senders),
            stamp: layout.words(Columns::STAMP, senders),
            stamped: layout.words(Columns::STAMPED, senders),
            reach: layout.word(Columns::REACH),
            whole: layout.word(Columns::WHOLE),
        }
    }
}
