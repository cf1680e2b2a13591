//! `verbs` between processes: members that meet at a rendezvous, sleep, stop and die. Skipped, with the reason printed,
//! where there is no RDMA device, unless `SQUALL_REQUIRE_VERBS=1`.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use squall_transport::exchange::{ClusterKey, ConnectOptions, LeaveReason, RendezvousServer, ServerEvent, ServerOptions, Session};
use squall_transport::verbs::{Detection, VerbsEndpoint, VerbsFabric, VerbsOptions};
use squall_transport::{Endpoint, Event, Fabric, NodeId, Place, Rank, Region, RegionOptions, TABLE, Write};

/// Nothing here takes this long; it only ends tests that would hang.
const PATIENCE: Duration = Duration::from_secs(60);
const MEMBERS: usize = 3;
/// The one that something happens to.
const LAST: usize = MEMBERS - 1;
/// Tells a copy of this program what to be: `address key rank`.
const ROLE: &str = "SQUALL_TEST_MEMBER";
const ROUNDS: u64 = 300;
/// The round before which it happens.
const FATAL_ROUND: u64 = 200;

fn there() -> bool {
    match VerbsFabric::default().chosen() {
        Ok(_) => true,
        Err(error) if std::env::var_os("SQUALL_REQUIRE_VERBS").is_some_and(|value| value == "1") => panic!("{error}"),
        Err(error) => {
            println!("skipped: {error}");
            false
        }
    }
}

fn open(address: SocketAddr, key: &ClusterKey, rank: u16) -> (VerbsEndpoint, Region) {
    let options = ConnectOptions { node: NodeId(u64::from(rank)), rank: Some(Rank(rank)), timeout: PATIENCE };
    let mut session = Session::connect(address, key, &options).expect("the rendezvous answers");
    let fabric = VerbsFabric::new(VerbsOptions { detection: Detection::PROMPT, ..VerbsOptions::default() });
    let table = fabric.region(4096, &RegionOptions::default()).expect("memory");
    let endpoint = fabric.open(&mut session, std::slice::from_ref(&table)).expect("opens");
    session.finish(Instant::now() + PATIENCE).expect("finished");
    (endpoint, table)
}

/// Sleeps until all others have told `round`, or one is down that never will.
fn wait_for(endpoint: &mut VerbsEndpoint, table: &Region, round: u64) -> Option<Event> {
    let (me, deadline) = (endpoint.rank().index(), Instant::now() + PATIENCE);
    let told = |peer: usize| table.word(8 * peer as u64).load(Acquire);
    loop {
        endpoint.arm();
        // Who is through with all rounds may leave.
        let event = endpoint.poll().filter(|&Event::Down(peer)| told(peer.index()) < ROUNDS);
        let all = (0..MEMBERS).filter(|&peer| peer != me).all(|peer| told(peer) >= round);
        if all || event.is_some() {
            endpoint.disarm();
            return event;
        }
        assert!(Instant::now() < deadline, "nothing happens any more");
        endpoint.park(PATIENCE);
    }
}

fn tell_all(endpoint: &mut VerbsEndpoint, round: u64) {
    let me = endpoint.rank();
    for peer in (0..MEMBERS).map(Rank::new).filter(|&peer| peer != me) {
        let word = Write::Word { at: Place::new(TABLE, 8 * me.index() as u64), value: round };
        endpoint.post(peer, word).expect("a word fits");
    }
    endpoint.flush();
}

/// Everyone waits for everyone, round by round; `before_fatal_round` is what rank 0 does to the last one. Returns who
/// was found dead, if anyone was.
fn member(endpoint: &mut VerbsEndpoint, table: &Region, mut before_fatal_round: impl FnMut(&mut VerbsEndpoint)) -> Option<Event> {
    for round in 1..=ROUNDS {
        if round == FATAL_ROUND {
            before_fatal_round(endpoint);
        }
        tell_all(endpoint, round);
        if let Some(event) = wait_for(endpoint, table, round) {
            // It may be ahead of rank 0 by a round, and its last words may have got to one of the others only.
            assert!(round.abs_diff(FATAL_ROUND) <= 1, "nobody dies in round {round}");
            // I leave, and am not dead.
            tell_all(endpoint, ROUNDS);
            return Some(event);
        }
    }
    None
}

