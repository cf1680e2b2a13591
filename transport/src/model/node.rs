//! One member's host: its core's time and its card's two ports.

use std::collections::{BTreeMap, VecDeque};

use super::lanes::Lane;
use crate::region::Region;
use crate::write::Write;

/// What a host's card did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Writes posted.
    pub writes: u64,
    /// Doorbells rung, or calls that sent.
    pub doorbells: u64,
    /// Payload bytes that left.
    pub sent_bytes: u64,
    /// Payload bytes that came.
    pub received_bytes: u64,
    /// How long the egress port was busy.
    pub egress_ps: u64,
    /// How long the ingress port was busy.
    pub ingress_ps: u64,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    /// Empty until it has opened.
    pub(super) regions: Vec<Region>,
    /// Its core has worked until here.
    pub(super) clock_ps: u64,
    /// Peers that something was posted for since the last doorbell.
    pub(super) touched: Vec<u32>,
    /// Links that have something to send, in their order.
    pub(super) line: VecDeque<u32>,
    pub(super) egress_scheduled: bool,
    pub(super) egress_free_ps: u64,
    pub(super) ingress_free_ps: u64,
    /// There was a reason to look since the last turn.
    pub(super) news: bool,
    /// Kernels: links with bytes to take in.
    pub(super) ready: Vec<u32>,
    /// Lanes by the place of their counter; the Span that waits for its counter; when the thread for blocks is free.
    pub(super) lanes: BTreeMap<u64, Lane>,
    pub(super) block: Option<(u32, Write)>,
    pub(super) thread_free_ps: u64,
    /// When the thread that moves writes is free.
    pub(super) mover_free_ps: u64,
    pub(super) counted: Counted,
}
