//! How the sockets come to be: every member listens, the lower rank dials the higher, and both prove themselves.
//!
//! ```text
//!   dialler                                    listener
//!   magic, its rank, token(dialler -> listener)  -->
//!                            <--  token(listener -> dialler)
//! ```
//! A connection that does not show the token in time is dropped and does no harm to the others.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Socket, Type};

use super::limits::{LINK_UP_MS_MAX, UNPROVEN_MAX};
use super::link::Link;
use crate::endpoint::OpenError;
use crate::exchange::{Exchange, connection_token, same_token};
use crate::rank::Rank;
use crate::region::Region;

/// Names the protocol and its version.
const MAGIC: [u8; 8] = *b"squltcp1";
const TOKEN_BYTES: usize = 32;
const HELLO_BYTES: usize = MAGIC.len() + 2 + TOKEN_BYTES;
const PURPOSE: &str = "tcp data";

/// What a member tells the others before the sockets are made.
type Announcement = (SocketAddr, Vec<u64>);

/// Links to all other members, by rank; none to myself.
pub(super) fn meet(bind: IpAddr, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<Vec<Option<Link>>, OpenError> {
    let listener = listen(bind)?;
    let address = listener.local_addr().map_err(failed("reading the listener's address"))?;
    let announced = announce(exchange, address, regions)?;
    let meeting = Meeting {
        me: exchange.rank(),
        members: exchange.members(),
        token: *exchange.token(),
        deadline: Instant::now() + Duration::from_millis(LINK_UP_MS_MAX),
    };
    let mut sockets = meeting.dial_higher(bind, &announced)?;
    meeting.accept_lower(&listener, &mut sockets)?;
    meeting.check_answers(&mut sockets)?;
    for socket in sockets.iter().flatten() {
        socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(true)).map_err(failed("setting up a data socket"))?;
    }
    exchange.all_gather("tcp linked", &[])?;
    let links = sockets.into_iter().zip(announced);
    Ok(links.map(|(socket, (_, region_bytes))| socket.map(|socket| Link::new(socket, region_bytes))).collect())
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

fn announce(exchange: &mut dyn Exchange, address: SocketAddr, regions: &[Region]) -> Result<Vec<Announcement>, OpenError> {
    let mine: Announcement = (address, regions.iter().map(|region| region.bytes() as u64).collect());
    let mine = postcard::to_stdvec(&mine).expect("an address and sizes always encode");
    let parts = exchange.all_gather("tcp address and regions", &mine)?;
    let read = |(index, part): (usize, Vec<u8>)| {
        let peer = |what: String| OpenError::Peer { fabric: "tcp", peer: Rank::new(index), what };
        let theirs: Announcement =
            postcard::from_bytes(&part).map_err(|error| peer(format!("its announcement is unreadable ({error})")))?;
        if theirs.1.len() != regions.len() {
            return Err(peer(format!("it opens with {} regions where I have {}; same program?", theirs.1.len(), regions.len())));
        }
        Ok(theirs)
    };
    parts.into_iter().enumerate().map(read).collect()
}

struct Meeting {
    me: Rank,
    members: usize,
    token: [u8; 32],
    deadline: Instant,
}

/// A connection that somebody made and that has not shown its token.
struct Unproven {
    socket: TcpStream,
    said: [u8; HELLO_BYTES],
    count: usize,
}

impl Meeting {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn proof(&self, from: Rank, to: Rank) -> [u8; TOKEN_BYTES] {
        connection_token(&self.token, from, to, PURPOSE)
    }

    /// Connects to every higher rank and says who I am; answers are read later, so that nobody waits for a chain of others.
    fn dial_higher(&self, bind: IpAddr, announced: &[Announcement]) -> Result<Vec<Option<TcpStream>>, OpenError> {
        let mut sockets: Vec<Option<TcpStream>> = (0..self.members).map(|_| None).collect();
        for index in self.me.index() + 1..self.members {
            let (peer, address) = (Rank::new(index), announced[index].0);
            let dial = || {
                let socket = stream_socket(bind)?;
                socket.bind(&SocketAddr::new(bind, 0).into())?;
                socket.connect_timeout(&address.into(), self.left().max(Duration::from_millis(1)))?;
                let mut socket: TcpStream = socket.into();
                let mut hello = [0; HELLO_BYTES];
                hello[..8].copy_from_slice(&MAGIC);
                hello[8..10].copy_from_slice(&self.me.0.to_le_bytes());
                hello[10..].copy_from_slice(&self.proof(self.me, peer));
                socket.write_all(&hello)?;
                Ok(socket)
            };
            let what = |source| OpenError::System { fabric: "tcp", what: format!("connecting to rank {peer} at {address}"), source };
            sockets[index] = Some(dial().map_err(what)?);
        }
        Ok(sockets)
    }

    /// Accepts until every lower rank has proved itself.
    fn accept_lower(&self, listener: &TcpListener, sockets: &mut [Option<TcpStream>]) -> Result<(), OpenError> {
        let mut unproven: Vec<Unproven> = Vec::new();
        while let Some(missing) = sockets[..self.me.index()].iter().position(Option::is_none) {
            if self.left().is_zero() {
                let what = format!("did not connect within {LINK_UP_MS_MAX} ms; is a firewall in between, or did it fail?");
                return Err(OpenError::Peer { fabric: "tcp", peer: Rank::new(missing), what });
            }
            self.wait(listener, &unproven)?;
            while unproven.len() < UNPROVEN_MAX {
                match listener.accept() {
                    Ok((socket, _)) => {
                        if socket.set_nonblocking(true).is_ok() {
                            unproven.push(Unproven { socket, said: [0; HELLO_BYTES], count: 0 });
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // A connection that died before it was accepted is the stranger's trouble.
                    Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                    Err(error) => return Err(failed("accepting a data connection")(error)),
                }
            }
            unproven = unproven.into_iter().filter_map(|stranger| self.hear(stranger, sockets)).collect();
            if unproven.len() == UNPROVEN_MAX {
                unproven.remove(0);
            }
        }
        Ok(())
    }

    /// Sleeps until someone connects or says something, or time is up.
    fn wait(&self, listener: &TcpListener, unproven: &[Unproven]) -> Result<(), OpenError> {
        let mut waiting = vec![PollFd::new(listener, PollFlags::IN)];
        waiting.extend(unproven.iter().map(|stranger| PollFd::new(&stranger.socket, PollFlags::IN)));
        let left = self.left();
        let timeout = rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut waiting, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(failed("waiting for data connections")(errno.into())),
        }
    }

    /// Reads what a stranger says; keeps it while it may still prove itself.
    fn hear(&self, mut stranger: Unproven, sockets: &mut [Option<TcpStream>]) -> Option<Unproven> {
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
        let place = &mut sockets[..self.me.index()];
        if proven && place[peer.index()].is_none() && stranger.socket.write_all(&self.proof(self.me, peer)).is_ok() {
            place[peer.index()] = Some(stranger.socket);
        }
        None
    }

    /// Reads and checks the answer of every higher rank.
    fn check_answers(&self, sockets: &mut [Option<TcpStream>]) -> Result<(), OpenError> {
        for (index, socket) in sockets.iter_mut().enumerate().skip(self.me.index() + 1) {
            let (peer, socket) = (Rank::new(index), socket.as_mut().expect("dialled above"));
            let mut answer = [0; TOKEN_BYTES];
            let mut read = || {
                socket.set_read_timeout(Some(self.left().max(Duration::from_millis(1))))?;
                socket.read_exact(&mut answer)
            };
            let refused = |what: String| OpenError::Peer { fabric: "tcp", peer, what };
            read().map_err(|error| refused(format!("it did not answer ({error}); did it fail, or does something else listen there?")))?;
            if !same_token(&answer, &self.proof(peer, self.me)) {
                return Err(refused("it does not know this epoch's token: something else listens at its address".into()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meeting(me: u16, members: usize, token: u8, allowed_ms: u64) -> Meeting {
        Meeting { me: Rank(me), members, token: [token; 32], deadline: Instant::now() + Duration::from_millis(allowed_ms) }
    }

    fn announced(listeners: &[&TcpListener]) -> Vec<Announcement> {
        listeners.iter().map(|listener| (listener.local_addr().unwrap(), vec![])).collect()
    }

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_stranger_is_dropped_and_does_no_harm() {
        let (mine, other) = (listen(LOOPBACK).unwrap(), listen(LOOPBACK).unwrap());
        let address = mine.local_addr().unwrap();
        let silent = TcpStream::connect(address).unwrap();
        let mut babbler = TcpStream::connect(address).unwrap();
        babbler.write_all(&[0xAB; 4000]).unwrap();
        let wrong_token = meeting(0, 2, 9, 10_000).dial_higher(LOOPBACK, &announced(&[&other, &mine])).unwrap();
        let mut right = meeting(0, 2, 7, 10_000).dial_higher(LOOPBACK, &announced(&[&other, &mine])).unwrap();
        let mut sockets = vec![None, None];
        meeting(1, 2, 7, 10_000).accept_lower(&mine, &mut sockets).unwrap();
        meeting(0, 2, 7, 10_000).check_answers(&mut right).unwrap();
        assert_eq!(sockets[0].as_ref().unwrap().peer_addr().unwrap(), right[1].as_ref().unwrap().local_addr().unwrap());
        drop((silent, babbler));
        let mut wrong_token = wrong_token;
        assert!(meeting(0, 2, 9, 10_000).check_answers(&mut wrong_token).is_err());
    }

    #[test]
    fn who_never_connects_is_named() {
        let mine = listen(LOOPBACK).unwrap();
        let error = meeting(1, 2, 7, 1).accept_lower(&mine, &mut [None, None]).unwrap_err();
        assert!(error.to_string().starts_with("tcp: peer 0: did not connect"), "{error}");
    }

    #[test]
    fn an_impostor_at_the_address_is_refused() {
        let impostor = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let mut dialled = meeting(0, 2, 7, 10_000).dial_higher(LOOPBACK, &announced(&[&impostor, &impostor])).unwrap();
        let (mut accepted, _) = impostor.accept().unwrap();
        accepted.write_all(&[0; TOKEN_BYTES]).unwrap();
        let error = meeting(0, 2, 7, 10_000).check_answers(&mut dialled).unwrap_err();
        assert!(error.to_string().contains("does not know this epoch's token"), "{error}");
    }
}