/// Not a test of its own: what the copies of this program do, and tell by their exit code.
#[test]
fn copy() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let [address, key, rank] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{ROLE} is malformed") };
    let key = ClusterKey::from_hex(key).expect("a key");
    let (mut endpoint, table) = open(address.parse().expect("an address"), &key, rank.parse().expect("a rank"));
    let found = member(&mut endpoint, &table, |_| {});
    drop(endpoint);
    std::process::exit(if found == Some(Event::Down(Rank::new(LAST))) { FOUND_DEAD } else { 0 });
}

/// Exit code of a copy that found the last member dead.
const FOUND_DEAD: i32 = 42;

fn start_copy(address: SocketAddr, key: &ClusterKey, rank: usize) -> Child {
    let program = std::env::current_exe().expect("my own name");
    let role = format!("{address} {} {rank}", key.to_hex());
    let mut command = Command::new(program);
    command.args(["copy", "--exact", "--nocapture"]).env(ROLE, role).stdout(Stdio::null());
    command.spawn().expect("a copy of myself")
}

/// Runs rank 0 here and the others as processes; `before_fatal_round` gets the last one. Who was found dead here and
/// when, and how the others ended.
fn run(mut before_fatal_round: impl FnMut(&mut VerbsEndpoint, &mut Child)) -> (Option<Event>, Instant, Vec<ExitStatus>) {
    let key = ClusterKey::random();
    let mut server = RendezvousServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &key, ServerOptions::new(MEMBERS)).expect("bind");
    let address = server.local_addr();
    let mut copies: Vec<Child> = (1..MEMBERS).map(|rank| start_copy(address, &key, rank)).collect();
    let (mut endpoint, table) = std::thread::scope(|scope| {
        let me = scope.spawn(|| open(address, &key, 0));
        let mut finished = 0;
        while finished < MEMBERS {
            for event in server.poll(PATIENCE).expect("poll") {
                if let ServerEvent::Left { rank, reason } = event {
                    assert_eq!(reason, LeaveReason::Finished, "rank {rank}");
                    finished += 1;
                }
            }
        }
        me.join().expect("no panic")
    });
    let last = copies.last_mut().expect("a last member");
    let found = member(&mut endpoint, &table, |endpoint| before_fatal_round(endpoint, last));
    let found_at = Instant::now();
    let ends = copies.iter_mut().map(|copy| copy.wait().expect("ended")).collect();
    (found, found_at, ends)
}

#[test]
fn a_killed_process_is_found_dead_by_members_that_sleep() {
    if !there() {
        return;
    }
    let mut killed_at = Instant::now();
    let (found, found_at, ends) = run(|_, last| {
        last.kill().expect("it lives");
        killed_at = Instant::now();
    });
    println!("found dead after {:?}; the attributes say {:?}", found_at - killed_at, Detection::PROMPT.gives_up_after());
    assert_eq!(found, Some(Event::Down(Rank::new(LAST))));
    assert_eq!(ends.last().and_then(|last| last.signal()), Some(9));
    assert!(ends[..LAST - 1].iter().all(|other| other.code() == Some(FOUND_DEAD)), "{ends:?}");
}

#[test]
fn a_stopped_process_is_not_called_dead() {
    if !there() {
        return;
    }
    let (found, _, ends) = run(|endpoint, last| {
        let last = Pid::from_child(last);
        kill_process(last, Signal::STOP).expect("it lives");
        let stopped = waitpid(Some(last), WaitOptions::UNTRACED).expect("a child of mine").expect("waited");
        assert!(stopped.1.stopped());
        // Its queue pairs answer probes and take writes all that time.
        let enough = Instant::now() + 100 * Detection::PROMPT.gives_up_after();
        while Instant::now() < enough {
            endpoint.arm();
            assert_eq!(endpoint.poll(), None, "it only stands still");
            endpoint.park(Duration::from_millis(10));
        }
        kill_process(last, Signal::CONT).expect("it lives");
    });
    assert_eq!(found, None);
    assert!(ends.iter().all(ExitStatus::success), "{ends:?}");
}
