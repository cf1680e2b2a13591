//! Schedules: who sends which block to whom, and when.
//!
//! A schedule is a set of pure functions over *vertices*: vertex 0 is the root (the sender of the message), and the
//! other members follow by rank, rotated so that the root comes first. Time is counted in steps. In one step a vertex
//! sends at most one block and receives at most one block.
//!
//! All schedules obey one law, checked exhaustively in `tests/schedule_law.rs`: every vertex but the root gets
//! each block exactly once, from a vertex that holds it before that step, and both ends agree about every hop.
//!
//! | kind | idea | steps for b blocks and n members |
//! | --- | --- | --- |
//! | [`ScheduleKind::Pipeline`] | blocks over the edges of a hypercube, every link busy in every step | b + log2 n - 1 for a power of two, else b + floor(log2 n) |
//! | [`ScheduleKind::TwoTrees`] | half of the blocks down each of two binary trees; the root sends each block once | at most b + 2 ceil(log2 n) |
//! | [`ScheduleKind::Tree`] | binomial tree, the whole message one level at a time | b * ceil(log2 n) |
//! | [`ScheduleKind::Chain`] | a bucket brigade | b + n - 2 |
//! | [`ScheduleKind::Sequential`] | the root sends everything to everyone, one after another | b (n - 1) |
//!
//! One message is through soonest by the pipeline. A stream of messages over links that are the limit is fastest where
//! the root sends each block once: its line carries b blocks a message by two trees or the chain, and b + log2 n - 1 by
//! the pipeline. [`Relay::choose`](crate::Relay::choose) chooses for each message.
//!
//! The steps are a plan, not a clock: the engine posts a block as soon as it holds it and its target is ready, so a
//! step only says in which order posts to be made by one node go out.
//!
//! # Worked example
//!
//! The binomial pipeline with 4 members and 3 blocks takes 3 + 2 - 1 = 4 steps; every member pairs with the member
//! whose number differs in bit 0, then bit 1, then bit 0, ...:
//!
//! ```text
//! step 0 (bit 0)   0 -> 1: b0
//! step 1 (bit 1)   0 -> 2: b1   1 -> 3: b0
//! step 2 (bit 0)   0 -> 1: b2   2 -> 3: b1   3 -> 2: b0
//! step 3 (bit 1)   0 -> 2: b2   1 -> 3: b2   3 -> 1: b1
//! ```
//!
//! ```
//! use squall_rdmc::schedule::{Hop, ScheduleKind};
//! let pipeline = ScheduleKind::Pipeline;
//! assert_eq!(pipeline.steps(4, 3), 4);
//! assert_eq!(pipeline.send(4, 3, 3, 2), Some(Hop { peer: 2, block: 0 }));
//! assert_eq!(pipeline.receive(4, 3, 2, 2), Some(Hop { peer: 3, block: 0 }));
//! ```
//!
//! Source: Behrens, Jha, Birman, Tremel, "RDMC: A Reliable RDMA Multicast for Large Objects", DSN 2018, section 4; the
//! pipeline goes back to Ganesan and Seshadri, "On Cooperative Content Distribution and the Price of Barter", ICDCS
//! 2005.

mod chain;
mod pipeline;
mod plan;
mod sequential;
mod tree;
mod two_trees;

use std::fmt;
use std::str::FromStr;

use two_trees::Trees;

pub use plan::{Incoming, Outgoing, Plan, SendAt};

/// One block over one edge in one step, seen from one of its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The vertex at the other end.
    pub peer: u32,
    /// The block's number in the message, from 0.
    pub block: u32,
}

/// The schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ScheduleKind {
    /// Binomial pipeline: near-optimal for one message of many blocks.
    #[default]
    Pipeline,
    /// Two binary trees: the whole line for a stream of messages.
    TwoTrees,
    /// Binomial tree.
    Tree,
    /// Chain.
    Chain,
    /// Sequential: the root alone sends.
    Sequential,
}

impl ScheduleKind {
    /// All kinds, in the order in which they are listed to users.
    pub const ALL: [ScheduleKind; 5] = [Self::Pipeline, Self::TwoTrees, Self::Tree, Self::Chain, Self::Sequential];

