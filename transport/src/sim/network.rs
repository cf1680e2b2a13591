//! The simulated network: virtual time, and everything that is on its way.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::due::{Due, Piece, What};
use super::link::{Link, LinkSpec};
use super::random::Random;
use super::words::{read_words, write_words};
use crate::counted::{Arrivals, CountedWord};
use crate::endpoint::{Event, QueueFull};
use crate::rank::Rank;
use crate::region::{CopyMethod, Region, carry};
use crate::write::{Place, Write};

/// A handle to the network that all members of one epoch share.
///
/// A later epoch is a mesh of its own in the same time ([`SimNetwork::extend`]): ranks are those of the handle's epoch.
///
/// Nothing happens by itself: whoever holds it moves the time ([`SimNetwork::advance_to`]), and what is due by then
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
        let state = State {
            now_ns: 0,
            count: 0,
            call_ns_max: 0,
            audit: false,
            mapped: false,
            counted: false,
            hasty: false,
            changed: None,
            random: Random::new(seed),
            due: BinaryHeap::new(),
            nodes: Vec::new(),
            links: Vec::new(),
            ends: Vec::new(),
        };
        SimNetwork { state: Arc::new(Mutex::new(state)), first: 0, members: 0 }.extend(members, link)
    }

    /// One more mesh, of `members`, all links alike, beside those that are there: the next epoch.
    pub fn extend(&self, members: usize, link: LinkSpec) -> SimNetwork {
        let mut state = self.state();
        let first = state.nodes.len();
        let mesh = Mesh { first, members, first_link: state.links.len() };
        state.nodes.extend((0..members).map(|_| Node { mesh, ..Node::default() }));
        state.links.extend((0..members * members).map(|_| Link::new(link)));
        state.ends.extend((0..members * members).map(|index| (first + index / members, first + index % members)));
        drop(state);
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

    /// Lets the time of one call pass, on behalf of whoever takes some between two calls of its endpoint.
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
        let (mut state, node) = (self.state(), self.node(rank));
        state.nodes[node].silent = true;
        state.nodes[node].regions = Vec::new();
        state.nodes[node].opened = true;
    }

    /// Ends member `rank` at once. Of its writes on their way a part still lands; the others are told within
    /// `within_ns` each.
    pub fn crash(&self, rank: Rank, within_ns: u64) {
        let (mut state, node) = (self.state(), self.node(rank));
        for other in (self.first..self.first + self.members).filter(|&other| other != node) {
            state.break_link(node, other, within_ns);
            let (now, index) = (state.now_ns, state.link(other, node));
            state.links[index].cut_at_ns = Some(now);
        }
        state.nodes[node].regions = Vec::new();
        state.nodes[node].opened = true;
    }
}

/// Bytes that were posted and written again before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Whose memory.
    pub from: Rank,
    /// Who was to get it.
    pub to: Rank,
    /// Where it was to land.
    pub at: Place,
    /// How many bytes the piece has.
    pub len: u64,
    /// When it was read.
    pub at_ns: u64,
}

/// The members of one epoch: numbers from `first` on.
#[derive(Clone, Copy, Debug, Default)]
struct Mesh {
    first: usize,
    members: usize,
    first_link: usize,
}

#[derive(Debug, Default)]
struct Node {
    mesh: Mesh,
    /// Empty before it has opened and after it has gone.
    regions: Vec<Region>,
    opened: bool,
    /// It went without a word, and its links do not tell.
    silent: bool,
    events: VecDeque<Event>,
    news: bool,
    posts: u64,
    posted_bytes: u64,
}

#[derive(Debug)]
pub(super) struct State {
    now_ns: u64,
    /// Things scheduled so far: decides between those due at the same time.
    count: u64,
    call_ns_max: u64,
    audit: bool,
    /// Memory outlives the endpoint that it was opened with.
    mapped: bool,
    /// Writes land in any order and are counted.
    counted: bool,
    /// Counted words are applied before their Spans are in.
    hasty: bool,
    changed: Option<Changed>,
    random: Random,
    due: BinaryHeap<Reverse<Due>>,
    nodes: Vec<Node>,
    links: Vec<Link>,
    /// Sender and receiver of each link.
    ends: Vec<(usize, usize)>,
}

