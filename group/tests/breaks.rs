//! What once broke groups that change: the only one with the state leaves or pauses, newcomers die or are slow,
//! contacts hang, names come back.

mod processes;

use std::io::{Cursor, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use processes::{App, Life, PATIENCE, key, mesh, options};
use squall_group::{
    Delivery, Ended, Member, MemberError, MemberOptions, Outgoing, Pace, SendError, StatePiece, Timeouts, Turn, Upcalls, WitnessService,
};
use squall_transport::NodeId;
use squall_transport::exchange::LocalExchange;
use squall_transport::mesh::{Mesh, MeshOptions};
use squall_transport::tcp::TcpFabric;

/// One that soon finds that nobody listens.
fn hasty_mesh(node: u64) -> Mesh {
    let options = MeshOptions { connect_timeout: Duration::from_millis(50), ..MeshOptions::default() };
    Mesh::open("127.0.0.1:0".parse().unwrap(), &key(), NodeId(node), options).expect("loopback is there")
}

type Founder = JoinHandle<Life<TcpFabric>>;

fn alone(options: MemberOptions) -> Life<TcpFabric> {
    let mut exchange = LocalExchange::mesh(1).remove(0);
    Life::new(Member::found(options, TcpFabric::default(), mesh(0), &mut exchange).expect("nobody else is needed"))
}

/// Founders that send now and then and go on until they are told to end; where they listen.
fn founders(count: usize, end: &Arc<AtomicBool>) -> (Vec<SocketAddr>, Vec<Founder>) {
    let (tell, book) = channel();
    let start = |(rank, mut exchange): (usize, LocalExchange)| {
        let (tell, end) = (tell.clone(), Arc::clone(end));
        spawn(move || {
            let member = Member::found(options(count), TcpFabric::default(), mesh(rank as u64), &mut exchange).expect("all come");
            tell.send((rank, member.address())).expect("somebody listens");
            let mut life = Life::new(member);
            go_on(&mut life, &end);
            life.member.leave();
            assert!(is_closed(&mut life), "it leaves by the book");
            life
        })
    };
    let threads = LocalExchange::mesh(count).into_iter().enumerate().map(start).collect();
    let mut addresses: Vec<(usize, SocketAddr)> = (0..count).map(|_| book.recv().expect("all come")).collect();
    addresses.sort_unstable();
    (addresses.into_iter().map(|(_, address)| address).collect(), threads)
}

fn go_on(life: &mut Life<TcpFabric>, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        let most = life.sent + 3;
        let until = Instant::now() + Duration::from_millis(1);
        life.live(most, |life| life.sent >= most || Instant::now() > until).expect("the group goes on");
    }
}

/// Sends so many messages more and waits until all are delivered here: until the group has gone on for so long.
fn goes_on_for(life: &mut Life<TcpFabric>, messages: u64) {
    let (node, most) = (life.member.node().0, life.sent + messages);
    life.live(most, |life| life.app.delivered.contains(&(node, most - 1))).expect("the group goes on");
}

fn is_closed(life: &mut Life<TcpFabric>) -> bool {
    let until = Instant::now() + PATIENCE;
    matches!(life.live(0, |_| Instant::now() > until), Err(MemberError::Ended(Ended::Closed)))
}

fn newcomer(node: u64, contact: SocketAddr) -> (Receiver<()>, JoinHandle<Life<TcpFabric>>) {
    let (tell, is_taken) = channel();
    let thread = spawn(move || {
        let mut life = Life::join(TcpFabric::default(), node, &[contact]).expect("there is room");
        tell.send(()).expect("somebody listens");
        life.live(0, |life| !life.member.is_behind() && life.member.view().members == 1).expect("nobody is lost");
        life
    });
    (is_taken, thread)
}

#[test]
fn the_only_one_with_the_state_leaves_once_a_newcomer_has_it() {
    let mut founder = alone(options(1));
    goes_on_for(&mut founder, 10);
    let (is_taken, thread) = newcomer(77, founder.member.address());
    // As soon as it is being given the state.
    founder.live(0, |_| is_taken.try_recv().is_ok()).expect("it goes on");
    founder.member.leave();
    assert!(is_closed(&mut founder), "it leaves by the book");
    let stays = thread.join().unwrap();
    assert_eq!((stays.app.restores, &stays.app.delivered), (1, &founder.app.delivered), "nothing is lost");
}

