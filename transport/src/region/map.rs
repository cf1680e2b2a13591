//! Mapping memory: memfd, huge pages, NUMA binding, locking, each with a noticed fall-back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap};
use rustix::process::{Resource, getrlimit};

use super::hands::Hands;
use super::left::{ASKED_FROM_BYTES, what_lacks};
use super::trouble::advice;

/// Size of a huge page on the machines Squall runs on, and the alignment of large regions.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// What is collapsed into huge pages in one go. Where there are too few of them the rest is not tried: the kernel looks
/// long for each.
const COLLAPSED_AT_ONCE_BYTES: usize = 64 << 20;

/// What is unmapped in one go: a fraction of a millisecond.
const UNMAPPED_AT_ONCE_BYTES: usize = 4 << 20;

/// How a region is to be had.
#[derive(Clone, Debug, Default)]
pub struct RegionOptions {
    /// Use huge pages where the machine gives them.
    pub huge_pages: bool,
    /// Touch every page now rather than on first use.
    pub populate: bool,
    /// Bind to this NUMA node.
    pub numa_node: Option<u32>,
    /// Lock into memory if `RLIMIT_MEMLOCK` allows.
    pub lock: bool,
}

impl RegionOptions {
    /// What a data path wants: huge pages, every page touched, locked where the limit allows.
    pub fn data_path() -> RegionOptions {
        RegionOptions { huge_pages: true, populate: true, numa_node: None, lock: true }
    }
}

/// Why a region could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The system gives no such memory.
    #[error("cannot get {bytes} bytes of shared memory: {call}: {reason}: {}", advice(call, reason, *bytes))]
    Allocate {
        /// How much was asked for.
        bytes: usize,
        /// The call that failed.
        call: &'static str,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A peer's memory is not what it said.
    #[error(
        "a peer's region is {found} bytes, {expected} were announced (or it is not sealed): the peer runs another version or died \
         while starting"
    )]
    Peer {
        /// Bytes announced.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// Locking or registering more than the limit.
    #[error(
        "registering {bytes} bytes exceeds RLIMIT_MEMLOCK of {limit} bytes; raise it with `ulimit -l unlimited` or in \
         /etc/security/limits.conf"
    )]
    MemoryLock {
        /// How much was to be locked.
        bytes: usize,
        /// The limit in force.
        limit: u64,
    },
}

/// One mapped memfd, or memory of this process alone; unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: *mut u8,
    pub(crate) bytes: usize,
    pub(crate) notices: Vec<String>,
    /// Whose the bytes are.
    pub(super) hands: Hands,
    /// None: private memory, which nobody else can map.
    fd: Option<OwnedFd>,
}

