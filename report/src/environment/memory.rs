//! Memory, huge pages and the limits on both.

use serde::{Deserialize, Serialize};

use super::control_group::{memory_limit, process_limit};
use super::tree::{Tree, chosen};

/// Memory of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// All of it, bytes.
    pub total_bytes: u64,
    /// What could be used when the run began, bytes.
    pub available_bytes: u64,
    /// Swap, bytes.
    pub swap_bytes: u64,
    /// The least that a control group of this process may use, bytes, if it is less.
    pub control_group_max_bytes: Option<u64>,
    /// What such a group had left when the run began, bytes.
    pub control_group_free_bytes: Option<u64>,
    /// Huge pages.
    pub huge_pages: HugePages,
}

/// Huge pages, reserved and transparent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HugePages {
    /// Size of one, bytes.
    pub page_bytes: u64,
    /// Reserved.
    pub reserved_count: u64,
    /// Reserved and free.
    pub free_count: u64,
    /// Transparent ones for private memory: `always`, `madvise`, `never`.
    pub transparent: String,
    /// Transparent ones for shared memory: `always`, `within_size`, `advise`, `never`.
    pub transparent_shared: String,
    /// Whether the kernel may stop to make one: `always`, `defer`, `madvise`, `never`.
    pub defragment: String,
}

/// One NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NumaNode {
    /// Its number.
    pub node: u32,
    /// Its processors, as the kernel lists them.
    pub cpus: String,
    /// Its memory, bytes.
    pub total_bytes: u64,
    /// Distances to every node.
    pub distances: Vec<u32>,
}

/// Limits of this process; nothing means none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Whether the system told them.
    pub is_known: bool,
    /// Bytes that may be locked (`ulimit -l`): registered memory counts.
    pub locked_bytes: Option<u64>,
    /// The most that `locked_bytes` may be raised to.
    pub locked_bytes_hard: Option<u64>,
    /// Descriptors that may be open (`ulimit -n`).
    pub open_files: Option<u64>,
    /// The most that `open_files` may be raised to.
    pub open_files_hard: Option<u64>,
    /// Processes and threads of this user (`ulimit -u`).
    pub processes: Option<u64>,
    /// Processes and threads that a control group of this process may have.
    pub control_group_processes: Option<u64>,
}

impl Memory {
    pub(super) fn read(tree: &Tree) -> Memory {
        let info = tree.text("proc/meminfo").unwrap_or_default();
        let kilobytes = |name| count_of(&info, name).saturating_mul(1024);
        let transparent =
            |file: &str| tree.text(&format!("sys/kernel/mm/transparent_hugepage/{file}")).map(|text| chosen(&text)).unwrap_or_default();
        let total_bytes = kilobytes("MemTotal");
        let limit = memory_limit(tree, total_bytes);
        Memory {
            total_bytes,
            available_bytes: kilobytes("MemAvailable"),
            swap_bytes: kilobytes("SwapTotal"),
            control_group_max_bytes: limit.map(|limit| limit.max_bytes),
            control_group_free_bytes: limit.map(|limit| limit.free_bytes),
            huge_pages: HugePages {
                page_bytes: kilobytes("Hugepagesize"),
                reserved_count: count_of(&info, "HugePages_Total"),
                free_count: count_of(&info, "HugePages_Free"),
                transparent: transparent("enabled"),
                transparent_shared: transparent("shmem_enabled"),
                defragment: transparent("defrag"),
            },
        }
    }
}

impl NumaNode {
    pub(super) fn read_all(tree: &Tree) -> Vec<NumaNode> {
        const NODES: &str = "sys/devices/system/node";
        tree.names(NODES)
            .into_iter()
            .filter_map(|name| {
                let node = name.strip_prefix("node")?.parse().ok()?;
                let at = |file: &str| tree.text(&format!("{NODES}/{name}/{file}")).unwrap_or_default();
                let info = at("meminfo");
                let total = info.lines().find(|line| line.contains("MemTotal:"));
                Some(NumaNode {
                    node,
                    cpus: at("cpulist"),
                    total_bytes: total
                        .and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok())
                        .unwrap_or(0)
                        .saturating_mul(1024),
                    distances: at("distance").split_whitespace().filter_map(|distance| distance.parse().ok()).collect(),
                })
            })
            .collect()
    }
}

