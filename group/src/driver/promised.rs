//! Something that the driver's thread will tell once: wait for it, look at it, or poll it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What is going to be told.
#[derive(Debug)]
pub(crate) struct Promised<T>(Arc<Shared<T>>);

/// The other end. One that is dropped tells what was agreed on for that case.
#[derive(Debug)]
pub(crate) struct Promise<T: Copy> {
    shared: Arc<Shared<T>>,
    otherwise: T,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    told: Condvar,
}

#[derive(Debug)]
struct State<T> {
    told: Option<T>,
    waker: Option<Waker>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends; `otherwise` is told if nothing else is.
pub(crate) fn promised<T: Copy>(otherwise: T) -> (Promised<T>, Promise<T>) {
    let shared = Arc::new(Shared { state: Mutex::new(State { told: None, waker: None }), told: Condvar::new() });
    (Promised(Arc::clone(&shared)), Promise { shared, otherwise })
}

impl<T: Copy> Promise<T> {
    pub(crate) fn tell(self, what: T) {
        self.say(what);
    }

    fn say(&self, what: T) {
        let mut state = self.shared.lock();
        if state.told.is_none() {
            state.told = Some(what);
            let waker = state.waker.take();
            drop(state);
            self.shared.told.notify_all();
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl<T: Copy> Drop for Promise<T> {
    fn drop(&mut self) {
        self.say(self.otherwise);
    }
}

impl<T: Copy> Promised<T> {
    /// What was told, if it was by now.
    pub(crate) fn told(&self) -> Option<T> {
        self.0.lock().told
    }

    pub(crate) fn wait(&self) -> T {
        let mut state = self.0.lock();
        loop {
            if let Some(what) = state.told {
                return what;
            }
            state = self.0.told.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock();
        match state.told {
            Some(what) => Poll::Ready(what),
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
        let (kept, promise) = promised(0);
        assert_eq!(kept.told(), None);
        promise.tell(7);
        assert_eq!((kept.told(), kept.wait()), (Some(7), 7), "not what dropping it would say");
        let (broken, promise) = promised(0);
        let waits = std::thread::spawn(move || broken.wait());
        drop(promise);
        assert_eq!(waits.join().unwrap(), 0);
    }
}
