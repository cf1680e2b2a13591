//! Making the links: who dials whom, tokens both ways, then memfds.
//!
//! The lower rank dials. The dialling side shows its token, the other answers with its own and its memfds, the first
//! sends its memfds. No step waits for one peer alone, so that one that is stopped holds up nobody's link with another.
//! Connections that have not shown a token give way to new ones where there are too many, or no descriptor is left; a
//! member that was pushed out so by strangers dials again. Where the exchange has patience, peers that have given no
//! memory at the end are absent, and their sockets are closed: a peer to which its side stood already finds its link
//! broken. Until it does it may write into the memory that it was given, as one that was stopped and removed may
//! ([`Fabric::severs`](crate::Fabric::severs)).
//!
//! A socket that both ends kept from retired endpoints, which they find out as `tcp` does, is used again: there both
//! send their memory at once, and of the regions that are still the same no memfd. Nothing else ever passes through it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use serde::{Deserialize, Serialize};

use super::bell::Bell;
use super::fence;
use super::memory::{NoMemory, REGIONS_MAX, receive_memory, send_memory, system};
use crate::absent::Absent;
use crate::endpoint::{OpenError, check_regions};
use crate::exchange::crowd::{Standing, gives_way};
use crate::exchange::door::{Door, Knock, is_short};
use crate::exchange::place::local_name;
use crate::exchange::stream::{Listener, Stream, connect_unix};
use crate::exchange::{Exchange, Place, connection_token, same_token};
use crate::link_name::{LinkName, Tag};
use crate::rank::Rank;
use crate::region::Region;

/// Time for all links; generous, since members of an oversubscribed host start one after another.
const LINK_UP_MAX: Duration = Duration::from_secs(30);
/// Connections that have not shown a token; beyond it one gives way to a new one.
const UNPROVEN_MAX: usize = 256;
/// Connections taken in before those that are there are heard.
const ACCEPTS_PER_TURN_MAX: usize = 64;
/// Between two attempts to connect to a peer that closed before it answered, or has too many waiting at its door; each
/// pause is twice the last.
const REDIAL_MIN: Duration = Duration::from_millis(1);
const REDIAL_MAX: Duration = Duration::from_millis(100);
const TOKEN_BYTES: usize = 32;
const HELLO_BYTES: usize = 2 + TOKEN_BYTES;
const PURPOSE: &str = "shm";
/// What a listener says in the place of its token to a member that it does without.
const DECLINED: &str = "shm declined";

/// What one peer gave.
pub(super) struct Link {
    pub(super) peer: Rank,
    pub(super) regions: Vec<Region>,
    pub(super) bell: Bell,
    pub(super) socket: UnixStream,
    pub(super) link_name: Option<LinkName>,
}

impl Link {
    /// Whether a region is one of this peer's.
    pub(super) fn has(&self, region: &Region) -> bool {
        self.regions.iter().any(|its| its.is_same(region))
    }
}

/// What led to a peer when its epoch ended here.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) link_name: LinkName,
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
    /// Sizes of its regions, so that all find at once who has others: nobody leaves before the others know why.
    region_bytes: Vec<u64>,
    fenceable: bool,
    /// Where it may run.
    cores: Vec<u32>,
    /// Of the sockets it kept: the rank of the peer, and the tag of their last epoch.
    kept: Vec<(Rank, Tag)>,
}

/// What came of meeting.
pub(super) struct Met {
    /// In order of rank.
    pub(super) links: Vec<Link>,
    /// By rank: why there is no link.
    pub(super) absent: Vec<Option<String>>,
    /// Whether I fence for all when I go to sleep.
    pub(super) fences_for_all: bool,
    /// Whether all who are linked do.
    pub(super) remote_fences: bool,
}

