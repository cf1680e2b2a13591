//! An open device with its protection domain, and what it says about itself while it is open.

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::abi::{self, CStruct};
use super::errors::{outcome, system, unavailable};
use super::library::{self, Verbs};
use super::manager::Anchor;
use crate::endpoint::OpenError;

/// Living queue pairs that can be reported failed before all are taken for failed.
const FAILED_MAX: usize = 1024;

/// An open device; closed with the last of its resources.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) verbs: &'static Verbs,
    pub(super) context: NonNull<abi::Context>,
    pub(super) domain: NonNull<abi::ProtectionDomain>,
    pub(super) name: String,
    /// What keeps a context of the connection manager open; none where the context is this value's own.
    anchor: Option<Anchor>,
    /// Counts what was taken in, so that looking for news costs one load.
    news: AtomicU64,
    /// Counts changes of ports and addresses: what was chosen may not be there any more.
    changes: AtomicU64,
    troubles: Mutex<Troubles>,
}

/// What the device reported, as far as it holds now: the device outlives epochs.
#[derive(Debug)]
struct Troubles {
    /// The whole device, or a completion queue of it.
    device: bool,
    /// Ports that are down, and since when.
    ports: Vec<(u32, Instant)>,
    /// Living queue pairs, by number: numbers are used again.
    queue_pairs: Vec<u32>,
}

// SAFETY: a context and its domain may be used from any thread (libibverbs is thread-safe); they are closed once, by
// the last holder.
unsafe impl Send for Device {}
// SAFETY: as for Send.
unsafe impl Sync for Device {}

/// What the library calls the status of a completion.
pub(super) fn outcome_text(verbs: &Verbs, status: c_int) -> String {
    // SAFETY: returns a constant string for every number.
    unsafe { CStr::from_ptr((verbs.status_text)(status)) }.to_string_lossy().into_owned()
}

/// Names of the devices that libibverbs has a driver for.
pub(super) fn names() -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    each_device(library::verbs()?, |_, name| names.push(name.to_owned())).map_err(|error| {
        format!("libibverbs finds no devices ({error}): is the kernel module ib_uverbs loaded and /dev/infiniband readable?")
    })?;
    Ok(names)
}

fn each_device(verbs: &Verbs, mut visit: impl FnMut(*mut abi::Device, &str)) -> io::Result<()> {
    let mut count = 0;
    // SAFETY: the library writes the count and returns a list that is ours until it is freed below.
    let list = unsafe { (verbs.get_device_list)(&mut count) };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the list has `count` entries, each a device that lives as long as the list; its name ends with a
        // zero.
        let (device, name) = unsafe {
            let device = *list.add(index);
            (device, CStr::from_ptr((*device).name.as_ptr()))
        };
        visit(device, &name.to_string_lossy());
    }
    // SAFETY: from get_device_list, freed once; devices that were opened stay open.
    unsafe { (verbs.free_device_list)(list) };
    Ok(())
}

impl Device {
    /// Opens the device called `name`.
    pub(super) fn open(name: &str) -> Result<Arc<Device>, OpenError> {
        let verbs = library::verbs().map_err(unavailable)?;
        let mut opened = None;
        each_device(verbs, |device, found| {
            if found == name && opened.is_none() {
                // SAFETY: the device is in a list that is not freed yet.
                let context = unsafe { (verbs.open_device)(device) };
                opened = Some(NonNull::new(context).ok_or_else(io::Error::last_os_error));
            }
        })
        .map_err(|error| system("listing devices", error))?;
        let context = opened
            .ok_or_else(|| unavailable(format!("libibverbs has no driver for {name}; install ibverbs-providers (rdma-core)")))?
            .map_err(|error| system(format!("opening {name}; may this user open /dev/infiniband/uverbs*?"), error))?;
        Device::of(verbs, context, name.to_owned(), None)
    }

