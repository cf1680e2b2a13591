//! How long a fabric takes to open one epoch after another:
//! `cargo run --release -p squall-transport --example reopen [MEMBERS [EPOCHS]]`.
//!
//! Members are threads of this process. Each epoch has a new table and the same pool, as a group's epochs have; the
//! time is that of the slowest member, from when all are ready to open: it drops or retires its last endpoint and opens
//! the next. Prints the median and the 90th percentile of each fabric, and of the gathers alone.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use squall_transport::exchange::LocalExchange;
use squall_transport::shm::ShmFabric;
use squall_transport::tcp::TcpFabric;
use squall_transport::{Exchange, Fabric, NodeId, RegionOptions};

const PATIENCE: Duration = Duration::from_secs(10);
/// How long an epoch lives: the threads that a fabric starts have come to rest by then.
const EPOCH: Duration = Duration::from_millis(5);
const TABLE_BYTES: usize = 256 << 10;
const POOL_BYTES: usize = 16 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let (members, epochs) = (arguments.next().unwrap_or(5), arguments.next().unwrap_or(200));
    report("one gather", measure(members, epochs, || |exchange: &mut LocalExchange| drop(exchange.all_gather("measure", b"x"))));
    report("shm", measure(members, epochs, || opener(ShmFabric::new(), |_, endpoint| drop(endpoint))));
    report("shm, retired", measure(members, epochs, || opener(ShmFabric::new(), ShmFabric::retire)));
    report("tcp", measure(members, epochs, || opener(TcpFabric::default(), |_, endpoint| drop(endpoint))));
    report("tcp, retired", measure(members, epochs, || opener(TcpFabric::default(), TcpFabric::retire)));
}

/// Ends the last epoch by `end` and opens one with a new table.
fn opener<F: Fabric>(fabric: F, end: impl Fn(&F, F::Endpoint)) -> impl FnMut(&mut LocalExchange) {
    let region = move |fabric: &F, bytes| fabric.region(bytes, &RegionOptions::default()).expect("memory");
    let pool = region(&fabric, POOL_BYTES);
    let mut last: Option<F::Endpoint> = None;
    move |exchange| {
        if let Some(endpoint) = last.take() {
            end(&fabric, endpoint);
        }
        let regions = [region(&fabric, TABLE_BYTES), pool.clone()];
        last = Some(fabric.open(exchange, &regions).expect("the fabric opens"));
    }
}

/// Of each epoch what the slowest member took.
fn measure<O: FnMut(&mut LocalExchange)>(members: usize, epochs: usize, opener: impl Fn() -> O + Sync) -> Vec<Duration> {
    let ready = Barrier::new(members);
    let nodes: Vec<NodeId> = (0..members as u64).map(NodeId).collect();
    let meshes: Vec<_> = (0..epochs).map(|_| LocalExchange::mesh_without(members, &[], PATIENCE)).collect();
    let mut by_member: Vec<Vec<LocalExchange>> = (0..members).map(|_| Vec::new()).collect();
    for mesh in meshes {
        mesh.into_iter().flatten().enumerate().for_each(|(index, exchange)| by_member[index].push(exchange.named(&nodes)));
    }
    let run = |exchanges: Vec<LocalExchange>| {
        let mut open = opener();
        let mut timed = |mut exchange| {
            std::thread::sleep(EPOCH);
            ready.wait();
            let start = Instant::now();
            open(&mut exchange);
            start.elapsed()
        };
        exchanges.into_iter().map(&mut timed).collect::<Vec<_>>()
    };
    let run = &run;
    let took: Vec<Vec<Duration>> = std::thread::scope(|scope| {
        let threads: Vec<_> = by_member.into_iter().map(|exchanges| scope.spawn(move || run(exchanges))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    (0..epochs).map(|epoch| took.iter().map(|member| member[epoch]).max().unwrap_or_default()).collect()
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_micros();
    println!("{what:<14} {:>6} us  90 %: {:>6} us  ({} epochs)", at(50), at(90), took.len());
}
