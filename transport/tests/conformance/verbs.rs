//! Provider `verbs`, where there is an RDMA device: `scripts/soft-roce run -- cargo test` makes one. Elsewhere the
//! checks say that they are skipped, unless `SQUALL_REQUIRE_VERBS=1`.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use squall_transport::exchange::LocalExchange;
use squall_transport::verbs::{Counters, Detection, Failure, LinkKind, VerbsFabric, VerbsOptions, availability};
use squall_transport::{Endpoint, Event, Fabric, OpenError, POOL, Place, Rank, RegionOptions, TABLE, Write};

use crate::suite::{self, Cluster};

conformance!(VerbsFabric::default(), if there());

/// Whether there is a device.
fn there() -> bool {
    match VerbsFabric::default().chosen() {
        Ok(_) => true,
        Err(error) if std::env::var_os("SQUALL_REQUIRE_VERBS").is_some_and(|value| value == "1") => panic!("{error}"),
        Err(error) => {
            println!("skipped: {error}");
            false
        }
    }
}

/// The same suite where writes are counted; iWARP has no immediates to count them by.
mod counted {
    use squall_transport::verbs::{VerbsFabric, VerbsOptions};

    conformance!(VerbsFabric::new(VerbsOptions { counted: true, ..VerbsOptions::default() }), if super::there() && !super::is_iwarp());

    #[test]
    fn the_last_words_of_a_dropped_endpoint_arrive() {
        if super::there() && !super::is_iwarp() {
            super::last_words_arrive(&VerbsFabric::new(VerbsOptions { counted: true, ..VerbsOptions::default() }));
        }
    }
}

fn is_iwarp() -> bool {
    let devices = availability().expect("there are devices");
    devices.iter().flat_map(|device| &device.ports).all(|port| port.link == LinkKind::Iwarp)
}

fn with(options: VerbsOptions) -> VerbsFabric {
    VerbsFabric::new(options)
}

