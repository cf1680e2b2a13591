//! The orderer a group was configured with: chosen once, called without indirection.

use squall_orderer::{Orderer, RoundRobin, Run, Unordered};
use squall_sst::{Malformed, Table};
use squall_transport::{Outbox, Rank};

/// The orderer of a group.
#[derive(Debug)]
pub(crate) enum Order {
    RoundRobin(RoundRobin),
    Unordered(Unordered),
}

impl Order {
    #[inline]
    pub(crate) fn received(&mut self, sender: usize, frontier: u64, data_until: u64) {
        match self {
            Order::RoundRobin(order) => order.received(sender, frontier, data_until),
            Order::Unordered(order) => order.received(sender, frontier, data_until),
        }
    }

    #[inline]
    pub(crate) fn owed(&self) -> u64 {
        match self {
            Order::RoundRobin(order) => order.owed(),
            Order::Unordered(order) => order.owed(),
        }
    }

    #[inline]
    pub(crate) fn acknowledge(&mut self, table: &Table, outbox: &mut Outbox, due: bool) {
        match self {
            Order::RoundRobin(order) => order.acknowledge(table, outbox, due),
            Order::Unordered(order) => order.acknowledge(table, outbox, due),
        }
    }

    #[inline]
    pub(crate) fn refresh(&mut self, table: &Table) -> Result<(), Malformed> {
        match self {
            Order::RoundRobin(order) => order.refresh(table),
            Order::Unordered(order) => order.refresh(table),
        }
    }

    #[inline]
    pub(crate) fn next(&mut self, max: u64) -> Option<Run> {
        match self {
            Order::RoundRobin(order) => order.next(max),
            Order::Unordered(order) => order.next(max),
        }
    }

    pub(crate) fn next_to(&mut self, trim: &[u64]) -> Option<Run> {
        match self {
            Order::RoundRobin(order) => order.next_to(trim),
            Order::Unordered(order) => order.next_to(trim),
        }
    }

    #[inline]
    pub(crate) fn delivered(&mut self, table: &Table, outbox: &mut Outbox) {
        match self {
            Order::RoundRobin(order) => order.delivered(table, outbox),
            Order::Unordered(order) => order.delivered(table, outbox),
        }
    }

    pub(crate) fn delivered_at(&self, table: &Table, member: Rank) -> u64 {
        match self {
            Order::RoundRobin(order) => order.delivered_at(table, member),
            Order::Unordered(order) => order.delivered_at(table, member),
        }
    }

    #[inline]
    pub(crate) fn delivered_everywhere(&mut self, table: &Table) -> Result<u64, Malformed> {
        match self {
            Order::RoundRobin(order) => order.delivered_everywhere(table),
            Order::Unordered(order) => order.delivered_everywhere(table),
        }
    }
}
