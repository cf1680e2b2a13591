//! What every member of a group agrees on beforehand.

use std::fmt;
use std::str::FromStr;

use squall_membership::{MEMBERS_MAX, Timeouts, TimeoutsError};
use squall_orderer::{Chain, Cost, Lamport, Paxos, RoundRobin, Unordered};
use squall_rdmc::schedule::ScheduleKind;
use squall_rdmc::{BLOCK_BYTES_MIN, BLOCKS_LIMIT, Limit, Relay};
use squall_smc::{DECISIONS_KEPT_BYTES, record_bytes};
use squall_sst::{Layout, LayoutBuilder};
use squall_transport::region::{Pool, SizeClass};
use squall_transport::{Rank, RegionOptions};

use crate::{probe, reads};

/// No ring and no message is larger: the most that a buffer's place in a `ready` word can name.
const SIZE_BYTES_MAX: u64 = 1 << 40;

/// Senders that there are buffers for where members come and go and nobody says otherwise.
pub const SENDERS_MAX: usize = 8;

/// When messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// In one total order, once every member has received them (atomic multicast).
    Ordered,
    /// When received, in their sender's order.
    Unordered,
    /// In one total order, by times that senders take from all members' clocks, once every member knows them.
    Lamport,
    /// In one total order, by the log of the first sender, once more than half of the members have them and all before
    /// them; large messages once every member has them.
    Paxos,
    /// In one total order, by a log that passes from member to member, once the last one has it and that has come back
    /// up (chain replication).
    Chain,
}

impl Mode {
    /// All of them.
    pub const EVERY: [Mode; 5] = [Mode::Ordered, Mode::Lamport, Mode::Paxos, Mode::Chain, Mode::Unordered];

    /// As it is given and printed.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Ordered => "ordered",
            Mode::Unordered => "unordered",
            Mode::Lamport => "lamport",
            Mode::Paxos => "paxos",
            Mode::Chain => "chain",
        }
    }

    /// Whether all members deliver all messages in one order.
    pub fn is_total(self) -> bool {
        self != Mode::Unordered
    }

    /// Whether small messages pass from member to member.
    pub fn is_relayed(self) -> bool {
        self == Mode::Chain
    }

    /// What a small message costs by rule, in a group of `members` members of whom `senders` send.
    pub fn cost(self, members: usize, senders: usize) -> Cost {
        match self {
            Mode::Ordered => RoundRobin::cost(members, senders),
            Mode::Unordered => Unordered::cost(members, senders),
            Mode::Lamport => Lamport::cost(members, senders),
            Mode::Paxos => Paxos::cost(members, senders),
            Mode::Chain => Chain::cost(members, senders),
        }
    }

    /// Whether members put decisions on the order into their streams, for which rings have room to spare.
    pub(crate) fn has_decisions(self) -> bool {
        matches!(self, Mode::Lamport | Mode::Paxos | Mode::Chain)
    }

    /// Whether a message may be delivered that not all members have: then a view ends at the most that one of them has,
    /// and whoever lacks some of it is given it.
    pub fn fills(self) -> bool {
        self == Mode::Paxos
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        let known = || Mode::EVERY.map(Mode::name).join(", ");
        Mode::EVERY.into_iter().find(|mode| mode.name() == text).ok_or_else(|| format!("`{text}` is no ordering; use one of {}", known()))
    }
}

