//! Control groups: what this process may use of the processors and of memory, and how often it was held back.
//!
//! A limit holds for a group and all below it, so every group from this process's own up to the root counts:
//!
//! ```text
//!   /proc/self/mountinfo   where each hierarchy is mounted, and which group of it is the mount's root
//!   /proc/self/cgroup      the group of this process in each hierarchy, from the hierarchy's own root
//!   v2   cpu.max, cpu.stat, memory.max, memory.current, memory.stat
//!   v1   cpu.cfs_quota_us, cpu.cfs_period_us, cpu.stat; memory.limit_in_bytes, memory.usage_in_bytes, memory.stat
//! ```

use std::path::Path;

use super::tree::Tree;

/// The groups of this process in one hierarchy, its own first, as paths under the root of the tree.
struct Hierarchy {
    groups: Vec<String>,
    is_unified: bool,
}

/// How long the groups of this process were held back by a quota of processor time, since they were made.
///
/// Take it before and after what is measured: if it has grown in between, what was measured is a figure of the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Periods in which the quota was used up, of all groups together.
    pub periods: u64,
    /// Nanoseconds that threads waited for the next period.
    pub waited_ns: u64,
}

/// What a group may use of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    /// The lowest limit of any group, bytes.
    pub(super) max_bytes: u64,
    /// What is left below the limit that is nearest, bytes.
    pub(super) free_bytes: u64,
}

impl Throttled {
    /// As of now, on this machine.
    pub fn now() -> Throttled {
        Throttled::read(&Tree::new(Path::new("/")))
    }

    /// The same from another root than `/`.
    pub fn from_root(root: &Path) -> Throttled {
        Throttled::read(&Tree::new(root))
    }

    /// What came on top of `before`.
    pub fn since(&self, before: &Throttled) -> Throttled {
        Throttled { periods: self.periods.saturating_sub(before.periods), waited_ns: self.waited_ns.saturating_sub(before.waited_ns) }
    }

    /// Both together.
    pub fn and(&self, other: &Throttled) -> Throttled {
        Throttled { periods: self.periods + other.periods, waited_ns: self.waited_ns + other.waited_ns }
    }

    /// Whether there was any.
    pub fn is_any(&self) -> bool {
        self.periods > 0
    }

    fn read(tree: &Tree) -> Throttled {
        let Some(hierarchy) = Hierarchy::of(tree, "cpu") else { return Throttled::default() };
        let mut sum = Throttled::default();
        for group in &hierarchy.groups {
            let stat = tree.text(&format!("{group}/cpu.stat")).unwrap_or_default();
            sum.periods = sum.periods.saturating_add(field(&stat, "nr_throttled").unwrap_or(0));
            let waited_ns = match hierarchy.is_unified {
                true => field(&stat, "throttled_usec").map(|us| us.saturating_mul(1000)),
                false => field(&stat, "throttled_time"),
            };
            sum.waited_ns = sum.waited_ns.saturating_add(waited_ns.unwrap_or(0));
        }
        sum
    }
}

/// The least quota of any group, in processors: 1.5 is one and a half; nothing if there is none.
pub(super) fn cpu_quota(tree: &Tree) -> Option<f64> {
    let hierarchy = Hierarchy::of(tree, "cpu")?;
    let quotas = hierarchy.groups.iter().filter_map(|group| {
        let (quota, period) = match hierarchy.is_unified {
            true => {
                let max = tree.text(&format!("{group}/cpu.max"))?;
                let mut words = max.split_whitespace().map(str::parse::<f64>);
                (words.next()?.ok()?, words.next()?.ok()?)
            }
            // Without a quota it is -1, which is no number here.
            false => {
                (tree.number(&format!("{group}/cpu.cfs_quota_us"))? as f64, tree.number(&format!("{group}/cpu.cfs_period_us"))? as f64)
            }
        };
        (quota > 0.0 && period > 0.0).then_some(quota / period)
    });
    quotas.min_by(f64::total_cmp)
}

