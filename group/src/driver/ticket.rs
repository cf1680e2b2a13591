//! What became of a message that was handed to a driver.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::SendError;

/// What became of one message that was handed to a driver: wait for it, look at it, await it (it is a [`Future`]), or
/// drop it.
///
/// A message counts as delivered once it is delivered at this member. Where order is total, every member that goes on
/// delivers it then, at the same place; in unordered mode that is no more than this member's own.
#[derive(Debug)]
pub struct Ticket(Arc<Shared>);

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
#[derive(Debug)]
pub(crate) struct Promise(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    result: Option<Result<Receipt, Undelivered>>,
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A ticket and its promise.
pub(crate) fn ticket() -> (Ticket, Promise) {
    let shared = Arc::new(Shared::default());
    (Ticket(Arc::clone(&shared)), Promise(shared))
}

impl Promise {
    pub(crate) fn tell(self, result: Result<Receipt, Undelivered>) {
        self.say(result);
    }

    fn say(&self, result: Result<Receipt, Undelivered>) {
        let mut state = self.0.lock();
        if state.result.is_none() {
            state.result = Some(result);
            let waker = state.waker.take();
            drop(state);
            self.0.told.notify_all();
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.say(Err(Undelivered::Unknown));
    }
}

impl Ticket {
    /// What became of it, if that is known by now.
    pub fn result(&self) -> Option<Result<Receipt, Undelivered>> {
        self.0.lock().result
    }

    /// Waits until it is known. Not from within an upcall: the driver waits for those.
    ///
    /// # Errors
    /// [`Undelivered`].
    pub fn wait(self) -> Result<Receipt, Undelivered> {
        let mut state = self.0.lock();
        loop {
            if let Some(result) = state.result {
                return result;
            }
            state = self.0.told.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Future for Ticket {
    type Output = Result<Receipt, Undelivered>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match state.result {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_kept_once_and_broken_by_dropping_it() {
        let receipt = Receipt { seq: 7, index: 3 };
        let (kept, promise) = ticket();
        assert_eq!(kept.result(), None);
        promise.tell(Ok(receipt));
        assert_eq!((kept.result(), kept.wait()), (Some(Ok(receipt)), Ok(receipt)), "not what dropping it would say");
        let (broken, promise) = ticket();
        let waits = std::thread::spawn(move || broken.wait());
        drop(promise);
        assert_eq!(waits.join().unwrap(), Err(Undelivered::Unknown));
    }
}
