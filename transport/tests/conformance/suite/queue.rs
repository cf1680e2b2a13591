//! T4.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use squall_transport::{Endpoint, POOL, Place, QueueFull, Rank, TABLE, Write};

use super::cluster::Cluster;
use super::pattern::{Pattern, byte};

/// More than any queue and socket holds; a provider that copies at once takes them all.
const WRITES: u64 = 100_000;
const SPAN_BYTES: u64 = 200_000;

/// What was refused never lands, what was taken does, and there is room again once the peer has polled.
pub(crate) fn a_full_queue_leaves_nothing_behind<E: Endpoint>(cluster: &mut Cluster<E>) {
    let [counter, probe] = [0, 512].map(|offset| Place::new(TABLE, offset));
    let (source, taken, refused) = (0, 4 << 20, 8 << 20);
    let (table, pool) = (cluster.members[1].table.clone(), cluster.members[1].pool.clone());
    let peer = Rank::new(1);
    Pattern(1).fill(&cluster.members[0].pool, source, SPAN_BYTES);
    let span = |to| Write::Span { from: Place::new(POOL, source), to: Place::new(POOL, to), len: SPAN_BYTES };
    for round in 1..=5u64 {
        let base = round * WRITES;
        let mut accepted = base;
        let full = (1..WRITES).find(|index| {
            let write = if index % 50 == 0 { span(taken) } else { Write::Word { at: counter, value: base + index } };
            let full = cluster.endpoint(0).post(peer, write) == Err(QueueFull);
            if !full && index % 50 != 0 {
                accepted = base + index;
            }
            full
        });
        if full.is_some() {
            // Other kinds of writes may still fit; what does not must not land.
            let word_refused = cluster.endpoint(0).post(peer, Write::Word { at: probe, value: round }).is_err();
            let span_refused = cluster.endpoint(0).post(peer, span(refused)).is_err();
            let until = if word_refused { accepted } else { round };
            let last = if word_refused { counter } else { probe };
            cluster.until("what was taken", |_| table.word(last.offset).load(Acquire) >= until);
            settle(cluster, round);
            assert_eq!(table.word(probe.offset).load(Relaxed) == round, !word_refused);
            if span_refused && byte(&pool, refused) == 0 {
                assert!((0..SPAN_BYTES).all(|at| byte(&pool, refused + at) == 0), "a refused span left bytes");
            }
        }
        settle(cluster, round);
        assert_eq!(table.word(counter.offset).load(Relaxed), accepted);
        cluster.post(0, 1, Write::Word { at: probe, value: round });
        cluster.until("a write after the queue was full", |_| table.word(probe.offset).load(Acquire) == round);
    }
    Pattern(1).check(&pool, taken, 0, SPAN_BYTES);
    cluster.assert_all_up();
}

/// A peer that is busy with something else holds up nobody: posts and flushes return, and it gets everything when it
/// polls again.
pub(crate) fn posting_never_waits_for_a_peer_that_does_not_poll<E: Endpoint>(cluster: &mut Cluster<E>) {
    let table = cluster.members[1].table.clone();
    Pattern(2).fill(&cluster.members[0].pool, 0, SPAN_BYTES);
    let span = Write::Span { from: Place::new(POOL, 0), to: Place::new(POOL, 0), len: SPAN_BYTES };
    let (mut posted, mut refusals) = (0, 0);
    // Takes until the queue and everything behind it is full, or far more than that.
    while refusals < 1000 && posted < 400 {
        let peer = Rank::new(1);
        match cluster.endpoint(0).post(peer, span) {
            Ok(()) => posted += 1,
            Err(QueueFull) => refusals += 1,
        }
        cluster.progress_without(1);
    }
    settle(cluster, posted + 1);
    Pattern(2).check(&cluster.members[1].pool, 0, 0, SPAN_BYTES);
    assert_eq!(table.word(SETTLED).load(Relaxed), posted + 1);
    cluster.assert_all_up();
}

const SETTLED: u64 = 1024;

/// Waits until everything posted has landed.
fn settle<E: Endpoint>(cluster: &mut Cluster<E>, value: u64) {
    let table = cluster.members[1].table.clone();
    table.word(SETTLED).store(0, Relaxed);
    cluster.post(0, 1, Write::Word { at: Place::new(TABLE, SETTLED), value });
    cluster.until("the last word", |_| table.word(SETTLED).load(Acquire) == value);
}
