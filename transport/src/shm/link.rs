//! Making the links: who dials whom, tokens both ways, then memfds.
//!
//! The lower rank dials. The dialling side shows its token, the other answers with its own and its memfds, the first sends its memfds. No step waits for one
//! peer alone, so that one that is stopped holds up nobody's link with another. Where the exchange has patience, peers that have given no memory at the end
//! are holes, and their sockets are closed: a peer to which its side stood already finds its link broken. Until it does it may write into the memory that it
//! was given, as one that was stopped and removed may ([`Fabric::severs`](crate::Fabric::severs)).
//!
//! A socket that both ends kept from retired endpoints, which they find out as `tcp` does, is used again: there both send their memory at once, and of the
//! regions that are still the same no memfd. Nothing else ever passes through it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::bell::Bell;
use super::memory::{NoMemory, REGIONS_MAX, receive_memory, send_memory, system};
use crate::endpoint::OpenError;
use crate::exchange::{Exchange, connection_token, same_token};
use crate::holes::Holes;
use crate::lasting::{Lasting, Tag};
use crate::rank::Rank;
use crate::region::Region;

/// Time for all links; generous, since members of an oversubscribed host start one after another.
const LINK_UP_MAX: Duration = Duration::from_secs(30);
/// Connections that have not shown a token; beyond it the oldest is dropped.
const UNPROVEN_MAX: usize = 256;
const TOKEN_BYTES: usize = 32;
const HELLO_BYTES: usize = 2 + TOKEN_BYTES;
const PURPOSE: &str = "shm";

/// What one peer gave.
pub(super) struct Link {
    pub(super) peer: Rank,
    pub(super) regions: Vec<Region>,
    pub(super) bell: Bell,
    pub(super) socket: UnixStream,
    pub(super) lasting: Option<Lasting>,
}

/// What led to a peer when its epoch ended here.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) lasting: Lasting,
    pub(super) socket: UnixStream,
    /// What the peer has mapped of me.
    pub(super) mine: Vec<Region>,
    /// The peer's regions as they are mapped here.
    pub(super) theirs: Vec<Region>,
}

/// What a member tells the others before it links with them.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Announcement {
    socket_name: String,
    fenceable: bool,
    /// Of the sockets it kept: the rank of the peer, and the tag of their last epoch.
    kept: Vec<(Rank, Tag)>,
}

/// What came of meeting.
pub(super) struct Met {
    /// In order of rank.
    pub(super) links: Vec<Link>,
    /// By rank: why there is no link.
    pub(super) holes: Vec<Option<String>>,
    /// Whether all who are linked can be fenced from outside.
    pub(super) fenceable: bool,
}

/// Links with all other members that can be had; `fenceable` says whether this one can be fenced from outside, `kept` is what is left of the last epoch.
pub(super) fn connect(
    exchange: &mut dyn Exchange,
    regions: &[Region],
    bell: &Bell,
    fenceable: bool,
    kept: Vec<Kept>,
) -> Result<Met, OpenError> {
    assert!(regions.len() <= REGIONS_MAX, "at most {REGIONS_MAX} regions");
    let name = format!("squall-shm-{}", random_name()?);
    let address = SocketAddr::from_abstract_name(&name).map_err(system("naming a Unix socket"))?;
    let listener = UnixListener::bind_addr(&address).map_err(system("binding a Unix socket"))?;
    listener.set_nonblocking(true).map_err(system("setting up a Unix socket"))?;
    let (mut holes, me, lasting) = (Holes::of(exchange), exchange.rank(), Lasting::of(exchange));
    let resumable = kept.into_iter().filter_map(|kept| Some((kept.lasting.find(&lasting)?, kept)));
    let mut resumable: Vec<(Rank, Kept)> = resumable.collect();
    let tags = resumable.iter().map(|(peer, kept)| (*peer, kept.lasting.tag)).collect();
    let announced = announce(exchange, &mut holes, Announcement { socket_name: name, fenceable, kept: tags })?;
    resumable.retain(|(peer, kept)| !holes.is_hole(*peer) && announced[peer.index()].kept.contains(&(me, kept.lasting.tag)));
    let mut links = Meeting::new(&listener, exchange, &mut holes, regions, bell).link(&announced, resumable)?;
    links.iter_mut().for_each(|link| link.lasting = lasting[link.peer.index()]);
    let fenceable = fenceable && links.iter().all(|link| announced[link.peer.index()].fenceable);
    Ok(Met { links, holes: holes.into_reasons(), fenceable })
}

/// What all members announce; of a hole it means nothing.
fn announce(exchange: &mut dyn Exchange, holes: &mut Holes, mine: Announcement) -> Result<Vec<Announcement>, OpenError> {
    let encoded = postcard::to_stdvec(&mine).expect("an announcement always encodes");
    let parts = exchange.all_gather("shm sockets", &encoded)?;
    holes.look(&parts);
    let mut announced = vec![mine; holes.members()];
    for peer in holes.peers().collect::<Vec<_>>() {
        match postcard::from_bytes(&parts[peer.index()]) {
            Ok(theirs) => announced[peer.index()] = theirs,
            Err(error) => holes.dig(exchange, peer, wrong(peer, &format!("its announcement is unreadable ({error})")))?,
        }
    }
    Ok(announced)
}

