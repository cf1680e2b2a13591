//! One sender's stream under random interleavings: every message comes exactly once, in order, intact; full is an
//! answer.

use proptest::prelude::*;
use squall_smc::{DECISION_BYTES_MAX, DECISIONS_KEPT_BYTES, DESCRIPTOR_BYTES_MAX, Kind, Limits, record_bytes};

use crate::world::World;

#[derive(Clone, Debug)]
enum Step {
    /// A message of this share of the largest payload, in 64ths.
    Send(u64),
    Large(u64),
    Decide(u64),
    Cancel(u64),
    Fill(u64),
    /// So many bytes to each at the most.
    Ship(u64),
    Land(usize, usize),
    /// The member, and whether it takes in large messages now.
    Look(usize, bool),
    Take(usize, usize),
    Acknowledge(usize),
    Reclaim,
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0usize..4;
    prop_oneof![
        6 => (0u64..=64).prop_map(Step::Send),
        2 => (0u64..=DESCRIPTOR_BYTES_MAX).prop_map(Step::Large),
        1 => (0u64..=DECISION_BYTES_MAX).prop_map(Step::Decide),
        1 => (0u64..=64).prop_map(Step::Cancel),
        2 => prop_oneof![1u64..4, Just(2000)].prop_map(Step::Fill),
        6 => prop_oneof![2 => Just(u64::MAX), 1 => 0u64..300].prop_map(Step::Ship),
        6 => (member.clone(), 1usize..5).prop_map(|(member, count)| Step::Land(member, count)),
        6 => (member.clone(), any::<bool>()).prop_map(|(member, accept)| Step::Look(member, accept)),
        6 => (member.clone(), 1usize..200).prop_map(|(member, count)| Step::Take(member, count)),
        6 => member.prop_map(Step::Acknowledge),
        4 => Just(Step::Reclaim),
    ]
}

