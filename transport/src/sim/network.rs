//! The simulated network: virtual time, and everything that is on its way.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::link::LinkSpec;
use super::state::{Changed, State};
use crate::rank::Rank;

/// A handle to the network that all members of one epoch share.
///
/// A later epoch is a mesh of its own in the same time ([`SimNetwork::extend`]): ranks are those of the handle's epoch.
///
/// Nothing happens by itself: its owner moves the time ([`SimNetwork::advance_to`]), and what is due by then
/// lands. While an endpoint is called a little time passes too ([`SimNetwork::set_call_ns_max`]), so that memory
/// changes in the middle of a member's step as it does on a real fabric. The same seed and the same calls give the same
/// bytes at the same times.
#[derive(Clone, Debug)]
pub struct SimNetwork {
    state: Arc<Mutex<State>>,
    /// Number of the member with rank 0 among all that were ever there.
    first: usize,
    members: usize,
}

impl SimNetwork {
    /// A moment that never comes.
    pub const FOREVER_NS: u64 = u64::MAX / 4;

    /// A network of `members`, all links alike.
    pub fn new(seed: u64, members: usize, link: LinkSpec) -> SimNetwork {
        let state = State::new(seed);
        SimNetwork { state: Arc::new(Mutex::new(state)), first: 0, members: 0 }.extend(members, link)
    }

    /// One more mesh, of `members`, all links alike, beside those that are there: the next epoch.
    pub fn extend(&self, members: usize, link: LinkSpec) -> SimNetwork {
        let first = self.state().extend(members, link);
        SimNetwork { state: Arc::clone(&self.state), first, members }
    }

    /// The number of a member.
    pub(super) fn node(&self, rank: Rank) -> usize {
        assert!(rank.index() < self.members, "rank {rank} of {} members", self.members);
        self.first + rank.index()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual time since the start.
    pub fn now_ns(&self) -> u64 {
        self.state().now_ns
    }

    /// How many members it links.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Each call of an endpoint takes from 0 to this long.
    pub fn set_call_ns_max(&self, ns: u64) {
        self.state().call_ns_max = ns;
    }

    /// From here on, looks whether the source of a Span is still what it was when it was posted, as long as it may be
    /// read. A protocol that never touches what it has posted shows no change; one that sends counters by Span may.
    pub fn audit_sources(&self) {
        self.state().audit = true;
    }

    /// From here on peers write by mappings of their own, as in shared memory: what they have posted lands even after
    /// the receiver has dropped its endpoint, and fabrics say so ([`Fabric::severs`](crate::Fabric::severs)).
    pub fn map_memory(&self) {
        self.state().mapped = true;
    }

    /// From here on writes land in any order, and words are counted: fabrics say so
    /// ([`Fabric::write_order`](crate::Fabric::write_order)).
    pub fn count_writes(&self) {
        self.state().counted = true;
    }

    /// A fault, for tests of the checker: endpoints apply a counted word as soon as it comes.
    #[doc(hidden)]
    pub fn apply_words_early(&self) {
        self.state().hasty = true;
    }

    /// The first source that changed while its Span was on its way.
    pub fn changed_source(&self) -> Option<Changed> {
        self.state().changed
    }

    /// Changes the direction `from` to `to`; what is on its way keeps its times.
    pub fn set_link(&self, from: Rank, to: Rank, spec: LinkSpec) {
        let mut state = self.state();
        let index = state.link(self.node(from), self.node(to));
        state.links[index].spec = spec;
    }

    /// Lets the time of one call pass, on behalf of a caller that takes some between two calls of its endpoint.
    pub fn pass_call_time(&self) {
        self.state().pass_call_time();
    }

    /// When the next thing happens; `None` if nothing is on its way.
    pub fn next_event_ns(&self) -> Option<u64> {
        self.state().due.peek().map(|Reverse(due)| due.at_ns)
    }

    /// Moves the time on to `until_ns` (or leaves it, if that is past) and does what is due.
    pub fn advance_to(&self, until_ns: u64) {
        self.state().advance_to(until_ns);
    }

    /// Whether there was a reason for `rank` to look since this was asked last: something landed, a link broke, or a
    /// full queue has room again.
    pub fn take_news(&self, rank: Rank) -> bool {
        std::mem::take(&mut self.state().nodes[self.node(rank)].news)
    }

    /// Whether [`SimNetwork::take_news`] would say so.
    pub fn has_news(&self, rank: Rank) -> bool {
        self.state().nodes[self.node(rank)].news
    }

    /// Writes that `rank` posted so far.
    pub fn posts(&self, rank: Rank) -> u64 {
        self.state().nodes[self.node(rank)].posts
    }

    /// Bytes that `rank` posted so far.
    pub fn posted_bytes(&self, rank: Rank) -> u64 {
        self.state().nodes[self.node(rank)].posted_bytes
    }

    /// Breaks the link between two members, both directions, within `within_ns`: of what is on its way a part still
    /// lands, and both are told some time later.
    pub fn cut(&self, one: Rank, other: Rank, within_ns: u64) {
        let (mut state, one, other) = (self.state(), self.node(one), self.node(other));
        state.break_link(one, other, within_ns);
        state.break_link(other, one, within_ns);
    }

    /// Holds what `from` sends to `to` until `until_ns`, and nobody is told: what is posted meanwhile waits and then
    /// lands in its order, and so does the news that the link is broken. What is on its way already still lands.
    /// [`SimNetwork::FOREVER_NS`]: nothing comes through any more.
    pub fn hold(&self, from: Rank, to: Rank, until_ns: u64) {
        let mut state = self.state();
        let index = state.link(self.node(from), self.node(to));
        state.links[index].held_until_ns = until_ns;
    }

    /// Ends member `rank` at once, and nobody is told: its writes on their way still land, what is sent to it does not.
    pub fn fall_silent(&self, rank: Rank) {
        self.state().fall_silent(self.node(rank));
    }

    /// Ends member `rank` at once. Of its writes on their way a part still lands; the others are told within
    /// `within_ns` each.
    pub fn crash(&self, rank: Rank, within_ns: u64) {
        self.state().crash(self.node(rank), within_ns);
    }
}
