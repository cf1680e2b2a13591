//! Reads that see whatever anybody had delivered when they were asked for: see [`crate::reads`].

use squall_sst::Malformed;
use squall_transport::Endpoint;

use super::Group;
use crate::reads::{ReadMutation, ReadPoint, ReadRefused};

impl<E: Endpoint> Group<E> {
    /// Asks for a linearizable read: once [`Group::has_reached`] the point, this member has delivered whatever any
    /// member had delivered when this was called, and the application's state may be read. It costs one exchange with
    /// more than half of the members, and no message; turns of the loop move it. A point that was not reached when the
    /// view ends is looked for in the next one.
    ///
    /// ```
    /// # use squall_group::prelude::*;
    /// # struct Nothing;
    /// # impl Upcalls for Nothing { fn deliver(&mut self, _: Delivery<'_>, _: &mut Outgoing) {} }
    /// let config = Config { reads: true, ..Config::new(vec![Rank::new(0)]) };
    /// let mut alone = LocalExchange::mesh(1).remove(0);
    /// let mut group = Group::join(&config, &ShmFabric::new(), &mut alone).expect("nobody else is needed");
    /// let (mut application, mut pace) = (Nothing, Pace::for_members(1));
    /// let point = group.read_point().expect("`reads` is set, and this member votes");
    /// while !group.has_reached(point) {
    ///     group.turn(&mut application, &mut pace).expect("nobody is lost");
    /// }
    /// // Whatever is read from `application` here is as new as any answer that anybody got before.
    /// ```
    ///
    /// # Errors
    /// [`ReadRefused`]: without [`Config::reads`](crate::Config::reads), or without a vote.
    pub fn read_point(&mut self) -> Result<ReadPoint, ReadRefused> {
        let votes = self.view.votes(self.view.me);
        match &mut self.reads {
            None => Err(ReadRefused::NotConfigured),
            Some(_) if !votes => Err(ReadRefused::NoVote),
            Some(reads) => Ok(reads.numbers.ask()),
        }
    }

    /// Whether all that a read has to see is delivered here.
    pub fn has_reached(&self, point: ReadPoint) -> bool {
        self.reads.as_ref().is_some_and(|reads| reads.numbers.has_reached(point))
    }

    /// Breaks a rule of reads on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_read_mutation(&mut self, mutation: ReadMutation) {
        if let Some(reads) = &mut self.reads {
            reads.mutation = mutation;
        }
    }

    /// Asks and answers. Whether more points are reached.
    pub(super) fn read_on(&mut self) -> Result<bool, Malformed> {
        let Some(reads) = self.reads.as_mut().filter(|_| self.view.votes(self.view.me)) else { return Ok(false) };
        let reached = reads.tend(&self.table, &mut self.outbox, self.order.delivered_seq())?;
        self.outbox.drain(&mut self.endpoint);
        Ok(reached)
    }
}
