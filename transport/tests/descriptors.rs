//! Processes with few file descriptors, and strangers who take them: whoever holds the key, or the token, gets in all
//! the same, or learns why not.
//!
//! Each test starts this program again under a low limit; strangers come from this process, which has enough.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use squall_transport::exchange::{
    ClusterKey, ConnectError, ConnectOptions, ExchangeError, Place, RendezvousServer, ServerEvent, ServerOptions, Session,
};
use squall_transport::shm::ShmFabric;
use squall_transport::tcp::TcpFabric;
use squall_transport::{Exchange, Fabric, NodeId, Rank, Region, RegionOptions};

/// Nothing here takes this long; it only ends tests that would hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// Tells a copy of this program what it is to do.
const ROLE: &str = "SQUALL_TEST_DESCRIPTORS";
/// Descriptors that a copy may hold.
const FEW: usize = 48;
/// More connections than that.
const STRANGERS: usize = 100;

/// A copy of this program that may hold few descriptors. Killed when it is dropped.
struct Copy {
    child: Child,
    said: BufReader<ChildStdout>,
    stdin: ChildStdin,
}

/// Stands before a copy's own words: whatever else its test harness prints is passed over.
const SAYS: &str = "copy: ";

impl Copy {
    fn start(test: &str, role: &str) -> Copy {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {FEW} && exec \"$@\""), "sh"]).arg(std::env::current_exe().expect("my own name"));
        command.args(["--exact", test, "--nocapture"]).env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        let stdin = child.stdin.take().expect("piped");
        Copy { child, said, stdin }
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).expect("a pipe") > 0, "the copy ended: {:?}", self.child.wait());
            if let Some((_, word)) = line.trim_end().split_once(SAYS) {
                return word.to_owned();
            }
        }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").expect("it reads");
    }

    /// What it listens at: addresses of TCP, or abstract names.
    fn listens_at(&self) -> Vec<Place> {
        let held = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it lives");
        let name = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned);
        let inode = |name: String| name.strip_prefix("socket:[")?.strip_suffix("]")?.parse().ok();
        let held: BTreeSet<u64> = held.filter_map(name).filter_map(inode).collect();
        let is_held = |inode: &str| inode.parse().is_ok_and(|inode| held.contains(&inode));
        let tcp = |line: &str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (address, port) = fields.get(1)?.split_once(':')?;
            let listens = *fields.get(3)? == "0A" && is_held(fields.get(9)?);
            let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.swap_bytes());
            listens.then_some(Place::Ip((address, u16::from_str_radix(port, 16).ok()?).into()))
        };
        let unix = |line: &str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let name = fields.get(7)?.strip_prefix('@')?;
            is_held(fields.get(6)?).then(|| Place::Local(name.to_owned()))
        };
        let read = |path| std::fs::read_to_string(path).expect("/proc is there");
        let (sockets, names) = (read("/proc/net/tcp"), read("/proc/net/unix"));
        sockets.lines().filter_map(tcp).chain(names.lines().filter_map(unix)).collect()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(word: &str) {
    println!("{SAYS}{word}");
}

fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a pipe");
    line.trim_end().to_owned()
}

