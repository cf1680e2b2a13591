//! Every bound of this crate, in one place.

use squall_transport::outbox::OUTBOX_WRITES_MAX;

/// Blocks a message can have at all: a counter word has 20 bits for them.
pub const BLOCKS_LIMIT: u32 = (1 << 20) - 1;

/// Block numbers, summed over all plans, that are kept for messages to come. Each costs about 20 bytes.
pub(crate) const PLANNED_BLOCKS_MAX: usize = 1 << 18;

/// Writes in an outbox that one block takes: its Span and the counter behind it.
pub(crate) const WRITES_A_BLOCK: usize = 2;

/// What a group agrees on before it opens an epoch. The same at every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transfers of one sender that a member holds at once, from the announcement until the buffer is back in the pool.
    pub transfers_max: u32,
    /// Blocks a message; at most [`BLOCKS_LIMIT`].
    pub blocks_max: u32,
    /// Bytes a message.
    pub message_bytes_max: u64,
    /// Places in the outbox to each peer that blocks leave to other traffic, so that small messages and
    /// acknowledgements get through beside a large message.
    pub outbox_spare: usize,
}

impl Limits {
    /// Limits for messages of up to 1 GiB.
    pub const DEFAULT: Limits = Limits { transfers_max: 4, blocks_max: 1 << 16, message_bytes_max: 1 << 30, outbox_spare: 32 };

    /// Whether the limits fit each other and what a counter word can carry.
    pub(crate) const fn hold(&self) -> bool {
        self.transfers_max >= 1
            && self.blocks_max >= 1
            && self.blocks_max <= BLOCKS_LIMIT
            && self.outbox_spare + WRITES_A_BLOCK <= OUTBOX_WRITES_MAX
    }
}

const _: () = assert!(Limits::DEFAULT.hold());

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
