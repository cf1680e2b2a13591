//! Connections by `librdmacm`: iWARP knows no other way.
//!
//! ```text
//!   lower rank                                     higher rank
//!   resolve address, resolve route
//!   queue pair, receives
//!             --- barrier: everybody is ready to connect ---
//!   connect: magic, rank, token  -->
//!                                                  check; queue pair, receives
//!                                 <--  accept: token
//!   check; established                             established
//! ```
//! As with TCP, a connection that does not show the token is refused and does no harm. What can fail at one member
//! alone comes before the barrier, where the others hear of it; what fails behind it ends connections, which they hear
//! of too.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::time::Instant;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use socket2::SockAddr;

use super::abi::{self, CStruct};
use super::errors::{outcome, system, unavailable};
use super::library::{self, Cm};
use super::limits::LINK_UP_MAX;
use super::sleep;
use crate::absent::Absent;
use crate::endpoint::OpenError;
use crate::exchange::{Exchange, connection_token, same_token};
use crate::rank::Rank;

const MAGIC: [u8; 8] = *b"squlvrb1";
const TOKEN_BYTES: usize = 32;
const HELLO_BYTES: usize = MAGIC.len() + 2 + TOKEN_BYTES;
const PURPOSE: &str = "verbs connection";
/// How often a packet is sent again; iWARP leaves that to TCP.
const RETRIES: u8 = 7;

/// A channel of events of the connection manager.
#[derive(Debug)]
struct Channel {
    cm: &'static Cm,
    raw: NonNull<abi::CmChannel>,
}

/// A connection or a listener, with its queue pair if it has one; ended on drop.
#[derive(Debug)]
pub(super) struct Connection {
    cm: &'static Cm,
    raw: NonNull<abi::CmId>,
}

// SAFETY: librdmacm is thread-safe; the channel is destroyed once, after all that belong to it (see the users' order of
// fields).
unsafe impl Send for Channel {}
// SAFETY: as for Send.
unsafe impl Sync for Channel {}
// SAFETY: as for Channel.
unsafe impl Send for Connection {}
// SAFETY: as for Channel.
unsafe impl Sync for Connection {}

impl Channel {
    fn new(cm: &'static Cm) -> Result<Channel, OpenError> {
        // SAFETY: no arguments.
        let raw = NonNull::new(unsafe { (cm.create_channel)() })
            .ok_or_else(|| system("opening /dev/infiniband/rdma_cm; is rdma_ucm loaded?", io::Error::last_os_error()))?;
        let channel = Channel { cm, raw };
        let fd = channel.fd();
        fcntl_getfl(fd)
            .and_then(|flags| fcntl_setfl(fd, flags | OFlags::NONBLOCK))
            .map_err(|errno| system("setting up a channel of the connection manager", errno.into()))?;
        Ok(channel)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the channel owns the descriptor and lives as long as self.
        unsafe { BorrowedFd::borrow_raw((*self.raw.as_ptr()).fd) }
    }

    fn identifier(&self) -> io::Result<Connection> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: a live channel; the library writes the pointer.
        outcome(unsafe { (self.cm.create_id)(self.raw.as_ptr(), &mut raw, std::ptr::null_mut(), abi::CM_PORT_SPACE_TCP) })?;
        let raw = NonNull::new(raw).ok_or(io::ErrorKind::Other)?;
        Ok(Connection { cm: self.cm, raw })
    }

    /// The next event, copied and acknowledged; `None` if there is none.
    fn event(&self) -> io::Result<Option<News>> {
        let mut event = std::ptr::null_mut();
        // SAFETY: a live channel whose descriptor does not block; the library writes the pointer.
        match outcome(unsafe { (self.cm.get_event)(self.raw.as_ptr(), &mut event) }) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        // SAFETY: an event that is ours until it is acknowledged below; private data is as long as it says.
        let news = unsafe {
            let event = &*event;
            let said = match event.conn.private_data.is_null() {
                true => &[][..],
                false => std::slice::from_raw_parts(event.conn.private_data.cast::<u8>(), usize::from(event.conn.private_data_len)),
            };
            let mut hello = [0; HELLO_BYTES];
            let count = said.len().min(HELLO_BYTES);
            hello[..count].copy_from_slice(&said[..count]);
            News { id: event.id, kind: event.event, status: event.status, hello }
        };
        // SAFETY: taken above, acknowledged once.
        unsafe { (self.cm.ack_event)(event) };
        Ok(Some(news))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once; identifiers of it are gone before.
        unsafe { (self.cm.destroy_channel)(self.raw.as_ptr()) };
    }
}

