//! Processes (threads here) that found a group, join it with its state, die, fall silent, come back and leave.

use std::io::{Cursor, Read};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use squall_group::{
    Config, Delivery, Ended, Member, MemberError, MemberOptions, Outgoing, Pace, StatePiece, Stop, Timeouts, Upcalls, View, WitnessService,
};
use squall_transport::exchange::{ClusterKey, LocalExchange};
use squall_transport::mesh::{Mesh, MeshOptions};
use squall_transport::shm::ShmFabric;
use squall_transport::tcp::TcpFabric;
use squall_transport::{Fabric, NodeId, Rank, RegionOptions};

/// Longer than any of these tests: losses are noticed by links.
const PATIENT_NS: u64 = 30_000_000_000;
/// Bytes of state beside what was delivered: more than one message of the mesh takes.
const BALLAST: usize = 3 << 20;

fn key() -> ClusterKey {
    ClusterKey::from_hex(&"07".repeat(32)).expect("64 digits")
}

fn mesh(node: u64) -> Mesh {
    Mesh::open("127.0.0.1:0".parse().unwrap(), &key(), NodeId(node), MeshOptions::default()).expect("loopback is there")
}

fn options(senders: usize) -> MemberOptions {
    MemberOptions::new(Config {
        ring_bytes: 4096,
        small_max: 300,
        large_max: 20_000,
        transfers_max: 2,
        senders_max: 8,
        window_messages: 32,
        block_bytes: Some(4096),
        membership: Some(Timeouts::after_ns(PATIENT_NS)),
        region: RegionOptions::default(),
        ..Config::new((0..senders).map(Rank::new).collect())
    })
}

/// Its state is what was delivered: who sent it and its number.
#[derive(Default)]
struct App {
    delivered: Vec<(u64, u64)>,
    /// State in the making.
    restoring: Vec<u8>,
    restores: usize,
    views: Vec<View>,
    /// Deliveries before each view.
    before: Vec<usize>,
}

impl Upcalls for App {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let word = |at: usize| u64::from_le_bytes(delivery.payload[at..at + 8].try_into().unwrap());
        self.delivered.push((word(0), word(8)));
    }

    fn view_installed(&mut self, view: &View) {
        self.views.push(view.clone());
        self.before.push(self.delivered.len());
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        let mut bytes = vec![7; BALLAST];
        for (node, number) in &self.delivered {
            bytes.extend_from_slice(&node.to_le_bytes());
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        Box::new(Cursor::new(bytes))
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        match piece {
            StatePiece::Begin => self.restoring.clear(),
            StatePiece::Bytes(bytes) => self.restoring.extend_from_slice(bytes),
            StatePiece::End => {
                let (ballast, rest) = self.restoring.split_at(BALLAST);
                assert!(ballast.iter().all(|&byte| byte == 7));
                let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
                self.delivered = rest.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..]))).collect();
                self.restores += 1;
            }
        }
    }
}

/// One process's life.
struct Life<F: Fabric> {
    member: Member<F>,
    app: App,
    pace: Pace,
    sent: u64,
}

impl<F: Fabric> Life<F> {
    fn new(member: Member<F>) -> Life<F> {
        let mut app = App::default();
        if !member.is_behind() {
            app.view_installed(member.view());
        }
        Life { member, app, pace: Pace::for_members(8), sent: 0 }
    }

    fn join(fabric: F, node: u64, contacts: &[SocketAddr]) -> Result<Life<F>, MemberError> {
        Ok(Life::new(Member::join(options(1), fabric, mesh(node), contacts, true, Duration::from_secs(30))?))
    }

    /// Sends up to `messages` in all, until `done`.
    fn live(&mut self, messages: u64, mut done: impl FnMut(&Life<F>) -> bool) -> Result<(), MemberError> {
        while !done(self) {
            while self.sent < messages {
                let mut payload = vec![0; if self.sent % 10 == 9 { 9000 } else { 100 }];
                payload[..8].copy_from_slice(&self.member.node().0.to_le_bytes());
                payload[8..16].copy_from_slice(&self.sent.to_le_bytes());
                if self.member.send(&payload).is_err() {
                    break;
                }
                self.sent += 1;
            }
            self.member.turn(&mut self.app, &mut self.pace)?;
        }
        Ok(())
    }

