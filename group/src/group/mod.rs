//! The one composition of all protocols: what a member of a group is made of, and what can be asked of it.

mod change;
pub(crate) mod opening;
mod turn;

use squall_smc::Outbound;
use squall_sst::{Counter, Table};
use squall_transport::{Endpoint, Outbox, Region, Waker};

use crate::config::Columns;
use crate::epoch::Epoch;
use crate::error::{Ended, SendError};
use crate::order::Order;
use crate::outgoing::{Outgoing, Slot, State};
use crate::stats::Stats;
use crate::stream::Stream;
use crate::view::View;

/// One member of a group.
#[derive(Debug)]
pub struct Group<E: Endpoint> {
    endpoint: E,
    outbox: Outbox,
    table: Table,
    columns: Columns,
    view: View,
    own: Option<usize>,
    streams: Vec<Stream>,
    outgoing: Outgoing,
    order: Order,
    /// None: the members never change.
    epoch: Option<Box<Epoch>>,
    pool_region: Region,
    mark: Counter,
    closing: Counter,
    post_bytes_max: u64,
    stats: Stats,
    ended: Option<Ended>,
    /// Nothing is delivered: the state that comes before the first delivery is not here yet.
    behind: bool,
    notices: Vec<String>,
}

impl<E: Endpoint> Group<E> {
    /// The members, and who of them sends.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Receives and acknowledges, but delivers and sends nothing until [`Group::restored`]: what a newcomer does in its first view while the application's state of
    /// before that view is on its way. If the view ends before, nothing of it is delivered here.
    ///
    /// # Panics
    /// If anything was delivered already.
    pub fn await_state(&mut self) {
        assert_eq!(self.stats.delivered, 0, "the state comes before the first delivery");
        self.behind = true;
        self.outgoing.state = State::Closed;
    }

    /// The state is here: delivers from the first message of the view on. `false` if the view has ended meanwhile, and nothing of it was delivered here: then
    /// the state still awaited is that of the next view's beginning.
    pub fn restored(&mut self) -> bool {
        if self.membership().is_some_and(|membership| membership.protocol().row().installed) {
            return false;
        }
        self.behind = false;
        if self.outgoing.state == State::Closed && !self.is_changing() {
            self.outgoing.state = State::Open;
        }
        true
    }

    /// Whether the state is awaited.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// What could not be had as asked when the group was joined, one sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What this member did.
    pub fn stats(&self) -> Stats {
        let sent = self.outgoing.smc.as_ref().map(Outbound::stats).unwrap_or_default();
        let requests = self.endpoint.requests();
        Stats {
            requests: requests.posted,
            doorbells: requests.doorbells,
            messages_sent: sent.messages,
            nulls_sent: sent.nulls,
            send_batches: sent.batches,
            send_batch_max: sent.batch_max,
            ..self.stats
        }
    }

    /// Index below which everything of the sender at place `sender` is here.
    pub fn received(&mut self, sender: usize) -> u64 {
        self.streams[sender].frontier(&self.outgoing.rdmc)
    }

    /// First position in the order that this member has not told the others to have received (0 in unordered mode).
    pub fn received_seq(&self) -> u64 {
        self.table.get(self.columns.order.received_seq, self.view.me)
    }

    /// First position in the order that this member has not delivered; in unordered mode, how much it has delivered.
    pub fn delivered_seq(&self) -> u64 {
        match &self.order {
            Order::RoundRobin(order) => order.delivered_seq(),
            Order::Unordered(order) => order.deliveries(),
        }
    }

    /// Of each sender, by place: below which index everything was handed out.
    pub(crate) fn handed_out(&self) -> Vec<u64> {
        self.streams.iter().map(|stream| stream.inbound.taken()).collect()
    }

    /// Whether all that this member has sent was delivered here, and so will be everywhere.
    pub fn has_delivered_own(&self) -> bool {
        let taken = |own: usize| self.streams[own].inbound.taken();
        let sent = self.own.zip(self.outgoing.smc.as_ref()).is_none_or(|(own, smc)| taken(own) >= smc.next_index());
        sent && self.outgoing.again.is_empty()
    }

    /// Ends another thread's wait in [`Group::turn`].
    pub fn waker(&self) -> Waker {
        self.endpoint.waker()
    }

    /// The sending half.
    #[inline]
    pub fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// Memory for a message of `bytes` bytes: see [`Outgoing::reserve`].
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    pub fn reserve(&mut self, bytes: u64) -> Result<Slot<'_>, SendError> {
        self.outgoing.reserve(bytes)
    }

    /// Sends a copy of `payload`: see [`Outgoing::send`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn send(&mut self, payload: &[u8]) -> Result<u64, SendError> {
        self.outgoing.send(payload)
    }

    /// Raises my mark to `value` for all to see: a barrier inside the group, see [`Group::mark_of_all`].
    pub fn raise_mark(&mut self, value: u64) {
        self.mark.raise(&self.table, value);
    }

    /// The least of all members' marks.
    pub fn mark_of_all(&self) -> u64 {
        self.table.min(self.columns.mark)
    }
}
