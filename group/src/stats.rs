//! What a member did.

/// Counts since the group was joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages sent, nulls not counted.
    pub messages_sent: u64,
    /// Nulls sent.
    pub nulls_sent: u64,
    /// Decisions on the order that it put into its stream.
    pub decisions_sent: u64,
    /// Turns in which something was shipped by SMC.
    pub send_batches: u64,
    /// Most indices shipped in one turn.
    pub send_batch_max: u64,
    /// Indices received from others by SMC, nulls counted.
    pub received: u64,
    /// Turns and senders in which something was received.
    pub receive_batches: u64,
    /// Messages delivered, nulls not counted.
    pub delivered: u64,
    /// Turns in which something was delivered.
    pub delivery_batches: u64,
    /// Blocks of large messages posted.
    pub blocks_posted: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Times this member slept.
    pub parks: u64,
    /// Words written to other members, of all protocols.
    pub words: u64,
    /// Spans written to other members.
    pub spans: u64,
    /// Bytes of those Spans.
    pub span_bytes: u64,
    /// Work requests given to the device; 0 where there is no device between.
    pub requests: u64,
    /// Calls that gave them, any number at once.
    pub doorbells: u64,
}
