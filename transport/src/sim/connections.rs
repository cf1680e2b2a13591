//! Simulated control connections: what happens to them, in the time of a simulated network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::network::SimNetwork;
use super::random::Random;
use crate::mesh::{MeshEvent, MeshSendError};
use crate::rank::NodeId;

/// What a waiting message counts beside its bytes, as in a real mesh.
const MESSAGE_COST_BYTES: usize = 64;
/// The longest message.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// How control connections behave, all alike.
#[derive(Clone, Copy, Debug)]
pub struct NetSpec {
    /// From one end to the other.
    pub latency_ns: u64,
    /// Up to so much more, each time.
    pub jitter_ns: u64,
    /// How fast bytes come through.
    pub bytes_per_s: u64,
    /// Bytes that may wait for one peer to take them.
    pub unsent_bytes_max: usize,
    /// How long a dial tries.
    pub connect_timeout_ns: u64,
}

/// A handle of all processes' connections and of the time that they live in.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    state: Arc<Mutex<Connections>>,
    clock: SimNetwork,
}

impl Shared {
    pub(super) fn new(seed: u64, spec: NetSpec, clock: &SimNetwork) -> Shared {
        let state = Connections { random: Random::new(seed), spec, ends: Vec::new(), wires: BTreeMap::new(), count: 0, refused: 0 };
        Shared { state: Arc::new(Mutex::new(state)), clock: clock.clone() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, Connections> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }
}

#[derive(Debug)]
pub(super) struct Connections {
    random: Random,
    pub(super) spec: NetSpec,
    pub(super) ends: Vec<End>,
    /// By sender and receiver.
    wires: BTreeMap<(usize, usize), Wire>,
    count: u64,
    /// Messages that were refused because too much waited.
    refused: u64,
}

/// One direction.
#[derive(Debug, Default)]
struct Wire {
    /// The last that was put on it has left by then, and has come by then.
    free_at_ns: u64,
    last_at_ns: u64,
    held_until_ns: u64,
    /// Bytes of messages that the receiver has yet to take.
    untaken_bytes: usize,
}

/// One process.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: NodeId,
    address: SocketAddr,
    alive: bool,
    stopped_until_ns: u64,
    /// What is on its way here, by when it comes.
    coming: BTreeMap<(u64, u64), (usize, Arrival)>,
    events: VecDeque<(usize, MeshEvent)>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) meetings: BTreeMap<[u8; 32], BTreeSet<NodeId>>,
    /// Meetings that are over here.
    over: BTreeSet<[u8; 32]>,
    pub(super) parts: Vec<(NodeId, Part)>,
}

/// The other end of a connection that stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    end: usize,
    connection: u64,
    pub(super) address: SocketAddr,
}

/// A part of a gather.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) meeting: [u8; 32],
    pub(super) step: u32,
    pub(super) what: String,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
enum Arrival {
    Up { node: NodeId, peer: Peer },
    Unreachable { address: SocketAddr, node: Option<NodeId>, reason: String },
    Down { node: NodeId, connection: u64, reason: &'static str },
    Message { from: NodeId, connection: u64, bytes: Vec<u8> },
    Part { from: NodeId, connection: u64, part: Part },
}

impl End {
    fn new(node: NodeId, address: SocketAddr) -> End {
        End {
            node,
            address,
            alive: true,
            stopped_until_ns: 0,
            coming: BTreeMap::new(),
            events: VecDeque::new(),
            peers: BTreeMap::new(),
            meetings: BTreeMap::new(),
            over: BTreeSet::new(),
            parts: Vec::new(),
        }
    }

    fn stands(&self, node: NodeId, connection: u64) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.connection == connection)
    }

    /// Takes in what has come by `now_ns`.
    pub(super) fn settle(&mut self, now_ns: u64) {
        while let Some(entry) = self.coming.first_entry()
            && entry.key().0 <= now_ns
        {
            let (by, arrival) = entry.remove();
            self.arrive(by, arrival);
        }
    }

    fn arrive(&mut self, by: usize, arrival: Arrival) {
        match arrival {
            Arrival::Up { node, peer } => {
                self.peers.insert(node, peer);
                self.events.push_back((by, MeshEvent::Up { node, address: peer.address }));
            }
            Arrival::Unreachable { address, node, reason } => {
                self.events.push_back((by, MeshEvent::Unreachable { address, node, reason }));
            }
            Arrival::Down { node, connection, reason } if self.stands(node, connection) => {
                self.lose(node);
                self.events.push_back((by, MeshEvent::Down { node, reason: reason.to_owned() }));
            }
            Arrival::Message { from, connection, bytes } if self.stands(from, connection) => {
                self.events.push_back((by, MeshEvent::Message { from, bytes }));
            }
            Arrival::Part { from, connection, part } if self.stands(from, connection) && !self.over.contains(&part.meeting) => {
                self.parts.push((from, part));
            }
            Arrival::Down { .. } | Arrival::Message { .. } | Arrival::Part { .. } => {}
        }
    }

    fn lose(&mut self, node: NodeId) {
        self.peers.remove(&node);
        for lost in self.meetings.values_mut() {
            lost.insert(node);
        }
    }

    pub(super) fn end_meeting(&mut self, meeting: [u8; 32]) {
        self.meetings.remove(&meeting);
        self.parts.retain(|(_, part)| part.meeting != meeting);
        self.over.insert(meeting);
    }
}