#[test]
fn a_leave_and_an_ask_at_once_lose_nothing() {
    // The ask comes long after the leave, then sooner and sooner, until it is heard.
    for power in 0.. {
        let mut founder = alone(options(1));
        goes_on_for(&mut founder, 10);
        let contact = founder.member.address();
        let newcomer = spawn(move || match Member::join(options(1), TcpFabric::default(), hasty_mesh(77), &[contact], true, PATIENCE) {
            Ok(member) => {
                let mut life = Life::new(member);
                life.live(0, |life| !life.member.is_behind() && life.member.view().members == 1).expect("nobody is lost");
                Some(life.app.delivered)
            }
            Err(MemberError::NoContact(_)) => None,
            Err(error) => panic!("{error}"),
        });
        for _ in 0..1 << power {
            let now = Some(Instant::now());
            founder.member.turn_until(&mut founder.app, &mut founder.pace, now).expect("it goes on");
        }
        founder.member.leave();
        assert!(is_closed(&mut founder), "it leaves by the book");
        let delivered = founder.app.delivered;
        drop(founder.member);
        if let Some(state) = newcomer.join().unwrap() {
            assert_eq!(state, delivered, "nothing is lost");
            return;
        }
    }
}

#[test]
fn a_newcomer_that_dies_with_half_the_state_costs_a_lone_founder_nothing() {
    let mut founder = alone(options(1));
    let contact = founder.member.address();
    for node in 70..73 {
        let dies = spawn(move || drop(Life::join(TcpFabric::default(), node, &[contact]).expect("there is room")));
        founder.live(0, |_| dies.is_finished()).expect("it goes on");
        dies.join().unwrap();
    }
    goes_on_for(&mut founder, 100);
    assert_eq!(founder.member.view().members, 1);
}

#[test]
fn newcomers_that_die_as_they_come_do_not_outvote_those_with_the_state() {
    let end = Arc::new(AtomicBool::new(false));
    let (contacts, threads) = founders(3, &end);
    let contact = contacts[0];
    let die = |node| spawn(move || drop(Life::join(TcpFabric::default(), node, &[contact]).expect("there is room")));
    (100..104).map(die).collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    end.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("every founder goes on");
    }
}

/// A newcomer whose time passes as it is told, not as the machine's does.
struct Timed {
    member: Member<TcpFabric>,
    app: App,
    now_ns: u64,
}

impl Timed {
    fn new(options: MemberOptions, node: u64, contacts: &[SocketAddr]) -> Timed {
        let member = Member::newcomer(options, TcpFabric::default(), mesh(node), contacts, true, Duration::MAX, 0);
        Timed { member: member.expect("there is memory"), app: App::default(), now_ns: 0 }
    }

    /// A step takes a microsecond.
    fn live(&mut self, done: impl Fn(&Member<TcpFabric>) -> bool) {
        while !done(&self.member) {
            self.now_ns += 1_000;
            let turn = self.member.step_at(self.now_ns, &mut self.app).expect("nobody is lost");
            if turn == Turn::Idle {
                std::thread::yield_now();
            }
        }
    }

    fn leave(mut self) -> App {
        self.member.leave();
        while self.member.step_at(self.now_ns, &mut self.app).expect("it leaves by the book") != Turn::Left {
            self.now_ns += 1_000;
        }
        self.app
    }
}

#[test]
fn a_founder_that_pauses_while_newcomers_take_its_state_is_not_thrown_out() {
    const SUSPECT_AFTER: Duration = Duration::from_secs(5);
    let mut options = options(1);
    options.config.membership = Some(Timeouts { heartbeat: Duration::from_millis(10), ..Timeouts::after(PATIENCE) });
    let mut founder = alone(options.clone());
    let contact = founder.member.address();
    options.config.membership = Some(Timeouts::after(SUSPECT_AFTER));
    let (both_are_taken, pause) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(3)));
    let threads = [77, 78].map(|node| {
        let (mut life, taken, pause) = (Timed::new(options.clone(), node, &[contact]), Arc::clone(&both_are_taken), Arc::clone(&pause));
        spawn(move || {
            life.live(|member| member.view().members == 1);
            taken.fetch_add(1, Ordering::Relaxed);
            pause.wait();
            // Several times what counts as death.
            for _ in 0..1000 {
                life.now_ns += 20 * SUSPECT_AFTER.as_nanos() as u64 / 1000;
                life.member.step_at(life.now_ns, &mut life.app).expect("it waits");
            }
            pause.wait();
            life.live(|member| !member.is_behind());
            life.leave().restores
        })
    });
    founder.live(0, |_| both_are_taken.load(Ordering::Relaxed) == 2).expect("it goes on");
    // As after a SIGSTOP.
    pause.wait();
    pause.wait();
    founder.live(0, |_| threads.iter().all(JoinHandle::is_finished)).expect("it is still in it");
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 1));
}

