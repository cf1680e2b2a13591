//! One sender's messages as this member has them: small ones in the ring, large ones in buffers.

use std::collections::VecDeque;

use squall_rdmc::{AnnounceError, Descriptor, Rdmc};
use squall_smc::{Inbound, Kind, Relay};
use squall_sst::{Malformed, Table};
use squall_transport::region::Pool;
use squall_transport::{Outbox, Rank};

use crate::error::Ended;
use crate::order::Order;

/// What is wrong where a decision is none.
const DECISION: &str = "smc.ring, a decision on the order";

/// One sender's messages as this member has them.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) inbound: Inbound,
    /// Place among the senders.
    sender: usize,
    /// Where it passes on its way from member to member, if it does.
    relay: Option<Relay>,
    /// Large messages announced and not known to be complete: (index, transfer).
    pending: VecDeque<(u64, u64)>,
    /// Large messages handed out: the next is the transfer of this number, since they are announced in this order.
    handed_out: u64,
    /// Indices of the last of them, as many as may be on their way at a time.
    lately: VecDeque<u64>,
    lately_max: usize,
    /// Index behind the last message that is no null.
    data_until: u64,
}

impl Stream {
    pub(crate) fn new(inbound: Inbound, sender: usize, relay: Option<Relay>, transfers_max: usize) -> Stream {
        let (pending, lately) = (VecDeque::with_capacity(transfers_max + 1), VecDeque::with_capacity(transfers_max + 1));
        Stream { inbound, sender, relay, pending, handed_out: 0, lately, lately_max: transfers_max, data_until: 0 }
    }

    /// Takes in what another member sent. Indices that came.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        table: &Table,
        order: &mut Order,
        rdmc: &mut Rdmc,
        pool: &mut Pool,
        outbox: &mut Outbox,
    ) -> Result<u64, Ended> {
        if !self.inbound.publish(table)? {
            return Ok(0);
        }
        self.look(u64::MAX, order, rdmc, pool, outbox)
    }

    /// Takes in what is here of the ring, up to the first large message that is not below index `kept`. Indices that
    /// came.
    #[inline]
    pub(crate) fn look(
        &mut self,
        kept: u64,
        order: &mut Order,
        rdmc: &mut Rdmc,
        pool: &mut Pool,
        outbox: &mut Outbox,
    ) -> Result<u64, Ended> {
        let (sender, rank, pending) = (self.sender, self.inbound.writer(), &mut self.pending);
        let mut refused = None;
        let arrived = self.inbound.look(|kind, index, payload| {
            if kind == Kind::Decision {
                let is_one = order.decided(sender, index, payload);
                if !is_one {
                    refused = Some(Malformed { member: rank, column: DECISION, value: index }.into());
                }
                return is_one;
            }
            order.large(sender, index);
            if index >= kept {
                return false;
            }
            let announced = Descriptor::decode(payload).map_err(AnnounceError::from).and_then(|descriptor| {
                rdmc.announce(sender, descriptor, pool, outbox)?;
                pending.push_back((index, descriptor.transfer));
                Ok(())
            });
            if let Err(AnnounceError::Refused(error)) = announced {
                refused = Some(Ended::Refused { sender: rank, error });
            }
            announced.is_ok()
        })?;
        self.data_until = self.data_until.max(arrived.data_until);
        refused.map_or(Ok(arrived.indices), Err)
    }

    /// Takes in what I committed to my own ring, up to its tail. Indices that came.
    #[inline]
    pub(crate) fn see_own(&mut self, tail: u64, order: &mut Order) -> Result<u64, Ended> {
        let sender = self.sender;
        let arrived = self.inbound.see_own(tail, |kind, index, payload| {
            if kind == Kind::Decision {
                order.decided(sender, index, payload);
            } else {
                order.large(sender, index);
            }
        })?;
        Ok(arrived.indices)
    }

    /// Passes on what came, where it passes from member to member. Whether anything was passed on.
    #[inline]
    pub(crate) fn pass_on(&mut self, table: &Table, outbox: &mut Outbox, allowance: impl Fn(Rank) -> u64) -> bool {
        self.relay.as_mut().is_some_and(|relay| relay.pass(&self.inbound, table, outbox, allowance))
    }

    /// Large messages below index `kept` that were announced and are not known to be complete: (index, transfer).
    pub(crate) fn lacks(&self, kept: u64) -> impl Iterator<Item = (u64, u64)> {
        self.pending.iter().copied().take_while(move |(index, _)| *index < kept)
    }

    /// The number of the next large message that is handed out, of this index. It is not read from the ring once more,
    /// where it may have changed.
    pub(crate) fn next_large(&mut self, index: u64) -> u64 {
        self.handed_out += 1;
        self.lately.push_back(index);
        if self.lately.len() > self.lately_max {
            self.lately.pop_front();
        }
        self.handed_out - 1
    }

    /// How many large messages lie below `end`, of those that were handed out; those above it are still on their way.
    pub(crate) fn large_below(&self, end: u64) -> u64 {
        self.handed_out - self.lately.iter().filter(|&&index| index >= end).count() as u64
    }

    /// Index behind the last message that is no null, of those that came.
    #[inline]
    pub(crate) fn data_until(&self) -> u64 {
        self.data_until
    }

    /// Index up to which everything is here, payloads of large messages included.
    #[inline]
    pub(crate) fn frontier(&mut self, rdmc: &Rdmc) -> u64 {
        while let Some(&(index, transfer)) = self.pending.front() {
            if transfer >= rdmc.received(self.sender) {
                return index;
            }
            self.pending.pop_front();
        }
        self.inbound.seen()
    }
}
