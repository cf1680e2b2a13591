//! Groups on two hosts joined by a cable, which is pulled: whoever is behind it is told so or goes on without the
//! others, whether something is sent or not.
//!
//! Skipped, with the reason printed, where the machine gives no network namespaces; in CI that fails.

#[path = "../../transport/tests/namespaces/stage.rs"]
mod stage;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use squall_group::prelude::*;
use squall_group::transport::LOST_AFTER_MIN;
use squall_group::{SendError, Stop};
use stage::OtherHost;

/// Nothing here takes this long; it is a fraction of what TCP takes by itself to give up a host that it sends to.
const PATIENCE: Duration = Duration::from_secs(60);

/// The host that pulls the cable, where the rendezvous is.
const NEAR: [u8; 4] = [192, 0, 2, 1];
/// The host behind it.
const FAR: [u8; 4] = [192, 0, 2, 2];

#[test]
fn an_idle_group_ends_at_both_ends_of_a_pulled_cable() {
    a_group_ends("an_idle_group_ends_at_both_ends_of_a_pulled_cable", false);
}

#[test]
fn a_busy_group_ends_at_both_ends_of_a_pulled_cable() {
    a_group_ends("a_busy_group_ends_at_both_ends_of_a_pulled_cable", true);
}

#[test]
fn an_idle_group_goes_on_without_the_member_behind_a_pulled_cable() {
    a_group_goes_on("an_idle_group_goes_on_without_the_member_behind_a_pulled_cable", false, 2);
}

#[test]
fn a_busy_group_goes_on_without_the_leader_behind_a_pulled_cable() {
    a_group_goes_on("a_busy_group_goes_on_without_the_leader_behind_a_pulled_cable", true, 0);
}

/// Two members, a host each, that never change.
fn a_group_ends(test: &str, busy: bool) {
    match stage::role().as_deref() {
        None => stage::enter(test, "near"),
        Some("near") => near(test, 2, |host, at, key| {
            let mut one = Fixed::join(at, NEAR, key, 0);
            one.meet();
            host.expect("in");
            stage::ip("link set cable0 down");
            assert_eq!(one.until_over(busy), Ended::MemberDown(Rank(1)));
            host.expect("told");
        }),
        Some(_) => far(|at, key| {
            let mut other = Fixed::join(at, FAR, key, 1);
            other.meet();
            stage::say("in");
            assert_eq!(other.until_over(busy), Ended::MemberDown(Rank(0)));
            stage::say("told");
        }),
    }
}

/// Three members that come and go, the one of rank `cut` alone on its host. Only the links tell who is lost.
fn a_group_goes_on(test: &str, busy: bool, cut: u16) {
    match stage::role().as_deref() {
        None => stage::enter(test, "near"),
        Some("near") => near(test, 3, |host, at, key| {
            std::thread::scope(|scope| {
                let mut near = (0..3).filter(|&rank| rank != cut);
                let (first, second) = (near.next().expect("of two"), near.next().expect("of two"));
                scope.spawn(move || {
                    let mut member = Changing::found(at, NEAR, key, second);
                    member.meet();
                    member.go_on(busy);
                });
                let mut member = Changing::found(at, NEAR, key, first);
                member.meet();
                stage::ip("link set cable0 down");
                member.go_on(busy);
                host.expect("told");
            });
        }),
        Some(_) => far(|at, key| {
            let mut member = Changing::found(at, FAR, key, cut);
            let why = member.until_over(busy);
            assert!(matches!(why, MemberError::Ended(Ended::Stopped(Stop::NoQuorum { left: 1, members: 3, needed: 2 }))), "{why}");
            stage::say("told");
        }),
    }
}

/// On the near host: a rendezvous for `members`, and `part` with its address and key, which the far host is told too.
fn near(test: &str, members: usize, part: impl FnOnce(&mut OtherHost, SocketAddr, &ClusterKey)) {
    let mut host = OtherHost::start(test, "far");
    let key = ClusterKey::random();
    let mut server = RendezvousServer::bind(SocketAddr::from((NEAR, 0)), &key, ServerOptions::new(members)).expect("an address of mine");
    let at = server.local_addr();
    host.tell(&format!("{at} {}", key.to_hex()));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                server.poll(Duration::from_millis(10)).expect("a socket of mine");
            }
        });
        let _over = Raise(&over);
        part(&mut host, at, &key);
    });
}

/// Raises its flag when it is dropped, also by a panic.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// On the far host.
fn far(part: impl FnOnce(SocketAddr, &ClusterKey)) {
    stage::arrive();
    let told = stage::listen();
    let (at, key) = told.split_once(' ').expect("an address and a key");
    part(at.parse().expect("an address"), &ClusterKey::from_hex(key).expect("a key"));
}

