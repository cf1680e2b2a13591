//! Small and large messages in one stream: members that send messages of a byte up to a megabyte in any mixture, each
//! by a [`Driver`], a thread that owns its group. All members deliver all messages in one order, whatever way they
//! travel.
//!
//!     cargo run --release --example mixed -p squall-group -- --members 3 --messages 500
//!
//! The members are threads of this process, so that the example fits one page; `counter` shows processes.

use std::env;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use squall_group::prelude::*;
use squall_group::{DriverError, JoinError};

const HELP: &str = "Small and large messages of several senders in one order, over shared memory.

usage: mixed [--members N] [--messages N] [--order NAME]

  --members N    members, all of which send (default 3)
  --messages N   messages of each (default 200)
  --order NAME   how all agree on one order: ordered (by turns, default), lamport, paxos or chain
  --help         this text";

const LARGE_MAX: u64 = 1 << 20;

/// Length of a sender's message `number`: mostly small, now and then large.
fn length(sender: u64, number: u64) -> usize {
    let random = (sender << 32 | number).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let longest = if random.is_multiple_of(8) { LARGE_MAX } else { 2000 };
    (1 + (random >> 3) % longest) as usize
}

fn byte(sender: u64, number: u64, offset: usize) -> u8 {
    (sender * 59 + number * 31 + offset as u64 * 7) as u8
}

/// What one member delivered.
struct Log {
    /// Messages delivered of each sender.
    numbers: Vec<u64>,
    bytes: u64,
    large: u64,
    order_hash: u64,
    left: u64,
    done: mpsc::Sender<()>,
}

impl Upcalls for Log {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let sender = delivery.sender.index();
        let number = self.numbers[sender];
        let (payload, sender_number) = (delivery.payload, sender as u64);
        assert_eq!(payload.len(), length(sender_number, number), "length of message {number} of member {sender}");
        let intact = payload.iter().enumerate().all(|(offset, &found)| found == byte(sender_number, number, offset));
        assert!(intact, "message {number} of member {sender} is corrupt");
        self.numbers[sender] += 1;
        self.bytes += payload.len() as u64;
        self.large += u64::from(payload.len() > 2000);
        self.order_hash = (self.order_hash ^ sender_number << 32 ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        self.left -= 1;
        if self.left == 0 {
            // If nobody listens any more, the member has failed already.
            let _ = self.done.send(());
        }
    }
}

#[derive(Debug)]
enum Failure {
    Join(JoinError),
    Driver(DriverError),
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Failure {
        Failure::Join(error)
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Failure {
        Failure::Driver(error)
    }
}

fn member(mut exchange: LocalExchange, members: usize, messages: u64, mode: Mode) -> Result<Log, Failure> {
    let senders = (0..members).map(Rank::new).collect();
    let config = Config { mode, ring_bytes: 1 << 16, small_max: 4096, large_max: LARGE_MAX, ..Config::new(senders) };
    let group = Group::join(&config, &ShmFabric::new(), &mut exchange)?;
    let me = u64::from(group.view().me.0);
    let (done, finished) = mpsc::channel();
    let log = Log { numbers: vec![0; members], bytes: 0, large: 0, order_hash: 0, left: messages * members as u64, done };
    let driver = Driver::spawn(group, log, Pace::for_members(members), None)?;
    let handle = driver.handle();
    for number in 0..messages {
        let payload: Vec<u8> = (0..length(me, number)).map(|offset| byte(me, number, offset)).collect();
        if handle.send(payload).is_err() {
            break;
        }
    }
    // An error means that the driver has ended; `close` says why.
    let _ = finished.recv();
    Ok(driver.close()?)
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<(usize, u64, Mode)>, String> {
    let (mut members, mut messages, mut order) = (3, 200, Mode::Ordered);
    while let Some(flag) = arguments.next() {
        if matches!(flag.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        if flag == "--order" {
            order = arguments.next().ok_or("--order needs a name behind it")?.parse()?;
            continue;
        }
        let target = match flag.as_str() {
            "--members" => &mut members,
            "--messages" => &mut messages,
            other => return Err(format!("unknown flag `{other}`; see --help")),
        };
        let text = arguments.next().ok_or(format!("{flag} needs a number behind it"))?;
        *target = text.parse::<u64>().map_err(|_| format!("{flag}: `{text}` is no number"))?;
    }
    if !(1..=64).contains(&members) || messages == 0 {
        return Err("--members must be 1 to 64, --messages at least 1".into());
    }
    if !order.is_total() {
        return Err(format!("--order {order}: this example shows one order at all members"));
    }
    Ok(Some((members as usize, messages, order)))
}

fn main() -> ExitCode {
    let (members, messages, order) = match parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("mixed: {wrong}");
            return ExitCode::from(2);
        }
    };
    let exchanges = LocalExchange::mesh(members).into_iter();
    let threads: Vec<_> = exchanges.map(|exchange| thread::spawn(move || member(exchange, members, messages, order))).collect();
    let mut hashes = Vec::new();
    for (rank, thread) in threads.into_iter().enumerate() {
        match thread.join() {
            Ok(Ok(log)) => {
                let Log { bytes, large, order_hash, .. } = log;
                println!(
                    "member {rank}: {} messages, {large} of them large, {bytes} bytes, order {order_hash:016x}",
                    log.numbers.iter().sum::<u64>()
                );
                hashes.push(order_hash);
            }
            Ok(Err(Failure::Join(error))) => eprintln!("mixed: member {rank}: {error}"),
            Ok(Err(Failure::Driver(error))) => eprintln!("mixed: member {rank}: {error}"),
            Err(_) => eprintln!("mixed: member {rank} panicked"),
        }
    }
    if hashes.len() == members && hashes.iter().all(|hash| *hash == hashes[0]) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
