//! The one composition of all protocols, and its loop.

use std::collections::VecDeque;
use std::io::Read;
use std::time::Instant;

use squall_orderer::{RoundRobin, Run, Unordered};
use squall_rdmc::{Descriptor, Rdmc};
use squall_smc::{Inbound, Outbound, Taken};
use squall_sst::{Counter, Table};
use squall_transport::exchange::{Exchange, agree};
use squall_transport::region::{Pool, RegionError};
use squall_transport::{Endpoint, Event, Fabric, Outbox, Rank, Region, Waker, Write};

use crate::config::{Columns, Config, ConfigError, Mode};
use crate::epoch::Epoch;
use crate::error::{Ended, JoinError, SendError};
use crate::order::Order;
use crate::outgoing::{Outgoing, Slot, State};
use crate::pace::Pace;
use crate::stats::Stats;
use crate::stream::Stream;
use crate::view::View;

/// Messages and nulls handed out in one turn at the most, so that acknowledgements and sends get their turn too.
const DELIVERIES_A_TURN_MAX: u64 = 4096;

/// One message, handed to the application.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Its position in the group's total order; in unordered mode, in this member's own deliveries.
    pub seq: u64,
    /// Who sent it.
    pub sender: Rank,
    /// Its index among its sender's messages and nulls.
    pub index: u64,
    /// Its bytes, in memory that peers wrote; valid during the upcall.
    pub payload: &'a [u8],
}

/// What the application is told.
pub trait Upcalls {
    /// The next message. Sending by `outgoing` from within is fine; what is full then stays full until the upcall has returned.
    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing);

    /// The view that was is over: all that will ever be delivered in it was delivered. `next` follows once it is installed; `None`: this
    /// member has left.
    fn view_ended(&mut self, next: Option<&View>) {
        let _ = next;
    }

    /// This member is in `view`, with the state that belongs to its beginning: the next delivery is one of this view. Told by
    /// [`Member`](crate::Member) alone. A newcomer that follows the group from outside is told of the views whose deliveries it is given: its rank
    /// [`me`](View::me) is then no member's.
    fn view_installed(&mut self, view: &View) {
        let _ = view;
    }

    /// The application's state after the last delivery, for a newcomer. It is read in pieces while deliveries go on, and must not change by them. An
    /// application without state gives nothing.
    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        Box::new(std::io::empty())
    }

    /// A piece of the state that this newcomer starts from.
    fn restore(&mut self, piece: StatePiece<'_>) {
        let _ = piece;
    }

    /// My message `index` of the view that is about to end is delivered nowhere. Messages that are cut off are sent again in the next view, before all
    /// others and in their order: see [`Upcalls::sent_again`].
    fn cut(&mut self, index: u64) {
        let _ = index;
    }

    /// The oldest message that was cut off and not sent again has now been sent as `index` of this view.
    fn sent_again(&mut self, index: u64) {
        let _ = index;
    }
}

/// What a newcomer is given of the application's state: a beginning, bytes in their order, an end. If the member that gives it is lost there is another beginning, and what was given
/// before counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatePiece<'a> {
    /// Forget all state: it comes from the start.
    Begin,
    /// The next bytes of what [`Upcalls::snapshot`] gave elsewhere.
    Bytes(&'a [u8]),
    /// That was all: deliveries follow.
    End,
}

/// One member of a group.
#[derive(Debug)]
pub struct Group<E: Endpoint> {
    pub(crate) endpoint: E,
    pub(crate) outbox: Outbox,
    pub(crate) table: Table,
    columns: Columns,
    pub(crate) view: View,
    pub(crate) own: Option<usize>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) outgoing: Outgoing,
    pub(crate) order: Order,
    /// None: the members never change.
    pub(crate) epoch: Option<Box<Epoch>>,
    pool_region: Region,
    mark: Counter,
    closing: Counter,
    post_bytes_max: u64,
    pub(crate) stats: Stats,
    ended: Option<Ended>,
    /// Nothing is delivered: the state that comes before the first delivery is not here yet.
    pub(crate) behind: bool,
    notices: Vec<String>,
}

