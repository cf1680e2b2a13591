//! Where a view ends at the most that any voter has: members that have stopped give each other what they lack.
//!
//! Rings first: in them is what members lack, descriptors of large messages too. So a member that lacks a large message
//! hears of it, takes a buffer, and asks for it; how buffers are kept for that is told in `rdmc`.

use squall_membership::Mutation;
use squall_smc::Fill;
use squall_transport::{Endpoint, Rank};

use super::Group;
use crate::epoch::Epoch;
use crate::error::Ended;
use crate::outgoing::Outgoing;

impl<E: Endpoint> Group<E> {
    /// Once this member has stopped: takes in what others gave it, tells membership what it has, and gives others what
    /// they lack and this one has. Whether anything was taken or given.
    ///
    /// A learner goes on receiving, and takes too, from when all voters have stopped; it gives nothing.
    pub(super) fn fill(&mut self) -> Result<bool, Ended> {
        let Some(mut fill) = self.fill.take() else { return Ok(false) };
        let filled = self.fill_by(&mut fill);
        self.fill = Some(fill);
        filled
    }

    fn fill_by(&mut self, fill: &mut Fill) -> Result<bool, Ended> {
        if !self.has_stopped() {
            return Ok(false);
        }
        if self.epoch.as_ref().is_some_and(|epoch| epoch.mutation == Mutation::FillSkipped) {
            self.hold();
            return Ok(false);
        }
        let mut progress = false;
        if self.epoch.as_ref().is_some_and(|epoch| !epoch.membership.protocol().row().installed) {
            progress |= self.take_given(fill)?;
            progress |= self.take_given_large()?;
            self.hold();
        }
        for sender in 0..self.streams.len() {
            let position = self.position_of(sender);
            progress |= fill.say(sender, position, &self.table, &mut self.outbox);
        }
        Ok(progress | (self.view.votes(self.view.me) && self.give(fill)))
    }

    /// Whether this member has stopped, if it votes; if not, whether all voters have.
    fn has_stopped(&self) -> bool {
        let Some(epoch) = &self.epoch else { return false };
        let protocol = epoch.membership.protocol();
        if self.view.votes(self.view.me) { protocol.row().received.is_some() } else { protocol.tail().is_some() }
    }

    /// My own messages are all here, shipped or not.
    pub(super) fn see_all_of_mine(&mut self) -> Result<(), Ended> {
        if let (Some(own), Some(smc)) = (self.own, &self.outgoing.smc) {
            self.streams[own].see_own(smc.tail(), &mut self.order)?;
        }
        Ok(())
    }

    /// Position in bytes up to which the ring of this sender is here.
    fn position_of(&self, sender: usize) -> u64 {
        self.streams[sender].inbound.position()
    }

    /// Goes on receiving and accepting after this member has said what it had: a fault on purpose.
    pub(super) fn accept_late(&mut self) -> Result<(), Ended> {
        let late = |epoch: &Epoch| epoch.mutation == Mutation::WedgesLate && epoch.trimmed_ns.is_none();
        if self.epoch.as_deref().is_some_and(late) {
            self.receive()?;
            self.order.acknowledge(&self.table, &mut self.outbox, true);
        }
        Ok(())
    }

    /// Parts of rings that others gave.
    fn take_given(&mut self, fill: &Fill) -> Result<bool, Ended> {
        let Some(epoch) = &self.epoch else { return Ok(false) };
        let suspects = epoch.membership.protocol().suspects();
        let mut progress = false;
        for (sender, kept) in self.kept().into_iter().enumerate().filter(|(sender, _)| self.own != Some(*sender)) {
            let givers = (0..self.view.voters).map(Rank::new).filter(|&rank| rank != self.view.me && !suspects.has(rank));
            let stream = &mut self.streams[sender];
            let Some((position, giver)) = fill.taken(sender, &self.table, givers) else { continue };
            let before = stream.inbound.position();
            if !stream.inbound.fill(position) {
                return Err(Fill::malformed(giver, position).into());
            }
            // What a learner is given it looks at with what comes from the sender itself.
            if self.view.votes(self.view.me) {
                let Outgoing { rdmc, pool, .. } = &mut self.outgoing;
                stream.look(kept, &mut self.order, rdmc, pool, &mut self.outbox)?;
            }
            progress |= stream.inbound.position() != before;
        }
        Ok(progress)
    }