fn session(at: SocketAddr, key: &ClusterKey, rank: u16) -> Session {
    let options = ConnectOptions { node: NodeId(u64::from(rank) + 1), rank: Some(Rank(rank)), timeout: PATIENCE };
    Session::connect(at, key, &options).expect("the rendezvous answers")
}

fn fabric(here: [u8; 4]) -> TcpFabric {
    TcpFabric::new(IpAddr::from(here)).lost_after(LOST_AFTER_MIN)
}

fn config(members: u16) -> Config {
    Config::new((0..members).map(Rank).collect())
}

/// Said once by every member: in the first view, and in the one without the member behind the cable.
const FIRST: &[u8] = b"here I am";
const SECOND: &[u8] = b"so we go on";
const MORE: &[u8] = b"are you there?";

/// Who said which words.
#[derive(Default)]
struct Heard(HashSet<(Rank, Vec<u8>)>);

impl Heard {
    fn sayers(&self, words: &[u8]) -> usize {
        self.0.iter().filter(|(_, said)| said == words).count()
    }
}

impl Upcalls for Heard {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        self.0.insert((delivery.sender, delivery.payload.to_vec()));
    }
}

/// Whether there was room for a message.
fn say(sent: Result<u64, SendError>) -> bool {
    sent.inspect_err(|error| assert!(error.is_full(), "{error}")).is_ok()
}

/// A member of a group whose members never change.
struct Fixed {
    group: Group<<TcpFabric as Fabric>::Endpoint>,
    heard: Heard,
    pace: Pace,
}

impl Fixed {
    fn join(at: SocketAddr, here: [u8; 4], key: &ClusterKey, rank: u16) -> Fixed {
        let group = Group::join(&config(2), &fabric(here), &mut session(at, key, rank)).expect("two join");
        Fixed { group, heard: Heard::default(), pace: Pace::for_members(2) }
    }

    fn turn(&mut self, deadline: Instant) -> Result<Turn, Ended> {
        assert!(Instant::now() < deadline, "the group noticed nothing");
        self.group.turn_until(&mut self.heard, &mut self.pace, Some(deadline))
    }

    /// Until both have said their first words.
    fn meet(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        say(self.group.send(FIRST));
        while self.heard.sayers(FIRST) < 2 {
            self.turn(deadline).expect("nobody is lost");
        }
    }

    fn until_over(&mut self, busy: bool) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if busy {
                say(self.group.send(MORE));
            }
            if let Err(ended) = self.turn(deadline) {
                return ended;
            }
        }
    }
}

/// A member of a group that goes from view to view.
struct Changing {
    member: Member<TcpFabric>,
    heard: Heard,
    pace: Pace,
}

impl Changing {
    fn found(at: SocketAddr, here: [u8; 4], key: &ClusterKey, rank: u16) -> Changing {
        let options = MeshOptions { lost_after: LOST_AFTER_MIN, ..MeshOptions::default() };
        let mesh = Mesh::open(SocketAddr::from((here, 0)), key, random_node(), options).expect("an address of mine");
        // No silence is suspected.
        let config = Config { membership: Some(Timeouts::after(2 * PATIENCE)), ..config(3) };
        let founded = Member::found(MemberOptions::new(config), fabric(here), mesh, &mut session(at, key, rank));
        Changing { member: founded.expect("three found a group"), heard: Heard::default(), pace: Pace::for_members(3) }
    }

    fn turn(&mut self, deadline: Instant) -> Result<Turn, MemberError> {
        assert!(Instant::now() < deadline, "the member noticed nothing");
        self.member.turn_until(&mut self.heard, &mut self.pace, Some(deadline))
    }

    /// Until all three have said their first words.
    fn meet(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        say(self.member.send(FIRST));
        while self.heard.sayers(FIRST) < 3 {
            self.turn(deadline).expect("nobody is lost");
        }
    }

    fn until_over(&mut self, busy: bool) -> MemberError {
        let deadline = Instant::now() + PATIENCE;
        say(self.member.send(FIRST));
        loop {
            if busy {
                say(self.member.send(MORE));
            }
            if let Err(over) = self.turn(deadline) {
                return over;
            }
        }
    }

    /// Until two of three are left, and have said their second words; then it leaves.
    fn go_on(&mut self, busy: bool) {
        let deadline = Instant::now() + PATIENCE;
        while self.member.view().members == 3 {
            if busy {
                say(self.member.send(MORE));
            }
            self.turn(deadline).expect("two of three are enough");
        }
        let mut said = false;
        while self.heard.sayers(SECOND) < 2 {
            said = said || say(self.member.send(SECOND));
            self.turn(deadline).expect("two of three are enough");
        }
        self.member.leave();
        while self.turn(deadline).expect("it leaves as it wanted to") != Turn::Left {}
    }
}
