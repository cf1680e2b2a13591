//! How the sockets come to be: every member listens, the lower rank dials the higher, and both prove themselves.
//!
//! ```text
//!   dialler                                    listener
//!   magic, its rank, token(dialler -> listener)  -->
//!                            <--  token(listener -> dialler)
//! ```
//! A connection that does not show the token in time is dropped and does no harm to the others. No step waits for one peer alone, so that one that is
//! stopped holds up nobody's link with another. Where the exchange has patience, peers without a socket at the end are holes; a member that gave
//! another up has closed its end, or never opens it, which the other finds as a link that broke.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::kept::Kept;
use super::limits::{LINK_UP_MS_MAX, UNPROVEN_MAX};
use super::link::Link;
use crate::endpoint::OpenError;
use crate::exchange::{Exchange, connection_token, same_token};
use crate::holes::Holes;
use crate::lasting::{Lasting, Tag};
use crate::lost::give_up_after;
use crate::rank::Rank;
use crate::region::Region;

/// Names the protocol and its version.
const MAGIC: [u8; 8] = *b"squltcp2";
const TOKEN_BYTES: usize = 32;
const HELLO_BYTES: usize = MAGIC.len() + 2 + TOKEN_BYTES;
const PURPOSE: &str = "tcp data";

/// What a member tells the others before the sockets are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Announcement {
    listens_at: SocketAddr,
    region_bytes: Vec<u64>,
    /// Of the sockets it kept: the rank of the peer, and the tag of their last epoch.
    kept: Vec<(Rank, Tag)>,
}

/// What came of meeting, by rank.
pub(super) struct Met {
    /// None to myself and to holes.
    pub(super) links: Vec<Option<Link>>,
    /// Why there is no link.
    pub(super) holes: Vec<Option<String>>,
}

/// What my ends of all links are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Where they listen and dial from.
    pub(super) bind: IpAddr,
    /// How long a peer's host may be silent.
    pub(super) lost_after: Duration,
}