    /// Takes the connection manager's context, which is the same for all of this process: so is the device, whose
    /// events can be taken once.
    pub(super) fn anchored(anchor: Anchor, name: &str) -> Result<Arc<Device>, OpenError> {
        static ANCHORED: Mutex<Vec<Weak<Device>>> = Mutex::new(Vec::new());
        let context = anchor.context().ok_or_else(|| unavailable(format!("{name} is gone")))?;
        let mut anchored = ANCHORED.lock().unwrap_or_else(PoisonError::into_inner);
        anchored.retain(|device| device.strong_count() > 0);
        if let Some(device) = anchored.iter().filter_map(Weak::upgrade).find(|device| device.context == context) {
            return Ok(device);
        }
        let device = Device::of(library::verbs().map_err(unavailable)?, context, name.to_owned(), Some(anchor))?;
        anchored.push(Arc::downgrade(&device));
        Ok(device)
    }

    fn of(verbs: &'static Verbs, context: NonNull<abi::Context>, name: String, anchor: Option<Anchor>) -> Result<Arc<Device>, OpenError> {
        // SAFETY: an open context.
        let domain = NonNull::new(unsafe { (verbs.alloc_pd)(context.as_ptr()) });
        let Some(domain) = domain else {
            let error = io::Error::last_os_error();
            if anchor.is_none() {
                // SAFETY: nothing uses the context yet.
                unsafe { (verbs.close_device)(context.as_ptr()) };
            }
            return Err(system(format!("allocating a protection domain on {name}"), error));
        };
        let troubles = Mutex::new(Troubles { device: false, ports: Vec::new(), queue_pairs: Vec::with_capacity(FAILED_MAX) });
        let device = Device { verbs, context, domain, name, anchor, news: AtomicU64::new(0), changes: AtomicU64::new(0), troubles };
        let fd = device.async_fd();
        fcntl_getfl(fd)
            .and_then(|flags| fcntl_setfl(fd, flags | OFlags::NONBLOCK))
            .map_err(|errno| system("setting up the device's events", errno.into()))?;
        Ok(Arc::new(device))
    }

