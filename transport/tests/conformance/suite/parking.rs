//! Waiting: nobody sleeps through a write, a wake or its time-out.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use squall_transport::{Endpoint, Place, Rank, Region, TABLE, Write};

use super::cluster::{Cluster, PATIENCE};
use super::stream::{Plan, streamers};

/// Parks once after a last look; fails if nothing but time ended it.
fn park_unless<E: Endpoint>(endpoint: &mut E, mut ready: impl FnMut(&mut E) -> bool) {
    endpoint.arm();
    if ready(endpoint) {
        endpoint.disarm();
        return;
    }
    let start = Instant::now();
    endpoint.park(PATIENCE);
    assert!(start.elapsed() < PATIENCE, "a wake-up was lost");
}

fn wait_for<E: Endpoint>(endpoint: &mut E, table: &Region, value: u64) {
    let landed = |endpoint: &mut E| {
        assert_eq!(endpoint.poll(), None, "everybody lives");
        table.word(0).load(Acquire) >= value
    };
    while !landed(endpoint) {
        park_unless(endpoint, landed);
    }
}

/// Two members hand a word to and fro and sleep in between, thousands of times.
pub(crate) fn no_wake_up_is_lost<E: Endpoint + Send>(mut cluster: Cluster<E>) {
    const ROUNDS: u64 = 5000;
    std::thread::scope(|scope| {
        for member in &mut cluster.members {
            scope.spawn(move || {
                let endpoint = member.endpoint.as_mut().expect("alive");
                let me = endpoint.rank().index();
                for round in 1..=ROUNDS {
                    if me == 1 {
                        wait_for(endpoint, &member.table, round);
                    }
                    let word = Write::Word { at: Place::new(TABLE, 0), value: round };
                    endpoint.post(Rank::new(1 - me), word).expect("one write fits");
                    endpoint.flush();
                    if me == 0 {
                        wait_for(endpoint, &member.table, round);
                    }
                }
            });
        }
    });
}

/// Four members stream to each other, each on its thread, and sleep whenever there is nothing to do.
pub(crate) fn whole_group_parks_and_finishes<E: Endpoint + Send>(mut cluster: Cluster<E>) {
    let plan = Plan { members: cluster.members.len(), messages: 400, bytes_max: 60_000, sizes: &[] };
    let streamers = streamers(&cluster, plan);
    std::thread::scope(|scope| {
        for (member, mut streamer) in cluster.members.iter_mut().zip(streamers) {
            scope.spawn(move || {
                let endpoint = member.endpoint.as_mut().expect("alive");
                while !streamer.is_done(endpoint) {
                    if !streamer.turn(endpoint) {
                        park_unless(endpoint, |endpoint| streamer.turn(endpoint) || streamer.is_done(endpoint));
                    }
                }
            });
        }
    });
}

/// With nothing to wait for a park ends with its time.
pub(crate) fn park_times_out<E: Endpoint + Send>(mut cluster: Cluster<E>) {
    const TIME: Duration = Duration::from_millis(20);
    let start = Instant::now();
    while start.elapsed() < TIME {
        let endpoint = cluster.endpoint(0);
        endpoint.arm();
        endpoint.park(TIME);
        assert_eq!(endpoint.poll(), None);
    }
    assert!(start.elapsed() < PATIENCE);
}

/// A wake ends the park that runs, or the next one.
pub(crate) fn a_wake_from_another_thread_ends_a_park<E: Endpoint + Send>(mut cluster: Cluster<E>) {
    let endpoint = cluster.endpoint(0);
    endpoint.waker().wake();
    park_unless(endpoint, |_| false);
    let waker = endpoint.waker();
    let (round, done) = (std::sync::atomic::AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = 0;
            while !done.load(Relaxed) {
                let now = round.load(Relaxed);
                if now != last {
                    last = now;
                    waker.wake();
                }
            }
        });
        for next in 1..1000 {
            round.store(next, Relaxed);
            park_unless(endpoint, |_| false);
        }
        done.store(true, Relaxed);
    });
}

/// What comes between `arm` and `park` ends the park, whether or not a poll has taken it in.
pub(crate) fn what_lands_after_arm_ends_the_park<E: Endpoint>(cluster: &mut Cluster<E>) {
    for round in 1..100 {
        cluster.endpoint(1).arm();
        let start = Instant::now();
        cluster.post(0, 1, Write::Word { at: Place::new(TABLE, 0), value: round });
        cluster.endpoint(0).flush();
        let landed = cluster.members[1].table.clone();
        if round % 2 == 0 {
            cluster.until("the word", |_| landed.word(0).load(Acquire) == round);
        }
        cluster.endpoint(1).park(PATIENCE);
        assert!(start.elapsed() < PATIENCE, "the park was not ended");
        cluster.until("the word", |_| landed.word(0).load(Acquire) == round);
    }
    cluster.assert_all_up();
}
