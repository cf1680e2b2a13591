//! What a plan needs to know of this machine.

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::host::{Facts, boot, shaped_rate};
use super::policy::{self, MEMORY_SHARE};
use super::verbs::Verbs;
use crate::jobs::os::cores;
use crate::jobs::rdma::Rdma;
use squall_report::{Environment, units};

/// What a plan needs to know of this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that nodes may run on.
    pub cores: Vec<usize>,
    /// Cores' worth of time that a quota leaves them, if there is one.
    #[serde(default)]
    pub quota_cores: Option<f64>,
    /// Bytes that all nodes of a point may take together.
    pub memory_bytes: u64,
    /// Bytes of the last-level cache, 0 if unknown.
    pub last_level_cache_bytes: u64,
    /// RDMA.
    #[serde(default)]
    pub verbs: Verbs,
    /// The other hosts, if the run spans any.
    #[serde(default)]
    pub hosts: Option<Spread>,
}

/// What all hosts of a run have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many hosts there are.
    pub count: u32,
    /// Cores that each of them has.
    pub cores: Vec<usize>,
    /// Cores of the one with the fewest.
    pub cores_min: usize,
    /// Bytes that a node may take on the one with the least.
    pub memory_bytes: u64,
    /// Whether some of them are one machine under several addresses, which is only good for trying things out.
    pub same_machine: bool,
    /// What the links between them are shaped to, if they are.
    #[serde(default)]
    pub shaped: Option<String>,
}

impl Machine {
    /// This machine, now; `rdma` says which of its devices.
    pub fn of(environment: &Environment, rdma: &Rdma) -> Machine {
        let memory = &environment.memory;
        let free = memory.available_bytes.min(memory.control_group_free_bytes.unwrap_or(u64::MAX));
        Machine {
            cores: cores(),
            quota_cores: environment.cpu.quota_cores,
            memory_bytes: (free as f64 * MEMORY_SHARE) as u64,
            last_level_cache_bytes: environment.cpu.last_level_cache_bytes(),
            verbs: Verbs::of(rdma),
            hosts: None,
        }
    }

    /// This machine as the first of a run's hosts; `others` from rank 1 on.
    pub fn spread_over(mut self, others: &[Facts]) -> Machine {
        let mut cores = self.cores.clone();
        cores.retain(|core| others.iter().all(|other| other.cores.contains(core)));
        let least = |of: fn(&Facts) -> u64, own: u64| others.iter().map(of).fold(own, u64::min);
        let cores_min = least(|other| other.cores.len() as u64, self.cores.len() as u64) as usize;
        let memory_bytes = least(|other| other.memory_bytes, self.memory_bytes);
        for (index, other) in others.iter().enumerate() {
            if let (None, Some(why)) = (&self.verbs.unavailable, &other.verbs.unavailable) {
                self.verbs.unavailable = Some(format!("host {}: {why}", index + 1));
            }
            if self.verbs.emulated.is_empty() {
                self.verbs.emulated.clone_from(&other.verbs.emulated);
            }
        }
        let mut boots: Vec<String> = others.iter().map(|other| other.boot.clone()).chain([boot()]).collect();
        boots.retain(|boot| !boot.is_empty());
        boots.sort();
        let same_machine = boots.windows(2).any(|pair| pair[0] == pair[1]);
        let shaped = shaped_rate();
        self.hosts = Some(Spread { count: others.len() as u32 + 1, cores, cores_min, memory_bytes, same_machine, shaped });
        self
    }

    /// Uses as much memory as the run `before` did, so that windows are the same.
    ///
    /// # Errors
    /// If that run spanned other hosts.
    pub fn take_memory_of(&mut self, before: &Machine) -> anyhow::Result<()> {
        let count = |machine: &Machine| machine.hosts.as_ref().map_or(1, |hosts| hosts.count);
        if count(self) != count(before) {
            bail!("it was made on {} hosts, and there are {} now; resume it by the same command", count(before), count(self));
        }
        self.memory_bytes = before.memory_bytes;
        if let (Some(hosts), Some(before)) = (&mut self.hosts, &before.hosts) {
            hosts.memory_bytes = before.memory_bytes;
        }
        Ok(())
    }

    /// The hosts, if each is a machine of its own.
    fn machines(&self) -> Option<&Spread> {
        self.hosts.as_ref().filter(|hosts| !hosts.same_machine)
    }

    /// Bytes that the nodes of a point may take together.
    pub fn memory_for(&self, nodes: u32) -> u64 {
        match self.machines() {
            Some(hosts) if nodes > 1 => hosts.memory_bytes.saturating_mul(nodes.into()),
            _ => self.memory_bytes,
        }
    }

    /// Cores that a node may be pinned to.
    pub fn pin_cores(&self) -> &[usize] {
        self.hosts.as_ref().map_or(&self.cores, |hosts| &hosts.cores)
    }

    /// Whether so many nodes have to share cores, or a quota that leaves less than a core each.
    pub fn is_crowded(&self, nodes: u32) -> bool {
        self.machines().is_none() && f64::from(nodes) > self.cores_worth()
    }

    /// Cores, or what a quota leaves of them.
    fn cores_worth(&self) -> f64 {
        self.quota_cores.unwrap_or(f64::INFINITY).min(self.cores.len() as f64)
    }

    /// What nodes on one host share, for people.
    pub fn share(&self) -> String {
        let cores = units::counted(self.cores.len(), "core");
        match self.quota_cores.filter(|&quota| quota < self.cores.len() as f64) {
            Some(quota) => format!("{cores}, of which a quota leaves {quota}"),
            None => cores,
        }
    }

    /// Whether each of so many nodes has a core for itself. A host's only core is also the kernel's, which carries the
    /// packets.
    pub fn own_core(&self, nodes: u32) -> bool {
        self.machines().map_or(f64::from(nodes) <= self.cores_worth(), |hosts| hosts.cores_min > 1)
    }

    /// The core of each of so many nodes, as `asked`. On hosts of their own nodes are not pinned unless it is asked
    /// for: which core is best depends on where the network card is.
    pub fn cores_for(&self, nodes: u32, asked: &[usize]) -> Vec<Option<usize>> {
        match &self.hosts {
            Some(_) if asked.is_empty() && nodes > 1 => vec![None; nodes as usize],
            _ => policy::cores(nodes, &self.cores, asked),
        }
    }
}
