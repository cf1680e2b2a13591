//! Parts of gathers that came and wait to be taken, also those of meetings that have yet to begin here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::rank::NodeId;

use super::message::MeetingId;
use super::options::MESSAGE_COST_BYTES;

/// Parts of one node that are kept.
const PARTS_MAX: usize = 64;
/// Meetings that ended here and whose late parts are known for such.
const OVER_MAX: usize = 256;

/// Parts by the node that gave them.
///
/// A part of a meeting that has yet to begin is kept until its giver's connection ends or newer ones need its room; one
/// of a running meeting until it is taken or the meeting ends. A node whose connection ended during a meeting is lost
/// to it: what it gave before still counts.
#[derive(Debug)]
pub(super) struct Parts {
    running: BTreeMap<MeetingId, Running>,
    over: VecDeque<MeetingId>,
    given: BTreeMap<NodeId, VecDeque<Part>>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Running {
    nodes: Vec<NodeId>,
    lost: BTreeSet<NodeId>,
}

/// One node's part of one gather.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) meeting: MeetingId,
    pub(super) step: u32,
    pub(super) what: String,
    pub(super) bytes: Vec<u8>,
}

impl Part {
    fn cost(&self) -> usize {
        self.bytes.len() + self.what.len() + MESSAGE_COST_BYTES
    }
}

impl Parts {
    /// Keeps up to `bytes_max` bytes a node.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { running: BTreeMap::new(), over: VecDeque::new(), given: BTreeMap::new(), bytes_max }
    }

    pub(super) fn begin(&mut self, meeting: MeetingId, nodes: Vec<NodeId>) {
        self.running.insert(meeting, Running { nodes, lost: BTreeSet::new() });
    }

    /// Parts of the meeting are of no more use, those to come included.
    pub(super) fn end(&mut self, meeting: MeetingId) {
        self.running.remove(&meeting);
        self.drop_where(|_, part| part.meeting == meeting);
        if self.over.len() == OVER_MAX {
            self.over.pop_front();
        }
        self.over.push_back(meeting);
    }

    /// Whether any meeting runs.
    pub(super) fn any_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether the connection with the node ended during the meeting.
    pub(super) fn is_lost(&self, meeting: &MeetingId, node: NodeId) -> bool {
        self.running.get(meeting).is_some_and(|running| running.lost.contains(&node))
    }

    /// Keeps a part that came; whether it belongs to a running meeting.
    pub(super) fn put(&mut self, from: NodeId, part: Part) -> bool {
        let runs = match self.running.get(&part.meeting) {
            Some(running) if running.lost.contains(&from) || !running.nodes.contains(&from) => return false,
            Some(_) => true,
            None if self.over.contains(&part.meeting) => return false,
            None => false,
        };
        let given = self.given.entry(from).or_default();
        given.retain(|kept| (kept.meeting, kept.step) != (part.meeting, part.step));
        given.push_back(part);
        while given.len() > PARTS_MAX || given.iter().map(Part::cost).sum::<usize>() > self.bytes_max {
            let oldest_early = given.iter().position(|kept| !self.running.contains_key(&kept.meeting));
            given.remove(oldest_early.unwrap_or(given.len() - 1));
        }
        runs
    }

    /// The node's part of this step, if it came. Parts of earlier steps are of no more use.
    pub(super) fn take(&mut self, meeting: &MeetingId, from: NodeId, step: u32) -> Option<Part> {
        let given = self.given.get_mut(&from)?;
        given.retain(|part| part.meeting != *meeting || part.step >= step);
        let index = given.iter().position(|part| part.meeting == *meeting && part.step == step);
        let part = index.and_then(|index| given.remove(index));
        if given.is_empty() {
            self.given.remove(&from);
        }
        part
    }

    /// The connection with the node ended.
    pub(super) fn lose(&mut self, node: NodeId) {
        for running in self.running.values_mut().filter(|running| running.nodes.contains(&node)) {
            running.lost.insert(node);
        }
        let running: BTreeSet<MeetingId> = self.running.keys().copied().collect();
        self.drop_where(|from, part| from == node && !running.contains(&part.meeting));
    }

    fn drop_where(&mut self, gone: impl Fn(NodeId, &Part) -> bool) {
        self.given.retain(|&node, parts| {
            parts.retain(|part| !gone(node, part));
            !parts.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES_MAX: usize = 4000;
    const HERE: MeetingId = [1; 16];
    const LATER: MeetingId = [2; 16];
    const NODE: NodeId = NodeId(7);

    fn part(meeting: MeetingId, step: u32, bytes: usize) -> Part {
        Part { meeting, step, what: "what".to_owned(), bytes: vec![0; bytes] }
    }

    #[test]
    fn early_parts_last_until_their_giver_goes_and_those_of_a_running_meeting_longer() {
        let mut parts = Parts::new(BYTES_MAX);
        parts.begin(HERE, vec![NODE]);
        assert!(parts.put(NODE, part(HERE, 0, 1)) && !parts.put(NODE, part(LATER, 0, 1)));
        parts.lose(NODE);
        assert!(parts.is_lost(&HERE, NODE));
        assert!(!parts.put(NODE, part(HERE, 1, 1)), "it was lost");
        assert_eq!(parts.take(&HERE, NODE, 0), Some(part(HERE, 0, 1)));
        parts.begin(LATER, vec![NODE]);
        assert_eq!((parts.take(&LATER, NODE, 0), parts.is_lost(&LATER, NODE)), (None, false));
    }

    #[test]
    fn parts_of_a_meeting_that_ended_and_of_those_who_are_no_members_are_dropped() {
        let mut parts = Parts::new(BYTES_MAX);
        parts.begin(HERE, vec![NODE]);
        assert!(!parts.put(NodeId(8), part(HERE, 0, 1)));
        parts.put(NODE, part(HERE, 0, 1));
        parts.end(HERE);
        assert!(!parts.put(NODE, part(HERE, 1, 1)) && !parts.any_running());
        assert!(parts.given.is_empty());
    }

    #[test]
    fn early_parts_give_way_to_those_of_a_running_meeting() {
        let mut parts = Parts::new(BYTES_MAX);
        parts.begin(HERE, vec![NODE]);
        parts.put(NODE, part(LATER, 0, 1500));
        parts.put(NODE, part(HERE, 0, 1500));
        parts.put(NODE, part(HERE, 1, 1500));
        assert_eq!(parts.take(&LATER, NODE, 0), None);
        assert!(parts.take(&HERE, NODE, 0).is_some() && parts.take(&HERE, NODE, 1).is_some());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded(given in prop::collection::vec((0u8..6, 0u32..90, 0usize..2000), 0..300)) {
            let mut parts = Parts::new(BYTES_MAX);
            parts.begin(HERE, vec![NODE]);
            for (meeting, step, bytes) in given {
                parts.put(NODE, part([meeting; 16], step, bytes));
                let kept = &parts.given[&NODE];
                prop_assert!(kept.len() <= PARTS_MAX && kept.iter().map(Part::cost).sum::<usize>() <= BYTES_MAX);
            }
        }
    }
}
