//! A thread that owns a group, for applications that do not own a loop.
//!
//! ```text
//!   any thread, any future                the driver's thread
//!   Handle::send, try_send, send_async --queue--> reserve, fill, commit; turn
//!   Ticket: delivered, or not          <--------- deliver, cut, sent again
//!   Handle::read                       -------->  read_point
//!   Reading: all that was delivered    <--------- has_reached
//!     anywhere is delivered here
//!   Deliveries: wait, iterate, await   <--queue-- deliver, views         (or upcalls of your own, on the thread)
//! ```
//!
//! Both queues are bounded. A full one towards the driver is an answer, a wait or a pending future, as the caller asks;
//! a full one from the driver makes this member deliver nothing until there is room.
//!
//! # Async programs
//!
//! Nothing here needs a runtime, and every runtime will do: [`Handle::send_async`], [`Ticket`] and
//! [`Deliveries::next_async`] are futures of the standard library, and [`Handle::poll_send`] and
//! [`Deliveries::poll_next`] are what a `Sink` or a `Stream` is made of. Here a future of a few lines stands for a
//! runtime's task.
//!
//! ```
//! use squall_group::prelude::*;
//!
//! /// Sends one message and awaits all messages of `members`; true if its own came where its ticket says.
//! async fn greet(handle: Handle, mut deliveries: Deliveries, members: usize) -> bool {
//!     let ticket = handle.send_async("hello").await.expect("the driver runs");
//!     let receipt = ticket.await.expect("nobody is lost");
//!     let (mut heard, mut found) = (0, false);
//!     while heard < members {
//!         match deliveries.next_async().await.expect("the driver runs") {
//!             Told::Message(message) => {
//!                 assert_eq!(message.payload, b"hello");
//!                 heard += 1;
//!                 found |= message.seq == receipt.seq;
//!             }
//!             Told::View(view) => assert_eq!(view.members, members),
//!             _ => {}
//!         }
//!     }
//!     found
//! }
//!
//! # use std::future::Future;
//! # use std::sync::Arc;
//! # use std::task::{Context, Poll, Wake};
//! # struct Unpark(std::thread::Thread);
//! # impl Wake for Unpark {
//! #     fn wake(self: Arc<Self>) {
//! #         self.0.unpark();
//! #     }
//! # }
//! # fn block_on<F: Future>(future: F) -> F::Output {
//! #     let mut future = std::pin::pin!(future);
//! #     let waker = Arc::new(Unpark(std::thread::current())).into();
//! #     loop {
//! #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
//! #             Poll::Ready(output) => return output,
//! #             Poll::Pending => std::thread::park(),
//! #         }
//! #     }
//! # }
//! let members: Vec<_> = LocalExchange::mesh(2)
//!     .into_iter()
//!     .map(|mut exchange| {
//!         std::thread::spawn(move || {
//!             let config = Config::new(vec![Rank::new(0), Rank::new(1)]);
//!             let group = Group::join(&config, &ShmFabric::new(), &mut exchange).expect("two members join");
//!             let (driver, deliveries) = Driver::stream(group, Pace::for_members(2), None).expect("a thread can be had");
//!             assert!(block_on(greet(driver.handle(), deliveries, 2)));
//!             driver.close().expect("everybody leaves");
//!         })
//!     })
//!     .collect();
//! for member in members {
//!     member.join().expect("no member panics");
//! }
//! ```
//!
//! A stream carries messages and views, not the application's state: a member that gives newcomers a state
//! ([`Upcalls::snapshot`]) takes its deliveries by upcalls, since only there is known which of them the state holds.

mod deliveries;
mod driven;
mod handle;
mod payload;
mod promised;
mod queue;
mod reading;
mod ticket;
mod watched;

pub use deliveries::{Deliveries, Message, NextTold, Told};
pub use driven::Drivable;
pub use handle::{Handle, NotTaken, Sending};
pub use payload::Payload;
pub use reading::{Reading, Unread};
pub use ticket::{Receipt, Ticket, Undelivered};

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::{Ended, SendError};
use crate::member::MemberError;
use crate::pace::Pace;
use crate::turn::Turn;
use crate::upcalls::Upcalls;
use deliveries::deliveries;
use driven::Renewed;
use queue::{Job, Next, Queue};
use reading::Readers;
use watched::Watched;

/// Why a driver did not take a message or ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The queue to the driver's thread is full; try again.
    #[error("the driver's queue is full; try again")]
    Full,
    /// The driver has left, or is about to. What ends it otherwise is told as itself.
    #[error("the driver was told to leave and takes nothing more; send before that")]
    Gone,
    /// The group is over.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The group is over for this member.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The message cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A group with a changing membership was handed over, and its members changed.
    #[error("the group's view is over, and a driver of a `Group` cannot go on to the next; hand it a `Member`")]
    NextView,
    /// The thread could not be started.
    #[error("cannot start the driver's thread: {0}")]
    Thread(String),
    /// An upcall or the writing of a message panicked.
    #[error("an upcall panicked; its message is on stderr")]
    Panicked,
}

/// A thread that turns a group's loop, pinned to a core if asked. Upcalls run on it.
#[derive(Debug)]
pub struct Driver<U = ()> {
    handle: Handle,
    thread: JoinHandle<Result<U, DriverError>>,
}

