//! One point of a sweep, with every setting filled in.

use serde::{Deserialize, Serialize};

use super::axes::Senders;
use super::experiment::Experiment;
use super::omnipaxos;
use super::upset::Upset;
use crate::jobs::group::{Delay, Relayed};
use crate::jobs::kinds::{FabricKind, Ordering, Schedule};
use crate::jobs::peer::Peer;
use crate::jobs::shape::Shape;
use squall_group::Cost;
use squall_report::bounds::{Carriage, Load, Warmth};
use squall_report::{CHOSEN, Point, Row, units};

/// What tells the points of one experiment apart that differ in no axis: what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Nothing to tell apart.
    Plain,
    /// `write`: as many as the window lets through.
    Bandwidth,
    /// `write`: one round trip after the other.
    PingPong,
    /// `memcpy`: one core or all, and what is in the caches.
    Copy(CopyVariant),
    /// `latency`: one message under way a sender.
    Closed,
    /// `latency`: a constant rate, far below the capacity.
    Light,
    /// `latency`: as fast as the window lets.
    Saturated,
    /// `latency-load`: a constant rate.
    Offered {
        /// In percent of what is delivered when senders send as fast as the window lets.
        percent: u32,
    },
    /// `delay`.
    Delayed(Delay),
    /// `orders`: one message under way while a member is slow.
    ClosedDelayed(Delay),
    /// `orders`: one message under way, while the last member reads again and again.
    Reading,
    /// `peers`: what is measured beside ours.
    Peer(Peer),
    /// `view-change`.
    Change {
        /// What happens.
        upset: Upset,
        /// As fast as the window lets, rather than a constant rate far below the capacity.
        full: bool,
    },
}

impl Variant {
    /// As in the column `schedule`.
    pub fn name(self) -> Option<String> {
        match self {
            Variant::ClosedDelayed(delay) => {
                Some(["closed".to_owned()].into_iter().chain(Variant::Delayed(delay).name()).collect::<Vec<_>>().join("-"))
            }
            Variant::Plain => None,
            Variant::Bandwidth => Some("bandwidth".to_owned()),
            Variant::PingPong => Some("latency".to_owned()),
            Variant::Copy(copy) => Some(format!("{}-{}", if copy.all_cores { "all-core" } else { "one-core" }, warmth_name(copy.warmth))),
            Variant::Closed => Some("closed".to_owned()),
            Variant::Reading => Some("reading".to_owned()),
            Variant::Light => Some("light".to_owned()),
            Variant::Saturated => Some("saturated".to_owned()),
            Variant::Offered { percent } => Some(format!("load-{percent}")),
            Variant::Delayed(Delay { slow: 0, idle: 0, .. }) => Some("even".to_owned()),
            Variant::Delayed(Delay { slow: 0, idle, .. }) => Some(format!("{idle}-idle")),
            Variant::Delayed(Delay { slow, percent, .. }) => Some(format!("{slow}-slow-{percent}")),
            Variant::Peer(peer) => Some(format!("beside-{peer}")),
            Variant::Change { upset, full } => Some(format!("{upset}-{}", if full { "full" } else { "light" })),
        }
    }
}

impl Variant {
    /// Whether the members of the group change.
    pub fn is_change(self) -> bool {
        matches!(self, Variant::Change { .. })
    }

    /// Whether the latency of every message is kept.
    pub fn keeps_latencies(self) -> bool {
        use Variant::{Closed, ClosedDelayed, Light, Offered, Reading, Saturated};
        matches!(self, Closed | Light | Saturated | ClosedDelayed(_) | Offered { .. } | Reading)
    }
}

/// A variant of `memcpy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyVariant {
    /// All cores, or one.
    pub all_cores: bool,
    /// What is in the caches.
    pub warmth: Warmth,
}

/// As in the column `schedule`.
pub fn warmth_name(warmth: Warmth) -> &'static str {
    match warmth {
        Warmth::Cold => "cold",
        Warmth::WarmSource => "warm-source",
        Warmth::Cached => "cached",
    }
}

/// One point of a sweep, with every setting filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// What is measured.
    pub experiment: Experiment,
    /// On what; none if nothing is sent.
    pub fabric: Option<FabricKind>,
    /// In which order; none without a group.
    pub ordering: Option<Ordering>,
    /// How many nodes.
    pub nodes: u32,
    /// Who sends; none without a group.
    pub pattern: Option<Senders>,
    /// How many send.
    pub senders: u32,
    /// Payload of one message.
    pub message_bytes: u64,
    /// Messages a sender may have under way.
    pub window: Option<u64>,
    /// Rings and pools; none without a group.
    pub shape: Option<Shape>,
    /// Bytes of a relay block; none if nothing is relayed, or the group chooses.
    pub block_bytes: Option<u64>,
    /// How it is relayed; none if nothing is relayed, or the group chooses.
    pub schedule: Option<Schedule>,
    /// What is done.
    pub variant: Variant,
}

impl Setting {
    /// Who of the group is slow, or sends nothing.
    pub fn delay(&self) -> Delay {
        match self.variant {
            Variant::Delayed(delay) | Variant::ClosedDelayed(delay) => delay,
            _ => Delay::default(),
        }
    }

