//! What no run can beat.

use squall_group::Mode;

use crate::profile::Profile;

/// Payload bytes a second that the senders can send in all, given what the cards carry. Large messages are relayed: a
/// member that only receives takes all of them in; if all send, each takes in all but its own. Small ones go as their
/// order has them go, and pass some port most often ([`squall_group::Cost::copies`]).
pub fn bytes_per_s(profile: &Profile, mode: Mode, nodes: usize, senders: usize, is_large: bool) -> f64 {
    let line = profile.payload_bytes_per_s();
    match (nodes, is_large) {
        (0 | 1, _) => line,
        (_, true) if senders == nodes => line * nodes as f64 / (nodes - 1) as f64,
        (_, true) => line,
        (_, false) => line / mode.cost(nodes, senders).copies,
    }
}
