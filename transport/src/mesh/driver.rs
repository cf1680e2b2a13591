//! The thread of a mesh: its listener, its dials and its connections, none of which can make it wait for another.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use crate::address::beside;
use crate::exchange::crowd::{gives_way, source};
use crate::exchange::door::{Door, Knock};
use crate::exchange::link::{CROWDED, Link, LinkError, NO_DESCRIPTOR};
use crate::exchange::stream::Stream;
use crate::exchange::wire::{Wire, after};
use crate::rank::NodeId;

use super::connection::{Connection, Phase};
use super::dial::{self, Dial, Failure};
use super::event::MeshEvent;
use super::message::{HELLO_BYTES_MAX, Header};
use super::options::MeshOptions;
use super::parts::Part;
use super::shared::{Order, Queued, Shared};

/// Connections that came from outside and do not stand, beside one for each peer there may be; beyond that one gives
/// way to a new one.
const STRANGERS_MARGIN: usize = 64;
const ACCEPTS_PER_TURN_MAX: usize = 64;

pub(super) struct Driver {
    door: Door,
    pub(super) address: SocketAddr,
    pub(super) version: u8,
    secret: [u8; 32],
    pub(super) node: NodeId,
    pub(super) options: MeshOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) connections: Vec<Connection>,
    pub(super) dials: Vec<Dial>,
    dials_begun: u64,
    closing: bool,
}

/// Lets the callers know, also if the thread panics.
struct Ending {
    shared: Arc<Shared>,
    reason: String,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.change(|state| state.break_down(&self.reason));
    }
}

impl Driver {
    pub(super) fn new(
        door: Door,
        address: SocketAddr,
        version: u8,
        secret: [u8; 32],
        node: NodeId,
        options: MeshOptions,
        shared: Arc<Shared>,
    ) -> Self {
        let (connections, dials) = (Vec::new(), Vec::new());
        Self { door, address, version, secret, node, options, shared, connections, dials, dials_begun: 0, closing: false }
    }

