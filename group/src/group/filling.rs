//! Where a view ends at the most that any voter has: members that have stopped give each other what they lack.

use squall_membership::Mutation;
use squall_smc::Fill;
use squall_transport::{Endpoint, Rank};

use super::Group;
use crate::epoch::Epoch;
use crate::error::Ended;

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
        let Some(protocol) = self.epoch.as_ref().map(|epoch| epoch.membership.protocol()) else { return Ok(false) };
        let votes = self.view.votes(self.view.me);
        let stopped = if votes { protocol.row().received.is_some() } else { protocol.tail().is_some() };
        if !stopped {
            return Ok(false);
        }
        if self.epoch.as_ref().is_some_and(|epoch| epoch.mutation == Mutation::FillSkipped) {
            self.hold();
            return Ok(false);
        }
        let mut progress = false;
        if !protocol.row().installed {
            progress |= self.take_given(fill)?;
            self.hold();
        }
        for sender in 0..self.streams.len() {
            let position = self.position_of(sender);
            progress |= fill.say(sender, position, &self.table, &mut self.outbox);
        }
        Ok(progress | (votes && self.give(fill)))
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

    fn take_given(&mut self, fill: &Fill) -> Result<bool, Ended> {
        let votes = self.view.votes(self.view.me);
        let Some(epoch) = &self.epoch else { return Ok(false) };
        let suspects = epoch.membership.protocol().suspects();
        let mut progress = false;
        for (sender, stream) in self.streams.iter_mut().enumerate().filter(|(sender, _)| self.own != Some(*sender)) {
            let givers = (0..self.view.voters).map(Rank::new).filter(|&rank| rank != self.view.me && !suspects.has(rank));
            let Some((position, giver)) = fill.taken(sender, &self.table, givers) else { continue };
            let before = stream.inbound.position();
            let goes = match votes {
                true => stream.take_given(position, &mut self.order)?,
                // It is looked at with what comes from the sender itself.
                false => stream.inbound.fill(position),
            };
            if !goes {
                return Err(Fill::malformed(giver, position).into());
            }
            progress |= stream.inbound.position() != before;
        }
        Ok(progress)
    }

    /// Tells membership what is here, and where this member would cut.
    fn hold(&mut self) {
        let held: Vec<u64> = (0..self.streams.len()).map(|sender| self.received(sender)).collect();
        let Some(epoch) = &mut self.epoch else { return };
        let order = &self.order;
        let cut = epoch.membership.protocol().ends().map(|ends| {
            // Nobody can be given a large message: a stream ends before the first that somebody lacks.
            let end =
                |(sender, (&least, &most)): (usize, (&u64, &u64))| order.next_large(sender, least).map_or(most, |large| large.min(most));
            let cut = ends.least.iter().zip(&ends.most).enumerate().map(end).collect();
            (ends, cut)
        });
        epoch.membership.hold(held, cut);
    }

    /// Gives the others what they lack and no lower member gives them. Whether there was anything.
    fn give(&mut self, fill: &mut Fill) -> bool {
        let held: Vec<u64> = (0..self.streams.len()).map(|sender| self.received(sender)).collect();
        let Some(epoch) = &self.epoch else { return false };
        let (protocol, me) = (epoch.membership.protocol(), self.view.me);
        let mut given = false;
        for to in (0..self.view.members).map(Rank::new).filter(|&to| to != me && protocol.hears(to)) {
            for (sender, &rank) in self.view.senders.iter().enumerate() {
                let lacks = rank != to && protocol.known_of(to, sender) < held[sender];
                let lower = (0..me.index()).map(Rank::new).filter(|&other| other != to && !protocol.suspects().has(other));
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
}
