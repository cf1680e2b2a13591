//! The loop: what one turn does, and how long to wait for the next.

use std::time::Instant;

use squall_orderer::Run;
use squall_smc::Taken;
use squall_sst::Malformed;
use squall_transport::{Endpoint, Event, Rank};

use super::Group;
use crate::error::Ended;
use crate::held::Held;
use crate::outgoing::{Outgoing, State};
use crate::pace::Pace;
use crate::turn::Turn;
use crate::upcalls::{Delivery, Upcalls};

/// Messages and nulls handed out in one turn at the most, so that acknowledgements and sends get their turn too.
const DELIVERIES_A_TURN_MAX: u64 = 4096;

impl<E: Endpoint> Group<E> {
    /// One turn of the loop: takes in what has landed, hands out what may be delivered, sends what is to be sent. Never
    /// waits.
    ///
    /// # Errors
    /// The group is over, and why; the same answer from then on.
    #[inline]
    pub fn step(&mut self, upcalls: &mut impl Upcalls) -> Result<Turn, Ended> {
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        self.stats.turns += 1;
        match self.turn_once(upcalls) {
            Ok(progress) => Ok(progress.into()),
            Err(ended) => self.end(ended),
        }
    }

    #[cold]
    fn end(&mut self, ended: Ended) -> Result<Turn, Ended> {
        self.ended = Some(ended);
        self.outgoing.state = State::Ended;
        if ended == Ended::Closed { Ok(Turn::Left) } else { Err(ended) }
    }

    #[inline]
    fn turn_once(&mut self, upcalls: &mut impl Upcalls) -> Result<bool, Ended> {
        let lost = self.take_events()?;
        let mut progress = false;
        if self.epoch.is_some() {
            let (goes_on, changed) = self.tend_epoch(lost, upcalls)?;
            if !goes_on {
                self.feed_learners()?;
                self.accept_late()?;
                self.outbox.drain(&mut self.endpoint);
                self.endpoint.flush();
                return Ok(changed);
            }
            progress = changed;
        }
        progress |= self.ship();
        let came = self.receive().or_else(|ended| self.blame(ended))?;
        progress |= came;
        let due = self.gathering.is_due(came);
        self.order.acknowledge(&self.table, &mut self.outbox, due);
        self.outbox.drain(&mut self.endpoint);
        let delivered = match self.held.take() {
            None => self.deliver(upcalls).map_err(Ended::from),
            Some(held) => self.hold_back(held, upcalls),
        };
        progress |= delivered.or_else(|ended| self.blame(ended))?;
        progress |= self.send_on().or_else(|malformed| self.blame(malformed.into()))?;
        if self.reads.is_some() {
            progress |= self.read_on().or_else(|malformed| self.blame(malformed.into()))?;
        }
        self.endpoint.flush();
        Ok(progress)
    }

    #[inline]
    fn take_events(&mut self) -> Result<bool, Ended> {
        let mut lost = false;
        while let Some(peer) = self.next_down() {
            let both_leave = self.closing.value() == 1 && self.table.get(self.columns.closing, peer) == 1;
            if !both_leave {
                match &mut self.epoch {
                    Some(epoch) => epoch.membership.link_down(peer),
                    None => return Err(self.lost(peer)),
                }
                lost = true;
            }
            self.outbox.discard(peer);
        }
        Ok(lost)
    }

    /// A member whose link is broken, once or more often.
    #[inline]
    fn next_down(&mut self) -> Option<Rank> {
        self.endpoint.poll().map(|Event::Down(peer)| peer).or_else(|| self.lost.pop())
    }

    /// Sends what the application committed since the last turn.
    #[inline]
    fn ship(&mut self) -> bool {
        let Group { outgoing, table, outbox, endpoint, .. } = self;
        let shipped = outgoing.smc.as_mut().is_some_and(|smc| smc.ship(table, outbox, |to| endpoint.allowance(to)));
        self.outbox.drain(&mut self.endpoint) | shipped
    }

