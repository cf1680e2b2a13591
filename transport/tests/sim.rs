//! The simulated fabric keeps the rules of every fabric, is as unkind as they allow, and repeats itself.
#![cfg(not(loom))]

use std::sync::atomic::Ordering;
use std::time::Duration;

use squall_transport::sim::{LinkSpec, SimEndpoint, SimFabric, SimNetwork, SoloExchange};
use squall_transport::{Endpoint, Event, Fabric, Place, QueueFull, Rank, Region, RegionOptions, TABLE, Write};

const BYTES: usize = 4096;

struct Member {
    endpoint: SimEndpoint,
    region: Region,
}

impl Member {
    fn word(&self, offset: u64) -> u64 {
        self.region.word(offset).load(Ordering::Acquire)
    }

    fn set(&self, offset: u64, value: u64) {
        self.region.word(offset).store(value, Ordering::Release);
    }
}

fn members(seed: u64, count: usize, link: LinkSpec) -> (SimNetwork, Vec<Member>) {
    let (network, fabrics) = SimFabric::mesh(seed, count, link);
    let member = |(index, fabric): (usize, SimFabric)| {
        let region = fabric.region(BYTES, &RegionOptions::default()).unwrap();
        let mut exchange = SoloExchange::new(Rank::new(index), count);
        Member { endpoint: fabric.open(&mut exchange, std::slice::from_ref(&region)).unwrap(), region }
    };
    let members = fabrics.into_iter().enumerate().map(member).collect();
    (network, members)
}

fn at(offset: u64) -> Place {
    Place::new(TABLE, offset)
}

fn word(offset: u64, value: u64) -> Write {
    Write::Word { at: at(offset), value }
}

fn span(from: u64, to: u64, len: u64) -> Write {
    Write::Span { from: at(from), to: at(to), len }
}

fn wild() -> LinkSpec {
    LinkSpec { jitter_ns: 20_000, queue_max: 16, pieces_max: 8, ..LinkSpec::default() }
}

/// Sends 40 rounds of 256 bytes and a counter behind them; how often a counter showed before its data, over all looks.
fn early_counters(seed: u64, link: LinkSpec) -> usize {
    let (network, mut members) = members(seed, 2, link);
    let (mut sent, mut early) = (0, 0);
    loop {
        if sent < 40 {
            let base = sent * 64 % 1024;
            (0..8).for_each(|i| members[0].set(1024 + base + 8 * i, sent + 1));
            if members[0].endpoint.post(Rank(1), span(1024 + base, 1024 + base, 64)).is_ok() {
                sent += 1;
                while members[0].endpoint.post(Rank(1), word(0, sent)).is_err() {
                    let next_ns = network.next_event_ns().unwrap_or(network.now_ns() + 100);
                    network.advance_to(next_ns);
                }
                members[0].endpoint.flush();
            }
        }
        let Some(next_ns) = network.next_event_ns() else {
            if sent == 40 {
                break;
            }
            continue;
        };
        network.advance_to(next_ns);
        let seen = members[1].word(0);
        if seen > 0 {
            let base = (seen - 1) * 64 % 1024;
            early += usize::from((0..8).any(|i| members[1].word(1024 + base + 8 * i) < seen));
        }
    }
    early
}

#[test]
fn a_counter_never_lands_before_its_data() {
    assert!((0..200).all(|seed| early_counters(seed, wild()) == 0));
}

#[test]
fn a_link_that_does_not_order_is_told_by_its_counters() {
    let broken = LinkSpec { ordered: false, ..wild() };
    assert!((0..10).all(|seed| early_counters(seed, broken) > 0));
}

#[test]
fn a_span_is_read_late_and_in_pieces_while_a_word_carries_its_value() {
    let (mut old, mut new, mut mixed) = (0, 0, 0);
    for seed in 0..200 {
        let (network, mut members) = members(seed, 2, wild());
        members[0].endpoint.post(Rank(1), span(0, 0, 512)).unwrap();
        members[0].endpoint.post(Rank(1), word(1024, 7)).unwrap();
        members[0].endpoint.flush();
        network.advance_to(4000);
        (0..64).for_each(|i| members[0].set(8 * i, 1));
        members[0].set(1024, 8);
        network.advance_to(1_000_000);
        assert_eq!(members[1].word(1024), 7);
        match (0..64).map(|i| members[1].word(8 * i)).sum::<u64>() {
            0 => old += 1,
            64 => new += 1,
            _ => mixed += 1,
        }
    }
    assert!(old > 10 && new > 10 && mixed > 10, "{old} {new} {mixed}");
}

