//! The memory that a setting takes.

use squall_report::bounds::Warmth;

use super::omnipaxos;
use super::setting::{Setting, Variant};
use crate::jobs::copy::stride;
use crate::jobs::shape::RING_BYTES;
use crate::jobs::write::region_bytes;

/// Memory of all nodes of a setting together.
pub(super) fn memory_bytes(setting: &Setting) -> u64 {
    let nodes = u64::from(setting.nodes);
    if let (Some(shape), Some(ordering)) = (setting.shape, setting.ordering) {
        let of_node = match ordering.mode() {
            Some(mode) => shape.config(setting.senders, mode, setting.block_bytes, setting.schedule).memory_bytes(setting.nodes as usize),
            None => omnipaxos::memory_bytes(setting.message_bytes, nodes, u64::from(setting.senders) * shape.window),
        };
        return nodes * of_node;
    }
    if let (Some(_), Some(window)) = (setting.fabric, setting.window) {
        return nodes * region_bytes(setting.message_bytes, window);
    }
    match setting.variant {
        Variant::Copy(copy) => nodes * copy_bytes(setting.message_bytes, copy.warmth, setting.nodes),
        _ => 0,
    }
}

/// Bytes that cold copies go around in, a thread and side: both sides together exceed the caches, and each still gets
/// huge pages where they can be had, as the pools of groups do.
const COLD_BYTES: u64 = 64 << 20;

/// The same of cached copies: half a sender's ring each side, so that they are as warm as the group's own small
/// messages.
const CACHED_BYTES: u64 = RING_BYTES / 2;

/// Messages that a thread copies from and to.
pub fn copy_sets(message_bytes: u64, warmth: Warmth) -> (u64, u64) {
    let stride = stride(message_bytes);
    let cold = (COLD_BYTES / stride).max(2);
    let cached = (CACHED_BYTES / stride).max(1);
    match warmth {
        Warmth::Cold => (cold, cold),
        Warmth::WarmSource => (cached, cold),
        Warmth::Cached => (cached, cached),
    }
}

/// Memory of a measurement on so many cores.
pub fn copy_bytes(message_bytes: u64, warmth: Warmth, cores: u32) -> u64 {
    let (source, target) = copy_sets(message_bytes, warmth);
    stride(message_bytes) * (source + target) * u64::from(cores)
}