impl State {
    fn link(&self, from: usize, to: usize) -> usize {
        let mesh = self.nodes[from].mesh;
        let other = to.wrapping_sub(mesh.first);
        assert!(from != to && other < mesh.members, "no link from {from} to {to}");
        mesh.first_link + (from - mesh.first) * mesh.members + other
    }

    fn ends(&self, link: usize) -> (usize, usize) {
        self.ends[link]
    }

    fn rank(&self, node: usize) -> Rank {
        Rank::new(node - self.nodes[node].mesh.first)
    }

    /// All others of its epoch.
    fn peers(&self, node: usize) -> impl Iterator<Item = usize> + use<> {
        let mesh = self.nodes[node].mesh;
        (mesh.first..mesh.first + mesh.members).filter(move |&peer| peer != node)
    }

    fn schedule(&mut self, at_ns: u64, what: What) {
        let count = self.next_count();
        self.due.push(Reverse(Due { at_ns, count, what }));
    }

    fn next_count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// A member is there, with its memory: what was posted to it before goes on its way.
    pub(super) fn open(&mut self, node: usize, regions: &[Region]) {
        let opening = &mut self.nodes[node];
        assert!(!opening.opened, "a member opened twice");
        opening.regions = regions.to_vec();
        opening.opened = true;
        for peer in self.peers(node) {
            let index = self.link(peer, node);
            self.launch(index);
        }
    }

    /// A member opened without another: it is told at once, the other as soon as a write from it could have come.
    pub(super) fn shut_out(&mut self, node: usize, other: usize) {
        let (out, back) = (self.link(node, other), self.link(other, node));
        self.links[out].shut = true;
        for link in [out, back] {
            self.links[link].cut_at_ns = Some(self.now_ns);
        }
        self.report(other, node);
        let at_ns = self.now_ns + self.links[out].spec.latency_ns;
        self.schedule(at_ns, What::Report { from: node, to: other });
    }

    /// A member closed its endpoint: what it sent still lands, what was sent to it does not, and its peers learn that
    /// it has gone.
    pub(super) fn close(&mut self, node: usize) {
        if self.nodes[node].silent {
            return;
        }
        self.flush(node);
        self.read_all(node);
        for other in self.peers(node) {
            let (out, back) = (self.link(node, other), self.link(other, node));
            let last_ns = self.links[out].last_landing_ns().max(self.now_ns);
            self.links[out].cut_at_ns.get_or_insert(last_ns + 1);
            if !self.mapped {
                self.links[back].cut_at_ns = Some(self.now_ns);
            }
            let at_ns = (last_ns + 1).max(self.links[out].held_until_ns) + self.links[out].spec.latency_ns;
            self.schedule(at_ns, What::Report { from: node, to: other });
        }
        if !self.mapped {
            self.nodes[node].regions = Vec::new();
        }
    }

    /// What this member has posted is read now, if it was not before: its memory is its own again.
    fn read_all(&mut self, node: usize) {
        for Reverse(due) in std::mem::take(&mut self.due).into_vec() {
            let Due { at_ns, count, what } = due;
            let what = match what {
                What::Copy { link, piece } if self.ends(link).0 == node => {
                    What::Store { link, to: piece.to, bytes: self.read(link, &piece) }
                }
                What::Read { link, piece, landing_ns, landing_count } if self.ends(link).0 == node => {
                    let what = What::Store { link, to: piece.to, bytes: self.read(link, &piece) };
                    self.due.push(Reverse(Due { at_ns: landing_ns, count: landing_count, what }));
                    continue;
                }
                what => what,
            };
            self.due.push(Reverse(Due { at_ns, count, what }));
        }
    }