// SAFETY: a Mapping is an address range that stays valid until drop; every access goes through R1 to R4 of the module
// above, which hold across threads as well as across processes.
unsafe impl Send for Mapping {}
// SAFETY: as for Send.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn allocate(bytes: usize, options: &RegionOptions) -> Result<Mapping, RegionError> {
        let page = rustix::param::page_size();
        let Some(whole) = bytes.max(1).checked_next_multiple_of(page) else {
            return Err(RegionError::Allocate { bytes, call: "ftruncate", reason: rustix::io::Errno::FBIG.into() });
        };
        let bytes = whole;
        let is_at_once = options.populate || options.huge_pages || options.lock;
        if let Some(call) = Some(bytes as u64).filter(|_| is_at_once && bytes >= ASKED_FROM_BYTES).and_then(what_lacks) {
            return Err(RegionError::Allocate { bytes, call, reason: rustix::io::Errno::NOMEM.into() });
        }
        let failed = |call| move |errno: rustix::io::Errno| RegionError::Allocate { bytes, call, reason: errno.into() };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Some systems allow only files that can never be executed; older ones do not know that flag.
        let fd = match memfd_create("squall", flags) {
            Err(rustix::io::Errno::ACCESS) => memfd_create("squall", flags | MemfdFlags::NOEXEC_SEAL),
            other => other,
        };
        let fd = fd.map_err(failed("memfd_create"))?;
        ftruncate(&fd, bytes as u64).map_err(failed("ftruncate"))?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW).map_err(failed("F_ADD_SEALS"))?;
        let mut mapping = Mapping::of(fd, bytes)?;
        if let Some(node) = options.numa_node {
            mapping.bind(node);
        }
        if options.huge_pages {
            mapping.collapse(options.populate);
        }
        if options.populate {
            mapping.populate().map_err(failed("MADV_POPULATE_WRITE"))?;
        }
        if options.lock {
            mapping.lock();
        }
        Ok(mapping)
    }

    /// Maps `bytes` of a memfd that must be sealed against shrinking, so that no access can fault.
    pub(crate) fn of(fd: OwnedFd, bytes: usize) -> Result<Mapping, RegionError> {
        let failed = |call| move |errno: rustix::io::Errno| RegionError::Allocate { bytes, call, reason: errno.into() };
        let found = fstat(&fd).map_err(failed("fstat"))?.st_size as usize;
        let seals = fcntl_get_seals(&fd).map_err(failed("F_GET_SEALS"))?;
        if found < bytes || bytes == 0 || !seals.contains(SealFlags::SHRINK) {
            return Err(RegionError::Peer { expected: bytes, found });
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let base = if bytes < HUGE_PAGE_BYTES {
            // SAFETY: a new mapping at an address the kernel chooses.
            unsafe { mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, &fd, 0) }.map_err(failed("mmap"))?
        } else {
            // SAFETY: a new reservation at an address the kernel chooses, then trimmed by mapping over its aligned
            // part.
            unsafe { map_aligned(bytes, access, &fd) }.map_err(failed("mmap"))?
        };
        Ok(Mapping { base: base.cast(), bytes, notices: Vec::new(), hands: Hands::default(), fd: Some(fd) })
    }

    /// Address space of this process alone, of which only touched pages become memory.
    pub(crate) fn reserve(bytes: usize) -> Result<Mapping, RegionError> {
        let bytes = bytes.max(1).next_multiple_of(rustix::param::page_size());
        let failed = |errno: rustix::io::Errno| RegionError::Allocate { bytes, call: "mmap", reason: errno.into() };
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: a new mapping at an address the kernel chooses.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, flags) }.map_err(failed)?;
        Ok(Mapping { base: base.cast(), bytes, notices: Vec::new(), hands: Hands::default(), fd: None })
    }

    #[inline]
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("reserved memory is of this process alone and has no descriptor").as_fd()
    }

    /// Says what could not be had, why, and what is done without it.
    fn note(&mut self, call: &'static str, error: &std::io::Error, instead: &str) {
        let (bytes, advice) = (self.bytes, advice(call, error, self.bytes));
        self.notices.push(format!("{bytes} bytes: {call}: {error}: {advice}; {instead}"));
    }

    fn populate(&mut self) -> rustix::io::Result<()> {
        // SAFETY: the range is this mapping; populating changes no byte.
        match unsafe { madvise(self.base.cast(), self.bytes, Advice::LinuxPopulateWrite) } {
            Err(rustix::io::Errno::INVAL) => {
                self.notices.push("this kernel cannot populate memory ahead (Linux 5.14 can); pages come on first use".into());
                Ok(())
            }
            other => other,
        }
    }

    /// Has the kernel put huge pages under it. Where pages are wanted at once, one small page of each is made first:
    /// the kernel then clears the rest of it instead of copying. Making all small pages and copying those takes ten
    /// times as long, and most of the time that a table costs.
    fn collapse(&mut self, populate: bool) {
        if self.bytes < HUGE_PAGE_BYTES {
            return;
        }
        let whole = self.bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
        for start in (0..whole).step_by(COLLAPSED_AT_ONCE_BYTES) {
            let end = whole.min(start + COLLAPSED_AT_ONCE_BYTES);
            for at in (start..end).step_by(HUGE_PAGE_BYTES).filter(|_| populate) {
                // SAFETY: the page is one of this mapping; populating changes no byte. What fails here fails again
                // where all of it is populated, and is told there.
                let _ = unsafe { madvise(self.base.add(at).cast(), 1, Advice::LinuxPopulateWrite) };
            }
            // SAFETY: the range is part of this mapping; collapsing keeps every byte.
            if unsafe { libc::madvise(self.base.add(start).cast(), end - start, libc::MADV_COLLAPSE) } != 0 {
                let error = std::io::Error::last_os_error();
                self.note("MADV_COLLAPSE", &error, "small pages are used");
                return;
            }
        }
    }

    fn lock(&mut self) {
        let limit = getrlimit(Resource::Memlock).current;
        if limit.is_some_and(|limit| (self.bytes as u64) > limit) {
            let limit = limit.unwrap_or(u64::MAX);
            self.notices.push(RegionError::MemoryLock { bytes: self.bytes, limit }.to_string() + "; memory stays unlocked");
            return;
        }
        // SAFETY: the range is this mapping; locking changes no byte.
        if let Err(errno) = unsafe { mlock(self.base.cast(), self.bytes) } {
            self.note("mlock", &errno.into(), "memory stays unlocked");
        }
    }

    fn bind(&mut self, node: u32) {
        const MPOL_BIND: libc::c_int = 2;
        let mask: [u64; 16] = std::array::from_fn(|word| if word as u32 == node / 64 { 1 << (node % 64) } else { 0 });
        // SAFETY: mbind reads 1024 bits of `mask` and only sets the policy of this mapping's pages.
        let result = unsafe { libc::syscall(libc::SYS_mbind, self.base, self.bytes, MPOL_BIND, mask.as_ptr(), 1024u64, 0u32) };
        if result != 0 {
            let error = std::io::Error::last_os_error();
            self.note("mbind", &error, &format!("the kernel places it, not on NUMA node {node}"));
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // In parts: whoever maps or unmaps anything in this process waits for no more than one of them.
        if self.fd.is_some() && self.bytes > UNMAPPED_AT_ONCE_BYTES {
            for at in (0..self.bytes).step_by(UNMAPPED_AT_ONCE_BYTES) {
                let len = UNMAPPED_AT_ONCE_BYTES.min(self.bytes - at);
                // SAFETY: R4: as below, and the range is a part of it. The memory is a file's: its bytes stay there for
                // whoever else has them mapped. Failure only means that all of it is unmapped at once.
                let _ = unsafe { madvise(self.base.add(at).cast(), len, Advice::LinuxDontNeed) };
            }
        }
        // SAFETY: R4: the last handle is gone, so nothing points into the range any more.
        let _ = unsafe { munmap(self.base.cast(), self.bytes) };
    }
}

