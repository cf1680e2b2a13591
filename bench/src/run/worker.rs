//! One child process that runs one node: started, told, listened to, and ended whatever happens.

use std::io::{self, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::stderr_tail::StderrTail;
use crate::jobs::control::{Reply, Told};
use crate::jobs::frame;
use crate::jobs::job::{KEY_VARIABLE, PARENT_VARIABLE};
use crate::jobs::threads;

/// How long the last lines of a process that has ended may take to come.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// A child process that runs one node. Dropping it ends it.
pub(super) struct Worker {
    process: Child,
    stdin: Option<ChildStdin>,
    stderr: StderrTail,
}

impl Worker {
    /// Starts it. A thread calls `hear` with each of its replies, and with none when it has closed its line, until that
    /// says no.
    ///
    /// Call it from a thread that lives as long as the worker: the kernel ends children with the thread that made them.
    pub(super) fn start(rank: usize, mut hear: impl FnMut(Option<Reply>) -> bool + Send + 'static) -> io::Result<Worker> {
        // This very program, even if its file has been replaced since it started.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("squall").arg("worker").env(PARENT_VARIABLE, std::process::id().to_string()).env_remove(KEY_VARIABLE);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // In a process group of its own, so that Ctrl-C reaches only the parent, which then ends it in order.
        command.process_group(0);
        let mut process = command.spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let stdin = process.stdin.take().ok_or_else(missing)?;
        let stdout = process.stdout.take().ok_or_else(missing)?;
        let stderr = process.stderr.take().ok_or_else(missing)?;
        let worker = Worker { process, stdin: Some(stdin), stderr: StderrTail::follow(stderr)? };
        let listen = move || {
            let mut stdout = BufReader::new(stdout);
            while let Ok(Some(bytes)) = frame::read_bytes(&mut stdout) {
                if !hear(Some(frame::decode(&bytes).unwrap_or_else(|error| Reply::Failed(error.to_string())))) {
                    return;
                }
            }
            hear(None);
        };
        threads::begin(format!("node {rank}"), listen)?;
        Ok(worker)
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Tells it something; whether its line was open.
    ///
    /// # Errors
    /// What the pipe says, if that is not that the worker is gone.
    pub(super) fn tell(&mut self, what: &Told) -> io::Result<bool> {
        let Some(stdin) = self.stdin.as_mut() else { return Ok(false) };
        match frame::write(stdin, what) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How it ended, if it has.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// The same of one that is ending: waits for it, but not for long. Where the kernel refuses handles of processes,
    /// as some sandboxes have it, this is [`status`](Self::status).
    pub(super) fn status_until(&mut self, deadline: Instant) -> Option<ExitStatus> {
        let nap = deadline.saturating_duration_since(Instant::now());
        let nap = Timespec { tv_sec: nap.as_secs() as i64, tv_nsec: i64::from(nap.subsec_nanos()) };
        // Nobody else waits for this child, so its number is its own until `status` has seen its end.
        if let Ok(handle) = pidfd_open(Pid::from_child(&self.process), PidfdFlags::empty()) {
            // A signal cuts the wait short; then the run is over, and the cause is known.
            let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&nap));
        }
        self.status()
    }

    /// Waits until it has ended, which takes no time once its line is closed.
    pub(super) fn wait(&mut self) -> Option<ExitStatus> {
        self.process.wait().ok()
    }

    /// The last lines of its standard error, all of them if it has ended.
    pub(super) fn last_words(&self) -> String {
        self.stderr.text_at_end(LAST_WORDS)
    }

    /// Has the kernel end it, without waiting for it.
    pub(super) fn kill(&mut self) {
        self.stdin = None;
        // An error means that it has ended.
        let _ = self.process.kill();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}
