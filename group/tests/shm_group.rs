//! Groups of threads over shared memory: order, mixed sizes, nulls, the end of a member.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use squall_group::{Config, Delivery, Driver, Ended, Group, Mode, Outgoing, Pace, SendError, Upcalls};
use squall_transport::exchange::LocalExchange;
use squall_transport::shm::{ShmEndpoint, ShmFabric};
use squall_transport::{Rank, RegionOptions};

/// What a member delivered: (sender, application's number, length).
#[derive(Default)]
struct Log {
    deliveries: Vec<(Rank, u64, usize)>,
    seqs: Vec<u64>,
}

fn fill(payload: &mut [u8], sender: Rank, number: u64) {
    for (offset, byte) in payload.iter_mut().enumerate() {
        *byte = (offset as u64).wrapping_mul(31).wrapping_add(number * 7 + u64::from(sender.0)) as u8;
    }
    payload[..8].copy_from_slice(&number.to_le_bytes());
}

impl Upcalls for Log {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let number = u64::from_le_bytes(delivery.payload[..8].try_into().unwrap());
        let mut expected = vec![0; delivery.payload.len()];
        fill(&mut expected, delivery.sender, number);
        assert!(expected == delivery.payload, "message {number} of {} is corrupt", delivery.sender);
        self.deliveries.push((delivery.sender, number, delivery.payload.len()));
        self.seqs.push(delivery.seq);
    }
}

fn config(senders: &[usize], mode: Mode) -> Config {
    Config {
        mode,
        ring_bytes: 4096,
        small_max: 500,
        large_max: 50_000,
        transfers_max: 2,
        block_bytes: Some(4096),
        window_messages: 64,
        region: RegionOptions::default(),
        ..Config::new(senders.iter().map(|&sender| Rank::new(sender)).collect())
    }
}

