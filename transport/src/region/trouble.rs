//! What is behind the refusal of a system call that a region needs, and the mend.

use std::io;

use rustix::process::{Resource, getrlimit};

/// Cause and mend of `error`, which `call` answered for a region of `bytes`.
pub(super) fn advice(call: &str, error: &io::Error, bytes: usize) -> String {
    let limit = |resource| getrlimit(resource).current.map_or("unlimited".into(), |limit| limit.to_string());
    let size = decimal(bytes);
    match (call, error.raw_os_error().unwrap_or(0)) {
        ("memfd_create", libc::EMFILE) => {
            format!("this process may hold {} open files and holds them; raise `ulimit -n`", limit(Resource::Nofile))
        }
        ("memfd_create", libc::ENFILE) => "all processes together hold the most open files there may be; raise `sysctl fs.file-max`".into(),
        ("memfd_create", libc::ENOMEM) => "the kernel has no memory for one more file; free memory".into(),
        ("memfd_create", libc::ENOSYS) => "this kernel or sandbox has no memory files; Linux 3.17 or later has".into(),
        ("memfd_create", libc::EACCES) => {
            "`sysctl vm.memfd_noexec` is 2 and this kernel cannot make files without execution; set it to 0 or 1".into()
        }
        ("memfd_create" | "F_ADD_SEALS" | "F_GET_SEALS" | "mmap" | "ftruncate", libc::EPERM) => {
            format!("a sandbox (seccomp, AppArmor, SELinux) forbids {call} here; allow it in the profile of the container or service")
        }
        ("ftruncate", libc::EFBIG | libc::EINVAL) => {
            format!(
                "no file may be so large here (`ulimit -f` is {}); ask for less: a smaller window, message or group",
                limit(Resource::Fsize)
            )
        }
        ("ftruncate", libc::ENOSPC | libc::ENOMEM) => {
            format!("memory and swap have no {size} left; free memory, or ask for a smaller window or message size")
        }
        ("MemAvailable", libc::ENOMEM) => {
            format!("the machine has no {size} left; free memory, or ask for a smaller window, message or group")
        }
        ("memory.max" | "memory.limit_in_bytes", libc::ENOMEM) => format!(
            "a control group of this process has no {size} left; raise its {call}, free memory, or ask for a smaller window, message \
             or group"
        ),
        ("F_ADD_SEALS" | "F_GET_SEALS", libc::EINVAL) => {
            "this file system or sandbox does not seal memory files; Linux 3.17 or later does".into()
        }
        ("mmap", libc::ENOMEM) => format!(
            "no address space for it: `ulimit -v` is {}, and `sysctl vm.overcommit_memory` at 2 or `vm.max_map_count` may be reached; \
             raise what is low, or ask for a smaller window or message size",
            limit(Resource::As)
        ),
        ("mmap", libc::EAGAIN) => {
            format!("this process locks all it maps and RLIMIT_MEMLOCK is {}; raise `ulimit -l`", limit(Resource::Memlock))
        }
        ("mmap", libc::ENFILE | libc::EMFILE) => "too many mappings are open; raise `sysctl vm.max_map_count`".into(),
        ("MADV_POPULATE_WRITE", libc::ENOMEM | libc::EFAULT) => format!(
            "pages for {size} cannot be had: the machine, or the memory limit of this control group (memory.max), is full; raise the \
             limit, free memory, or ask for a smaller window or message size"
        ),
        ("MADV_POPULATE_WRITE", libc::EHWPOISON) => "a page of this machine's memory is broken; see the kernel's log".into(),
        ("MADV_POPULATE_WRITE", libc::EAGAIN | libc::EINTR) => "the kernel was interrupted while it made pages; try again".into(),
        ("mlock", libc::EPERM) => "this process may lock nothing; raise `ulimit -l`, or give it CAP_IPC_LOCK".into(),
        ("mlock", libc::ENOMEM) => {
            format!("what is locked already counts too, and RLIMIT_MEMLOCK is {}; raise `ulimit -l`", limit(Resource::Memlock))
        }
        ("mlock", libc::EAGAIN) => "some pages could not be brought in; free memory".into(),
        ("mlock" | "mbind" | "MADV_COLLAPSE", libc::ENOSYS) => format!("this kernel or sandbox has no {call}"),
        ("mbind", libc::EINVAL) => {
            "there is no such NUMA node, or this process may not use it (its cpuset); name one of `numactl --show`".into()
        }
        ("mbind", libc::EPERM) => "a sandbox forbids placing memory (containers do, without CAP_SYS_NICE); give it that".into(),
        ("mbind", libc::ENOMEM) => "the kernel has no memory for one more policy; free memory".into(),
        ("mbind", libc::EIO) => "pages are on another node already and cannot be moved; restart".into(),
        ("MADV_COLLAPSE", libc::EINVAL) => "this kernel makes no huge pages of shared memory on demand: Linux 6.1 does, unless \
             /sys/kernel/mm/transparent_hugepage/shmem_enabled is `deny`"
            .into(),
        ("MADV_COLLAPSE", libc::ENOMEM) => {
            "no 2 MiB of memory in a row are free; start earlier after boot, or `sysctl vm.compact_memory=1`".into()
        }
        ("MADV_COLLAPSE", libc::EAGAIN | libc::EBUSY) => "pages were in use meanwhile; nothing to mend".into(),
        _ => "see the kernel's log, and what a sandbox forbids".into(),
    }
}

