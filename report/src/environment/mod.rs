//! The machine and the program that a run was measured with.
//!
//! Everything is read from `/proc` and `/sys` under a root that tests replace by a folder of theirs. What a machine
//! does not tell is left empty: nothing here fails. No host name, address or user is recorded.

mod build;
mod control_group;
mod cpu;
mod memory;
mod network;
mod topology;
mod tree;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use build::Build;
pub use control_group::Throttled;
pub use cpu::{Cache, Cpu};
pub use memory::{HugePages, Limits, Memory, NumaNode};
pub use network::{InfinibandDevice, InfinibandPort, NetworkInterface};
pub use topology::{Card, Core, Node, SharedCache, Topology};

use crate::units;
use tree::Tree;

/// `environment.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// The program.
    pub squall: Build,
    /// The processors.
    pub cpu: Cpu,
    /// The memory of each NUMA node.
    pub numa: Vec<NumaNode>,
    /// Memory and huge pages.
    pub memory: Memory,
    /// The kernel.
    pub kernel: Kernel,
    /// Limits of this process.
    pub limits: Limits,
    /// Network interfaces, by name.
    pub network: Vec<NetworkInterface>,
    /// RDMA devices, by name; usually none.
    pub infiniband: Vec<InfinibandDevice>,
    /// Where cores, caches, memory and cards are.
    pub topology: Topology,
}

/// The kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kernel {
    /// Release, as `uname -r` prints it.
    pub release: String,
    /// Distribution.
    pub distribution: String,
    /// Boot parameters that move measurements: isolation of cores, idle states, mitigations.
    pub boot_parameters: Vec<String>,
}

impl Environment {
    /// What the machine tells about itself now.
    pub fn collect() -> Environment {
        Environment { topology: Topology::of_this_machine(), ..Environment::collect_from(Path::new("/")) }
    }

    /// The same from another root than `/`.
    pub fn collect_from(root: &Path) -> Environment {
        let tree = Tree::new(root);
        Environment {
            squall: Build::of_this_program(),
            cpu: Cpu::read(&tree),
            numa: NumaNode::read_all(&tree),
            memory: Memory::read(&tree),
            kernel: Kernel::read(&tree),
            limits: Limits::read(&tree),
            network: NetworkInterface::read_all(&tree),
            infiniband: InfinibandDevice::read_all(&tree),
            topology: Topology::from_root(root),
        }
    }

    /// The machine in one line, for a headline.
    pub fn headline(&self) -> String {
        let mut parts = vec![
            format!("{} ({} cores)", known(&self.cpu.model), self.cpu.online_count),
            match self.memory.total_bytes {
                0 => "unknown memory".to_owned(),
                bytes => format!("{} of memory", units::bytes(bytes)),
            },
            format!("Linux {}", known(&self.kernel.release)),
        ];
        if !self.cpu.hypervisor.is_empty() {
            parts.push(self.cpu.hypervisor.clone());
        }
        parts.extend(self.infiniband.iter().map(InfinibandDevice::headline));
        parts.push(self.squall.headline());
        parts.join(", ")
    }
}

impl Kernel {
    fn read(tree: &Tree) -> Kernel {
        const MOVING: [&str; 9] = [
            "isolcpus",
            "nohz_full",
            "rcu_nocbs",
            "mitigations",
            "idle",
            "intel_idle.max_cstate",
            "processor.max_cstate",
            "intel_pstate",
            "transparent_hugepage",
        ];
        let command_line = tree.text("proc/cmdline").unwrap_or_default();
        let name = |parameter: &&str| MOVING.contains(&parameter.split('=').next().unwrap_or(""));
        Kernel {
            release: tree.text("proc/sys/kernel/osrelease").unwrap_or_default(),
            distribution: distribution(&tree.text("etc/os-release").unwrap_or_default()),
            boot_parameters: command_line.split_whitespace().filter(name).map(str::to_owned).collect(),
        }
    }
}

fn distribution(os_release: &str) -> String {
    os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).map(|name| name.trim_matches('"').to_owned()).unwrap_or_default()
}

fn known(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tree::fixture;

    #[test]
    fn an_empty_tree_gives_an_empty_environment() {
        let root = fixture(&[]);
        let found = Environment::collect_from(root.path());
        assert_eq!(found.cpu, Cpu::default());
        assert!(found.infiniband.is_empty());
        assert!(found.headline().contains("unknown"));
    }

    #[test]
    fn memory_is_written_in_the_gigabytes_of_the_command_line() {
        let root = fixture(&[("proc/meminfo", "MemTotal: 25165824 kB\n")]);
        assert!(Environment::collect_from(root.path()).headline().contains("24 GB of memory"));
    }

    #[test]
    fn this_machine_tells_something_and_reads_back() {
        let found = Environment::collect();
        assert!(found.cpu.online_count > 0);
        assert!(found.memory.total_bytes > 0);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Environment>(&text).unwrap(), found);
    }

    #[test]
    fn kernel_keeps_only_parameters_that_move_measurements() {
        let root = fixture(&[
            ("proc/cmdline", "quiet root=/dev/sda isolcpus=2-7 mitigations=off idle=poll\n"),
            ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
            ("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
        ]);
        let kernel = Environment::collect_from(root.path()).kernel;
        assert_eq!(kernel.release, "6.1.0-18-amd64");
        assert_eq!(kernel.distribution, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(kernel.boot_parameters, ["isolcpus=2-7", "mitigations=off", "idle=poll"]);
    }
}
