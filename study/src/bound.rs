//! What no run can beat.

use crate::profile::Profile;

/// Payload bytes a second that the senders can send in all, given what the cards carry. Relayed messages: a member that
/// only receives takes all of them in; if all send, each takes in all but its own. Direct ones: a sender sends each
/// message n - 1 times.
pub fn bytes_per_s(profile: &Profile, nodes: usize, senders: usize, relayed: bool) -> f64 {
    let line = profile.payload_bytes_per_s();
    if nodes < 2 {
        return line;
    }
    let (others, senders) = ((nodes - 1) as f64, senders as f64);
    let taken_in = if senders == nodes as f64 { nodes as f64 / others } else { 1.0 };
    line * if relayed { taken_in } else { taken_in.min(senders / others) }
}
