//! `verbs` in trouble: what is asked for is not there, or goes away. The answer is an error that names the mend, or
//! `Event::Down`; never a hang.
//!
//! Skipped, with the reason printed, where there is no RDMA device, unless `SQUALL_REQUIRE_VERBS=1`. What takes devices
//! away runs only in a guest of `scripts/soft-roce run`, whose devices are nobody else's.

mod guest;
mod lost;
mod pair;
mod refused;