    fn has_all(&self, nodes: &[u64], messages: u64) -> bool {
        nodes.iter().all(|&node| self.app.delivered.iter().filter(|message| message.0 == node).count() as u64 == messages)
    }
}

/// The first members of a group, each in its thread; what they do, and what it leads to.
fn found<F: Fabric + Send + 'static, T: Send + 'static>(
    fabric: impl Fn() -> F,
    options: impl Fn() -> MemberOptions,
    members: usize,
    life: impl Fn(usize, Life<F>) -> T + Clone + Send + 'static,
) -> Vec<JoinHandle<T>> {
    let start = |(rank, mut exchange): (usize, LocalExchange)| {
        let (life, fabric, options) = (life.clone(), fabric(), options());
        spawn(move || {
            let member = Member::found(options, fabric, mesh(rank as u64), &mut exchange).expect("all members come");
            life(rank, Life::new(member))
        })
    };
    LocalExchange::mesh(members).into_iter().enumerate().map(start).collect()
}

fn numbers(delivered: &[(u64, u64)], node: u64) -> Vec<u64> {
    delivered.iter().filter(|message| message.0 == node).map(|message| message.1).collect()
}

/// Where newcomers ask.
fn address_book() -> (Sender<SocketAddr>, Receiver<SocketAddr>) {
    channel()
}

fn a_newcomer_gets_the_state_while_a_member_dies<F: Fabric + Send + 'static>(fabric: impl Fn() -> F + Clone + Send + 'static) {
    const MESSAGES: u64 = 300;
    let (tell, book) = address_book();
    let threads = found(
        fabric.clone(),
        || options(3),
        3,
        move |rank, mut life| {
            if rank == 1 {
                tell.send(life.member.address()).unwrap();
            }
            if rank == 0 {
                // It dies once the newcomer is in: perhaps while it gives it the state.
                life.live(MESSAGES, |life| life.member.view().id == 1).expect("nobody is lost yet");
                return None;
            }
            life.live(MESSAGES, |life| life.has_all(&[1, 2, 77], MESSAGES) && life.member.view().members == 3).expect("the group goes on");
            life.member.leave();
            let ended = life.live(0, |_| false).expect_err("it leaves");
            assert!(matches!(ended, MemberError::Ended(Ended::Closed)), "{ended}");
            Some(life.app)
        },
    );
    let contact = book.recv().unwrap();
    let mut newcomer = Life::join(fabric(), 77, &[contact]).expect("there is room");
    newcomer.live(MESSAGES, |life| life.has_all(&[1, 2, 77], MESSAGES) && life.member.view().members == 1).expect("it stays");
    for app in threads.into_iter().filter_map(|thread| thread.join().unwrap()) {
        assert_eq!(app.delivered, newcomer.app.delivered, "one order for all, and the newcomer's state is part of it");
    }
    assert!(newcomer.app.restores >= 1);
    for node in [1, 2, 77] {
        assert!(numbers(&newcomer.app.delivered, node).into_iter().eq(0..MESSAGES), "every message of {node} once and in its order");
    }
}

#[test]
fn a_newcomer_gets_the_state_over_shared_memory_while_a_member_dies() {
    a_newcomer_gets_the_state_while_a_member_dies(ShmFabric::new);
}

#[test]
fn a_newcomer_gets_the_state_over_tcp_while_a_member_dies() {
    a_newcomer_gets_the_state_while_a_member_dies(TcpFabric::default);
}

