//! What the callers of a mesh and its thread both touch, under one lock.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};

use crate::atomic::{AtomicBool, Ordering};
use crate::endpoint::Waker;
use crate::exchange::frame::HEADER_BYTES_MAX;
use crate::rank::NodeId;

use super::error::MeshSendError;
use super::event::MeshEvent;
use super::message::{Header, Hello};
use super::options::{MESSAGE_COST_BYTES, MeshOptions};
use super::parts::{Part, Parts};

pub(super) struct Shared {
    state: Mutex<State>,
    /// An event was put.
    arrived: Condvar,
    /// Something changed that a gather may wait for.
    moved: Condvar,
    /// Whether events wait; read without the lock.
    ready: AtomicBool,
    /// Ends the thread's wait.
    pub(super) alarm: OwnedFd,
}

pub(super) struct State {
    events: VecDeque<MeshEvent>,
    /// Events that are not messages.
    notices: usize,
    /// What waits to be taken, by who sent it; it outlives the connection.
    unread: BTreeMap<NodeId, usize>,
    /// The connections that stand.
    pub(super) peers: BTreeMap<NodeId, Peer>,
    orders: Vec<Order>,
    pub(super) parts: Parts,
    waker: Option<Waker>,
    /// Why the thread ended, if it was not asked to.
    pub(super) broken: Option<String>,
    options: MeshOptions,
    alarmed: bool,
    /// Something that a sleeper may wait for has happened since the last sleep.
    stirred: bool,
    changed: Changed,
}

/// Whom a change concerns, once the lock is free.
#[derive(Default)]
struct Changed {
    event: bool,
    gather: bool,
    order: bool,
}

/// What callers ask of the thread.
pub(super) enum Order {
    Connect { address: SocketAddr, node: Option<NodeId> },
    Disconnect { node: NodeId, queue: Vec<Queued> },
    Close,
}

/// A frame to be sealed and sent.
pub(super) struct Queued {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
}

/// The callers' side of a connection that stands.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    payload_bytes_max: usize,
    queue: Vec<Queued>,
    queued_bytes: usize,
    /// Sealed but not yet taken by the socket; the thread writes it.
    unsent_bytes: Arc<AtomicUsize>,
    paused: bool,
}

/// What became of a part.
pub(super) enum Given {
    Queued,
    NotConnected,
    /// The peer has not read for long.
    Full,
    TooLarge {
        bytes_max: usize,
    },
}