    pub(super) fn run(mut self) {
        let mut ending = Ending { shared: Arc::clone(&self.shared), reason: "its thread ended".to_owned() };
        while !(self.closing && self.connections.is_empty()) {
            if let Err(error) = self.turn() {
                ending.reason = format!("waiting for sockets failed: {error}");
                break;
            }
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        self.obey();
        self.begin_dials(Instant::now());
        for (index, flags) in self.wait()?.into_iter().enumerate() {
            if !flags.is_empty() {
                self.serve(index);
            }
        }
        self.accept();
        self.expire(Instant::now());
        self.settle_parked();
        self.connections.retain(|connection| !connection.is_gone());
        Ok(())
    }

    /// Does what callers asked for, and sends what they queued.
    fn obey(&mut self) {
        let connections = &mut self.connections;
        let (orders, queues) = self.shared.change(|state| {
            let mut queues: Vec<(usize, Vec<Queued>)> = Vec::new();
            for (index, connection) in connections.iter_mut().enumerate() {
                let Some(node) = connection.up() else {
                    continue;
                };
                let (queue, paused) = state.exchange_with(node);
                connection.paused = paused;
                if !queue.is_empty() {
                    queues.push((index, queue));
                }
            }
            (state.take_orders(), queues)
        });
        for (index, queue) in queues {
            self.connections[index].say_queued(&queue);
        }
        for order in orders {
            match order {
                Order::Connect { address, node } => self.connect(address, node),
                Order::Disconnect { node, queue } => self.disconnect(node, &queue),
                Order::Close => self.close(),
            }
        }
    }

    fn connect(&mut self, address: SocketAddr, node: Option<NodeId>) {
        let is_made = match node {
            Some(node) => self.standing(node).is_some() || self.told(node) || self.dials.iter().any(|dial| dial.node == Some(node)),
            None => self.dials.iter().any(|dial| dial.address == address && dial.node.is_none()),
        };
        if is_made || self.closing {
            return;
        }
        self.dials_begun += 1;
        self.dials.push(Dial::new(self.dials_begun, address, node, self.options.connect_timeout));
        if self.up_count() + self.dials.len() > self.options.peers_max {
            let peers_max = self.options.peers_max;
            self.fail_dial(self.dials_begun, format!("this process has as many connections as its peers_max allows ({peers_max})"));
        }
    }

    fn disconnect(&mut self, node: NodeId, queue: &[Queued]) {
        let farewell = self.options.farewell_timeout;
        for connection in self.connections.iter_mut().filter(|connection| connection.up() == Some(node)) {
            connection.say_queued(queue);
            connection.leave(farewell, false);
        }
        let told: Vec<u64> =
            self.connections.iter().filter(|connection| connection.told() == Some(node)).filter_map(Connection::dial).collect();
        let unwanted = |dial: &Dial| dial.node == Some(node) || told.contains(&dial.id);
        let unwanted: Vec<u64> = self.dials.iter().filter(|dial| unwanted(dial)).map(|dial| dial.id).collect();
        for dial in unwanted {
            self.drop_dial(dial);
        }
    }

    fn close(&mut self) {
        self.closing = true;
        self.dials.clear();
        let farewell = self.options.farewell_timeout;
        for connection in &mut self.connections {
            match connection.phase {
                Phase::Up { .. } => connection.leave(farewell, false),
                Phase::Leaving { stranger: false, .. } => {}
                _ => connection.phase = Phase::Gone,
            }
        }
        self.connections.retain(|connection| !connection.is_gone());
    }

    fn begin_dials(&mut self, now: Instant) {
        for dial in self.dials.iter_mut().filter(|dial| dial.due.is_some_and(|due| due <= now)) {
            dial.due = None;
            let link = Link::initiator(&self.secret, self.version, HELLO_BYTES_MAX);
            let wire = |stream| Wire::new(stream, link, self.options.lost_after).map_err(|error| Failure::Passing(error.to_string()));
            match dial::begin(beside(self.address, dial.address)).and_then(wire) {
                Ok(wire) => {
                    let phase = Phase::Dialling { dial: dial.id, told: None };
                    let mut connection = Connection::new(wire, phase);
                    connection.flush();
                    self.connections.push(connection);
                }
                Err(Failure::Passing(reason)) => dial.retry(reason),
                Err(Failure::Final(reason)) => dial.give_up(reason),
            }
        }
    }

    /// Waits until something is to be done: for each connection, with what its socket is ready.
    fn wait(&self) -> io::Result<Vec<PollFlags>> {
        if self.closing && self.connections.is_empty() {
            return Ok(Vec::new());
        }
        let now = Instant::now();
        let accepting = !self.closing && self.door.is_open(now);
        let mut fds = vec![PollFd::new(&self.shared.alarm, PollFlags::IN)];
        if accepting {
            fds.push(PollFd::new(&self.door, PollFlags::IN));
        }
        let first = fds.len();
        let mut ready = vec![PollFlags::empty(); self.connections.len()];
        let mut polled = Vec::with_capacity(self.connections.len());
        for (index, connection) in self.connections.iter().enumerate() {
            // One that wants nothing is left out: the end of its peer would wake this thread over and over.
            if !connection.interest().is_empty() {
                fds.push(PollFd::new(&connection.wire, connection.interest()));
                polled.push(index);
            }
        }
        let timeout = self.timers().min().map(|at| at.saturating_duration_since(now)).and_then(|left| left.try_into().ok());
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(ready),
            Err(errno) => return Err(errno.into()),
        }
        if !fds[0].revents().is_empty() {
            // It only says that there is something to do.
            let _ = rustix::io::read(&self.shared.alarm, &mut [0; 8]);
        }
        for (&index, fd) in polled.iter().zip(&fds[first..]) {
            ready[index] = fd.revents();
        }
        Ok(ready)
    }

