//! One wish for a connection, and its attempts.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::exchange::call::is_final;
use crate::exchange::frame::FrameError;
use crate::exchange::link::LinkError;
use crate::exchange::stream::{Stream, connect_unix};
use crate::exchange::wire::after;
use crate::rank::NodeId;

use super::stand_in;

/// Between attempts; each pause is twice the last.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(100);

pub(super) struct Dial {
    pub(super) id: u64,
    pub(super) address: SocketAddr,
    /// Who is wanted there.
    pub(super) node: Option<NodeId>,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    /// When the next attempt is due; none while one is under way.
    pub(super) due: Option<Instant>,
    pause: Duration,
    /// What the last attempt said.
    reason: String,
    hopeless: bool,
}

impl Dial {
    pub(super) fn new(id: u64, address: SocketAddr, node: Option<NodeId>, timeout: Duration) -> Self {
        let now = Instant::now();
        let reason = "nothing answered".to_owned();
        Self {
            id,
            address,
            node,
            started: now,
            deadline: after(now, timeout),
            due: Some(now),
            pause: RETRY_PAUSE_MIN,
            reason,
            hopeless: false,
        }
    }

    /// When something is due.
    pub(super) fn timer(&self) -> Instant {
        self.due.unwrap_or(self.deadline).min(self.deadline)
    }

    /// The attempt failed, another may not.
    pub(super) fn retry(&mut self, reason: String) {
        self.reason = reason;
        self.due = Some(Instant::now() + self.pause);
        self.pause = (2 * self.pause).min(RETRY_PAUSE_MAX);
    }

    /// No attempt will do better.
    pub(super) fn give_up(&mut self, reason: String) {
        self.reason = reason;
        self.hopeless = true;
        self.deadline = Instant::now();
    }

    /// Why it leads to nothing, for people, once its time is over.
    pub(super) fn over(&self, now: Instant) -> Option<String> {
        if self.hopeless {
            return Some(self.reason.clone());
        }
        let waited_ms = self.started.elapsed().as_millis();
        let reason = &self.reason;
        (now >= self.deadline)
            .then(|| format!("tried for {waited_ms} ms ({reason}): is it running, is this its address, does a firewall stand between?"))
    }
}

/// Why an attempt did not even begin.
pub(super) enum Failure {
    Passing(String),
    Final(String),
}

/// A socket that is connecting, or connected.
pub(super) fn begin(address: SocketAddr) -> Result<Stream, Failure> {
    let connected = match stand_in::name(address) {
        Some(name) => connect_unix(name.as_bytes()).map(Stream::Unix),
        None => connect(address).map(Stream::Tcp),
    };
    match connected {
        // With nothing listening at a local port, TCP may pick that very port for this side and connect it to itself.
        Ok(Stream::Tcp(stream)) if stream.local_addr().ok() == stream.peer_addr().ok() => {
            Err(Failure::Passing("nothing listens there".to_owned()))
        }
        Ok(stream) => Ok(stream),
        Err(error) if is_final(&error) => Err(Failure::Final(error.to_string())),
        Err(error) => Err(Failure::Passing(error.to_string())),
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// What to say of bytes that are not a handshake.
pub(super) fn misheard(error: &LinkError) -> String {
    match error {
        LinkError::WrongKey => "handshake failed: wrong cluster key? Give all nodes the same key file".to_owned(),
        LinkError::Frame(FrameError::Version { theirs, ours }) => {
            format!("it speaks mesh version {theirs}, this process {ours}: run the same build of Squall on all nodes")
        }
        error => format!("it does not speak the mesh protocol: {error}"),
    }
}
