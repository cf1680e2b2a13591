//! What the modelled network holds: hosts, links, and everything that is due.

mod ports;
mod posting;
mod threads;
mod turn;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::due::{Due, What};
use super::link::Link;
use super::node::Node;
use super::spec::ModelSpec;
use super::wire::Wire;
use crate::rank::Rank;
use crate::region::Region;
use crate::sim::Random;
use crate::write::Write;

#[derive(Debug)]
pub(super) struct State {
    pub(super) now_ps: u64,
    count: u64,
    pub(super) happened: u64,
    pub(super) due: BinaryHeap<Reverse<Due>>,
    pub(super) members: usize,
    pub(super) nodes: Vec<Node>,
    /// From a to b: at a * members + b.
    links: Vec<Link>,
    wire: Wire,
    byte_ps: f64,
    pub(super) stirred: Vec<Rank>,
    random: Random,
    spec: ModelSpec,
}

impl State {
    /// Members that have not opened yet.
    pub(super) fn new(spec: &ModelSpec, members: usize, seed: u64) -> State {
        State {
            now_ps: 0,
            count: 0,
            happened: 0,
            due: BinaryHeap::new(),
            members,
            nodes: (0..members).map(|_| Node::default()).collect(),
            links: (0..members * members).map(|_| Link::default()).collect(),
            wire: Wire::new(&spec.switch, &spec.nic, members),
            byte_ps: spec.nic.byte_ps(),
            stirred: Vec::new(),
            random: Random::new(seed),
            spec: spec.clone(),
        }
    }

    fn schedule(&mut self, at_ps: u64, what: What) {
        self.count += 1;
        self.due.push(Reverse(Due { at_ps, count: self.count, what }));
    }

    fn ends(&self, link: u32) -> (usize, usize) {
        (link as usize / self.members, link as usize % self.members)
    }

    fn stir(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].news, true) {
            self.stirred.push(Rank::new(node));
        }
    }

    pub(super) fn open(&mut self, node: usize, regions: &[Region]) {
        assert!(self.nodes[node].regions.is_empty(), "a member opened twice");
        self.nodes[node].regions = regions.to_vec();
    }

    /// Whether the kernels have no room for what this member posted.
    pub(super) fn has_backlog(&self, node: usize) -> bool {
        self.nodes[node].touched.iter().any(|&link| self.links[link as usize].untold > 0)
    }

    pub(super) fn happen(&mut self, what: What) {
        match what {
            What::Told { link, bytes } => self.told(link, bytes),
            What::Egress { node } => {
                self.nodes[node as usize].egress_scheduled = false;
                self.egress(node as usize);
            }
            What::Land { link } => self.land(link),
            What::Arrived { link, bytes } => self.arrived(link, bytes),
            What::Room { link: index, bytes } => {
                let (from, _) = self.ends(index);
                let link = &mut self.links[index as usize];
                link.in_kernels -= bytes;
                if link.awaits_room {
                    self.stir(from);
                }
            }
            What::Dealt { link, lane } => self.dealt(link, lane),
            What::Next { node, lane } => self.next_block(node as usize, lane),
            What::Moved { link, writes } => self.moved(link, writes),
        }
    }
}

fn span_len(write: &Write) -> u64 {
    match write {
        Write::Span { len, .. } => *len,
        Write::Word { .. } => 0,
    }
}
