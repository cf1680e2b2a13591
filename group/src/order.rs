//! The orderer a group was configured with: chosen once, called without indirection.

use squall_orderer::{Chain, Columns, Lamport, Mutation, Orderer, Paxos, RoundRobin, Run, Unordered};
use squall_sst::{Column, Malformed, Table};
use squall_transport::{Outbox, Rank};

/// The orderer of a group.
#[derive(Debug)]
pub(crate) enum Order {
    RoundRobin(RoundRobin),
    Unordered(Unordered),
    Lamport(Box<Lamport>),
    Paxos(Box<Paxos>),
    Chain(Box<Chain>),
}

impl Order {
    #[inline]
    pub(crate) fn received(&mut self, sender: usize, frontier: u64, data_until: u64) {
        match self {
            Order::RoundRobin(order) => order.received(sender, frontier, data_until),
            Order::Unordered(order) => order.received(sender, frontier, data_until),
            Order::Lamport(order) => order.received(sender, frontier, data_until),
            Order::Paxos(order) => order.received(sender, frontier, data_until),
            Order::Chain(order) => order.received(sender, frontier, data_until),
        }
    }

    pub(crate) fn decided(&mut self, sender: usize, index: u64, decision: &[u8]) -> bool {
        match self {
            Order::RoundRobin(order) => order.decided(sender, index, decision),
            Order::Unordered(order) => order.decided(sender, index, decision),
            Order::Lamport(order) => order.decided(sender, index, decision),
            Order::Paxos(order) => order.decided(sender, index, decision),
            Order::Chain(order) => order.decided(sender, index, decision),
        }
    }

    #[inline]
    pub(crate) fn decide(&mut self, table: &Table, room: u64, next_index: u64, decision: &mut Vec<u8>) -> Result<bool, Malformed> {
        match self {
            Order::RoundRobin(order) => order.decide(table, room, next_index, decision),
            Order::Unordered(order) => order.decide(table, room, next_index, decision),
            Order::Lamport(order) => order.decide(table, room, next_index, decision),
            Order::Paxos(order) => order.decide(table, room, next_index, decision),
            Order::Chain(order) => order.decide(table, room, next_index, decision),
        }
    }

    /// A large message was announced.
    pub(crate) fn large(&mut self, sender: usize, index: u64) {
        if let Order::Paxos(order) = self {
            order.large(sender, index);
        }
    }

    /// The first large message of `sender` at `index` or behind it, where the order makes a difference between large
    /// and small ones.
    pub(crate) fn next_large(&self, sender: usize, index: u64) -> Option<u64> {
        match self {
            Order::Paxos(order) => order.next_large(sender, index),
            Order::RoundRobin(_) | Order::Unordered(_) | Order::Lamport(_) | Order::Chain(_) => None,
        }
    }

    /// How many large messages of `sender`, its first ones, nobody has to be given any more, where members give each
    /// other some.
    #[inline]
    pub(crate) fn large_spread(&self, sender: usize) -> u64 {
        match self {
            Order::Paxos(order) => order.large_spread(sender),
            Order::RoundRobin(_) | Order::Unordered(_) | Order::Lamport(_) | Order::Chain(_) => u64::MAX,
        }
    }

    /// Whether all deliver in one order, so that what the end of a view cuts off is delivered nowhere.
    pub(crate) fn is_total(&self) -> bool {
        !matches!(self, Order::Unordered(_))
    }

    /// Whether members put decisions into their streams.
    #[inline]
    pub(crate) fn has_decisions(&self) -> bool {
        matches!(self, Order::Lamport(_) | Order::Paxos(_) | Order::Chain(_))
    }

    /// Where members say what they have, in positions of the order: nothing that they have not said so is delivered
    /// anywhere, or more than half of them have.
    pub(crate) fn said(&self, columns: &Columns) -> Column {
        match self {
            Order::RoundRobin(_) | Order::Unordered(_) | Order::Lamport(_) | Order::Paxos(_) => columns.received_seq,
            // What the tail has is what all before it have.
            Order::Chain(_) => columns.whole,
        }
    }

    /// First position in the order that is not delivered here; without an order, how much is.
    pub(crate) fn delivered_seq(&self) -> u64 {
        match self {
            Order::RoundRobin(order) => order.delivered_seq(),
            Order::Unordered(order) => order.deliveries(),
            Order::Lamport(order) => order.delivered_seq(),
            Order::Paxos(order) => order.delivered_seq(),
            Order::Chain(order) => order.delivered_seq(),
        }
    }

