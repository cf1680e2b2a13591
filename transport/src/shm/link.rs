//! Making the links: who dials whom, tokens both ways, then memfds.
//!
//! The lower rank dials. The dialling side shows its token, the other answers with its own and its memfds, the first sends its memfds. No step waits for one
//! peer alone, so that one that is stopped holds up nobody's link with another. Where the exchange has patience, peers that have given no memory at the end
//! are holes, and their sockets are closed: a peer to which its side stood already finds its link broken. Until it does it may write into the memory that it
//! was given, as one that was stopped and removed may ([`Fabric::severs`](crate::Fabric::severs)).

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg,
    sendmsg,
};

use super::bell::Bell;
use crate::endpoint::OpenError;
use crate::exchange::{Exchange, connection_token, same_token};
use crate::holes::Holes;
use crate::rank::Rank;
use crate::region::{Region, RegionError};

/// Regions an endpoint may be opened with.
const REGIONS_MAX: usize = 8;
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

/// Links with all other members that can be had; `fenceable` says whether this one can be fenced from outside.
pub(super) fn connect(exchange: &mut dyn Exchange, regions: &[Region], bell: &Bell, fenceable: bool) -> Result<Met, OpenError> {
    assert!(regions.len() <= REGIONS_MAX, "at most {REGIONS_MAX} regions");
    let name = format!("squall-shm-{}", random_name()?);
    let address = SocketAddr::from_abstract_name(&name).map_err(system("naming a Unix socket"))?;
    let listener = UnixListener::bind_addr(&address).map_err(system("binding a Unix socket"))?;
    listener.set_nonblocking(true).map_err(system("setting up a Unix socket"))?;
    let mut mine = vec![u8::from(fenceable)];
    mine.extend_from_slice(name.as_bytes());
    let mut holes = Holes::of(exchange);
    let given = exchange.all_gather("shm socket names", &mine)?;
    holes.look(&given);
    let links = Meeting::new(&listener, exchange, &mut holes, regions, bell).link(&given)?;
    let fenceable = fenceable && links.iter().all(|link| given[link.peer.index()].first() == Some(&1));
    Ok(Met { links, holes: holes.into_reasons(), fenceable })
}

fn system(what: &str) -> impl FnOnce(std::io::Error) -> OpenError {
    let what = what.to_owned();
    move |source| OpenError::System { fabric: "shm", what, source }
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

    /// Dials every higher rank, lets every lower one connect, and swaps memory; the links by rank once nobody is missing.
    fn link(mut self, given: &[Vec<u8>]) -> Result<Vec<Link>, OpenError> {
        for peer in self.holes.peers().filter(|&peer| peer > self.me).collect::<Vec<_>>() {
            match self.dial(given[peer.index()].get(1..).unwrap_or_default(), peer) {
                Ok(socket) => self.waiting.push(Waiting { peer, socket, said: [0; TOKEN_BYTES], count: 0 }),
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
        let connected = self.waiting.iter().any(|waiting| waiting.peer == peer);
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
        let is_known = self.is_linked(peer) || self.waiting.iter().any(|waiting| waiting.peer == peer);
        if peer >= self.me || is_known || self.holes.is_hole(peer) || !same_token(&said, &self.proof(peer, self.me)) {
            return Ok(None);
        }
        let socket = stranger.socket;
        let answered = (&socket).write_all(&self.proof(self.me, peer)).and_then(|()| send_memory(&socket, self.regions, self.bell));
        match answered {
            Ok(()) => self.waiting.push(Waiting { peer, socket, said, count: TOKEN_BYTES }),
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
            if let Err(error) = send_memory(&waiting.socket, self.regions, self.bell) {
                return self.fail(peer, system(&format!("sending memory to peer {peer}"))(error));
            }
        }
        match receive_memory(&waiting.socket, self.regions.len()) {
            Ok(None) => self.waiting.push(waiting),
            Ok(Some((regions, bell))) => self.links.push(Link { peer, regions, bell, socket: waiting.socket }),
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

fn send_memory(socket: &UnixStream, regions: &[Region], bell: &Bell) -> std::io::Result<()> {
    let mut sizes = Vec::with_capacity(8 * (REGIONS_MAX + 1));
    sizes.extend_from_slice(&(regions.len() as u64).to_le_bytes());
    for region in regions {
        sizes.extend_from_slice(&(region.bytes() as u64).to_le_bytes());
    }
    let fds: Vec<BorrowedFd<'_>> = regions.iter().map(Region::fd).chain([bell.fd()]).collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REGIONS_MAX + 1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(socket, &[IoSlice::new(&sizes)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == sizes.len() { Ok(()) } else { Err(std::io::ErrorKind::WriteZero.into()) }
}

/// Why a peer's memory could not be taken.
enum NoMemory {
    /// I lack what it takes.
    Mine(OpenError),
    /// It sent none, or nonsense.
    Theirs(String),
}

impl From<RegionError> for NoMemory {
    fn from(error: RegionError) -> NoMemory {
        match error {
            RegionError::Peer { .. } => NoMemory::Theirs(error.to_string()),
            error => NoMemory::Mine(error.into()),
        }
    }
}

/// The memory of a peer, `region_count` regions and its bell, if it has come.
fn receive_memory(socket: &UnixStream, region_count: usize) -> Result<Option<(Vec<Region>, Bell)>, NoMemory> {
    let mut bytes = [0; 8 * (REGIONS_MAX + 1)];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REGIONS_MAX + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = match recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
        Ok(got) => got,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Err(errno) => return Err(NoMemory::Theirs(format!("broke off while linking: {errno}"))),
    };
    if got.flags.contains(ReturnFlags::CTRUNC) {
        let what = "taking a peer's memory; is the limit of open files (`ulimit -n`) too low?";
        return Err(NoMemory::Mine(system(what)(rustix::io::Errno::MFILE.into())));
    }
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    let words: Vec<u64> =
        bytes[..got.bytes].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("chunks of 8 bytes"))).collect();
    if words.first() != Some(&(region_count as u64)) || words.len() != region_count + 1 || fds.len() != region_count + 1 {
        return Err(NoMemory::Theirs("ended or sent no memory while linking; look at its own error".into()));
    }
    let bell = Bell::of_peer(fds.pop().expect("one more descriptor than regions"))?;
    let regions = fds.into_iter().zip(&words[1..]).map(|(fd, &bytes)| Region::map(fd, bytes as usize)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some((regions, bell)))
}
