//! Park and wake without a lost wake-up: the handshake between a node about to sleep and those who write into its
//! memory.
//!
//! ```text
//!   sleeper                         waker
//!   state = ASLEEP                  write data
//!   fence                           fence
//!   look at the data once more      if state is ASLEEP: state = AWAKE, wake
//!   sleep while state is ASLEEP
//! ```
//!
//! The two fences order "announce, then look" against "write, then ask": at least one side sees the other (Dekker's
//! idiom). The state word lies in memory that all writers map; the sleep itself is a futex on it.

use crate::atomic::{AtomicU32, Ordering, fence};

/// Nobody needs to be woken.
pub const AWAKE: u32 = 0;
/// The owner sleeps or is about to.
pub const ASLEEP: u32 = 1;

/// The owner's side, before its last look at memory.
#[inline]
pub fn announce(state: &AtomicU32) {
    state.store(ASLEEP, Ordering::Relaxed);
    // Pairs with the fence in `published`.
    fence(Ordering::SeqCst);
}

/// The owner's side, when it does not sleep after all or has woken.
#[inline]
pub fn retract(state: &AtomicU32) {
    state.store(AWAKE, Ordering::Relaxed);
}

/// A writer's side, once for all it wrote, before it asks any peer with [`take_sleeper`].
#[inline]
pub fn published() {
    // Pairs with the fence in `announce`.
    fence(Ordering::SeqCst);
}

/// A writer's side, after [`published`]: whether this writer is the one that must wake the owner.
#[inline]
pub fn take_sleeper(state: &AtomicU32) -> bool {
    state.load(Ordering::Relaxed) == ASLEEP && state.swap(AWAKE, Ordering::Relaxed) == ASLEEP
}
