//! Making the links: who dials whom, tokens both ways, then memfds.
//!
//! The lower rank dials. The dialling side shows its token, the other answers with its own and its memfds, the first sends its memfds. Every member dials all
//! before it waits for any, so no circle of waiting can form.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::bell::Bell;
use crate::endpoint::OpenError;
use crate::exchange::{Exchange, connection_token, same_token};
use crate::rank::Rank;
use crate::region::Region;

/// Regions an endpoint may be opened with.
const REGIONS_MAX: usize = 8;
/// How long a peer may take for any one step; generous, since members of an oversubscribed host start one after another.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection that has not shown a token may be silent: a stranger must not hold up the members.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(5);
const PURPOSE: &str = "shm";

/// What one peer gave.
pub(super) struct Link {
    pub(super) peer: Rank,
    pub(super) regions: Vec<Region>,
    pub(super) bell: Bell,
    pub(super) socket: UnixStream,
}

/// Links with all other members; also whether all of them, myself included, can be fenced from outside (`fenceable`).
pub(super) fn connect(
    exchange: &mut dyn Exchange,
    regions: &[Region],
    bell: &Bell,
    fenceable: bool,
) -> Result<(Vec<Link>, bool), OpenError> {
    assert!(regions.len() <= REGIONS_MAX, "at most {REGIONS_MAX} regions");
    let (me, members, token) = (exchange.rank(), exchange.members(), *exchange.token());
    let name = format!("squall-shm-{}", random_name()?);
    let address = SocketAddr::from_abstract_name(&name).map_err(system("naming a Unix socket"))?;
    let listener = UnixListener::bind_addr(&address).map_err(system("binding a Unix socket"))?;
    let mut mine = vec![u8::from(fenceable)];
    mine.extend_from_slice(name.as_bytes());
    let given = exchange.all_gather("shm socket names", &mine)?;
    let all_fenceable = given.iter().all(|given| given.first() == Some(&1));
    let names: Vec<&[u8]> = given.iter().map(|given| given.get(1..).unwrap_or_default()).collect();

    let mut dialled = Vec::new();
    for (index, name) in names.iter().enumerate().take(members).skip(me.index() + 1) {
        let peer = Rank::new(index);
        dialled.push((peer, dial(name, me, peer, &token)?));
    }
    let mut accepted = Vec::new();
    while accepted.len() < me.index() {
        let (peer, socket) = accept(&listener, me, &token)?;
        if accepted.iter().any(|(other, _)| *other == peer) {
            continue;
        }
        (&socket).write_all(&connection_token(&token, me, peer, PURPOSE)).map_err(system(&format!("answering peer {peer}")))?;
        send_memory(&socket, regions, bell).map_err(system(&format!("sending memory to peer {peer}")))?;
        accepted.push((peer, socket));
    }
    let mut links = Vec::with_capacity(members.saturating_sub(1));
    for (peer, socket) in dialled {
        let mut shown = [0; 32];
        (&socket).read_exact(&mut shown).map_err(system(&format!("waiting for peer {peer} to answer")))?;
        if !same_token(&shown, &connection_token(&token, peer, me, PURPOSE)) {
            return Err(wrong(peer, "showed a wrong token: another process took its socket's name; start the group again"));
        }
        send_memory(&socket, regions, bell).map_err(system(&format!("sending memory to peer {peer}")))?;
        links.push(receive_memory(peer, socket, regions)?);
    }
    for (peer, socket) in accepted {
        links.push(receive_memory(peer, socket, regions)?);
    }
    links.sort_by_key(|link| link.peer);
    Ok((links, all_fenceable))
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

fn dial(name: &[u8], me: Rank, peer: Rank, token: &[u8; 32]) -> Result<UnixStream, OpenError> {
    let address = SocketAddr::from_abstract_name(name).map_err(system(&format!("peer {peer} gave no socket name")))?;
    let socket = UnixStream::connect_addr(&address).map_err(system(&format!("connecting to peer {peer} (is it on this host?)")))?;
    socket.set_read_timeout(Some(STEP_TIMEOUT)).map_err(system("setting a time-out"))?;
    let mut hello = [0; 34];
    hello[..2].copy_from_slice(&me.0.to_le_bytes());
    hello[2..].copy_from_slice(&connection_token(token, me, peer, PURPOSE));
    (&socket).write_all(&hello).map_err(system(&format!("greeting peer {peer}")))?;
    Ok(socket)
}

/// The next connection of a member; strangers are dropped.
fn accept(listener: &UnixListener, me: Rank, token: &[u8; 32]) -> Result<(Rank, UnixStream), OpenError> {
    let deadline = Instant::now() + STEP_TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&wait)) {
            Ok(0) => {
                let source = std::io::ErrorKind::TimedOut.into();
                return Err(OpenError::System { fabric: "shm", what: "waiting for the members of lower rank to connect".into(), source });
            }
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(system("waiting for connections")(errno.into())),
            Ok(_) => {}
        }
        let (socket, _) = listener.accept().map_err(system("accepting a connection"))?;
        let mut hello = [0; 34];
        let shown = socket.set_read_timeout(Some(TOKEN_TIMEOUT)).and_then(|()| (&socket).read_exact(&mut hello));
        let peer = Rank(u16::from_le_bytes([hello[0], hello[1]]));
        let mut theirs = [0; 32];
        theirs.copy_from_slice(&hello[2..]);
        if shown.is_err() || peer >= me || !same_token(&theirs, &connection_token(token, peer, me, PURPOSE)) {
            continue;
        }
        socket.set_read_timeout(Some(STEP_TIMEOUT)).map_err(system("setting a time-out"))?;
        return Ok((peer, socket));
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

fn receive_memory(peer: Rank, socket: UnixStream, mine: &[Region]) -> Result<Link, OpenError> {
    let mut bytes = [0; 8 * (REGIONS_MAX + 1)];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REGIONS_MAX + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(|errno| system(&format!("waiting for the memory of peer {peer}"))(errno.into()))?;
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    let words: Vec<u64> =
        bytes[..got.bytes].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("chunks of 8 bytes"))).collect();
    if words.first() != Some(&(mine.len() as u64)) || words.len() != mine.len() + 1 || fds.len() != mine.len() + 1 {
        return Err(wrong(peer, "ended or sent no memory while linking; look at its own error"));
    }
    let bell = Bell::of_peer(fds.pop().expect("one more descriptor than regions"))?;
    let regions = fds.into_iter().zip(&words[1..]).map(|(fd, &bytes)| Region::map(fd, bytes as usize)).collect::<Result<Vec<_>, _>>()?;
    Ok(Link { peer, regions, bell, socket })
}