/// What outlives an epoch, or is there before the first one.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pool: Option<(Pool, Region)>,
    again: VecDeque<Vec<u8>>,
}

impl Kept {
    /// The buffers of a member to be: whoever makes them beforehand keeps nobody waiting when the view opens.
    pub(crate) fn in_advance(config: &Config, fabric: &impl Fabric) -> Result<Kept, RegionError> {
        Ok(Kept { pool: Some(new_pool(config, fabric)?), again: VecDeque::new() })
    }
}

/// What members compare before they open an epoch.
pub(crate) const AGREEMENT: &str = "the group's configuration";

/// What this member says of that, in this view.
pub(crate) fn description(config: &Config, view: &View) -> Result<Vec<u8>, ConfigError> {
    let config = Config { senders: view.senders.clone(), ..config.clone() };
    config.check(view.members)?;
    Ok(config.description(&config.layout(view.members).0).into_bytes())
}

fn new_pool(config: &Config, fabric: &impl Fabric) -> Result<(Pool, Region), RegionError> {
    let classes = config.pool_classes();
    let region = fabric.region(Pool::bytes_for(&classes).max(1) as usize, &config.region)?;
    Ok((Pool::new(region.clone(), &classes), region))
}

impl<E: Endpoint> Group<E> {
    /// Joins the group that the members of `exchange` make. A collective: every member calls it with the same configuration.
    ///
    /// # Errors
    /// A configuration that cannot work, members that disagree on it, memory or links that cannot be had.
    pub fn join<F: Fabric<Endpoint = E>>(config: &Config, fabric: &F, exchange: &mut dyn Exchange) -> Result<Group<E>, JoinError> {
        let view = View::first(exchange.rank(), exchange.members(), &config.senders, exchange.token());
        Group::enter(config, view, fabric, exchange)
    }

    /// Enters a view that is not the first one: what a newcomer does with the view that it was told ([`View::seen_by`]). A collective of all members that come into
    /// this view; `exchange` is among them.
    ///
    /// # Errors
    /// As [`Group::join`].
    pub fn enter<F: Fabric<Endpoint = E>>(
        config: &Config,
        view: View,
        fabric: &F,
        exchange: &mut dyn Exchange,
    ) -> Result<Group<E>, JoinError> {
        Group::enter_with(config, view, Kept::default(), fabric, exchange)
    }

    /// As [`Group::enter`], with what is there already.
    pub(crate) fn enter_with<F: Fabric<Endpoint = E>>(
        config: &Config,
        view: View,
        kept: Kept,
        fabric: &F,
        exchange: &mut dyn Exchange,
    ) -> Result<Group<E>, JoinError> {
        // Buffers that were made in advance are for `senders_max` senders.
        let kept = if view.senders.len() <= config.senders_max { kept } else { Kept::default() };
        agree(exchange, AGREEMENT, &description(config, &view)?)?;
        Group::open(config, view, kept, fabric, exchange)
    }

    /// Goes over to the view that [`Group::next_view`] says: the old epoch's links are closed, its buffers given back, and a new table is opened. A collective of all
    /// members that come into the new view; `exchange` is among them.
    ///
    /// # Errors
    /// As [`Group::join`]. This member has then left the old view and is not in the new one.
    ///
    /// # Panics
    /// If there is no next view yet.
    pub fn install<F: Fabric<Endpoint = E>>(self, fabric: &F, exchange: &mut dyn Exchange) -> Result<Group<E>, JoinError> {
        let view = self.next_view().cloned().expect("the next view is decided");
        let (config, kept, leaves) = self.retire(fabric);
        agree(exchange, AGREEMENT, &description(&config, &view)?)?;
        let mut group = Group::open(&config, view, kept, fabric, exchange)?;
        if leaves {
            // The view ended before the others had heard of it.
            group.leave();
        }
        Ok(group)
    }