#[test]
fn an_audit_finds_a_source_that_changed_while_it_could_still_be_read() {
    for change in [false, true] {
        let found = (0..50).filter(|&seed| {
            let (network, mut members) = members(seed, 2, wild());
            network.audit_sources();
            members[0].endpoint.post(Rank(1), span(8, 1000, 512)).unwrap();
            members[0].endpoint.flush();
            network.advance_to(4000);
            members[0].set(256, u64::from(change));
            network.advance_to(1_000_000);
            let found = network.changed_source();
            assert!(found.is_none_or(|changed| (changed.from, changed.to) == (Rank(0), Rank(1))));
            found.is_some()
        });
        assert_eq!(found.count() > 0, change);
    }
}

#[test]
fn bytes_of_a_span_land_in_any_order() {
    let last_first = (0..200).filter(|&seed| {
        let (network, mut members) = members(seed, 2, wild());
        (0..64).for_each(|i| members[0].set(8 * i, 1));
        members[0].endpoint.post(Rank(1), span(0, 0, 512)).unwrap();
        members[0].endpoint.flush();
        let mut found = false;
        while let Some(next_ns) = network.next_event_ns() {
            network.advance_to(next_ns);
            found |= members[1].word(504) == 1 && members[1].word(0) == 0;
        }
        assert!((0..64).all(|i| members[1].word(8 * i) == 1));
        found
    });
    assert!(last_first.count() > 20);
}

#[test]
fn an_unaligned_span_changes_its_own_bytes_only() {
    for seed in 0..100 {
        let (network, mut members) = members(seed, 2, wild());
        (0..64).for_each(|i| members[0].set(8 * i, u64::MAX));
        members[0].endpoint.post(Rank(1), span(3, 101, 77)).unwrap();
        members[0].endpoint.flush();
        network.advance_to(1_000_000);
        let bytes: Vec<u8> = (0..64).flat_map(|i| members[1].word(8 * i).to_le_bytes()).collect();
        assert!(bytes.iter().enumerate().all(|(i, &byte)| (byte == 255) == (101..178).contains(&i)), "seed {seed}");
    }
}

#[test]
fn a_full_queue_leaves_nothing_behind_and_tells_when_it_has_room() {
    let (network, mut members) = members(1, 2, LinkSpec { queue_max: 2, ..wild() });
    let sender = &mut members[0].endpoint;
    assert_eq!((sender.post(Rank(1), word(0, 1)), sender.post(Rank(1), word(8, 2))), (Ok(()), Ok(())));
    assert_eq!(sender.post(Rank(1), word(16, 3)), Err(QueueFull));
    sender.flush();
    network.take_news(Rank(0));
    network.advance_to(1_000_000);
    assert!(network.take_news(Rank(0)) && network.take_news(Rank(1)) && !network.take_news(Rank(1)));
    assert_eq!([0, 8, 16].map(|offset| members[1].word(offset)), [1, 2, 0]);
    assert_eq!(network.posts(Rank(0)), 2);
    assert_eq!(members[0].endpoint.post(Rank(1), word(16, 3)), Ok(()));
}

#[test]
fn of_a_crashed_member_a_beginning_lands_and_the_others_are_told_once() {
    let mut landed = [0; 21];
    for seed in 0..300 {
        let (network, mut members) = members(seed, 3, LinkSpec { queue_max: 64, ..wild() });
        for value in 1..=20 {
            members[0].endpoint.post(Rank(1), word(8 * value, value)).unwrap();
        }
        members[0].endpoint.flush();
        members[1].endpoint.post(Rank(0), word(0, 5)).unwrap();
        members[1].endpoint.flush();
        network.advance_to(4000);
        network.crash(Rank(0), 20_000);
        network.advance_to(1_000_000);
        let count = (1..=20).take_while(|&value| members[1].word(8 * value) == value).count();
        assert!((count as u64 + 1..=20).all(|value| members[1].word(8 * value) == 0), "seed {seed}: a gap");
        landed[count] += 1;
        for member in &mut members[1..] {
            assert_eq!((member.endpoint.poll(), member.endpoint.poll()), (Some(Event::Down(Rank(0))), None));
        }
    }
    assert!(landed.iter().filter(|&&seeds| seeds > 0).count() > 2, "{landed:?}");
}

