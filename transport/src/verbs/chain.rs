//! Requests that wait for the doorbell.

use super::abi::{self, CStruct, ScatterEntry, SendRequest};
use super::words::Words;

/// What a request reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// This value, inside the request.
    Value(u64),
    /// Registered memory, read when the device comes to it.
    Memory { address: u64, bytes: u32, key: u32 },
    /// Memory that is read when the doorbell rings, inside the request.
    Inline { address: u64, bytes: u32 },
}

/// Linked requests to one peer, in memory of their own that never moves and is never allocated again.
#[derive(Debug)]
pub(super) struct Chain {
    requests: Box<[SendRequest]>,
    entries: Box<[ScatterEntry]>,
    values: Box<[u64]>,
    len: usize,
}

// SAFETY: the pointers inside lead to the chain's own boxes and are set anew before each use.
unsafe impl Send for Chain {}

impl Chain {
    /// Room for `requests_max` requests.
    pub(super) fn new(requests_max: usize) -> Chain {
        Chain {
            requests: vec![SendRequest::zeroed(); requests_max].into(),
            entries: vec![ScatterEntry::zeroed(); requests_max].into(),
            values: vec![0; requests_max].into(),
            len: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a write of `source` to `address` of the memory that the peer calls `key`.
    ///
    /// # Panics
    /// If there is no room: the caller counts.
    #[inline]
    pub(super) fn push(&mut self, source: Source, address: u64, key: u32) {
        let at = self.len;
        let request = &mut self.requests[at];
        request.opcode = abi::RDMA_WRITE;
        request.remote_addr = address;
        request.rkey = key;
        request.num_sge = 1;
        request.send_flags = abi::INLINE;
        self.entries[at] = match source {
            Source::Value(value) => {
                self.values[at] = value;
                ScatterEntry { addr: 0, length: 8, lkey: 0 }
            }
            Source::Memory { address, bytes, key } => {
                request.send_flags = 0;
                ScatterEntry { addr: address, length: bytes, lkey: key }
            }
            Source::Inline { address, bytes } => ScatterEntry { addr: address, length: bytes, lkey: 0 },
        };
        self.len += 1;
    }

    /// Makes the last request raise a completion with `immediate` at the peer.
    #[inline]
    pub(super) fn with_immediate(&mut self, immediate: u32) {
        if let Some(request) = self.requests[..self.len].last_mut() {
            request.opcode = abi::RDMA_WRITE_WITH_IMMEDIATE;
            // In network byte order.
            request.imm_data = immediate.to_be();
        }
    }

    /// Adds a message of one word, which takes a receive and raises a completion at the peer.
    #[inline]
    pub(super) fn push_message(&mut self, value: u64) {
        self.push(Source::Value(value), 0, 0);
        self.requests[self.len - 1].opcode = abi::SEND;
    }

    /// Names each request by `name`, which also says whether it is signalled, gives values their places in `words`, if
    /// there are such, links them, and forgets them: the pointer is good until the next `push`. Null if there are none.
    #[inline]
    pub(super) fn link(&mut self, words: Option<&Words>, mut name: impl FnMut(bool) -> (u64, bool)) -> *mut SendRequest {
        let (requests, entries, values) = (self.requests.as_mut_ptr(), self.entries.as_mut_ptr(), self.values.as_mut_ptr());
        for at in 0..self.len {
            let is_last = at + 1 == self.len;
            // SAFETY: `at < len`, which is at most the length of each box (`push` indexes all); nothing else refers to
            // them.
            unsafe {
                let (request, entry) = (&mut *requests.add(at), &mut *entries.add(at));
                let (id, signalled) = name(is_last && request.opcode != abi::RDMA_WRITE);
                request.wr_id = id;
                request.send_flags |= if signalled { abi::SIGNALED } else { 0 };
                request.sg_list = entries.add(at);
                request.next = if is_last { std::ptr::null_mut() } else { requests.add(at + 1) };
                if entry.addr == 0 {
                    entry.addr = values.add(at) as u64;
                    if let Some(words) = words {
                        *entry = words.put(id, *values.add(at));
                        request.send_flags &= !abi::INLINE;
                    }
                }
            }
        }
        let first = if self.len == 0 { std::ptr::null_mut() } else { requests };
        self.len = 0;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_linked_in_order_and_carry_their_values() {
        let mut chain = Chain::new(4);
        for round in 0..3u64 {
            chain.push(Source::Value(round), 1000, 5);
            chain.push(Source::Memory { address: 64, bytes: 100, key: 9 }, 2000, 6);
            chain.push(Source::Value(round + 10), 3000, 5);
            chain.with_immediate(1);
            assert_eq!(chain.len(), 3);
            let mut id = 0;
            let mut at = chain.link(None, |must| {
                id += 1;
                (id, must)
            });
            assert!(chain.is_empty());
            let mut seen = Vec::new();
            while !at.is_null() {
                // SAFETY: a list that `link` made just now.
                let (request, entry) = unsafe { (*at, *(*at).sg_list) };
                // SAFETY: inline requests name the chain's own values.
                let value = (request.send_flags & abi::INLINE != 0).then(|| unsafe { *(entry.addr as *const u64) });
                seen.push((request.wr_id, request.remote_addr, value, request.send_flags & abi::SIGNALED != 0, request.opcode));
                at = request.next;
            }
            let write = abi::RDMA_WRITE;
            let expected = [
                (1, 1000, Some(round), false, write),
                (2, 2000, None, false, write),
                (3, 3000, Some(round + 10), true, abi::RDMA_WRITE_WITH_IMMEDIATE),
            ];
            assert_eq!(seen, expected);
        }
    }
}
