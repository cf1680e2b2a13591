//! A member of a group under load: what it is, what it is told, and what it saw.

use serde::{Deserialize, Serialize};
use squall_group::{Relay, Stats};

use super::kinds::{FabricKind, Ordering, Schedule, Verify};
use super::shape::Shape;
use super::traced::Event;

/// What every node of a group is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupJob {
    /// What carries the writes.
    pub fabric: FabricKind,
    /// In which order messages are delivered.
    pub ordering: Ordering,
    /// How many send: the first ranks.
    pub senders: u32,
    /// Payload of each message.
    pub message_bytes: u64,
    /// Rings and pools.
    pub shape: Shape,
    /// Bytes of a relay block, if given.
    pub block_bytes: Option<u64>,
    /// How large messages are relayed, if given.
    pub schedule: Option<Schedule>,
    /// How much of each payload is written and checked.
    pub verify: Verify,
    /// Whether to never sleep.
    pub spin: bool,
    /// Whether each node has a core for itself.
    pub own_core: bool,
    /// The group detects failures.
    #[serde(default)]
    pub membership: bool,
    /// Who is slow, or sends nothing.
    #[serde(default)]
    pub delay: Delay,
    /// The last member reads, one read at a time, for as long as messages come.
    #[serde(default)]
    pub reads: bool,
}

#[cfg(test)]
impl GroupJob {
    /// One sender's small messages over shared memory, on cores that others need too: for tests.
    pub(crate) fn of_small(ordering: Ordering) -> GroupJob {
        use super::shape::SMALL_MAX;

        GroupJob {
            fabric: FabricKind::Shm,
            ordering,
            senders: 1,
            message_bytes: SMALL_MAX,
            shape: Shape::of(SMALL_MAX, None),
            block_bytes: None,
            schedule: None,
            verify: Verify::None,
            spin: false,
            own_core: false,
            membership: false,
            delay: Delay::default(),
            reads: false,
        }
    }
}

/// Who of a group is slow, or sends nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// Each turn of the loop of so many members, the last ones, takes longer.
    pub slow: u32,
    /// By so many percent.
    pub percent: u32,
    /// So many senders, the last ones, send nothing.
    pub idle: u32,
}

/// What every node is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum GroupOrder {
    /// Send and deliver.
    Trial(Trial),
    /// End.
    Finish,
}

/// One trial.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Counts up from 0, warm-ups included: the marks that begin and end it follow from it.
    pub number: u64,
    /// Messages of each sender.
    pub messages: u64,
    /// When they are sent.
    pub load: Load,
    /// Whether the time of each send and delivery is kept.
    pub timed: bool,
    /// Whether it is recorded what happens to each block.
    pub traced: bool,
    /// Whether the messages delivered by the end of each [`WATCH_NS`] are kept.
    pub watched: bool,
    /// Whether people see what goes on meanwhile.
    pub shown: bool,
}

/// How often a long trial is looked at.
pub const WATCH_NS: u64 = 100_000_000;

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Load {
    /// As soon as the window lets.
    Full,
    /// When the sender's last one has been delivered to itself.
    Closed,
    /// One every so many nanoseconds, whatever became of the earlier ones.
    Paced(u64),
}

/// What one node saw in one trial.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Before its first send, on the clock of the host; 0 if it sends nothing.
    pub first_send_ns: u64,
    /// After its last delivery.
    pub last_delivery_ns: u64,
    /// Its CPU time.
    pub cpu_ns: u64,
    /// What its group counted.
    pub counted: Counted,
    /// If traced: what happened to blocks, and how many events found no room.
    pub events: Vec<Event>,
    /// See [`Seen::events`].
    pub events_lost: u64,
    /// How the last large message of its own was relayed.
    pub relayed: Option<Relayed>,
    /// The order of its deliveries.
    pub order: Vec<u64>,
    /// If timed: when each of its own messages was (to be) sent.
    pub sends_ns: Vec<u64>,
    /// If timed at a constant rate: when each was sent.
    #[serde(default)]
    pub calls_ns: Vec<u64>,
    /// If timed: when each sender's messages were delivered, by sender.
    pub deliveries_ns: Vec<Vec<u64>>,
    /// If it reads and is timed: how long each read took.
    #[serde(default)]
    pub reads_ns: Vec<u64>,
    /// If watched: looks, each with its time and the messages delivered until then.
    pub looks: Vec<(u64, u64)>,
}

/// How a message was relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// By which schedule.
    pub schedule: Schedule,
    /// In blocks of so many bytes.
    pub block_bytes: u64,
}

impl Relayed {
    /// As the library says it.
    pub fn of(relay: Relay) -> Relayed {
        Relayed { schedule: Schedule::of(relay.schedule), block_bytes: relay.block_bytes.into() }
    }
}

/// Counts of a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Messages sent.
    pub messages_sent: u64,
    /// Nulls sent.
    pub nulls_sent: u64,
    /// Turns in which something was sent.
    pub send_batches: u64,
    /// Received through rings.
    pub received: u64,
    /// Turns and senders in which something was received.
    pub receive_batches: u64,
    /// Delivered.
    pub delivered: u64,
    /// Turns in which something was delivered.
    pub delivery_batches: u64,
    /// Times it slept.
    pub parks: u64,
    /// Words written to other members.
    pub words: u64,
    /// Spans written to other members.
    pub spans: u64,
    /// Bytes of those Spans.
    pub span_bytes: u64,
    /// Work requests given to the device, if there is one.
    pub requests: u64,
    /// Calls that gave them.
    pub doorbells: u64,
}

impl Counted {
    /// What was counted from one look to the next.
    pub fn between(before: &Stats, after: &Stats) -> Counted {
        Counted {
            messages_sent: after.messages_sent - before.messages_sent,
            nulls_sent: after.nulls_sent - before.nulls_sent,
            send_batches: after.send_batches - before.send_batches,
            received: after.received - before.received,
            receive_batches: after.receive_batches - before.receive_batches,
            delivered: after.delivered - before.delivered,
            delivery_batches: after.delivery_batches - before.delivery_batches,
            parks: after.parks - before.parks,
            words: after.words - before.words,
            spans: after.spans - before.spans,
            span_bytes: after.span_bytes - before.span_bytes,
            requests: after.requests - before.requests,
            doorbells: after.doorbells - before.doorbells,
        }
    }
}