/// What an event said.
struct News {
    id: *mut abi::CmId,
    kind: c_int,
    status: c_int,
    hello: [u8; HELLO_BYTES],
}

impl Connection {
    fn bind(&self, address: SocketAddr) -> io::Result<()> {
        let address = SockAddr::from(address);
        // SAFETY: a live identifier; the library reads the address during the call.
        outcome(unsafe { (self.cm.bind_addr)(self.raw.as_ptr(), address.as_ptr().cast_mut().cast()) })
    }

    /// The device that it is bound to.
    pub(super) fn context(&self) -> Option<NonNull<abi::Context>> {
        // SAFETY: a live identifier.
        NonNull::new(unsafe { (*self.raw.as_ptr()).verbs })
    }

    pub(super) fn queue_pair(&self) -> Option<NonNull<abi::QueuePair>> {
        // SAFETY: a live identifier.
        NonNull::new(unsafe { (*self.raw.as_ptr()).qp })
    }

    /// Makes its queue pair.
    pub(super) fn make_queue_pair(&self, domain: NonNull<abi::ProtectionDomain>, init: &mut abi::QueuePairInit) -> io::Result<()> {
        // SAFETY: a live identifier that is bound to the domain's device; the library writes back what it gives.
        outcome(unsafe { (self.cm.create_qp)(self.raw.as_ptr(), domain.as_ptr(), init) })
    }

    /// `private` is read during the call that the parameters are for.
    fn parameters(private: &[u8]) -> abi::CmParameters {
        let mut parameters = abi::CmParameters::zeroed();
        parameters.private_data = private.as_ptr().cast::<c_void>();
        parameters.private_data_len = private.len() as u8;
        parameters.retry_count = RETRIES;
        parameters.rnr_retry_count = RETRIES;
        parameters
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: made once, ended once; all its events are acknowledged as they are taken. Once its queue pair is gone
        // nothing of the peer lands (T5).
        unsafe {
            if self.queue_pair().is_some() {
                (self.cm.destroy_qp)(self.raw.as_ptr());
            }
            (self.cm.destroy_id)(self.raw.as_ptr());
        }
    }
}

/// Keeps the connection manager's context of a device open.
#[derive(Debug)]
pub(super) struct Anchor {
    /// Before its channel.
    connection: Connection,
    _channel: Channel,
    pub(super) address: IpAddr,
}

impl Anchor {
    /// Binds to `wished`, else to the first address of this host that belongs to `device`.
    pub(super) fn cast(device: &str, wished: Option<IpAddr>) -> Result<Anchor, OpenError> {
        let cm = library::cm().map_err(unavailable)?;
        let addresses = wished.map_or_else(local_addresses, |address| vec![address]);
        for address in addresses {
            let channel = Channel::new(cm)?;
            let connection = channel.identifier().map_err(|error| system("making a connection identifier", error))?;
            let bound = connection.bind(SocketAddr::new(address, 0)).is_ok();
            if bound && connection.context().is_some_and(|context| name_of(context) == device) {
                return Ok(Anchor { connection, _channel: channel, address });
            }
        }
        let which = wished.map_or("no address of this host".to_owned(), |address| format!("the address {address} does not"));
        Err(unavailable(format!("{which} belongs to {device} (iWARP); give its network interface an address, not on lo")))
    }

    pub(super) fn context(&self) -> Option<NonNull<abi::Context>> {
        self.connection.context()
    }
}