    /// Ends the epoch, whose next view is known: what is left of it for the next one, and whether this member wants to leave.
    pub(crate) fn retire<F: Fabric<Endpoint = E>>(self, fabric: &F) -> (Config, Kept, bool) {
        let leaves = self.membership().is_some_and(|membership| membership.protocol().row().leaving);
        let is_done =
            |rank| self.membership().is_none_or(|membership| membership.protocol().has_installed(rank)) || self.endpoint.is_gone(rank);
        let severed = fabric.severs() || (0..self.view.members).map(Rank::new).all(is_done);
        let Group { endpoint, outgoing, pool_region, .. } = self;
        // T5: nothing of this epoch lands or is read any more when a buffer goes back. A pool into which a member may still write, because it was
        // lost before it had said its last word here and may live, is given up: its memory stays with that member alone.
        fabric.retire(endpoint);
        let (config, pool, again) = outgoing.dismantle(severed);
        (config, Kept { pool: pool.map(|pool| (pool, pool_region)), again }, leaves)
    }

    /// Opens the view's epoch with members that agree on how.
    pub(crate) fn open<F: Fabric<Endpoint = E>>(
        config: &Config,
        view: View,
        kept: Kept,
        fabric: &F,
        exchange: &mut dyn Exchange,
    ) -> Result<Group<E>, JoinError> {
        let (me, members) = (view.me, view.members);
        let config = Config { senders: view.senders.clone(), ..config.clone() };
        let (layout, columns) = config.layout(members);
        let table_region = fabric.region(layout.bytes() as usize, &config.region)?;
        let (pool, pool_region) = match kept.pool {
            Some(pool) => pool,
            None => new_pool(&config, fabric)?,
        };
        let notices = table_region.notices().iter().chain(pool_region.notices()).cloned().collect();
        let endpoint = fabric.open(exchange, &[table_region.clone(), pool_region.clone()])?;

        let own = view.my_sender();
        let table = Table::new(table_region, &layout, me);
        let streams = config.senders.iter().enumerate().map(|(sender, &rank)| {
            let ring = table.ring(columns.smc.ring, sender);
            Stream::new(Inbound::new(ring, columns.smc, rank), sender, config.transfers_max)
        });
        let streams = streams.collect();
        let smc = own.map(|sender| Outbound::new(table.ring(columns.smc.ring, sender), columns.smc, config.smc_limits(), members));
        let rdmc = Rdmc::new(columns.rdmc, members, me, &config.senders, config.rdmc_limits(), config.schedule);
        let order = match config.mode {
            Mode::Ordered => Order::RoundRobin(RoundRobin::new(columns.order, members, config.senders.len(), own)),
            Mode::Unordered => Order::Unordered(Unordered::new(columns.order, &config.senders, own)),
        };
        let epoch = Epoch::new(&config, &columns, &view);
        let post_bytes_max = config.post_bytes_max;
        let mut outgoing = Outgoing::new(smc, rdmc, pool, config, members);
        if !kept.again.is_empty() {
            (outgoing.again, outgoing.state) = (kept.again, State::Closed);
        }
        Ok(Group {
            outbox: Outbox::new(members),
            streams,
            outgoing,
            epoch: epoch.map(Box::new),
            pool_region,
            mark: Counter::new(columns.mark, members),
            closing: Counter::new(columns.closing, members),
            post_bytes_max,
            stats: Stats::default(),
            ended: None,
            behind: false,
            endpoint,
            table,
            columns,
            view,
            own,
            order,
            notices,
        })
    }

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

    /// One turn of the loop: takes in what has landed, hands out what may be delivered, sends what is to be sent. Whether anything happened. Never
    /// waits.
    ///
    /// # Errors
    /// The group is over, and why; the same answer from then on.
    #[inline]
    pub fn step(&mut self, upcalls: &mut impl Upcalls) -> Result<bool, Ended> {
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        self.stats.turns += 1;
        let result = self.turn_once(upcalls);
        if let Err(ended) = result {
            self.ended = Some(ended);
            self.outgoing.state = State::Ended;
        }
        result
    }