    /// Takes in what has landed, and relays. What one member broke keeps nothing back that the others sent.
    #[inline]
    pub(super) fn receive(&mut self) -> Result<bool, Ended> {
        let Outgoing { smc, rdmc, pool, .. } = &mut self.outgoing;
        let (mut progress, mut ended) = (false, None);
        for (sender, stream) in self.streams.iter_mut().enumerate() {
            let indices = match (smc.as_ref(), self.own == Some(sender)) {
                // My own messages, large ones included, are here from the start.
                (Some(smc), true) => stream.see_own(smc.tail(), &mut self.order),
                _ => {
                    let indices = stream.receive(&self.table, &mut self.order, rdmc, pool, &mut self.outbox);
                    let came = *indices.as_ref().unwrap_or(&0);
                    self.stats.received += came;
                    self.stats.receive_batches += u64::from(came > 0);
                    indices
                }
            };
            match indices {
                Ok(indices) => progress |= stream.pass_on(&self.table, &mut self.outbox, |to| self.endpoint.allowance(to)) | (indices > 0),
                Err(error) => ended = ended.or(Some(error)),
            }
        }
        match rdmc.step(&self.table, &mut self.outbox, self.post_bytes_max) {
            Ok(moved) => {
                self.stats.blocks_posted += u64::from(moved.posted_blocks);
                progress |= moved.any();
            }
            Err(malformed) => ended = ended.or(Some(malformed.into())),
        }
        if progress || ended.is_some() {
            for (sender, stream) in self.streams.iter_mut().enumerate() {
                self.order.received(sender, stream.frontier(rdmc), stream.data_until());
            }
        }
        ended.map_or(Ok(progress), Err)
    }

    /// Takes out of rings and buffers what may be delivered, and hands it out once the state is here.
    #[cold]
    fn hold_back(&mut self, mut held: Box<Held>, upcalls: &mut impl Upcalls) -> Result<bool, Ended> {
        let taken = self.deliver(held.as_mut());
        let replayed = upcalls.is_ready() && held.replay(upcalls, &mut self.outgoing);
        let over = held.is_over();
        self.held = (!held.is_done()).then_some(held);
        match over {
            Some(bytes_max) => Err(Ended::HeldBack { bytes_max }),
            None => Ok(taken? | replayed),
        }
    }

    /// Goes on sending to learners what this member sent before the view came to its end: once that is decided, and
    /// others may go on, only what is kept. Learners have it before they go on; what is cut off they do not wait for,
    /// and it would land in buffers that are in use again. A learner whose buffers are full of what it may not deliver
    /// has room for more only once it hears what this member had received.
    fn feed_learners(&mut self) -> Result<(), Ended> {
        if self.view.voters < self.view.members {
            self.ship();
            self.order.tell(&self.table, &mut self.outbox);
            let end = self.kept_large();
            if let Err(malformed) = self.outgoing.rdmc.feed(&self.table, &mut self.outbox, self.post_bytes_max, end) {
                self.blame(malformed.into())?;
            }
        }
        Ok(())
    }

    /// How many large messages of mine are not cut off.
    fn kept_large(&self) -> u64 {
        let acted = self.epoch.as_ref().filter(|epoch| epoch.trimmed_ns.is_some());
        match (acted.and_then(|epoch| epoch.membership.decision()), self.own) {
            (Some(decision), Some(own)) => self.streams[own].large_below(decision.trim[own]),
            _ => u64::MAX,
        }
    }

    /// Hands out what may be delivered.
    #[inline]
    fn deliver(&mut self, upcalls: &mut impl Upcalls) -> Result<bool, Malformed> {
        let may = if upcalls.is_ready() { DELIVERIES_A_TURN_MAX } else { 0 };
        let mut left = may;
        self.order.refresh(&self.table)?;
        while let Some(run) = &self.order.next(left) {
            left -= run.count;
            self.hand_out(run, upcalls);
        }
        let any = left < may;
        if any {
            self.stats.delivery_batches += 1;
            for stream in &mut self.streams {
                stream.inbound.release();
            }
        }
        self.order.delivered(&self.table, &mut self.outbox);
        let Outgoing { rdmc, pool, .. } = &mut self.outgoing;
        if self.fill.is_some() {
            (0..self.streams.len()).for_each(|sender| rdmc.spread(sender, self.order.large_spread(sender)));
        }
        Ok(any | (rdmc.reclaim(&self.table, pool) > 0))
    }