    /// When something is due although no socket is ready.
    fn timers(&self) -> impl Iterator<Item = Instant> + '_ {
        let connections = self.connections.iter().filter_map(Connection::timer);
        connections.chain(self.dials.iter().map(Dial::timer)).chain(self.door.timer())
    }

    fn accept(&mut self) {
        if self.closing || !self.door.is_open(Instant::now()) {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.door.accept() {
                Knock::Came(stream, from) => self.greet(stream, from.ip()),
                Knock::Nobody => return,
                Knock::Short(_) if self.make_way() => {}
                Knock::Short(_) => return self.door.turn_away(&NO_DESCRIPTOR, ACCEPTS_PER_TURN_MAX),
            }
        }
    }

    /// Lets a stranger in, and hears it at once: who has said what only a peer knows is not pushed out by those who
    /// come behind it.
    fn greet(&mut self, stream: Stream, from: Option<IpAddr>) {
        let strangers_max = self.options.peers_max + STRANGERS_MARGIN;
        if self.strangers().count() >= strangers_max && !self.make_way() {
            return;
        }
        let link = Link::responder(&self.secret, self.version, HELLO_BYTES_MAX);
        // A socket that cannot be set up is as good as one that is closed at once.
        if let Ok(wire) = Wire::new(stream, link, self.options.lost_after) {
            let deadline = after(Instant::now(), self.options.handshake_timeout);
            self.connections.push(Connection { from, ..Connection::new(wire, Phase::Greeting { deadline }) });
            self.serve(self.connections.len() - 1);
        }
    }

    /// Those that came from outside and do not stand, in the order they came, by their place among all.
    fn strangers(&self) -> impl Iterator<Item = (usize, &Connection)> {
        self.connections.iter().enumerate().filter(|(_, connection)| connection.is_stranger())
    }

    /// Parts with the stranger that others have the best reason to be heard before; whether there is one.
    fn make_way(&mut self) -> bool {
        let standings = self.strangers().map(|(_, connection)| (connection.from.map(source), connection.standing()));
        let Some(index) = gives_way(standings).and_then(|at| self.strangers().nth(at)).map(|(index, _)| index) else {
            return false;
        };
        self.connections.remove(index).wire.turn_away(&CROWDED);
        true
    }

    /// Reads and writes what one connection is ready for.
    fn serve(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        match connection.phase {
            Phase::Gone => return,
            Phase::Leaving { .. } | Phase::Parked { .. } => return connection.wire.discard(),
            Phase::Up { .. } | Phase::Greeting { .. } | Phase::Dialling { .. } => {}
        }
        let filled = if connection.paused { Ok(()) } else { connection.wire.fill() };
        self.hear(index, filled);
        self.connections[index].flush();
        if self.connections[index].up().is_some() && self.connections[index].wire.ended().is_some() {
            self.hear_rest(index);
        }
    }

    /// Takes the frames that came.
    fn hear(&mut self, index: usize, filled: Result<(), LinkError>) {
        let mut failed = filled.err();
        self.say_hello(index);
        if self.connections[index].up().is_none() {
            failed = failed.or(self.hear_stranger(index));
        }
        if let Some(from) = self.connections[index].up() {
            failed = failed.or(self.hear_peer(index, from));
        }
        if let Some(error) = failed {
            self.fault(index, &error);
        }
    }

    /// Takes the frames of a connection that stands.
    fn hear_peer(&mut self, index: usize, from: NodeId) -> Option<LinkError> {
        let connection = &mut self.connections[index];
        let broke = self.shared.change(|state| {
            loop {
                match connection.wire.link.next() {
                    Ok(Some((Header::Message, payload))) => state.hear_message(from, payload),
                    Ok(Some((Header::Give { meeting, step, what }, bytes))) => state.hear_part(from, Part { meeting, step, what, bytes }),
                    Ok(Some(_)) => {
                        state.fall(from, "it broke the mesh protocol: a second hello".to_owned());
                        return Some(None);
                    }
                    Ok(None) => return None,
                    Err(error) => return Some(Some(error)),
                }
            }
        });
        if let Some(None) = broke {
            connection.phase = Phase::Gone;
        }
        broke.flatten()
    }

    /// The connection is over: takes what came before its end, then says so.
    fn hear_rest(&mut self, index: usize) {
        while let Some(from) = self.connections[index].up() {
            let filled = self.connections[index].wire.fill_rest();
            let ended = matches!(filled, Ok(0));
            let failed = filled.err().or(self.hear_peer(index, from));
            if let Some(error) = failed {
                return self.fault(index, &error);
            }
            if ended {
                let connection = &mut self.connections[index];
                let reason = connection.wire.ended().unwrap_or("connection closed").to_owned();
                connection.phase = Phase::Gone;
                self.shared.change(|state| state.fall(from, reason));
            }
        }
    }

    /// What a connection sent cannot be understood.
    fn fault(&mut self, index: usize, error: &LinkError) {
        let connection = &mut self.connections[index];
        match connection.phase {
            Phase::Dialling { dial, .. } if error.is_passing() => {
                connection.phase = Phase::Gone;
                self.retry_dial(dial, error.to_string());
            }
            Phase::Dialling { dial, .. } => self.fail_dial(dial, dial::misheard(error)),
            Phase::Up { node, .. } => {
                connection.phase = Phase::Gone;
                self.shared.change(|state| state.fall(node, error.to_string()));
            }
            // It may read that its key was refused.
            Phase::Greeting { .. } => connection.leave(self.options.farewell_timeout, true),
            Phase::Parked { .. } | Phase::Leaving { .. } | Phase::Gone => {}
        }
    }

    /// Does what is due at `now`.
    fn expire(&mut self, now: Instant) {
        for index in 0..self.connections.len() {
            self.expire_connection(index, now);
        }
        let over = self.dials.iter().filter_map(|dial| dial.over(now).map(|reason| (dial.id, reason)));
        for (dial, reason) in over.collect::<Vec<_>>() {
            self.fail_dial(dial, reason);
        }
    }

    fn expire_connection(&mut self, index: usize, now: Instant) {
        let connection = &mut self.connections[index];
        let ended = connection.wire.ended().map(str::to_owned);
        let late = connection.deadline().is_some_and(|deadline| now >= deadline);
        match connection.phase {
            Phase::Greeting { .. } | Phase::Parked { .. } if late || ended.is_some() => connection.phase = Phase::Gone,
            Phase::Dialling { dial, .. } => {
                if let Some(reason) = ended {
                    connection.phase = Phase::Gone;
                    self.retry_dial(dial, reason);
                }
            }
            Phase::Up { .. } if ended.is_some() => self.hear_rest(index),
            Phase::Leaving { .. } => {
                connection.wire.say_all();
                if late || connection.wire.ended().is_some() {
                    connection.phase = Phase::Gone;
                }
            }
            _ => {}
        }
    }

    /// The dial led to nothing.
    pub(super) fn fail_dial(&mut self, dial: u64, reason: String) {
        if let Some(dial) = self.drop_dial(dial) {
            let event = MeshEvent::Unreachable { address: dial.address, node: dial.node, reason };
            self.shared.change(|state| state.notice(event));
        }
    }

    pub(super) fn retry_dial(&mut self, dial: u64, reason: String) {
        if let Some(dial) = self.dials.iter_mut().find(|known| known.id == dial) {
            dial.retry(reason);
        }
    }

    /// Ends a dial and its attempt, if one is under way, without a word to anybody.
    pub(super) fn drop_dial(&mut self, dial: u64) -> Option<Dial> {
        for connection in self.connections.iter_mut().filter(|connection| connection.dial() == Some(dial)) {
            connection.phase = Phase::Gone;
        }
        let index = self.dials.iter().position(|known| known.id == dial)?;
        Some(self.dials.remove(index))
    }

    /// Since when the connection with the node stands.
    pub(super) fn standing(&self, node: NodeId) -> Option<Instant> {
        self.connections.iter().find_map(|connection| match connection.phase {
            Phase::Up { node: up, since, .. } if up == node => Some(since),
            _ => None,
        })
    }

    /// Whether a dial of this side has said its hello to the node and waits for the answer.
    pub(super) fn told(&self, node: NodeId) -> bool {
        self.connections.iter().any(|connection| connection.told() == Some(node))
    }

    pub(super) fn up_count(&self) -> usize {
        self.connections.iter().filter(|connection| connection.up().is_some()).count()
    }
}
