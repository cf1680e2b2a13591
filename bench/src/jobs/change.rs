//! A member of a group whose members change, under load.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::kinds::{FabricKind, GroupOrdering, Schedule, Verify};
use super::shape::Shape;

/// Width of the bins in which deliveries are counted, in nanoseconds.
pub const BIN_NS: u64 = 5_000_000;

/// What every member is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeJob {
    /// What carries the writes.
    pub fabric: FabricKind,
    /// In which order messages are delivered.
    pub ordering: GroupOrdering,
    /// The cluster key of the control connections, as hex digits.
    pub key: String,
    /// Its name; fewer than 65,536 of them.
    pub node: u16,
    /// It comes later, when told.
    pub late: bool,
    /// It sends.
    pub sends: bool,
    /// Senders that the buffers suffice for.
    pub senders_max: u32,
    /// Payload of each message.
    pub message_bytes: u64,
    /// Rings and pools.
    pub shape: Shape,
    /// Bytes of a relay block, if given.
    pub block_bytes: Option<u64>,
    /// How large messages are relayed.
    pub schedule: Option<Schedule>,
    /// How much of each payload is written and checked.
    pub verify: Verify,
    /// From one message to the next; 0: as fast as the window lets.
    pub interval_ns: u64,
    /// Whether each node has a core for itself.
    pub own_core: bool,
    /// Silence that counts as death.
    pub suspect_after_ns: u64,
    /// Bytes of the application's state, besides what it counts.
    pub state_bytes: u64,
    /// How fast a newcomer restores it; as fast as it comes, if not given.
    pub restore_bytes_per_second: Option<u64>,
}

/// What a member is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ChangeOrder {
    /// Send, and count deliveries from this time on.
    Load(u64),
    /// Join by one of these members, then send.
    Join(Vec<SocketAddr>, u64),
    /// Leave.
    Leave,
    /// Die at this time, as by SIGKILL.
    Die(u64),
    /// Say what you saw.
    Report,
    /// End.
    Finish,
}

/// What a member says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Said {
    /// It is a member, or will be; others reach it there.
    In(SocketAddr),
    /// It delivers in a view after its first.
    Active,
    /// It came later, and has its vote.
    Votes,
    /// What it saw.
    Seen(Seen),
}

/// What a member saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Views after its first.
    pub changes: Vec<Change>,
    /// When it delivered the first message of each view, by view.
    pub firsts_ns: BTreeMap<u64, u64>,
    /// Deliveries in each [`BIN_NS`].
    pub bins: Vec<Bin>,
    /// When it had its vote, if it came later.
    pub votes_ns: Option<u64>,
}

/// What was delivered in a bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// Payload.
    pub bytes: u64,
    /// Messages.
    pub deliveries: u64,
    /// The longest time without a delivery that ended in it.
    pub gap_ns: u64,
}

/// One change of view.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Change {
    /// The view that it led to.
    pub view: u64,
    /// As [`squall_group::ViewChange`], on the clock of the run.
    pub wedged_ns: u64,
    /// As above.
    pub trimmed_ns: u64,
    /// As above.
    pub met_ns: u64,
    /// As above.
    pub installed_ns: u64,
}
