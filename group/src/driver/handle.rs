//! Messages into a driver, from any thread and from any future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::DriverError;
use super::driven::Renewed;
use super::payload::Payload;
use super::queue::{Job, NotQueued, Queue};
use super::reading::{Reading, reading};
use super::ticket::{Ticket, ticket};
use crate::error::SendError;

/// Hands messages to a driver, from any thread; clone it for more of them. Messages of one handle go out in their
/// order.
///
/// Once the driver and all its handles are dropped, what was handed over is sent and the member leaves.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Outlet>);

#[derive(Debug)]
struct Outlet {
    queue: Arc<Queue>,
    waker: Renewed,
    bytes_max: u64,
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.queue.close();
        self.waker.wake();
    }
}

/// A message that was not taken, and why.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct NotTaken {
    /// The message, to be sent later.
    pub payload: Payload,
    /// Why.
    pub why: DriverError,
}

impl Handle {
    pub(crate) fn new(queue: Arc<Queue>, waker: Renewed, bytes_max: u64) -> Handle {
        Handle(Arc::new(Outlet { queue, waker, bytes_max }))
    }

    /// Sends `payload`, waiting while the queue is full. Not from within an upcall: the driver waits for those, which
    /// send by [`Outgoing`](crate::Outgoing).
    ///
    /// # Errors
    /// What ended the driver, [`DriverError::Gone`] if it was told to leave; or the message is longer than the group
    /// agreed.
    pub fn send(&self, payload: impl Into<Payload>) -> Result<Ticket, DriverError> {
        self.push(payload.into(), Queue::push_waiting).map_err(|refused| refused.why)
    }

    /// Sends `payload` unless the queue is full.
    ///
    /// # Errors
    /// [`DriverError::Full`], and as [`Handle::send`]; the message comes back.
    pub fn try_send(&self, payload: impl Into<Payload>) -> Result<Ticket, NotTaken> {
        self.push(payload.into(), Queue::push)
    }

    /// Sends `payload` from a future: takes it once there is room in the queue, and until then leaves it where it is
    /// and wakes the future when to try again.
    ///
    /// # Errors
    /// As [`Handle::send`]. The message is left where it is.
    ///
    /// # Panics
    /// If there is no message.
    pub fn poll_send(&self, context: &mut Context<'_>, payload: &mut Option<Payload>) -> Poll<Result<Ticket, DriverError>> {
        let taken = payload.take().expect("a message to send");
        match self.push(taken, |queue, job| queue.push_or_wake(job, context.waker())) {
            Ok(ticket) => Poll::Ready(Ok(ticket)),
            Err(NotTaken { payload: back, why }) => {
                *payload = Some(back);
                if matches!(why, DriverError::Full) { Poll::Pending } else { Poll::Ready(Err(why)) }
            }
        }
    }

    /// Sends `payload` from a future; its output is the [`Ticket`], which is a future too.
    pub fn send_async(&self, payload: impl Into<Payload>) -> Sending<'_> {
        Sending { handle: self, payload: Some(payload.into()) }
    }

    /// Asks for a linearizable read: see [`Reading`]. It costs one exchange with more than half of the members for all
    /// reads that come while the last one is under way, and no message. Messages that were handed over and are not
    /// delivered yet are none that it has to see: wait for their tickets first.
    ///
    /// # Errors
    /// As [`Handle::send`]; [`DriverError::Full`]: too many wait.
    pub fn read(&self) -> Result<Reading, DriverError> {
        let (reading, promise) = reading();
        self.0.queue.ask(promise)?;
        self.0.waker.wake();
        Ok(reading)
    }

    /// The longest message that the group takes, in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }

    /// Takes nothing more: the driver sends what was handed over, and leaves.
    pub(crate) fn leave(&self) {
        self.0.queue.close();
        self.0.waker.wake();
    }

    fn push(&self, payload: Payload, how: impl FnOnce(&Queue, Job) -> Result<(), NotQueued>) -> Result<Ticket, NotTaken> {
        let (bytes, max) = (payload.bytes(), self.0.bytes_max);
        if bytes > max {
            return Err(NotTaken { payload, why: SendError::TooLarge { bytes, max }.into() });
        }
        let (ticket, promise) = ticket();
        match how(&self.0.queue, Job { payload, promise }) {
            Ok(()) => {
                self.0.waker.wake();
                Ok(ticket)
            }
            Err(NotQueued::Full(job)) => Err(NotTaken { payload: job.payload, why: DriverError::Full }),
            Err(NotQueued::Over(job)) => Err(NotTaken { payload: job.payload, why: self.0.queue.why_over() }),
        }
    }
}

/// A message that waits for room in a driver's queue: see [`Handle::send_async`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Sending<'a> {
    handle: &'a Handle,
    payload: Option<Payload>,
}

impl Future for Sending<'_> {
    type Output = Result<Ticket, DriverError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = self.handle;
        handle.poll_send(context, &mut self.payload)
    }
}
