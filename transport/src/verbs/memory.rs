//! Memory that a device may read and that peers may write.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};

use super::abi;
use super::device::Device;
use super::errors::{system, unavailable};
use crate::endpoint::OpenError;
use crate::region::{Region, RegionError};

/// A region that is registered with a device; taken back on drop.
#[derive(Debug)]
pub(super) struct MemoryRegion {
    raw: NonNull<abi::MemoryRegion>,
    device: Arc<Device>,
    region: Region,
}

// SAFETY: registered memory is used by its keys and address alone, which do not change; it is taken back once.
unsafe impl Send for MemoryRegion {}
// SAFETY: as for Send.
unsafe impl Sync for MemoryRegion {}

impl MemoryRegion {
    /// Registers `region` for reading here and writing by peers. Relaxed ordering is never asked for: rules T1 and T3
    /// need writes in order.
    pub(super) fn register(device: &Arc<Device>, region: &Region, on_demand: bool) -> Result<MemoryRegion, OpenError> {
        let mut access = abi::ACCESS_LOCAL_WRITE | abi::ACCESS_REMOTE_WRITE;
        if on_demand {
            access |= abi::ACCESS_ON_DEMAND;
        }
        let bytes = region.bytes();
        // SAFETY: the range is a live mapping (R4), and stays so: this value holds a handle to the region. What the
        // device and the peers do with its bytes is R1 to R3.
        let raw = unsafe { (device.verbs.reg_mr)(device.domain.as_ptr(), region.base().cast(), bytes, access) };
        match NonNull::new(raw) {
            Some(raw) => Ok(MemoryRegion { raw, device: Arc::clone(device), region: region.clone() }),
            None => Err(refusal(&device.name, bytes, on_demand, io::Error::last_os_error())),
        }
    }

    /// What requests of this host name the memory by.
    pub(super) fn local_key(&self) -> u32 {
        // SAFETY: a registered region, valid until drop.
        unsafe { (*self.raw.as_ptr()).lkey }
    }

    /// What peers name the memory by.
    pub(super) fn remote_key(&self) -> u32 {
        // SAFETY: a registered region, valid until drop.
        unsafe { (*self.raw.as_ptr()).rkey }
    }

    /// Whether this is `region`, known to `device`.
    pub(super) fn is_of(&self, device: &Arc<Device>, region: &Region) -> bool {
        Arc::ptr_eq(&self.device, device) && self.region.is_same(region)
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }
}

fn refusal(device: &str, bytes: usize, on_demand: bool, error: io::Error) -> OpenError {
    if on_demand {
        return unavailable(format!("{device} does not register {bytes} bytes for on-demand paging ({error}); leave that option off"));
    }
    let limit = getrlimit(Resource::Memlock).current;
    match (error.kind(), limit) {
        (io::ErrorKind::OutOfMemory, Some(limit)) if bytes as u64 > limit => RegionError::MemoryLock { bytes, limit }.into(),
        (io::ErrorKind::OutOfMemory, Some(limit)) => {
            let what = "all registered memory counts against RLIMIT_MEMLOCK, which is";
            system(format!("registering {bytes} bytes with {device}: {what} {limit} bytes; raise it with `ulimit -l unlimited`"), error)
        }
        _ => system(format!("registering {bytes} bytes with {device}; is that more than its max_mr_size or than memory holds?"), error),
    }
}

impl Drop for MemoryRegion {
    fn drop(&mut self) {
        // SAFETY: registered once, taken back once. Endpoints drop their queue pairs first, so no request names it any
        // more (T5).
        unsafe { (self.device.verbs.dereg_mr)(self.raw.as_ptr()) };
    }
}
