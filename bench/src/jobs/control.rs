//! A node's line to its parent: orders come in on standard input, replies go out on standard output.
//!
//! The parent is a run on this host, or the agent of a run on another one, which passes both on.

use std::io::{self, Stdin, Stdout};
use std::sync::mpsc::{self, Receiver, RecvError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use squall_transport::Waker;

use super::live::Live;
use super::{frame, os, threads};

/// What a node is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// The job, or an order; the experiment knows what these bytes are.
    Order(Vec<u8>),
    /// What to add to this host's clock from now on, so that it shows the time of the run's first host.
    Clock(i64),
}

/// What a node says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// It is set up; with notices about what it could not have as asked.
    Ready(Vec<String>),
    /// It is about what was ordered, and this is how far it is.
    Live(Live),
    /// It did what was ordered; the experiment knows what these bytes are.
    Done(Vec<u8>),
    /// It cannot go on, and why.
    Failed(String),
}

/// The node's end of the line.
#[derive(Debug)]
pub struct Control {
    orders: Receiver<Vec<u8>>,
    waker: Arc<Mutex<Option<Waker>>>,
    stdout: Stdout,
    /// What the parent is told once the node is set up.
    notices: Vec<String>,
}

impl Control {
    /// Listens on standard input from now on. When the parent goes, so does this process: with [`EXIT_ORPHANED`].
    ///
    /// # Errors
    /// If no thread can be made.
    pub fn listen() -> io::Result<Control> {
        let (sender, orders) = mpsc::channel();
        let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
        let listener_waker = Arc::clone(&waker);
        let listen = move || {
            let mut stdin: Stdin = io::stdin();
            while let Ok(Some(bytes)) = frame::read_bytes(&mut stdin) {
                match frame::decode(&bytes) {
                    Ok(Told::Clock(offset_ns)) => {
                        os::set_clock_offset(offset_ns);
                        continue;
                    }
                    Ok(Told::Order(order)) => {
                        if sender.send(order).is_err() {
                            return;
                        }
                    }
                    Err(_) => break,
                }
                if let Some(waker) = &*listener_waker.lock().unwrap_or_else(PoisonError::into_inner) {
                    waker.wake();
                }
            }
            std::process::exit(EXIT_ORPHANED);
        };
        threads::begin("control", listen)?;
        Ok(Control { orders, waker, stdout: io::stdout(), notices: Vec::new() })
    }

    /// Has `waker`, and no earlier one, called when an order comes in.
    pub fn wake_with(&self, waker: Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// The next order; waits for it.
    ///
    /// # Errors
    /// If it is no `T`.
    pub fn next<T: DeserializeOwned>(&self) -> io::Result<T> {
        let bytes = self.orders.recv().map_err(|RecvError| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        frame::decode(&bytes)
    }

    /// The next order, if one is there.
    ///
    /// # Errors
    /// If it is no `T`.
    pub fn poll<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        match self.orders.try_recv() {
            Ok(bytes) => frame::decode(&bytes).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Keeps a notice for the parent until the node is set up.
    pub fn note(&mut self, notice: String) {
        self.notices.push(notice);
    }

    /// Says that the node is set up.
    ///
    /// # Errors
    /// If the parent is gone.
    pub fn ready(&mut self, notices: Vec<String>) -> io::Result<()> {
        self.notices.extend(notices);
        frame::write(&mut self.stdout, &Reply::Ready(std::mem::take(&mut self.notices)))
    }

    /// A way to show how far an order is, in the midst of it.
    pub fn live_line(&self) -> LiveLine {
        LiveLine(io::stdout())
    }

    /// Answers an order.
    ///
    /// # Errors
    /// If the parent is gone.
    pub fn done(&mut self, result: &impl Serialize) -> io::Result<()> {
        let bytes = postcard::to_stdvec(result).map_err(io::Error::other)?;
        frame::write(&mut self.stdout, &Reply::Done(bytes))
    }

    /// Says that the node cannot go on.
    pub fn failed(&mut self, what: String) {
        // If the parent is gone, nobody wants to know.
        let _ = frame::write(&mut self.stdout, &Reply::Failed(what));
    }
}

/// A node's way to show how far it is. Use it between an order and its answer, from the thread that answers.
#[derive(Debug)]
pub struct LiveLine(Stdout);

impl LiveLine {
    /// Shows it.
    ///
    /// # Errors
    /// If the parent is gone.
    pub fn show(&mut self, live: Live) -> io::Result<()> {
        frame::write(&mut self.0, &Reply::Live(live))
    }
}

/// Exit status of a node whose parent went away.
pub const EXIT_ORPHANED: i32 = 70;