    /// The name on command lines and in result files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::TwoTrees => "two-trees",
            Self::Tree => "tree",
            Self::Chain => "chain",
            Self::Sequential => "sequential",
        }
    }

    /// Its number in descriptors: its place in [`ScheduleKind::ALL`].
    pub fn code(self) -> u8 {
        match self {
            Self::Pipeline => 0,
            Self::TwoTrees => 1,
            Self::Tree => 2,
            Self::Chain => 3,
            Self::Sequential => 4,
        }
    }

    /// The one with this number.
    pub fn of_code(code: u8) -> Option<ScheduleKind> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Number of steps for `blocks` blocks among `members` members; 0 when there is nobody to send to.
    pub fn steps(self, members: u32, blocks: u32) -> u64 {
        Schedule::new(self, members, blocks).steps()
    }

    /// What `vertex` sends in `step`: the receiver and the block.
    ///
    /// # Panics
    /// If `vertex` is not below `members`.
    pub fn send(self, members: u32, blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
        Schedule::new(self, members, blocks).send(vertex, step)
    }

    /// What `vertex` receives in `step`: the sender and the block.
    ///
    /// # Panics
    /// If `vertex` is not below `members`.
    pub fn receive(self, members: u32, blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
        Schedule::new(self, members, blocks).receive(vertex, step)
    }
}

/// The schedule of one message: a kind, and what it computes once for a group.
struct Schedule {
    kind: ScheduleKind,
    members: u32,
    blocks: u32,
    trees: Option<Trees>,
}

impl Schedule {
    fn new(kind: ScheduleKind, members: u32, blocks: u32) -> Schedule {
        let trees = (kind == ScheduleKind::TwoTrees && members > 1).then(|| Trees::new(members));
        Schedule { kind, members, blocks, trees }
    }

    fn steps(&self) -> u64 {
        let (members, blocks) = (self.members, self.blocks);
        if members < 2 || blocks == 0 {
            return 0;
        }
        match self.kind {
            ScheduleKind::Pipeline => pipeline::steps(members, blocks),
            ScheduleKind::TwoTrees => self.trees.as_ref().map_or(0, |trees| trees.steps(blocks)),
            ScheduleKind::Tree => tree::steps(members, blocks),
            ScheduleKind::Chain => chain::steps(members, blocks),
            ScheduleKind::Sequential => sequential::steps(members, blocks),
        }
    }

    fn send(&self, vertex: u32, step: u64) -> Option<Hop> {
        let (members, blocks) = (self.members, self.blocks);
        assert!(vertex < members, "vertex {vertex} of {members}");
        if step >= self.steps() {
            return None;
        }
        match self.kind {
            ScheduleKind::Pipeline => pipeline::send(members, blocks, vertex, step),
            ScheduleKind::TwoTrees => self.trees.as_ref()?.send(blocks, vertex, step),
            ScheduleKind::Tree => tree::send(members, blocks, vertex, step),
            ScheduleKind::Chain => chain::send(members, blocks, vertex, step),
            ScheduleKind::Sequential => sequential::send(blocks, vertex, step),
        }
    }

    fn receive(&self, vertex: u32, step: u64) -> Option<Hop> {
        let (members, blocks) = (self.members, self.blocks);
        assert!(vertex < members, "vertex {vertex} of {members}");
        if step >= self.steps() {
            return None;
        }
        match self.kind {
            ScheduleKind::Pipeline => pipeline::receive(members, blocks, vertex, step),
            ScheduleKind::TwoTrees => self.trees.as_ref()?.receive(blocks, vertex, step),
            ScheduleKind::Tree => tree::receive(blocks, vertex, step),
            ScheduleKind::Chain => chain::receive(blocks, vertex, step),
            ScheduleKind::Sequential => sequential::receive(blocks, vertex, step),
        }
    }
}

impl fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown schedule '{name}' (known: pipeline, two-trees, tree, chain, sequential)")]
pub struct UnknownSchedule {
    /// What was asked for.
    pub name: String,
}

impl FromStr for ScheduleKind {
    type Err = UnknownSchedule;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownSchedule { name: name.to_owned() })
    }
}

/// `step - offset` as a block number, if it is one of `blocks` blocks.
fn block_at(step: u64, offset: u64, blocks: u32) -> Option<u32> {
    let block = u32::try_from(step.checked_sub(offset)?).ok()?;
    (block < blocks).then_some(block)
}