/// Links with all other members that can be had; `fenceable` says whether this one can be fenced from outside, `kept`
/// is what is left of the last epoch.
pub(super) fn connect(
    exchange: &mut dyn Exchange,
    regions: &[Region],
    bell: &Bell,
    fenceable: bool,
    kept: Vec<Kept>,
) -> Result<Met, OpenError> {
    assert!(regions.len() <= REGIONS_MAX, "at most {REGIONS_MAX} regions");
    let name = local_name("shm");
    let mut door = Door::new(Listener::bind(&Place::Local(name.clone())).map_err(system("binding a Unix socket"))?);
    let (mut absent, me, link_name) = (Absent::of(exchange), exchange.rank(), LinkName::of(exchange));
    let resumable = kept.into_iter().filter_map(|kept| Some((kept.link_name.find(&link_name)?, kept)));
    let mut resumable: Vec<(Rank, Kept)> = resumable.collect();
    let tags = resumable.iter().map(|(peer, kept)| (*peer, kept.link_name.tag)).collect();
    let region_bytes = regions.iter().map(|region| region.bytes() as u64).collect();
    let mine = Announcement { socket_name: name, region_bytes, fenceable, cores: fence::cores(exchange.members()), kept: tags };
    let announced = announce(exchange, &mut absent, regions, mine)?;
    // Whoever lacks an announcement relies on nobody, and may be relied on.
    let (pays, knows_all) = (fence::pays(announced.iter().map(|one| &*one.cores)), absent.peers().count() + 1 == announced.len());
    resumable.retain(|(peer, kept)| !absent.is_absent(*peer) && announced[peer.index()].kept.contains(&(me, kept.link_name.tag)));
    let mut links = Meeting::new(&mut door, exchange, &mut absent, regions, bell).link(&announced, resumable)?;
    links.iter_mut().for_each(|link| link.link_name = link_name[link.peer.index()]);
    let remote_fences = pays && knows_all && fenceable && links.iter().all(|link| announced[link.peer.index()].fenceable);
    let fences_for_all = fenceable && (pays || !knows_all);
    Ok(Met { links, absent: absent.into_reasons(), fences_for_all, remote_fences })
}

/// What all members announce; of an absent member it means nothing.
fn announce(
    exchange: &mut dyn Exchange,
    absent: &mut Absent,
    regions: &[Region],
    mine: Announcement,
) -> Result<Vec<Announcement>, OpenError> {
    let encoded = postcard::to_stdvec(&mine).expect("an announcement always encodes");
    let parts = exchange.all_gather("shm sockets", &encoded)?;
    absent.look(&parts);
    let mut announced = vec![mine; absent.members()];
    for peer in absent.peers().collect::<Vec<_>>() {
        match read_announcement(&parts[peer.index()], regions) {
            Ok(theirs) => announced[peer.index()] = theirs,
            Err(what) => absent.exclude(exchange, peer, wrong(peer, &what))?,
        }
    }
    Ok(announced)
}

fn read_announcement(part: &[u8], regions: &[Region]) -> Result<Announcement, String> {
    let theirs: Announcement = postcard::from_bytes(part).map_err(|error| format!("its announcement is unreadable ({error})"))?;
    check_regions(regions, theirs.region_bytes.iter().copied())?;
    Ok(theirs)
}

fn wrong(peer: Rank, what: &str) -> OpenError {
    OpenError::Peer { fabric: "shm", peer, what: what.to_owned() }
}

/// All connections while they are made.
struct Meeting<'a> {
    door: &'a mut Door,
    exchange: &'a mut dyn Exchange,
    absent: &'a mut Absent,
    regions: &'a [Region],
    bell: &'a Bell,
    token: [u8; 32],
    me: Rank,
    deadline: Instant,
    strangers: Vec<Stranger>,
    /// Why the last connection could not be let in, where nobody could make way for it.
    shortage: Option<std::io::Error>,
    redials: Vec<Redial>,
    waiting: Vec<Waiting>,
    links: Vec<Link>,
}

/// A peer that is to be dialled.
struct Redial {
    peer: Rank,
    due: Instant,
    /// Behind the next attempt.
    pause: Duration,
    /// Why the last one led to nothing.
    setback: std::io::Error,
}

/// A connection that somebody made and that has not shown its token.
struct Stranger {
    socket: UnixStream,
    /// Its process, if that is known.
    process: Option<i32>,
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
    /// The pause before I dial again, where it closes before it has answered.
    pause: Duration,
    /// The peer's regions of the last epoch, where the socket was kept.
    known: Vec<Region>,
}