    #[inline]
    fn turn_once(&mut self, upcalls: &mut impl Upcalls) -> Result<bool, Ended> {
        let lost = self.take_events()?;
        let mut progress = false;
        if self.epoch.is_some() {
            let (goes_on, changed) = self.tend_epoch(lost, upcalls)?;
            if !goes_on {
                self.outbox.drain(&mut self.endpoint);
                self.endpoint.flush();
                return Ok(changed);
            }
            progress = changed;
        }
        progress |= self.ship();
        progress |= match self.receive() {
            Ok(received) => received,
            Err(ended) => self.blame(ended)?,
        };
        self.order.acknowledge(&self.table, &mut self.outbox);
        self.outbox.drain(&mut self.endpoint);
        progress |= self.deliver(upcalls);
        progress |= self.send_on();
        self.endpoint.flush();
        Ok(progress)
    }

    #[inline]
    fn take_events(&mut self) -> Result<bool, Ended> {
        let mut lost = false;
        while let Some(Event::Down(peer)) = self.endpoint.poll() {
            let both_leave = self.closing.value() == 1 && self.table.get(self.columns.closing, peer) == 1;
            if !both_leave {
                match &mut self.epoch {
                    Some(epoch) => epoch.membership.link_down(peer),
                    None => return Err(Ended::MemberDown(self.lost(peer))),
                }
                lost = true;
            }
            self.outbox.discard(peer);
        }
        Ok(lost)
    }

    /// Who was lost first, now that the link to `peer` is down: a member that ends because of another's loss says so before it goes. Passes it on.
    #[cold]
    fn lost(&mut self, peer: Rank) -> Rank {
        let said = self.table.get(self.columns.lost, peer);
        let lost = if (1..=self.view.members as u64).contains(&said) { Rank::new(said as usize - 1) } else { peer };
        let word = Write::Word { at: self.table.place(self.columns.lost), value: u64::from(lost.0) + 1 };
        for row in (0..self.view.members).map(Rank::new).filter(|&row| row != self.view.me && row != peer) {
            // Best effort: whom it does not reach blames me.
            let _ = self.endpoint.post(row, word);
        }
        self.endpoint.flush();
        lost
    }

    /// Sends what the application committed since the last turn.
    #[inline]
    fn ship(&mut self) -> bool {
        let shipped = self.outgoing.smc.as_mut().is_some_and(|smc| smc.ship(&self.table, &mut self.outbox));
        self.outbox.drain(&mut self.endpoint) | shipped
    }

    /// Takes in what has landed, and relays.
    #[inline]
    fn receive(&mut self) -> Result<bool, Ended> {
        let Outgoing { smc, rdmc, pool, .. } = &mut self.outgoing;
        let mut progress = false;
        for (sender, stream) in self.streams.iter_mut().enumerate() {
            let indices = match (smc.as_ref(), self.own == Some(sender)) {
                // My own messages, large ones included, are here from the start.
                (Some(smc), true) => stream.inbound.see_own(smc.tail(), smc.next_index()),
                _ => {
                    let indices = stream.receive(&self.table, rdmc, pool, &mut self.outbox)?;
                    self.stats.received += indices;
                    self.stats.receive_batches += u64::from(indices > 0);
                    indices
                }
            };
            progress |= indices > 0;
        }
        let moved = rdmc.step(&self.table, &mut self.outbox, self.post_bytes_max);
        self.stats.blocks_posted += u64::from(moved.posted_blocks);
        progress |= moved.any();
        if progress {
            for (sender, stream) in self.streams.iter_mut().enumerate() {
                self.order.received(sender, stream.frontier(rdmc), stream.data_until());
            }
        }
        Ok(progress)
    }

