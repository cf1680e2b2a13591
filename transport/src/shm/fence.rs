//! Fences that the sleeper pays for.
//!
//! Park and wake ([`crate::park`]) needs a full fence on both sides, and the writer's is on the hot path: it waits
//! until every store of the batch has reached the cache. Linux can run that fence on the writers' cores on behalf of a
//! member that is about to sleep (`membarrier`, global expedited): a few microseconds for the sleeper, who has time,
//! and nothing for the writers. It works for processes that registered; only if all members did do the writers leave
//! theirs out.
//!
//! Members that share cores sleep at every turn, one behind the other: the kernel has one such fence at a time, and
//! interrupts the core where a writer copies. With 64 of them on two cores it took a fifth of the receivers' time. They
//! write in batches, too, so that a fence of the writer's is spread over many messages. So they say that none of theirs
//! is to be relied on.

use std::num::NonZero;
use std::sync::atomic::{Ordering, compiler_fence};

use rustix::thread::{MembarrierCommand, membarrier, membarrier_query};

use crate::park;

/// Registers this process to be fenced by others; whether it, and fencing others, will work.
pub(super) fn register() -> bool {
    let query = membarrier_query();
    query.contains_command(MembarrierCommand::GlobalExpedited)
        && membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
        && membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}

/// Whether members of a group of this size sleep so seldom that it pays.
pub(super) fn pays(members: usize) -> bool {
    members <= std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// A full fence on every core that runs a registered process, this one included.
pub(super) fn fence_all() {
    // It worked when the process registered, and nothing takes a registration back; were it to fail, the bounded sleep
    // still ends.
    let _ = membarrier(MembarrierCommand::GlobalExpedited);
}

/// The writer's side, between its writes and its look at who sleeps.
#[inline]
pub(super) fn published(remote_fences: bool) {
    if remote_fences {
        // The processor may reorder; a sleeper's `fence_all` then orders for it. The compiler may not.
        compiler_fence(Ordering::SeqCst);
    } else {
        park::published();
    }
}