    fn break_link(&mut self, from: usize, to: usize, within_ns: u64) {
        let index = self.link(from, to);
        let cut_ns = self.now_ns + self.random.between(0, within_ns / 2);
        let report_ns = (cut_ns + self.random.between(0, within_ns / 2)).max(self.links[index].held_until_ns);
        self.links[index].cut_at_ns.get_or_insert(cut_ns);
        self.schedule(report_ns, What::Report { from, to });
    }

    /// A call of an endpoint takes its time.
    pub(super) fn pass_call_time(&mut self) {
        if self.call_ns_max > 0 {
            let until_ns = self.now_ns + self.random.between(0, self.call_ns_max);
            self.advance_to(until_ns);
        }
    }

    pub(super) fn post(&mut self, from: usize, to: usize, write: Write) -> Result<(), QueueFull> {
        let index = self.link(from, to);
        self.check(from, to, &write);
        let node = &mut self.nodes[from];
        let link = &mut self.links[index];
        if link.shut {
            return Ok(());
        }
        if !link.has_room(&mut self.random) {
            // A queue that is truly full tells when a write lands; one that only claims to be is worth another look at
            // any time.
            link.refused = true;
            node.news |= !link.is_full();
            return Err(QueueFull);
        }
        node.posts += 1;
        node.posted_bytes += bytes_of(&write);
        let source = match write {
            Write::Span { from, len, .. } if self.audit => {
                let mut bytes = vec![0; len as usize];
                read_words(&node.regions[usize::from(from.region.0)], from.offset, &mut bytes);
                Some(bytes.into())
            }
            _ => None,
        };
        link.posted.push_back((write, source));
        if self.random.chance(300) {
            self.launch(index);
        }
        Ok(())
    }

    /// Panics if the write lies outside the regions: a bug of the caller.
    fn check(&self, from: usize, to: usize, write: &Write) {
        let (mine, theirs) = (&self.nodes[from].regions, &self.nodes[to].regions);
        let inside = |regions: &[Region], place: Place, len: u64| {
            let region = regions.get(usize::from(place.region.0)).expect("the write names a region that was opened");
            region.check(place.offset, len);
        };
        match *write {
            Write::Span { from, to, len } => {
                assert!(len > 0, "a Span of no bytes");
                inside(mine, from, len);
                if !theirs.is_empty() {
                    inside(theirs, to, len);
                }
            }
            Write::Word { at, .. } => {
                assert!(at.offset.is_multiple_of(8), "a word at {} is not aligned", at.offset);
                if !theirs.is_empty() {
                    inside(theirs, at, 8);
                }
            }
        }
    }

    pub(super) fn flush(&mut self, from: usize) {
        for to in self.peers(from) {
            let index = self.link(from, to);
            self.launch(index);
        }
    }

    /// Sends everything that was posted to one peer on its way, if that peer is there.
    fn launch(&mut self, index: usize) {
        if self.links[index].posted.is_empty() || !self.nodes[self.ends(index).1].opened {
            return;
        }
        while let Some((write, posted)) = self.links[index].posted.pop_front() {
            let flight = self.links[index].launch(bytes_of(&write), self.now_ns, self.counted, &mut self.random);
            match write {
                Write::Word { at, value } if self.counted => {
                    let word = self.links[index].departures.word(at, value);
                    self.schedule(flight.landing_ns, What::Come { link: index, word });
                }
                Write::Word { at, value } => self.schedule(flight.landing_ns, What::Set { link: index, at, value }),
                Write::Span { from, to, len } => {
                    let Some(source) = self.nodes[self.ends(index).0].regions.get(usize::from(from.region.0)).cloned() else {
                        self.links[index].in_flight -= 1;
                        continue;
                    };
                    let whole = Piece { source, from: from.offset, to, len, posted: posted.map(|posted| (posted, 0)) };
                    self.launch_pieces(index, whole, flight.earliest_ns, flight.landing_ns);
                    let number = self.counted.then(|| self.links[index].departures.span());
                    self.schedule(flight.landing_ns, What::Landed { link: index, number });
                }
            }
        }
    }