/// What the groups leave of a machine with `total_bytes` of memory; nothing if none has a limit below that.
pub(super) fn memory_limit(tree: &Tree, total_bytes: u64) -> Option<MemoryLimit> {
    let hierarchy = Hierarchy::of(tree, "memory")?;
    let (max, current, inactive) = match hierarchy.is_unified {
        true => ("memory.max", "memory.current", "inactive_file"),
        false => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    };
    let limits = hierarchy.groups.iter().filter_map(|group| {
        let max_bytes = tree.number(&format!("{group}/{max}")).filter(|&limit| limit < total_bytes)?;
        let used_bytes = tree.number(&format!("{group}/{current}")).unwrap_or(0);
        // Pages of files that nobody has looked at lately are given back before anything fails.
        let stat = tree.text(&format!("{group}/memory.stat")).unwrap_or_default();
        let used_bytes = used_bytes.saturating_sub(field(&stat, inactive).unwrap_or(0));
        Some(MemoryLimit { max_bytes, free_bytes: max_bytes.saturating_sub(used_bytes) })
    });
    limits.reduce(|a, b| MemoryLimit { max_bytes: a.max_bytes.min(b.max_bytes), free_bytes: a.free_bytes.min(b.free_bytes) })
}

/// The least number of processes and threads that any group may have; nothing if none has a limit.
pub(super) fn process_limit(tree: &Tree) -> Option<u64> {
    let hierarchy = Hierarchy::of(tree, "pids")?;
    hierarchy.groups.iter().filter_map(|group| tree.number(&format!("{group}/pids.max"))).min()
}

impl Hierarchy {
    /// The hierarchy that `controller` is in: one of its own (v1), or else the unified one (v2).
    fn of(tree: &Tree, controller: &str) -> Option<Hierarchy> {
        let own = tree.text("proc/self/cgroup")?;
        let mounts = tree.text("proc/self/mountinfo").unwrap_or_default();
        let own = |wanted: &dyn Fn(&str) -> bool| {
            own.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (controllers, path) = (parts.next()?, parts.next()?);
                wanted(controllers).then(|| path.to_owned())
            })
        };
        let is_its = |controllers: &str| controllers.split(',').any(|name| name == controller);
        let (path, is_unified) = match own(&is_its) {
            Some(path) => (path, false),
            None => (own(&str::is_empty)?, true),
        };
        let mount = mounts.lines().filter_map(Mount::of).find(|mount| match is_unified {
            true => mount.kind == "cgroup2",
            false => mount.kind == "cgroup" && is_its(mount.options),
        });
        let mount = mount?;
        Some(Hierarchy { groups: mount.groups(&path), is_unified })
    }
}

/// A line of `mountinfo`: `30 24 0:26 /root /point options ... - kind source options`.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn of(line: &'a str) -> Option<Mount<'a>> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut kind = kind.split(' ');
        Some(Mount { root: place.next()?, point: place.next()?, kind: kind.next()?, options: kind.nth(1)? })
    }

    /// The group at `path` and those above it, as far as they can be seen below the mount.
    fn groups(&self, path: &str) -> Vec<String> {
        let point = self.point.trim_matches('/');
        // In a container without a namespace of groups the path begins with what the mount's root is; a group that is
        // not below the mount (`/../x`) cannot be seen, and the mount's root stands for it.
        let below = path.strip_prefix(self.root.trim_end_matches('/')).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let below = below.unwrap_or("").trim_matches('/');
        let names: Vec<&str> = if below.split('/').any(|name| name == "..") { Vec::new() } else { below.split('/').collect() };
        let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
        (0..=names.len()).rev().map(|depth| [&[point], &names[..depth]].concat().join("/")).collect()
    }
}

