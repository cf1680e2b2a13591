//! The parent's rendezvous, where the nodes of one point meet.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use squall_transport::exchange::{ClusterKey, RendezvousServer, ServerOptions};

use crate::jobs::job::Meeting;

/// How long one turn of the server waits.
const TURN: Duration = Duration::from_millis(20);

/// A rendezvous with a key of its own, served by a thread until dropped.
pub(crate) struct Rendezvous {
    meeting: Meeting,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Rendezvous {
    /// For `nodes` nodes that reach this host at `address`.
    pub(crate) fn open(nodes: usize, address: IpAddr) -> Result<Rendezvous, String> {
        let key = ClusterKey::random();
        let options = ServerOptions::new(nodes);
        let address = SocketAddr::new(address, 0);
        let mut server = RendezvousServer::bind(address, &key, options).map_err(|error| error.to_string())?;
        let meeting = Meeting { address: server.local_addr(), key: key.to_hex() };
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let serve = move || {
            // Relaxed: a flag that publishes nothing. An error of poll leaves the nodes without a rendezvous, which they report.
            while !is_over.load(Ordering::Relaxed) && server.poll(TURN).is_ok() {}
        };
        let thread = thread::Builder::new().name("rendezvous".into()).spawn(serve).map_err(|error| error.to_string())?;
        Ok(Rendezvous { meeting, over, thread: Some(thread) })
    }

    pub(crate) fn meeting(&self) -> Meeting {
        self.meeting.clone()
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
