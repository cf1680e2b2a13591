//! Values on their way, in registered memory, for devices that take none inside a request.
//!
//! A word travels by value (T3), but its request goes by reference here: the value waits in a place of its own until
//! the device has read it. Places are used in turn, one a request, and there are as many as a queue holds; so whoever
//! has room for a request finds its place free.

use std::sync::Arc;

use super::abi::ScatterEntry;
use super::limits::WORD_BYTES;
use super::memory::MemoryRegion;
use super::request::RequestId;
use crate::atomic::Ordering;

/// The places of one link.
#[derive(Clone, Debug)]
pub(super) struct Words {
    memory: Arc<MemoryRegion>,
    /// Where they begin.
    offset: u64,
    places: u64,
}

/// Bytes that `places` places take.
pub(super) fn bytes(places: u32) -> u64 {
    u64::from(WORD_BYTES) * u64::from(places)
}

impl Words {
    /// The `places` places at `offset` of `memory`.
    pub(super) fn new(memory: &Arc<MemoryRegion>, offset: u64, places: u32) -> Words {
        Words { memory: Arc::clone(memory), offset, places: u64::from(places) }
    }

    /// Puts the value of the request called `id` into its place, and says where that is.
    #[inline]
    pub(super) fn put(&self, id: u64, value: u64) -> ScatterEntry {
        let at = self.offset + u64::from(WORD_BYTES) * (RequestId::decode(id).sequence % self.places);
        // Relaxed: the doorbell orders it before the device's read, as it does the bytes of a Span.
        self.memory.region().word(at).store(value, Ordering::Relaxed);
        ScatterEntry { addr: self.memory.region().address() as u64 + at, length: WORD_BYTES, lkey: self.memory.local_key() }
    }
}
