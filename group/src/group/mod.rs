//! The one composition of all protocols: what a member of a group is made of, and what can be asked of it.

mod blame;
mod change;
mod filling;
pub(crate) mod opening;
mod reading;
mod turn;

use squall_rdmc::{Limit, Relay, Timeline};
use squall_smc::{Fill, Outbound};
use squall_sst::{Counter, Table};
use squall_transport::{Endpoint, Outbox, Rank, Region, Waker};

use crate::config::{Columns, Config};
use crate::epoch::Epoch;
use crate::error::{Ended, SendError};
use crate::gathering::Gathering;
use crate::held::Held;
use crate::order::Order;
use crate::outgoing::{Outgoing, Slot};
use crate::reads::Reads;
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
    /// The last decision on the order that I made.
    decision: Vec<u8>,
    /// None: the members never change.
    epoch: Option<Box<Epoch>>,
    /// Where members give each other what they lack when the view ends.
    fill: Option<Box<Fill>>,
    /// Reads that are under way, where the group takes any.
    reads: Option<Box<Reads>>,
    pool_region: Region,
    mark: Counter,
    closing: Counter,
    post_bytes_max: u64,
    stats: Stats,
    ended: Option<Ended>,
    /// The first fault in this view that was a member's and did not end the group.
    blamed: Option<Ended>,
    gathering: Gathering,
    /// What was received is held back: the state that comes before it is not here yet, or it has not been handed out
    /// since.
    held: Option<Box<Held>>,
    /// Members whose link broke while the group was opened.
    lost: Vec<Rank>,
    notices: Vec<String>,
}

impl<E: Endpoint> Group<E> {
    /// The members, and who of them sends.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Holds back whatever is received until [`Group::restored`], over changes of view too: what a newcomer does while
    /// the application's state is on its way. Until it has handed out what it held, it has no vote.
    ///
    /// # Panics
    /// If this member votes, or anything was delivered already.
    pub fn await_state(&mut self) {
        if self.held.is_none() {
            assert!(!self.view.votes(self.view.me), "whoever votes has the state");
            assert_eq!(self.stats.delivered, 0, "the state comes before the first delivery");
            self.held = Some(Box::new(Held::new(&self.view, self.outgoing.config().held_bytes_max)));
        }
    }

    /// The state is here, as it was at the beginning of view `view`. The next turns tell the application of that view
    /// ([`Upcalls::view_installed`](crate::Upcalls::view_installed)) and hand out what followed, with the changes of
    /// view in between.
    ///
    /// # Panics
    /// If this member was not in that view, or already before [`Group::await_state`].
    pub fn restored(&mut self, view: u64) {
        if let Some(held) = &mut self.held {
            held.begin(view);
        }
    }

    /// Whether the state is awaited.
    pub fn awaits_state(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.has_begun())
    }

    /// Whether the state is awaited, or what was held back meanwhile is being handed out.
    pub fn is_behind(&self) -> bool {
        self.held.is_some()
    }

    /// What the members agree on, with the senders of this view.
    pub fn config(&self) -> &Config {
        self.outgoing.config()
    }

    /// What could not be had as asked when the group was joined, one sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What large messages are limited by, as it was given or measured.
    pub fn limit(&self) -> Option<Limit> {
        self.outgoing.config().limit
    }

    /// How my last large message of this view was relayed.
    pub fn last_relay(&self) -> Option<Relay> {
        self.outgoing.relay
    }

    /// Records from here on what happens to blocks of large messages, or no more; what was recorded. Blocks are noted
    /// at the time that the caller sets before each turn ([`Timeline::set_now`]). It ends with the view.
    pub fn record(&mut self, timeline: Option<Timeline>) -> Option<Timeline> {
        self.outgoing.rdmc.set_timeline(timeline)
    }

    /// What is recorded, if anything is.
    pub fn timeline_mut(&mut self) -> Option<&mut Timeline> {
        self.outgoing.rdmc.timeline_mut()
    }

    /// What this member did.
    pub fn stats(&self) -> Stats {
        let sent = self.outgoing.smc.as_ref().map(Outbound::stats).unwrap_or_default();
        let (requests, written) = (self.endpoint.requests(), self.outbox.written());
        Stats {
            requests: requests.posted,
            doorbells: requests.doorbells,
            words: written.words,
            spans: written.spans,
            span_bytes: written.span_bytes,
            messages_sent: sent.messages,
            nulls_sent: sent.nulls,
            decisions_sent: sent.decisions,
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
        self.order.delivered_seq()
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
        self.mark.least(&self.table)
    }
}
