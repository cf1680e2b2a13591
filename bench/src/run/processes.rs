//! Processes of this host that come and go: started, told, listened to, stopped, killed, and ended whatever happens.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::worker::Worker;
use crate::jobs::control::{Reply, Told};
use crate::jobs::job::Job;

/// Processes by number. Dropping it ends them all.
pub struct Processes {
    processes: BTreeMap<u32, Worker>,
    sender: Sender<(u32, Option<Reply>)>,
    news: Receiver<(u32, Option<Reply>)>,
}

impl Default for Processes {
    fn default() -> Processes {
        let (sender, news) = mpsc::channel();
        Processes { processes: BTreeMap::new(), sender, news }
    }
}

impl Processes {
    /// Starts process `number` with its job.
    ///
    /// Call it from a thread that lives as long as they: the kernel ends children with the thread that made them.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(&mut self, number: u32, job: &Job) -> Result<(), String> {
        let sender = self.sender.clone();
        let worker = Worker::start(number as usize, move |reply| sender.send((number, reply)).is_ok());
        let worker = worker.map_err(|error| format!("cannot start process {number}: {error}"))?;
        self.processes.insert(number, worker);
        self.tell(number, job)
    }

    /// Tells a process something. One that is gone does not hear it.
    ///
    /// # Errors
    /// What its pipe says, if that is not that it is gone.
    pub fn tell(&mut self, number: u32, what: &impl Serialize) -> Result<(), String> {
        let order = postcard::to_stdvec(what).map_err(|error| format!("an order that cannot be written: {error}"))?;
        let Some(worker) = self.processes.get_mut(&number) else { return Ok(()) };
        worker.tell(&Told::Order(order)).map(drop).map_err(|error| format!("cannot talk to process {number}: {error}"))
    }

    /// The next that is heard of any process until `deadline`; no reply: its line is closed.
    pub fn news(&self, deadline: Instant) -> Option<(u32, Option<Reply>)> {
        self.news.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    /// Those that were started and not reaped.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.processes.keys().copied()
    }

    /// Its process id.
    pub fn id(&self, number: u32) -> Option<Pid> {
        self.processes.get(&number).and_then(|worker| Pid::from_raw(worker.id() as i32))
    }

    /// Stops a process, or has it go on. If it is gone nothing happens.
    pub fn set_running(&self, number: u32, runs: bool) {
        if let Some(id) = self.id(number) {
            // It is a child that was not waited for, so the id is still its own.
            let _ = kill_process(id, if runs { Signal::CONT } else { Signal::STOP });
        }
    }

    /// Ends a process with SIGKILL and waits until it is gone.
    pub fn kill(&mut self, number: u32) {
        if let Some(mut worker) = self.processes.remove(&number) {
            worker.kill();
            worker.wait();
        }
    }

    /// Waits for a process whose line is closed; how it ended, and its last words.
    pub fn reap(&mut self, number: u32) -> Option<(ExitStatus, String)> {
        let mut worker = self.processes.remove(&number)?;
        let status = worker.wait()?;
        Some((status, worker.last_words()))
    }
}