/// What every member of a group agrees on beforehand. [`Config::new`] gives defaults for small messages; raise
/// [`large_max`](Config::large_max) to send large ones.
///
/// Write `Config { large_max, ..Config::new(senders) }`, never all fields: later versions may have more of them, whose
/// defaults keep what such a configuration means. (That is why it is not `#[non_exhaustive]`, which forbids just this
/// way to write it.)
#[derive(Clone, Debug)]
pub struct Config {
    /// Who sends, ascending by rank.
    pub senders: Vec<Rank>,
    /// When messages are delivered.
    pub mode: Mode,
    /// Bytes of each sender's ring: a power of two.
    pub ring_bytes: u64,
    /// Largest message in bytes that goes by SMC; larger ones go by RDMC.
    pub small_max: u64,
    /// Messages that a sender may have undelivered somewhere.
    pub window_messages: u64,
    /// Largest message in bytes. With no more than `small_max` there is no RDMC and no pool.
    pub large_max: u64,
    /// Large messages of a sender that may be under way at once.
    pub transfers_max: usize,
    /// Senders that the buffers for large messages suffice for, where members come and go (`membership`) and more than
    /// `senders` may come to send: a newcomer that wants to send and for which there are none is refused. Every member
    /// registers `transfers_max * large_max` bytes for each of them, of [`memory_bytes`](Config::memory_bytes) in all.
    /// Without `membership`, or without large messages, it costs nothing and limits nothing.
    pub senders_max: usize,
    /// When silence counts as death. Without it the members never change, and the loss of one ends the group at all
    /// others.
    pub membership: Option<Timeouts>,
    /// Block size in bytes of large messages; chosen for each message ([`Relay::choose`]) if not given.
    pub block_bytes: Option<u32>,
    /// Who relays what to whom; chosen for each message ([`Relay::choose`]) if not given. Members need not agree on it.
    pub schedule: Option<ScheduleKind>,
    /// What large messages are limited by, which that choice depends on. If it is not given, it is measured when the
    /// group opens its first view over a fabric whose links can be the limit: 50 ms of traffic at the most. A newcomer
    /// is told what was found. A first view of two has nobody who relays and measures nothing: then it is
    /// [`Limit::Cores`].
    pub limit: Option<Limit>,
    /// Bytes of blocks that are posted in one turn of the loop: more keeps links busier, less answers small messages
    /// sooner.
    pub post_bytes_max: u64,
    /// Bytes of messages, with what it takes to keep them, that a joining member holds back at the most until it has
    /// the group's state.
    pub held_bytes_max: u64,
    /// Whether members may ask for reads: [`Group::read_point`](crate::Group::read_point). It takes some words of each
    /// row, and a look at them in each turn.
    pub reads: bool,
    /// How memory is to be had.
    pub region: RegionOptions,
}

/// A configuration that cannot work, with what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No sender, a sender twice or out of order, or one that is no member.
    #[error("senders must be some of the {members} members, each once, ascending by rank; they are {senders:?}")]
    Senders {
        /// What was asked for.
        senders: Vec<u16>,
        /// Members of the group.
        members: usize,
    },
    /// A size that no machine has.
    #[error("`{what}` is {bytes} bytes; use at most {max}")]
    TooLarge {
        /// Which field.
        what: &'static str,
        /// What was asked for.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The ring is not a power of two or too small for two messages.
    #[error("a ring of {ring_bytes} bytes cannot hold two messages of {small_max} bytes; use a power of two of at least {least}")]
    Ring {
        /// What was asked for.
        ring_bytes: u64,
        /// The largest small message.
        small_max: u64,
        /// What would do.
        least: u64,
    },
    /// Time-outs that cannot work.
    #[error(transparent)]
    Timeouts(#[from] TimeoutsError),
    /// A member that comes and goes, of a group that says that its members never change.
    #[error(
        "`membership` is not set, so the members of this group never change: set it, such as Some(Timeouts::after(..)), or take a \
         Group instead of a Member"
    )]
    Fixed,
    /// More members than membership can keep track of.
    #[error("a group of {members} members cannot change its members, only up to {MEMBERS_MAX} can")]
    TooMany {
        /// What was asked for.
        members: usize,
    },
    /// Reads where there is no one order that they could have a place in.
    #[error("`reads` need one order of all messages; use another `mode` than {}, or no `reads`", Mode::Unordered)]
    Reads,
    /// A window of no messages.
    #[error("a sender's window must hold at least one message")]
    Window,
    /// Blocks that are too small for the largest message, or of length 0.
    #[error(
        "blocks of {block_bytes} bytes: a message of {large_max} bytes may have at most {blocks_max} blocks; use blocks of at least \
         {least} bytes"
    )]
    Blocks {
        /// What was asked for.
        block_bytes: u32,
        /// The largest message.
        large_max: u64,
        /// The limit.
        blocks_max: u32,
        /// What would do.
        least: u64,
    },
}