#[test]
fn a_contact_that_does_not_answer_does_not_keep_a_newcomer_from_others() {
    let end = Arc::new(AtomicBool::new(false));
    let (contacts, threads) = founders(2, &end);
    // Its socket stands, and nobody turns.
    let hangs = mesh(99);
    let mut life = Timed::new(options(1), 77, &[hangs.address(), contacts[1]]);
    life.member.step_at(0, &mut life.app).expect("it asks the first one");
    life.now_ns += PATIENCE.as_nanos() as u64;
    life.live(|member| !member.is_behind());
    life.leave();
    end.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join().expect("it goes on")));
}

#[test]
fn a_contact_that_refuses_does_not_keep_a_newcomer_from_others() {
    let end = Arc::new(AtomicBool::new(false));
    let (contacts, mut threads) = founders(1, &end);
    let ended = Arc::clone(&end);
    let (tell, told) = channel();
    threads.push(spawn(move || {
        let mut other = options(1);
        other.config.small_max = 200;
        let mut exchange = LocalExchange::mesh(1).remove(0);
        let mut life = Life::new(Member::found(other, TcpFabric::default(), mesh(50), &mut exchange).expect("nobody else is needed"));
        tell.send(life.member.address()).unwrap();
        go_on(&mut life, &ended);
        life
    }));
    let mut life = Life::join(TcpFabric::default(), 77, &[told.recv().unwrap(), contacts[0]]).expect("the second one takes it");
    life.live(0, |life| !life.member.is_behind()).expect("it gets in");
    life.member.leave();
    assert!(is_closed(&mut life));
    end.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join().expect("it goes on")));
}

#[test]
fn a_name_that_was_removed_is_refused() {
    let end = Arc::new(AtomicBool::new(false));
    let (contacts, threads) = founders(3, &end);
    let mut first = Life::join(TcpFabric::default(), 77, &contacts[..1]).expect("there is room");
    first.live(0, |life| !life.member.is_behind()).expect("it gets in");
    drop(first);
    // Whoever hears of its end removes it; until then it is a member still.
    let twice = Member::join(options(1), TcpFabric::default(), mesh(77), &contacts, true, PATIENCE).expect_err("its name was taken");
    assert!(matches!(&twice, MemberError::Refused { reason, .. } if reason.contains("name")), "{twice}");
    end.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join().expect("it goes on")));
}

#[test]
fn an_ask_that_comes_while_founders_still_connect_is_answered_later() {
    let mut exchanges = LocalExchange::mesh(2).into_iter();
    let (mut first, mut second) = (exchanges.next().unwrap(), exchanges.next().unwrap());
    let (mine, asks) = (mesh(0), mesh(77));
    let address = mine.address();
    // Its ask is at the founder before the founder is connected with the other one.
    let newcomer = spawn(move || {
        let member = Member::join(options(1), TcpFabric::default(), asks, &[address], true, PATIENCE).expect("it is answered");
        let mut life = Life::new(member);
        life.live(0, |life| !life.member.is_behind()).expect("it gets in");
        life.member.leave();
        assert!(is_closed(&mut life));
    });
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    let founder = spawn(move || {
        let mut life = Life::new(Member::found(options(2), TcpFabric::default(), mine, &mut first).expect("both come"));
        go_on(&mut life, &ended);
        life.member.leave();
        assert!(is_closed(&mut life));
    });
    let mut other = Life::new(Member::found(options(2), TcpFabric::default(), mesh(1), &mut second).expect("both come"));
    other.live(0, |_| newcomer.is_finished()).expect("it goes on");
    newcomer.join().unwrap();
    end.store(true, Ordering::Relaxed);
    other.live(0, |_| founder.is_finished()).expect("it goes on");
}

/// An application with much state, whose restore waits for whatever it is told to.
struct Slow<W: FnMut(usize)> {
    app: App,
    state_bytes: u64,
    restored_bytes: u64,
    begun: usize,
    wait: W,
}

impl<W: FnMut(usize)> Slow<W> {
    fn new(state_bytes: u64, wait: W) -> Slow<W> {
        Slow { app: App::default(), state_bytes, restored_bytes: 0, begun: 0, wait }
    }
}

