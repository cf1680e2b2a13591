//! One vertex's part of a schedule, grouped by peer.

use super::{Schedule, ScheduleKind};

/// A block to send, and the step in which the schedule sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendAt {
    /// The step; among everything a vertex sends no two are equal.
    pub step: u64,
    /// The block's number in the message.
    pub block: u32,
}

/// All that a vertex sends to one peer, in step order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The receiver.
    pub peer: u32,
    /// The blocks, ascending by step.
    pub blocks: Vec<SendAt>,
}

/// All that a vertex receives from one peer, in step order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The sender.
    pub peer: u32,
    /// The blocks, in the order in which that peer sends them: a count of what has arrived says which ones.
    pub blocks: Vec<u32>,
}

/// One vertex's part of a schedule.
///
/// For any two vertices a and b, a's [`Outgoing`] to b names the same blocks in the same order as b's [`Incoming`]
/// from a. That is why one counter a pair and transfer is enough to say what has arrived.
///
/// Member 1 of 3 in a chain of 2 blocks:
///
/// ```
/// use squall_rdmc::schedule::{Plan, ScheduleKind, SendAt};
/// let plan = Plan::new(ScheduleKind::Chain, 3, 2, 1);
/// assert_eq!((plan.incoming()[0].peer, &plan.incoming()[0].blocks[..]), (0, &[0, 1][..]));
/// assert_eq!(plan.outgoing()[0].peer, 2);
/// assert_eq!(plan.outgoing()[0].blocks, [SendAt { step: 1, block: 0 }, SendAt { step: 2, block: 1 }]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    members: u32,
    blocks: u32,
    vertex: u32,
    outgoing: Vec<Outgoing>,
    incoming: Vec<Incoming>,
}

impl Plan {
    /// The part of `vertex` in sending `blocks` blocks to `members` members.
    ///
    /// # Panics
    /// If `vertex` is not below `members`.
    pub fn new(kind: ScheduleKind, members: u32, blocks: u32, vertex: u32) -> Self {
        let mut plan = Plan { members, blocks, vertex, outgoing: Vec::new(), incoming: Vec::new() };
        let schedule = Schedule::new(kind, members, blocks);
        for step in 0..schedule.steps() {
            if let Some(hop) = schedule.send(vertex, step) {
                plan.add_send(hop.peer, SendAt { step, block: hop.block });
            }
            if let Some(hop) = schedule.receive(vertex, step) {
                plan.add_receive(hop.peer, hop.block);
            }
        }
        plan
    }

    /// As [`Plan::new`], with `leaves` more members that relay nothing: vertices from `members` on. The root sends each
    /// of them the whole message, behind what the schedule has it send, so that nobody else waits for them.
    ///
    /// # Panics
    /// If `vertex` is neither a member nor a leaf.
    pub fn with_leaves(kind: ScheduleKind, members: u32, leaves: u32, blocks: u32, vertex: u32) -> Self {
        assert!(vertex < members + leaves, "vertex {vertex} of {members} and {leaves} leaves");
        if vertex >= members {
            let mut plan = Plan { members, blocks, vertex, outgoing: Vec::new(), incoming: Vec::new() };
            (0..blocks).for_each(|block| plan.add_receive(0, block));
            return plan;
        }
        let mut plan = Plan::new(kind, members, blocks, vertex);
        let after = kind.steps(members, blocks);
        for block in (0..blocks).filter(|_| vertex == 0) {
            for leaf in 0..leaves {
                let step = after + u64::from(block) * u64::from(leaves) + u64::from(leaf);
                plan.add_send(members + leaf, SendAt { step, block });
            }
        }
        plan
    }

    /// Number of members that relay, the root among them.
    pub fn members(&self) -> u32 {
        self.members
    }

    /// Number of blocks in the message.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Whose part this is; 0 is the root.
    pub fn vertex(&self) -> u32 {
        self.vertex
    }

    /// What is sent, by peer, in the order of the first send to each.
    pub fn outgoing(&self) -> &[Outgoing] {
        &self.outgoing
    }

    /// What is received, by peer, in the order of the first receive from each.
    pub fn incoming(&self) -> &[Incoming] {
        &self.incoming
    }

    fn add_send(&mut self, peer: u32, send: SendAt) {
        match self.outgoing.iter_mut().find(|outgoing| outgoing.peer == peer) {
            Some(outgoing) => outgoing.blocks.push(send),
            None => self.outgoing.push(Outgoing { peer, blocks: vec![send] }),
        }
    }

    fn add_receive(&mut self, peer: u32, block: u32) {
        match self.incoming.iter_mut().find(|incoming| incoming.peer == peer) {
            Some(incoming) => incoming.blocks.push(block),
            None => self.incoming.push(Incoming { peer, blocks: vec![block] }),
        }
    }
}