/// Connections that say nothing.
fn strangers(place: &Place) -> Vec<OwnedFd> {
    let connect = |_| match place {
        Place::Ip(address) => TcpStream::connect_timeout(address, PATIENCE).expect("it listens").into(),
        Place::Local(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name");
            std::os::unix::net::UnixStream::connect_addr(&address).expect("it listens").into()
        }
    };
    (0..STRANGERS).map(connect).collect()
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn options(rank: u16, timeout: Duration) -> ConnectOptions {
    ConnectOptions { node: NodeId(u64::from(rank)), rank: Some(Rank(rank)), timeout }
}

/// A rendezvous in a copy: its address and key are said; then it is served. `hold` says how many descriptors it takes
/// for itself first.
fn serve(hold: usize) -> ! {
    let key = ClusterKey::random();
    let mut server = RendezvousServer::bind(loopback(), &key, ServerOptions::new(2)).expect("loopback");
    let take = |held: &mut Vec<_>| held.extend((held.len()..hold).map_while(|_| std::fs::File::open("/dev/null").ok()));
    let mut held = Vec::new();
    take(&mut held);
    say(&format!("{} {}", server.place(), key.to_hex()));
    let mut failed = false;
    // Until this copy is killed.
    loop {
        for event in server.poll(Duration::from_millis(10)).expect("poll") {
            match event {
                ServerEvent::Joined { rank, .. } => say(&format!("joined {rank}")),
                ServerEvent::AcceptFailed { reason } if !failed => {
                    failed = true;
                    say(&reason);
                }
                _ => {}
            }
        }
        // One that somebody gives back is taken again.
        take(&mut held);
    }
}

#[test]
fn a_rendezvous_that_strangers_hold_all_descriptors_of_lets_members_in() {
    let test = "a_rendezvous_that_strangers_hold_all_descriptors_of_lets_members_in";
    if std::env::var_os(ROLE).is_some() {
        serve(0);
    }
    let mut copy = Copy::start(test, "serve");
    let said = copy.hear();
    let (place, key) = said.split_once(' ').expect("two words");
    let (place, key): (Place, _) = (place.parse().expect("a place"), ClusterKey::from_hex(key).expect("a key"));
    let held = strangers(&place);
    let session = Session::connect(place, &key, &options(1, PATIENCE)).expect("it holds the key");
    assert_eq!(copy.hear(), "joined 1");
    drop((held, session));
}

#[test]
fn who_calls_a_rendezvous_without_descriptors_learns_that() {
    let test = "who_calls_a_rendezvous_without_descriptors_learns_that";
    if std::env::var_os(ROLE).is_some() {
        serve(usize::MAX);
    }
    let mut copy = Copy::start(test, "serve");
    let said = copy.hear();
    let (place, key) = said.split_once(' ').expect("two words");
    let (place, key): (Place, _) = (place.parse().expect("a place"), ClusterKey::from_hex(key).expect("a key"));
    let error = Session::connect(place, &key, &options(1, Duration::from_secs(1))).expect_err("there is no descriptor for it");
    assert!(matches!(error, ConnectError::Overrun { attempts: 2.., .. }), "{error}");
    assert!(error.to_string().contains("no file descriptor left: raise its limit (ulimit -n)"), "{error}");
    let said = copy.hear();
    assert!(said.contains("Too many open files"), "{said}");
}

#[test]
fn who_has_no_descriptor_to_call_with_learns_that() {
    let test = "who_has_no_descriptor_to_call_with_learns_that";
    if std::env::var_os(ROLE).is_some() {
        let held: Vec<_> = std::iter::repeat_with(|| std::fs::File::open("/dev/null")).map_while(Result::ok).collect();
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let error = Session::connect(nobody, &ClusterKey::from_hex(&"0".repeat(64)).expect("a key"), &options(1, PATIENCE));
        say(&error.expect_err("there is no descriptor for it").to_string());
        return drop(held);
    }
    let said = Copy::start(test, "caller").hear();
    assert!(said.contains("Too many open files") && said.contains("raise this process' limit (ulimit -n)"), "{said}");
}

/// The lower of two members, which is slow: after the other's address is known, strangers come to it first.
struct Slow<'a> {
    session: Session,
    copy: &'a Copy,
    held: Vec<OwnedFd>,
}

impl Exchange for Slow<'_> {
    fn rank(&self) -> Rank {
        self.session.rank()
    }

    fn members(&self) -> usize {
        self.session.members()
    }

    fn token(&self) -> &[u8; 32] {
        self.session.token()
    }

    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        let parts = self.session.all_gather(what, mine)?;
        if self.held.is_empty() {
            let places = self.copy.listens_at();
            assert!(!places.is_empty(), "the copy listens nowhere");
            self.held = places.iter().flat_map(strangers).collect();
        }
        Ok(parts)
    }
}

fn open<F: Fabric>(fabric: &F, exchange: &mut dyn Exchange) -> Result<F::Endpoint, String> {
    let region = Region::allocate(4096, &RegionOptions::default()).expect("memory");
    fabric.open(exchange, std::slice::from_ref(&region)).map_err(|error| error.to_string())
}

/// Two members over `fabric`, the higher one a copy with few descriptors.
fn data_listener<F: Fabric + Sync>(test: &str, fabric: &F) {
    if std::env::var_os(ROLE).is_some() {
        let said = listen();
        let (place, key) = said.split_once(' ').expect("two words");
        let key = ClusterKey::from_hex(key).expect("a key");
        let mut session = Session::connect(place.parse::<Place>().expect("a place"), &key, &options(1, PATIENCE)).expect("joined");
        let opened = open(fabric, &mut session);
        return say(&opened.map_or_else(|error| error, |_| "linked".to_owned()));
    }
    let mut copy = Copy::start(test, "member");
    let key = ClusterKey::random();
    let mut server = RendezvousServer::bind(loopback(), &key, ServerOptions::new(2)).expect("loopback");
    let address = server.local_addr();
    copy.tell(&format!("{address} {}", key.to_hex()));
    let opened = std::thread::scope(|scope| {
        let (copy, key) = (&copy, &key);
        let member = scope.spawn(move || {
            let session = Session::connect(address, key, &options(0, PATIENCE)).expect("joined");
            open(fabric, &mut Slow { session, copy, held: Vec::new() }).map(drop)
        });
        let deadline = Instant::now() + PATIENCE;
        while !member.is_finished() {
            assert!(Instant::now() < deadline, "nothing happens any more");
            server.poll(Duration::from_millis(10)).expect("poll");
        }
        member.join().expect("no panic")
    });
    assert_eq!(opened, Ok(()));
    assert_eq!(copy.hear(), "linked");
}

#[test]
fn a_data_listener_over_tcp_outlasts_strangers() {
    data_listener("a_data_listener_over_tcp_outlasts_strangers", &TcpFabric::default());
}

#[test]
fn a_data_listener_over_shm_outlasts_strangers() {
    data_listener("a_data_listener_over_shm_outlasts_strangers", &ShmFabric::new());
}
