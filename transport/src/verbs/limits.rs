//! Every limit of this provider.

use std::time::Duration;

/// Receives that are posted to each queue pair, besides those for what is counted: for one wake-up (at most one is
/// under way, see `wake`) and one farewell.
pub(super) const RECEIVES: u32 = 2;
/// Completions taken at once.
pub(super) const COMPLETIONS_AT_ONCE: usize = 32;
/// Polls between two looks at the clock: few, because the program between two polls may take its time.
pub(super) const POLLS_PER_CLOCK: u32 = 32;
/// Regions an endpoint may be opened with.
pub(super) const REGIONS_MAX: usize = 8;
/// Members of an epoch over verbs: their number is part of each request's name.
pub(super) const MEMBERS_MAX: usize = 1 << 14;
/// Bytes that one member may write in another's control region.
pub(super) const MAILBOX_BYTES: u64 = 64;
/// Bytes that anyone may write there: the first writes over a new link land in them.
pub(super) const SCRATCH_BYTES: u64 = 4096;
/// Time for the first writes over all links.
pub(super) const LINK_UP_MAX: Duration = Duration::from_secs(20);
/// Spans up to this length always travel inline on iWARP, where the device can: the kernel half of soft-iWARP (Linux
/// 6.12) may read a source of up to 32 bytes that goes by reference as if it were in the poster's system call when it
/// is not, and dies of it.
pub(super) const IWARP_INLINE_BYTES: u32 = 64;
/// Bytes of a Word.
pub(super) const WORD_BYTES: u32 = 8;

const _: () = {
    assert!(MEMBERS_MAX.is_power_of_two() && MEMBERS_MAX <= 1 << 15);
    assert!(POLLS_PER_CLOCK.is_power_of_two());
};
