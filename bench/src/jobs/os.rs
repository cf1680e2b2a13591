//! What a node asks of the operating system: the time, CPU seconds, a core, and not to outlive its parent.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit};
use rustix::thread::CpuSet;
use rustix::time::{ClockId, clock_gettime};

/// What [`now_ns`] adds to this host's clock.
static CLOCK_OFFSET_NS: AtomicI64 = AtomicI64::new(0);

/// Nanoseconds of the clock that all nodes of a point share: this host's own, or the first host's as far as it is known
/// here.
#[inline]
pub fn now_ns() -> u64 {
    // Relaxed: a number that publishes nothing.
    nanoseconds(ClockId::Monotonic).wrapping_add_signed(CLOCK_OFFSET_NS.load(Ordering::Relaxed))
}

/// Has [`now_ns`] show this host's clock and `offset_ns` from now on.
pub fn set_clock_offset(offset_ns: i64) {
    CLOCK_OFFSET_NS.store(offset_ns, Ordering::Relaxed);
}

/// Has the kernel end this process at once, as `kill -9` does.
pub fn kill_myself() {
    // It cannot fail: it is this very process.
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
}

/// User and system time of this process so far, in nanoseconds.
pub fn cpu_ns() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

#[inline]
fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Keeps the calling thread (and threads it makes later) on one core.
///
/// # Errors
/// A sentence that names the core and why not.
pub fn pin(core: usize) -> Result<(), String> {
    if core >= CpuSet::MAX_CPU {
        return Err(format!("cannot run on core {core}: there is no such core"));
    }
    set_affinity(core).map_err(|errno| format!("cannot run on core {core}: {errno}; `squall doctor` lists the cores"))
}

/// As [`pin`], but where the system refuses the call itself, as sandboxes do, the thread runs wherever the kernel
/// places it: the answer is then a notice.
///
/// # Errors
/// As [`pin`].
pub fn pin_if_allowed(core: usize) -> Result<Option<String>, String> {
    match core < CpuSet::MAX_CPU && matches!(set_affinity(core), Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS)) {
        true => Ok(Some("this system refuses to pin threads to cores; the kernel places them, and figures scatter more".to_owned())),
        false => pin(core).map(|()| None),
    }
}

fn set_affinity(core: usize) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set)
}

/// Why threads cannot be kept on a core here, if they cannot: some sandboxes refuse it.
pub fn pinning_refused() -> Option<String> {
    let core = *cores().first()?;
    // A thread of its own, because there is no way back.
    let tried = thread::Builder::new().spawn(move || pin(core)).map(thread::JoinHandle::join);
    tried.ok()?.ok()?.err()
}

/// Bytes that may be locked; nothing means no limit.
pub fn locked_bytes_max() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// Seconds of processor time that a process may use, if there is a limit.
pub fn cpu_seconds_max() -> Option<u64> {
    getrlimit(Resource::Cpu).current
}

/// What to do about an error of the system that a limit explains.
pub fn mend(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "; raise the limit of open files with `ulimit -n`".into(),
        Some(libc::ENFILE) => "; the whole system has too many files open".into(),
        Some(libc::EAGAIN) => {
            let threads = "; raise the limit of processes and threads with `ulimit -u`, or the pids limit of the control group";
            // The stack of a thread is memory, and the kernel answers alike where that is what lacks.
            format!("{threads}{}", limits_of_memory())
        }
        Some(libc::ENOMEM) => format!("; there is not enough memory{}", limits_of_memory()),
        _ => String::new(),
    }
}

/// The limits of memory that are in force, as what else may be to blame.
fn limits_of_memory() -> String {
    let limits = [("-v", Resource::As), ("-d", Resource::Data)];
    let limits = limits.into_iter().filter_map(|(flag, limit)| Some((flag, getrlimit(limit).current?.div_ceil(1024))));
    limits.map(|(flag, kilobytes)| format!(", or that of memory: `ulimit {flag}` is {kilobytes}")).collect()
}

/// The loopback address that works here: IPv4 if there is one.
///
/// # Errors
/// A sentence with the mend, if there is none.
pub fn loopback() -> Result<IpAddr, String> {
    squall_transport::loopback().map_err(|error| {
        format!("no loopback address can be used ({error}): set its interface up (`ip link set lo up`), or use --fabric shm")
    })
}

/// The cores that this process may run on.
pub fn cores() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        Err(_) => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
    }
}

/// Raises the limit of open files as far as this process may, for itself and its children.
pub fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // A limit that cannot be raised stays as it is: whoever needs more says so.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Has a file that reaches the limit of its size (`ulimit -f`) answer an error, which names the file, instead of ending
/// this process. For memory that nodes share, which is files too.
pub fn outlive_limits_of_files() {
    // Nobody asks for the flag: that the signal is caught is enough. It can be caught by everybody.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// How many files a process may have open; none if there is no limit.
pub fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(Resource::Nofile).current
}

/// Has the kernel end this process when its parent, which has the id `parent`, ends.
///
/// # Errors
/// If the parent is gone already.
pub fn die_with(parent: u32) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| format!("cannot follow the parent: {errno}"))?;
    let now = rustix::process::getppid().map(Pid::as_raw_nonzero);
    if now.is_some_and(|now| now.get() as u32 == parent) { Ok(()) } else { Err(format!("the parent process {parent} is gone")) }
}

/// Nanoseconds as a duration in seconds.
pub fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

/// Gives this process a name that tools show.
pub fn call_myself(name: &std::ffi::CStr) {
    // Only for people: without it the process is shown by the name of its file.
    let _ = rustix::thread::set_name(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_loopback_and_descriptors() {
        assert!(loopback().unwrap().is_loopback());
        raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(open_files_max(), limit.maximum);
    }

    #[test]
    fn asking_whether_threads_can_be_pinned_pins_nobody() {
        let before = cores();
        let _ = pinning_refused();
        assert_eq!(cores(), before);
    }
}
