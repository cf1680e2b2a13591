//! Memory of peers that are gone, given back beside the path.
//!
//! Unmapping what a peer's buffers took costs some hundred nanoseconds a page, and who is the last to have them mapped
//! frees them too: tens of milliseconds for some hundred megabytes, in the middle of a change of epochs. So a retired
//! endpoint leaves them to its fabric, which gives them back once the next endpoint stands, in a thread that yields to
//! whoever has work.

use std::thread;

use crate::region::Region;

/// Less than this is unmapped at once: a thread costs more.
const ASIDE_BYTES_MIN: usize = 4 << 20;
/// The least that the kernel's scheduler gives a thread.
const NICENESS: i32 = 19;

/// Parts with `regions`; what is large, a little later.
pub(super) fn let_go(regions: Vec<Region>) {
    if regions.iter().map(Region::bytes).sum::<usize>() < ASIDE_BYTES_MIN {
        return;
    }
    let part = move || {
        // Of this thread alone. Where it is refused the thread has its share as any other.
        let _ = rustix::process::nice(NICENESS);
        drop(regions);
    };
    // Where there can be no thread, they went with the closure.
    let _ = thread::Builder::new().name("squall-aside".into()).spawn(part);
}