/// The columns of everything, in one table.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) order: squall_orderer::Columns,
    pub(crate) smc: squall_smc::Columns,
    pub(crate) rdmc: squall_rdmc::Columns,
    /// Where members give each other what they lack when a view ends: parts of rings, and large messages.
    pub(crate) fill: Option<(squall_smc::FillColumns, squall_rdmc::FillColumns)>,
    /// Where members ask for reads.
    pub(crate) reads: Option<reads::Columns>,
    /// `mark`: what the application of the row's owner raised; read by all. Never goes back.
    pub(crate) mark: squall_sst::Column,
    /// `closing`: 1 once the row's owner wants to leave; read by all.
    pub(crate) closing: squall_sst::Column,
    /// `lost`: one more than the rank whose loss ended the group at the row's owner, 0 while it goes on; read when the
    /// owner itself goes.
    pub(crate) lost: squall_sst::Column,
    /// See [`probe`].
    pub(crate) probe: squall_sst::Columns,
    /// Where the members may change.
    pub(crate) membership: Option<squall_membership::Columns>,
}

impl Config {
    /// Defaults: ordered, 1 MiB rings, messages up to 16 KiB; no change of members. Of those who raise `large_max`,
    /// four messages a sender are under way at once; with `membership` there is room for [`SENDERS_MAX`] senders.
    pub fn new(senders: Vec<Rank>) -> Config {
        Config {
            senders,
            mode: Mode::Ordered,
            ring_bytes: 1 << 20,
            small_max: 16 << 10,
            window_messages: 1 << 20,
            large_max: 0,
            transfers_max: 4,
            senders_max: SENDERS_MAX,
            membership: None,
            block_bytes: None,
            schedule: None,
            limit: None,
            post_bytes_max: 1 << 20,
            held_bytes_max: 256 << 20,
            reads: false,
            region: RegionOptions::data_path(),
        }
    }

    /// Whether it can work for `members` members.
    pub fn check(&self, members: usize) -> Result<(), ConfigError> {
        let ascending = self.senders.windows(2).all(|pair| pair[0] < pair[1]);
        if self.senders.is_empty() || !ascending || self.senders.iter().any(|sender| sender.index() >= members) {
            return Err(ConfigError::Senders { senders: self.senders.iter().map(|sender| sender.0).collect(), members });
        }
        for (what, bytes) in [("ring_bytes", self.ring_bytes), ("small_max", self.small_max), ("large_max", self.large_max)] {
            if bytes > SIZE_BYTES_MAX {
                return Err(ConfigError::TooLarge { what, bytes, max: SIZE_BYTES_MAX });
            }
        }
        let payload = self.small_max.max(squall_rdmc::Descriptor::BYTES as u64);
        let kept = if self.mode.has_decisions() { DECISIONS_KEPT_BYTES } else { 0 };
        let least = (2 * record_bytes(payload) + kept).max(64).next_power_of_two();
        if !self.ring_bytes.is_power_of_two() || self.ring_bytes < least {
            return Err(ConfigError::Ring { ring_bytes: self.ring_bytes, small_max: self.small_max, least });
        }
        if self.reads && !self.mode.is_total() {
            return Err(ConfigError::Reads);
        }
        if self.window_messages == 0 || (self.has_large() && self.transfers_max == 0) {
            return Err(ConfigError::Window);
        }
        if let Some(timeouts) = &self.membership {
            timeouts.check()?;
            if members > MEMBERS_MAX {
                return Err(ConfigError::TooMany { members });
            }
        }
        if let Some(block_bytes) = self.block_bytes {
            let least = self.large_max.div_ceil(u64::from(BLOCKS_LIMIT)).max(1);
            if u64::from(block_bytes) < least {
                return Err(ConfigError::Blocks { block_bytes, large_max: self.large_max, blocks_max: BLOCKS_LIMIT, least });
            }
        }
        Ok(())
    }

    /// Bytes of registered memory that each of `members` members needs: the table with its rings, and the pool.
    pub fn memory_bytes(&self, members: usize) -> u64 {
        self.layout(members).0.bytes().saturating_add(Pool::bytes_for(&self.pool_classes()))
    }

    /// The longest message that may be sent, in bytes.
    pub fn message_bytes_max(&self) -> u64 {
        self.small_max.max(self.large_max)
    }

    pub(crate) fn has_large(&self) -> bool {
        self.large_max > self.small_max
    }