impl Limits {
    pub(super) fn read(tree: &Tree) -> Limits {
        let limits = tree.text("proc/self/limits");
        let is_known = limits.is_some();
        let limits = limits.unwrap_or_default();
        let limit = |name: &str, column: usize| -> Option<u64> {
            let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(column)?.parse().ok()
        };
        Limits {
            is_known,
            locked_bytes: limit("Max locked memory", 0),
            locked_bytes_hard: limit("Max locked memory", 1),
            open_files: limit("Max open files", 0),
            open_files_hard: limit("Max open files", 1),
            processes: limit("Max processes", 0),
            control_group_processes: process_limit(tree),
        }
    }
}

/// The number of a `Name:   123 kB` line; 0 if there is none.
fn count_of(info: &str, name: &str) -> u64 {
    super::cpu::value_of(info, name).and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn memory_and_huge_pages_are_read_in_bytes() {
        let root = fixture(&[
            (
                "proc/meminfo",
                "MemTotal:       1000 kB\nMemAvailable:    600 kB\nSwapTotal: 0 kB\nHugePages_Total:       8\n\
                 HugePages_Free:        5\nHugepagesize:       2048 kB\n",
            ),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size advise [never] deny force\n"),
            ("proc/self/cgroup", "0::/job\n"),
            ("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/job/memory.max", "500000\n"),
            ("sys/fs/cgroup/job/memory.current", "100000\n"),
        ]);
        let memory = Memory::read(&Tree::new(root.path()));
        assert_eq!((memory.total_bytes, memory.available_bytes), (1_024_000, 614_400));
        assert_eq!((memory.control_group_max_bytes, memory.control_group_free_bytes), (Some(500_000), Some(400_000)));
        assert_eq!(memory.huge_pages.page_bytes, 2 << 20);
        assert_eq!((memory.huge_pages.reserved_count, memory.huge_pages.free_count), (8, 5));
        assert_eq!(memory.huge_pages.transparent, "madvise");
        assert_eq!(memory.huge_pages.transparent_shared, "never");
    }

    #[test]
    fn an_unlimited_control_group_is_no_limit() {
        let root = fixture(&[
            ("proc/meminfo", "MemTotal: 1000 kB\n"),
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
        ]);
        assert_eq!(Memory::read(&Tree::new(root.path())).control_group_max_bytes, None);
    }

    #[test]
    fn numa_nodes_are_read_in_order() {
        let root = fixture(&[
            ("sys/devices/system/node/online", "0-1\n"),
            ("sys/devices/system/node/node1/cpulist", "4-7\n"),
            ("sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:       2048 kB\nNode 1 MemFree: 1 kB\n"),
            ("sys/devices/system/node/node1/distance", "21 10\n"),
            ("sys/devices/system/node/node0/cpulist", "0-3\n"),
        ]);
        let nodes = NumaNode::read_all(&Tree::new(root.path()));
        assert_eq!(nodes.len(), 2);
        assert_eq!((nodes[0].node, nodes[0].cpus.as_str()), (0, "0-3"));
        assert_eq!((nodes[1].total_bytes, nodes[1].distances.as_slice()), (2 << 20, [21, 10].as_slice()));
    }

    #[test]
    fn limits_are_numbers_or_none() {
        let root = fixture(&[(
            "proc/self/limits",
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max open files            20000                30000                files     \n\
             Max locked memory         8388608              unlimited            bytes     \n",
        )]);
        assert!(!Limits::read(&Tree::new(&root.path().join("nowhere"))).is_known);
        let limits = Limits::read(&Tree::new(root.path()));
        assert!(limits.is_known);
        assert_eq!(limits.locked_bytes, Some(8 << 20));
        assert_eq!(limits.locked_bytes_hard, None);
        assert_eq!((limits.open_files, limits.open_files_hard), (Some(20_000), Some(30_000)));
        assert_eq!((limits.processes, limits.control_group_processes), (None, None));
    }
}
