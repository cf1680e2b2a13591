//! Memory of epochs that are over is given back beside the path: all of it, and by threads that end.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use squall_transport::exchange::LocalExchange;
use squall_transport::shm::ShmFabric;
use squall_transport::{Endpoint, Fabric, NodeId, POOL, Place, Rank, RegionOptions, Write};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const EPOCHS: usize = 40;
const TABLE_BYTES: usize = 4096;
/// So much is not given back on the path.
const POOL_BYTES: usize = 8 << 20;

/// Descriptors, threads and shared mappings of this process.
fn held() -> [usize; 3] {
    let count = |folder| fs::read_dir(folder).expect("this is Linux").count();
    let maps = fs::read_to_string("/proc/self/maps").expect("this is Linux");
    [count("/proc/self/fd"), count("/proc/self/task"), maps.lines().filter(|line| line.contains("memfd:")).count()]
}

/// What is held once nothing is under way any more that is not `wanted`.
fn held_after(wanted: [usize; 3]) -> [usize; 3] {
    let deadline = Instant::now() + PATIENCE;
    while held() != wanted && Instant::now() < deadline {
        thread::yield_now();
    }
    held()
}

/// An epoch with new memory, all of which both members have written to each other.
fn pass(fabrics: &[ShmFabric; 2]) {
    let nodes = [NodeId(1), NodeId(2)];
    let member = |(exchange, fabric): (LocalExchange, &ShmFabric)| {
        let regions = [TABLE_BYTES, POOL_BYTES].map(|bytes| fabric.region(bytes, &RegionOptions::default()).expect("memory"));
        let mut endpoint = fabric.open(&mut exchange.named(&nodes), &regions).expect("the fabric opens");
        let (other, start) = (Rank::new(1 - endpoint.rank().index()), Place::new(POOL, 0));
        endpoint.post(other, Write::Span { from: start, to: start, len: POOL_BYTES as u64 }).expect("one write fits");
        endpoint.flush();
        fabric.retire(endpoint);
    };
    let member = &member;
    thread::scope(|scope| {
        for one in LocalExchange::mesh(2).into_iter().zip(fabrics) {
            scope.spawn(move || member(one));
        }
    });
}

#[test]
fn what_is_given_back_beside_the_path_is_given_back() {
    let fabrics = [ShmFabric::new(), ShmFabric::new()];
    let before = held();
    (0..2).for_each(|_| pass(&fabrics));
    let deadline = Instant::now() + PATIENCE;
    while held()[1] != before[1] && Instant::now() < deadline {
        thread::yield_now();
    }
    let early = held();
    assert!(early[2] > before[2], "the last epoch's memory waits for the next: {early:?}");
    (0..EPOCHS).for_each(|_| pass(&fabrics));
    assert_eq!(held_after(early), early, "descriptors, threads, shared mappings");
    drop(fabrics);
    assert_eq!(held_after(before), before, "descriptors, threads, shared mappings");
}
