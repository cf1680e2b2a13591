//! A rendezvous that is held by a process that is not the first host: it tells who is, and where.
//!
//! ```text
//!   comer --Hello--> meeting    one that leads: Lead; it answers At(its address)
//!                               the others: Wait, and once that is known Elsewhere(that address)
//! ```

use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use squall_transport::Rank;
use squall_transport::exchange::{BindError, ClusterKey, MEMBERS_MAX, RendezvousServer, ServerEvent, ServerOptions};

use super::talk::{At, Greeting, Hello};
use super::telling::tell;
use crate::jobs::threads;

/// How long one turn waits.
const TURN: Duration = Duration::from_millis(20);
/// How long it may last: as long as somebody holds it.
const ENDLESS: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A meeting that listens, and is held by nobody yet.
pub struct Meeting {
    server: RendezvousServer,
    /// Those that wait to hear where the first host is, and whether each might be it.
    waiting: Vec<(Rank, bool)>,
    /// Who was told to lead.
    leader: Option<Rank>,
    /// Where it listens.
    first: Option<SocketAddr>,
}

/// A meeting that is held until this is dropped.
pub struct Held {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Meeting {
    /// Listens at `address`.
    ///
    /// # Errors
    /// If it cannot.
    pub fn at(address: SocketAddr, key: &ClusterKey) -> Result<Meeting, BindError> {
        // More seats than there are hosts, so that those who come twice find one.
        let options = ServerOptions { join_timeout: ENDLESS, ..ServerOptions::new(MEMBERS_MAX) };
        Ok(Meeting { server: RendezvousServer::bind(address, key, options)?, waiting: Vec::new(), leader: None, first: None })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Holds it, in a thread.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn hold(mut self) -> io::Result<Held> {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let hold = move || {
            // Relaxed: a flag that publishes nothing. After an error of poll nobody is answered, which all notice.
            while !is_over.load(Ordering::Relaxed) {
                let Ok(events) = self.server.poll(TURN) else { return };
                events.into_iter().for_each(|event| self.take(event));
            }
        };
        let thread = threads::begin("meeting", hold)?;
        Ok(Held { over, thread: Some(thread) })
    }

    fn take(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Message { rank, bytes } if self.leader == Some(rank) => match serde_json::from_slice(&bytes) {
                Ok(At(first)) => self.found(without_interface(first)),
                Err(_) => self.server.turn_away(rank),
            },
            ServerEvent::Message { rank, bytes } => match serde_json::from_slice::<Hello>(&bytes) {
                Ok(hello) => self.hear(rank, &hello),
                Err(_) => self.part(rank, &Greeting::Refused("it does not greet as a host does: is it another program?".into())),
            },
            ServerEvent::Left { rank, .. } => {
                self.waiting.retain(|(other, _)| *other != rank);
                if self.leader == Some(rank) && self.first.is_none() {
                    self.leader = None;
                    self.choose();
                }
            }
            ServerEvent::Refused { address, reason } => tell(&format!("refused {address}: {reason}")),
            _ => {}
        }
    }

    fn hear(&mut self, rank: Rank, hello: &Hello) {
        if let Err(why) = Hello::check_build(hello, "who holds the rendezvous") {
            return self.part(rank, &Greeting::Refused(why));
        }
        if let Some(first) = self.first {
            return self.part(rank, &Greeting::Elsewhere(first));
        }
        self.waiting.push((rank, hello.leads()));
        self.say(rank, &Greeting::Wait);
        self.choose();
    }

    /// Has somebody lead, if nobody does.
    fn choose(&mut self) {
        if self.leader.is_none()
            && let Some(at) = self.waiting.iter().position(|(_, leads)| *leads)
        {
            let (rank, _) = self.waiting.remove(at);
            self.leader = Some(rank);
            self.say(rank, &Greeting::Lead);
        }
    }

    fn found(&mut self, first: SocketAddr) {
        self.first = Some(first);
        for (rank, _) in std::mem::take(&mut self.waiting) {
            self.part(rank, &Greeting::Elsewhere(first));
        }
    }

    fn say(&mut self, rank: Rank, greeting: &Greeting) {
        let greeting = serde_json::to_vec(greeting).expect("a greeting is plain data");
        // If it has left, its leaving is or will be noticed.
        let _ = self.server.send(rank, &greeting);
    }

    /// Last words to one that is not needed here any more.
    fn part(&mut self, rank: Rank, greeting: &Greeting) {
        self.say(rank, greeting);
        self.server.turn_away(rank);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

/// A link-local address without its interface, which is another one at each host.
fn without_interface(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => SocketAddrV6::new(*v6.ip(), v6.port(), v6.flowinfo(), 0).into(),
        other => other,
    }
}
