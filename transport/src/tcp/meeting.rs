//! How the sockets come to be: every member listens, the lower rank dials the higher, and both prove themselves.
//!
//! ```text
//!   dialler                                    listener
//!   magic, its rank, token(dialler -> listener)  -->
//!                            <--  token(listener -> dialler)
//! ```
//! Connections that have not shown the token give way to new ones where there are too many, or no descriptor is left; a
//! member that was pushed out so by strangers dials again. One that another gave up is told so. No step waits for one
//! peer alone, so that one that is stopped holds up nobody's link with another. Where the exchange has patience, peers
//! without a socket at the end are absent; a member that gave another up has closed its end, or never opens it, which
//! the other finds as a link that broke.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::dialled::Dialled;
use super::hello::{DECLINED, HELLO_BYTES, MAGIC, PURPOSE, TOKEN_BYTES};
use super::kept::Kept;
use super::limits::{ACCEPTS_PER_TURN_MAX, LINK_UP_MS_MAX, UNPROVEN_MAX};
use super::socket::{failed, is_alive, socket_from};
use crate::absent::Absent;
use crate::endpoint::OpenError;
use crate::exchange::crowd::{Standing, gives_way, source};
use crate::exchange::door::{Door, Knock, is_short};
use crate::exchange::stream::Stream;
use crate::exchange::{Exchange, connection_token, same_token};
use crate::lost::LOST_AFTER;
use crate::rank::Rank;

/// All connections while they are made.
pub(super) struct Meeting<'a> {
    door: &'a mut Door,
    exchange: &'a mut dyn Exchange,
    absent: &'a mut Absent,
    token: [u8; 32],
    me: Rank,
    deadline: Instant,
    /// Sockets of the last epoch whose peers have not ended it yet.
    resuming: Vec<(Rank, Kept)>,
    dialled: Vec<Dialled>,
    unproven: Vec<Unproven>,
    /// Why the last connection could not be let in, where nobody could make way for it.
    shortage: Option<std::io::Error>,
    /// By rank: sockets whose other end has proved itself.
    sockets: Vec<Option<TcpStream>>,
}

/// A connection that somebody made and that has not shown its token.
struct Unproven {
    socket: Stream,
    from: Option<IpAddr>,
    said: [u8; HELLO_BYTES],
    count: usize,
}

