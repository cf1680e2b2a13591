//! Messages between handles and the driver's thread: bounded by number and by bytes, and never a wait for the thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::DriverError;
use super::payload::Payload;
use super::reading;
use super::ticket::Promise;

/// Messages that may wait.
const MESSAGES_MAX: usize = 1024;
/// Bytes of messages that may wait; a single message may have more.
const BYTES_MAX: u64 = 64 << 20;
/// Reads that may wait to be asked for: all of them cost one exchange.
const READS_MAX: usize = 1024;

/// A message, and whom to tell what became of it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) payload: Payload,
    pub(crate) promise: Promise,
}

/// Why a message was not queued; the job comes back.
#[derive(Debug)]
pub(crate) enum NotQueued {
    Full(Job),
    Over(Job),
}

/// What the thread is to do next.
#[derive(Debug)]
pub(crate) enum Next {
    Send(Job),
    Nothing,
    /// All that was handed over is sent, and no more will be: leave.
    Leave,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    room: Condvar,
    /// Reads wait. Looked at once a turn, without the lock.
    has_reads: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: u64,
    reads: Vec<reading::Promise>,
    /// Nothing more is taken.
    closed: bool,
    /// What ended the thread, once it has ended.
    ended: Option<DriverError>,
    /// Futures that wait for room.
    wakers: Vec<Waker>,
}

impl State {
    fn push(&mut self, job: Job) -> Result<(), NotQueued> {
        if self.closed {
            return Err(NotQueued::Over(job));
        }
        let bytes = job.payload.bytes();
        let fits = self.jobs.len() < MESSAGES_MAX && self.bytes.saturating_add(bytes) <= BYTES_MAX;
        if !fits && !self.jobs.is_empty() {
            return Err(NotQueued::Full(job));
        }
        self.bytes += bytes;
        self.jobs.push_back(job);
        Ok(())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, job: Job) -> Result<(), NotQueued> {
        self.lock().push(job)
    }

    /// As [`Queue::push`]; where it is full `waker` is told once there is room again, or it is over.
    pub(crate) fn push_or_wake(&self, job: Job, waker: &Waker) -> Result<(), NotQueued> {
        let mut state = self.lock();
        state.push(job).inspect_err(|refused| {
            if matches!(refused, NotQueued::Full(_)) && !state.wakers.iter().any(|waits| waits.will_wake(waker)) {
                state.wakers.push(waker.clone());
            }
        })
    }

    /// As [`Queue::push`]; waits while it is full.
    pub(crate) fn push_waiting(&self, mut job: Job) -> Result<(), NotQueued> {
        let mut state = self.lock();
        loop {
            match state.push(job) {
                Err(NotQueued::Full(refused)) => job = refused,
                other => return other,
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whoever waits for the promise hears of it, unless too many do, or it is over.
    pub(crate) fn ask(&self, promise: reading::Promise) -> Result<(), DriverError> {
        let mut state = self.lock();
        if state.closed {
            return Err(state.ended.clone().unwrap_or(DriverError::Gone));
        }
        if state.reads.len() >= READS_MAX {
            return Err(DriverError::Full);
        }
        state.reads.push(promise);
        // Under the lock: whoever takes them sees all of them.
        self.has_reads.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The reads that wait; empty where there are none.
    pub(crate) fn take_reads(&self) -> Vec<reading::Promise> {
        if !self.has_reads.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut state = self.lock();
        self.has_reads.store(false, Ordering::Relaxed);
        std::mem::take(&mut state.reads)
    }

    pub(crate) fn next(&self) -> Next {
        let mut state = self.lock();
        let Some(job) = state.jobs.pop_front() else {
            return if state.closed && state.reads.is_empty() { Next::Leave } else { Next::Nothing };
        };
        state.bytes -= job.payload.bytes();
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.room.notify_all();
        wakers.into_iter().for_each(Waker::wake);
        Next::Send(job)
    }

    /// Takes nothing more. What waits is still to be sent.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.room.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes nothing more, and sends nothing more, for this reason.
    pub(crate) fn end(&self, why: DriverError) {
        self.lock().ended = Some(why);
        self.close();
        let mut state = self.lock();
        let dropped = (std::mem::take(&mut state.jobs), std::mem::take(&mut state.reads));
        drop(state);
        drop(dropped);
    }

    /// Why nothing more is taken, once that is so.
    pub(crate) fn why_over(&self) -> DriverError {
        self.lock().ended.clone().unwrap_or(DriverError::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ticket::{Undelivered, ticket};
    use super::*;

    fn job(bytes: u64) -> Job {
        Job { payload: Payload::filled_by(bytes, |_| {}), promise: ticket().1 }
    }

    #[test]
    fn it_is_bounded_by_messages_and_by_bytes_but_takes_any_single_message() {
        let queue = Queue::default();
        queue.push(job(BYTES_MAX + 1)).expect("it is empty");
        assert!(matches!(queue.push(job(0)), Err(NotQueued::Full(_))));
        assert!(matches!(queue.next(), Next::Send(_)));
        for _ in 0..MESSAGES_MAX {
            queue.push(job(1)).expect("there is room");
        }
        assert!(matches!(queue.push(job(1)), Err(NotQueued::Full(_))));
    }

    #[test]
    fn what_was_handed_over_before_the_close_is_sent_and_nothing_after() {
        let queue = Queue::default();
        queue.push(job(1)).expect("there is room");
        queue.close();
        assert!(matches!(queue.push_waiting(job(1)), Err(NotQueued::Over(_))));
        assert!(matches!(queue.next(), Next::Send(_)) && matches!(queue.next(), Next::Leave));
    }

    #[test]
    fn an_end_breaks_all_promises() {
        let (queue, (ticket, promise)) = (Queue::default(), ticket());
        queue.push(Job { payload: b"late".into(), promise }).expect("there is room");
        queue.end(DriverError::Gone);
        assert_eq!(ticket.result(), Some(Err(Undelivered::Unknown)));
    }
}
