//! What a machine is made of, as plain data.

use serde::{Deserialize, Serialize};

/// Where cores, caches, memory and network cards are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topology {
    /// Who told it: `sysfs`, or `hwloc` with its version.
    pub source: String,
    /// Cores, by their first processor.
    pub cores: Vec<Core>,
    /// Caches from the second level on, each once.
    pub caches: Vec<SharedCache>,
    /// Memory, by NUMA node.
    pub nodes: Vec<Node>,
    /// Network cards and RDMA devices, by name; those that are no PCI devices are left out.
    pub cards: Vec<Card>,
}

/// A core: one or more processors that share its units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Core {
    /// The package that it is in.
    pub package: u32,
    /// Its processors (hardware threads), as the kernel numbers them.
    pub cpus: Vec<usize>,
}

/// A cache and who shares it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SharedCache {
    /// 2, 3.
    pub level: u32,
    /// Size in bytes.
    pub bytes: u64,
    /// The processors that use it.
    pub cpus: Vec<usize>,
}

/// A NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its number.
    pub node: u32,
    /// Its memory, bytes.
    pub bytes: u64,
    /// Its processors.
    pub cpus: Vec<usize>,
}

/// A network card or RDMA device in a PCI slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Card {
    /// Its name: `eth0`, `mlx5_0`.
    pub name: String,
    /// Whether it is an RDMA device.
    pub is_rdma: bool,
    /// Its place on the bus: `0000:41:00.0`.
    pub slot: String,
    /// PCI bridges between it and the processors.
    pub bridges: u32,
    /// The processors that are nearest to it.
    pub near: Vec<usize>,
}

/// Processors as the kernel writes them: `0-3,8`.
pub(super) fn list(cpus: &[usize]) -> String {
    let mut cpus = cpus.to_vec();
    cpus.sort_unstable();
    let runs = cpus.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run[0].to_string(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_as_the_kernel_does() {
        assert_eq!(list(&[8, 0, 1, 2, 3]), "0-3,8");
        assert_eq!((list(&[]), list(&[5, 6])), (String::new(), "5-6".into()));
    }
}
