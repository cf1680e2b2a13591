//! Region bytes in system calls: gathered sends from a region, reads straight into one.

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;

use super::Region;

/// Pieces of memory for one gathered send. It lives on the stack and borrows what it names.
pub(crate) struct Gather<'a, const N: usize> {
    entries: [MaybeUninit<libc::iovec>; N],
    count: usize,
    bytes: usize,
    memory: PhantomData<&'a [u8]>,
}

impl<'a, const N: usize> Gather<'a, N> {
    /// No pieces.
    pub(crate) fn new() -> Self {
        Gather { entries: [const { MaybeUninit::uninit() }; N], count: 0, bytes: 0, memory: PhantomData }
    }

    /// Pieces that still fit.
    pub(crate) fn room(&self) -> usize {
        N - self.count
    }

    /// Bytes named so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds ordinary memory.
    pub(crate) fn push_slice(&mut self, bytes: &'a [u8]) {
        self.push(bytes.as_ptr(), bytes.len());
    }

    /// Adds `len` bytes at `offset` of `region`, read when the send happens.
    ///
    /// # Panics
    /// If they lie outside.
    pub(crate) fn push_region(&mut self, region: &'a Region, offset: u64, len: u64) {
        region.check(offset, len);
        // SAFETY: in bounds by the check; R4: the region is borrowed as long as this value lives.
        self.push(unsafe { region.base().add(offset as usize) }, len as usize);
    }

    fn push(&mut self, base: *const u8, len: usize) {
        if len > 0 {
            self.entries[self.count].write(libc::iovec { iov_base: base.cast_mut().cast(), iov_len: len });
            self.count += 1;
            self.bytes += len;
        }
    }

    /// Hands as much as the socket takes to it, without waiting and without `SIGPIPE`; how many bytes it took.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: an all-zero msghdr is a valid one: no address, no control data, no pieces.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = self.entries.as_ptr().cast_mut().cast();
        message.msg_iovlen = self.count as _;
        // SAFETY: the first `count` entries are initialised and name memory that is readable while `self` borrows it.
        // The kernel only reads. Region bytes among them may be changing words (the kernel is outside this program's
        // memory model, as a NIC is; T3 allows a late read).
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }
}

/// Reads what has arrived: first into `len` bytes at `offset` of the region if `target` names some, then into
/// `staging`. How many bytes came; 0 is the end of the stream.
///
/// # Panics
/// If the target lies outside its region.
pub(crate) fn receive(socket: BorrowedFd<'_>, target: Option<(&Region, u64, u64)>, staging: &mut [u8]) -> io::Result<usize> {
    let behind = libc::iovec { iov_base: staging.as_mut_ptr().cast(), iov_len: staging.len() };
    let mut pieces = [behind; 2];
    let mut first = 1;
    if let Some((region, offset, len)) = target {
        region.check(offset, len);
        // SAFETY: in bounds by the check.
        let base = unsafe { region.base().add(offset as usize) };
        pieces[0] = libc::iovec { iov_base: base.cast(), iov_len: len as usize };
        first = 0;
    }
    // SAFETY: both pieces are writable for the call: staging is borrowed exclusively; the region range is in bounds,
    // mapped (R4), and nobody holds a reference into it: under R2/R3 only the peer whose Span this is writes it until
    // the counter behind it is seen.
    let got = unsafe { libc::readv(socket.as_raw_fd(), pieces[first..].as_ptr(), (2 - first) as i32) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
}

/// Writes a received part of a large Span.
///
/// # Panics
/// If it lies outside the region.
pub(crate) fn land(region: &Region, offset: u64, bytes: &[u8]) {
    region.check(offset, bytes.len() as u64);
    // SAFETY: in bounds by the check; `bytes` is no region memory, so nothing overlaps; R2/R3 exclude readers and other
    // writers.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), region.base().add(offset as usize), bytes.len()) }
}

/// Writes a whole small Span so that no aligned word in it tears: counters may travel in Spans.
///
/// # Panics
/// If it lies outside the region.
pub(crate) fn land_words(region: &Region, offset: u64, bytes: &[u8]) {
    let head = (offset.next_multiple_of(8) - offset) as usize;
    if head > bytes.len() {
        return land(region, offset, bytes);
    }
    let (head, rest) = bytes.split_at(head);
    land(region, offset, head);
    let mut at = offset + head.len() as u64;
    region.check(at, rest.len() as u64);
    let mut words = rest.chunks_exact(8);
    for word in &mut words {
        let value = u64::from_ne_bytes(std::array::from_fn(|i| word[i]));
        region.link_word(at).store(value, Ordering::Relaxed);
        at += 8;
    }
    land(region, at, words.remainder());
}

/// Copies region bytes out so that no aligned word among them tears.
///
/// # Panics
/// If they lie outside the region.
pub(crate) fn lift_words(region: &Region, offset: u64, into: &mut [u8]) {
    region.check(offset, into.len() as u64);
    let head = ((offset.next_multiple_of(8) - offset) as usize).min(into.len());
    let (head, rest) = into.split_at_mut(head);
    lift(region, offset, head);
    let mut at = offset + head.len() as u64;
    let mut words = rest.chunks_exact_mut(8);
    for word in &mut words {
        word.copy_from_slice(&region.link_word(at).load(Ordering::Relaxed).to_ne_bytes());
        at += 8;
    }
    lift(region, at, words.into_remainder());
}

fn lift(region: &Region, offset: u64, into: &mut [u8]) {
    region.check(offset, into.len() as u64);
    // SAFETY: in bounds by the check; `into` is no region memory. A Span's source is not written while its post is
    // outstanding, but for words of its owner, who is the caller.
    unsafe { std::ptr::copy_nonoverlapping(region.base().add(offset as usize), into.as_mut_ptr(), into.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::RegionOptions;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_land_and_lift_at_any_offset(offset in 0u64..40, len in 0usize..100) {
            let region = Region::allocate(4096, &RegionOptions::default()).unwrap();
            let bytes: Vec<u8> = (0..len).map(|i| i as u8 + 1).collect();
            land_words(&region, offset, &bytes);
            let mut all = vec![0; 200];
            lift(&region, 0, &mut all);
            let mut expected = vec![0; 200];
            expected[offset as usize..offset as usize + len].copy_from_slice(&bytes);
            prop_assert_eq!(&all, &expected);
            let mut back = vec![0; len];
            lift_words(&region, offset, &mut back);
            prop_assert_eq!(back, bytes);
        }
    }

    #[test]
    fn a_gather_sends_its_pieces_in_order_and_a_read_scatters_them() {
        use std::os::fd::AsFd;
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let region = Region::allocate(4096, &RegionOptions::default()).unwrap();
        land(&region, 100, b"world");
        let mut gather = Gather::<4>::new();
        gather.push_slice(b"hello ");
        gather.push_slice(b"");
        gather.push_region(&region, 100, 5);
        assert_eq!((gather.room(), gather.bytes()), (2, 11));
        assert_eq!(gather.send(a.as_fd()).unwrap(), 11);
        let mut staging = [0; 64];
        assert_eq!(receive(b.as_fd(), Some((&region, 200, 6)), &mut staging).unwrap(), 11);
        let mut landed = [0; 6];
        lift(&region, 200, &mut landed);
        assert_eq!((&landed, &staging[..5]), (b"hello ", &b"world"[..]));
    }
}
