//! The one composition of all protocols, and its loop.

use std::time::Instant;

use squall_orderer::{RoundRobin, Run, Unordered};
use squall_rdmc::{Descriptor, Rdmc};
use squall_smc::{Inbound, Outbound, Taken};
use squall_sst::{Counter, Table};
use squall_transport::exchange::{Exchange, agree};
use squall_transport::region::Pool;
use squall_transport::{Endpoint, Event, Fabric, Outbox, Rank, Waker, Write};

use crate::config::{Columns, Config, Mode};
use crate::error::{Ended, JoinError, SendError};
use crate::order::Order;
use crate::outgoing::{Outgoing, Slot};
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
}

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
    mark: Counter,
    closing: Counter,
    post_bytes_max: u64,
    stats: Stats,
    ended: Option<Ended>,
    notices: Vec<String>,
}

impl<E: Endpoint> Group<E> {
    /// Joins the group that the members of `exchange` make. A collective: every member calls it with the same configuration.
    ///
    /// # Errors
    /// A configuration that cannot work, members that disagree on it, memory or links that cannot be had.
    pub fn join<F: Fabric<Endpoint = E>>(config: &Config, fabric: &F, exchange: &mut dyn Exchange) -> Result<Group<E>, JoinError> {
        let (me, members) = (exchange.rank(), exchange.members());
        config.check(members)?;
        let (layout, columns) = config.layout(members);
        agree(exchange, "the group's configuration", config.description(&layout).as_bytes())?;
        let classes = config.pool_classes();
        let table_region = fabric.region(layout.bytes() as usize, &config.region)?;
        let pool_region = fabric.region(Pool::bytes_for(&classes).max(1) as usize, &config.region)?;
        let notices = table_region.notices().iter().chain(pool_region.notices()).cloned().collect();
        let endpoint = fabric.open(exchange, &[table_region.clone(), pool_region.clone()])?;

        let view = View { me, members, senders: config.senders.clone() };
        let own = view.my_sender();
        let table = Table::new(table_region, &layout, me);
        let streams = config.senders.iter().enumerate().map(|(sender, &rank)| {
            let ring = table.ring(columns.smc.ring, sender);
            Stream::new(Inbound::new(ring, columns.smc, rank), sender, config.transfers_max)
        });
        let smc = own.map(|sender| Outbound::new(table.ring(columns.smc.ring, sender), columns.smc, config.smc_limits(), members));
        let rdmc = Rdmc::new(columns.rdmc, members, me, &config.senders, config.rdmc_limits(), config.schedule);
        let order = match config.mode {
            Mode::Ordered => Order::RoundRobin(RoundRobin::new(columns.order, members, config.senders.len(), own)),
            Mode::Unordered => Order::Unordered(Unordered::new(columns.order, &config.senders, own)),
        };
        Ok(Group {
            outbox: Outbox::new(members),
            streams: streams.collect(),
            outgoing: Outgoing::new(smc, rdmc, Pool::new(pool_region, &classes), config.clone(), members),
            mark: Counter::new(columns.mark, members),
            closing: Counter::new(columns.closing, members),
            post_bytes_max: config.post_bytes_max,
            stats: Stats::default(),
            ended: None,
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

    /// What could not be had as asked when the group was joined, one sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What this member did.
    pub fn stats(&self) -> Stats {
        let sent = self.outgoing.smc.as_ref().map(Outbound::stats).unwrap_or_default();
        Stats {
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
            self.outgoing.ended = true;
        }
        result
    }

    #[inline]
    fn turn_once(&mut self, upcalls: &mut impl Upcalls) -> Result<bool, Ended> {
        self.take_events()?;
        let mut progress = self.ship();
        progress |= self.receive()?;
        self.order.acknowledge(&self.table, &mut self.outbox);
        self.outbox.drain(&mut self.endpoint);
        progress |= self.deliver(upcalls);
        progress |= self.send_on();
        self.endpoint.flush();
        Ok(progress)
    }

    #[inline]
    fn take_events(&mut self) -> Result<(), Ended> {
        while let Some(Event::Down(peer)) = self.endpoint.poll() {
            let both_leave = self.closing.value() == 1 && self.table.get(self.columns.closing, peer) == 1;
            if !both_leave {
                return Err(Ended::MemberDown(self.lost(peer)));
            }
            self.outbox.discard(peer);
        }
        Ok(())
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
        let mut left = DELIVERIES_A_TURN_MAX;
        self.order.refresh(&self.table);
        while let Some(run) = self.order.next(left) {
            left -= run.count;
            self.hand_out(run, upcalls);
        }
        let any = left < DELIVERIES_A_TURN_MAX;
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
    fn hand_out(&mut self, run: Run, upcalls: &mut impl Upcalls) {
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
            std::hint::spin_loop();
            return Ok(false);
        }
        self.sleep(upcalls, pace, until)
    }

    #[cold]
    fn sleep(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace, until: Option<Instant>) -> Result<bool, Ended> {
        self.endpoint.arm();
        // What landed before `arm` wakes nobody: look once more.
        match self.step(upcalls) {
            Ok(false) => {
                self.stats.parks += 1;
                self.endpoint.park(Pace::sleep_max(until));
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
