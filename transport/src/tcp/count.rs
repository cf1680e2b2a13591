//! What the kernel counts of a connection: the one system call here that no safe library has.

use std::mem::{MaybeUninit, size_of};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// What the kernel has counted of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Bytes that were acknowledged.
    pub(super) acked_bytes: u64,
    /// Microseconds in which some were not yet.
    pub(super) busy_us: u64,
}

impl Count {
    /// Of `socket`, by now. None from a kernel that does not count.
    pub(super) fn of(socket: &TcpStream) -> Option<Count> {
        let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
        let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
        let (fd, to) = (socket.as_raw_fd(), info.as_mut_ptr().cast());
        // SAFETY: the kernel writes at most `len` bytes to `info`, and to `len` how many it wrote.
        if unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut len) } != 0 {
            return None;
        }
        // SAFETY: it is made of numbers, for which any bytes will do; those that the kernel left alone are zero.
        let info = unsafe { info.assume_init() };
        Some(Count { acked_bytes: info.tcpi_bytes_acked, busy_us: info.tcpi_busy_time })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn the_kernel_counts_what_was_acknowledged() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(&[7; 10_000]).unwrap();
        far.read_exact(&mut [0; 10_000]).unwrap();
        // An answer acknowledges what it answers.
        far.write_all(&[7]).unwrap();
        near.read_exact(&mut [0]).unwrap();
        let count = Count::of(&near).unwrap();
        assert!(count.acked_bytes >= 10_000, "{count:?}");
    }
}
