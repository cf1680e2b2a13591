//! Groups that a driver's thread owns: messages by handles, tickets and futures; deliveries by streams.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread, spawn};
use std::time::Duration;

use squall_group::prelude::*;
use squall_group::{DriverError, ReadRefused, Receipt, SendError, Undelivered, Unread};

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs futures on this thread: polls those that were woken, sleeps when none was.
#[derive(Default)]
struct Executor<'a> {
    tasks: Vec<(Arc<Woken>, Task<'a>)>,
}

struct Woken {
    flag: AtomicBool,
    thread: Thread,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.flag.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl<'a> Executor<'a> {
    fn add(&mut self, future: impl Future<Output = ()> + 'a) {
        self.tasks.push((Arc::new(Woken { flag: AtomicBool::new(true), thread: thread::current() }), Box::pin(future)));
    }

    fn run(mut self) {
        while !self.tasks.is_empty() {
            let mut polled = false;
            self.tasks.retain_mut(|(woken, future)| {
                if !woken.flag.swap(false, Ordering::Acquire) {
                    return true;
                }
                polled = true;
                let waker = Waker::from(Arc::clone(woken));
                future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            });
            if !polled {
                thread::park();
            }
        }
    }
}

/// Every member's life in a thread of its own.
fn run<T: Send + 'static>(
    members: usize,
    config: &Config,
    life: impl Fn(Group<<ShmFabric as Fabric>::Endpoint>) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let threads: Vec<_> = LocalExchange::mesh(members)
        .into_iter()
        .map(|mut exchange| {
            let (config, life) = (config.clone(), life.clone());
            spawn(move || life(Group::join(&config, &ShmFabric::new(), &mut exchange).expect("all join")))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn config(senders: usize) -> Config {
    let senders = (0..senders).map(Rank::new).collect();
    Config { ring_bytes: 4096, small_max: 300, large_max: 20_000, block_bytes: Some(4096), window_messages: 32, ..Config::new(senders) }
}

fn payload(me: Rank, number: u64) -> Vec<u8> {
    let mut bytes = vec![number as u8; if number % 10 == 9 { 9000 } else { 100 }];
    bytes[..2].copy_from_slice(&me.0.to_le_bytes());
    bytes
}

#[test]
fn futures_send_and_receive_in_one_order_and_tickets_say_where() {
    const MESSAGES: u64 = 200;
    let logs = run(3, &config(3), |group| {
        let me = group.view().me;
        let (driver, mut deliveries) = Driver::stream(group, Pace::for_members(8), None).unwrap();
        let handle = driver.handle();
        let (mut receipts, mut log, (tell, tickets)) = (Vec::new(), Vec::new(), channel());
        let mut executor = Executor::default();
        executor.add(async move {
            for number in 0..MESSAGES {
                tell.send(handle.send_async(payload(me, number)).await.unwrap()).unwrap();
            }
        });
        executor.add(async {
            while log.len() < 3 * MESSAGES as usize {
                match deliveries.next_async().await.expect("the driver goes on") {
                    Told::View(view) => assert_eq!((view.members, log.len()), (3, 0), "it comes first, and once"),
                    Told::Message(message) => log.push(message),
                    other => panic!("{other:?}"),
                }
            }
        });
        executor.run();
        let mut executor = Executor::default();
        executor.add(async {
            for ticket in tickets {
                receipts.push(ticket.await.expect("nobody is lost"));
            }
        });
        executor.run();
        let mine: Vec<_> = log.iter().filter(|message| message.sender == me).collect();
        assert_eq!((receipts.len(), mine.len()), (MESSAGES as usize, MESSAGES as usize));
        for ((number, receipt), message) in (0..).zip(&receipts).zip(mine) {
            assert_eq!((receipt.seq, receipt.index), (message.seq, message.index));
            assert_eq!(message.payload, payload(me, number), "in the order in which they were sent");
        }
        driver.leave();
        assert!(deliveries.next().is_none(), "a stream ends when its driver has left");
        driver.close().unwrap();
        log
    });
    assert!(logs.iter().all(|log| *log == logs[0]), "one order at all members");
}

#[test]
fn a_message_that_cannot_be_sent_fails_by_itself() {
    struct Nothing;
    impl Upcalls for Nothing {
        fn deliver(&mut self, _delivery: Delivery<'_>, _outgoing: &mut Outgoing) {}
    }
    let told = run(2, &config(1), |group| {
        let me = group.view().me;
        let driver = Driver::spawn(group, Nothing, Pace::for_members(8), None).unwrap();
        let handle = driver.handle();
        let long = handle.send(vec![0; 20_001]);
        assert!(matches!(long, Err(DriverError::Send(SendError::TooLarge { bytes: 20_001, max: 20_000 }))));
        assert_eq!(handle.bytes_max(), 20_000);
        let mut places = Vec::new();
        for number in 0..3u64 {
            let filled = Payload::filled_by(8, move |memory| memory.copy_from_slice(&number.to_le_bytes()));
            places.push(handle.send(filled).unwrap().wait().map(|receipt: Receipt| receipt.index));
        }
        driver.close().expect("a message that was refused ends nothing");
        assert!(matches!(handle.send("late"), Err(DriverError::Gone)));
        (me, places)
    });
    let refused = Err(Undelivered::Refused(SendError::NotASender));
    assert_eq!(told, [(Rank(0), vec![Ok(0), Ok(1), Ok(2)]), (Rank(1), vec![refused; 3])]);
}

#[test]
fn a_read_sees_what_was_delivered_anywhere_before_it_was_asked_for() {
    const ROUNDS: u64 = 100;
    for mode in Mode::EVERY.into_iter().filter(|mode| mode.is_total()) {
        // Whose message of a round is delivered at its sender, who reads next.
        let (told, hears): (Vec<_>, Vec<_>) = (0..3).map(|_| channel::<u64>()).unzip();
        let hears = Arc::new(hears.into_iter().map(|hears| Mutex::new(Some(hears))).collect::<Vec<_>>());
        run(3, &Config { reads: true, mode, ..config(3) }, move |group| {
            let me = group.view().me.index();
            let hears = hears[me].lock().unwrap().take().expect("each has its own");
            let next = &told[(me + 1) % 3];
            let (driver, mut deliveries) = Driver::stream(group, Pace::for_members(8), None).unwrap();
            let handle = driver.handle();
            let mut seen = Vec::new();
            for round in (0..ROUNDS).filter(|round| round % 3 == me as u64) {
                if round > 0 {
                    let before = hears.recv().expect("the one before goes on");
                    handle.read().expect("the driver runs").wait().expect("all vote");
                    while let Some(told) = deliveries.try_next() {
                        seen.extend(if let Told::Message(message) = told { Some(message.payload) } else { None });
                    }
                    assert!(seen.contains(&before.to_le_bytes().to_vec()), "{mode}: message {before} was delivered at its sender");
                }
                handle.send(round.to_le_bytes().to_vec()).unwrap().wait().expect("nobody is lost");
                // The last one has nobody to tell.
                let _ = next.send(round);
            }
            // From a future, many at once, and still told when the driver is about to leave.
            let mut executor = Executor::default();
            for _ in 0..10 {
                let reading = handle.read().expect("the driver runs");
                executor.add(async move { reading.await.expect("all vote") });
            }
            driver.leave();
            executor.run();
            assert!(matches!(handle.read().map(|_| ()), Err(DriverError::Gone)));
            driver.close().unwrap();
        });
    }
}

#[test]
fn a_group_that_answers_no_reads_says_so() {
    run(1, &config(1), |group| {
        let (driver, _deliveries) = Driver::stream(group, Pace::for_members(1), None).unwrap();
        assert_eq!(driver.handle().read().unwrap().wait(), Err(Unread::Refused(ReadRefused::NotConfigured)));
        driver.close().unwrap();
    });
}

#[test]
fn a_core_that_is_none_is_refused() {
    for core in [99_999, usize::MAX] {
        let group = Group::join(&config(1), &ShmFabric::new(), &mut LocalExchange::mesh(1).remove(0)).unwrap();
        let refused = Driver::stream(group, Pace::for_members(1), Some(core)).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused, format!("cannot start the driver's thread: core {core} is none that this process may run on"));
    }
}

#[test]
fn whoever_sends_after_the_end_is_told_what_ended_it() {
    let told = run(2, &config(2), |group| {
        let me = group.view().me;
        if me == Rank(1) {
            return None;
        }
        let (driver, deliveries) = Driver::stream(group, Pace::for_members(8), None).unwrap();
        assert_eq!(deliveries.filter(|told| matches!(told, Told::Message(_))).count(), 0);
        // The stream ends a little before the queue.
        let handle = driver.handle();
        let why = loop {
            if let Err(why) = handle.send("late") {
                break why;
            }
        };
        let lost = |why: &DriverError| matches!(why, DriverError::Ended(Ended::MemberDown(Rank(1))));
        assert!(lost(&why) && lost(&driver.close().unwrap_err()), "{why}");
        Some(why.to_string())
    });
    assert!(told[0].as_ref().is_some_and(|why| why.contains("member 1 is gone")), "{told:?}");
}

#[test]
fn whoever_takes_no_deliveries_holds_its_group_up_and_loses_none() {
    let barrier = Arc::new(Barrier::new(2));
    let counts = run(2, &config(1), move |group| {
        let me = group.view().me;
        let (driver, deliveries) = Driver::stream(group, Pace::for_members(8), None).unwrap();
        let handle = driver.handle();
        if me == Rank(1) {
            // Until the sender is stuck.
            barrier.wait();
            let count = deliveries.filter(|told| matches!(told, Told::Message(_))).take(8000).count();
            barrier.wait();
            driver.close().unwrap();
            return count as u64;
        }
        // Its own deliveries are nobody's concern.
        drop(deliveries);
        let (mut sent, mut waiting) = (0, None);
        let (mut refusals, mut stuck) = (0, None);
        while sent < 8000 {
            let next = waiting.take().unwrap_or_else(|| Payload::from(vec![7; 10]));
            match handle.try_send(next) {
                Ok(_) => (sent, refusals) = (sent + 1, 0),
                Err(refused) => {
                    assert!(matches!(refused.why, DriverError::Full), "{refused}");
                    (waiting, refusals) = (Some(refused.payload), refusals + 1);
                    if refusals == 50_000 && stuck.is_none() {
                        stuck = Some(sent);
                        barrier.wait();
                    }
                    thread::yield_now();
                }
            }
        }
        // A queue, two windows, and a stream that is full.
        assert!(stuck.is_some_and(|sent| sent < 1024 + 2 * 32 + 4096 + 100), "stuck after {stuck:?}");
        barrier.wait();
        driver.close().unwrap();
        sent
    });
    assert_eq!(counts, [8000, 8000]);
}

#[test]
fn tickets_of_survivors_are_kept_over_the_view_that_loses_a_member() {
    const MESSAGES: u64 = 300;
    /// Who sent what, by the first byte and the second.
    struct Log(Vec<(u8, u8)>);
    impl Upcalls for Log {
        fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
            self.0.push((delivery.payload[0], delivery.payload[2]));
        }
    }
    let key = ClusterKey::random();
    let founder = |mut exchange: LocalExchange| {
        let me = exchange.rank();
        let mesh = Mesh::open("127.0.0.1:0".parse().unwrap(), &key, random_node(), MeshOptions::default()).expect("loopback is there");
        spawn(move || {
            // Longer than it takes on any machine.
            let patience = Duration::from_secs(60);
            let options = MemberOptions::new(Config { membership: Some(Timeouts::after(patience)), ..config(3) });
            let options = MemberOptions { patience, ..options };
            let member = Member::found(options, ShmFabric::new(), mesh, &mut exchange).expect("all come");
            let driver = Driver::spawn(member, Log(Vec::new()), Pace::for_members(8), None).unwrap();
            let handle = driver.handle();
            if me == Rank(2) {
                // It ends in the middle of its messages, and its links break.
                handle.send(Payload::filled_by(100, |_| panic!("on purpose: a member dies"))).unwrap();
                match handle.send("late") {
                    Ok(ticket) => assert_eq!(ticket.wait(), Err(Undelivered::Unknown)),
                    Err(why) => assert!(matches!(why, DriverError::Panicked), "{why}"),
                }
                assert!(matches!(driver.close(), Err(DriverError::Panicked)));
                return None;
            }
            let tickets: Vec<Ticket> = (0..MESSAGES).map(|number| handle.send(payload(me, number)).unwrap()).collect();
            for ticket in tickets {
                ticket.wait().expect("a survivor's message is delivered, in this view or the next");
            }
            let Log(delivered) = driver.close().expect("it leaves");
            let mine = delivered.iter().filter(|(from, _)| u16::from(*from) == me.0).map(|(_, number)| *number);
            assert_eq!(mine.collect::<Vec<u8>>(), (0..MESSAGES).map(|number| number as u8).collect::<Vec<u8>>(), "each once, in order");
            Some(())
        })
    };
    let threads: Vec<_> = LocalExchange::mesh(3).into_iter().map(founder).collect();
    let ends: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ends, [Some(()), Some(()), None]);
}

#[test]
fn a_future_that_waits_for_room_is_woken_when_the_driver_ends() {
    let done = run(1, &config(1), |group| {
        let (driver, deliveries) = Driver::stream(group, Pace::for_members(8), None).unwrap();
        let handle = driver.handle();
        let (mut executor, mut sent) = (Executor::default(), 0u64);
        executor.add(async {
            // Nobody takes the deliveries: at some time nothing moves any more.
            while handle.send_async([7; 10]).await.is_ok() {
                sent += 1;
            }
        });
        let mut polls = 0;
        executor.add(std::future::poll_fn(|context| {
            polls += 1;
            if polls < 2000 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            driver.leave();
            Poll::Ready(())
        }));
        let ends = spawn(move || deliveries.filter(|told| matches!(told, Told::Message(_))).count() as u64);
        executor.run();
        driver.close().unwrap();
        (sent, ends.join().unwrap())
    });
    let (sent, delivered) = done[0];
    assert!(sent > 0 && sent == delivered, "{sent} were taken, {delivered} delivered");
}