impl Connections {
    /// A process begins to listen: its number and its address.
    pub(super) fn open(&mut self, node: NodeId) -> (usize, SocketAddr) {
        let number = self.ends.len();
        let address = SocketAddr::from((Ipv4Addr::new(10, 0, (number >> 8) as u8, number as u8), 7000));
        self.ends.push(End::new(node, address));
        (number, address)
    }

    /// The process neither answers dials nor takes anything until then.
    pub(super) fn stop(&mut self, number: usize, until_ns: u64) {
        self.ends[number].stopped_until_ns = until_ns;
    }

    /// The connection between two processes breaks, and both are told: what would come after that is lost. Whether
    /// there was one.
    pub(super) fn cut(&mut self, one: NodeId, other: NodeId, now_ns: u64) -> bool {
        let mut stood = false;
        for (one, other) in [(one, other), (other, one)] {
            if let Some((from, peer)) = self.connection(one, other) {
                let last_ns = self.wire(peer.end, from).last_at_ns.max(now_ns + self.spec.latency_ns);
                let at_ns = now_ns + self.random.below(last_ns - now_ns + 1);
                self.tell(from, Arrival::Down { node: other, connection: peer.connection, reason: "cut" }, at_ns);
                stood = true;
            }
        }
        stood
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// What the one says to the other comes only after that time.
    pub(super) fn hold(&mut self, from: NodeId, to: NodeId, until_ns: u64) {
        let numbers = |node| (0..self.ends.len()).filter(|&number| self.ends[number].node == node).collect::<Vec<_>>();
        let (froms, tos) = (numbers(from), numbers(to));
        for (from, to) in froms.iter().flat_map(|&from| tos.iter().map(move |&to| (from, to))) {
            self.wire(from, to).held_until_ns = until_ns;
        }
    }

    fn wire(&mut self, from: usize, to: usize) -> &mut Wire {
        self.wires.entry((from, to)).or_default()
    }

    fn connection(&self, one: NodeId, other: NodeId) -> Option<(usize, Peer)> {
        let mut ends = self.ends.iter().enumerate().filter(|(_, end)| end.alive && end.node == one);
        ends.find_map(|(number, end)| Some((number, *end.peers.get(&other)?)))
    }

    /// Puts something on its way, behind what is on that way already.
    fn post(&mut self, from: usize, to: usize, arrival: Arrival, bytes: usize, now_ns: u64) {
        let (spec, jitter_ns) = (self.spec, self.random.below(self.spec.jitter_ns + 1));
        let takes_ns = (bytes as u64).saturating_mul(1_000_000_000) / spec.bytes_per_s.max(1);
        self.count += 1;
        let count = self.count;
        let wire = self.wire(from, to);
        wire.free_at_ns = wire.free_at_ns.max(now_ns) + takes_ns;
        let at_ns = (wire.free_at_ns + spec.latency_ns + jitter_ns)
            .max(wire.last_at_ns + 1)
            .max(wire.held_until_ns.saturating_add(spec.latency_ns));
        wire.last_at_ns = at_ns;
        self.ends[to].coming.insert((at_ns, count), (from, arrival));
    }

    /// Tells a process something that nobody else says.
    fn tell(&mut self, number: usize, arrival: Arrival, at_ns: u64) {
        self.count += 1;
        self.ends[number].coming.insert((at_ns, self.count), (number, arrival));
    }

    pub(super) fn connect(&mut self, from: usize, address: SocketAddr, node: Option<NodeId>, now_ns: u64) {
        self.ends[from].settle(now_ns);
        if node.is_some_and(|node| self.ends[from].peers.contains_key(&node)) {
            return;
        }
        let (mine, over_ns) = (self.ends[from].node, now_ns + self.spec.connect_timeout_ns);
        let fail = |state: &mut Connections, reason: &str, at_ns| {
            state.tell(from, Arrival::Unreachable { address, node, reason: reason.to_owned() }, at_ns);
        };
        let Some(to) = (0..self.ends.len()).rfind(|&number| self.ends[number].address == address && self.ends[number].alive) else {
            return fail(self, "nothing listens there", over_ns);
        };
        let there = self.ends[to].node;
        if there == mine {
            return fail(self, "a process of this very node id listens there", now_ns + self.spec.latency_ns);
        }
        if node.is_some_and(|node| node != there) {
            return fail(self, "another node listens there", now_ns + self.spec.latency_ns);
        }
        if let Some(peer) = self.ends[from].peers.get(&there).copied() {
            return self.tell(from, Arrival::Up { node: there, peer }, now_ns);
        }
        let held_ns = self.wire(from, to).held_until_ns.max(self.wire(to, from).held_until_ns);
        let at_ns = now_ns.max(held_ns).max(self.ends[to].stopped_until_ns);
        self.ends[to].settle(now_ns);
        let meanwhile = self.ends[to].coming.values().any(|(by, arrival)| *by == from && matches!(arrival, Arrival::Up { .. }));
        if meanwhile {
            return;
        }
        if at_ns > over_ns || self.ends[to].peers.contains_key(&mine) {
            return fail(self, "nothing answered", over_ns);
        }
        self.count += 1;
        let connection = self.count;
        // What an earlier connection lost waits for nobody.
        (self.wire(from, to).untaken_bytes, self.wire(to, from).untaken_bytes) = (0, 0);
        let (here, there_address) = (self.ends[from].address, self.ends[to].address);
        self.post(from, to, Arrival::Up { node: mine, peer: Peer { end: from, connection, address: here } }, 0, at_ns);
        self.post(to, from, Arrival::Up { node: there, peer: Peer { end: to, connection, address: there_address } }, 0, at_ns);
    }

    pub(super) fn disconnect(&mut self, from: usize, node: NodeId, now_ns: u64) {
        self.ends[from].settle(now_ns);
        let Some(peer) = self.ends[from].peers.get(&node).copied() else { return };
        self.ends[from].lose(node);
        let mine = self.ends[from].node;
        self.post(from, peer.end, Arrival::Down { node: mine, connection: peer.connection, reason: "closed" }, 0, now_ns);
    }

    pub(super) fn send(&mut self, from: usize, to: NodeId, bytes: &[u8], now_ns: u64) -> Result<(), MeshSendError> {
        self.ends[from].settle(now_ns);
        let peer = *self.ends[from].peers.get(&to).ok_or(MeshSendError::NotConnected { node: to })?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MeshSendError::TooLarge { bytes: bytes.len(), bytes_max: MESSAGE_BYTES_MAX });
        }
        let (cost, bytes_max) = (bytes.len() + MESSAGE_COST_BYTES, self.spec.unsent_bytes_max);
        let waiting_bytes = self.wire(from, peer.end).untaken_bytes;
        if waiting_bytes + cost > bytes_max {
            self.refused += 1;
            return Err(MeshSendError::Full { node: to, waiting_bytes, bytes_max });
        }
        self.wire(from, peer.end).untaken_bytes += cost;
        let mine = self.ends[from].node;
        let arrival = Arrival::Message { from: mine, connection: peer.connection, bytes: bytes.to_vec() };
        self.post(from, peer.end, arrival, cost, now_ns);
        Ok(())
    }

    /// Gives a part of a gather, if the connection stands.
    pub(super) fn give(&mut self, from: usize, to: NodeId, part: &Part, now_ns: u64) -> bool {
        let Some(peer) = self.ends[from].peers.get(&to).copied() else { return false };
        let mine = self.ends[from].node;
        let arrival = Arrival::Part { from: mine, connection: peer.connection, part: part.clone() };
        self.post(from, peer.end, arrival, part.bytes.len() + MESSAGE_COST_BYTES, now_ns);
        true
    }

    pub(super) fn next(&mut self, number: usize, now_ns: u64) -> Option<MeshEvent> {
        self.ends[number].settle(now_ns);
        let (by, event) = self.ends[number].events.pop_front()?;
        if let MeshEvent::Message { bytes, .. } = &event {
            let wire = self.wire(by, number);
            wire.untaken_bytes = wire.untaken_bytes.saturating_sub(bytes.len() + MESSAGE_COST_BYTES);
        }
        Some(event)
    }

    /// When the process has something to look at; in the past if it has already.
    pub(super) fn next_ns(&self, number: usize) -> Option<u64> {
        let end = &self.ends[number];
        if !end.events.is_empty() {
            return Some(0);
        }
        end.coming.first_key_value().map(|((at_ns, _), _)| *at_ns).filter(|&at_ns| at_ns < SimNetwork::FOREVER_NS)
    }

    pub(super) fn end(&mut self, number: usize, told: bool, now_ns: u64) {
        if !std::mem::replace(&mut self.ends[number].alive, false) {
            return;
        }
        let (node, peers) = (self.ends[number].node, std::mem::take(&mut self.ends[number].peers));
        self.ends[number].coming.clear();
        for peer in peers.values() {
            let last_ns = self.wire(number, peer.end).last_at_ns.max(now_ns);
            let lost_from_ns = now_ns + self.random.below(last_ns - now_ns + 1);
            self.ends[peer.end].coming.retain(|(at_ns, _), (by, _)| *by != number || *at_ns <= lost_from_ns);
            if told {
                self.post(number, peer.end, Arrival::Down { node, connection: peer.connection, reason: "it ended" }, 0, now_ns);
            }
        }
    }
}
