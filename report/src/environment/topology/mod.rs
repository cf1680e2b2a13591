//! Where cores, caches, memory and network cards are, in one struct whoever tells it.
//!
//! ```text
//!   /sys                      ----> sysfs --\
//!   libhwloc (feature hwloc)  ----> hwloc ---+--> Topology --> picture, which cores nodes are pinned to
//! ```

#[cfg(feature = "hwloc")]
mod hwloc;
mod picture;
mod sysfs;

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tree::Tree;

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

impl Topology {
    /// This machine's: by hwloc where the program was built with it and the library can be asked, else by `/sys`.
    pub fn of_this_machine() -> Topology {
        #[cfg(feature = "hwloc")]
        if let Some(found) = hwloc::read() {
            return found;
        }
        Topology::from_root(Path::new("/"))
    }

    /// By `/sys` under another root than `/`.
    pub fn from_root(root: &Path) -> Topology {
        sysfs::read(&Tree::new(root))
    }

    /// `allowed` in the order in which nodes are given them: first a processor of each core, then what is left, so that
    /// two nodes share a core only when there are more nodes than cores. Processors that it does not know stay where
    /// they are.
    pub fn spread(&self, allowed: &[usize]) -> Vec<usize> {
        let is_first = |cpu: &usize| {
            let core = self.cores.iter().find(|core| core.cpus.contains(cpu));
            let first = core.and_then(|core| core.cpus.iter().find(|sibling| allowed.contains(sibling)));
            first.is_none_or(|first| first == cpu)
        };
        let (firsts, others): (Vec<usize>, Vec<usize>) = allowed.iter().partition(|cpu| is_first(cpu));
        [firsts, others].concat()
    }

    /// `allowed` with the processors that are near to the card called `name` first, as [`spread`](Topology::spread)
    /// orders each part; none if it knows no such card.
    pub fn near(&self, name: &str, allowed: &[usize]) -> Option<Vec<usize>> {
        let card = self.cards.iter().find(|card| card.name == name)?;
        let (near, far): (Vec<usize>, Vec<usize>) = allowed.iter().partition(|cpu| card.near.contains(cpu));
        Some([self.spread(&near), self.spread(&far)].concat())
    }

    /// The node that `cpu` belongs to.
    pub fn node_of(&self, cpu: usize) -> Option<u32> {
        self.nodes.iter().find(|node| node.cpus.contains(&cpu)).map(|node| node.node)
    }

    /// Packages, by number.
    pub fn packages(&self) -> Vec<u32> {
        let mut packages: Vec<u32> = self.cores.iter().map(|core| core.package).collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    }

    /// The machine as a small picture, a line each.
    pub fn picture(&self) -> Vec<String> {
        picture::lines(self)
    }
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

    fn two_threads_a_core() -> Topology {
        let core = |package, cpus: &[usize]| Core { package, cpus: cpus.to_vec() };
        let card = |name: &str, near: &[usize]| Card { name: name.into(), near: near.to_vec(), ..Card::default() };
        Topology {
            cores: vec![core(0, &[0, 1]), core(0, &[2, 3]), core(1, &[4, 5]), core(1, &[6, 7])],
            cards: vec![card("mlx5_0", &[4, 5, 6, 7])],
            ..Topology::default()
        }
    }

    #[test]
    fn nodes_share_a_core_only_when_there_are_more_nodes_than_cores() {
        let topology = two_threads_a_core();
        assert_eq!(topology.spread(&[0, 1, 2, 3, 4, 5, 6, 7]), [0, 2, 4, 6, 1, 3, 5, 7]);
        // Where the first thread of a core is not allowed the second stands for it.
        assert_eq!(topology.spread(&[1, 2, 3, 9]), [1, 2, 9, 3]);
        assert_eq!(Topology::default().spread(&[3, 1]), [3, 1]);
    }

    #[test]
    fn cores_near_to_a_card_come_first() {
        let topology = two_threads_a_core();
        assert_eq!(topology.near("mlx5_0", &[0, 1, 2, 4, 5, 6]), Some(vec![4, 6, 5, 0, 2, 1]));
        assert_eq!(topology.near("eth0", &[0]), None);
    }

    #[test]
    fn lists_are_written_as_the_kernel_does() {
        assert_eq!(list(&[8, 0, 1, 2, 3]), "0-3,8");
        assert_eq!((list(&[]), list(&[5, 6])), (String::new(), "5-6".into()));
    }
}
