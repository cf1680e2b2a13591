//! Where cores, caches, memory and network cards are, in one struct whoever tells it.
//!
//! ```text
//!   /sys                      ----> sysfs --\
//!   libhwloc (feature hwloc)  ----> hwloc ---+--> Topology --> picture, which cores nodes are pinned to
//! ```

#[cfg(feature = "hwloc")]
mod hwloc;
mod parts;
mod picture;
mod sysfs;

use std::path::Path;

pub use parts::{Card, Core, Node, SharedCache, Topology};

use super::tree::Tree;

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

    /// How far the card called `name` is from these processors: 0 if it is near to one of them, else 1; then PCI
    /// bridges before it. What is no card that it knows is as near as can be.
    pub fn distance(&self, name: &str, cpus: &[usize]) -> (u8, u32) {
        let card = self.cards.iter().find(|card| card.name == name);
        card.map_or((0, 0), |card| {
            let is_far = !card.near.is_empty() && !cpus.iter().any(|cpu| card.near.contains(cpu));
            (u8::from(is_far), card.bridges)
        })
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
    fn cards_of_other_nodes_are_farther_than_those_behind_bridges() {
        let card = |name: &str, near: &[usize], bridges| Card { name: name.into(), near: near.to_vec(), bridges, ..Card::default() };
        let cards = vec![card("ib0", &[4, 5], 0), card("ib1", &[0, 1], 2), card("ib2", &[], 1)];
        let topology = Topology { cards, ..Topology::default() };
        let mut names = ["ib0", "ib1", "ib2", "lo"];
        names.sort_by_key(|name| topology.distance(name, &[0]));
        assert_eq!(names, ["lo", "ib2", "ib1", "ib0"]);
    }
}
