//! What a run of chaos is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use super::plan::Kind;
use crate::jobs::kinds::{FabricKind, GroupOrdering};
use crate::jobs::rdma::Rdma;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Members of each group.
    pub nodes: usize,
    /// Rounds of all groups together.
    pub rounds: u64,
    /// The first group's seed; the next has the next one.
    pub seed: u64,
    /// What carries the writes.
    pub fabric: FabricKind,
    /// In which order messages are delivered.
    pub ordering: GroupOrdering,
    /// What may happen.
    pub kinds: Vec<Kind>,
    /// Smallest and largest message in bytes.
    pub bytes: (u64, u64),
    /// Messages a second of each member.
    pub rate: u64,
    /// Bytes of the application's state; each group has one of them.
    pub state_bytes: Vec<u64>,
    /// Whether two members have a witness.
    pub has_witness: bool,
    /// How to use RDMA devices.
    pub rdma: Rdma,
    /// Silence that counts as death.
    pub suspect_after: Duration,
    /// How long to wait for rest.
    pub patience: Duration,
    /// Where traces go.
    pub folder: PathBuf,
    /// Keep the traces of groups with which nothing was wrong.
    pub keep: bool,
}
