//! How long the others wait while newcomers take the application's state: three members send all the time, newcomers
//! come with much state that is restored slowly, and the longest gap between two deliveries at any of the three is
//! printed, before they come and while they do.
//!
//! ```sh
//! cargo run --release -p squall-group --example joins -- --newcomers 1 --megabytes 200
//! ```

use std::env;
use std::io::{Cursor, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use squall_group::prelude::*;

const FOUNDERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(300);
const SUSPECT_AFTER: Duration = Duration::from_secs(2);
/// Before newcomers come, and after.
const CALM: Duration = Duration::from_secs(2);
/// Between two messages of a member.
const SEND_EVERY: Duration = Duration::from_micros(500);
/// What restoring a byte takes: 40 MB a second.
const RESTORE_NS_PER_BYTE: u64 = 25;

/// Phases of the run: calm, newcomers come, over.
const COMING: u64 = 1;
const OVER: u64 = 2;

struct Application {
    state: Arc<Vec<u8>>,
    last: Instant,
    deliveries: u64,
    longest: Duration,
}

impl Application {
    fn new(state: &Arc<Vec<u8>>) -> Application {
        Application { state: Arc::clone(state), last: Instant::now(), deliveries: 0, longest: Duration::ZERO }
    }

    /// The longest gap and the deliveries since it was asked last.
    fn take(&mut self) -> (Duration, u64) {
        (std::mem::take(&mut self.longest), std::mem::take(&mut self.deliveries))
    }
}

/// Reads bytes that are shared.
struct Shared(Cursor<Arc<Vec<u8>>>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let at = self.0.position() as usize;
        let count = buffer.len().min(self.0.get_ref().len() - at);
        buffer[..count].copy_from_slice(&self.0.get_ref()[at..at + count]);
        self.0.set_position((at + count) as u64);
        Ok(count)
    }
}

impl Upcalls for Application {
    fn deliver(&mut self, _delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        (self.last, self.deliveries) = (now, self.deliveries + 1);
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        Box::new(Shared(Cursor::new(Arc::clone(&self.state))))
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        if let StatePiece::Bytes(bytes) = piece {
            thread::sleep(Duration::from_nanos(RESTORE_NS_PER_BYTE * bytes.len() as u64));
        }
    }
}

fn options() -> MemberOptions {
    let membership = Some(Timeouts::after(SUSPECT_AFTER));
    MemberOptions::new(Config {
        ring_bytes: 1 << 18,
        small_max: 1 << 10,
        membership,
        ..Config::new((0..FOUNDERS).map(Rank::new).collect())
    })
}

fn mesh(key: &ClusterKey, node: u64) -> Mesh {
    Mesh::open((Ipv4Addr::LOCALHOST, 0).into(), key, NodeId(node), MeshOptions::default()).expect("loopback is there")
}

/// One founder's life: it sends all the time; the longest gaps and deliveries while it is calm and while newcomers
/// come.
fn found(
    key: &ClusterKey,
    rank: usize,
    mut exchange: LocalExchange,
    state: &Arc<Vec<u8>>,
    phase: &AtomicU64,
    tell: impl Fn(SocketAddr),
) -> [(Duration, u64); 2] {
    let mesh = mesh(key, rank as u64);
    let mut member = Member::found(options(), ShmFabric::new(), mesh, &mut exchange).expect("all come");
    tell(member.address());
    let (mut application, mut pace) = (Application::new(state), Pace::for_members(2 * FOUNDERS));
    let (mut due, mut seen, mut calm) = (Instant::now(), 0, (Duration::ZERO, 0));
    // The first deliveries warm up.
    let warm = Instant::now() + CALM / 4;
    while seen < OVER {
        let now = Instant::now();
        if now >= due && member.send(&[7; 100]).is_ok() {
            due = now + SEND_EVERY;
        }
        member.turn_until(&mut application, &mut pace, Some(due)).expect("the group goes on");
        if now < warm {
            application.take();
        }
        let phase = phase.load(Ordering::Relaxed);
        if phase > seen {
            if seen == 0 {
                calm = application.take();
            }
            seen = phase;
        }
    }
    let coming = application.take();
    member.leave();
    while member.turn(&mut application, &mut pace).expect("nobody is lost") != Turn::Left {}
    [calm, coming]
}