fn name_of(context: NonNull<abi::Context>) -> String {
    // SAFETY: an open context; its device's name ends with a zero.
    unsafe { CStr::from_ptr((*(*context.as_ptr()).device).name.as_ptr()) }.to_string_lossy().into_owned()
}

/// IPv4 addresses of this host's interfaces but for loopback.
fn local_addresses() -> Vec<IpAddr> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the library writes a list that is ours until it is freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Vec::new();
    }
    let (mut found, mut at) = (Vec::new(), list);
    while !at.is_null() {
        // SAFETY: an entry of the list; an address of family INET is a sockaddr_in.
        unsafe {
            let address = (*at).ifa_addr;
            if !address.is_null() && c_int::from((*address).sa_family) == libc::AF_INET {
                let raw = (*address.cast::<libc::sockaddr_in>()).sin_addr.s_addr;
                found.push(std::net::Ipv4Addr::from(raw.to_ne_bytes()));
            }
            at = (*at).ifa_next;
        }
    }
    // SAFETY: from getifaddrs, freed once.
    unsafe { libc::freeifaddrs(list) };
    found.into_iter().filter(|address| !address.is_loopback()).map(IpAddr::V4).collect()
}

/// Makes the queue pair of a connection to a member and posts its receives.
pub(super) type Prepare<'a> = dyn FnMut(Rank, &Connection) -> Result<(), OpenError> + 'a;

/// One member's listener and its connections while they are made.
#[derive(Debug)]
pub(super) struct Meeting {
    /// By rank.
    connections: Vec<Option<Connection>>,
    /// What has queue pairs and may connect.
    ready: Vec<bool>,
    established: Vec<bool>,
    listener: Connection,
    /// After all that belong to it.
    channel: Channel,
    address: IpAddr,
    me: Rank,
    token: [u8; 32],
}

impl Meeting {
    /// Listens at `address`.
    pub(super) fn listen(address: IpAddr, me: Rank, members: usize, token: [u8; 32]) -> Result<Meeting, OpenError> {
        let channel = Channel::new(library::cm().map_err(unavailable)?)?;
        let listener = channel.identifier().map_err(|error| system("making a connection identifier", error))?;
        listener
            .bind(SocketAddr::new(address, 0))
            // SAFETY: a live identifier.
            .and_then(|()| outcome(unsafe { (channel.cm.listen)(listener.raw.as_ptr(), members as c_int) }))
            .map_err(|error| system(format!("listening for RDMA connections at {address}"), error))?;
        let connections = (0..members).map(|_| None).collect();
        let (ready, established) = (vec![false; members], vec![false; members]);
        Ok(Meeting { connections, ready, established, listener, channel, address, me, token })
    }

    /// Where the others find me.
    pub(super) fn address(&self) -> SocketAddr {
        // SAFETY: a live identifier; the port is in network byte order.
        let port = u16::from_be(unsafe { (self.channel.cm.source_port)(self.listener.raw.as_ptr()) });
        SocketAddr::new(self.address, port)
    }

    /// Finds the way to every higher rank; `prepare` makes a connection's queue pair and posts its receives.
    pub(super) fn resolve(
        &mut self,
        addresses: &[Option<SocketAddr>],
        prepare: &mut Prepare<'_>,
        exchange: &mut dyn Exchange,
        absent: &mut Absent,
    ) -> Result<(), OpenError> {
        for peer in absent.peers().filter(|&peer| peer > self.me).collect::<Vec<_>>() {
            let dialled = match addresses[peer.index()] {
                None => Err(wrong(peer, "it named no address to connect to".into())),
                Some(address) => self.dial(peer, address),
            };
            if let Err(error) = dialled {
                self.excuse(error, exchange, absent)?;
            }
        }
        let missing = |meeting: &Meeting, absent: &Absent| absent.peers().find(|&peer| peer > meeting.me && !meeting.ready[peer.index()]);
        self.until(prepare, "no way to it was found", missing, exchange, absent)
    }

