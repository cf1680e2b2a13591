//! A machine as a small picture.

use super::{Card, Topology, list};
use crate::units;

/// Packages, below each its cores, the caches that several cores share, its memory, and the cards near to that.
pub(super) fn lines(topology: &Topology) -> Vec<String> {
    let mut lines = Vec::new();
    for package in topology.packages() {
        let cores: Vec<&[usize]> = topology.cores.iter().filter(|core| core.package == package).map(|core| core.cpus.as_slice()).collect();
        let cpus: Vec<usize> = cores.concat();
        let belongs = |others: &[usize]| others.iter().any(|cpu| cpus.contains(cpu));
        lines.push(format!("package {package}"));
        lines.push(format!("  cores   {}", cores_of(&cores)));
        let caches = topology.caches.iter().filter(|cache| belongs(&cache.cpus) && cache.cpus.len() > cores[0].len());
        let caches: Vec<String> =
            caches.map(|cache| format!("L{} {}: {}", cache.level, units::bytes(cache.bytes), list(&cache.cpus))).collect();
        lines.extend((!caches.is_empty()).then(|| format!("  caches  {}", caches.join("; "))));
        for node in topology.nodes.iter().filter(|node| belongs(&node.cpus)) {
            lines.push(format!("  node {}  {}: {}", node.node, units::bytes(node.bytes), list(&node.cpus)));
            let is_here = |card: &&Card| is_near(card, &node.cpus);
            lines.extend(topology.cards.iter().filter(is_here).map(|card| format!("    {}", card_line(card))));
        }
    }
    let is_anywhere = |card: &&Card| !topology.nodes.iter().any(|node| is_near(card, &node.cpus));
    lines.extend(topology.cards.iter().filter(is_anywhere).map(|card| format!("no node: {}", card_line(card))));
    lines
}

/// Whether a card is near to the processors of a node; one that is near to all is at every node.
fn is_near(card: &Card, node: &[usize]) -> bool {
    node.iter().any(|cpu| card.near.contains(cpu))
}

fn card_line(card: &Card) -> String {
    let what = if card.is_rdma { "RDMA" } else { "network" };
    format!("{} ({what}) in {}, behind {}", card.name, card.slot, units::counted(card.bridges as usize, "PCI bridge"))
}

/// `0-3`, or with two threads a core `0-3 (+ 8-11)`.
fn cores_of(cores: &[&[usize]]) -> String {
    let firsts: Vec<usize> = cores.iter().filter_map(|cpus| cpus.first().copied()).collect();
    let others: Vec<usize> = cores.iter().flat_map(|cpus| cpus.iter().skip(1).copied()).collect();
    match others.is_empty() {
        true => list(&firsts),
        false => format!("{} (second threads {})", list(&firsts), list(&others)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Core, Node, SharedCache};
    use super::*;

    #[test]
    fn a_card_is_drawn_below_the_memory_that_it_is_near_to() {
        let card = |name: &str, near: &[usize]| Card {
            name: name.into(),
            is_rdma: name.starts_with("mlx"),
            slot: "0000:41:00.0".into(),
            bridges: 1,
            near: near.to_vec(),
        };
        let topology = Topology {
            source: "sysfs".into(),
            cores: vec![
                Core { package: 0, cpus: vec![0, 4] },
                Core { package: 0, cpus: vec![1, 5] },
                Core { package: 1, cpus: vec![2, 6] },
                Core { package: 1, cpus: vec![3, 7] },
            ],
            caches: vec![
                SharedCache { level: 2, bytes: 1 << 20, cpus: vec![0, 4] },
                SharedCache { level: 3, bytes: 32 << 20, cpus: vec![0, 1, 4, 5] },
            ],
            nodes: vec![
                Node { node: 0, bytes: 64 << 30, cpus: vec![0, 1, 4, 5] },
                Node { node: 1, bytes: 64 << 30, cpus: vec![2, 3, 6, 7] },
            ],
            cards: vec![card("mlx5_0", &[2, 3, 6, 7]), card("eth0", &[])],
        };
        let expected = "\
package 0
  cores   0-1 (second threads 4-5)
  caches  L3 32 MB: 0-1,4-5
  node 0  64 GB: 0-1,4-5
package 1
  cores   2-3 (second threads 6-7)
  node 1  64 GB: 2-3,6-7
    mlx5_0 (RDMA) in 0000:41:00.0, behind 1 PCI bridge
no node: eth0 (network) in 0000:41:00.0, behind 1 PCI bridge";
        assert_eq!(topology.picture().join("\n"), expected);
    }
}
