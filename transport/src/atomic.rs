//! The one place atomics come from, so that loom can stand in for them.
//!
//! Words in a [`Region`](crate::region::Region) are always the machine's own atomics: loom cannot model mapped memory.
//! The idioms built on them (publish, park and wake) are written over the types of this module and are model-checked.

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
