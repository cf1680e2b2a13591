//! What is known of one process of a cluster, and what is due to happen to it.

use std::net::SocketAddr;
use std::time::Duration;

use super::plan::Strike;
use crate::jobs::chaos::Report;

/// One process, in whatever life.
pub(super) struct Process {
    /// Its present life: a position in `lives`.
    pub(super) life: usize,
    pub(super) standing: Standing,
    pub(super) stopped: bool,
    /// In this round it stood still or lost connections.
    pub(super) struck: bool,
    pub(super) behind: bool,
    pub(super) address: Option<SocketAddr>,
    pub(super) report: Option<Report>,
    pub(super) tries: u32,
}

/// How a process stands to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Coming,
    Member,
    Leaving,
}

/// Something that is due later in a round.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Strike(Strike),
    GoOn(u32),
    Kill(u32),
}

/// A newcomer that somebody waits for, to strike while it is given the state.
pub(super) struct Trap {
    pub(super) newcomer: u32,
    pub(super) victim: u32,
    pub(super) after: Duration,
}