impl<'a> Meeting<'a> {
    fn new(
        door: &'a mut Door,
        exchange: &'a mut dyn Exchange,
        absent: &'a mut Absent,
        regions: &'a [Region],
        bell: &'a Bell,
    ) -> Meeting<'a> {
        let (token, me) = (*exchange.token(), exchange.rank());
        let deadline = absent.deadline(LINK_UP_MAX);
        let (strangers, redials, waiting, links) = (Vec::new(), Vec::new(), Vec::new(), Vec::with_capacity(absent.members()));
        Meeting { door, exchange, absent, regions, bell, token, me, deadline, strangers, shortage: None, redials, waiting, links }
    }

    /// Takes up what was kept, dials every other higher rank, lets the lower ones connect, and swaps memory; the links
    /// by rank once nobody is missing.
    fn link(mut self, announced: &[Announcement], resumable: Vec<(Rank, Kept)>) -> Result<Vec<Link>, OpenError> {
        for (peer, kept) in resumable {
            let Kept { socket, mine, theirs: known, .. } = kept;
            match send_memory(&socket, self.regions, self.bell, &mine) {
                Ok(()) => self.waiting.push(Waiting { peer, socket, said: [0; TOKEN_BYTES], count: TOKEN_BYTES, pause: REDIAL_MIN, known }),
                Err(error) => self.fail(peer, system(&format!("sending memory to peer {peer}"))(error))?,
            }
        }
        for peer in self.absent.peers().filter(|&peer| peer > self.me && !self.is_waiting(peer)).collect::<Vec<_>>() {
            self.dial(announced[peer.index()].socket_name.as_bytes(), peer, REDIAL_MIN)?;
        }
        while let Some(missing) = self.missing() {
            if Instant::now() >= self.deadline {
                self.fail(missing, self.late(missing))?;
                continue;
            }
            self.wait()?;
            let gone = self.absent.gone(self.exchange);
            for stranger in std::mem::take(&mut self.strangers) {
                let kept = self.hear(stranger)?;
                self.strangers.extend(kept);
            }
            self.accept()?;
            let now = Instant::now();
            for redial in self.redials.extract_if(.., |redial| redial.due <= now).collect::<Vec<_>>() {
                self.dial(announced[redial.peer.index()].socket_name.as_bytes(), redial.peer, redial.pause)?;
            }
            for waiting in std::mem::take(&mut self.waiting) {
                self.press(waiting)?;
            }
            for peer in gone.into_iter().filter(|&peer| !self.is_linked(peer)).collect::<Vec<_>>() {
                self.fail(peer, wrong(peer, "it left while memory was exchanged; see its own error"))?;
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

    /// The first peer without a link that is not absent.
    fn missing(&self) -> Option<Rank> {
        self.absent.peers().find(|&peer| !self.is_linked(peer))
    }

    fn fail(&mut self, peer: Rank, error: OpenError) -> Result<(), OpenError> {
        self.waiting.retain(|waiting| waiting.peer != peer);
        self.redials.retain(|redial| redial.peer != peer);
        self.absent.exclude(self.exchange, peer, error)
    }

    /// What a peer that is late has not done.
    fn late(&self, peer: Rank) -> OpenError {
        if let Some(Redial { setback, .. }) = self.redials.iter().find(|redial| redial.peer == peer) {
            return wrong(peer, &format!("it did not answer in time ({setback}); is it out of descriptors, or flooded by strangers?"));
        }
        if let Some(shortage) = self.shortage.as_ref().filter(|_| !self.is_waiting(peer)) {
            return wrong(peer, &format!("it could not connect: {shortage} here; raise this process' limit of descriptors (ulimit -n)"));
        }
        match self.is_waiting(peer) {
            true => wrong(peer, "it shared no memory in time; is it stopped?"),
            false => wrong(peer, "it did not connect in time; did it fail, or is it stopped?"),
        }
    }

    fn proof(&self, from: Rank, to: Rank) -> [u8; TOKEN_BYTES] {
        connection_token(&self.token, from, to, PURPOSE)
    }

    /// Connects to `peer` and says who I am; again after `pause`, if too many wait at its door.
    fn dial(&mut self, name: &[u8], peer: Rank, pause: Duration) -> Result<(), OpenError> {
        if self.absent.is_absent(peer) {
            return Ok(());
        }
        let connected = loop {
            match connect_unix(name) {
                Err(error) if is_short(&error) && self.make_way() => {}
                connected => break connected,
            }
        };
        let socket = match connected {
            Ok(socket) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.redial(peer, pause, error);
                return Ok(());
            }
            Err(error) => return self.fail(peer, system(&format!("connecting to peer {peer} (is it on this host?)"))(error)),
        };
        let mut hello = [0; HELLO_BYTES];
        hello[..2].copy_from_slice(&self.me.0.to_le_bytes());
        hello[2..].copy_from_slice(&self.proof(self.me, peer));
        match (&socket).write_all(&hello) {
            Ok(()) => self.waiting.push(Waiting { peer, socket, said: [0; TOKEN_BYTES], count: 0, pause, known: Vec::new() }),
            Err(error) => self.redial(peer, pause, error),
        }
        Ok(())
    }

    fn redial(&mut self, peer: Rank, pause: Duration, setback: std::io::Error) {
        self.redials.push(Redial { peer, due: Instant::now() + pause, pause: (2 * pause).min(REDIAL_MAX), setback });
    }

    /// Sleeps until someone connects or says something, or it is time to look.
    fn wait(&self) -> Result<(), OpenError> {
        let now = Instant::now();
        let mut fds = Vec::new();
        if self.door.is_open(now) {
            fds.push(PollFd::from_borrowed_fd(self.door.as_fd(), PollFlags::IN));
        }
        let sockets = self.strangers.iter().map(|it| &it.socket).chain(self.waiting.iter().map(|it| &it.socket));
        fds.extend(sockets.map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)));
        let due = self.redials.iter().map(|redial| redial.due).chain(self.door.timer()).min();
        let nap = self.absent.nap(self.deadline).min(due.map_or(Duration::MAX, |due| due.saturating_duration_since(now)));
        let nap = Timespec { tv_sec: nap.as_secs() as i64, tv_nsec: i64::from(nap.subsec_nanos()) };
        match poll(&mut fds, Some(&nap)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(system("waiting for connections")(errno.into())),
        }
    }

    /// Takes connections in; those that have not proved themselves give way to new ones.
    fn accept(&mut self) -> Result<(), OpenError> {
        if !self.door.is_open(Instant::now()) {
            return Ok(());
        }
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.door.accept() {
                Knock::Came(Stream::Unix(socket), _) => {
                    if socket.set_nonblocking(true).is_err() || (self.strangers.len() >= UNPROVEN_MAX && !self.make_way()) {
                        continue;
                    }
                    let process = socket_peercred(&socket).ok().map(|peer| peer.pid.as_raw_nonzero().get());
                    let kept = self.hear(Stranger { socket, process, said: [0; HELLO_BYTES], count: 0 })?;
                    self.strangers.extend(kept);
                }
                Knock::Came(Stream::Tcp(_), _) => unreachable!("a Unix socket is listened at"),
                Knock::Nobody => break,
                Knock::Short(_) if self.make_way() => {}
                Knock::Short(error) => {
                    self.shortage = Some(error);
                    self.door.shut();
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sees to it that strangers do not hold the descriptors that a peer's memory needs: those that find none when they
    /// arrive are lost.
    fn make_room(&mut self) {
        let needed = self.regions.len() + 1;
        let fits = |door: &Door| {
            let copies = (0..needed).map_while(|_| door.as_fd().try_clone_to_owned().ok());
            copies.collect::<Vec<_>>().len() == needed
        };
        while !self.strangers.is_empty() && !fits(self.door) {
            self.make_way();
        }
    }

    /// Parts with the stranger that others have the best reason to be heard before; whether there is one.
    fn make_way(&mut self) -> bool {
        let standing = |stranger: &Stranger| if stranger.count == 0 { Standing::Silent } else { Standing::Speaking };
        let index = gives_way(self.strangers.iter().map(|stranger| (stranger.process, standing(stranger))));
        index.map(|index| self.strangers.remove(index)).is_some()
    }

    /// Reads what a stranger says and answers a member with my token and memory; keeps it while it may still prove
    /// itself.
    fn hear(&mut self, mut stranger: Stranger) -> Result<Option<Stranger>, OpenError> {
        match read_some(&stranger.socket, &mut stranger.said, &mut stranger.count) {
            Ok(true) => {}
            Ok(false) => return Ok(Some(stranger)),
            Err(_) => return Ok(None),
        }
        let peer = Rank(u16::from_le_bytes([stranger.said[0], stranger.said[1]]));
        let mut said = [0; TOKEN_BYTES];
        said.copy_from_slice(&stranger.said[2..]);
        if peer >= self.me || !same_token(&said, &self.proof(peer, self.me)) {
            return Ok(None);
        }
        let socket = stranger.socket;
        if self.is_linked(peer) || self.is_waiting(peer) || self.absent.is_absent(peer) {
            // If it is gone, it needs no answer.
            let _ = (&socket).write_all(&connection_token(&self.token, self.me, peer, DECLINED));
            return Ok(None);
        }
        let answered = (&socket).write_all(&self.proof(self.me, peer)).and_then(|()| send_memory(&socket, self.regions, self.bell, &[]));
        match answered {
            Ok(()) => self.waiting.push(Waiting { peer, socket, said, count: TOKEN_BYTES, pause: REDIAL_MIN, known: Vec::new() }),
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
                // It was pushed out by strangers, maybe. A peer that is gone refuses the next attempt.
                Err(error) => {
                    self.redial(peer, waiting.pause, error);
                    return Ok(());
                }
            }
            if same_token(&waiting.said, &connection_token(&self.token, peer, self.me, DECLINED)) {
                return self.fail(peer, wrong(peer, "it went on without this member"));
            }
            if !same_token(&waiting.said, &self.proof(peer, self.me)) {
                return self
                    .fail(peer, wrong(peer, "it showed a wrong token: another process took its socket's name; start the group again"));
            }
            if let Err(error) = send_memory(&waiting.socket, self.regions, self.bell, &[]) {
                return self.fail(peer, system(&format!("sending memory to peer {peer}"))(error));
            }
        }
        self.make_room();
        match receive_memory(&waiting.socket, self.regions, &waiting.known) {
            Ok(None) => self.waiting.push(waiting),
            Ok(Some((regions, bell))) => self.links.push(Link { peer, regions, bell, socket: waiting.socket, link_name: None }),
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
