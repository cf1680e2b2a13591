//! How a group goes from one view to the next.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use squall_membership::{Decision, Membership, Mutation, Newcomer, Phase, Ranks, Witness, reaches};
use squall_smc::Taken;
use squall_transport::{Endpoint, Rank};

use super::Group;
use crate::epoch::Clock;
use crate::error::{Ended, JoinRefused};
use crate::outgoing::{Cut, State};
use crate::turn::Turn;
use crate::upcalls::Upcalls;
use crate::view::View;

/// Turns between two looks at the clock and the others' rows; whoever is about to sleep looks once more.
const LOOK_EVERY: u64 = 32;

impl<E: Endpoint> Group<E> {
    /// The view that follows, once this one is over at every member that stays: go on by [`Group::install`].
    pub fn next_view(&self) -> Option<&View> {
        self.epoch.as_ref().and_then(|epoch| epoch.next.as_ref())
    }

    /// Whether this view is about to end.
    #[inline]
    pub fn is_changing(&self) -> bool {
        self.epoch.as_ref().is_some_and(|epoch| epoch.wedged)
    }

    /// When this member stopped in this view, and when it had delivered all of it, in nanoseconds of the time that
    /// steps are given, or since the clock was first looked at.
    pub fn change_times_ns(&self) -> (Option<u64>, Option<u64>) {
        self.epoch.as_ref().map_or((None, None), |epoch| (epoch.wedged_ns, epoch.trimmed_ns))
    }

    /// From here on it looks at the clock itself, and counts from `origin`.
    pub(crate) fn keep_time(&mut self, origin: Instant) {
        if let Some(epoch) = &mut self.epoch {
            epoch.clock = Clock::Own(OnceCell::from(origin));
        }
    }

    /// The state of membership in this epoch, for traces; `None` if the members never change.
    pub fn membership(&self) -> Option<&Membership> {
        self.epoch.as_ref().map(|epoch| &epoch.membership)
    }

    /// As [`Group::step`], at a time in nanoseconds that the caller gives, in any monotone time of its own.
    ///
    /// # Errors
    /// As [`Group::step`].
    pub fn step_at(&mut self, now_ns: u64, upcalls: &mut impl Upcalls) -> Result<Turn, Ended> {
        if let Some(epoch) = &mut self.epoch {
            epoch.clock = Clock::Given(now_ns);
            epoch.look = true;
        }
        self.step(upcalls)
    }

    /// When the next step is due even if nothing lands, in nanoseconds of the time that steps are given, or since the
    /// clock was first looked at.
    pub fn due_ns(&self) -> Option<u64> {
        self.epoch.as_ref().map(|epoch| epoch.membership.next_ns())
    }

    /// Asks for a newcomer to become a member. Asking again changes nothing.
    ///
    /// # Errors
    /// [`JoinRefused`].
    pub fn request(&mut self, newcomer: Newcomer) -> Result<(), JoinRefused> {
        let Some(epoch) = &mut self.epoch else { return Err(JoinRefused::Fixed) };
        let waiting = epoch.membership.protocol().requests();
        if waiting.iter().any(|waits| waits.node == newcomer.node) {
            return Ok(());
        }
        epoch.room_for(&self.view, waiting, newcomer)?;
        Ok(epoch.membership.request(newcomer)?)
    }

    /// Whether there are buffers for this newcomer, as the view is now.
    pub(crate) fn room_for(&self, newcomer: Newcomer) -> Result<(), JoinRefused> {
        self.epoch.as_ref().map_or(Ok(()), |epoch| epoch.room_for(&self.view, &[], newcomer))
    }

    /// Wants to leave: the group goes on without this member, whose [`Group::step`] says [`Turn::Left`] once nobody
    /// needs it any more. The last member that votes stays while others learn or ask to join, until one of them votes,
    /// but no longer than [`Timeouts::leave`](crate::Timeouts::leave): then it ends with [`Ended::LastLeft`]. Where the
    /// members never change it does nothing: use [`Group::close`].
    pub fn leave(&mut self) {
        self.leave_after(0);
    }

    /// The same, having waited for so long already.
    pub(crate) fn leave_after(&mut self, waited_ns: u64) {
        if let Some(epoch) = &mut self.epoch {
            epoch.membership.leave_after(waited_ns);
        }
    }

    /// Leaves, even if it takes the group's state with it.
    pub fn insist_on_leaving(&mut self) {
        if let Some(epoch) = &mut self.epoch {
            epoch.membership.insist_on_leaving();
        }
    }

    /// Suspects a member, for a reason of the application's own.
    pub fn suspect(&mut self, member: Rank) {
        if let Some(epoch) = &mut self.epoch {
            epoch.membership.suspect(member);
        }
    }

