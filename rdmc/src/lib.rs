//! Large-message multicast: one member's message reaches all others in blocks that are relayed on a schedule.
#![forbid(unsafe_code)]

pub mod schedule;
