//! Exhaustive: the smallest ring, every payload length, every place to begin.

use squall_smc::{Kind, Limits, record_bytes};

use crate::world::World;

const RING_BYTES: u64 = 64;

/// Moves the tail to byte `offset` of the ring; a null takes 8 bytes.
fn move_tail(world: &mut World, offset: u64) {
    while world.tail_offset() != offset {
        world.fill(1).unwrap();
        world.settle();
    }
}

#[test]
fn any_three_lengths_from_any_start_arrive_or_are_refused_for_lack_of_room() {
    let limits = Limits { ring_bytes: RING_BYTES, window_messages: 100 };
    let mut world = World::new(2, limits);
    for start in (0..RING_BYTES).step_by(8) {
        for first in 0..=limits.payload_max() {
            for second in 0..=limits.payload_max() {
                move_tail(&mut world, start);
                let (mut tail, mut used) = (start, 0);
                for bytes in [first, second, first] {
                    // A record that does not fit before the ring's end begins at its start, behind padding.
                    let until_end = RING_BYTES - tail % RING_BYTES;
                    let padding = if record_bytes(bytes) > until_end { until_end } else { 0 };
                    let needed = padding + record_bytes(bytes);
                    let fits = used + needed <= RING_BYTES;
                    assert_eq!(world.send(bytes, Kind::Data).is_ok(), fits, "start {start}, lengths {first} {second}, {used} used");
                    if fits {
                        (tail, used) = (tail + needed, used + needed);
                        assert_eq!(world.tail_offset(), tail % RING_BYTES);
                    }
                }
                world.settle();
            }
        }
    }
}

#[test]
fn any_null_run_between_any_two_lengths_arrives() {
    let limits = Limits { ring_bytes: RING_BYTES, window_messages: 100 };
    let mut world = World::new(2, limits);
    for start in (0..RING_BYTES).step_by(8) {
        for bytes in 0..=limits.payload_max() {
            for run in [1, 2, 300] {
                move_tail(&mut world, start);
                world.send(bytes, Kind::Data).unwrap();
                world.fill(run).unwrap();
                // Seen in part: a run is one record, but each of its indices is delivered by itself.
                world.ship();
                world.land(1, 10);
                world.look(1, |_| true).unwrap();
                world.take(1, 2);
                world.acknowledge(1);
                world.reclaim();
                let _ = world.send(bytes, Kind::Large);
                world.settle();
            }
        }
    }
}
