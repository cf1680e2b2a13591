//! Threads of one measurement: one that cannot be started is an error, and those that wait for it end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};

use anyhow::Context;

/// Starts a thread of `scope`.
///
/// # Errors
/// What the system says, with the limits to raise.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> anyhow::Result<ScopedJoinHandle<'scope, T>> {
    let started = thread::Builder::new().spawn_scoped(scope, work);
    started.context("cannot start a thread; raise the limit of processes (`ulimit -u`, or pids.max of the control group)")
}

/// Raises a flag when it is dropped, however that comes about: threads that spin until then do not spin for ever.
#[derive(Debug)]
pub struct RaisedAtEnd<'a>(pub &'a AtomicBool);

impl Drop for RaisedAtEnd<'_> {
    fn drop(&mut self) {
        // Relaxed: the flag publishes nothing but itself.
        self.0.store(true, Ordering::Relaxed);
    }
}
