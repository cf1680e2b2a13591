//! A thread that owns a group, for applications that do not own a loop.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use squall_transport::{Endpoint, Fabric, Waker};

use crate::error::{Ended, SendError};
use crate::group::Group;
use crate::member::{Member, MemberError};
use crate::pace::Pace;
use crate::turn::Turn;
use crate::upcalls::Upcalls;

/// Messages that may wait between a [`Handle`] and the driver's thread.
const QUEUE_MESSAGES_MAX: usize = 1024;

/// Why a driver did not take a message or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// The group is over for this member.
    #[error(transparent)]
    Member(#[from] MemberError),
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

/// What a driver's thread drives.
trait Driven {
    fn waker(&self) -> Waker;
    fn send(&mut self, payload: &[u8]) -> Result<u64, SendError>;
    fn turn(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), DriverError>;
    fn close(self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), DriverError>;
}

impl<E: Endpoint> Driven for Group<E> {
    fn waker(&self) -> Waker {
        Group::waker(self)
    }

    fn send(&mut self, payload: &[u8]) -> Result<u64, SendError> {
        Group::send(self, payload)
    }

    fn turn(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), DriverError> {
        Group::turn(self, upcalls, pace)?;
        Ok(())
    }

    fn close(self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), DriverError> {
        Ok(Group::close(self, upcalls, pace)?)
    }
}

/// A member with a waker that is good for all its views.
struct Following<F: Fabric> {
    member: Member<F>,
    view: u64,
    waker: Arc<Mutex<Waker>>,
}

impl<F: Fabric> Following<F> {
    fn new(member: Member<F>) -> Following<F> {
        Following { view: member.view().id, waker: Arc::new(Mutex::new(member.waker())), member }
    }
}

impl<F: Fabric> Driven for Following<F> {
    fn waker(&self) -> Waker {
        let waker = Arc::clone(&self.waker);
        Waker::new(move || waker.lock().unwrap_or_else(PoisonError::into_inner).wake())
    }

    fn send(&mut self, payload: &[u8]) -> Result<u64, SendError> {
        self.member.send(payload)
    }

    fn turn(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), DriverError> {
        self.member.turn(upcalls, pace)?;
        if self.member.view().id != self.view {
            self.view = self.member.view().id;
            *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = self.member.waker();
        }
        Ok(())
    }

    fn close(mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), DriverError> {
        loop {
            // A view that ends before takes no leave: it is taken in the next one.
            if self.member.group().is_none_or(Group::has_delivered_own) {
                self.member.leave();
            }
            if self.member.turn(upcalls, pace)? == Turn::Left {
                return Ok(());
            }
        }
    }
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
    /// Starts the thread for a group whose members never change; on core `core`, if given.
    ///
    /// # Errors
    /// [`DriverError::Thread`].
    pub fn spawn<E: Endpoint + Send + 'static>(
        group: Group<E>,
        upcalls: U,
        pace: Pace,
        core: Option<usize>,
    ) -> Result<Driver<U>, DriverError> {
        start(group, upcalls, pace, core)
    }

    /// Starts the thread for a member of a group whose members come and go; on core `core`, if given.
    ///
    /// # Errors
    /// [`DriverError::Thread`].
    pub fn spawn_member<F>(member: Member<F>, upcalls: U, pace: Pace, core: Option<usize>) -> Result<Driver<U>, DriverError>
    where
        F: Fabric + Send + 'static,
        F::Endpoint: Send + 'static,
    {
        start(Following::new(member), upcalls, pace, core)
    }

    /// A handle to send by.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Sends what was handed over, leaves (where the members never change: together with all others), and returns the
    /// upcalls.
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

fn start<D: Driven + Send + 'static, U: Upcalls + Send + 'static>(
    driven: D,
    upcalls: U,
    pace: Pace,
    core: Option<usize>,
) -> Result<Driver<U>, DriverError> {
    let (commands, queue) = sync_channel(QUEUE_MESSAGES_MAX);
    let handle = Handle { commands, waker: driven.waker() };
    let thread = std::thread::Builder::new()
        .name("squall-driver".into())
        .spawn(move || {
            if let Some(id) = core {
                core_affinity::set_for_current(core_affinity::CoreId { id });
            }
            drive(driven, upcalls, pace, &queue)
        })
        .map_err(|error| DriverError::Thread(error.to_string()))?;
    Ok(Driver { handle, thread })
}

fn drive<U: Upcalls>(mut driven: impl Driven, mut upcalls: U, mut pace: Pace, queue: &Receiver<Command>) -> Result<U, DriverError> {
    let mut waiting: Option<Vec<u8>> = None;
    loop {
        loop {
            let payload = match waiting.take().map_or_else(|| queue.try_recv(), |payload| Ok(Command::Send(payload))) {
                Ok(Command::Send(payload)) => payload,
                Err(TryRecvError::Empty) => break,
                Ok(Command::Close) | Err(TryRecvError::Disconnected) => {
                    driven.close(&mut upcalls, &mut pace)?;
                    return Ok(upcalls);
                }
            };
            match driven.send(&payload) {
                Ok(_) => {}
                Err(error) if error.is_full() => {
                    waiting = Some(payload);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        driven.turn(&mut upcalls, &mut pace)?;
    }
}