#[test]
fn nothing_lands_after_a_broken_link_was_reported_and_other_links_stay() {
    for seed in 0..100 {
        let (network, mut members) = members(seed, 3, wild());
        network.cut(Rank(0), Rank(1), 0);
        network.advance_to(1);
        for to in [1, 2] {
            members[0].endpoint.post(Rank(to), word(0, 9)).unwrap();
        }
        members[0].endpoint.flush();
        network.advance_to(1_000_000);
        assert_eq!((members[1].word(0), members[2].word(0)), (0, 9));
        assert_eq!(
            members.iter_mut().map(|member| member.endpoint.poll()).collect::<Vec<_>>(),
            [Some(Event::Down(Rank(1))), Some(Event::Down(Rank(0))), None]
        );
    }
}

#[test]
fn a_held_link_tells_nothing_until_it_lets_everything_through() {
    let (network, mut members) = members(11, 2, LinkSpec::default());
    network.hold(Rank(0), Rank(1), 1_000_000);
    for value in 1..=3 {
        members[0].endpoint.post(Rank(1), word(0, value)).unwrap();
    }
    members[1].endpoint.post(Rank(0), word(0, 9)).unwrap();
    members.iter_mut().for_each(|member| member.endpoint.flush());
    network.cut(Rank(1), Rank(0), 0);
    network.advance_to(999_999);
    assert_eq!((members[1].word(0), members[1].endpoint.poll()), (0, None), "neither bytes nor news come through");
    assert_eq!(members[0].endpoint.poll(), Some(Event::Down(Rank(1))), "the other direction is not held");
    network.advance_to(2_000_000);
    assert_eq!(members[1].endpoint.poll(), Some(Event::Down(Rank(0))));
}

#[test]
fn what_waits_behind_a_hold_lands_in_its_order() {
    let (network, mut members) = members(12, 2, LinkSpec { queue_max: 4, ..wild() });
    network.hold(Rank(0), Rank(1), 1_000_000);
    let posted = (1..=9).take_while(|&value| members[0].endpoint.post(Rank(1), word(8 * value, value)).is_ok()).count();
    assert_eq!(posted, 4, "what is held fills the queue");
    members[0].endpoint.flush();
    let mut landed = 0;
    for step in 0..400 {
        network.advance_to(900_000 + step * 1000);
        let now = (1..=4).take_while(|&value| members[1].word(8 * value) == value).count();
        assert!((1..=4).filter(|&value| members[1].word(8 * value) == value).count() == now && now >= landed);
        assert!(network.now_ns() >= 1_000_000 || now == 0);
        landed = now;
    }
    assert_eq!(landed, 4);
}

#[test]
fn a_member_that_closes_is_heard_to_its_last_word() {
    for seed in 0..100 {
        let (network, mut members) = members(seed, 2, wild());
        let mut leaving = members.remove(0);
        leaving.endpoint.post(Rank(1), word(0, 9)).unwrap();
        drop(leaving);
        while network.now_ns() < 1_000_000 && members[0].endpoint.poll().is_none() {
            network.advance_to(network.now_ns() + 100);
        }
        assert_eq!(members[0].word(0), 9, "seed {seed}");
    }
}

