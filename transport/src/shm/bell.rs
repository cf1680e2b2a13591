//! The futex word by which a sleeping node is woken.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex;

use super::fence;
use crate::park::{self, ASLEEP};
use crate::region::{Region, RegionError, RegionOptions};

/// Bytes of the memfd a bell lies in.
const BELL_BYTES: usize = 4096;

/// A node's bell: one word in memory that all its peers map.
#[derive(Clone, Debug)]
pub(super) struct Bell(Region);

impl Bell {
    pub(super) fn new() -> Result<Bell, RegionError> {
        Region::allocate(BELL_BYTES, &RegionOptions { populate: true, ..RegionOptions::default() }).map(Bell)
    }

    pub(super) fn of_peer(fd: OwnedFd) -> Result<Bell, RegionError> {
        Region::map(fd, BELL_BYTES).map(Bell)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    #[inline]
    fn state(&self) -> &AtomicU32 {
        // SAFETY: R1 and R4: the first 4 bytes of a mapped page, only ever accessed as this atomic.
        unsafe { &*self.0.base().cast::<AtomicU32>() }
    }

    /// Says that the owner is about to sleep.
    pub(super) fn announce(&self, remote_fences: bool) {
        park::announce(self.state());
        if remote_fences {
            fence::fence_all();
        }
    }

    pub(super) fn retract(&self) {
        park::retract(self.state());
    }

    /// Sleeps while nobody has rung since [`Bell::announce`], `timeout` at the most.
    pub(super) fn sleep(&self, timeout: Duration) {
        let timeout =
            rustix::fs::Timespec { tv_sec: timeout.as_secs().min(i64::MAX as u64) as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        // Every outcome (woken, timed out, interrupted, rung before) means: look again.
        let _ = futex::wait(self.state(), futex::Flags::empty(), ASLEEP, Some(&timeout));
        self.retract();
    }

    /// Wakes the owner if it sleeps; [`park::published`] or [`fence::published`] comes before it.
    #[inline]
    pub(super) fn ring(&self) {
        if park::take_sleeper(self.state()) {
            let _ = futex::wake(self.state(), futex::Flags::empty(), 1);
        }
    }
}