fn wrong(peer: Rank, what: &str) -> OpenError {
    OpenError::Peer { fabric: "shm", peer, what: what.to_owned() }
}

fn random_name() -> Result<String, OpenError> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).map_err(system("reading /dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// All connections while they are made.
struct Meeting<'a> {
    listener: &'a UnixListener,
    exchange: &'a mut dyn Exchange,
    holes: &'a mut Holes,
    regions: &'a [Region],
    bell: &'a Bell,
    token: [u8; 32],
    me: Rank,
    deadline: Instant,
    strangers: Vec<Stranger>,
    waiting: Vec<Waiting>,
    links: Vec<Link>,
}

/// A connection that somebody made and that has not shown its token.
struct Stranger {
    socket: UnixStream,
    said: [u8; HELLO_BYTES],
    count: usize,
}

/// A connection with a peer that has not given its memory.
struct Waiting {
    peer: Rank,
    socket: UnixStream,
    /// What has come of its token, where I dialled; complete where it did.
    said: [u8; TOKEN_BYTES],
    count: usize,
    /// The peer's regions of the last epoch, where the socket was kept.
    known: Vec<Region>,
}

impl<'a> Meeting<'a> {
    fn new(
        listener: &'a UnixListener,
        exchange: &'a mut dyn Exchange,
        holes: &'a mut Holes,
        regions: &'a [Region],
        bell: &'a Bell,
    ) -> Meeting<'a> {
        let (token, me) = (*exchange.token(), exchange.rank());
        let deadline = holes.deadline(LINK_UP_MAX);
        let (strangers, waiting, links) = (Vec::new(), Vec::new(), Vec::with_capacity(holes.members()));
        Meeting { listener, exchange, holes, regions, bell, token, me, deadline, strangers, waiting, links }
    }

    /// Takes up what was kept, dials every other higher rank, lets the lower ones connect, and swaps memory; the links by rank once nobody is missing.
    fn link(mut self, announced: &[Announcement], resumable: Vec<(Rank, Kept)>) -> Result<Vec<Link>, OpenError> {
        for (peer, kept) in resumable {
            let Kept { socket, mine, theirs: known, .. } = kept;
            match send_memory(&socket, self.regions, self.bell, &mine) {
                Ok(()) => self.waiting.push(Waiting { peer, socket, said: [0; TOKEN_BYTES], count: TOKEN_BYTES, known }),
                Err(error) => self.fail(peer, system(&format!("sending memory to peer {peer}"))(error))?,
            }
        }
        for peer in self.holes.peers().filter(|&peer| peer > self.me && !self.is_waiting(peer)).collect::<Vec<_>>() {
            match self.dial(announced[peer.index()].socket_name.as_bytes(), peer) {
                Ok(socket) => self.waiting.push(Waiting { peer, socket, said: [0; TOKEN_BYTES], count: 0, known: Vec::new() }),
                Err(error) => self.fail(peer, error)?,
            }
        }
        while let Some(missing) = self.missing() {
            if Instant::now() >= self.deadline {
                self.fail(missing, self.late(missing))?;
                continue;
            }
            self.wait()?;
            let gone = self.holes.gone(self.exchange);
            self.accept()?;
            for stranger in std::mem::take(&mut self.strangers) {
                let kept = self.hear(stranger)?;
                self.strangers.extend(kept);
            }
            if self.strangers.len() == UNPROVEN_MAX {
                self.strangers.remove(0);
            }
            for waiting in std::mem::take(&mut self.waiting) {
                self.press(waiting)?;
            }
            for peer in gone.into_iter().filter(|&peer| !self.is_linked(peer)).collect::<Vec<_>>() {
                self.fail(peer, wrong(peer, "left while memory was swapped; look at its own error"))?;
            }
        }
        self.links.sort_by_key(|link| link.peer);
        Ok(self.links)
    }

    fn is_linked(&self, peer: Rank) -> bool {
        self.links.iter().any(|link| link.peer == peer)
    }

    fn is_waiting(&self, peer: Rank) -> bool {
        self.waiting.iter().any(|waiting| waiting.peer == peer)
    }

    /// The first peer without a link that is no hole.
    fn missing(&self) -> Option<Rank> {
        self.holes.peers().find(|&peer| !self.is_linked(peer))
    }

    fn fail(&mut self, peer: Rank, error: OpenError) -> Result<(), OpenError> {
        self.waiting.retain(|waiting| waiting.peer != peer);
        self.holes.dig(self.exchange, peer, error)
    }

    /// What a peer that is late has not done.
    fn late(&self, peer: Rank) -> OpenError {
        let connected = self.is_waiting(peer);
        wrong(
            peer,
            if connected { "gave no memory in time; is it stopped?" } else { "did not connect in time; did it fail, or is it stopped?" },
        )
    }

    fn proof(&self, from: Rank, to: Rank) -> [u8; TOKEN_BYTES] {
        connection_token(&self.token, from, to, PURPOSE)
    }

    fn dial(&self, name: &[u8], peer: Rank) -> Result<UnixStream, OpenError> {
        let address = SocketAddr::from_abstract_name(name).map_err(system(&format!("peer {peer} gave no socket name")))?;
        let connected = UnixStream::connect_addr(&address);
        let socket = connected.map_err(system(&format!("connecting to peer {peer} (is it on this host?)")))?;
        let mut hello = [0; HELLO_BYTES];
        hello[..2].copy_from_slice(&self.me.0.to_le_bytes());
        hello[2..].copy_from_slice(&self.proof(self.me, peer));
        let greeted = socket.set_nonblocking(true).and_then(|()| (&socket).write_all(&hello));
        greeted.map_err(system(&format!("greeting peer {peer}")))?;
        Ok(socket)
    }

    /// Sleeps until someone connects or says something, or it is time to look.
    fn wait(&self) -> Result<(), OpenError> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)];
        let sockets = self.strangers.iter().map(|it| &it.socket).chain(self.waiting.iter().map(|it| &it.socket));
        fds.extend(sockets.map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)));
        let nap = self.holes.nap(self.deadline);
        let nap = Timespec { tv_sec: nap.as_secs() as i64, tv_nsec: i64::from(nap.subsec_nanos()) };
        match poll(&mut fds, Some(&nap)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(system("waiting for connections")(errno.into())),
        }
    }

    /// Takes connections in while there is room for those that have not proved themselves.
    fn accept(&mut self) -> Result<(), OpenError> {
        while self.strangers.len() < UNPROVEN_MAX {
            match self.listener.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(true).map_err(system("setting up a connection"))?;
                    self.strangers.push(Stranger { socket, said: [0; HELLO_BYTES], count: 0 });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => return Err(system("accepting a connection")(error)),
            }
        }
        Ok(())
    }

    /// Reads what a stranger says and answers a member with my token and memory; keeps it while it may still prove itself.
    fn hear(&mut self, mut stranger: Stranger) -> Result<Option<Stranger>, OpenError> {
        match read_some(&stranger.socket, &mut stranger.said, &mut stranger.count) {
            Ok(true) => {}
            Ok(false) => return Ok(Some(stranger)),
            Err(_) => return Ok(None),
        }
        let peer = Rank(u16::from_le_bytes([stranger.said[0], stranger.said[1]]));
        let mut said = [0; TOKEN_BYTES];
        said.copy_from_slice(&stranger.said[2..]);
        let is_known = self.is_linked(peer) || self.is_waiting(peer);
        if peer >= self.me || is_known || self.holes.is_hole(peer) || !same_token(&said, &self.proof(peer, self.me)) {
            return Ok(None);
        }
        let socket = stranger.socket;
        let answered = (&socket).write_all(&self.proof(self.me, peer)).and_then(|()| send_memory(&socket, self.regions, self.bell, &[]));
        match answered {
            Ok(()) => self.waiting.push(Waiting { peer, socket, said, count: TOKEN_BYTES, known: Vec::new() }),
            Err(error) => self.fail(peer, system(&format!("answering peer {peer}"))(error))?,
        }
        Ok(None)
    }

    /// Brings a connection with a peer as far as it goes.
    fn press(&mut self, mut waiting: Waiting) -> Result<(), OpenError> {
        let peer = waiting.peer;
        if waiting.count < TOKEN_BYTES {
            match read_some(&waiting.socket, &mut waiting.said, &mut waiting.count) {
                Ok(true) => {}
                Ok(false) => {
                    self.waiting.push(waiting);
                    return Ok(());
                }
                Err(error) => return self.fail(peer, system(&format!("waiting for peer {peer} to answer"))(error)),
            }
            if !same_token(&waiting.said, &self.proof(peer, self.me)) {
                return self.fail(peer, wrong(peer, "showed a wrong token: another process took its socket's name; start the group again"));
            }
            if let Err(error) = send_memory(&waiting.socket, self.regions, self.bell, &[]) {
                return self.fail(peer, system(&format!("sending memory to peer {peer}"))(error));
            }
        }
        match receive_memory(&waiting.socket, self.regions, &waiting.known) {
            Ok(None) => self.waiting.push(waiting),
            Ok(Some((regions, bell))) => self.links.push(Link { peer, regions, bell, socket: waiting.socket, lasting: None }),
            Err(NoMemory::Mine(error)) => return Err(error),
            Err(NoMemory::Theirs(what)) => return self.fail(peer, wrong(peer, &what)),
        }
        Ok(())
    }
}

/// Reads on into `said`, of which `count` bytes are there; whether it is full.
fn read_some(mut socket: &UnixStream, said: &mut [u8], count: &mut usize) -> std::io::Result<bool> {
    match socket.read(&mut said[*count..]) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(got) => {
            *count += got;
            Ok(*count == said.len())
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
        Err(error) => Err(error),
    }
}
