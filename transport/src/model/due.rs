//! Things that will happen.

/// Ordered by time, then by who was scheduled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at_ps: u64,
    pub(super) count: u64,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The card knows of more bytes to send.
    Told { link: u32, bytes: u64 },
    /// An egress port is free.
    Egress { node: u32 },
    /// The last byte of a write is in.
    Land { link: u32 },
    /// Kernels: bytes are in the receiver's socket.
    Arrived { link: u32, bytes: u64 },
    /// Kernels: the sender knows of room.
    Room { link: u32, bytes: u64 },
    /// Lanes: the receiver's thread has dealt with a block.
    Dealt { link: u32, lane: u64 },
    /// Lanes: the sender's thread may post the next.
    Next { node: u32, lane: u64 },
    /// Movers: the receiver's has taken in so many writes.
    Moved { link: u32, writes: u32 },
}
