//! Shutting down connections between two child processes, as a broken network would.

use std::collections::HashMap;
use std::fs;
use std::os::fd::RawFd;

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// State of a connection that stands, in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// Shuts down TCP connections between the processes `a` and `b`: all of them, or the one that `choice` picks. How many.
///
/// # Errors
/// The system does not let this process at them, and the mend.
pub(super) fn cut(a: Pid, b: Pid, all: bool, choice: u64) -> Result<usize, String> {
    let shared = between(&sockets(a)?, &sockets(b)?);
    let chosen = match shared.len() {
        0 => return Ok(0),
        _ if all => &shared[..],
        count => std::slice::from_ref(&shared[(choice % count as u64) as usize]),
    };
    let refused = |error: Errno| {
        format!(
            "cannot reach into a child process ({error}): cuts need pidfd_getfd and the right to trace one's own children \
             (kernel.yama.ptrace_scope below 2)"
        )
    };
    let process = pidfd_open(a, PidfdFlags::empty()).map_err(refused)?;
    let mut count = 0;
    for descriptor in chosen {
        match pidfd_getfd(&process, *descriptor, PidfdGetfdFlags::empty()) {
            // An error means that it is no connection any more.
            Ok(socket) => count += usize::from(shutdown(&socket, Shutdown::Both).is_ok()),
            // It has been closed meanwhile.
            Err(Errno::BADF) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(count)
}

/// A connection of a process: its ends as the kernel writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Connection {
    local: String,
    remote: String,
    descriptor: RawFd,
}

/// The TCP connections of a process that stand.
fn sockets(process: Pid) -> Result<Vec<Connection>, String> {
    let folder = format!("/proc/{}", process.as_raw_nonzero());
    let gone = |error: std::io::Error| format!("{folder} cannot be read: {error}");
    let mut descriptors: HashMap<u64, RawFd> = HashMap::new();
    for entry in fs::read_dir(format!("{folder}/fd")).map_err(gone)?.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let inode: Option<u64> = target.to_str().and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        let descriptor: Option<RawFd> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        descriptors.extend(inode.zip(descriptor));
    }
    let table = fs::read_to_string(format!("{folder}/net/tcp")).map_err(gone)?;
    Ok(table.lines().skip(1).filter_map(|line| connection(line, &descriptors)).collect())
}

/// One line of `/proc/net/tcp`: number, local, remote, state, queues, timer, retransmissions, user, timeout, inode, ...
fn connection(line: &str, descriptors: &HashMap<u64, RawFd>) -> Option<Connection> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, ..] = fields[..] else { return None };
    let inode: u64 = fields.get(9)?.parse().ok()?;
    let descriptor = *descriptors.get(&inode)?;
    (state == ESTABLISHED).then(|| Connection { local: local.to_owned(), remote: remote.to_owned(), descriptor })
}

/// Descriptors, in the first process, of connections that have their other end in the second.
fn between(ours: &[Connection], theirs: &[Connection]) -> Vec<RawFd> {
    let meets = |connection: &&Connection| theirs.iter().any(|other| other.local == connection.remote && other.remote == connection.local);
    ours.iter().filter(meets).map(|connection| connection.descriptor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_line_of_the_kernels_table_is_a_connection_if_it_stands_and_is_ours() {
        let descriptors = HashMap::from([(4711, 5)]);
        let line = |state: &str, inode: u64| {
            format!("   0: 0100007F:1F90 0100007F:A3C2 {state} 00000000:00000000 00:00000000 00000000  0  0 {inode} 1 0")
        };
        let known = connection(&line("01", 4711), &descriptors).expect("it stands");
        assert_eq!((known.local.as_str(), known.remote.as_str(), known.descriptor), ("0100007F:1F90", "0100007F:A3C2", 5));
        assert_eq!(connection(&line("0A", 4711), &descriptors), None);
        assert_eq!(connection(&line("01", 1), &descriptors), None);
        assert_eq!(connection("nonsense", &descriptors), None);
    }

    #[test]
    fn a_connection_that_is_cut_ends_at_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        let me = rustix::process::getpid();
        let mine = sockets(me).unwrap();
        let place = |stream: &TcpStream| mine.iter().find(|known| known.descriptor == std::os::fd::AsRawFd::as_raw_fd(stream)).cloned();
        let ends = [place(&one).expect("it stands"), place(&other).expect("it stands")];
        assert_eq!(between(&ends[..1], &ends[1..]), [ends[0].descriptor]);
        let process = pidfd_open(me, PidfdFlags::empty()).unwrap();
        match pidfd_getfd(&process, ends[0].descriptor, PidfdGetfdFlags::empty()) {
            Ok(socket) => shutdown(&socket, Shutdown::Both).unwrap(),
            Err(error) => return eprintln!("skipped: pidfd_getfd: {error}"),
        }
        let mut byte = [0];
        assert_eq!((one.read(&mut byte).unwrap(), other.read(&mut byte).unwrap()), (0, 0));
    }
}