    /// Cuts a Span at whole words of its target; each piece lands at its own moment and is read at any moment before.
    fn launch_pieces(&mut self, index: usize, whole: Piece, earliest_ns: u64, landing_ns: u64) {
        let pieces = self.random.between(1, self.links[index].spec.pieces_max);
        let mut done = 0;
        for left in (0..pieces).rev() {
            let rest = whole.len - done;
            let end = whole.to.offset + done + if left == 0 { rest } else { self.random.between(1, rest) };
            let end = if left == 0 { end } else { end.next_multiple_of(8).min(whole.to.offset + whole.len) };
            let to = Place { offset: whole.to.offset + done, ..whole.to };
            let posted = whole.posted.as_ref().map(|(posted, _)| (posted.clone(), done));
            let piece = Piece { source: whole.source.clone(), from: whole.from + done, to, len: end - to.offset, posted };
            done += piece.len;
            let at_ns = self.random.between(earliest_ns, landing_ns);
            if self.random.chance(500) {
                self.schedule(at_ns, What::Copy { link: index, piece });
            } else {
                // The counter behind this Span may be due at the very same moment: the landing takes its turn now, not
                // when it is read.
                let (read_ns, landing_count) = (self.random.between(self.now_ns, at_ns), self.next_count());
                self.schedule(read_ns, What::Read { link: index, piece, landing_ns: at_ns, landing_count });
            }
            if done == whole.len {
                break;
            }
        }
    }