fn play(world: &mut World, limits: &Limits, step: &Step) {
    let members = world.members();
    // A refusal of the window is checked in the world; here it only means that nothing is sent now.
    match *step {
        Step::Send(share) => drop(world.send(limits.payload_max() * share / 64, Kind::Data)),
        Step::Large(bytes) => drop(world.send(bytes.min(limits.payload_max()), Kind::Large)),
        Step::Decide(bytes) => drop(world.decide(bytes.min(limits.payload_max()))),
        Step::Cancel(share) => world.reserve_and_cancel(limits.payload_max() * share / 64),
        // Long runs only now and then: each null is one step of the model.
        Step::Fill(run) => drop(world.fill(if world.sent().len() < 300 { run } else { run.min(3) })),
        Step::Ship(allowance) => world.ship_within(allowance),
        Step::Land(member, count) => drop(world.land(member % members, count)),
        Step::Look(member, accept) => world.look(member % members, |_| accept).unwrap(),
        Step::Take(member, count) => world.take(member % members, count),
        Step::Acknowledge(member) => world.acknowledge(member % members),
        Step::Reclaim => world.reclaim(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_message_comes_once_in_order_and_intact(
        members in 1usize..4, ring_shift in 6u32..13, window_messages in 1u64..50, steps in proptest::collection::vec(step(), 1..400)
    ) {
        let limits = Limits { ring_bytes: 1 << ring_shift, window_messages };
        let mut world = World::new(members, limits);
        for step in &steps {
            play(&mut world, &limits, step);
        }
        world.settle();
        prop_assert!(world.send(limits.payload_max(), Kind::Data).is_ok(), "a settled window is empty");
        world.settle();
    }
}

#[test]
fn the_window_in_messages_is_an_answer_and_opens_again() {
    let mut world = World::new(2, Limits { ring_bytes: 4096, window_messages: 3 });
    for _ in 0..3 {
        world.send(1, Kind::Data).unwrap();
    }
    assert!(world.send(1, Kind::Data).is_err());
    // Nulls do not count against it.
    world.fill(7).unwrap();
    assert!(world.send(1, Kind::Data).is_err());
    world.settle();
    for _ in 0..3 {
        world.send(1, Kind::Data).unwrap();
    }
    world.settle();
}

#[test]
fn a_slow_link_is_given_whole_records_of_about_what_it_is_allowed() {
    let mut world = World::new(2, Limits { ring_bytes: 4096, window_messages: 100 });
    for _ in 0..4 {
        world.send(92, Kind::Data).unwrap();
    }
    let come = |world: &mut World, allowance, count| {
        world.ship_within(allowance);
        world.land(1, 10);
        world.look(1, |_| true).unwrap();
        let before = world.taken(1);
        world.take(1, 10);
        assert_eq!(world.taken(1) - before, count, "of {allowance} bytes");
    };
    come(&mut world, 0, 0);
    come(&mut world, 1, 1);
    come(&mut world, record_bytes(92) + 1, 2);
    come(&mut world, u64::MAX, 1);
    world.settle();
}

#[test]
fn what_was_delivered_before_it_was_shipped_leaves_an_empty_window() {
    let limits = Limits { ring_bytes: 64, window_messages: 32 };
    let mut world = World::new(1, limits);
    world.send(0, Kind::Data).unwrap();
    world.send(17, Kind::Data).unwrap();
    world.look(0, |_| true).unwrap();
    world.take(0, 2);
    world.acknowledge(0);
    world.reclaim();
    world.send(17, Kind::Data).unwrap();
    world.settle();
}

#[test]
fn a_run_of_nulls_that_is_too_long_goes_in_parts_as_they_are_delivered() {
    let mut world = World::new(2, Limits { ring_bytes: 64, window_messages: 100 });
    let mut parts = 1;
    while world.fill_to(3_000_000).is_err() {
        assert!(world.fill_to(3_000_000).is_err(), "no further before it is delivered");
        world.settle();
        parts += 1;
    }
    assert_eq!(parts, 3);
    world.settle();
}

#[test]
fn ring_byte_is_not_reused_before_all_delivered() {
    let mut world = World::new(3, Limits { ring_bytes: 64, window_messages: 100 });
    world.send(24, Kind::Data).unwrap();
    world.send(24, Kind::Data).unwrap();
    world.ship();
    for member in 0..3 {
        world.land(member, 10);
        world.look(member, |_| true).unwrap();
    }
    // All but member 2 have delivered both.
    for member in 0..2 {
        world.take(member, 2);
        world.acknowledge(member);
    }
    world.reclaim();
    assert!(world.send(0, Kind::Data).is_err() && world.fill(1).is_err());
    world.take(2, 1);
    world.reclaim();
    assert!(world.send(0, Kind::Data).is_err(), "delivered, but not yet said");
    world.acknowledge(2);
    world.reclaim();
    world.send(24, Kind::Data).unwrap();
    assert!(world.send(0, Kind::Data).is_err());
    world.settle();
}

#[test]
fn a_ring_that_is_full_of_messages_has_room_for_decisions() {
    for bytes in 0..200 {
        let mut world = World::deciding(2, Limits { ring_bytes: 4096, window_messages: 1000 });
        while world.send(bytes, Kind::Data).is_ok() {}
        for _ in 0..DECISIONS_KEPT_BYTES / (2 * record_bytes(DECISION_BYTES_MAX)) {
            world.decide(DECISION_BYTES_MAX).expect("it is kept");
        }
        world.settle();
        world.send(bytes, Kind::Data).unwrap();
    }
}

#[test]
fn a_peer_whose_queue_is_full_gets_everything_later() {
    let mut world = World::new(2, Limits { ring_bytes: 1 << 16, window_messages: 10_000 });
    // Far more batches than an outbox holds writes, and nothing lands meanwhile.
    for _ in 0..500 {
        world.send(9, Kind::Data).unwrap();
        world.ship();
    }
    world.settle();
}