    /// Connects to every higher rank and lets every lower one connect, once all members are through
    /// [`Meeting::resolve`]. Connections by rank; the channel must outlive them.
    pub(super) fn connect(
        mut self,
        prepare: &mut Prepare<'_>,
        exchange: &mut dyn Exchange,
        absent: &mut Absent,
    ) -> Result<(Vec<Option<Connection>>, Held), OpenError> {
        for index in 0..self.connections.len() {
            if absent.is_absent(Rank::new(index)) {
                self.connections[index] = None;
            }
            let (Some(connection), peer) = (&self.connections[index], Rank::new(index)) else {
                continue;
            };
            let hello = self.hello(peer);
            // SAFETY: a live identifier with a queue pair; parameters and hello are read during the call.
            let asked = outcome(unsafe { (self.channel.cm.connect)(connection.raw.as_ptr(), &mut Connection::parameters(&hello)) });
            if let Err(error) = asked {
                self.excuse(wrong(peer, format!("connecting: {error}")), exchange, absent)?;
            }
        }
        let missing = |meeting: &Meeting, absent: &Absent| absent.peers().find(|peer| !meeting.established[peer.index()]);
        self.until(prepare, "no connection", missing, exchange, absent)?;
        Ok((self.connections, Held { _listener: self.listener, _channel: self.channel }))
    }

    /// Takes events in until `missing` finds nobody; `what` says what it is that the one it finds has not done.
    fn until(
        &mut self,
        prepare: &mut Prepare<'_>,
        what: &str,
        missing: impl Fn(&Meeting, &Absent) -> Option<Rank>,
        exchange: &mut dyn Exchange,
        absent: &mut Absent,
    ) -> Result<(), OpenError> {
        let deadline = absent.deadline_before_gather(LINK_UP_MAX);
        while let Some(missing) = missing(self, absent) {
            let news = self.channel.event().map_err(|error| system("reading news of connections", error))?;
            if let Some(news) = news {
                if let Err(error) = self.hear(&news, prepare, absent) {
                    self.excuse(error, exchange, absent)?;
                }
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = format!("{what} in time; is a firewall in between, is it stopped, or did it fail?");
                self.excuse(wrong(missing, what), exchange, absent)?;
                continue;
            }
            sleep::wait(&[self.channel.fd()], left);
        }
        Ok(())
    }

    /// Ends the connection with the peer that the error names, if it may be done without.
    fn excuse(&mut self, error: OpenError, exchange: &mut dyn Exchange, absent: &mut Absent) -> Result<(), OpenError> {
        if let OpenError::Peer { peer, .. } = &error {
            self.connections[peer.index()] = None;
        }
        absent.excuse(exchange, error)
    }

    fn dial(&mut self, peer: Rank, address: SocketAddr) -> Result<(), OpenError> {
        let connection = self.channel.identifier().map_err(|error| system("making a connection identifier", error))?;
        let (from, to) = (SockAddr::from(SocketAddr::new(self.address, 0)), SockAddr::from(address));
        let timeout = LINK_UP_MAX.as_millis() as c_int;
        // SAFETY: a live identifier; the library reads both addresses during the call.
        outcome(unsafe {
            let (from, to) = (from.as_ptr().cast_mut().cast(), to.as_ptr().cast_mut().cast());
            (self.channel.cm.resolve_addr)(connection.raw.as_ptr(), from, to, timeout)
        })
        .map_err(|error| wrong(peer, format!("resolving its address {address}: {error}")))?;
        self.connections[peer.index()] = Some(connection);
        Ok(())
    }

    fn proof(&self, from: Rank, to: Rank) -> [u8; TOKEN_BYTES] {
        connection_token(&self.token, from, to, PURPOSE)
    }

    fn hello(&self, peer: Rank) -> [u8; HELLO_BYTES] {
        let mut hello = [0; HELLO_BYTES];
        hello[..8].copy_from_slice(&MAGIC);
        hello[8..10].copy_from_slice(&self.me.0.to_le_bytes());
        hello[10..].copy_from_slice(&self.proof(self.me, peer));
        hello
    }

