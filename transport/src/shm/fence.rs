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
//! write in batches, too, so that a fence of the writer's is spread over many messages. So they fence by themselves.
//! Which cores a member may run on it tells the others: one that is kept on a core knows of no other by itself.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::atomic::{Ordering, compiler_fence};
use std::thread::available_parallelism;

use rustix::thread::{CpuSet, MembarrierCommand, membarrier, membarrier_query, sched_getaffinity};

use crate::park;

/// Registers this process to be fenced by others; whether it, and fencing others, will work.
pub(super) fn register() -> bool {
    let query = membarrier_query();
    query.contains_command(MembarrierCommand::GlobalExpedited)
        && membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
        && membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}

/// Cores that this thread may run on: so many as it may use at once, and `max` at the most.
pub(super) fn cores(max: usize) -> Vec<u32> {
    let usable = available_parallelism().map_or(1, NonZero::get).min(max);
    let all: Vec<usize> = match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        Err(_) => (0..usable).collect(),
    };
    all.into_iter().take(usable).map(|core| core as u32).collect()
}

/// Whether as many members as these, who may run on these cores, have one each: they sleep so seldom that it pays.
pub(super) fn pays<'a>(cores: impl IntoIterator<Item = &'a [u32]>) -> bool {
    let (mut all, mut members) = (BTreeSet::<u32>::new(), 0);
    for its in cores {
        all.extend(its);
        members += 1;
    }
    members <= all.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_pays_where_members_have_a_core_each_whether_they_are_kept_on_it_or_not() {
        let cases: [(&[&[u32]], bool); 6] = [
            (&[&[0, 1], &[0, 1]], true),
            (&[&[0], &[1]], true),
            (&[&[1], &[1]], false),
            (&[&[0, 1], &[0, 1], &[0, 1]], false),
            (&[&[0], &[1], &[0, 1]], false),
            (&[&[0, 1, 2], &[0, 1, 2], &[2]], true),
        ];
        for (cores, expected) in cases {
            assert_eq!(pays(cores.iter().copied()), expected, "{cores:?}");
        }
    }

    #[test]
    fn who_is_kept_on_a_core_tells_of_that_one() {
        let all = cores(usize::MAX);
        assert!(!all.is_empty() && cores(1) == all[..1], "{all:?}");
        // A thread of its own, because there is no way back.
        let kept = std::thread::spawn(|| {
            let mut set = CpuSet::new();
            set.set(cores(1)[0] as usize);
            rustix::thread::sched_setaffinity(None, &set).map(|()| cores(usize::MAX))
        });
        // Some sandboxes refuse it.
        if let Ok(of_kept) = kept.join().unwrap() {
            assert_eq!(of_kept, all[..1]);
        }
    }
}
