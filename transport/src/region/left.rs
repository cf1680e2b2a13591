//! What is left of memory: of the machine's, and of what control groups let this process have of it.
//!
//! ```text
//!   /proc/meminfo        MemAvailable, SwapFree
//!   /proc/self/cgroup    the group of this process; a limit holds for a group and all below it
//!   v2   memory.max, memory.current, memory.stat; memory.swap.max, memory.swap.current
//!   v1   memory.limit_in_bytes, memory.usage_in_bytes, memory.stat
//! ```

use std::fs;
use std::path::Path;

/// From this size on a region that is to have its pages at once is asked for only where they are left. The kernel
/// promises more, and when that is touched it ends some process, which need not be this one.
pub(super) const ASKED_FROM_BYTES: usize = 64 << 20;

/// How one version of control groups tells of memory.
struct Version {
    /// Where its groups are mounted.
    groups: &'static str,
    limit: &'static str,
    used: &'static str,
    /// Pages of files, which are given back before anything fails: fields of `memory.stat`.
    files: [&'static str; 2],
}

const V1: Version = Version {
    groups: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    files: ["total_inactive_file", "total_active_file"],
};
const V2: Version =
    Version { groups: "sys/fs/cgroup", limit: "memory.max", used: "memory.current", files: ["inactive_file", "active_file"] };

/// What has no `bytes` left, by the file or field that says so; none if all have, as far as they can be read.
pub(super) fn what_lacks(bytes: u64) -> Option<&'static str> {
    lacking(Path::new("/"), bytes)
}

fn lacking(root: &Path, bytes: u64) -> Option<&'static str> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let swap = kilobytes(&machine, "SwapFree").unwrap_or(0);
    let is_short = |left: u64| left < bytes;
    if kilobytes(&machine, "MemAvailable").is_some_and(|left| is_short(left.saturating_add(swap))) {
        return Some("MemAvailable");
    }
    let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let (version, path) = own_group(&own)?;
    // In a container the mount may begin in the middle of the path: groups that are not there say nothing.
    let groups = Path::new(path.trim_start_matches('/')).ancestors().map(|group| root.join(version.groups).join(group));
    groups.filter_map(|group| version.left(&group, swap)).any(is_short).then_some(version.limit)
}

/// `number:controllers:path`, a hierarchy a line; that of all controllers that have none of their own has no name.
fn own_group(own: &str) -> Option<(&'static Version, &str)> {
    let group_of = |is_its: &dyn Fn(&str) -> bool| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            fields.next().filter(|controllers| is_its(controllers))?;
            fields.next().filter(|path| !path.split('/').any(|name| name == ".."))
        })
    };
    let v1 = group_of(&|controllers| controllers.split(',').any(|name| name == "memory"));
    v1.map(|path| (&V1, path)).or_else(|| Some((&V2, group_of(&str::is_empty)?)))
}

impl Version {
    /// What `group` has left, with `swap` bytes of the machine's; none if it has no limit.
    fn left(&self, group: &Path, swap: u64) -> Option<u64> {
        let text = |file: &str| fs::read_to_string(group.join(file)).ok();
        let number = |file: &str| text(file)?.trim().parse::<u64>().ok();
        let limit = number(self.limit)?;
        let stat = text("memory.stat").unwrap_or_default();
        let files = self.files.iter().filter_map(|name| field(&stat, name)?.parse::<u64>().ok()).fold(0, u64::saturating_add);
        let used = number(self.used).unwrap_or(0).saturating_sub(files);
        let swapped = number("memory.swap.current").unwrap_or(0);
        let swap = number("memory.swap.max").map_or(swap, |most| swap.min(most.saturating_sub(swapped)));
        Some(limit.saturating_sub(used).saturating_add(swap))
    }
}

/// `Name:   123 kB` in bytes.
fn kilobytes(info: &str, name: &str) -> Option<u64> {
    field(info, name)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What follows `name` in the line that begins with it.
fn field<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    lines.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with([':', ' ']))).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking_of(files: &[(&str, &str)], bytes: u64) -> Option<&'static str> {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        lacking(root.path(), bytes)
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemFree: 1 kB\nMemAvailable:   100 kB\nSwapFree:  4 kB\n");

    #[test]
    fn the_machine_has_what_is_available_and_swap() {
        assert_eq!(lacking_of(&[MACHINE], 104 << 10), None);
        assert_eq!(lacking_of(&[MACHINE], (104 << 10) + 1), Some("MemAvailable"));
        for unreadable in ["", "MemAvailable: much kB\n", "MemAvailableToo: 1 kB\n"] {
            assert_eq!(lacking_of(&[("proc/meminfo", unreadable)], u64::MAX), None, "{unreadable}");
        }
    }

    #[test]
    fn the_least_limit_of_any_group_holds_and_pages_of_files_count_as_free() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "1:name=systemd:/a\n0::/a/b\n"),
            ("sys/fs/cgroup/memory.current", "99999999\n"),
            ("sys/fs/cgroup/a/memory.max", "10000\n"),
            ("sys/fs/cgroup/a/memory.current", "9000\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 5\nfile 8000\ninactive_file 3000\nactive_file 2000\n"),
            ("sys/fs/cgroup/a/memory.swap.max", "1000\n"),
            ("sys/fs/cgroup/a/memory.swap.current", "400\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ];
        assert_eq!(lacking_of(&files, 6_600), None);
        assert_eq!(lacking_of(&files, 6_601), Some("memory.max"));
    }

    #[test]
    fn a_hierarchy_of_its_own_goes_before_and_what_is_outside_the_mount_says_nothing() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "4:cpu,memory:/docker/7\n0::/\n"),
            ("sys/fs/cgroup/memory.max", "1\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "500\n"),
        ];
        assert_eq!(lacking_of(&files, 500 + (4 << 10)), None);
        assert_eq!(lacking_of(&files, 501 + (4 << 10)), Some("memory.limit_in_bytes"));
        let outside = [MACHINE, ("proc/self/cgroup", "0::/../x\n"), ("sys/fs/cgroup/memory.max", "1\n")];
        assert_eq!(lacking_of(&outside, 2), None);
    }
}