#[test]
fn newcomers_come_one_after_the_other_to_a_group_of_one() {
    const MESSAGES: u64 = 100;
    let (tell, book) = address_book();
    let mut threads = found(
        ShmFabric::new,
        || options(1),
        1,
        move |_, mut life| {
            tell.send(life.member.address()).unwrap();
            life.live(MESSAGES, |life| life.has_all(&[0, 1, 2, 3], MESSAGES)).expect("nobody is lost");
            life.member.leave();
            life.live(0, |_| false).expect_err("it leaves");
            life.app
        },
    );
    let contact = book.recv().unwrap();
    for node in 1..4 {
        threads.push(spawn(move || {
            let mut life = Life::join(ShmFabric::new(), node, &[contact]).expect("there is room");
            life.live(MESSAGES, |life| life.has_all(&[0, 1, 2, 3], MESSAGES)).expect("nobody is lost");
            life.member.leave();
            life.live(0, |_| false).expect_err("it leaves");
            life.app
        }));
    }
    let apps: Vec<App> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for app in &apps {
        assert_eq!(app.delivered, apps[0].delivered);
    }
}

#[test]
fn a_newcomer_with_another_configuration_is_refused_with_both_and_the_group_goes_on() {
    let (tell, book) = address_book();
    let (end, ended) = channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    let ended = std::sync::Arc::new(ended);
    let threads = found(
        ShmFabric::new,
        || options(1),
        1,
        move |_, mut life| {
            tell.send(life.member.address()).unwrap();
            let until = Instant::now() + Duration::from_secs(60);
            while ended.lock().unwrap().try_recv().is_err() && Instant::now() < until {
                let soon = Instant::now() + Duration::from_millis(1);
                life.member.turn_until(&mut life.app, &mut life.pace, Some(soon)).expect("it goes on");
            }
            life.member.view().id
        },
    );
    let contact = book.recv().unwrap();
    let mut other = options(1);
    other.config.small_max = 200;
    let refused = Member::join(other, ShmFabric::new(), mesh(5), &[contact], true, Duration::from_secs(30)).expect_err("it differs");
    let text = refused.to_string();
    assert!(text.contains("small 200") && text.contains("small 300"), "{text}");
    // A dead contact is named, and the next one is asked.
    let dead = mesh(6).address();
    let nobody = Member::join(options(1), ShmFabric::new(), mesh(7), &[dead], true, Duration::from_secs(30)).expect_err("nobody is there");
    assert!(matches!(&nobody, MemberError::NoContact(tried) if tried[0].0 == dead), "{nobody}");
    end.send(()).unwrap();
    assert_eq!(threads.into_iter().next().unwrap().join().unwrap(), 0, "no view was spent on them");
}

#[test]
fn one_of_two_goes_on_if_the_witness_sides_with_it_and_stops_without_a_witness() {
    let service = mesh(1000);
    let witness = service.address();
    let folder = std::env::temp_dir().join(format!("squall-witness-{}", std::process::id()));
    let file = folder.clone();
    let (stop, stopped) = channel::<()>();
    let serving = spawn(move || {
        let mut service = WitnessService::new(service, Some(&file)).expect("a file can be made");
        let mut answered = 0;
        while stopped.try_recv().is_err() {
            answered += service.serve_until(Instant::now() + Duration::from_millis(20)).expect("the disk is not full");
        }
        answered
    });
    for with_witness in [true, false] {
        let options = move || MemberOptions { witness: with_witness.then_some(witness), ..options(2) };
        let threads = found(TcpFabric::default, options, 2, move |rank, mut life| {
            if rank == 0 {
                life.live(20, |life| life.has_all(&[0], 20)).expect("nobody is lost");
                return None;
            }
            Some(life.live(40, |life| life.member.view().members == 1 && life.has_all(&[1], 40)))
        });
        let survivor = threads.into_iter().find_map(|thread| thread.join().unwrap()).expect("rank 1 answers");
        match survivor {
            Ok(()) => assert!(with_witness, "alone of two it is no majority"),
            Err(error) => {
                assert!(!with_witness, "{error}");
                assert!(matches!(error, MemberError::Ended(Ended::Stopped(Stop::NoQuorum { .. }))), "{error}");
            }
        }
    }
    stop.send(()).unwrap();
    assert_eq!(serving.join().unwrap(), 1);
    let written = std::fs::read_to_string(&folder).expect("what it said is written down");
    assert!(written.trim().ends_with(" 1") && written.lines().count() == 1, "{written}");
    std::fs::remove_file(&folder).unwrap();
}