    /// How a message of `bytes` bytes is relayed to `members` members, of whom `busy` send large messages.
    pub fn relay_of(&self, bytes: u64, members: usize, busy: usize) -> Relay {
        let chosen = Relay::choose(self.limit.unwrap_or_default(), bytes, self.block_bytes, members, busy);
        let usual = if self.mode.is_relayed() { ScheduleKind::Chain } else { chosen.schedule };
        Relay { schedule: self.schedule.unwrap_or(usual), ..chosen }
    }

    /// Senders that the buffers suffice for; without large messages there is no limit.
    ///
    /// No view has more. It never grows from one view to the next, since no view has more senders than this said in the
    /// one before: so buffers that were made in an earlier view are enough for any later one.
    pub(crate) fn sender_limit(&self) -> usize {
        match (self.has_large(), self.membership) {
            (false, _) => usize::MAX,
            (true, None) => self.senders.len(),
            (true, Some(_)) => self.senders.len().max(self.senders_max),
        }
    }

    pub(crate) fn pool_classes(&self) -> Vec<SizeClass> {
        if !self.has_large() {
            return Vec::new();
        }
        // More than a region can have is refused as memory.
        let blocks = u32::try_from(self.sender_limit().saturating_mul(self.transfers_max)).unwrap_or(u32::MAX);
        vec![SizeClass { block_bytes: self.large_max, blocks }]
    }

    pub(crate) fn smc_limits(&self) -> squall_smc::Limits {
        squall_smc::Limits { ring_bytes: self.ring_bytes, window_messages: self.window_messages }
    }

    pub(crate) fn rdmc_limits(&self) -> squall_rdmc::Limits {
        let smallest = self.block_bytes.unwrap_or(BLOCK_BYTES_MIN);
        squall_rdmc::Limits {
            transfers_max: if self.has_large() { self.transfers_max as u32 } else { 1 },
            blocks_max: (self.large_max.div_ceil(u64::from(smallest)).clamp(1, u64::from(BLOCKS_LIMIT))) as u32,
            message_bytes_max: if self.has_large() { self.large_max } else { 0 },
            ..squall_rdmc::Limits::DEFAULT
        }
    }

    pub(crate) fn layout(&self, members: usize) -> (Layout, Columns) {
        let senders = self.senders.len();
        LayoutBuilder::compose(members, |layout| Columns {
            smc: squall_smc::Columns::compose(layout, senders, &self.smc_limits()),
            order: squall_orderer::Columns::compose(layout, senders),
            mark: layout.word("group.mark"),
            closing: layout.word("group.closing"),
            lost: layout.word("group.lost"),
            probe: probe::columns(layout),
            rdmc: squall_rdmc::Columns::compose(layout, senders, &self.rdmc_limits()),
            membership: self.membership.map(|_| squall_membership::Columns::compose(layout, senders)),
            reads: self.reads.then(|| reads::Columns::compose(layout)),
            fill: self.membership.filter(|_| self.mode.fills()).map(|_| {
                let large = squall_rdmc::FillColumns::compose(layout, senders, &self.rdmc_limits());
                (squall_smc::FillColumns::compose(layout, senders), large)
            }),
        })
    }

    /// What a newcomer must have in common with the group, over the fabric of this name; who sends and how many they
    /// are it is told.
    pub(crate) fn agreement(&self, fabric: &str) -> String {
        format!("fabric: {fabric}; {}; ring_bytes: {}; senders_max: {}", self.scalars(), self.ring_bytes, self.senders_max,)
    }

    /// What members compare before they write into each other's memory.
    pub(crate) fn description(&self, layout: &Layout) -> String {
        let senders: Vec<u16> = self.senders.iter().map(|sender| sender.0).collect();
        format!("senders: {senders:?}; {}; table: {}", self.scalars(), layout.description())
    }

    /// What is the same at founders and newcomers, as `field: value; field: value`.
    fn scalars(&self) -> String {
        format!(
            "mode: {}; small_max: {}; large_max: {}; transfers_max: {}; block_bytes: {:?}; window_messages: {}; reads: {}",
            self.mode, self.small_max, self.large_max, self.transfers_max, self.block_bytes, self.window_messages, self.reads,
        )
    }
}
