//! What a plan needs to know of this machine.

use serde::{Deserialize, Serialize};

use super::policy::MEMORY_SHARE;
use crate::node::machine::cores;
use crate::results::Environment;

/// What a plan needs to know of this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that nodes may run on.
    pub cores: Vec<usize>,
    /// Bytes that all nodes of a point may take together.
    pub memory_bytes: u64,
    /// Bytes of the last-level cache, 0 if unknown.
    pub last_level_cache_bytes: u64,
}

impl Machine {
    /// This machine, now.
    pub fn of(environment: &Environment) -> Machine {
        let memory = &environment.memory;
        let free = memory.available_bytes.min(memory.control_group_max_bytes.unwrap_or(u64::MAX));
        Machine {
            cores: cores(),
            memory_bytes: (free as f64 * MEMORY_SHARE) as u64,
            last_level_cache_bytes: environment.cpu.last_level_cache_bytes(),
        }
    }
}
