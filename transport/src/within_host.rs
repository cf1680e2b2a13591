//! TCP between two processes of one host.
//!
//! Congestion control finds out what the narrowest link of a path carries. Within one host there is none: bytes go as
//! fast as they are copied. BBR, which many systems choose, holds packets back by timers for it all the same. Where
//! cores are shared the timers are late: members that broadcast 1 MB got half, and took up to twice the processor time.

use std::net::TcpStream;

use rustix::net::sockopt;

/// What never waits for a timer before it sends; every kernel has it and lets every user choose it.
const UNPACED: &str = "reno";

/// Whether both ends of a connection are on this host, as far as their addresses tell.
pub(crate) fn is_within_host(socket: &TcpStream) -> bool {
    let (Ok(here), Ok(there)) = (socket.local_addr(), socket.peer_addr()) else {
        return false;
    };
    here.ip() == there.ip() || (here.ip().is_loopback() && there.ip().is_loopback())
}

/// Has the kernel send what is written to `socket` without pacing, if both its ends are on this host.
pub fn unpaced_within_host(socket: &TcpStream) {
    if is_within_host(socket) {
        // Whoever forbids it keeps what the system has chosen, which is slower and as good.
        let _ = sockopt::set_tcp_congestion(socket, UNPACED);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn nothing_paces_a_connection_within_the_host() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        unpaced_within_host(&socket);
        assert_eq!(sockopt::tcp_congestion(&socket).unwrap().trim_end_matches('\0'), UNPACED);
    }
}