    /// Whether a hello proves to come from `peer`.
    fn is_from(&self, peer: Rank, hello: &[u8; HELLO_BYTES]) -> bool {
        let mut token = [0; TOKEN_BYTES];
        token.copy_from_slice(&hello[10..]);
        hello[..8] == MAGIC && hello[8..10] == peer.0.to_le_bytes() && same_token(&token, &self.proof(peer, self.me))
    }

    fn hear(&mut self, news: &News, prepare: &mut Prepare<'_>, absent: &Absent) -> Result<(), OpenError> {
        if news.kind == abi::CM_CONNECT_REQUEST {
            return self.admit(news, prepare, absent);
        }
        let known = self.connections.iter().position(|connection| connection.as_ref().is_some_and(|it| it.raw.as_ptr() == news.id));
        let Some(index) = known else {
            return Ok(());
        };
        let peer = Rank::new(index);
        let step = |what: &str, code| outcome(code).map_err(|error| wrong(peer, format!("{what}: {error}")));
        match news.kind {
            abi::CM_ADDRESS_RESOLVED => {
                // SAFETY: a live identifier whose address is resolved.
                step("resolving the route", unsafe { (self.channel.cm.resolve_route)(news.id, LINK_UP_MAX.as_millis() as c_int) })
            }
            abi::CM_ROUTE_RESOLVED => {
                if let Some(connection) = &self.connections[index] {
                    prepare(peer, connection)?;
                }
                self.ready[index] = true;
                Ok(())
            }
            abi::CM_ESTABLISHED => {
                // Who was accepted has heard the answer; who accepted has proof already.
                if peer > self.me && !self.is_from(peer, &news.hello) {
                    return Err(wrong(peer, "it does not know this epoch's token: something else listens at its address".into()));
                }
                self.established[index] = true;
                Ok(())
            }
            kind => Err(wrong(peer, format!("the connection failed: {} (status {})", kind_text(kind), news.status))),
        }
    }

    /// A stranger asks; it is let in if it proves to be a lower rank that is not connected yet.
    fn admit(&mut self, news: &News, prepare: &mut Prepare<'_>, absent: &Absent) -> Result<(), OpenError> {
        let Some(raw) = NonNull::new(news.id) else {
            return Ok(());
        };
        let connection = Connection { cm: self.channel.cm, raw };
        let peer = Rank(u16::from_le_bytes([news.hello[8], news.hello[9]]));
        let is_awaited = peer < self.me && !absent.is_absent(peer) && self.connections[peer.index()].is_none();
        if !is_awaited || !self.is_from(peer, &news.hello) {
            // SAFETY: a live identifier that was neither accepted nor rejected.
            unsafe { (self.channel.cm.reject)(news.id, std::ptr::null(), 0) };
            return Ok(());
        }
        prepare(peer, &connection)?;
        let hello = self.hello(peer);
        // SAFETY: a live identifier with a queue pair; parameters and hello are read during the call.
        outcome(unsafe { (self.channel.cm.accept)(news.id, &mut Connection::parameters(&hello)) })
            .map_err(|error| wrong(peer, format!("accepting its connection: {error}")))?;
        self.connections[peer.index()] = Some(connection);
        Ok(())
    }
}

/// What connections need as long as they live.
#[derive(Debug)]
pub(super) struct Held {
    _listener: Connection,
    _channel: Channel,
}

fn wrong(peer: Rank, what: String) -> OpenError {
    OpenError::Peer { fabric: "verbs", peer, what }
}

fn kind_text(kind: c_int) -> &'static str {
    match kind {
        abi::CM_REJECTED => "it was rejected; does the peer run the same epoch?",
        abi::CM_UNREACHABLE => "the peer is unreachable",
        abi::CM_DISCONNECTED => "the peer hung up",
        abi::CM_DEVICE_REMOVAL => "the device was removed",
        _ => "address, route or connection error",
    }
}

const _: () = assert!(HELLO_BYTES <= 56, "what a connection request carries on any transport");
