//! T1, T2 and the by-value half of T3.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use squall_transport::{Endpoint, Place, Region, TABLE, Write};

use super::cluster::Cluster;
use super::pattern::{is_whole, whole};

const ROUNDS: u64 = 20_000;
const TO_PEER: Place = Place::new(TABLE, 0);

fn word(offset: u64, value: u64) -> Write {
    Write::Word { at: Place::new(TABLE, offset), value }
}

/// T1: three words are written in turn; at any moment none is ahead of the one before it.
pub(crate) fn words_land_in_posting_order<E: Endpoint>(cluster: &mut Cluster<E>) {
    let offsets = [0, 4096, 64];
    let landed = cluster.members[1].table.clone();
    let check = || {
        // Last first: each load is later than the loads of what must not be behind it.
        let [first, second, third] = offsets.map(|offset| landed.word(offset));
        let (third, second, first) = (third.load(Acquire), second.load(Acquire), first.load(Acquire));
        assert!(third <= second && second <= first, "{first} {second} {third}");
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                check();
            }
        });
        for value in 1..=ROUNDS {
            for offset in offsets {
                cluster.post(0, 1, word(offset, value));
            }
            if value % 7 == 0 {
                cluster.progress();
                check();
            }
        }
        cluster.until("the last word", |_| landed.word(offsets[2]).load(Acquire) == ROUNDS);
        done.store(true, Relaxed);
    });
    check();
    cluster.assert_all_up();
}

/// T3: what a word is worth is settled when it is posted.
pub(crate) fn a_word_carries_its_value<E: Endpoint>(cluster: &mut Cluster<E>) {
    let (mine, landed) = (cluster.members[0].table.clone(), cluster.members[1].table.clone());
    for round in 1..200 {
        mine.word(8).store(round, Relaxed);
        let value = mine.word(8).load(Relaxed);
        cluster.post(0, 1, word(8, value));
        mine.word(8).store(u64::MAX, Relaxed);
        cluster.post(0, 1, word(16, round));
        cluster.until("the word behind it", |_| landed.word(16).load(Acquire) == round);
        assert_eq!(landed.word(8).load(Relaxed), round);
    }
    cluster.assert_all_up();
}

/// T2: a reader that never stops looking sees whole words only.
pub(crate) fn a_word_never_tears<E: Endpoint>(cluster: &mut Cluster<E>) {
    let landed = cluster.members[1].table.clone();
    while_watched(&landed, 1, || {
        for round in 0..ROUNDS {
            cluster.post(0, 1, Write::Word { at: TO_PEER, value: whole(round) });
            if round % 3 == 0 {
                cluster.progress();
            }
        }
        settle(cluster);
    });
    cluster.assert_all_up();
}

/// Acknowledgements may go by Span, many at once and while they are raised: each is an older or a newer value, never a
/// mixture.
pub(crate) fn words_in_an_aligned_span_do_not_tear<E: Endpoint>(cluster: &mut Cluster<E>) {
    const WORDS: u64 = 33;
    let (mine, landed) = (cluster.members[0].table.clone(), cluster.members[1].table.clone());
    let span = Write::Span { from: Place::new(TABLE, 8192), to: TO_PEER, len: WORDS * 8 };
    while_watched(&landed, WORDS, || {
        for round in 0..ROUNDS {
            for index in 0..WORDS {
                mine.word(8192 + index * 8).store(whole(round), Relaxed);
            }
            cluster.post(0, 1, span);
            if round % 3 == 0 {
                cluster.progress();
            }
        }
        settle(cluster);
    });
    cluster.assert_all_up();
}

/// Runs `body` while another thread looks at the first `words` words of `region` again and again.
fn while_watched(region: &Region, words: u64, body: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                for index in 0..words {
                    let seen = region.word(index * 8).load(Relaxed);
                    assert!(is_whole(seen), "a torn word: {seen:#018x}");
                }
            }
        });
        body();
        done.store(true, Relaxed);
    });
}

/// Waits until everything posted has landed.
fn settle<E: Endpoint>(cluster: &mut Cluster<E>) {
    let landed = cluster.members[1].table.clone();
    cluster.post(0, 1, word(32 << 10, 1));
    cluster.until("the last word", |_| landed.word(32 << 10).load(Acquire) == 1);
}
