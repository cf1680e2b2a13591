//! Notices the end of peers: a thread that sleeps on their sockets and costs the data path one relaxed load.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::bell::Bell;
use crate::atomic::{AtomicBool, Ordering};
use crate::park;
use crate::rank::Rank;

/// What the watching thread tells the endpoint.
#[derive(Debug)]
pub(super) struct Gone {
    /// Set whenever a peer is newly gone.
    pub(super) news: AtomicBool,
    /// By rank.
    pub(super) peers: Vec<AtomicBool>,
}

/// The watching thread; ends with the value.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<Sockets>>,
}

/// Those that have not ended, with whom each leads to.
type Sockets = Vec<(Rank, UnixStream)>;

impl Watch {
    pub(super) fn start(members: usize, sockets: Sockets, bell: Bell) -> std::io::Result<(Watch, Arc<Gone>)> {
        let gone = Arc::new(Gone { news: AtomicBool::new(false), peers: (0..members).map(|_| AtomicBool::new(false)).collect() });
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let (their_gone, their_stop) = (Arc::clone(&gone), Arc::clone(&stop));
        let thread =
            std::thread::Builder::new().name("squall-watch".into()).spawn(move || watch(&their_gone, &their_stop, sockets, &bell))?;
        Ok((Watch { stop, thread: Some(thread) }, gone))
    }

    /// Ends the thread; the sockets that it watched.
    pub(super) fn stop(&mut self) -> Sockets {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

fn watch(gone: &Gone, stop: &OwnedFd, mut sockets: Sockets, bell: &Bell) -> Sockets {
    loop {
        let mut fds: Vec<PollFd<'_>> =
            sockets.iter().map(|(_, socket)| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::RDHUP)).collect();
        fds.push(PollFd::new(stop, PollFlags::IN));
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return sockets,
            Ok(_) => {}
        }
        let ended: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ended[sockets.len()] {
            return sockets;
        }
        let mut at = 0;
        sockets.retain(|(peer, _)| {
            let over = ended[at];
            at += 1;
            if over {
                gone.peers[peer.index()].store(true, Ordering::Relaxed);
            }
            !over
        });
        // Release: pairs with the acquire in `ShmEndpoint::poll`; the flags above are seen with it.
        gone.news.store(true, Ordering::Release);
        park::published();
        bell.ring();
    }
}