impl<U: Upcalls + Send + 'static> Driver<U> {
    /// Starts the thread for a [`Group`](crate::Group) or a [`Member`](crate::Member), whose deliveries `upcalls` hear;
    /// on core `core`, if given.
    ///
    /// # Errors
    /// [`DriverError::Thread`]: there is no such thread, or no such core.
    pub fn spawn(driven: impl Drivable, upcalls: U, pace: Pace, core: Option<usize>) -> Result<Driver<U>, DriverError> {
        let (waker, view) = (driven.lasting_waker(), driven.present_view().clone());
        start(driven, Watched::new(upcalls, &view), waker, (pace, core), |upcalls| upcalls)
    }
}

impl<U> Driver<U> {
    /// A handle to send by.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Asks the driver to send what was handed over and to leave (where the members never change: together with all
    /// others), and does not wait for it. Its [`Deliveries`] end when it has left.
    pub fn leave(&self) {
        self.handle.leave();
    }

    /// Whether the thread has ended: then [`Driver::close`] does not wait.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Sends what was handed over, leaves (where the members never change: together with all others), and returns the
    /// upcalls.
    ///
    /// # Errors
    /// Why the group ended before.
    pub fn close(self) -> Result<U, DriverError> {
        // If the thread has ended, its own result says why.
        self.handle.leave();
        self.thread.join().unwrap_or(Err(DriverError::Panicked))
    }
}

impl Driver {
    /// As [`Driver::spawn`]; what is delivered comes as a stream, for another thread or a future.
    ///
    /// # Errors
    /// [`DriverError::Thread`].
    pub fn stream(driven: impl Drivable, pace: Pace, core: Option<usize>) -> Result<(Driver, Deliveries), DriverError> {
        let (waker, view) = (driven.lasting_waker(), driven.present_view().clone());
        let (feed, deliveries) = deliveries(waker.clone(), &view);
        // Dropped on the thread, which ends the stream.
        Ok((start(driven, Watched::new(feed, &view), waker, (pace, core), drop)?, deliveries))
    }
}

fn start<U: Upcalls + Send + 'static, T: Send + 'static>(
    driven: impl Drivable,
    watched: Watched<U>,
    waker: Renewed,
    (pace, core): (Pace, Option<usize>),
    last: fn(U) -> T,
) -> Result<Driver<T>, DriverError> {
    // Where nobody may ask for cores, the thread runs wherever the kernel places it.
    let cores = core_affinity::get_core_ids();
    if let (Some(id), Some(cores)) = (core, &cores)
        && !cores.iter().any(|core| core.id == id)
    {
        return Err(DriverError::Thread(format!("core {id} is none that this process may run on")));
    }
    let core = core.filter(|_| cores.is_some());
    let queue = Arc::new(Queue::default());
    let handle = Handle::new(Arc::clone(&queue), waker.clone(), driven.bytes_max());
    let thread = std::thread::Builder::new()
        .name("squall-driver".into())
        .spawn(move || {
            if let Some(id) = core {
                core_affinity::set_for_current(core_affinity::CoreId { id });
            }
            let mut ending = Ending { queue: &queue, why: DriverError::Panicked };
            let result = drive(driven, watched, pace, &queue, &waker).map(last);
            ending.why = result.as_ref().err().cloned().unwrap_or(DriverError::Gone);
            drop(ending);
            result
        })
        .map_err(|error| DriverError::Thread(error.to_string()))?;
    Ok(Driver { handle, thread })
}

/// Whatever ends the thread, a panic too, nobody waits for it in vain, and whoever sends after that is told why.
struct Ending<'a> {
    queue: &'a Queue,
    why: DriverError,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.queue.end(self.why.clone());
    }
}

fn drive<U: Upcalls>(
    mut driven: impl Drivable,
    mut watched: Watched<U>,
    mut pace: Pace,
    queue: &Queue,
    waker: &Renewed,
) -> Result<U, DriverError> {
    let (mut waiting, mut readers): (Option<Job>, _) = (None, Readers::default());
    loop {
        let reads = queue.take_reads();
        if !reads.is_empty() {
            readers.ask(&mut driven, reads);
        }
        loop {
            let Job { payload, promise } = match waiting.take().map_or_else(|| queue.next(), Next::Send) {
                Next::Send(job) => job,
                Next::Nothing => break,
                // Who waits for a read is told before.
                Next::Leave if !readers.is_empty() => break,
                Next::Leave => {
                    driven.part(waker, &mut watched, &mut pace)?;
                    return Ok(watched.upcalls);
                }
            };
            match driven.sending().reserve(payload.bytes()) {
                Ok(mut slot) => {
                    payload.write(slot.bytes_mut());
                    watched.sent(slot.commit(), promise);
                }
                Err(error) if error.is_full() => {
                    waiting = Some(Job { payload, promise });
                    break;
                }
                Err(refused) => promise.tell(Err(Undelivered::Refused(refused))),
            }
        }
        if driven.turn_once(&mut watched, &mut pace)? == Turn::Left {
            return Ok(watched.upcalls);
        }
        readers.look(&driven);
        driven.renew(waker);
    }
}