    #[inline(always)]
    pub(super) fn hand_out(&mut self, run: &Run, upcalls: &mut impl Upcalls) {
        let Run { mut seq, sender, mut index, count } = *run;
        let (stream, end) = (&mut self.streams[sender], index + count);
        let rank = stream.inbound.sender();
        while index < end {
            match stream.inbound.take(end - index) {
                Taken::Null | Taken::Decision => (seq, index) = (seq + 1, index + 1),
                Taken::Data(payloads) => {
                    for payload in payloads {
                        self.stats.delivered += 1;
                        upcalls.deliver(Delivery { seq, sender: rank, index, payload }, &mut self.outgoing);
                        (seq, index) = (seq + 1, index + 1);
                    }
                }
                Taken::Large(_) => {
                    self.stats.delivered += 1;
                    let transfer = stream.next_large(index);
                    let block = self.outgoing.rdmc.lend(sender, transfer);
                    upcalls.deliver(Delivery { seq, sender: rank, index, payload: block.bytes() }, &mut self.outgoing);
                    self.outgoing.rdmc.restore(sender, transfer, block);
                    self.outgoing.rdmc.delivered(sender, transfer);
                    (seq, index) = (seq + 1, index + 1);
                }
            }
        }
    }

    /// Fills my turns with nulls where others wait for them, and sends what became due in this turn.
    #[inline]
    fn send_on(&mut self) -> Result<bool, Malformed> {
        let mut progress = false;
        if let Some(smc) = &mut self.outgoing.smc {
            // Room in the window is news to an application that waits for it, even if nothing is sent.
            progress |= smc.reclaim(self.order.delivered_everywhere(&self.table)?);
            // No room means that older messages of mine are on their way: the nulls are due again at the next turn.
            let _ = smc.fill(self.order.owed());
            // A decision has room, or is made again at a later turn.
            while self.order.has_decisions()
                && let room @ 1.. = smc.decisions_left()
                && self.order.decide(&self.table, room, smc.next_index(), &mut self.decision)?
                && smc.decide(&self.decision).is_ok()
            {
                // It is to be seen here too, even if nobody else is there.
                progress = true;
            }
        }
        self.mark.push(&self.table, &mut self.outbox);
        self.closing.push(&self.table, &mut self.outbox);
        Ok(progress | self.ship())
    }

    /// Whether acknowledgements of several batches are gathered while more comes in every turn: good where members
    /// share cores, for loops that call [`Group::step`]. [`Group::turn`] goes by its pace.
    pub fn gather_acknowledgements(&mut self, on: bool) {
        self.gathering.set(on);
    }

    /// One turn of the loop, and if nothing happened, a wait as `pace` says.
    ///
    /// # Errors
    /// As [`Group::step`].
    #[inline]
    pub fn turn(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<Turn, Ended> {
        self.turn_until(upcalls, pace, None)
    }

    /// As [`Group::turn`], but sleeps no longer than `until`.
    ///
    /// # Errors
    /// As [`Group::step`].
    #[inline]
    pub fn turn_until(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace, until: Option<Instant>) -> Result<Turn, Ended> {
        self.gather_acknowledgements(pace.shares_core());
        let turn = self.step(upcalls)?;
        if turn.is_busy() {
            pace.busy();
            self.give_way();
            return Ok(turn);
        }
        if pace.spins() {
            pace.pause();
            return Ok(Turn::Idle);
        }
        self.sleep(upcalls, pace, until)
    }

    /// While the first messages of a view are under way, members that share cores take turns by the block: everybody
    /// waits for the first one, which the others relay.
    #[inline]
    pub(crate) fn give_way(&self) {
        if self.outgoing.rdmc.is_young() {
            std::thread::yield_now();
        }
    }

    #[cold]
    fn sleep(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace, until: Option<Instant>) -> Result<Turn, Ended> {
        self.endpoint.arm();
        self.look_at_epoch();
        // What landed before `arm` wakes nobody: look once more.
        match self.step(upcalls) {
            Ok(Turn::Idle) => {
                self.stats.parks += 1;
                self.endpoint.park(self.epoch_due(Pace::sleep_max(until)));
                Ok(Turn::Idle)
            }
            other => {
                self.endpoint.disarm();
                pace.busy();
                other
            }
        }
    }

    /// Leaves together with all other members: turns the loop until every member wants to leave and everything I owe
    /// them is out. A collective.
    ///
    /// # Errors
    /// As [`Group::step`].
    pub fn close(mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), Ended> {
        self.closing.raise(&self.table, 1);
        loop {
            let turn = self.turn(upcalls, pace)?;
            let all = self.closing.least(&self.table) == 1;
            // What is not delivered yet would be lost.
            let idle = turn == Turn::Idle && upcalls.is_ready();
            if all && idle && self.outbox.is_empty() && !self.endpoint.backlog() {
                return Ok(());
            }
        }
    }
}