#[test]
fn what_is_posted_before_all_are_there_lands_once_they_are() {
    let (network, fabrics) = SimFabric::mesh(3, 2, wild());
    let regions: Vec<Region> = fabrics.iter().map(|fabric| fabric.region(BYTES, &RegionOptions::default()).unwrap()).collect();
    let open = |index: usize| {
        let mut exchange = SoloExchange::new(Rank::new(index), 2);
        fabrics[index].open(&mut exchange, std::slice::from_ref(&regions[index])).unwrap()
    };
    let mut first = open(0);
    first.post(Rank(1), word(0, 4)).unwrap();
    first.flush();
    assert_eq!(network.next_event_ns(), None);
    let _second = open(1);
    network.advance_to(1_000_000);
    assert_eq!(regions[1].word(0).load(Ordering::Acquire), 4);
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_the_same_times() {
    let run = |seed| {
        let (network, mut members) = members(seed, 3, LinkSpec { spurious_full_per_mille: 100, ..wild() });
        network.set_call_ns_max(300);
        let mut seen = Vec::new();
        for round in 0..200 {
            let (from, to) = (round as usize % 3, Rank((round as u16 + 1) % 3));
            members[from].set(64, round);
            seen.push(u64::from(members[from].endpoint.post(to, span(64, 128, 40)).is_ok()));
            seen.push(u64::from(members[from].endpoint.post(to, word(0, round)).is_ok()));
            members[from].endpoint.flush();
            seen.extend([members[to.index()].word(0), members[to.index()].word(128), network.now_ns()]);
        }
        seen
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn parking_is_time_passing_until_something_lands_or_somebody_wakes() {
    let (network, mut members) = members(2, 2, LinkSpec::default());
    members[0].endpoint.post(Rank(1), word(0, 1)).unwrap();
    members[0].endpoint.flush();
    members[1].endpoint.arm();
    members[1].endpoint.park(Duration::from_secs(1));
    assert_eq!(members[1].word(0), 1);
    let landed_ns = network.now_ns();
    members[1].endpoint.arm();
    members[1].endpoint.waker().wake();
    members[1].endpoint.park(Duration::from_secs(1));
    assert_eq!(network.now_ns(), landed_ns);
    members[1].endpoint.arm();
    members[1].endpoint.park(Duration::from_micros(5));
    assert_eq!(network.now_ns(), landed_ns + 5000);
}

#[test]
fn a_counted_word_waits_for_a_poll_and_for_its_spans_however_they_land() {
    let mut overtaken = 0;
    for seed in 0..200 {
        let (network, mut members) = members(seed, 2, LinkSpec { queue_max: 64, ..wild() });
        network.count_writes();
        (0..32).for_each(|index| members[0].set(3072 + 8 * index, 7));
        for value in 1..=8 {
            members[0].endpoint.post(Rank(1), span(3072, 256 * value, 256)).unwrap();
            members[0].endpoint.post(Rank(1), word(0, value)).unwrap();
        }
        members[0].endpoint.flush();
        let whole = |members: &[Member], value: u64| (0..256).step_by(8).all(|at| members[1].word(256 * value + at) == 7);
        let mut applied = 0;
        while network.next_event_ns().is_some() {
            network.advance_to(network.next_event_ns().unwrap_or_default());
            assert_eq!(members[1].word(0), applied, "seed {seed}: a word was set without a poll");
            overtaken += u64::from((applied + 2..=8).any(|value| whole(&members, value) && !whole(&members, applied + 1)));
            assert_eq!(members[1].endpoint.poll(), None);
            assert!(members[1].word(0) >= applied);
            applied = members[1].word(0);
            assert!((1..=applied).all(|value| whole(&members, value)), "seed {seed}: word {applied} came before its spans");
        }
        assert_eq!(applied, 8, "seed {seed}");
    }
    assert!(overtaken > 1000, "{overtaken}: hardly a span overtook another");
}

#[test]
fn a_slow_link_allows_no_more_while_some_waits_and_wakes_who_waits_for_it() {
    let (network, mut members) = members(5, 2, LinkSpec { allowance_bytes: 100, ..LinkSpec::default() });
    let mut posted = 0;
    while members[0].endpoint.allowance(Rank(1)) > 0 {
        assert_eq!(members[0].endpoint.allowance(Rank(1)), 100);
        posted += 1;
        members[0].endpoint.post(Rank(1), word(0, posted)).unwrap();
    }
    assert!((2..100).contains(&posted), "{posted}");
    members[0].endpoint.flush();
    members[0].endpoint.arm();
    assert_eq!(members[0].endpoint.allowance(Rank(1)), 0);
    members[0].endpoint.park(Duration::from_secs(1));
    assert!(network.now_ns() < 1_000_000, "woken when it has landed");
    assert_eq!(members[0].endpoint.allowance(Rank(1)), 100);
    assert_eq!(members[1].endpoint.allowance(Rank(0)), 100, "the other way is free");
}
