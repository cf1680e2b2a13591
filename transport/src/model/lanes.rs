//! Blocks that go one by one.

use std::collections::VecDeque;

use crate::write::Write;

/// A block and its counter, for the member that the link leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) link: u32,
    pub(super) span: Write,
    pub(super) counter: Write,
}

/// The blocks of one sender's messages that one member passes on.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: VecDeque<Block>,
    /// The block that is on its way.
    pub(super) flying: Option<Block>,
    /// One is on its way, or about to be.
    busy: bool,
}

impl Lane {
    pub(super) fn push(&mut self, block: Block) {
        self.waiting.push_back(block);
    }

    /// Whether it stood still and has something to send: then somebody is to start it.
    pub(super) fn wake(&mut self) -> bool {
        !self.waiting.is_empty() && !std::mem::replace(&mut self.busy, true)
    }

    /// The next block goes on its way; without one it stands still.
    pub(super) fn start(&mut self) -> Option<Block> {
        self.flying = self.waiting.pop_front();
        self.busy = self.flying.is_some();
        self.flying
    }
}
