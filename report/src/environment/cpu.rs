//! Processors and caches.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::control_group::cpu_quota;
use super::tree::{Tree, list_count};

/// The processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// Model name.
    pub model: String,
    /// Hardware threads that are on line.
    pub online_count: u32,
    /// Hardware threads that this process may run on.
    pub allowed_count: u32,
    /// Processors' worth of time that a control group leaves this process, if one has a quota: 1.5 is one and a half.
    pub quota_cores: Option<f64>,
    /// Cores, counted once however many threads they have.
    pub core_count: u32,
    /// Sockets.
    pub socket_count: u32,
    /// Whether cores run two threads.
    pub hyperthreading: bool,
    /// Caches that the first processor uses, nearest first.
    pub caches: Vec<Cache>,
    /// Whether cores may run several threads, as the kernel is set: `on`, `off`, `forceoff`, `notsupported`.
    pub smt: String,
    /// Processors that the kernel places nothing on by itself (`isolcpus`).
    pub isolated: String,
    /// What the kernel reads the time from: `tsc` costs nothing.
    pub clock_source: String,
    /// What it could read it from.
    pub clock_sources: Vec<String>,
    /// Frequency governor: one name, or all in use; empty where the machine (usually a virtual one) has none.
    pub governor: String,
    /// Whether the clock may rise above its nominal rate; empty if not told.
    pub turbo: String,
    /// `virtual machine` where the processor says that a hypervisor is there.
    pub hypervisor: String,
    /// Instruction sets that copies may use.
    pub features: Vec<String>,
}

/// One cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// 1, 2, 3.
    pub level: u64,
    /// `Data`, `Instruction`, `Unified`.
    pub kind: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Hardware threads that share it.
    pub shared_by: u32,
    /// Line size in bytes.
    pub line_bytes: u64,
}

const CPUS: &str = "sys/devices/system/cpu";
const CLOCKS: &str = "sys/devices/system/clocksource/clocksource0";

