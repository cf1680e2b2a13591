//! Names that were removed and are not taken again.

use std::collections::VecDeque;

use squall_transport::NodeId;

/// Names that are remembered. Whoever comes back under its old name after so many others have gone is taken for
/// somebody new.
pub(crate) const GONE_MAX: usize = 4096;

/// The last names that left the group, or were removed from it, oldest first: the same at all members of a view, since
/// each change of view adds to it what the change removes, in the order of ranks, and newcomers are told it. So any
/// member can refuse a name, and the group itself keeps the rule that a name is good for one membership.
///
/// An incarnation within the name would need no memory, but a place where a process finds its last one: whoever has
/// such a place can as well make up a name that is new.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    gone: VecDeque<NodeId>,
}

impl Names {
    /// As a newcomer is told.
    pub(crate) fn of(gone: &[NodeId]) -> Names {
        let mut names = Names::default();
        gone.iter().for_each(|&node| names.add(node));
        names
    }

    pub(crate) fn add(&mut self, node: NodeId) {
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back(node);
    }

    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.gone.contains(&node)
    }

    pub(crate) fn all(&self) -> Vec<NodeId> {
        self.gone.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_names_are_known_at_whoever_is_told() {
        let mut names = Names::default();
        (0..GONE_MAX as u64 + 3).for_each(|node| names.add(NodeId(node)));
        assert!(!names.has(NodeId(2)) && names.has(NodeId(3)));
        let told = Names::of(&names.all());
        assert!(!told.has(NodeId(2)) && told.has(NodeId(3)) && told.has(NodeId(GONE_MAX as u64 + 2)));
    }
}