    /// Whether this is one of two members, has lost the other, and can go on only if a witness sides with it
    /// ([`Group::hear_witness`]). The witness must side with one member of a view at most, ever.
    pub fn needs_witness(&self) -> bool {
        self.epoch.as_ref().is_some_and(|epoch| epoch.membership.phase() == Phase::Split)
    }

    /// From now on somebody asks a witness when [`Group::needs_witness`] says so, and passes on what it said. Without
    /// that, one of two members that has lost the other stops: [`Ended::NoWitness`].
    pub fn promise_witness(&mut self) {
        if let Some(epoch) = &mut self.epoch {
            epoch.hears_witness = true;
        }
    }

    /// Votes and joins wait for so long: [`Membership::rest_for`].
    pub(crate) fn rest_for(&mut self, rest_ns: u64) {
        if let Some(epoch) = &mut self.epoch {
            epoch.membership.rest_for(rest_ns);
        }
    }

    /// What the witness said. Heeded only where it was asked for.
    pub fn hear_witness(&mut self, witness: Witness) {
        if let Some(epoch) = &mut self.epoch {
            epoch.membership.hear_witness(witness);
        }
    }

    /// Breaks a rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_mutation(&mut self, mutation: Mutation) {
        if let Some(epoch) = &mut self.epoch {
            epoch.membership.set_mutation(mutation);
            epoch.mutation = mutation;
        }
        if mutation == Mutation::TakesUngiven {
            self.outgoing.rdmc.set_mutation(squall_rdmc::Mutation::TakesUngiven);
        }
    }

    /// Breaks a rule of the order on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_order_mutation(&mut self, mutation: squall_orderer::Mutation) {
        self.order.set_mutation(mutation);
    }

    /// Steps the membership if it is time, and does what it asks for. Whether messages go on, and whether anything
    /// changed.
    #[inline]
    pub(super) fn tend_epoch(&mut self, lost: bool, upcalls: &mut impl Upcalls) -> Result<(bool, bool), Ended> {
        let turns = self.stats.turns;
        let Some(epoch) = &mut self.epoch else { return Ok((true, false)) };
        if !lost && !epoch.wedged && !epoch.look && !turns.is_multiple_of(LOOK_EVERY) {
            return Ok((true, false));
        }
        epoch.look = false;
        let mut progress = false;
        while self.change(upcalls)? {
            progress = true;
        }
        progress |= self.give_large()?;
        let again = self.send_again(upcalls);
        self.watch_learners();
        let goes_on = self.epoch.as_ref().is_some_and(|epoch| !epoch.wedged);
        Ok((goes_on, progress | again))
    }

    /// The next thing that membership has to do. Whether something changed, so that there may be more.
    fn change(&mut self, upcalls: &mut impl Upcalls) -> Result<bool, Ended> {
        let Some(epoch) = &mut self.epoch else { return Ok(false) };
        if epoch.next.is_some() {
            return Ok(false);
        }
        if !self.view.votes(self.view.me) {
            self.learn();
        }
        let filled = if self.fill.is_some() { self.fill()? } else { false };
        let Some(epoch) = &mut self.epoch else { return Ok(false) };
        let now_ns = epoch.clock.now_ns();
        let progress = epoch.membership.step(now_ns, &self.table, &mut self.outbox) | filled;
        if let Some(malformed) = epoch.membership.protocol().blamed() {
            self.blamed.get_or_insert(malformed.into());
        }
        self.outbox.drain(&mut self.endpoint);
        match epoch.membership.phase() {
            Phase::Steady => Ok(progress),
            Phase::Split if !epoch.hears_witness => Err(Ended::NoWitness),
            Phase::Split => {
                self.stop_messages();
                Ok(progress)
            }
            Phase::Wedging => {
                self.wedge();
                Ok(true)
            }
            Phase::Wedged => Ok(progress),
            Phase::Decided => {
                let decision = epoch.membership.decision().cloned().expect("the phase says so");
                if !self.view.votes(self.view.me) && !self.has_all_below(&decision.trim)? {
                    return Ok(progress);
                }
                self.act_on(&decision, upcalls)?;
                Ok(true)
            }
            Phase::Installed => {
                if self.may_leave() {
                    self.leave_view()
                } else {
                    Ok(progress)
                }
            }
            Phase::Stopped(stop) => Err(stop.into()),
        }
    }

    /// What a learner tells the voters: that it has the state, and, once they have wedged, that it has received what
    /// they will deliver.
    fn learn(&mut self) {
        let Some(epoch) = &mut self.epoch else { return };
        if self.held.is_none() || epoch.mutation == Mutation::WholeEarly {
            epoch.membership.say_whole();
        }
        let protocol = epoch.membership.protocol();
        // Where members give each other what they lack nobody can tell yet how much that will be.
        let until_cut = self.fill.is_some() && protocol.decision().is_none();
        if let Some(tail) = protocol.tail()
            && !protocol.row().received.as_ref().is_some_and(|said| reaches(said, &tail))
        {
            let rdmc = &self.outgoing.rdmc;
            let received: Vec<u64> = self.streams.iter_mut().map(|stream| stream.frontier(rdmc)).collect();
            if until_cut || reaches(&received, &tail) {
                epoch.membership.reach(received);
            }
        }
    }

    /// Whether this learner has received what is to be delivered in the view that ends. It goes on receiving until
    /// then, while the senders are there.
    fn has_all_below(&mut self, trim: &[u64]) -> Result<bool, Ended> {
        self.receive()?;
        for (sender, end) in trim.iter().enumerate() {
            if self.received(sender) < *end {
                let rank = self.view.senders[sender];
                let lost = self.membership().is_some_and(|membership| membership.protocol().suspects().has(rank));
                return if lost || self.endpoint.is_gone(rank) { Err(Ended::Stranded { sender: rank }) } else { Ok(false) };
            }
        }
        Ok(true)
    }

    /// Ends the view as decided.
    fn act_on(&mut self, decision: &Decision, upcalls: &mut impl Upcalls) -> Result<(), Ended> {
        let Some(epoch) = &mut self.epoch else { return Ok(()) };
        epoch.membership.install();
        let senders_max = if epoch.mutation == Mutation::SubstitutesCrowd { usize::MAX } else { epoch.senders_max };
        let next = self.view.after(decision, epoch.membership.protocol().lost(), senders_max);
        let ended = match self.held.take() {
            None => self.end_view(decision, next, upcalls),
            Some(mut held) => {
                let ended = self.end_view(decision, next, held.as_mut());
                self.held = Some(held);
                ended
            }
        };
        // A learner does not wedge before.
        self.stop_messages();
        ended
    }

    /// A learner that alone keeps this sender's window full for too long is suspected: its removal costs less than
    /// waiting for it. Whoever has caught up in between begins anew, even if nothing was to be sent then.
    fn watch_learners(&mut self) {
        let is_full = std::mem::take(&mut self.outgoing.was_full);
        let Some((before, since_ns)) = self.epoch.as_ref().map(|epoch| epoch.leash) else { return };
        if self.view.voters == self.view.members || (!is_full && before.is_empty()) {
            return;
        }
        let slow = self.who_keeps_the_window_full();
        let Some(epoch) = &mut self.epoch else { return };
        let (running_ns, patience) = (epoch.membership.running_ns(), epoch.membership.timeouts().learner);
        let still: Ranks = before.iter().filter(|&learner| slow.has(learner)).collect();
        if still.is_empty() {
            epoch.leash = (if is_full { slow } else { Ranks::EMPTY }, running_ns);
        } else if is_full && Duration::from_nanos(running_ns - since_ns) > patience {
            still.iter().for_each(|learner| epoch.membership.suspect(learner));
            epoch.look = true;
        } else {
            epoch.leash = (still, since_ns);
        }
    }

    /// Learners but for which my window would be half as full, or whose copy of a large message is the last one on its
    /// way.
    fn who_keeps_the_window_full(&self) -> Ranks {
        let Some(smc) = &self.outgoing.smc else { return Ranks::EMPTY };
        let delivered = |rank: usize| self.order.delivered_at(&self.table, Rank::new(rank));
        let by_voters = (0..self.view.voters).map(delivered).min().unwrap_or(0);
        let lags = |&rank: &usize| 2 * by_voters.saturating_sub(delivered(rank)) > smc.next_index() - delivered(rank);
        let learners = (self.view.voters..self.view.members).filter(lags).map(Rank::new);
        learners.chain(self.outgoing.rdmc.held_up_by(&self.table)).collect()
    }

    /// Stops sending, receiving and delivering.
    fn stop_messages(&mut self) {
        if let Some(epoch) = &mut self.epoch {
            epoch.wedged = true;
        }
        self.outgoing.state = State::Closed;
    }

    /// Freezes what was received, and says it.
    fn wedge(&mut self) {
        self.stop_messages();
        if let Some(epoch) = &mut self.epoch {
            epoch.wedged_ns = Some(epoch.clock.now_ns());
        }
        if self.fill.is_some()
            && let Err(ended) = self.see_all_of_mine()
        {
            self.blamed.get_or_insert(ended);
        }
        let rdmc = &self.outgoing.rdmc;
        let received = self.streams.iter_mut().map(|stream| stream.frontier(rdmc)).collect();
        // Where order is total, what was delivered here every voter had said to have.
        let delivered = self.order.is_total().then(|| self.handed_out());
        if let Some(epoch) = &mut self.epoch {
            delivered.into_iter().for_each(|delivered| epoch.membership.say_delivered(delivered));
            epoch.membership.freeze(received);
        }
    }

    /// Delivers what is left of the view, and tells the application what is cut off.
    fn end_view(&mut self, decision: &Decision, next: Option<View>, upcalls: &mut impl Upcalls) -> Result<(), Ended> {
        while let Some(run) = self.order.next_to(&decision.trim) {
            self.hand_out(&run, upcalls);
        }
        if self.order.is_total() {
            self.cut_own(upcalls)?;
        }
        upcalls.view_ended(next.as_ref());
        if let Some(epoch) = &mut self.epoch {
            epoch.left = next.is_none();
            epoch.trimmed_ns = Some(epoch.clock.now_ns());
            epoch.ending = next;
        }
        Ok(())
    }

    /// My own messages behind the trim, which nobody delivers: kept, to be sent again.
    fn cut_own(&mut self, upcalls: &mut impl Upcalls) -> Result<(), Ended> {
        let (Some(own), Some(smc)) = (self.own, &self.outgoing.smc) else { return Ok(()) };
        let (stream, rdmc) = (&mut self.streams[own], &mut self.outgoing.rdmc);
        stream.inbound.see_own(smc.tail(), |_, _, _| ())?;
        // What the last view cut off and this one had no room for yet stays behind what was sent in this one.
        let mut again = VecDeque::new();
        while stream.inbound.taken() < stream.inbound.seen() {
            let index = stream.inbound.taken();
            match stream.inbound.take(1) {
                Taken::Null | Taken::Decision => continue,
                Taken::Data(payloads) => again.extend(payloads.map(|payload| Cut::Small(payload.to_vec()))),
                Taken::Large(_) => again.push_back(Cut::Large(rdmc.withdraw(stream.next_large(index)))),
            }
            upcalls.cut(index);
        }
        if self.epoch.as_ref().is_some_and(|epoch| epoch.mutation == Mutation::AgainForgotten) {
            self.outgoing.again.clear();
        }
        again.append(&mut self.outgoing.again);
        self.outgoing.again = again;
        Ok(())
    }

    /// Whether nobody needs this view any more. My last words in it are on their way before anything here ends: who has
    /// yet to hear them would wait for my silence.
    fn may_leave(&mut self) -> bool {
        let Some(epoch) = &mut self.epoch else { return false };
        self.endpoint.flush();
        let others = (0..self.view.members).map(Rank::new).filter(|&rank| rank != self.view.me);
        epoch.membership.note_backlog(others.filter(|&rank| self.endpoint.backlog_to(rank)).collect());
        let heard = epoch.membership.is_settled() && !epoch.membership.is_behind(&self.outbox);
        heard || epoch.mutation == Mutation::LeavesUnheard
    }

    /// Goes from this view, to the next one if this member is in it.
    fn leave_view(&mut self) -> Result<bool, Ended> {
        let Some(epoch) = &mut self.epoch else { return Ok(false) };
        if epoch.left {
            let decision = epoch.membership.decision().filter(|decision| decision.voters == 0);
            let learners = decision.map_or(0, |decision| decision.members.len());
            return Err(if learners == 0 { Ended::Closed } else { Ended::LastLeft { learners } });
        }
        epoch.next = epoch.ending.take();
        Ok(true)
    }

    /// Sends first what the last view cut off.
    fn send_again(&mut self, upcalls: &mut impl Upcalls) -> bool {
        let wedged = self.epoch.as_ref().is_some_and(|epoch| epoch.wedged);
        if wedged || self.outgoing.again.is_empty() {
            return false;
        }
        let progress = self.outgoing.send_again(|index| upcalls.sent_again(index));
        if self.outgoing.again.is_empty() {
            self.outgoing.state = State::Open;
        }
        progress
    }

    /// How long to sleep, given that membership wants to be stepped now and then.
    pub(super) fn epoch_due(&self, longest: Duration) -> Duration {
        self.epoch.as_ref().map_or(longest, |epoch| {
            let left_ns = epoch.membership.next_ns().saturating_sub(epoch.clock.now_ns());
            longest.min(Duration::from_nanos(left_ns))
        })
    }

    /// Whoever is about to sleep looks at the clock and the rows first.
    pub(crate) fn look_at_epoch(&mut self) {
        if let Some(epoch) = &mut self.epoch {
            epoch.look = true;
        }
    }
}
