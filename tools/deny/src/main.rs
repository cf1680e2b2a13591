//! `deny CALL[=ERRNO]... -- COMMAND...` runs a command to which the kernel refuses some system calls, as containers and
//! sandboxes do. Without root: the filter holds for the command and its children, for good.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// System calls that can be refused, by name.
const CALLS: [(&str, libc::c_long); 16] = [
    ("epoll_create1", libc::SYS_epoll_create1),
    ("eventfd2", libc::SYS_eventfd2),
    ("fallocate", libc::SYS_fallocate),
    ("futex", libc::SYS_futex),
    ("madvise", libc::SYS_madvise),
    ("mbind", libc::SYS_mbind),
    ("membarrier", libc::SYS_membarrier),
    ("memfd_create", libc::SYS_memfd_create),
    ("mlock", libc::SYS_mlock),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("prctl", libc::SYS_prctl),
    ("prlimit64", libc::SYS_prlimit64),
    ("sched_getaffinity", libc::SYS_sched_getaffinity),
    ("sched_setaffinity", libc::SYS_sched_setaffinity),
];

/// What the kernel answers, by name.
const ERRNOS: [(&str, i32); 4] = [("EPERM", libc::EPERM), ("ENOSYS", libc::ENOSYS), ("EACCES", libc::EACCES), ("ENOMEM", libc::ENOMEM)];

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Result<T, String> {
    let found = table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    found.ok_or_else(|| format!("`{name}` is not one of: {}", table.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(" ")))
}

/// Refuses `call`, which is `NAME` or `NAME=ERRNO`, from here on.
fn refuse(call: &str) -> Result<(), String> {
    let (name, errno) = call.split_once('=').unwrap_or((call, "EPERM"));
    let (number, errno) = (named(&CALLS, name)?, named(&ERRNOS, errno)?);
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let rules = BTreeMap::from([(number, Vec::new())]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch);
    let program = filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| format!("refusing {name}: {error}"))
}

fn run() -> Result<ExitCode, String> {
    let mut words = std::env::args().skip(1);
    let calls: Vec<String> = words.by_ref().take_while(|word| word != "--").collect();
    let (Some(program), false) = (words.next(), calls.is_empty()) else {
        return Err("usage: deny CALL[=ERRNO]... -- COMMAND...".to_owned());
    };
    calls.iter().try_for_each(|call| refuse(call))?;
    Err(format!("{program}: {}", Command::new(&program).args(words).exec()))
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("deny: {error}");
        ExitCode::from(125)
    })
}