    /// Hands out what may be delivered.
    #[inline]
    fn deliver(&mut self, upcalls: &mut impl Upcalls) -> bool {
        let most = if self.behind { 0 } else { DELIVERIES_A_TURN_MAX };
        let mut left = most;
        self.order.refresh(&self.table);
        while let Some(run) = self.order.next(left) {
            left -= run.count;
            self.hand_out(run, upcalls);
        }
        let any = left < most;
        if any {
            self.stats.delivery_batches += 1;
            for stream in &mut self.streams {
                stream.inbound.release();
            }
        }
        self.order.delivered(&self.table, &mut self.outbox);
        let Outgoing { rdmc, pool, .. } = &mut self.outgoing;
        any | (rdmc.reclaim(&self.table, pool) > 0)
    }

    #[inline(always)]
    pub(crate) fn hand_out(&mut self, run: Run, upcalls: &mut impl Upcalls) {
        let inbound = &mut self.streams[run.sender].inbound;
        let sender = inbound.sender();
        for step in 0..run.count {
            let (seq, index) = (run.seq + step, run.index + step);
            match inbound.take() {
                Taken::Null => {}
                Taken::Data(payload) => {
                    self.stats.delivered += 1;
                    upcalls.deliver(Delivery { seq, sender, index, payload }, &mut self.outgoing);
                }
                Taken::Large(descriptor) => {
                    self.stats.delivered += 1;
                    let transfer = Descriptor::decode(descriptor).expect("it was accepted when it came, and nobody writes it").transfer;
                    let block = self.outgoing.rdmc.lend(run.sender, transfer);
                    upcalls.deliver(Delivery { seq, sender, index, payload: block.bytes() }, &mut self.outgoing);
                    self.outgoing.rdmc.restore(run.sender, transfer, block);
                    self.outgoing.rdmc.delivered(run.sender, transfer);
                }
            }
        }
    }

    /// Fills my turns with nulls where others wait for them, and sends what became due in this turn.
    #[inline]
    fn send_on(&mut self) -> bool {
        let mut progress = false;
        if let Some(smc) = &mut self.outgoing.smc {
            // Room in the window is news to an application that waits for it, even if nothing is sent.
            progress |= smc.reclaim(self.order.delivered_everywhere(&self.table));
            // No room means that older messages of mine are on their way: the nulls are due again at the next turn.
            let _ = smc.fill(self.order.owed());
        }
        self.mark.push(&self.table, &mut self.outbox);
        self.closing.push(&self.table, &mut self.outbox);
        progress | self.ship()
    }

    /// One turn of the loop, and if nothing happened, a wait as `pace` says.
    ///
    /// # Errors
    /// As [`Group::step`].
    #[inline]
    pub fn turn(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<bool, Ended> {
        self.turn_until(upcalls, pace, None)
    }

    /// As [`Group::turn`], but sleeps no longer than `until`.
    ///
    /// # Errors
    /// As [`Group::step`].
    #[inline]
    pub fn turn_until(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace, until: Option<Instant>) -> Result<bool, Ended> {
        if self.step(upcalls)? {
            pace.busy();
            return Ok(true);
        }
        if pace.spins() {
            pace.pause();
            return Ok(false);
        }
        self.sleep(upcalls, pace, until)
    }

    #[cold]
    fn sleep(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace, until: Option<Instant>) -> Result<bool, Ended> {
        self.endpoint.arm();
        self.look_at_epoch();
        // What landed before `arm` wakes nobody: look once more.
        match self.step(upcalls) {
            Ok(false) => {
                self.stats.parks += 1;
                self.endpoint.park(self.epoch_due(Pace::sleep_max(until)));
                Ok(false)
            }
            other => {
                self.endpoint.disarm();
                pace.busy();
                other
            }
        }
    }

    /// Leaves together with all other members: turns the loop until every member wants to leave and everything I owe them is out. A
    /// collective.
    ///
    /// # Errors
    /// As [`Group::step`].
    pub fn close(mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), Ended> {
        self.closing.raise(&self.table, 1);
        loop {
            let progress = self.turn(upcalls, pace)?;
            let all = self.table.min(self.columns.closing) == 1;
            if all && !progress && self.outbox.is_empty() && !self.endpoint.backlog() {
                return Ok(());
            }
        }
    }
}
