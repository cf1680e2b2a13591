//! How large a group's rings and pools are.

use serde::{Deserialize, Serialize};
use squall_group::{Config, Mode};
use squall_transport::{Rank, RegionOptions};

use super::kinds::Schedule;

/// Largest message that goes through the rings (SMC); what is larger is relayed in blocks (RDMC). Relaying needs blocks
/// worth the descriptor's round trip.
pub const SMALL_MAX: u64 = 16 << 10;

/// Ring of a sender of small messages: the rings of a few senders stay in a core's second-level cache.
pub const RING_BYTES: u64 = 1 << 20;

/// The same of many members. Each batch of a sender is acknowledged by every member to every other one, so a batch has
/// to carry more where there are more of them.
pub const RING_BYTES_MANY: u64 = 4 << 20;

/// Ring where only descriptors of large messages travel.
const DESCRIPTOR_RING_BYTES: u64 = 64 << 10;

/// Fewest large messages of a sender under way: one that is relayed, and one that begins.
pub const LARGE_WINDOW_MIN: u64 = 2;

/// How large a group's rings and pools are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Ring of a sender.
    pub ring_bytes: u64,
    /// Messages a sender may have undelivered.
    pub window: u64,
    /// Largest message; 0 if none is relayed.
    pub large_max: u64,
}

/// Bytes of a small message in a ring.
fn record_bytes(message_bytes: u64) -> u64 {
    message_bytes.next_multiple_of(8) + 8
}

impl Shape {
    /// The shape for messages of one size; `window` if it was asked for.
    pub fn of(message_bytes: u64, window: Option<u64>) -> Shape {
        if message_bytes > SMALL_MAX {
            return Shape { ring_bytes: DESCRIPTOR_RING_BYTES, window: window.unwrap_or(LARGE_WINDOW_MIN), large_max: message_bytes };
        }
        let record = record_bytes(message_bytes);
        match window {
            // One record more: those at the ring's end do not wrap and leave a gap.
            Some(window) => {
                Shape { ring_bytes: ((window + 1) * record).next_power_of_two().max(Shape::ring_bytes_min()), window, large_max: 0 }
            }
            None => Shape { ring_bytes: RING_BYTES, window: RING_BYTES / record, large_max: 0 },
        }
    }

    /// The largest window of small messages whose ring is `ring_bytes`, a power of two.
    pub fn window_of_ring(ring_bytes: u64, message_bytes: u64) -> u64 {
        ring_bytes / record_bytes(message_bytes) - 1
    }

    fn ring_bytes_min() -> u64 {
        (2 * record_bytes(SMALL_MAX)).next_power_of_two()
    }

    /// Whether messages are relayed in blocks.
    pub fn is_relayed(&self) -> bool {
        self.large_max > 0
    }

    /// The group's configuration; it chooses blocks and schedule itself where they are not given.
    pub fn config(&self, senders: u32, mode: Mode, block_bytes: Option<u64>, schedule: Option<Schedule>) -> Config {
        Config {
            mode,
            ring_bytes: self.ring_bytes,
            small_max: SMALL_MAX,
            window_messages: self.window,
            large_max: self.large_max,
            transfers_max: self.window as usize,
            block_bytes: block_bytes.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)),
            schedule: schedule.map(Schedule::kind),
            region: RegionOptions::data_path(),
            ..Config::new((0..senders as usize).map(Rank::new).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_window_of_a_ring_makes_that_ring() {
        for message_bytes in [1, 8, 100, 10 << 10, SMALL_MAX] {
            let window = Shape::window_of_ring(RING_BYTES_MANY, message_bytes);
            assert_eq!(Shape::of(message_bytes, Some(window)).ring_bytes, RING_BYTES_MANY);
            assert_ne!(Shape::of(message_bytes, Some(window + 1)).ring_bytes, RING_BYTES_MANY);
        }
    }

    proptest! {
        #[test]
        fn every_shape_makes_a_configuration_that_can_work(
            message_bytes in 1u64..200_000_000,
            window in prop::option::of(1u64..5000),
            nodes in 2u32..64,
            all: bool,
        ) {
            let shape = Shape::of(message_bytes, window);
            let config = shape.config(if all { nodes } else { 1 }, Mode::Ordered, None, None);
            prop_assert!(config.check(nodes as usize).is_ok(), "{:?}", config.check(nodes as usize));
            prop_assert_eq!(shape.is_relayed(), message_bytes > SMALL_MAX);
            if let Some(window) = window {
                prop_assert_eq!(shape.window, window);
                prop_assert!(shape.is_relayed() || shape.ring_bytes >= window * record_bytes(message_bytes));
            }
        }
    }
}
