//! What the benchmark itself costs: one-byte messages from one member to another over shared memory, in the barest loop
//! that sends, delivers and counts them: `bare_loop [SECONDS] [TRIALS]`. Beside it: `squall run smc-rate --size 1
//! --nodes 2 --senders one --fabric shm`, with the same group, which also fills, checks and hashes every message.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use squall_bench::ask::policy;
use squall_bench::jobs::kinds::{FabricKind, Schedule};
use squall_bench::jobs::os;
use squall_bench::jobs::shape::Shape;
use squall_group::{Delivery, Ended, Group, Mode, Outgoing, Upcalls};
use squall_transport::exchange::LocalExchange;
use squall_transport::shm::ShmFabric;

const BYTES: u64 = 1;

struct Count(u64);

impl Upcalls for Count {
    #[inline(always)]
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        self.0 += delivery.payload.len() as u64;
    }
}

fn member(mut exchange: LocalExchange, rank: usize, time: Duration, over: &AtomicBool) -> Result<f64, Ended> {
    os::pin_if_allowed(os::cores()[rank]).expect("a core");
    let config = Shape::of(BYTES, None).config(1, Mode::Ordered, None, Some(Schedule::Pipeline));
    let mut group = Group::join(&config, &ShmFabric::new(), &mut exchange).expect("a group of two");
    let (mut count, mut pace) = (Count(0), policy::pace(true, FabricKind::Shm));
    let started = Instant::now();
    // Relaxed: the flag publishes nothing but itself.
    while if rank == 0 { started.elapsed() < time } else { !over.load(Ordering::Relaxed) } {
        if rank == 0 {
            for _ in 0..policy::SEND_BURST_MESSAGES {
                let Ok(mut slot) = group.reserve(BYTES) else { break };
                slot.bytes_mut()[0] = 7;
                slot.commit();
            }
        }
        group.turn(&mut count, &mut pace)?;
    }
    let rate = count.0 as f64 / started.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    group.close(&mut count, &mut pace)?;
    Ok(rate)
}

fn main() {
    let number = |at, usual: f64| std::env::args().nth(at).map_or(usual, |text| text.parse().expect("a number"));
    let (time, trials) = (Duration::from_secs_f64(number(1, 0.5)), number(2, 5.0) as u32);
    for _ in 0..trials {
        let over = AtomicBool::new(false);
        let rates: Vec<f64> = thread::scope(|scope| {
            let threads: Vec<_> = LocalExchange::mesh(2)
                .into_iter()
                .enumerate()
                .map(|(rank, exchange)| {
                    let over = &over;
                    scope.spawn(move || member(exchange, rank, time, over))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic").expect("nobody is lost")).collect()
        });
        println!("{:.2} M messages/s", rates[0] / 1e6);
    }
}