/// Opens `members` members, of which the first has options of its own; the first error.
fn refused(first: VerbsOptions, others: &VerbsOptions) -> String {
    let fabrics = [with(first), with(others.clone())];
    let open = |index: usize, mut exchange: LocalExchange| -> Result<(), OpenError> {
        let region = fabrics[index].region(4096, &RegionOptions::default())?;
        fabrics[index].open(&mut exchange, &[region]).map(|_| ())
    };
    let open = &open;
    let results: Vec<_> = std::thread::scope(|scope| {
        let members = LocalExchange::mesh(2).into_iter().enumerate();
        let threads: Vec<_> = members.map(|(index, exchange)| scope.spawn(move || open(index, exchange))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    results.into_iter().next().expect("two members").expect_err("refused").to_string()
}

/// Queues that hold next to nothing only make members take turns.
#[test]
fn the_shortest_queues_carry_every_stream() {
    if there() {
        let fabric = with(VerbsOptions { queue_writes: 8, inline_bytes: 8, mtu_bytes: Some(1024), ..VerbsOptions::default() });
        suite::streams_of_all_members_at_once(&mut Cluster::open(&fabric, 4));
        suite::whole_group_parks_and_finishes(Cluster::open(&fabric, 4));
        suite::no_wake_up_is_lost(Cluster::open(&fabric, 2));
    }
}

/// As on a device that takes nothing inside its requests. (On iWARP words go inside all the same.)
#[test]
fn words_travel_by_value_though_their_requests_go_by_reference() {
    if there() {
        for queue_writes in [8, 256] {
            let fabric = with(VerbsOptions { queue_writes, inline_bytes: 0, ..VerbsOptions::default() });
            suite::streams_of_all_members_at_once(&mut Cluster::open(&fabric, 4));
            suite::whole_group_parks_and_finishes(Cluster::open(&fabric, 4));
            suite::no_wake_up_is_lost(Cluster::open(&fabric, 2));
        }
    }
}

/// Stronger than T5 asks: a destroyed queue pair lets nothing in, whether or not the peers know.
#[test]
fn nothing_lands_at_a_dropped_endpoint_from_that_moment_on() {
    if !there() {
        return;
    }
    let mut cluster = Cluster::open(&VerbsFabric::default(), 2);
    for value in 1..100 {
        cluster.post(0, 1, Write::Word { at: Place::new(TABLE, 0), value });
        cluster.endpoint(0).flush();
    }
    cluster.members[1].endpoint = None;
    let before = cluster.members[1].table.word(0).load(Relaxed);
    for value in 1000..2000 {
        let _ = cluster.endpoint(0).post(Rank::new(1), Write::Word { at: Place::new(TABLE, 0), value });
        cluster.progress();
    }
    assert_eq!(cluster.members[1].table.word(0).load(Relaxed), before);
}

/// As above, for megabytes that are under way at that moment.
#[test]
fn spans_under_way_stop_landing_when_an_endpoint_is_dropped() {
    if !there() {
        return;
    }
    const BYTES: u64 = 1 << 20;
    for _ in 0..5 {
        let mut cluster = Cluster::open(&VerbsFabric::default(), 2);
        cluster.members[0].pool.word(BYTES - 8).store(u64::MAX, Relaxed);
        let span = |at| Write::Span { from: Place::new(POOL, 0), to: Place::new(POOL, at), len: BYTES };
        let taken = (0..64).filter(|&index| cluster.endpoint(0).post(Rank::new(1), span(index % 16 * BYTES)).is_ok()).count();
        assert!(taken > 16);
        cluster.endpoint(0).flush();
        cluster.members[1].endpoint = None;
        let pool = cluster.members[1].pool.clone();
        let ends = || (1..=16).map(|index| pool.word(index * BYTES - 8));
        ends().for_each(|end| end.store(7, Relaxed));
        cluster.until("its end", |cluster| !cluster.members[0].events.is_empty());
        assert!(ends().all(|end| end.load(Relaxed) == 7), "bytes landed after the endpoint was dropped");
    }
}

/// However much is posted to it, and whether by value or by reference.
#[test]
fn a_flush_rings_one_doorbell_a_peer() {
    if !there() {
        return;
    }
    let mut cluster = Cluster::open(&VerbsFabric::default(), 3);
    assert_eq!(cluster.endpoint(0).counters(), Counters::default());
    for peer in [1, 2] {
        for value in 0..10 {
            let words = Write::Word { at: Place::new(TABLE, 8 * value), value };
            let span = Write::Span { from: Place::new(POOL, 0), to: Place::new(POOL, 0), len: 1000 };
            assert!([words, span].into_iter().all(|write| cluster.endpoint(0).post(Rank::new(peer), write).is_ok()));
        }
    }
    cluster.endpoint(0).flush();
    cluster.endpoint(0).flush();
    let counted = cluster.endpoint(0).counters();
    assert_eq!((counted.writes, counted.control, counted.doorbells), (40, 0, 2));
    // Counts of a peer that is gone are kept.
    cluster.members[1].endpoint = None;
    cluster.until("its end", |cluster| !cluster.members[0].events.is_empty());
    assert_eq!(cluster.endpoint(0).counters().writes, 40);
}

/// What the device says of the order of its writes can be asked of each link that stands, and of no other.
#[test]
fn a_device_is_asked_what_it_promises_of_order() {
    if !there() {
        return;
    }
    let mut cluster = Cluster::open(&VerbsFabric::default(), 2);
    let [there, mine] = [1, 0].map(|rank| cluster.endpoint(0).promises_order(Rank::new(rank)));
    println!("the device promises order: {there:?}");
    assert_eq!((mine, cluster.endpoint(1).promises_order(Rank::new(0))), (None, there));
}

/// A message is a Span and the word behind it, as small messages are sent; all that came together leaves together.
#[test]
fn a_stream_of_small_batches_is_signalled_now_and_then() {
    if !there() {
        return;
    }
    const BATCHES: u64 = 5000;
    let mut cluster = Cluster::open(&VerbsFabric::default(), 2);
    let table = cluster.members[1].table.clone();
    for batch in 1..=BATCHES {
        let span = Write::Span { from: Place::new(POOL, 0), to: Place::new(POOL, 0), len: 200 };
        cluster.post(0, 1, span);
        cluster.post(0, 1, Write::Word { at: Place::new(TABLE, 0), value: batch });
        cluster.progress();
    }
    cluster.until("the last", |_| table.word(0).load(Acquire) == BATCHES);
    let counted = cluster.endpoint(0).counters();
    println!("{BATCHES} batches of a span and a word: {counted:?}");
    assert_eq!(counted.writes, 2 * BATCHES);
    assert!(counted.doorbells <= BATCHES + counted.control);
    assert!(counted.signalled <= counted.writes / 16 + counted.control, "{counted:?}");
    cluster.assert_all_up();
}

/// What was flushed before an orderly end arrives, and the end says what it was.
#[test]
fn the_last_words_of_a_dropped_endpoint_arrive() {
    if there() {
        last_words_arrive(&VerbsFabric::default());
    }
}

fn last_words_arrive(fabric: &VerbsFabric) {
    for round in 1..20 {
        let mut cluster = Cluster::open(fabric, 2);
        for (from, to) in [(1, 0), (0, 1)] {
            cluster.post(from, to, Write::Word { at: Place::new(TABLE, 8), value: round });
            cluster.endpoint(from).flush();
        }
        cluster.members[1].endpoint = None;
        cluster.until("its end", |cluster| !cluster.members[0].events.is_empty());
        assert_eq!(cluster.members[0].events, [Event::Down(Rank::new(1))]);
        assert_eq!(cluster.members[0].table.word(8).load(Relaxed), round);
        assert_eq!(cluster.endpoint(0).failure(Rank::new(1)), Some(Failure::Farewell));
    }
}

/// A pool that outlives its epoch is registered once.
#[test]
fn epochs_follow_each_other_with_the_same_memory() {
    if !there() {
        return;
    }
    let fabric = VerbsFabric::default();
    let region = || fabric.region(1 << 20, &RegionOptions::default()).expect("memory");
    let regions = [region(), region()];
    for epoch in 1..10u64 {
        let open = |(mut exchange, region): (LocalExchange, _)| fabric.open(&mut exchange, &[region]).expect("opens");
        let open = &open;
        let mut endpoints: Vec<_> = std::thread::scope(|scope| {
            let members = LocalExchange::mesh(2).into_iter().zip(regions.clone());
            let threads: Vec<_> = members.map(|member| scope.spawn(move || open(member))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        endpoints[0].post(Rank::new(1), Write::Word { at: Place::new(TABLE, 64), value: epoch }).expect("room");
        endpoints[0].flush();
        drop(endpoints.remove(0));
        assert_eq!(regions[1].word(64).load(Relaxed), epoch);
    }
}

/// Sixteen members in one process, whose probes all run, stay up while nobody does anything else.
#[test]
fn probes_of_a_quiet_group_find_everybody_alive() {
    if !there() {
        return;
    }
    let patient = Detection { probe_every: std::time::Duration::from_millis(1), ..Detection::PATIENT };
    let mut cluster = Cluster::open(&with(VerbsOptions { detection: patient, ..VerbsOptions::default() }), 6);
    for _ in 0..50 {
        for member in &mut cluster.members {
            let endpoint = member.endpoint.as_mut().expect("alive");
            endpoint.arm();
            endpoint.park(std::time::Duration::from_millis(1));
        }
        cluster.progress();
    }
    cluster.assert_all_up();
}

#[test]
fn wrong_choices_are_refused_with_their_reason() {
    if !there() {
        return;
    }
    let free = VerbsOptions::default();
    let with_gid = refused(VerbsOptions { gid_index: Some(200), ..free.clone() }, &free);
    assert!(with_gid.contains("GID index 200 is empty"), "{with_gid}");
    let with_mtu = refused(VerbsOptions { mtu_bytes: Some(3000), ..free.clone() }, &free);
    assert!(with_mtu.contains("powers of two from 256"), "{with_mtu}");
    let with_device = refused(VerbsOptions { device: Some("none0".into()), ..free.clone() }, &free);
    assert!(with_device.contains("there is no device none0"), "{with_device}");
    let for_ever = refused(VerbsOptions { detection: Detection { retry_count: 7, ..Detection::PATIENT }, ..free.clone() }, &free);
    assert!(for_ever.contains("never be noticed"), "{for_ever}");
    // GIDs of iWARP are no addresses.
    if !is_iwarp() {
        let other_family = refused(VerbsOptions { gid_index: Some(0), ..free.clone() }, &VerbsOptions { gid_index: Some(1), ..free });
        assert!(other_family.contains("IPv6") && other_family.contains("IPv4"), "{other_family}");
    }
}

#[test]
fn what_there_is_can_be_told_in_one_line() {
    match availability() {
        Ok(devices) => assert!(devices.iter().all(|device| !device.to_string().contains('\n'))),
        Err(reason) => assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}"),
    }
}
