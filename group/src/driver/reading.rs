//! Linearizable reads through a driver.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::driven::sealed::Driven;
use super::promised::{self, Promised, promised};
use crate::reads::{ReadPoint, ReadRefused};

/// A read that was asked for by [`Handle::read`](super::Handle::read): wait for it, look at it, or await it (it is a
/// [`Future`]). Once it is `Ok`, this member has delivered whatever any member had delivered when it was asked for.
///
/// Upcalls have made all of that by then. Of [`Deliveries`](super::Deliveries) it is all in the stream: take what is
/// there ([`try_next`](super::Deliveries::try_next), until there is no more), and look at the state then.
#[derive(Debug)]
pub struct Reading(Promised<Result<(), Unread>>);

/// Why nothing may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unread {
    /// It cannot be asked for here.
    #[error(transparent)]
    Refused(ReadRefused),
    /// This member's part in the group was over first.
    #[error("the driver ended before the read had its point; `Driver::close` says why it ended; read at another member")]
    Over,
}

/// The other end of a reading. One that is dropped says [`Unread::Over`].
pub(crate) type Promise = promised::Promise<Result<(), Unread>>;

/// A reading and its promise.
pub(crate) fn reading() -> (Reading, Promise) {
    let (reading, promise) = promised(Err(Unread::Over));
    (Reading(reading), promise)
}

impl Reading {
    /// Whether it may be read, if that is known by now.
    pub fn result(&self) -> Option<Result<(), Unread>> {
        self.0.told()
    }

    /// Waits until it may be read. Not from within an upcall: the driver waits for those.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn wait(self) -> Result<(), Unread> {
        self.0.wait()
    }
}

impl Future for Reading {
    type Output = Result<(), Unread>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

/// Reads that are under way, in the order of their points.
#[derive(Debug, Default)]
pub(crate) struct Readers(VecDeque<(ReadPoint, Vec<Promise>)>);

impl Readers {
    /// One point for all that came together.
    pub(crate) fn ask(&mut self, driven: &mut impl Driven, together: Vec<Promise>) {
        match driven.read_point() {
            Ok(point) => self.0.push_back((point, together)),
            Err(refused) => together.into_iter().for_each(|promise| promise.tell(Err(Unread::Refused(refused)))),
        }
    }

    /// Tells those whose points are reached.
    pub(crate) fn look(&mut self, driven: &impl Driven) {
        while self.0.front().is_some_and(|(point, _)| driven.has_reached(*point)) {
            let reached = self.0.pop_front().into_iter().flat_map(|(_, together)| together);
            reached.for_each(|promise| promise.tell(Ok(())));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