    fn advance_to(&mut self, until_ns: u64) {
        while let Some(Reverse(next)) = self.due.peek()
            && next.at_ns <= until_ns
            && let Some(Reverse(due)) = self.due.pop()
        {
            self.now_ns = self.now_ns.max(due.at_ns);
            self.happen(due.what);
        }
        self.now_ns = self.now_ns.max(until_ns);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Read { link, piece, landing_ns, landing_count } => {
                let bytes = self.read(link, &piece);
                let what = What::Store { link, to: piece.to, bytes };
                self.due.push(Reverse(Due { at_ns: landing_ns, count: landing_count, what }));
            }
            What::Store { link, to, bytes } => {
                if let Some(target) = self.target(link, to) {
                    write_words(&target, to.offset, &bytes);
                }
            }
            What::Copy { link, piece } => {
                if self.audit {
                    self.read(link, &piece);
                }
                if let Some(target) = self.target(link, piece.to) {
                    carry(&piece.source, piece.from, &target, piece.to.offset, piece.len, CopyMethod::Plain);
                }
            }
            What::Set { link, at, value } => {
                self.set(link, at, value);
                self.landed(link);
            }
            What::Come { link, word } => self.come(link, word),
            What::Landed { link, number: None } => self.landed(link),
            What::Landed { link, number: Some(number) } => self.span_landed(link, number),
            What::Report { from, to } => self.report(from, to),
        }
    }

    fn read(&mut self, link: usize, piece: &Piece) -> Vec<u8> {
        let bytes = piece.read();
        // What nobody will see may change.
        if self.changed.is_none() && self.target(link, piece.to).is_some() && piece.has_changed(&bytes) {
            let (from, to) = self.ends(link);
            let (from, to) = (self.rank(from), self.rank(to));
            self.changed = Some(Changed { from, to, at: piece.to, len: piece.len, at_ns: self.now_ns });
        }
        bytes
    }

    /// The receiver's region, unless one of the two has gone or the link is cut.
    fn target(&self, link: usize, to: Place) -> Option<Region> {
        let (_, receiver) = self.ends(link);
        if self.links[link].is_cut(self.now_ns) || (self.links[link].reported && !self.mapped) {
            return None;
        }
        self.nodes[receiver].regions.get(usize::from(to.region.0)).cloned()
    }

    fn set(&self, link: usize, at: Place, value: u64) {
        if let Some(target) = self.target(link, at) {
            // Release: pairs with the acquire of whoever reads the word; all that landed before it is visible then.
            target.link_word(at.offset).store(value, Ordering::Release);
        }
    }

    /// A write has landed as a whole: the receiver has something to see, and the sender has room if it was refused
    /// before.
    fn landed(&mut self, link: usize) {
        self.free(link, 1);
    }

    /// A counted Span has landed as a whole.
    fn span_landed(&mut self, link: usize, number: u64) {
        if !self.receives(link) {
            return self.landed(link);
        }
        let whole = self.links[link].arrivals().span(number).expect("a link sends each number once, within its window");
        self.free(link, whole as usize);
    }

    /// A counted word has come: the receiving endpoint applies it when it polls.
    fn come(&mut self, link: usize, word: CountedWord) {
        if self.hasty {
            self.set(link, word.at, word.value);
        }
        if self.hasty || !self.receives(link) {
            return self.landed(link);
        }
        self.links[link].arrivals().word(word).expect("a link sends each number once, within its window");
        self.free(link, 0);
    }

    /// Whether what comes by this link comes to an endpoint.
    fn receives(&self, link: usize) -> bool {
        let (_, receiver) = self.ends(link);
        !self.links[link].is_cut(self.now_ns) && !self.nodes[receiver].regions.is_empty()
    }

    /// The receiving endpoint applies what is complete of all that was counted.
    pub(super) fn apply(&mut self, node: usize) {
        if !self.counted {
            return;
        }
        for peer in self.peers(node) {
            let link = self.link(peer, node);
            while !self.links[link].told
                && let Some(word) = self.links[link].arrivals.as_mut().and_then(Arrivals::next)
            {
                let target = self.nodes[node].regions.get(usize::from(word.at.region.0));
                // Release: as in `set`.
                let target = target.expect("a region that the sender knew");
                target.link_word(word.at.offset).store(word.value, Ordering::Release);
                self.free(link, 1);
            }
        }
    }

    /// Of the sender's queue so much is free again; the receiver has something to see.
    fn free(&mut self, link: usize, writes: usize) {
        let (sender, receiver) = self.ends(link);
        // What was lost with a broken link was given back before.
        self.links[link].in_flight = self.links[link].in_flight.saturating_sub(writes);
        self.nodes[receiver].news = true;
        self.nodes[sender].news |= writes > 0 && std::mem::take(&mut self.links[link].refused);
    }

    fn report(&mut self, from: usize, to: usize) {
        let (index, rank) = (self.link(from, to), self.rank(from));
        if !std::mem::replace(&mut self.links[index].reported, true) {
            let node = &mut self.nodes[to];
            node.events.push_back(Event::Down(rank));
            node.news = true;
        }
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.mapped
    }

    pub(super) fn is_counted(&self) -> bool {
        self.counted
    }

    /// Lets time pass until there is news for `rank` or `until_ns` has come.
    pub(super) fn wait(&mut self, node: usize, until_ns: u64) {
        while !self.nodes[node].news && self.now_ns < until_ns {
            let next_ns = self.due.peek().map_or(until_ns, |Reverse(due)| due.at_ns.min(until_ns));
            self.advance_to(next_ns);
        }
    }

    pub(super) fn forget_news(&mut self, node: usize) {
        self.nodes[node].news = false;
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub(super) fn take_event(&mut self, node: usize) -> Option<Event> {
        let event = self.nodes[node].events.pop_front();
        if let Some(Event::Down(rank)) = event {
            let link = self.link(self.nodes[node].mesh.first + rank.index(), node);
            self.links[link].told = true;
        }
        event
    }
}

fn bytes_of(write: &Write) -> u64 {
    match write {
        Write::Span { len, .. } => *len,
        Write::Word { .. } => 8,
    }
}