/// Links to all other members that can be had; `kept` are my sockets of the last epoch.
pub(super) fn meet(ends: &Ends, exchange: &mut dyn Exchange, regions: &[Region], kept: Vec<Kept>) -> Result<Met, OpenError> {
    let listener = listen(ends.bind)?;
    let address = listener.local_addr().map_err(failed("reading the listener's address"))?;
    let (mut holes, me, lasting) = (Holes::of(exchange), exchange.rank(), Lasting::of(exchange));
    let resumable = kept.into_iter().filter_map(|kept| Some((kept.lasting.find(&lasting)?, kept)));
    let mut resumable: Vec<(Rank, Kept)> = resumable.collect();
    let mine = Announcement {
        listens_at: address,
        region_bytes: regions.iter().map(|region| region.bytes() as u64).collect(),
        kept: resumable.iter().map(|(peer, kept)| (*peer, kept.lasting.tag)).collect(),
    };
    let announced = announce(exchange, &mut holes, mine)?;
    resumable.retain(|(peer, kept)| !holes.is_hole(*peer) && announced[peer.index()].kept.contains(&(me, kept.lasting.tag)));
    let addresses: Vec<_> = announced.iter().map(|announced| announced.listens_at).collect();
    let sockets = Meeting::new(&listener, exchange, &mut holes, resumable).link(ends.bind, &addresses)?;
    for socket in sockets.iter().flatten() {
        let set_up = socket.set_nodelay(true).and_then(|()| give_up_after(socket, ends.lost_after));
        set_up.map_err(failed("setting up a data socket"))?;
    }
    if exchange.patience().is_none() {
        exchange.all_gather("tcp linked", &[])?;
    }
    let links = sockets.into_iter().zip(announced).zip(lasting);
    let link = |((socket, announced), lasting): ((Option<TcpStream>, Announcement), Option<Lasting>)| {
        socket.map(|socket| Link::new(socket, announced.region_bytes, lasting))
    };
    Ok(Met { links: links.map(link).collect(), holes: holes.into_reasons() })
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> OpenError {
    move |source| OpenError::System { fabric: "tcp", what: what.into(), source }
}

/// A socket whose buffers are left to the kernel, which grows them with the traffic: of the fixed sizes from 256 KiB to 4 MiB none was faster on
/// loopback, and a small receive buffer halved the throughput.
fn stream_socket(address: IpAddr) -> std::io::Result<Socket> {
    Socket::new(Domain::for_address(SocketAddr::new(address, 0)), Type::STREAM, None)
}

fn listen(bind: IpAddr) -> Result<TcpListener, OpenError> {
    let open = || {
        let socket = stream_socket(bind)?;
        socket.bind(&SocketAddr::new(bind, 0).into())?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    let what = |source| OpenError::System { fabric: "tcp", what: format!("listening on {bind}; is it an address of this host?"), source };
    open().map_err(what)
}

/// What all members announce; of a hole it means nothing.
fn announce(exchange: &mut dyn Exchange, holes: &mut Holes, mine: Announcement) -> Result<Vec<Announcement>, OpenError> {
    let encoded = postcard::to_stdvec(&mine).expect("an announcement always encodes");
    let parts = exchange.all_gather("tcp address and regions", &encoded)?;
    holes.look(&parts);
    let regions = mine.region_bytes.len();
    let mut announced = vec![mine; holes.members()];
    for peer in holes.peers().collect::<Vec<_>>() {
        match read_announcement(&parts[peer.index()], regions) {
            Ok(theirs) => announced[peer.index()] = theirs,
            Err(what) => holes.dig(exchange, peer, OpenError::Peer { fabric: "tcp", peer, what })?,
        }
    }
    Ok(announced)
}

fn read_announcement(part: &[u8], regions: usize) -> Result<Announcement, String> {
    let theirs: Announcement = postcard::from_bytes(part).map_err(|error| format!("its announcement is unreadable ({error})"))?;
    match theirs.region_bytes.len() {
        count if count == regions => Ok(theirs),
        count => Err(format!("it opens with {count} regions where I have {regions}; same program?")),
    }
}

/// All connections while they are made.
struct Meeting<'a> {
    listener: &'a TcpListener,
    exchange: &'a mut dyn Exchange,
    holes: &'a mut Holes,
    token: [u8; 32],
    me: Rank,
    deadline: Instant,
    /// Sockets of the last epoch whose peers have not ended it yet.
    resuming: Vec<(Rank, Kept)>,
    dialled: Vec<Dialled>,
    unproven: Vec<Unproven>,
    /// By rank: sockets whose other end has proved itself.
    sockets: Vec<Option<TcpStream>>,
}

/// A connection that I made and that was not answered.
struct Dialled {
    peer: Rank,
    address: SocketAddr,
    socket: TcpStream,
    /// It is connected, and I said who I am.
    greeted: bool,
    said: [u8; TOKEN_BYTES],
    count: usize,
}

/// A connection that somebody made and that has not shown its token.
struct Unproven {
    socket: TcpStream,
    said: [u8; HELLO_BYTES],
    count: usize,
}

impl<'a> Meeting<'a> {
    fn new(listener: &'a TcpListener, exchange: &'a mut dyn Exchange, holes: &'a mut Holes, resuming: Vec<(Rank, Kept)>) -> Meeting<'a> {
        let (token, me) = (*exchange.token(), exchange.rank());
        let deadline = holes.deadline(Duration::from_millis(LINK_UP_MS_MAX));
        let sockets = (0..holes.members()).map(|_| None).collect();
        Meeting { listener, exchange, holes, token, me, deadline, resuming, dialled: Vec::new(), unproven: Vec::new(), sockets }
    }

    /// Takes up kept sockets again, dials every other higher rank, lets the lower ones connect; the sockets by rank once nobody is missing.
    fn link(mut self, bind: IpAddr, addresses: &[SocketAddr]) -> Result<Vec<Option<TcpStream>>, OpenError> {
        for peer in self.holes.peers().filter(|&peer| peer > self.me && !self.is_resuming(peer)).collect::<Vec<_>>() {
            self.dial(bind, peer, addresses[peer.index()])?;
        }
        // Most marks have come before their sockets were to be used again.
        self.resume()?;
        while let Some(missing) = self.missing() {
            if Instant::now() >= self.deadline {
                self.fail(missing, self.late(missing))?;
                continue;
            }
            self.wait()?;
            let gone = self.holes.gone(self.exchange);
            self.resume()?;
            self.accept()?;
            for stranger in std::mem::take(&mut self.unproven) {
                let kept = self.hear(stranger);
                self.unproven.extend(kept);
            }
            if self.unproven.len() == UNPROVEN_MAX {
                self.unproven.remove(0);
            }
            for dialled in std::mem::take(&mut self.dialled) {
                self.press(dialled)?;
            }
            for peer in gone.into_iter().filter(|peer| self.sockets[peer.index()].is_none()).collect::<Vec<_>>() {
                self.fail(peer, OpenError::Peer { fabric: "tcp", peer, what: "it left while sockets were made".into() })?;
            }
        }
        Ok(self.sockets)
    }

    fn is_resuming(&self, peer: Rank) -> bool {
        self.resuming.iter().any(|(other, _)| *other == peer)
    }

    /// Takes up the kept sockets whose peers have ended the last epoch.
    fn resume(&mut self) -> Result<(), OpenError> {
        for (peer, mut kept) in std::mem::take(&mut self.resuming) {
            match kept.read() {
                _ if self.holes.is_hole(peer) => {}
                Ok(true) => self.sockets[peer.index()] = Some(kept.into_socket()),
                Ok(false) => self.resuming.push((peer, kept)),
                Err(error) => {
                    let what = format!("its socket of the last epoch broke ({error}); did it fail?");
                    self.fail(peer, OpenError::Peer { fabric: "tcp", peer, what })?;
                }
            }
        }
        Ok(())
    }

    /// The first peer without a socket that is no hole.
    fn missing(&self) -> Option<Rank> {
        self.holes.peers().find(|peer| self.sockets[peer.index()].is_none())
    }

    fn fail(&mut self, peer: Rank, error: OpenError) -> Result<(), OpenError> {
        self.holes.dig(self.exchange, peer, error)
    }

    /// What a peer that is late has not done.
    fn late(&self, peer: Rank) -> OpenError {
        if self.is_resuming(peer) {
            let what = "did not end the last epoch in time; is it stopped?".to_owned();
            return OpenError::Peer { fabric: "tcp", peer, what };
        }
        match self.dialled.iter().find(|dialled| dialled.peer == peer) {
            None => {
                let what = "did not connect in time; is a firewall in between, or did it fail?".to_owned();
                OpenError::Peer { fabric: "tcp", peer, what }
            }
            Some(dialled) if !dialled.greeted => dialled.unreachable(ErrorKind::TimedOut.into()),
            Some(dialled) => dialled.unanswered(&ErrorKind::TimedOut.into()),
        }
    }

    fn proof(&self, from: Rank, to: Rank) -> [u8; TOKEN_BYTES] {
        connection_token(&self.token, from, to, PURPOSE)
    }

    /// Begins to connect.
    fn dial(&mut self, bind: IpAddr, peer: Rank, address: SocketAddr) -> Result<(), OpenError> {
        let open = || {
            let socket = stream_socket(bind)?;
            socket.bind(&SocketAddr::new(bind, 0).into())?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket: Socket = open().map_err(failed("making a data socket"))?;
        let connecting = socket.connect(&address.into());
        let dialled = Dialled { peer, address, socket: socket.into(), greeted: false, said: [0; TOKEN_BYTES], count: 0 };
        match connecting {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                self.fail(peer, dialled.unreachable(error))
            }
            _ => {
                self.dialled.push(dialled);
                Ok(())
            }
        }
    }

    /// Brings a connection that I made as far as it goes.
    fn press(&mut self, mut dialled: Dialled) -> Result<(), OpenError> {
        let peer = dialled.peer;
        if self.holes.is_hole(peer) {
            return Ok(());
        }
        if !dialled.greeted {
            let mut hello = [0; HELLO_BYTES];
            hello[..8].copy_from_slice(&MAGIC);
            hello[8..10].copy_from_slice(&self.me.0.to_le_bytes());
            hello[10..].copy_from_slice(&self.proof(self.me, peer));
            match dialled.greet(&hello) {
                Ok(()) => {}
                Err(error) => return self.fail(peer, dialled.unreachable(error)),
            }
        }
        match dialled.listen() {
            Ok(false) => self.dialled.push(dialled),
            Ok(true) if same_token(&dialled.said, &self.proof(peer, self.me)) => self.sockets[peer.index()] = Some(dialled.socket),
            Ok(true) => {
                let what = "it does not know this epoch's token: something else listens at its address".into();
                return self.fail(peer, OpenError::Peer { fabric: "tcp", peer, what });
            }
            Err(error) => return self.fail(peer, dialled.unanswered(&error)),
        }
        Ok(())
    }

    /// Takes connections in while there is room for those that have not proved themselves.
    fn accept(&mut self) -> Result<(), OpenError> {
        while self.unproven.len() < UNPROVEN_MAX {
            match self.listener.accept() {
                Ok((socket, _)) => {
                    if socket.set_nonblocking(true).is_ok() {
                        self.unproven.push(Unproven { socket, said: [0; HELLO_BYTES], count: 0 });
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // A connection that died before it was accepted is the stranger's trouble.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => return Err(failed("accepting a data connection")(error)),
            }
        }
        Ok(())
    }

    /// Sleeps until someone connects or says something, or it is time to look.
    fn wait(&self) -> Result<(), OpenError> {
        let mut waiting = vec![PollFd::new(self.listener, PollFlags::IN)];
        waiting.extend(self.resuming.iter().map(|(_, kept)| PollFd::new(kept.socket(), PollFlags::IN)));
        waiting.extend(self.unproven.iter().map(|stranger| PollFd::new(&stranger.socket, PollFlags::IN)));
        waiting.extend(self.dialled.iter().map(|dialled| {
            let awaited = if dialled.greeted { PollFlags::IN } else { PollFlags::OUT };
            PollFd::new(&dialled.socket, awaited)
        }));
        let nap = self.holes.nap(self.deadline);
        let timeout = rustix::event::Timespec { tv_sec: nap.as_secs() as i64, tv_nsec: i64::from(nap.subsec_nanos()) };
        match poll(&mut waiting, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(failed("waiting for data connections")(errno.into())),
        }
    }

    /// Reads what a stranger says; keeps it while it may still prove itself.
    fn hear(&mut self, mut stranger: Unproven) -> Option<Unproven> {
        match stranger.socket.read(&mut stranger.said[stranger.count..]) {
            Ok(0) => return None,
            Ok(count) => stranger.count += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Some(stranger),
            Err(_) => return None,
        }
        if stranger.count < HELLO_BYTES {
            return Some(stranger);
        }
        let (magic, rest) = stranger.said.split_first_chunk::<8>()?;
        let (rank, proof) = rest.split_first_chunk::<2>()?;
        let peer = Rank(u16::from_le_bytes(*rank));
        let proven = *magic == MAGIC && peer < self.me && same_token(proof.try_into().ok()?, &self.proof(peer, self.me));
        if !proven || self.holes.is_hole(peer) || self.is_resuming(peer) || self.sockets[peer.index()].is_some() {
            return None;
        }
        stranger.socket.write_all(&self.proof(self.me, peer)).ok()?;
        self.sockets[peer.index()] = Some(stranger.socket);
        None
    }
}

impl Dialled {
    /// Says `hello` if the connection stands; `Ok` too while it does not yet.
    fn greet(&mut self, hello: &[u8; HELLO_BYTES]) -> std::io::Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        if let Err(error) = self.socket.peer_addr() {
            return if error.kind() == ErrorKind::NotConnected { Ok(()) } else { Err(error) };
        }
        self.socket.write_all(hello)?;
        self.greeted = true;
        Ok(())
    }

    /// Reads what has come of the answer; whether it is complete.
    fn listen(&mut self) -> std::io::Result<bool> {
        if !self.greeted {
            return Ok(false);
        }
        match self.socket.read(&mut self.said[self.count..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.count += count;
                Ok(self.count == TOKEN_BYTES)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unreachable(&self, source: std::io::Error) -> OpenError {
        OpenError::System { fabric: "tcp", what: format!("connecting to rank {} at {}", self.peer, self.address), source }
    }

    fn unanswered(&self, error: &std::io::Error) -> OpenError {
        let what = format!("it did not answer ({error}); did it fail, or does something else listen there?");
        OpenError::Peer { fabric: "tcp", peer: self.peer, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::LocalExchange;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    type Linked = Result<Vec<Option<TcpStream>>, OpenError>;

    fn link(listener: &TcpListener, mut exchange: LocalExchange, addresses: &[SocketAddr], allowed_ms: u64) -> Linked {
        let mut holes = Holes::of(&exchange);
        let mut meeting = Meeting::new(listener, &mut exchange, &mut holes, Vec::new());
        meeting.deadline = Instant::now() + Duration::from_millis(allowed_ms);
        meeting.link(LOOPBACK, addresses)
    }

    fn pair() -> [LocalExchange; 2] {
        LocalExchange::mesh(2).try_into().expect("two members")
    }

    #[test]
    fn a_stranger_is_dropped_and_does_no_harm() {
        let (mine, other) = (listen(LOOPBACK).unwrap(), listen(LOOPBACK).unwrap());
        let addresses = [other.local_addr().unwrap(), mine.local_addr().unwrap()];
        let silent = TcpStream::connect(addresses[1]).unwrap();
        let mut babbler = TcpStream::connect(addresses[1]).unwrap();
        babbler.write_all(&[0xAB; 4000]).unwrap();
        let ([of_other_epoch, _], [lower, higher]) = (pair(), pair());
        std::thread::scope(|scope| {
            let impostor = scope.spawn(|| link(&other, of_other_epoch, &addresses, 20_000));
            // Nobody answers it before the right ones meet.
            let lower = scope.spawn(|| link(&other, lower, &addresses, 20_000));
            let higher = link(&mine, higher, &addresses, 20_000).unwrap();
            let lower = lower.join().unwrap().unwrap();
            assert_eq!(higher[0].as_ref().unwrap().peer_addr().unwrap(), lower[1].as_ref().unwrap().local_addr().unwrap());
            drop(mine);
            assert!(impostor.join().unwrap().is_err());
        });
        drop((silent, babbler));
    }

    #[test]
    fn who_never_connects_is_named() {
        let mine = listen(LOOPBACK).unwrap();
        let [_lower, higher] = pair();
        let address = mine.local_addr().unwrap();
        let error = link(&mine, higher, &[address; 2], 1).unwrap_err();
        assert!(error.to_string().starts_with("tcp: peer 0: did not connect"), "{error}");
    }

    #[test]
    fn an_impostor_at_the_address_is_refused() {
        let (mine, impostor) = (listen(LOOPBACK).unwrap(), TcpListener::bind((LOOPBACK, 0)).unwrap());
        let [lower, _higher] = pair();
        let address = impostor.local_addr().unwrap();
        std::thread::scope(|scope| {
            let lower = scope.spawn(|| link(&mine, lower, &[address; 2], 10_000));
            let (mut accepted, _) = impostor.accept().unwrap();
            accepted.write_all(&[0; TOKEN_BYTES]).unwrap();
            let error = lower.join().unwrap().unwrap_err();
            assert!(error.to_string().contains("does not know this epoch's token"), "{error}");
        });
    }
}