impl<'a> Meeting<'a> {
    pub(super) fn new(
        door: &'a mut Door,
        exchange: &'a mut dyn Exchange,
        absent: &'a mut Absent,
        resuming: Vec<(Rank, Kept)>,
    ) -> Meeting<'a> {
        let (token, me) = (*exchange.token(), exchange.rank());
        let deadline = absent.deadline(Duration::from_millis(LINK_UP_MS_MAX));
        let sockets = (0..absent.members()).map(|_| None).collect();
        let (dialled, unproven, shortage) = (Vec::new(), Vec::new(), None);
        Meeting { door, exchange, absent, token, me, deadline, resuming, dialled, unproven, shortage, sockets }
    }

    /// Takes up kept sockets again, dials every other higher rank, lets the lower ones connect; the sockets by rank
    /// once nobody is missing.
    pub(super) fn link(mut self, bind: IpAddr, addresses: &[SocketAddr]) -> Result<Vec<Option<TcpStream>>, OpenError> {
        for peer in self.absent.peers().filter(|&peer| peer > self.me && !self.is_resuming(peer)).collect::<Vec<_>>() {
            self.press(bind, Dialled::to(peer, addresses[peer.index()]))?;
        }
        // Most marks have come before their sockets were to be used again.
        self.resume()?;
        while let Some(missing) = self.missing() {
            if Instant::now() >= self.deadline {
                self.fail(missing, self.late(missing))?;
                continue;
            }
            self.wait()?;
            let gone = self.absent.gone(self.exchange);
            self.resume()?;
            for stranger in std::mem::take(&mut self.unproven) {
                let kept = self.hear(stranger);
                self.unproven.extend(kept);
            }
            self.accept();
            for dialled in std::mem::take(&mut self.dialled) {
                self.press(bind, dialled)?;
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
                _ if self.absent.is_absent(peer) => {}
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

    /// The first peer without a socket that is not absent.
    fn missing(&self) -> Option<Rank> {
        self.absent.peers().find(|peer| self.sockets[peer.index()].is_none())
    }

    fn fail(&mut self, peer: Rank, error: OpenError) -> Result<(), OpenError> {
        self.absent.exclude(self.exchange, peer, error)
    }

    /// What a peer that is late has not done.
    fn late(&self, peer: Rank) -> OpenError {
        if self.is_resuming(peer) {
            let what = "it did not end the last epoch in time; is it stopped?".to_owned();
            return OpenError::Peer { fabric: "tcp", peer, what };
        }
        match self.dialled.iter().find(|dialled| dialled.peer == peer) {
            None => {
                let why = match &self.shortage {
                    Some(shortage) => format!("{shortage} here: raise this process' limit of descriptors (ulimit -n)"),
                    None => "is a firewall in between, or did it fail?".to_owned(),
                };
                OpenError::Peer { fabric: "tcp", peer, what: format!("it did not connect in time; {why}") }
            }
            Some(Dialled { setback: Some(setback), .. }) => {
                let why = "did it fail, is it out of descriptors or flooded by strangers, or does something else listen there?";
                OpenError::Peer { fabric: "tcp", peer, what: format!("it did not answer in time ({setback}); {why}") }
            }
            Some(dialled) if !dialled.greeted => dialled.unreachable(ErrorKind::TimedOut.into()),
            Some(dialled) => dialled.unanswered(&ErrorKind::TimedOut.into()),
        }
    }

    fn proof(&self, from: Rank, to: Rank) -> [u8; TOKEN_BYTES] {
        connection_token(&self.token, from, to, PURPOSE)
    }

    /// Brings a connection that I make as far as it goes.
    fn press(&mut self, bind: IpAddr, mut dialled: Dialled) -> Result<(), OpenError> {
        let peer = dialled.peer;
        if self.absent.is_absent(peer) {
            return Ok(());
        }
        if dialled.socket.is_none() && Instant::now() >= dialled.due {
            let made = loop {
                match socket_from(bind) {
                    Err(error) if is_short(&error) && self.make_way() => {}
                    made => break made,
                }
            };
            dialled.socket = Some(made.map_err(failed("making a data socket"))?.into());
            if let Err(error) = dialled.begin() {
                return self.fail(peer, dialled.unreachable(error));
            }
        }
        if dialled.socket.is_some() && !dialled.greeted {
            let mut hello = [0; HELLO_BYTES];
            hello[..8].copy_from_slice(&MAGIC);
            hello[8..10].copy_from_slice(&self.me.0.to_le_bytes());
            hello[10..].copy_from_slice(&self.proof(self.me, peer));
            if let Err(error) = dialled.greet(&hello) {
                return self.fail(peer, dialled.unreachable(error));
            }
        }
        match dialled.listen() {
            Ok(false) => self.dialled.push(dialled),
            Ok(true) if same_token(&dialled.said, &self.proof(peer, self.me)) => self.sockets[peer.index()] = dialled.socket,
            Ok(true) => {
                let what = match same_token(&dialled.said, &connection_token(&self.token, peer, self.me, DECLINED)) {
                    true => "it went on without this member",
                    false => "it does not know this epoch's token: something else listens at its address",
                };
                return self.fail(peer, OpenError::Peer { fabric: "tcp", peer, what: what.into() });
            }
            // It was pushed out by strangers, maybe. A peer that is gone refuses the next attempt.
            Err(error) => self.dialled.push(dialled.again(error)),
        }
        Ok(())
    }

    /// Takes connections in; those that have not proved themselves give way to new ones.
    fn accept(&mut self) {
        if !self.door.is_open(Instant::now()) {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.door.accept() {
                Knock::Came(socket, from) => {
                    if socket.set_up(LOST_AFTER).is_err() || (self.unproven.len() >= UNPROVEN_MAX && !self.make_way()) {
                        continue;
                    }
                    let kept = self.hear(Unproven { socket, from: from.ip().map(source), said: [0; HELLO_BYTES], count: 0 });
                    self.unproven.extend(kept);
                }
                Knock::Nobody => break,
                Knock::Short(_) if self.make_way() => {}
                Knock::Short(error) => {
                    self.shortage = Some(error);
                    self.door.shut();
                    break;
                }
            }
        }
    }

    /// Parts with the stranger that others have the best reason to be heard before; whether there is one.
    fn make_way(&mut self) -> bool {
        let standing = |stranger: &Unproven| if stranger.count == 0 { Standing::Silent } else { Standing::Speaking };
        let index = gives_way(self.unproven.iter().map(|stranger| (stranger.from, standing(stranger))));
        index.map(|index| self.unproven.remove(index)).is_some()
    }

    /// Sleeps until someone connects or says something, or it is time to look.
    fn wait(&self) -> Result<(), OpenError> {
        let now = Instant::now();
        let mut waiting = Vec::new();
        if self.door.is_open(now) {
            waiting.push(PollFd::new(&*self.door, PollFlags::IN));
        }
        waiting.extend(self.resuming.iter().map(|(_, kept)| PollFd::new(kept.socket(), PollFlags::IN)));
        waiting.extend(self.unproven.iter().map(|stranger| PollFd::new(&stranger.socket, PollFlags::IN)));
        waiting.extend(self.dialled.iter().filter_map(|dialled| {
            let awaited = if dialled.greeted { PollFlags::IN } else { PollFlags::OUT };
            Some(PollFd::new(dialled.socket.as_ref()?, awaited))
        }));
        let redials = self.dialled.iter().filter(|dialled| dialled.socket.is_none()).map(|dialled| dialled.due);
        let due = redials.chain(self.door.timer()).map(|due| due.saturating_duration_since(now)).min();
        let nap = self.absent.nap(self.deadline).min(due.unwrap_or(Duration::MAX));
        let timeout = rustix::event::Timespec { tv_sec: nap.as_secs() as i64, tv_nsec: i64::from(nap.subsec_nanos()) };
        match poll(&mut waiting, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(failed("waiting for data connections")(errno.into())),
        }
    }

    /// Reads what a stranger says; keeps it while it may still prove itself.
    fn hear(&mut self, mut stranger: Unproven) -> Option<Unproven> {
        match (&stranger.socket).read(&mut stranger.said[stranger.count..]) {
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
        if *magic != MAGIC || peer >= self.me || !same_token(proof.try_into().ok()?, &self.proof(peer, self.me)) {
            return None;
        }
        let Stream::Tcp(mut socket) = stranger.socket else {
            return None;
        };
        let has_another = self.sockets[peer.index()].as_ref().is_some_and(is_alive);
        if self.absent.is_absent(peer) || self.is_resuming(peer) || has_another {
            // If it is gone, it needs no answer.
            let _ = socket.write_all(&connection_token(&self.token, self.me, peer, DECLINED));
            return None;
        }
        socket.write_all(&self.proof(self.me, peer)).ok()?;
        self.sockets[peer.index()] = Some(socket);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    use crate::exchange::LocalExchange;
    use crate::ports::Ports;
    use crate::tcp::socket::listen;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    type Linked = Result<Vec<Option<TcpStream>>, OpenError>;

    fn link((mut door, _): (Door, SocketAddr), mut exchange: LocalExchange, addresses: &[SocketAddr], allowed_ms: u64) -> Linked {
        let mut absent = Absent::of(&exchange);
        let mut meeting = Meeting::new(&mut door, &mut exchange, &mut absent, Vec::new());
        meeting.deadline = Instant::now() + Duration::from_millis(allowed_ms);
        meeting.link(LOOPBACK, addresses)
    }

    fn pair() -> [LocalExchange; 2] {
        LocalExchange::mesh(2).try_into().expect("two members")
    }

    #[test]
    fn a_stranger_is_dropped_and_does_no_harm() {
        let (mine, other, third) =
            (listen(LOOPBACK, Ports::ANY).unwrap(), listen(LOOPBACK, Ports::ANY).unwrap(), listen(LOOPBACK, Ports::ANY).unwrap());
        let addresses = [other.1, mine.1];
        let silent = TcpStream::connect(addresses[1]).unwrap();
        let mut babbler = TcpStream::connect(addresses[1]).unwrap();
        babbler.write_all(&[0xAB; 4000]).unwrap();
        let ([of_other_epoch, _], [lower, higher]) = (pair(), pair());
        std::thread::scope(|scope| {
            let impostor = scope.spawn(|| link(third, of_other_epoch, &addresses, 20_000));
            // Nobody answers it before the right ones meet.
            let lower = scope.spawn(|| link(other, lower, &addresses, 20_000));
            // It closes its door when it is through, so that the impostor is refused.
            let higher = link(mine, higher, &addresses, 20_000).unwrap();
            let lower = lower.join().unwrap().unwrap();
            assert_eq!(higher[0].as_ref().unwrap().peer_addr().unwrap(), lower[1].as_ref().unwrap().local_addr().unwrap());
            assert!(impostor.join().unwrap().is_err());
        });
        drop((silent, babbler));
    }

    #[test]
    fn a_member_gets_in_however_many_strangers_hold_the_door() {
        let (mine, other) = (listen(LOOPBACK, Ports::ANY).unwrap(), listen(LOOPBACK, Ports::ANY).unwrap());
        let addresses = [other.1, mine.1];
        let [lower, higher] = pair();
        let (stop, address) = (std::sync::atomic::AtomicBool::new(false), mine.1);
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let mut held = std::collections::VecDeque::new();
                while !stop.load(crate::atomic::Ordering::Relaxed) {
                    held.extend(TcpStream::connect_timeout(&address, Duration::from_millis(100)));
                    if held.len() > UNPROVEN_MAX + 50 {
                        held.pop_front();
                    }
                }
            });
            let higher = scope.spawn(|| link(mine, higher, &addresses, 60_000));
            let lower = link(other, lower, &addresses, 60_000);
            let higher = higher.join().unwrap();
            stop.store(true, crate::atomic::Ordering::Relaxed);
            flood.join().unwrap();
            assert!(lower.is_ok() && higher.is_ok(), "{lower:?} {higher:?}");
        });
    }

    #[test]
    fn a_member_that_was_pushed_out_dials_again() {
        let (mine, pushy) = (listen(LOOPBACK, Ports::ANY).unwrap(), TcpListener::bind((LOOPBACK, 0)).unwrap());
        let [lower, higher] = pair();
        let address = pushy.local_addr().unwrap();
        std::thread::scope(|scope| {
            let lower = scope.spawn(|| link(mine, lower, &[address; 2], 60_000));
            for _ in 0..3 {
                drop(pushy.accept().unwrap());
            }
            let (mut accepted, _) = pushy.accept().unwrap();
            let mut hello = [0; HELLO_BYTES];
            accepted.read_exact(&mut hello).unwrap();
            accepted.write_all(&connection_token(higher.token(), higher.rank(), Rank::new(0), PURPOSE)).unwrap();
            assert!(lower.join().unwrap().unwrap()[1].is_some());
        });
    }

    #[test]
    fn a_member_that_is_done_without_learns_it() {
        let mut exchanges = LocalExchange::mesh_without(2, &[], Duration::from_secs(60)).into_iter().flatten();
        let (mut lower, mut higher) = (exchanges.next().unwrap(), exchanges.next().unwrap());
        higher.give_up(Rank::new(0));
        let ((mut mine, _), (mut other, at)) = (listen(LOOPBACK, Ports::ANY).unwrap(), listen(LOOPBACK, Ports::ANY).unwrap());
        let mut absent = Absent::of(&lower);
        let mut of_higher = Absent::of(&higher);
        std::thread::scope(|scope| {
            let lower = scope.spawn(|| {
                Meeting::new(&mut mine, &mut lower, &mut absent, Vec::new()).link(LOOPBACK, &[at; 2]).unwrap();
                absent.into_reasons()
            });
            // It has nobody to wait for, but its door is still open.
            let mut meeting = Meeting::new(&mut other, &mut higher, &mut of_higher, Vec::new());
            while !lower.is_finished() {
                meeting.deadline = Instant::now() + Duration::from_millis(10);
                meeting.wait().unwrap();
                for stranger in std::mem::take(&mut meeting.unproven) {
                    assert!(meeting.hear(stranger).is_none());
                }
                meeting.accept();
            }
            let why = lower.join().unwrap()[1].take().unwrap();
            assert!(why.contains("went on without this member"), "{why}");
        });
    }

    #[test]
    fn who_never_connects_is_named() {
        let mine = listen(LOOPBACK, Ports::ANY).unwrap();
        let [_lower, higher] = pair();
        let address = mine.1;
        let error = link(mine, higher, &[address; 2], 1).unwrap_err();
        assert!(error.to_string().starts_with("tcp: peer 0: it did not connect"), "{error}");
    }

    #[test]
    fn an_impostor_at_the_address_is_refused() {
        let (mine, impostor) = (listen(LOOPBACK, Ports::ANY).unwrap(), TcpListener::bind((LOOPBACK, 0)).unwrap());
        let [lower, _higher] = pair();
        let address = impostor.local_addr().unwrap();
        std::thread::scope(|scope| {
            let lower = scope.spawn(|| link(mine, lower, &[address; 2], 10_000));
            let (mut accepted, _) = impostor.accept().unwrap();
            accepted.write_all(&[0; TOKEN_BYTES]).unwrap();
            let error = lower.join().unwrap().unwrap_err();
            assert!(error.to_string().contains("does not know this epoch's token"), "{error}");
        });
    }
}