/// Maps `fd` at an address aligned to a huge page.
///
/// # Safety
/// As `mmap` with a null hint: always sound, the range is new.
unsafe fn map_aligned(bytes: usize, access: ProtFlags, fd: &OwnedFd) -> rustix::io::Result<*mut core::ffi::c_void> {
    let whole = bytes + HUGE_PAGE_BYTES;
    // SAFETY: a new reservation at an address the kernel chooses.
    let hint = unsafe { mmap_anonymous(std::ptr::null_mut(), whole, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE) }?;
    let start = (hint as usize).next_multiple_of(HUGE_PAGE_BYTES);
    let (before, after) = (start - hint as usize, hint as usize + whole - start - bytes);
    // SAFETY: `start..start + bytes` lies within the reservation just made; FIXED replaces that part of it only.
    let base = unsafe { mmap(start as *mut _, bytes, access, MapFlags::SHARED | MapFlags::FIXED, fd, 0) };
    let rest = if base.is_ok() { [(hint as usize, before), (start + bytes, after)] } else { [(hint as usize, whole), (0, 0)] };
    for (address, len) in rest {
        if len > 0 {
            // SAFETY: what is left of the reservation, used by nobody.
            unsafe { munmap(address as *mut _, len) }?;
        }
    }
    base
}
