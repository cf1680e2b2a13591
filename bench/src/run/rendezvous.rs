//! The parent's rendezvous, where the nodes of one point meet.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use squall_transport::Ports;
use squall_transport::exchange::{BindError, ClusterKey, Place, RendezvousServer, ServerOptions};

use crate::jobs::job::Meeting;
use crate::jobs::{os, threads};

/// Files that a process of a run has open, however many nodes there are: pipes, results, its memory, its own sockets.
const OPEN_FILES_BASE: u64 = 24;
/// The same for each node: in the parent its pipes and its connection, in another node over shared memory a socket,
/// memory and a handle of its process.
const OPEN_FILES_A_NODE: u64 = 5;
/// How long one turn of the server waits.
const TURN: Duration = Duration::from_millis(20);

/// A rendezvous with a key of its own, served by a thread until dropped.
pub(crate) struct Rendezvous {
    meeting: Meeting,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Rendezvous {
    /// For `nodes` nodes of this host, which need no address to meet.
    pub(crate) fn of_this_host(nodes: usize) -> Result<Rendezvous, String> {
        Rendezvous::open(nodes, Ports::ANY, |_| Place::local())
    }

    /// For `nodes` nodes, each on a host of its own, that reach this one at `address`, at one of `ports`.
    pub(crate) fn of_hosts(nodes: usize, address: IpAddr, ports: Ports) -> Result<Rendezvous, String> {
        Rendezvous::open(nodes, ports, |port| SocketAddr::new(address, port).into())
    }

    fn open(nodes: usize, ports: Ports, place: impl Fn(u16) -> Place) -> Result<Rendezvous, String> {
        check_open_files(nodes)?;
        let key = ClusterKey::random();
        let is_taken = |error: &BindError| matches!(error, BindError::Listen { reason, .. } if reason.kind() == ErrorKind::AddrInUse);
        let bind = |port| RendezvousServer::bind(place(port), &key, ServerOptions::new(nodes));
        let mut server = ports.first_free(bind, is_taken).map_err(|error| error.to_string())?;
        let meeting = Meeting { place: server.place().clone(), key: key.to_hex() };
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let serve = move || {
            // Relaxed: a flag that publishes nothing. An error of poll leaves the nodes without a rendezvous, which
            // they report.
            while !is_over.load(Ordering::Relaxed) && server.poll(TURN).is_ok() {}
        };
        let thread = threads::begin("rendezvous", serve).map_err(|error| error.to_string())?;
        Ok(Rendezvous { meeting, over, thread: Some(thread) })
    }

    pub(crate) fn meeting(&self) -> Meeting {
        self.meeting.clone()
    }
}

/// Whether a host of `nodes` nodes can open as many files as they take.
fn check_open_files(nodes: usize) -> Result<(), String> {
    let needed = OPEN_FILES_BASE + OPEN_FILES_A_NODE * nodes as u64;
    match os::open_files_max() {
        Some(limit) if limit < needed => Err(format!(
            "{nodes} nodes take up to {needed} open files a process, and the limit is {limit}; raise it with `ulimit -n {needed}`"
        )),
        _ => Ok(()),
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed; the nodes noticed.
            let _ = thread.join();
        }
    }
}