/// `bytes` in the units that the program shows memory in, 64 MB or 1.5 GB: rounded up, for so much was not to be had.
fn decimal(bytes: usize) -> String {
    match bytes {
        ..1_000_000 => format!("{bytes} bytes"),
        1_000_000..1_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.1} GB", bytes.div_ceil(100_000_000) as f64 / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;
    use crate::region::{Region, RegionOptions};

    #[test]
    fn every_errno_of_a_call_has_a_cause_of_its_own() {
        let mut known = BTreeSet::new();
        for (call, errnos) in [
            ("memfd_create", &[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSYS, libc::EACCES, libc::EPERM][..]),
            ("ftruncate", &[libc::EFBIG, libc::ENOSPC, libc::EPERM]),
            ("MemAvailable", &[libc::ENOMEM]),
            ("memory.max", &[libc::ENOMEM]),
            ("memory.limit_in_bytes", &[libc::ENOMEM]),
            ("F_ADD_SEALS", &[libc::EINVAL, libc::EPERM]),
            ("mmap", &[libc::ENOMEM, libc::EAGAIN, libc::ENFILE, libc::EPERM]),
            ("MADV_POPULATE_WRITE", &[libc::ENOMEM, libc::EHWPOISON, libc::EINTR]),
            ("mlock", &[libc::EPERM, libc::ENOMEM, libc::EAGAIN, libc::ENOSYS]),
            ("mbind", &[libc::EINVAL, libc::EPERM, libc::ENOMEM, libc::EIO, libc::ENOSYS]),
            ("MADV_COLLAPSE", &[libc::EINVAL, libc::ENOMEM, libc::EBUSY, libc::ENOSYS]),
        ] {
            for &errno in errnos {
                let text = advice(call, &io::Error::from_raw_os_error(errno), 1 << 30);
                assert!(!text.contains("kernel's log") || errno == libc::EHWPOISON, "{call} {errno}: {text}");
                assert!(known.insert(text.clone()), "{call} {errno} reads as another: {text}");
            }
        }
        assert!(advice("mmap", &io::Error::from_raw_os_error(libc::EXDEV), 1).contains("kernel's log"));
    }

    #[test]
    fn what_the_machine_has_not_left_is_refused_before_it_is_touched() {
        let at_once = RegionOptions { populate: true, ..RegionOptions::default() };
        let refused = Region::allocate(1 << 46, &at_once).expect_err("64 TiB").to_string();
        assert!(refused.contains("the machine has no 70368.8 GB left"), "{refused}");
        assert_eq!([4096, 64 << 20, 1_500_000_000].map(decimal), ["4096 bytes", "68 MB", "1.5 GB"]);
    }

    /// What the test below starts, under a limit that no process takes back.
    #[test]
    fn copy_under_a_limit() {
        if let Some(bytes) = std::env::var_os("SQUALL_REGION_BYTES") {
            let bytes = bytes.to_str().and_then(|bytes| bytes.parse().ok()).expect("a number");
            let held: Vec<_> = (0..100).map(|_| Region::allocate(bytes, &RegionOptions::default())).collect();
            println!("refused: {}", held.into_iter().find_map(Result::err).expect("a limit"));
        }
    }

    fn refused(limit: &str, bytes: usize) -> String {
        let copy = std::env::current_exe().expect("a test has a file");
        let name = format!("{}::copy_under_a_limit", module_path!().split_once("::").expect("a crate").1);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limit}; exec \"$0\" --exact {name} --nocapture --test-threads 1")]).arg(copy);
        let output = shell.env("SQUALL_REGION_BYTES", bytes.to_string()).output().expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find_map(|line| line.split_once("refused: ")).unwrap_or_else(|| panic!("{output:?}")).1.to_owned()
    }

    #[test]
    fn limits_of_files_and_of_addresses_are_told_apart() {
        let files = refused("ulimit -n 20", 4096);
        assert!(files.contains("memfd_create") && files.contains("may hold 20 open files") && files.contains("`ulimit -n`"), "{files}");
        let addresses = refused("ulimit -v 8000000", 1 << 30);
        assert!(addresses.contains("mmap") && addresses.contains("`ulimit -v` is 8192000000"), "{addresses}");
        let sizes = Region::allocate(usize::MAX, &RegionOptions::default()).expect_err("too much").to_string();
        assert!(sizes.contains("ftruncate") && sizes.contains("no file may be so large"), "{sizes}");
        let node = RegionOptions { numa_node: Some(777), ..RegionOptions::default() };
        let notices = Region::allocate(4096, &node).expect("memory").notices().join("; ");
        assert!(notices.contains("mbind") && notices.contains("node 777"), "{notices}");
    }
}
