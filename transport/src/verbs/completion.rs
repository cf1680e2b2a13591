//! Where the ends of requests are read, and slept for.

use std::ffi::c_int;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::abi::{self, WorkCompletion};
use super::device::Device;
use super::errors::{outcome, system};
use crate::endpoint::OpenError;

/// A completion queue with its channel, for one endpoint.
#[derive(Debug)]
pub(super) struct CompletionQueue {
    raw: NonNull<abi::CompletionQueue>,
    channel: NonNull<abi::CompletionChannel>,
    poll: abi::PollQueue,
    request_notify: abi::RequestNotify,
    device: Arc<Device>,
}

// SAFETY: libibverbs is thread-safe; the queue and its channel are destroyed once.
unsafe impl Send for CompletionQueue {}
// SAFETY: as for Send.
unsafe impl Sync for CompletionQueue {}

impl CompletionQueue {
    /// A queue that holds `entries` completions.
    pub(super) fn new(device: &Arc<Device>, entries: u32) -> Result<CompletionQueue, OpenError> {
        let (verbs, context) = (device.verbs, device.context.as_ptr());
        // SAFETY: an open context; its table of functions is set when it is opened.
        let (poll, request_notify) = unsafe { ((*context).poll_cq, (*context).req_notify_cq) };
        let (Some(poll), Some(request_notify)) = (poll, request_notify) else {
            return Err(system(format!("{} has no completion queues", device.name), io::ErrorKind::Unsupported.into()));
        };
        // SAFETY: an open context.
        let channel = NonNull::new(unsafe { (verbs.create_channel)(context) })
            .ok_or_else(|| system("making a completion channel", io::Error::last_os_error()))?;
        // SAFETY: context and channel are live; vector 0 always exists.
        let raw = unsafe { (verbs.create_cq)(context, entries as c_int, std::ptr::null_mut(), channel.as_ptr(), 0) };
        let Some(raw) = NonNull::new(raw) else {
            let error = io::Error::last_os_error();
            // SAFETY: made above, used by nothing.
            unsafe { (verbs.destroy_channel)(channel.as_ptr()) };
            return Err(system(format!("making a completion queue of {entries} entries on {}", device.name), error));
        };
        let queue = CompletionQueue { raw, channel, poll, request_notify, device: Arc::clone(device) };
        let fd = queue.fd();
        fcntl_getfl(fd)
            .and_then(|flags| fcntl_setfl(fd, flags | OFlags::NONBLOCK))
            .map_err(|errno| system("setting up a completion channel", errno.into()))?;
        Ok(queue)
    }

    pub(super) fn raw(&self) -> *mut abi::CompletionQueue {
        self.raw.as_ptr()
    }

    /// Readable after [`CompletionQueue::request_notify`] once something has completed.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the channel owns the descriptor and lives as long as self.
        unsafe { BorrowedFd::borrow_raw((*self.channel.as_ptr()).fd) }
    }

    /// Takes what has completed; how many of `into` are filled. A queue that fails is reported by the device's events
    /// too.
    #[inline]
    pub(super) fn poll(&self, into: &mut [WorkCompletion]) -> usize {
        // SAFETY: a live queue; it writes at most as many completions as there is room for.
        let taken = unsafe { (self.poll)(self.raw.as_ptr(), into.len() as c_int, into.as_mut_ptr()) };
        usize::try_from(taken).unwrap_or(0)
    }

    /// The next completion makes the channel readable. What completed before does not: poll once more behind it.
    pub(super) fn request_notify(&self) -> io::Result<()> {
        // SAFETY: a live queue.
        outcome(unsafe { (self.request_notify)(self.raw.as_ptr(), 0) })
    }

    /// Takes the notifications that have come.
    pub(super) fn take_notifications(&self) {
        let (mut queue, mut owner) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a live channel whose descriptor does not block; the library writes both pointers.
        while unsafe { (self.device.verbs.get_cq_event)(self.channel.as_ptr(), &mut queue, &mut owner) } == 0 {
            // SAFETY: an event of this queue, the only one of the channel; destroying it waits for acknowledgements.
            unsafe { (self.device.verbs.ack_cq_events)(queue, 1) };
        }
    }
}

impl Drop for CompletionQueue {
    fn drop(&mut self) {
        // SAFETY: queue pairs hold an Arc of self, so none uses it any more; all events are acknowledged as they are
        // taken.
        unsafe {
            (self.device.verbs.destroy_cq)(self.raw.as_ptr());
            (self.device.verbs.destroy_channel)(self.channel.as_ptr());
        }
    }
}