    /// Breaks a rule on purpose, for tests of the checker.
    pub(crate) fn set_mutation(&mut self, mutation: Mutation) {
        match self {
            Order::Lamport(order) => order.set_mutation(mutation),
            Order::Paxos(order) => order.set_mutation(mutation),
            Order::Chain(order) => order.set_mutation(mutation),
            Order::RoundRobin(_) | Order::Unordered(_) => {}
        }
    }

    #[inline]
    pub(crate) fn owed(&self) -> u64 {
        match self {
            Order::RoundRobin(order) => order.owed(),
            Order::Unordered(order) => order.owed(),
            Order::Lamport(order) => order.owed(),
            Order::Paxos(order) => order.owed(),
            Order::Chain(order) => order.owed(),
        }
    }

    #[inline]
    pub(crate) fn acknowledge(&mut self, table: &Table, outbox: &mut Outbox, due: bool) {
        match self {
            Order::RoundRobin(order) => order.acknowledge(table, outbox, due),
            Order::Unordered(order) => order.acknowledge(table, outbox, due),
            Order::Lamport(order) => order.acknowledge(table, outbox, due),
            Order::Paxos(order) => order.acknowledge(table, outbox, due),
            Order::Chain(order) => order.acknowledge(table, outbox, due),
        }
    }

    pub(crate) fn tell(&mut self, table: &Table, outbox: &mut Outbox) {
        match self {
            Order::RoundRobin(order) => order.tell(table, outbox),
            Order::Unordered(order) => order.tell(table, outbox),
            Order::Lamport(order) => order.tell(table, outbox),
            Order::Paxos(order) => order.tell(table, outbox),
            Order::Chain(order) => order.tell(table, outbox),
        }
    }

    #[inline]
    pub(crate) fn refresh(&mut self, table: &Table) -> Result<(), Malformed> {
        match self {
            Order::RoundRobin(order) => order.refresh(table),
            Order::Unordered(order) => order.refresh(table),
            Order::Lamport(order) => order.refresh(table),
            Order::Paxos(order) => order.refresh(table),
            Order::Chain(order) => order.refresh(table),
        }
    }

    // In the loop over deliveries, which for turns are runs of one: a call, or a jump through a table, would cost as
    // much as the run.
    #[inline(always)]
    pub(crate) fn next(&mut self, max: u64) -> Option<Run> {
        if let Order::RoundRobin(order) = self { order.next(max) } else { self.next_of_other(max) }
    }

    fn next_of_other(&mut self, max: u64) -> Option<Run> {
        match self {
            Order::RoundRobin(order) => order.next(max),
            Order::Unordered(order) => order.next(max),
            Order::Lamport(order) => order.next(max),
            Order::Paxos(order) => order.next(max),
            Order::Chain(order) => order.next(max),
        }
    }

    pub(crate) fn next_to(&mut self, trim: &[u64]) -> Option<Run> {
        match self {
            Order::RoundRobin(order) => order.next_to(trim),
            Order::Unordered(order) => order.next_to(trim),
            Order::Lamport(order) => order.next_to(trim),
            Order::Paxos(order) => order.next_to(trim),
            Order::Chain(order) => order.next_to(trim),
        }
    }

    #[inline]
    pub(crate) fn delivered(&mut self, table: &Table, outbox: &mut Outbox) {
        match self {
            Order::RoundRobin(order) => order.delivered(table, outbox),
            Order::Unordered(order) => order.delivered(table, outbox),
            Order::Lamport(order) => order.delivered(table, outbox),
            Order::Paxos(order) => order.delivered(table, outbox),
            Order::Chain(order) => order.delivered(table, outbox),
        }
    }

    pub(crate) fn delivered_at(&self, table: &Table, member: Rank) -> u64 {
        match self {
            Order::RoundRobin(order) => order.delivered_at(table, member),
            Order::Unordered(order) => order.delivered_at(table, member),
            Order::Lamport(order) => order.delivered_at(table, member),
            Order::Paxos(order) => order.delivered_at(table, member),
            Order::Chain(order) => order.delivered_at(table, member),
        }
    }

    #[inline]
    pub(crate) fn delivered_everywhere(&mut self, table: &Table) -> Result<u64, Malformed> {
        match self {
            Order::RoundRobin(order) => order.delivered_everywhere(table),
            Order::Unordered(order) => order.delivered_everywhere(table),
            Order::Lamport(order) => order.delivered_everywhere(table),
            Order::Paxos(order) => order.delivered_everywhere(table),
            Order::Chain(order) => order.delivered_everywhere(table),
        }
    }
}