    /// Whether it is raw writes of which one is under way at a time.
    pub fn is_in_turns(&self) -> bool {
        matches!(self.variant, Variant::PingPong) || matches!(self.variant, Variant::Peer(peer) if peer.is_latency())
    }

    /// How many send: those that are senders, less those that send nothing.
    pub fn sending(&self) -> u32 {
        self.senders - self.delay().idle
    }

    /// The row's part that names the point. `part` tells the rows of one trial apart, if it has several.
    pub fn row(&self, part: Option<&str>) -> Row {
        Row {
            experiment: self.experiment.to_string(),
            fabric: self.fabric.map_or_else(|| "memory".to_owned(), |fabric| fabric.to_string()),
            ordering: self.ordering.map(|ordering| ordering.to_string()).unwrap_or_default(),
            nodes: self.nodes,
            senders: self.sending(),
            sender_pattern: self.pattern.map(|pattern| pattern.to_string()).unwrap_or_default(),
            message_bytes: self.message_bytes,
            window: self.window,
            block_bytes: self.block_bytes,
            schedule: self.schedule_column(part),
            ..Row::default()
        }
    }

    /// The same once it has run, and messages were relayed as the group chose.
    pub fn row_as(&self, relayed: Option<Relayed>, part: Option<&str>) -> Row {
        match relayed.filter(|_| self.is_relayed()) {
            Some(Relayed { schedule, block_bytes }) => {
                Setting { schedule: Some(schedule), block_bytes: Some(block_bytes), ..self.clone() }.row(part)
            }
            None => self.row(part),
        }
    }

    /// Whether messages are relayed in blocks.
    pub fn is_relayed(&self) -> bool {
        self.shape.is_some_and(|shape| shape.is_relayed())
    }

    /// What a message costs by the rule of its order; nothing where orders are not compared.
    pub fn by_rule(&self) -> Option<String> {
        let ordering = self.ordering.filter(|_| self.experiment == Experiment::Orders)?;
        Some(format!("by rule: {}", by_rule(&cost(ordering, self.nodes, self.sending()))))
    }

    /// The points that its rows belong to.
    pub fn points(&self) -> Vec<Point> {
        self.parts().iter().map(|part| self.row(*part).point()).collect()
    }

    /// What tells the rows of one trial apart.
    pub fn parts(&self) -> &'static [Option<&'static str>] {
        match self.variant {
            Variant::Change { upset, .. } => upset.parts(),
            Variant::Closed | Variant::Light | Variant::Saturated | Variant::ClosedDelayed(_) => &[Some(AT_SENDER), Some(AT_LAST)],
            Variant::Offered { .. } => &[Some(FROM_DUE), Some(FROM_CALL)],
            Variant::Reading => &[Some(AT_SENDER), Some(AT_READER)],
            _ if self.experiment == Experiment::RdmcTimeline => &TIMELINE_ROWS,
            _ => &[None],
        }
    }

    /// Relay schedule, or the variant of an experiment that relays nothing, or both.
    fn schedule_column(&self, part: Option<&str>) -> String {
        let variant = self.variant.name();
        let how = match self.schedule {
            Some(schedule) => Some(schedule.to_string()),
            None if self.is_relayed() => Some(CHOSEN.to_owned()),
            None => self.shape.map(|_| "direct".to_owned()),
        };
        [how, variant, part.map(str::to_owned)].into_iter().flatten().collect::<Vec<_>>().join("-")
    }

    /// The group that bounds are for.
    pub fn load(&self) -> Load {
        let relayed = match self.is_relayed() {
            true => self.schedule != Some(Schedule::Sequential),
            false => self.ordering.is_some_and(|ordering| ordering.is_relayed()),
        };
        Load { nodes: self.nodes, senders: self.sending(), carriage: if relayed { Carriage::Relayed } else { Carriage::Direct } }
    }
}

/// What a small message costs by the rule of its order, in a group of `nodes` of whom `senders` send.
pub fn cost(ordering: Ordering, nodes: u32, senders: u32) -> Cost {
    match ordering {
        Ordering::Of(mode) => mode.cost(nodes as usize, senders as usize),
        Ordering::Omnipaxos => omnipaxos::cost(nodes),
    }
}

/// What a message costs by the rule of its order, in words.
pub fn by_rule(cost: &Cost) -> String {
    format!(
        "{} writes for one alone, {} to the sender's delivery and {} to the last, {} times its bytes at the busiest port",
        cost.writes,
        units::counted(cost.hops as usize, "hop"),
        cost.hops_to_last,
        units::number(cost.copies)
    )
}

/// Rows of `rdmc-timeline`: a message from its beginning to its end, and what each node spent that time on.
pub const TIMELINE_PARTS: [&str; 4] = ["whole", "moving", "data", "software"];

const TIMELINE_ROWS: [Option<&str>; 4] =
    [Some(TIMELINE_PARTS[0]), Some(TIMELINE_PARTS[1]), Some(TIMELINE_PARTS[2]), Some(TIMELINE_PARTS[3])];

/// To delivery at the sender.
pub const AT_SENDER: &str = "sender";
/// To delivery at the last node.
pub const AT_LAST: &str = "last";
/// From asking for a read at the last member to its point.
pub const AT_READER: &str = "read";
/// From when a message was due to its delivery at the sender.
pub const FROM_DUE: &str = "due";
/// From the call that sent it.
pub const FROM_CALL: &str = "call";
