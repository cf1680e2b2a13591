//! The witness of groups of two: a thread of its own, as `squall witness` is a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use squall_group::WitnessService;
use squall_transport::exchange::{ClusterKey, random_node};

use crate::jobs::fabric::mesh_of_this_host;

/// Between two looks at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A witness that serves until it is dropped.
pub(super) struct Witness {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Keeps what it says in `file`.
    ///
    /// # Errors
    /// Why it cannot listen or write.
    pub(super) fn start(key: &ClusterKey, file: &Path) -> Result<Witness, String> {
        let mesh = mesh_of_this_host(key, random_node()).map_err(|error| format!("the witness: {error}"))?;
        let address = mesh.address();
        let mut service = WitnessService::new(mesh, Some(file)).map_err(|error| error.to_string())?;
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let serve = move || {
            // Relaxed: a flag that publishes nothing. What cannot be written down is not said: whoever asked stops,
            // which is found.
            while !is_over.load(Ordering::Relaxed) && service.serve_until(Instant::now() + LOOK_EVERY).is_ok() {}
        };
        let thread = thread::Builder::new().name("witness".into()).spawn(serve).map_err(|error| format!("the witness: {error}"))?;
        Ok(Witness { address, over, thread: Some(thread) })
    }

    /// Where it is asked.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed; the members noticed.
            let _ = thread.join();
        }
    }
}