impl Shared {
    pub(super) fn new(options: &MeshOptions) -> rustix::io::Result<Self> {
        let state = State {
            events: VecDeque::new(),
            notices: 0,
            unread: BTreeMap::new(),
            peers: BTreeMap::new(),
            orders: Vec::new(),
            parts: Parts::new(2 * options.unread_bytes_max),
            waker: None,
            broken: None,
            options: options.clone(),
            alarmed: false,
            stirred: false,
            changed: Changed::default(),
        };
        Ok(Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            moved: Condvar::new(),
            ready: AtomicBool::new(false),
            alarm: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Does `change` and tells whom it concerns.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        self.release(state);
        result
    }

    /// Events wait in the order they happened. Without one, this is one load.
    pub(super) fn next(&self) -> Option<MeshEvent> {
        // Pairs with the store in `release`, so that an event put before it is seen here soon; the lock orders the
        // rest.
        if !self.ready.load(Ordering::Acquire) {
            return None;
        }
        self.change(State::take)
    }

    pub(super) fn wait(&self, deadline: Instant) -> Option<MeshEvent> {
        let mut state = self.lock();
        loop {
            if let Some(event) = state.take() {
                self.release(state);
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until an event waits, a gather may have come further, or somebody calls; takes nothing.
    pub(super) fn sleep(&self, deadline: Instant) {
        let mut state = self.lock();
        while state.events.is_empty() && !state.stirred {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.stirred = false;
    }

    /// Ends a sleep.
    pub(super) fn stir(&self) {
        self.lock().stirred = true;
        self.arrived.notify_all();
    }

    /// Looks with `done` at each change that may concern a gather, until it is done (or fails), or the deadline
    /// (`None`).
    pub(super) fn wait_moved<T>(&self, deadline: Instant, mut done: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            let result = done(&mut state);
            let left = deadline.saturating_duration_since(Instant::now());
            if result.is_some() || left.is_zero() {
                self.release(state);
                return result;
            }
            if state.changed.order {
                self.release(state);
                state = self.lock();
                continue;
            }
            state = self.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, mut state: MutexGuard<'_, State>) {
        let changed = std::mem::take(&mut state.changed);
        state.stirred |= changed.gather;
        let waker = if changed.event { state.waker.clone() } else { None };
        let alarm = changed.order && !std::mem::replace(&mut state.alarmed, true);
        // Pairs with the load in `next`.
        self.ready.store(!state.events.is_empty(), Ordering::Release);
        drop(state);
        if changed.event || changed.gather {
            self.arrived.notify_all();
        }
        if changed.gather {
            self.moved.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        if alarm {
            // A full counter wakes as well.
            let _ = rustix::io::write(&self.alarm, &1u64.to_ne_bytes());
        }
    }
}

/// The callers' side.
impl State {
    fn take(&mut self) -> Option<MeshEvent> {
        let event = self.events.pop_front()?;
        let MeshEvent::Message { from, bytes } = &event else {
            self.notices -= 1;
            return Some(event);
        };
        let unread = self.unread.get_mut(from).expect("every message that waits is counted");
        *unread -= bytes.len() + MESSAGE_COST_BYTES;
        let unread = *unread;
        if unread == 0 {
            self.unread.remove(from);
        }
        if unread <= self.options.unread_bytes_max && self.peers.get(from).is_some_and(|peer| peer.paused) {
            self.changed.order = true;
        }
        Some(event)
    }

    pub(super) fn set_waker(&mut self, waker: Option<Waker>) {
        self.waker = waker;
        self.changed.event = !self.events.is_empty();
    }

    pub(super) fn order(&mut self, order: Order) {
        self.orders.push(order);
        self.changed.order = true;
    }

    pub(super) fn connect(&mut self, address: SocketAddr, node: Option<NodeId>) {
        if node.is_some_and(|node| self.peers.contains_key(&node)) {
            return;
        }
        match &self.broken {
            Some(reason) => {
                let reason = format!("the mesh of this process is broken ({reason})");
                self.notice(MeshEvent::Unreachable { address, node, reason });
            }
            None => self.order(Order::Connect { address, node }),
        }
    }

    pub(super) fn disconnect(&mut self, node: NodeId) {
        let queue = self.peers.remove(&node).map(|peer| peer.queue).unwrap_or_default();
        self.lose(node);
        self.order(Order::Disconnect { node, queue });
    }

    pub(super) fn send(&mut self, to: NodeId, bytes: &[u8]) -> Result<(), MeshSendError> {
        let peer = self.peers.get_mut(&to).ok_or(MeshSendError::NotConnected { node: to })?;
        if bytes.len() > peer.payload_bytes_max {
            return Err(MeshSendError::TooLarge { bytes: bytes.len(), bytes_max: peer.payload_bytes_max });
        }
        let (waiting_bytes, bytes_max) = (peer.waiting_bytes(), self.options.unsent_bytes_max);
        if waiting_bytes + bytes.len() + MESSAGE_COST_BYTES > bytes_max {
            return Err(MeshSendError::Full { node: to, waiting_bytes, bytes_max });
        }
        peer.push(Header::Message, bytes.to_vec());
        self.changed.order = true;
        Ok(())
    }

    /// Queues a part of a gather. Messages that wait leave it room of its own.
    pub(super) fn give(&mut self, to: NodeId, header: Header, bytes: &[u8]) -> Given {
        let Some(peer) = self.peers.get_mut(&to) else {
            return Given::NotConnected;
        };
        if bytes.len() > peer.payload_bytes_max {
            return Given::TooLarge { bytes_max: peer.payload_bytes_max };
        }
        if peer.waiting_bytes() + bytes.len() + MESSAGE_COST_BYTES > 2 * self.options.unsent_bytes_max {
            return Given::Full;
        }
        peer.push(header, bytes.to_vec());
        self.changed.order = true;
        Given::Queued
    }
}

/// The thread's side.
impl State {
    /// What callers asked for since the last time.
    pub(super) fn take_orders(&mut self) -> Vec<Order> {
        self.alarmed = false;
        std::mem::take(&mut self.orders)
    }

    /// What waits to be sent to a node, and whether it is to be read no more for now.
    pub(super) fn exchange_with(&mut self, node: NodeId) -> (Vec<Queued>, bool) {
        let unread_bytes_max = self.options.unread_bytes_max * if self.parts.any_running() { 2 } else { 1 };
        let Some(peer) = self.peers.get_mut(&node) else {
            return (Vec::new(), false);
        };
        peer.paused = self.unread.get(&node).is_some_and(|&unread| unread > unread_bytes_max);
        peer.unsent_bytes.fetch_add(std::mem::take(&mut peer.queued_bytes), Ordering::Relaxed);
        (std::mem::take(&mut peer.queue), peer.paused)
    }

    /// The connection with the node that said `hello` stands. Nobody is told if the caller has parted with that node
    /// and the thread has yet to obey: it ends with that order.
    pub(super) fn raise(&mut self, hello: &Hello, unsent_bytes: Arc<AtomicUsize>) {
        let parted = |order: &Order| matches!(order, Order::Disconnect { node, .. } if *node == hello.node);
        if self.orders.iter().any(parted) {
            return;
        }
        let frame_bytes_max = self.options.frame_bytes_max.min(hello.frame_bytes_max as usize);
        let peer = Peer {
            address: hello.address,
            payload_bytes_max: frame_bytes_max - HEADER_BYTES_MAX,
            queue: Vec::new(),
            queued_bytes: 0,
            unsent_bytes,
            paused: false,
        };
        self.peers.insert(hello.node, peer);
        self.notice(MeshEvent::Up { node: hello.node, address: hello.address });
        self.changed.gather |= self.parts.any_running();
    }

    /// A dial found a connection that stands, unless the caller has just parted with that node.
    pub(super) fn confirm(&mut self, node: NodeId) {
        if let Some(address) = self.peers.get(&node).map(|peer| peer.address) {
            self.notice(MeshEvent::Up { node, address });
        }
    }

    /// The connection with the node ended; nobody is told of one that this side disconnected.
    pub(super) fn fall(&mut self, node: NodeId, reason: String) {
        if self.peers.remove(&node).is_some() {
            self.lose(node);
            self.notice(MeshEvent::Down { node, reason });
        }
    }

    pub(super) fn hear_message(&mut self, from: NodeId, bytes: Vec<u8>) {
        if self.peers.contains_key(&from) {
            *self.unread.entry(from).or_default() += bytes.len() + MESSAGE_COST_BYTES;
            self.events.push_back(MeshEvent::Message { from, bytes });
            self.changed.event = true;
        }
    }

    pub(super) fn hear_part(&mut self, from: NodeId, part: Part) {
        if self.peers.contains_key(&from) {
            self.changed.gather |= self.parts.put(from, part);
        }
    }

    pub(super) fn notice(&mut self, event: MeshEvent) {
        self.notices += 1;
        self.events.push_back(event);
        self.changed.event = true;
    }

    /// How many events other than messages wait.
    pub(super) fn notice_count(&self) -> usize {
        self.notices
    }

    /// The thread is no more.
    pub(super) fn break_down(&mut self, reason: &str) {
        self.broken = Some(reason.to_owned());
        self.changed.gather = true;
        let nodes: Vec<NodeId> = self.peers.keys().copied().collect();
        for node in nodes {
            self.fall(node, format!("the mesh of this process is broken ({reason})"));
        }
    }

    fn lose(&mut self, node: NodeId) {
        self.parts.lose(node);
        self.changed.gather = true;
    }
}

impl Peer {
    fn push(&mut self, header: Header, payload: Vec<u8>) {
        self.queued_bytes += payload.len() + MESSAGE_COST_BYTES;
        self.queue.push(Queued { header, payload });
    }

    fn waiting_bytes(&self) -> usize {
        self.queued_bytes + self.unsent_bytes.load(Ordering::Relaxed)
    }
}
