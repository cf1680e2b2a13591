//! What a driver delivers, as a stream for one other thread or future.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use squall_transport::Rank;

use super::driven::Renewed;
use crate::outgoing::Outgoing;
use crate::upcalls::{Delivery, Upcalls};
use crate::view::View;

/// Bytes and messages that may wait to be taken before the driver delivers no more. What is passed is bounded by what
/// one turn delivers.
const BYTES_MAX: usize = 16 << 20;
const MESSAGES_MAX: usize = 4096;

/// What a driver tells, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// The next message.
    Message(Message),
    /// What follows is of this view. The first thing told, where the driver began in a view.
    View(View),
}

/// A message that was delivered: a [`Delivery`] with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its position in the group's total order; in unordered mode, in this member's own deliveries.
    pub seq: u64,
    /// Who sent it, by its rank in the view that was told last.
    pub sender: Rank,
    /// Its index among its sender's messages and nulls.
    pub index: u64,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What a driver delivers, for one thread or future: it iterates, waits, or is polled as a stream. It ends once the
/// driver has; [`Driver::close`](super::Driver::close) then says why.
///
/// Take what comes: while too much waits here (16 MiB, or 4096 messages), this member delivers nothing, and after a
/// window of messages the whole group waits for it. Where the view changes, all that belongs to the old one is
/// delivered first, however much that is. To drop it is fine: nothing is kept then.
#[derive(Debug)]
pub struct Deliveries {
    shared: Arc<Shared>,
    driver: Renewed,
}

/// The upcalls of a driver whose deliveries are a stream.
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    told: Condvar,
    /// Too much waits. Looked at once a turn, without the lock.
    full: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Told>,
    bytes: usize,
    /// The driver has ended.
    over: bool,
    /// Nobody listens.
    deaf: bool,
    waker: Option<Waker>,
}

impl State {
    fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX || self.waiting.len() >= MESSAGES_MAX
    }

    fn take(&mut self) -> Option<Told> {
        let told = self.waiting.pop_front()?;
        if let Told::Message(message) = &told {
            self.bytes -= message.payload.len();
        }
        Some(told)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, told: Told) {
        let mut state = self.lock();
        if state.deaf {
            return;
        }
        if let Told::Message(message) = &told {
            state.bytes += message.payload.len();
        }
        state.waiting.push_back(told);
        // Under the lock: whoever makes room sees it.
        self.full.store(state.is_full(), Ordering::Relaxed);
        self.wake(state);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        self.told.notify_one();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Upcalls, and what they tell.
pub(crate) fn deliveries(driver: Renewed, view: &View) -> (Feed, Deliveries) {
    let shared = Arc::new(Shared::default());
    if view.is_mine() {
        shared.tell(Told::View(view.clone()));
    }
    (Feed { shared: Arc::clone(&shared) }, Deliveries { shared, driver })
}

impl Upcalls for Feed {
    #[inline]
    fn is_ready(&mut self) -> bool {
        !self.shared.full.load(Ordering::Relaxed)
    }

    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let Delivery { seq, sender, index, payload } = delivery;
        self.shared.tell(Told::Message(Message { seq, sender, index, payload: payload.to_vec() }));
    }

    fn view_installed(&mut self, view: &View) {
        self.shared.tell(Told::View(view.clone()));
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        self.shared.wake(state);
    }
}

impl Deliveries {
    /// What is there already; `None`: nothing now, or nothing any more.
    pub fn try_next(&mut self) -> Option<Told> {
        let mut state = self.shared.lock();
        let told = state.take();
        self.make_room(&state);
        told
    }

    /// What comes next, as a stream is polled: wakes the future when to look again. `None`: the driver has ended.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Told>> {
        let mut state = self.shared.lock();
        let told = state.take();
        if told.is_none() && !state.over {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        self.make_room(&state);
        Poll::Ready(told)
    }

    /// A future of what comes next; `None`: the driver has ended. Dropped, it takes nothing.
    pub fn next_async(&mut self) -> NextTold<'_> {
        NextTold(self)
    }

    /// Called with the lock held. The driver goes on once half of what may wait was taken, not at every message.
    fn make_room(&self, state: &State) {
        let roomy = 2 * state.bytes <= BYTES_MAX && 2 * state.waiting.len() <= MESSAGES_MAX;
        if roomy && self.shared.full.swap(false, Ordering::Relaxed) {
            self.driver.wake();
        }
    }
}

/// Waits for each; ends when the driver has.
impl Iterator for Deliveries {
    type Item = Told;

    fn next(&mut self) -> Option<Told> {
        let mut state = self.shared.lock();
        loop {
            let told = state.take();
            if told.is_some() || state.over {
                self.make_room(&state);
                return told;
            }
            state = self.shared.told.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.deaf = true;
        state.waiting.clear();
        state.bytes = 0;
        self.make_room(&state);
    }
}

/// What comes next of a driver's deliveries: see [`Deliveries::next_async`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct NextTold<'a>(&'a mut Deliveries);

impl Future for NextTold<'_> {
    type Output = Option<Told>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_next(context)
    }
}
