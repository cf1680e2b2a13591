//! One host that is reached by ssh: a process here that is its line, and what is heard over it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::orders::{Line, Orders};
use super::program::Program;
use crate::jobs::threads;

/// The most bytes of a line that are kept together.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// How long the end of standard error is waited for once standard output has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is heard of a host.
pub(super) enum Heard {
    /// The program is there, and waits for its orders.
    Ready,
    /// It cannot be.
    Unfit(String),
    /// The first host listens here.
    At(SocketAddr),
    /// A line of its standard output or error.
    Output(Vec<u8>),
    Error(String),
    /// It has closed its output.
    Closed,
}

/// A host's line. Dropping it ends the process here, and so what runs there, whose input ends.
pub(super) struct Remote {
    child: Child,
    stdin: Input,
}

/// What is said to a host: the program, by the thread that hears that it is needed, then orders.
type Input = Arc<Mutex<Option<ChildStdin>>>;

impl Remote {
    /// Starts `command`, which is ssh with all its arguments. Two threads tell `heard` of it, as host `rank`.
    pub(super) fn start(command: &[String], program: &Arc<Program>, rank: usize, heard: Sender<(usize, Heard)>) -> io::Result<Remote> {
        let (word, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(word);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // In a process group of its own, so that Ctrl-C reaches only this process, which then ends all in order.
        command.process_group(0);
        let mut child = command.spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let stdin: Input = Arc::new(Mutex::new(child.stdin.take()));
        let remote = Remote { child, stdin: Arc::clone(&stdin) };
        let (program, says) = (Arc::clone(program), heard.clone());
        // It sends nothing: its end is dropped with the last error that was said.
        let (errors_end, errors_over) = mpsc::channel::<()>();
        threads::begin(format!("host {rank} errors"), move || {
            listen_to_errors(rank, stderr, &heard);
            drop(errors_end);
        })?;
        threads::begin(format!("host {rank}"), move || {
            listen(rank, stdout, &stdin, &program, &says);
            // Why it ended comes first. A process that ssh leaves behind may keep its standard error open.
            let _ = errors_over.recv_timeout(LAST_WORDS);
            // Nobody may listen any more.
            let _ = says.send((rank, Heard::Closed));
        })?;
        Ok(remote)
    }

    /// Gives it its orders.
    pub(super) fn order(&self, orders: &Orders) -> io::Result<()> {
        let mut line = serde_json::to_vec(orders).map_err(io::Error::other)?;
        line.push(b'\n');
        write(&self.stdin, &line)
    }

    /// Has what runs there end in order.
    pub(super) fn interrupt(&self) {
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits until the process here has ended, which takes no time once its output is closed.
    pub(super) fn wait(&mut self) -> Option<ExitStatus> {
        self.child.wait().ok()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(stdin: &Input, bytes: &[u8]) -> io::Result<()> {
    match stdin.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        Some(stdin) => stdin.write_all(bytes).and_then(|()| stdin.flush()),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// Hears standard output to its end, and sends the program if it is needed. Nobody may listen any more.
fn listen(rank: usize, stdout: ChildStdout, stdin: &Input, program: &Program, heard: &Sender<(usize, Heard)>) {
    let mut stdout = BufReader::new(stdout);
    while let Some(line) = next_line(&mut stdout) {
        let said = match Line::of(&String::from_utf8_lossy(&line)) {
            Line::Have => Heard::Ready,
            Line::Need(machine) if machine != Program::machine() => {
                let ours = Program::machine();
                Heard::Unfit(format!(
                    "it runs {machine}, and this program is for {ours}: build Squall there, and start it by `squall node`"
                ))
            }
            Line::Need(_) => {
                // If it fails, its end says more.
                let _ = write(stdin, &program.bytes);
                continue;
            }
            Line::At(address) => Heard::At(address),
            Line::Output => Heard::Output(line),
        };
        if heard.send((rank, said)).is_err() {
            return;
        }
    }
}

/// Hears standard error to its end.
fn listen_to_errors(rank: usize, stderr: ChildStderr, heard: &Sender<(usize, Heard)>) {
    let mut stderr = BufReader::new(stderr);
    while let Some(line) = next_line(&mut stderr) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if heard.send((rank, Heard::Error(line))).is_err() {
            return;
        }
    }
}

/// The next line, or as much of it as is kept together.
fn next_line(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let count = from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).ok()?;
    (count > 0).then_some(line)
}