    /// Large messages that others gave. Asks for those that are lacking, each of the lowest voter that is known to have
    /// it.
    fn take_given_large(&mut self) -> Result<bool, Ended> {
        let Some(epoch) = &self.epoch else { return Ok(false) };
        let (protocol, me) = (epoch.membership.protocol(), self.view.me);
        let taken = self.outgoing.rdmc.take_given(&self.table, |giver| protocol.hears(giver));
        let mut progress = *taken.as_ref().unwrap_or(&false);
        for (sender, kept) in self.kept().into_iter().enumerate() {
            for (index, transfer) in self.streams[sender].lacks(kept) {
                let has = |rank: &Rank| *rank != me && protocol.hears(*rank) && protocol.known_of(*rank, sender) > index;
                let givers = (0..self.view.voters).map(Rank::new).filter(has);
                progress |= self.outgoing.rdmc.ask(sender, transfer, givers, &self.table, &mut self.outbox);
            }
        }
        match taken {
            Ok(_) => Ok(progress),
            Err(malformed) => self.blame(malformed.into()),
        }
    }

    /// Of each sender, the index below which large messages are to be kept, as far as is known here.
    fn kept(&self) -> Vec<u64> {
        let Some(epoch) = &self.epoch else { return Vec::new() };
        let (protocol, senders) = (epoch.membership.protocol(), 0..self.streams.len());
        let ends = protocol.ends();
        senders.map(|sender| protocol.kept_of(sender, ends.as_ref())).collect()
    }

    /// Tells membership what is here, and where this member would cut.
    fn hold(&mut self) {
        let held: Vec<u64> = (0..self.streams.len()).map(|sender| self.received(sender)).collect();
        let Some(epoch) = &mut self.epoch else { return };
        let order = &self.order;
        let cut = epoch.membership.protocol().ends().map(|ends| {
            // A large message that nobody can have delivered costs more to give than to send again: a stream ends
            // there.
            let end =
                |(sender, (&chosen, &most)): (usize, (&u64, &u64))| order.next_large(sender, chosen).map_or(most, |large| large.min(most));
            let cut = ends.chosen.iter().zip(&ends.most).enumerate().map(end).collect();
            (ends, cut)
        });
        epoch.membership.hold(held, cut);
    }

    /// Gives the others of rings what they lack and no lower member gives them. Whether there was anything.
    fn give(&mut self, fill: &mut Fill) -> bool {
        let held: Vec<u64> = (0..self.streams.len()).map(|sender| self.received(sender)).collect();
        let Some(epoch) = &self.epoch else { return false };
        let (protocol, me) = (epoch.membership.protocol(), self.view.me);
        let mut given = false;
        for to in (0..self.view.members).map(Rank::new).filter(|&to| to != me && protocol.hears(to)) {
            for (sender, &rank) in self.view.senders.iter().enumerate() {
                let lacks = rank != to && protocol.known_of(to, sender) < held[sender];
                let lower = (0..me.index()).map(Rank::new).filter(|&other| other != to && protocol.hears(other));
                let mine = lower.into_iter().all(|other| protocol.known_of(other, sender) < held[sender]);
                if lacks && mine {
                    let ring = self.table.ring(self.columns.smc.ring, sender);
                    let until = self.streams[sender].inbound.position();
                    given |= fill.give(to, sender, until, &ring, &self.table, &mut self.outbox);
                }
            }
        }
        given
    }

    /// Gives the others the large messages that they asked me for, no more in a turn than is sent in one: it has to be
    /// heard meanwhile that this member lives. Whether there was anything.
    pub(super) fn give_large(&mut self) -> Result<bool, Ended> {
        if self.fill.is_none() || !self.has_stopped() {
            return Ok(false);
        }
        let (me, mut left) = (self.view.me, self.post_bytes_max);
        for to in (0..self.view.members).map(Rank::new).filter(|&to| to != me) {
            let hears = self.epoch.as_ref().is_some_and(|epoch| epoch.membership.protocol().hears(to));
            let given = if hears { self.outgoing.rdmc.give(to, &self.table, &mut self.outbox, left) } else { Ok(0) };
            match given {
                Ok(given) => left = left.saturating_sub(given),
                Err(malformed) => drop(self.blame(malformed.into())?),
            }
        }
        self.outbox.drain(&mut self.endpoint);
        Ok(left < self.post_bytes_max)
    }
}