impl<W: FnMut(usize)> Upcalls for Slow<W> {
    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing) {
        self.app.deliver(delivery, outgoing);
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        Box::new(Cursor::new(vec![7; self.state_bytes as usize]))
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        match piece {
            StatePiece::Begin => (self.begun, self.restored_bytes) = (self.begun + 1, 0),
            StatePiece::Bytes(bytes) => {
                self.restored_bytes += bytes.len() as u64;
                (self.wait)(bytes.len());
            }
            StatePiece::End => assert_eq!(self.restored_bytes, self.state_bytes),
        }
    }
}

/// A founder with much state, which delivers as many messages of its own as it may and counts them, and goes on until
/// it is told to end; and where it listens.
fn rich(
    state_bytes: u64,
    options: MemberOptions,
    may_send: &Arc<AtomicU64>,
    end: &Arc<AtomicBool>,
) -> (SocketAddr, Arc<AtomicU64>, JoinHandle<usize>) {
    let (end, delivered, (tell, told)) = (Arc::clone(end), Arc::new(AtomicU64::new(0)), channel());
    let (count, may_send) = (Arc::clone(&delivered), Arc::clone(may_send));
    let thread = spawn(move || {
        let mut exchange = LocalExchange::mesh(1).remove(0);
        let mut member = Member::found(options, TcpFabric::default(), mesh(0), &mut exchange).expect("nobody else is needed");
        tell.send(member.address()).unwrap();
        let (mut slow, mut pace) = (Slow::new(state_bytes, |_| {}), Pace::for_members(8));
        let mut sent = 0;
        while !end.load(Ordering::Relaxed) {
            // Full is no reason not to turn.
            sent += u64::from(sent < may_send.load(Ordering::Relaxed) && member.send(&[0; 100]).is_ok());
            let soon = Instant::now() + Duration::from_micros(100);
            member.turn_until(&mut slow, &mut pace, Some(soon)).expect("it goes on");
            count.store(slow.app.delivered.len() as u64, Ordering::Relaxed);
        }
        member.view().members
    });
    (told.recv().unwrap(), delivered, thread)
}

#[test]
fn a_newcomer_that_restores_slowly_beats_its_heart_meanwhile() {
    /// Some milliseconds for the slowest.
    const BYTES_A_TURN_MAX: u64 = 64 << 10;
    let end = Arc::new(AtomicBool::new(false));
    let (contact, _, founder) = rich(16 << 20, options(1), &Arc::new(AtomicU64::new(20_000)), &end);
    let mut member = Member::join(options(1), TcpFabric::default(), mesh(77), &[contact], true, PATIENCE).expect("there is room");
    let (mut slow, mut pace) = (Slow::new(16 << 20, |_| {}), Pace::for_members(8));
    let turns = |member: &Member<TcpFabric>| member.group().filter(|_| member.is_in_view()).map(|group| group.stats().turns);
    while member.is_behind() {
        let (view, beats, bytes) = (member.view().id, turns(&member), slow.restored_bytes);
        member.turn(&mut slow, &mut pace).expect("it is not thrown out");
        assert!(slow.restored_bytes <= bytes + BYTES_A_TURN_MAX, "{} bytes in one turn", slow.restored_bytes - bytes);
        if let (Some(before), Some(after)) = (beats, turns(&member).filter(|_| member.view().id == view)) {
            assert!(after > before, "its group has no turn");
        }
    }
    end.store(true, Ordering::Relaxed);
    assert_eq!(founder.join().unwrap(), 2);
}

#[test]
fn the_group_goes_on_while_a_newcomer_takes_much_state() {
    let (end, may_send) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (contact, delivered, founder) = rich(20 << 20, options(1), &may_send, &end);
    let mut member = Member::join(options(1), TcpFabric::default(), mesh(77), &[contact], true, PATIENCE).expect("there is room");
    // It takes a piece only when the group has gone on: if the group waited for it, both would wait for ever.
    let piece = |_: usize| {
        let before = delivered.load(Ordering::Relaxed);
        may_send.store(before + 1, Ordering::Relaxed);
        while delivered.load(Ordering::Relaxed) == before {
            std::thread::yield_now();
        }
    };
    let (mut slow, mut pace) = (Slow::new(20 << 20, piece), Pace::for_members(8));
    // Once it has nearly all it is in the view, and the group's window is its own.
    while slow.restored_bytes < 18 << 20 {
        member.turn(&mut slow, &mut pace).expect("nobody is lost");
    }
    assert_eq!(slow.begun, 1);
    end.store(true, Ordering::Relaxed);
    founder.join().unwrap();
}

