//! What the simulated network holds: members, links, and everything that is due.

mod landing;
mod posting;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::due::{Due, What};
use super::link::{Link, LinkSpec};
use super::random::Random;
use crate::endpoint::Event;
use crate::rank::Rank;
use crate::region::Region;
use crate::write::Place;

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
pub(super) struct Node {
    mesh: Mesh,
    /// Empty before it has opened and after it has gone.
    regions: Vec<Region>,
    opened: bool,
    /// It went without a word, and its links do not tell.
    silent: bool,
    events: VecDeque<Event>,
    pub(super) news: bool,
    pub(super) posts: u64,
    pub(super) posted_bytes: u64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) now_ns: u64,
    /// Things scheduled so far: decides between those due at the same time.
    count: u64,
    pub(super) call_ns_max: u64,
    pub(super) audit: bool,
    /// Memory outlives the endpoint that it was opened with.
    pub(super) mapped: bool,
    /// Writes land in any order and are counted.
    pub(super) counted: bool,
    /// Counted words are applied before their Spans are in.
    pub(super) hasty: bool,
    pub(super) changed: Option<Changed>,
    random: Random,
    pub(super) due: BinaryHeap<Reverse<Due>>,
    pub(super) nodes: Vec<Node>,
    pub(super) links: Vec<Link>,
    /// Sender and receiver of each link.
    ends: Vec<(usize, usize)>,
}

impl State {
    /// Nobody yet.
    pub(super) fn new(seed: u64) -> State {
        State {
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
        }
    }

    /// One more mesh of members, and the number of its first.
    pub(super) fn extend(&mut self, members: usize, link: LinkSpec) -> usize {
        let first = self.nodes.len();
        let mesh = Mesh { first, members, first_link: self.links.len() };
        self.nodes.extend((0..members).map(|_| Node { mesh, ..Node::default() }));
        self.links.extend((0..members * members).map(|_| Link::new(link)));
        self.ends.extend((0..members * members).map(|index| (first + index / members, first + index % members)));
        first
    }

    pub(super) fn link(&self, from: usize, to: usize) -> usize {
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

    /// A member ends, and nobody is told.
    pub(super) fn fall_silent(&mut self, node: usize) {
        self.nodes[node].silent = true;
        self.end(node);
    }

    /// A member ends, and its peers are told.
    pub(super) fn crash(&mut self, node: usize, within_ns: u64) {
        for other in self.peers(node) {
            self.break_link(node, other, within_ns);
            let back = self.link(other, node);
            self.links[back].cut_at_ns = Some(self.now_ns);
        }
        self.end(node);
    }

    fn end(&mut self, node: usize) {
        self.nodes[node].regions = Vec::new();
        self.nodes[node].opened = true;
    }

    pub(super) fn break_link(&mut self, from: usize, to: usize, within_ns: u64) {
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

    pub(super) fn advance_to(&mut self, until_ns: u64) {
        while let Some(Reverse(next)) = self.due.peek()
            && next.at_ns <= until_ns
            && let Some(Reverse(due)) = self.due.pop()
        {
            self.now_ns = self.now_ns.max(due.at_ns);
            self.happen(due.what);
        }
        self.now_ns = self.now_ns.max(until_ns);
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
