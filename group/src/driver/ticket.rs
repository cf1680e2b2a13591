//! What became of a message that was handed to a driver.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::promised::{self, Promised, promised};
use crate::error::SendError;

/// What became of one message that was handed to a driver: wait for it, look at it, await it (it is a [`Future`]), or
/// drop it.
///
/// A message counts as delivered once it is delivered at this member. Where order is total, every member that goes on
/// delivers it then, at the same place; in unordered mode that is no more than this member's own.
#[derive(Debug)]
pub struct Ticket(Promised<Result<Receipt, Undelivered>>);

/// Where a message came in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Receipt {
    /// Its position in the group's total order, in the view that delivered it; in unordered mode, in this member's own
    /// deliveries.
    pub seq: u64,
    /// Its index among this member's messages and nulls in that view.
    pub index: u64,
}

/// Why a message is not known to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Undelivered {
    /// It was never sent.
    #[error("the message was not sent: {0}")]
    Refused(SendError),
    /// This member's part in the group was over first. If the message had left, others may deliver it all the same.
    #[error("the driver ended before the message was delivered here; other members may deliver it; `Driver::close` says why it ended")]
    Unknown,
}

/// The other end of a ticket. One that is dropped says [`Undelivered::Unknown`].
pub(crate) type Promise = promised::Promise<Result<Receipt, Undelivered>>;

/// A ticket and its promise.
pub(crate) fn ticket() -> (Ticket, Promise) {
    let (ticket, promise) = promised(Err(Undelivered::Unknown));
    (Ticket(ticket), promise)
}

impl Ticket {
    /// What became of it, if that is known by now.
    pub fn result(&self) -> Option<Result<Receipt, Undelivered>> {
        self.0.told()
    }

    /// Waits until it is known. Not from within an upcall: the driver waits for those.
    ///
    /// # Errors
    /// [`Undelivered`].
    pub fn wait(self) -> Result<Receipt, Undelivered> {
        self.0.wait()
    }
}

impl Future for Ticket {
    type Output = Result<Receipt, Undelivered>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}