fn join(key: &ClusterKey, node: u64, contacts: &[SocketAddr], phase: &AtomicU64, up: impl FnOnce()) {
    let (nothing, mesh) = (Arc::new(Vec::new()), mesh(key, node));
    let mut member = Member::join(options(), ShmFabric::new(), mesh, contacts, Role::Receiver, PATIENCE).expect("there is room");
    let (mut application, mut pace) = (Application::new(&nothing), Pace::for_members(2 * FOUNDERS));
    while member.is_behind() {
        member.turn(&mut application, &mut pace).expect("nobody is lost");
    }
    up();
    while phase.load(Ordering::Relaxed) < OVER {
        member.turn(&mut application, &mut pace).expect("nobody is lost");
    }
    member.leave();
    while member.turn(&mut application, &mut pace).expect("nobody is lost") != Turn::Left {}
}

fn parse() -> Result<(u64, usize), String> {
    let (mut newcomers, mut megabytes, mut arguments) = (1, 200, env::args().skip(1));
    while let Some(flag) = arguments.next() {
        let number = arguments.next().and_then(|text| text.parse::<usize>().ok());
        match (flag.as_str(), number) {
            ("--newcomers", Some(number)) => newcomers = number as u64,
            ("--megabytes", Some(number)) => megabytes = number,
            _ => return Err(format!("{flag}: give --newcomers N or --megabytes N")),
        }
    }
    Ok((newcomers, megabytes))
}

fn main() -> ExitCode {
    let (newcomers, megabytes) = match parse() {
        Ok(wanted) => wanted,
        Err(wrong) => {
            eprintln!("joins: {wrong}");
            return ExitCode::from(2);
        }
    };
    let (key, state, phase) = (ClusterKey::random(), Arc::new(vec![7; megabytes << 20]), AtomicU64::new(0));
    let ((tell, book), (up, ups)) = (channel(), channel());
    let gaps = thread::scope(|scope| {
        let founders: Vec<_> = LocalExchange::mesh(FOUNDERS)
            .into_iter()
            .enumerate()
            .map(|(rank, exchange)| {
                let (key, state, phase, tell) = (&key, &state, &phase, tell.clone());
                scope.spawn(move || found(key, rank, exchange, state, phase, |address| tell.send(address).expect("somebody listens")))
            })
            .collect();
        let contacts: Vec<SocketAddr> = (0..FOUNDERS).map(|_| book.recv().expect("all come")).collect();
        thread::sleep(CALM);
        phase.store(COMING, Ordering::Relaxed);
        let began = Instant::now();
        for node in 0..newcomers {
            let (key, phase, up) = (&key, &phase, up.clone());
            let mut contacts = contacts.clone();
            contacts.rotate_left(node as usize % FOUNDERS);
            scope.spawn(move || join(key, 100 + node, &contacts, phase, || up.send(()).expect("somebody listens")));
        }
        (0..newcomers).for_each(|_| ups.recv().expect("all come in"));
        println!("{newcomers} newcomers with {megabytes} MiB of state each were in after {:?}", began.elapsed());
        phase.store(OVER, Ordering::Relaxed);
        let elapsed = began.elapsed();
        let gaps: Vec<_> = founders.into_iter().map(|founder| founder.join().expect("no member panics")).collect();
        (gaps, elapsed)
    });
    for (rank, [calm, coming]) in gaps.0.into_iter().enumerate() {
        let rate = |count: u64, time: Duration| count as f64 / time.as_secs_f64();
        println!(
            "member {rank}: longest gap {:?} before, {:?} while they came; {:.0} and {:.0} deliveries a second",
            calm.0,
            coming.0,
            rate(calm.1, CALM * 3 / 4),
            rate(coming.1, gaps.1)
        );
    }
    ExitCode::SUCCESS
}