/// Runs `member` in a thread for each of `members` members and returns what each returned.
fn run<T: Send + 'static>(members: usize, config: &Config, member: impl Fn(Group<ShmEndpoint>) -> T + Clone + Send + 'static) -> Vec<T> {
    let threads: Vec<_> = LocalExchange::mesh(members)
        .into_iter()
        .map(|mut exchange| {
            let (config, member) = (config.clone(), member.clone());
            std::thread::spawn(move || member(Group::join(&config, &ShmFabric::new(), &mut exchange).unwrap()))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Sends `count` messages of the sizes of `size`, delivers `total`, leaves.
fn send_and_deliver(mut group: Group<ShmEndpoint>, count: u64, total: usize, size: impl Fn(u64) -> u64) -> Log {
    let (mut log, mut pace) = (Log::default(), Pace::for_members(8));
    let me = group.view().me;
    let mut sent = if group.view().is_sender() { 0 } else { count };
    while sent < count || log.deliveries.len() < total {
        while sent < count {
            match group.reserve(size(sent)) {
                Ok(mut slot) => {
                    fill(slot.bytes_mut(), me, sent);
                    slot.commit();
                    sent += 1;
                }
                Err(error) => {
                    assert!(error.is_full(), "{error}");
                    break;
                }
            }
        }
        group.turn(&mut log, &mut pace).unwrap();
    }
    group.close(&mut log, &mut pace).unwrap();
    log
}

fn sizes(number: u64) -> u64 {
    [8, 100, 499, 20_000, 9, 50_000, 4097][number as usize % 7]
}

#[test]
fn small_and_large_messages_of_all_senders_are_delivered_in_one_order() {
    let logs = run(3, &config(&[0, 1, 2], Mode::Ordered), |group| send_and_deliver(group, 200, 600, sizes));
    for log in &logs {
        assert_eq!(log.deliveries, logs[0].deliveries);
        assert!(log.seqs.is_sorted());
        for sender in 0..3 {
            let numbers = log.deliveries.iter().filter(|delivery| delivery.0 == Rank::new(sender)).map(|delivery| delivery.1);
            assert!(numbers.eq(0..200));
        }
    }
}

#[test]
fn unordered_delivery_keeps_each_senders_order() {
    for log in run(4, &config(&[1, 3], Mode::Unordered), |group| send_and_deliver(group, 300, 600, sizes)) {
        for sender in [1, 3] {
            let numbers = log.deliveries.iter().filter(|delivery| delivery.0 == Rank::new(sender)).map(|delivery| delivery.1);
            assert!(numbers.eq(0..300));
        }
    }
}

#[test]
fn a_silent_sender_does_not_hold_up_the_others() {
    let logs = run(3, &config(&[0, 1, 2], Mode::Ordered), |group| {
        let count = if group.view().me == Rank::new(1) { 500 } else { 0 };
        send_and_deliver(group, count, 500, |_| 16)
    });
    assert!(logs.iter().all(|log| log.deliveries.len() == 500));
}

#[test]
fn many_members_on_few_cores_make_steady_progress() {
    let all: Vec<usize> = (0..12).collect();
    let logs = run(12, &config(&all, Mode::Ordered), |group| send_and_deliver(group, 30, 360, sizes));
    assert!(logs.iter().all(|log| log.deliveries == logs[0].deliveries));
}

#[test]
fn the_end_of_a_member_ends_the_group_with_its_rank() {
    let ends = run(3, &config(&[0, 1, 2], Mode::Ordered), |mut group| {
        if group.view().me == Rank::new(2) {
            return None;
        }
        let (mut log, mut pace) = (Log::default(), Pace::for_members(8));
        loop {
            if let Err(ended) = group.turn(&mut log, &mut pace) {
                assert_eq!(group.step(&mut log), Err(ended));
                assert_eq!(group.send(&[0; 8]), Err(SendError::Ended));
                return Some(ended);
            }
        }
    });
    assert_eq!(ends, [Some(Ended::MemberDown(Rank::new(2))); 2].into_iter().chain([None]).collect::<Vec<_>>());
}

/// Answers a question (first byte 1) with a message of its own.
#[derive(Default)]
struct Echo {
    delivered: usize,
    answers: u64,
}

impl Upcalls for Echo {
    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing) {
        self.delivered += 1;
        if delivery.payload[0] == 1 {
            outgoing.send(&[7; 20_000]).unwrap();
            self.answers += 1;
        }
    }
}

#[test]
fn sending_from_within_an_upcall_works() {
    let counts = run(3, &config(&[0, 1, 2], Mode::Ordered), |mut group| {
        let (mut echo, mut pace) = (Echo::default(), Pace::for_members(8));
        if group.view().me == Rank::new(0) {
            group.send(&[1; 30_000]).unwrap();
        }
        // The question and three answers.
        while echo.delivered < 4 {
            group.turn(&mut echo, &mut pace).unwrap();
        }
        group.close(&mut echo, &mut pace).unwrap();
        echo.answers
    });
    assert_eq!(counts, [1, 1, 1]);
}

/// Sends message `number` of this member, if there is room.
fn send_one(group: &mut Group<ShmEndpoint>, me: Rank, number: u64) -> bool {
    let mut payload = [0; 16];
    fill(&mut payload, me, number);
    group.send(&payload).is_ok()
}

#[test]
fn reads_see_what_others_were_told_in_every_order() {
    const MESSAGES: u64 = 500;
    for mode in Mode::EVERY.into_iter().filter(|mode| mode.is_total()) {
        let config = Config { reads: true, ..config(&[0], mode) };
        // How many messages their sender knows to be delivered.
        let told = Arc::new(AtomicU64::new(0));
        let member = move |mut group: Group<ShmEndpoint>| {
            let (mut log, mut pace, me) = (Log::default(), Pace::for_members(3), group.view().me);
            let (mut sent, mut reads) = (0, 0);
            while log.deliveries.len() < MESSAGES as usize {
                if me == Rank(0) && sent < MESSAGES && send_one(&mut group, me, sent) {
                    sent += 1;
                }
                let before = told.load(Ordering::Acquire);
                let point = group.read_point().expect("`reads` is set");
                while !group.has_reached(point) {
                    group.turn(&mut log, &mut pace).unwrap();
                }
                assert!(log.deliveries.len() as u64 >= before, "{me} reads {} of {before} in {mode}", log.deliveries.len());
                reads += 1;
                if me == Rank(0) {
                    told.store(log.deliveries.len() as u64, Ordering::Release);
                }
            }
            group.close(&mut log, &mut pace).unwrap();
            reads
        };
        let reads = run(3, &config, member);
        assert!(reads.iter().all(|&reads| reads > 0), "{reads:?}");
    }
}

#[test]
fn a_driver_owns_the_loop() {
    struct Count(mpsc::Sender<usize>);
    impl Upcalls for Count {
        fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
            self.0.send(delivery.payload.len()).unwrap();
        }
    }
    let lengths = run(2, &config(&[0, 1], Mode::Ordered), |group| {
        let (sender, receiver) = mpsc::channel();
        let driver = Driver::spawn(group, Count(sender), Pace::for_members(8), None).unwrap();
        let handle = driver.handle();
        for length in 1..=300 {
            handle.send(vec![0; length]).unwrap();
        }
        let total: usize = receiver.iter().take(600).sum();
        driver.close().unwrap();
        total
    });
    assert_eq!(lengths, [300 * 301, 300 * 301]);
}

#[test]
fn members_that_disagree_do_not_write_into_each_other() {
    let threads: Vec<_> = LocalExchange::mesh(2)
        .into_iter()
        .enumerate()
        .map(|(index, mut exchange)| {
            std::thread::spawn(move || {
                let config = Config { window_messages: 10 + index as u64, ..config(&[0], Mode::Ordered) };
                Group::join(&config, &ShmFabric::new(), &mut exchange).map(drop).unwrap_err().to_string()
            })
        })
        .collect();
    for thread in threads {
        let error = thread.join().unwrap();
        assert!(error.contains("configuration"), "{error}");
    }
}
