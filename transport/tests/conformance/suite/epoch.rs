//! T5 and T6.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use squall_transport::{Endpoint, Event, POOL, Place, Rank, Region, TABLE, Write};

use super::cluster::Cluster;
use super::pattern::Pattern;

const GONE: usize = 1;

/// T6: everybody learns of the one that left, of nobody else, and the others go on.
pub(crate) fn a_dropped_member_is_down_at_every_other_and_nobody_else_is<E: Endpoint>(cluster: &mut Cluster<E>) {
    for _ in 0..1000 {
        cluster.progress();
    }
    cluster.assert_all_up();
    cluster.members[GONE].endpoint = None;
    until_all_know(cluster);
    for round in 1..100 {
        let living: Vec<usize> = (0..cluster.members.len()).filter(|&index| index != GONE).collect();
        for &from in &living {
            for &to in living.iter().filter(|&&to| to != from) {
                cluster.post(from, to, Write::Word { at: Place::new(TABLE, 8 * from as u64), value: round });
            }
        }
        cluster.until("words among the living", |cluster| {
            let seen = |to: usize, from: usize| cluster.members[to].table.word(8 * from as u64).load(Acquire) == round;
            living.iter().all(|&to| living.iter().all(|&from| from == to || seen(to, from)))
        });
    }
    assert_only_gone(cluster);
}

/// T5: after its end is known nothing of it lands any more, and nothing that is posted to it touches its memory.
pub(crate) fn nothing_lands_from_or_at_a_member_that_is_down<E: Endpoint>(cluster: &mut Cluster<E>) {
    const BYTES: u64 = 1 << 20;
    Pattern(3).fill(&cluster.members[GONE].pool, 0, BYTES);
    for value in 1..50 {
        let span = Write::Span { from: Place::new(POOL, 0), to: Place::new(POOL, BYTES), len: BYTES };
        for write in [span, Write::Word { at: Place::new(TABLE, 0), value }] {
            // Some are refused, when queues are full: they are not to land in any case.
            let _ = cluster.endpoint(GONE).post(Rank::new(0), write);
            let _ = cluster.endpoint(0).post(Rank::new(GONE), write);
        }
        cluster.endpoint(GONE).flush();
        cluster.endpoint(0).flush();
    }
    cluster.members[GONE].endpoint = None;
    until_all_know(cluster);
    for member in [0, GONE] {
        cluster.members[member].table.word(0).store(0, Relaxed);
        clear(&cluster.members[member].pool, BYTES, BYTES);
    }
    for value in 1..2000 {
        // Whether it is taken or refused does not matter, as long as it goes nowhere.
        let _ = cluster.endpoint(0).post(Rank::new(GONE), Write::Word { at: Place::new(TABLE, 0), value });
        cluster.progress();
    }
    for member in [0, GONE] {
        assert_eq!(cluster.members[member].table.word(0).load(Acquire), 0, "at {member}");
        let pool = &cluster.members[member].pool;
        assert!((0..BYTES / 8).all(|index| pool.word(BYTES + index * 8).load(Relaxed) == 0), "at {member}");
    }
    assert_only_gone(cluster);
}

fn clear(region: &Region, base: u64, bytes: u64) {
    for index in 0..bytes / 8 {
        region.word(base + index * 8).store(0, Relaxed);
    }
}

fn until_all_know<E: Endpoint>(cluster: &mut Cluster<E>) {
    cluster.until("all know that a member is down", |cluster| {
        let mut living = cluster.members.iter().filter(|member| member.endpoint.is_some());
        living.all(|member| member.events.contains(&Event::Down(Rank::new(GONE))))
    });
}

fn assert_only_gone<E: Endpoint>(cluster: &Cluster<E>) {
    for member in cluster.members.iter().filter(|member| member.endpoint.is_some()) {
        assert!(member.events.iter().all(|event| *event == Event::Down(Rank::new(GONE))), "{:?}", member.events);
    }
}
