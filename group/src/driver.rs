//! A thread that owns a group, for applications that do not own a loop.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;

use squall_transport::{Endpoint, Waker};

use crate::error::{Ended, SendError};
use crate::group::{Group, Upcalls};
use crate::pace::Pace;

/// Messages that may wait between a [`Handle`] and the driver's thread.
const QUEUE_MESSAGES_MAX: usize = 1024;

/// Why a driver did not take a message or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The queue to the driver's thread is full; try again.
    #[error("the driver's queue is full; try again")]
    Full,
    /// The driver has ended; [`Driver::close`] says why.
    #[error("the driver has ended")]
    Gone,
    /// The group is over.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// A message that was handed over cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The thread could not be started.
    #[error("cannot start the driver's thread: {0}")]
    Thread(String),
    /// An upcall panicked.
    #[error("an upcall panicked; its message is on stderr")]
    Panicked,
}

enum Command {
    Send(Vec<u8>),
    Close,
}

/// Hands messages to a driver, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: SyncSender<Command>,
    waker: Waker,
}

impl Handle {
    /// Sends `payload`, waiting while the queue is full.
    ///
    /// # Errors
    /// [`DriverError::Gone`].
    pub fn send(&self, payload: Vec<u8>) -> Result<(), DriverError> {
        self.commands.send(Command::Send(payload)).map_err(|_| DriverError::Gone)?;
        self.waker.wake();
        Ok(())
    }

    /// Sends `payload` unless the queue is full.
    ///
    /// # Errors
    /// [`DriverError::Full`], [`DriverError::Gone`].
    pub fn try_send(&self, payload: Vec<u8>) -> Result<(), DriverError> {
        self.commands.try_send(Command::Send(payload)).map_err(|error| match error {
            TrySendError::Full(_) => DriverError::Full,
            TrySendError::Disconnected(_) => DriverError::Gone,
        })?;
        self.waker.wake();
        Ok(())
    }
}

/// A thread that turns a group's loop, pinned to a core if asked. Upcalls run on it.
#[derive(Debug)]
pub struct Driver<U> {
    handle: Handle,
    thread: JoinHandle<Result<U, DriverError>>,
}

impl<U: Upcalls + Send + 'static> Driver<U> {
    /// Starts the thread; on core `core`, if given.
    ///
    /// # Errors
    /// [`DriverError::Thread`].
    pub fn spawn<E: Endpoint + Send + 'static>(
        group: Group<E>,
        upcalls: U,
        pace: Pace,
        core: Option<usize>,
    ) -> Result<Driver<U>, DriverError> {
        let (commands, queue) = sync_channel(QUEUE_MESSAGES_MAX);
        let handle = Handle { commands, waker: group.waker() };
        let thread = std::thread::Builder::new()
            .name("squall-driver".into())
            .spawn(move || {
                if let Some(id) = core {
                    core_affinity::set_for_current(core_affinity::CoreId { id });
                }
                drive(group, upcalls, pace, &queue)
            })
            .map_err(|error| DriverError::Thread(error.to_string()))?;
        Ok(Driver { handle, thread })
    }

    /// A handle to send by.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Sends what was handed over, leaves together with all other members, and returns the upcalls.
    ///
    /// # Errors
    /// Why the group ended before.
    pub fn close(self) -> Result<U, DriverError> {
        // If the thread has ended, its own result says why.
        let _ = self.handle.commands.send(Command::Close);
        self.handle.waker.wake();
        self.thread.join().unwrap_or(Err(DriverError::Panicked))
    }
}

fn drive<E: Endpoint, U: Upcalls>(
    mut group: Group<E>,
    mut upcalls: U,
    mut pace: Pace,
    queue: &Receiver<Command>,
) -> Result<U, DriverError> {
    let mut waiting: Option<Vec<u8>> = None;
    loop {
        loop {
            let payload = match waiting.take().map_or_else(|| queue.try_recv(), |payload| Ok(Command::Send(payload))) {
                Ok(Command::Send(payload)) => payload,
                Err(TryRecvError::Empty) => break,
                Ok(Command::Close) | Err(TryRecvError::Disconnected) => {
                    group.close(&mut upcalls, &mut pace)?;
                    return Ok(upcalls);
                }
            };
            match group.send(&payload) {
                Ok(_) => {}
                Err(error) if error.is_full() => {
                    waiting = Some(payload);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        group.turn(&mut upcalls, &mut pace)?;
    }
}