/// The number behind `name` in lines of names and numbers.
fn field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;
    use proptest::prelude::*;

    const UNIFIED: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const SEPARATE: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 /docker/7 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
        let root = fixture(files);
        let tree = Tree::new(root.path());
        (root, tree)
    }

    #[test]
    fn the_least_quota_of_the_unified_hierarchy_holds_wherever_it_stands() {
        let (_root, tree) = tree(&[
            ("proc/self/cgroup", "0::/user.slice/job/step\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/user.slice/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/user.slice/pids.max", "max\n"),
            ("sys/fs/cgroup/user.slice/job/pids.max", "512\n"),
            ("sys/fs/cgroup/user.slice/cpu.stat", "usage_usec 9\nnr_periods 50\nnr_throttled 7\nthrottled_usec 1200\n"),
            ("sys/fs/cgroup/user.slice/job/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/user.slice/job/step/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/user.slice/job/step/cpu.stat", "nr_throttled 1\nthrottled_usec 3\n"),
        ]);
        assert_eq!((cpu_quota(&tree), process_limit(&tree)), (Some(1.5), Some(512)));
        assert_eq!(Throttled::read(&tree), Throttled { periods: 8, waited_ns: 1_203_000 });
    }

    #[test]
    fn quotas_and_limits_of_separate_hierarchies_are_read_in_their_own_units() {
        let (_root, tree) = tree(&[
            ("proc/self/cgroup", "4:memory:/docker/7/app\n1:cpu,cpuacct:/docker/7\n0::/\n"),
            ("proc/self/mountinfo", SEPARATE),
            ("sys/fs/cgroup/cpu,cpuacct/docker/7/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/docker/7/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/docker/7/cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 1500\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "700\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 500\ntotal_inactive_file 300\n"),
        ]);
        assert_eq!(cpu_quota(&tree), Some(0.5));
        assert_eq!(Throttled::read(&tree), Throttled { periods: 2, waited_ns: 1500 });
        assert_eq!(memory_limit(&tree, 1 << 30), Some(MemoryLimit { max_bytes: 1000, free_bytes: 600 }));
    }

    #[test]
    fn memory_limits_below_the_root_count_and_the_tightest_wins() {
        let (_root, tree) = tree(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/a/memory.max", "5000\n"),
            ("sys/fs/cgroup/a/memory.current", "4900\n"),
            ("sys/fs/cgroup/a/b/memory.max", "3000\n"),
            ("sys/fs/cgroup/a/b/memory.current", "1000\n"),
        ]);
        assert_eq!(memory_limit(&tree, 1 << 20), Some(MemoryLimit { max_bytes: 3000, free_bytes: 100 }));
        assert_eq!(memory_limit(&tree, 2000), None);
    }

    #[test]
    fn a_group_out_of_sight_is_held_to_the_mounts_root() {
        let (_root, tree) = tree(&[
            ("proc/self/cgroup", "0::/../other\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/cpu.max", "100000 100000\n"),
            ("sys/fs/other/cpu.max", "1 100000\n"),
        ]);
        assert_eq!(cpu_quota(&tree), Some(1.0));
    }

    #[test]
    fn without_groups_nothing_is_limited() {
        let (_root, tree) = tree(&[("proc/self/cgroup", "0::/\n")]);
        assert_eq!((cpu_quota(&tree), memory_limit(&tree, 1 << 30)), (None, None));
        assert!(!Throttled::read(&tree).is_any());
    }

    #[test]
    fn only_what_came_on_top_counts() {
        let at = |periods, waited_ns| Throttled { periods, waited_ns };
        assert_eq!(at(5, 90).since(&at(3, 40)), at(2, 50));
        assert!(!at(5, 90).since(&at(5, 90)).is_any());
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(own in any::<String>(), mounts in any::<String>()) {
            let mounts = format!("{mounts}\n{UNIFIED}");
            let (_root, tree) = tree(&[("proc/self/cgroup", &format!("{own}\n0::/x\n")), ("proc/self/mountinfo", &mounts)]);
            cpu_quota(&tree);
            memory_limit(&tree, 1 << 30);
            Throttled::read(&tree);
        }
    }
}
