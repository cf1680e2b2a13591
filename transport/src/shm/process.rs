//! The process at the other end of a link: whether it can still write.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Of a thread's flags, as `/proc` tells them: it is on its way out, and never comes back to its own code.
const PF_EXITING: u64 = 4;

/// A process that made a socket, or got it from its parent, and holds it: so the number was not another's when it was
/// looked up.
#[derive(Debug)]
pub(super) struct Process {
    id: Pid,
    handle: OwnedFd,
}

impl Process {
    /// The one that `socket` leads to, if it is another one and the system names it.
    pub(super) fn of(socket: &UnixStream) -> Option<Process> {
        let id = socket_peercred(socket).ok()?.pid;
        Some(Process { id, handle: pidfd_open(id, PidfdFlags::empty()).ok()? })
    }

    /// Whether none of its threads will ever run its code again. Its end takes the kernel as long as its memory is
    /// large; this is so from the beginning of that.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended() || self.is_ending()
    }

    /// Its memory goes with its process, and the handle can be read once that is so.
    fn has_ended(&self) -> bool {
        poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Whether all its threads are on their way out. One that is makes no other: if the second look shows none that the
    /// first did not, there is none. Should the number be another process's by now, this one is gone, and no answer is
    /// wrong.
    fn is_ending(&self) -> bool {
        let Some(threads) = self.threads() else { return false };
        threads.iter().all(|thread| self.is_exiting(thread))
            && self.threads().is_some_and(|again| again.iter().all(|it| threads.contains(it)))
    }

    fn threads(&self) -> Option<Vec<String>> {
        let entries = fs::read_dir(format!("/proc/{}/task", self.id.as_raw_nonzero())).ok()?;
        entries.map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }

    fn is_exiting(&self, thread: &str) -> bool {
        match fs::read_to_string(format!("/proc/{}/task/{thread}/stat", self.id.as_raw_nonzero())) {
            Ok(stat) => flags(&stat).is_some_and(|flags| flags & PF_EXITING != 0),
            Err(error) => error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH),
        }
    }
}

/// `pid (name) state ppid group session tty group flags ...`: the name may hold anything.
fn flags(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn process(id: u32) -> Process {
        let id = Pid::from_raw(id as i32).unwrap();
        Process { id, handle: pidfd_open(id, PidfdFlags::empty()).unwrap() }
    }

    #[test]
    fn a_process_is_over_once_it_is_killed_and_not_before() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let other = process(child.id());
        assert!(!other.is_over() && !process(std::process::id()).is_over());
        child.kill().unwrap();
        while !other.has_ended() {
            std::thread::yield_now();
        }
        assert!(other.is_ending(), "nobody has waited for it: its threads are there, and on their way out");
        child.wait().unwrap();
        assert!(other.is_over() && !other.is_ending());
    }

    #[test]
    fn flags_stand_behind_whatever_a_process_is_called() {
        assert_eq!(flags("7 (a) b) Z 1 7 7 0 -1 4228108 1 0"), Some(4_228_108));
        assert_eq!(flags("nonsense"), None);
    }
}