#[test]
fn a_transfer_goes_on_over_changes_of_view() {
    // A newcomer waits a quarter of that for its turn behind one that restores slowly.
    let options = || MemberOptions { patience: Duration::from_secs(4), ..options(1) };
    let end = Arc::new(AtomicBool::new(false));
    // Much less than the state, however long it takes: a newcomer that lacks more than that begins again.
    let (contact, _, founder) = rich(12 << 20, options(), &Arc::new(AtomicU64::new(20_000)), &end);
    let views = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&views);
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let churn = spawn(move || {
        for node in 100.. {
            if ended.load(Ordering::Relaxed) {
                return;
            }
            let mut member = Member::join(options(), TcpFabric::default(), mesh(node), &[contact], true, PATIENCE).expect("there is room");
            let (mut slow, mut pace) = (Slow::new(12 << 20, |_| {}), Pace::for_members(8));
            while member.is_behind() {
                member.turn(&mut slow, &mut pace).expect("nobody is lost");
            }
            seen.store(member.view().id, Ordering::Relaxed);
            member.leave();
            while member.turn(&mut slow, &mut pace).is_ok() {}
        }
    });
    let mut member = Member::join(options(), TcpFabric::default(), mesh(77), &[contact], true, PATIENCE).expect("there is room");
    // Views begin now and then.
    let mut pieces = 0;
    let piece = |_: usize| {
        pieces += 1;
        let (before, until) = (views.load(Ordering::Relaxed), Instant::now() + PATIENCE);
        while pieces % 160 == 0 && views.load(Ordering::Relaxed) == before && Instant::now() < until {
            std::thread::yield_now();
        }
    };
    let (mut slow, mut pace) = (Slow::new(12 << 20, piece), Pace::for_members(8));
    while member.is_behind() {
        member.turn(&mut slow, &mut pace).expect("nobody is lost");
    }
    assert_eq!(slow.begun, 1, "it did not have to begin again");
    assert!(member.view().id >= 4, "views came and went meanwhile: {}", member.view().id);
    over.store(true, Ordering::Relaxed);
    while !churn.is_finished() {
        member.turn(&mut slow, &mut pace).expect("nobody is lost");
    }
    churn.join().unwrap();
    member.leave();
    while member.turn(&mut slow, &mut pace).is_ok() {}
    end.store(true, Ordering::Relaxed);
    founder.join().unwrap();
}

#[test]
fn a_member_that_is_over_says_so_as_often_as_it_is_asked() {
    let mut founder = alone(options(1));
    founder.member.leave();
    assert!(is_closed(&mut founder));
    let again = founder.member.turn(&mut founder.app, &mut founder.pace).expect_err("it has left");
    assert!(matches!(again, MemberError::Ended(Ended::Closed)), "{again}");
    assert_eq!(founder.member.view().members, 1);
    assert_eq!(founder.member.send(b"late"), Err(SendError::Ended));
}

#[test]
fn a_line_that_a_witness_died_in_is_no_vote() {
    let path = std::env::temp_dir().join(format!("squall-torn-{}", std::process::id()));
    let whole = format!("{} 5\n", "01".repeat(32));
    // It had begun to write "<ballot> 1234\n".
    std::fs::write(&path, format!("{whole}{} 12", "ab".repeat(32))).unwrap();
    drop(WitnessService::new(mesh(900), Some(&path)).expect("half a line was never said"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "and is cut off");
    std::fs::write(&path, format!("{whole}no vote\n")).unwrap();
    let wrong = WitnessService::new(mesh(901), Some(&path)).expect_err("no witness writes that").to_string();
    assert!(wrong.contains("line 2"), "{wrong}");
    std::fs::write(&path, "a file of somebody else").unwrap();
    let foreign = WitnessService::new(mesh(902), Some(&path)).expect_err("no witness has begun that").to_string();
    assert!(foreign.contains("line 1"), "{foreign}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file of somebody else", "and nothing of it is cut off");
    std::fs::remove_file(&path).unwrap();
    let endless = WitnessService::new(mesh(903), Some("/dev/full".as_ref())).expect_err("it has no end").to_string();
    assert!(endless.contains("name a file"), "{endless}");
}