    /// Readable when the device has something to report.
    pub(super) fn async_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the context owns the descriptor and lives as long as self.
        unsafe { BorrowedFd::borrow_raw((*self.context.as_ptr()).async_fd) }
    }

    pub(super) fn attributes(&self) -> Result<abi::DeviceAttributes, OpenError> {
        let mut attributes = abi::DeviceAttributes::zeroed();
        // SAFETY: an open context; the library fills the struct.
        outcome(unsafe { (self.verbs.query_device)(self.context.as_ptr(), &mut attributes) })
            .map_err(|error| system(format!("asking {} what it can do", self.name), error))?;
        Ok(attributes)
    }

    pub(super) fn port(&self, number: u8) -> Result<abi::PortAttributes, OpenError> {
        let mut attributes = abi::PortAttributes::zeroed();
        let asked = match self.query_port() {
            // SAFETY: an open context; its function fills as much of the struct as it is told of.
            Some(query) => unsafe { query(self.context.as_ptr(), number, &mut attributes, size_of::<abi::PortAttributes>()) },
            // SAFETY: an open context; the exported function fills the beginning of the struct.
            None => unsafe { (self.verbs.query_port)(self.context.as_ptr(), number, &mut attributes) },
        };
        outcome(asked).map_err(|error| system(format!("asking {} about port {number}", self.name), error))?;
        Ok(attributes)
    }

    /// The function that knows all about ports, where the context has it.
    fn query_port(&self) -> Option<abi::QueryPort> {
        // SAFETY: an open context. If it is extended, the members of `struct verbs_context` lie in front of it at
        // distances that never change: first its size, which says whether the function is there.
        unsafe {
            let context = self.context.as_ptr();
            if (*context).abi_compat.addr() != abi::EXTENDED {
                return None;
            }
            let size: usize = *context.byte_sub(abi::SIZE_BEFORE_CONTEXT).cast();
            let function: *const Option<abi::QueryPort> = context.byte_sub(abi::QUERY_PORT_BEFORE_CONTEXT).cast();
            if size < abi::QUERY_PORT_SIZE { None } else { *function }
        }
    }

    /// Entry `index` of a port's GID table.
    pub(super) fn gid(&self, port: u8, index: u8) -> Result<[u8; 16], OpenError> {
        let mut gid = [0; 16];
        // SAFETY: an open context; the library writes 16 bytes.
        outcome(unsafe { (self.verbs.query_gid)(self.context.as_ptr(), port, c_int::from(index), &mut gid) })
            .map_err(|error| system(format!("reading GID {index} of {} port {port}", self.name), error))?;
        Ok(gid)
    }

    /// Takes in what the device reports. Several endpoints may share it: each then asks with [`Device::failed`].
    pub(super) fn take_events(&self) {
        let mut event = abi::AsyncEvent::zeroed();
        // SAFETY: an open context whose descriptor does not block; the library fills the struct.
        while unsafe { (self.verbs.get_async_event)(self.context.as_ptr(), &mut event) } == 0 {
            self.note(&event);
            // SAFETY: the event just taken, acknowledged once; destroying a queue pair waits for that.
            unsafe { (self.verbs.ack_async_event)(&mut event) };
        }
    }

    fn note(&self, event: &abi::AsyncEvent) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match event.event_type {
            abi::EVENT_DEVICE_FATAL | abi::EVENT_CQ_ERR => troubles.device = true,
            abi::EVENT_PORT_ERR if !troubles.is_down(event.element as u32) => troubles.ports.push((event.element as u32, Instant::now())),
            abi::EVENT_PORT_ACTIVE => troubles.ports.retain(|&(port, _)| port != event.element as u32),
            abi::EVENT_PORT_ERR => {}
            abi::EVENT_GID_CHANGE | abi::EVENT_LID_CHANGE => {}
            abi::EVENT_QP_FATAL | abi::EVENT_QP_REQ_ERR | abi::EVENT_QP_ACCESS_ERR => {
                // SAFETY: the event is about a queue pair, which cannot be destroyed before the event is acknowledged.
                let number = unsafe { (*(event.element as *const abi::QueuePair)).qp_num };
                if troubles.queue_pairs.len() < FAILED_MAX {
                    troubles.queue_pairs.push(number);
                } else {
                    troubles.device = true;
                }
            }
            _ => return,
        }
        if matches!(event.event_type, abi::EVENT_PORT_ERR | abi::EVENT_PORT_ACTIVE | abi::EVENT_GID_CHANGE | abi::EVENT_LID_CHANGE) {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        // Release: pairs with the acquire of `has_news`.
        self.news.fetch_add(1, Ordering::Release);
    }

    /// Whether there is something that a reader who has seen `seen` has not; updates `seen`.
    pub(super) fn has_news(&self, seen: &mut u64) -> bool {
        let now = self.news.load(Ordering::Acquire);
        std::mem::replace(seen, now) != now
    }

    /// Whether the device or queue pair `number` was reported failed, or port `port` has been down for `patience`: one
    /// that is active again before that has cost its links nothing but packets that were sent again.
    pub(super) fn failed(&self, port: u8, number: u32, patience: Duration) -> bool {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let is_down = |&(down, since): &(u32, Instant)| down == u32::from(port) && since.elapsed() >= patience;
        troubles.device || troubles.ports.iter().any(is_down) || troubles.queue_pairs.contains(&number)
    }

    /// Whether port `port` is reported down.
    pub(super) fn is_down(&self, port: u8) -> bool {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).is_down(port.into())
    }

    /// Whether it was reported failed as a whole.
    pub(super) fn is_lost(&self) -> bool {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).device
    }

    /// Counts changes of its ports and their addresses.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Queue pair `number` is destroyed: what was reported of it holds for no other of that number.
    pub(super) fn forget(&self, number: u32) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).queue_pairs.retain(|&failed| failed != number);
    }
}

impl Troubles {
    fn is_down(&self, port: u32) -> bool {
        self.ports.iter().any(|&(down, _)| down == port)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: whatever was made in the domain holds an Arc of self, so it is gone; each is freed once.
        unsafe {
            (self.verbs.dealloc_pd)(self.domain.as_ptr());
            if self.anchor.is_none() {
                (self.verbs.close_device)(self.context.as_ptr());
            }
        }
    }
}