impl Cpu {
    pub(super) fn read(tree: &Tree) -> Cpu {
        let info = tree.text("proc/cpuinfo").unwrap_or_default();
        let flags = value_of(&info, "flags").or(value_of(&info, "Features")).unwrap_or_default();
        let topology = Topology::read(tree);
        let online = tree.text(&format!("{CPUS}/online")).map_or(0, |list| list_count(&list));
        let listed = info.lines().filter(|line| line.starts_with("processor")).count() as u32;
        Cpu {
            model: value_of(&info, "model name").unwrap_or_default().to_owned(),
            online_count: if online > 0 { online } else { listed },
            allowed_count: tree
                .text("proc/self/status")
                .and_then(|status| Some(list_count(value_of(&status, "Cpus_allowed_list")?)))
                .unwrap_or(0),
            quota_cores: cpu_quota(tree),
            core_count: topology.cores.len() as u32,
            socket_count: topology.sockets.len() as u32,
            hyperthreading: topology.threads as usize > topology.cores.len(),
            caches: Cache::read_all(tree),
            smt: tree.text(&format!("{CPUS}/smt/control")).unwrap_or_default(),
            isolated: tree.text(&format!("{CPUS}/isolated")).unwrap_or_default(),
            clock_source: tree.text(&format!("{CLOCKS}/current_clocksource")).unwrap_or_default(),
            clock_sources: words(&tree.text(&format!("{CLOCKS}/available_clocksource")).unwrap_or_default()),
            governor: governor(tree),
            turbo: turbo(tree),
            hypervisor: if has_word(flags, "hypervisor") { "virtual machine".into() } else { String::new() },
            features: ["sse2", "avx2", "avx512f", "erms", "fsrm", "movdir64b", "asimd", "sve"]
                .into_iter()
                .filter(|feature| has_word(flags, feature))
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Size of the last cache, bytes; 0 if not told.
    pub fn last_level_cache_bytes(&self) -> u64 {
        self.caches.iter().max_by_key(|cache| cache.level).map_or(0, |cache| cache.bytes)
    }
}

impl Cache {
    fn read_all(tree: &Tree) -> Vec<Cache> {
        let folder = format!("{CPUS}/cpu0/cache");
        let mut caches: Vec<Cache> = tree
            .names(&folder)
            .into_iter()
            .filter(|name| name.starts_with("index"))
            .filter_map(|name| {
                let at = |file: &str| format!("{folder}/{name}/{file}");
                Some(Cache {
                    level: tree.number(&at("level"))?,
                    kind: tree.text(&at("type")).unwrap_or_default(),
                    bytes: bytes(&tree.text(&at("size"))?)?,
                    shared_by: tree.text(&at("shared_cpu_list")).map_or(0, |list| list_count(&list)),
                    line_bytes: tree.number(&at("coherency_line_size")).unwrap_or(0),
                })
            })
            .collect();
        caches.sort_by_key(|cache| cache.level);
        caches
    }
}

#[derive(Default)]
struct Topology {
    threads: u32,
    cores: BTreeSet<(u64, u64)>,
    sockets: BTreeSet<u64>,
}

impl Topology {
    fn read(tree: &Tree) -> Topology {
        let mut topology = Topology::default();
        for name in tree.names(CPUS) {
            let at = |file: &str| format!("{CPUS}/{name}/topology/{file}");
            let Some(core) = tree.number(&at("core_id")) else {
                continue;
            };
            let socket = tree.number(&at("physical_package_id")).unwrap_or(0);
            topology.threads += 1;
            topology.cores.insert((socket, core));
            topology.sockets.insert(socket);
        }
        topology
    }
}

fn governor(tree: &Tree) -> String {
    let governors: BTreeSet<String> =
        tree.names(CPUS).iter().filter_map(|name| tree.text(&format!("{CPUS}/{name}/cpufreq/scaling_governor"))).collect();
    governors.into_iter().collect::<Vec<_>>().join(", ")
}

fn turbo(tree: &Tree) -> String {
    let intel = tree.number(&format!("{CPUS}/intel_pstate/no_turbo")).map(|off| off == 0);
    let others = tree.number(&format!("{CPUS}/cpufreq/boost")).map(|on| on == 1);
    match intel.or(others) {
        Some(true) => "on".into(),
        Some(false) => "off".into(),
        None => String::new(),
    }
}

/// The value of the first `name : value` line.
pub(super) fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn has_word(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|found| found == word)
}

/// `32K`, `512K`, `1M` in bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.strip_suffix(['K', 'M', 'G']) {
        None => (text, 0),
        Some(digits) if text.ends_with('K') => (digits, 10),
        Some(digits) if text.ends_with('M') => (digits, 20),
        Some(digits) => (digits, 30),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn two_threads_on_one_core_are_one_core() {
        let root = fixture(&[
            (
                "proc/cpuinfo",
                "processor\t: 0\nmodel name\t: Example 9000\nflags\t\t: sse2 avx2 hypervisor\n\nprocessor\t: 1\n\
                 model name\t: Example 9000\n",
            ),
            ("proc/self/status", "Name:\tsquall\nCpus_allowed_list:\t0-1\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/devices/system/cpu/cpu0/topology/core_id", "0\n"),
            ("sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n"),
            ("sys/devices/system/cpu/cpu1/topology/core_id", "0\n"),
            ("sys/devices/system/cpu/cpu1/topology/physical_package_id", "0\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
            ("sys/devices/system/cpu/smt/control", "on\n"),
            ("sys/devices/system/cpu/isolated", "\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
            ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm \n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/level", "3\n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/type", "Unified\n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/size", "32768K\n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list", "0-1\n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/coherency_line_size", "64\n"),
            ("sys/devices/system/cpu/cpu0/cache/index0/level", "1\n"),
            ("sys/devices/system/cpu/cpu0/cache/index0/size", "48K\n"),
        ]);
        let cpu = Cpu::read(&Tree::new(root.path()));
        assert_eq!(cpu.model, "Example 9000");
        assert_eq!((cpu.online_count, cpu.allowed_count), (2, 2));
        assert_eq!((cpu.core_count, cpu.socket_count, cpu.hyperthreading), (1, 1, true));
        assert_eq!(cpu.governor, "performance, powersave");
        assert_eq!(cpu.turbo, "off");
        assert_eq!((cpu.smt.as_str(), cpu.isolated.as_str(), cpu.clock_source.as_str()), ("on", "", "hpet"));
        assert_eq!(cpu.clock_sources, ["tsc", "hpet", "acpi_pm"]);
        assert_eq!(cpu.hypervisor, "virtual machine");
        assert_eq!(cpu.features, ["sse2", "avx2"]);
        assert_eq!(cpu.caches[0].bytes, 48 << 10);
        assert_eq!(cpu.last_level_cache_bytes(), 32 << 20);
        assert_eq!(cpu.caches[1].shared_by, 2);
    }

    #[test]
    fn sizes_take_their_suffix() {
        assert_eq!(bytes("1M"), Some(1 << 20));
        assert_eq!(bytes("7"), Some(7));
        assert_eq!(bytes("18446744073709551615K"), None);
        assert_eq!(bytes("K"), None);
    }
}
