//! What a host offers to a run.

use serde::{Deserialize, Serialize};
use squall_report::Environment;

use super::verbs::Verbs;

/// What a host offers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Cores that a node may run on.
    pub cores: Vec<usize>,
    /// The one of them that is nearest to the network card, if that is known.
    #[serde(default)]
    pub near_core: Option<usize>,
    /// Bytes that a node may take.
    pub memory_bytes: u64,
    /// RDMA.
    pub verbs: Verbs,
    /// Tells machines apart: what their kernels drew when they started. It is not kept.
    pub boot: String,
    /// Everything else, for the results.
    pub environment: Environment,
}

/// What this machine's kernel drew when it started; empty if it does not say.
pub fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The environment variable that says what the links of this network are shaped to, as whoever shaped them writes it:
/// `200mbit`.
const SHAPED_VARIABLE: &str = "SQUALL_SHAPED";

/// What the links of this network are shaped to, if they are.
pub(super) fn shaped_rate() -> Option<String> {
    std::env::var(SHAPED_VARIABLE).ok().map(|rate| rate.trim().to_owned()).filter(|rate| !rate.is_empty())
}
