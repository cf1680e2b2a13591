//! Threads: one that cannot be started is an error with its mend, and those that wait for it end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Scope, ScopedJoinHandle};

use super::os;

/// Starts a thread.
///
/// # Errors
/// What the system says, with the limits to raise.
pub fn begin<T: Send + 'static>(name: impl Into<String>, work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.into()).spawn(work).map_err(refused)
}

/// Starts a thread of `scope`.
///
/// # Errors
/// What the system says, with the limits to raise.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> anyhow::Result<ScopedJoinHandle<'scope, T>> {
    Ok(thread::Builder::new().spawn_scoped(scope, work).map_err(refused)?)
}

fn refused(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot start a thread: {error}{}", os::mend(&error)))
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
