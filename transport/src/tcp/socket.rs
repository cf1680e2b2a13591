//! The sockets that data listeners and data connections are made of.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::address::own;
use crate::endpoint::OpenError;
use crate::exchange::Place;
use crate::exchange::door::Door;
use crate::exchange::stream::Listener;
use crate::ports::Ports;

/// An error of this provider from a system error.
pub(super) fn failed(what: &'static str) -> impl Fn(std::io::Error) -> OpenError {
    move |reason| OpenError::System { fabric: "tcp", what: what.into(), reason }
}

/// A socket whose buffers are left to the kernel, which grows them with the traffic: of the fixed sizes from 256 KiB to
/// 4 MiB none was faster on loopback, and a small receive buffer halved the throughput.
fn stream_socket(address: IpAddr) -> std::io::Result<Socket> {
    Socket::new(Domain::for_address(SocketAddr::new(address, 0)), Type::STREAM, None)
}

/// A listener at a port of its own, one of `ports`, and where that is.
pub(super) fn listen(bind: IpAddr, ports: Ports) -> Result<(Door, SocketAddr), OpenError> {
    let open = || {
        let at = |port| Listener::bind(&SocketAddr::new(bind, port).into());
        let listener = ports.first_free(at, |error| error.kind() == ErrorKind::AddrInUse)?;
        match listener.place()? {
            Place::Ip(address) => Ok((Door::new(listener), address)),
            Place::Local(_) => unreachable!("it was bound to an address"),
        }
    };
    let what = |reason: std::io::Error| {
        let mend = match reason.kind() {
            ErrorKind::AddrInUse => format!("is a port of {ports} free? Give a wider range"),
            _ => "is it an address of this host?".to_owned(),
        };
        OpenError::System { fabric: "tcp", what: format!("listening on {bind}; {mend}"), reason }
    };
    open().map_err(what)
}

/// A socket that comes from `bind` and does not block.
pub(super) fn socket_from(bind: IpAddr) -> std::io::Result<Socket> {
    let socket = stream_socket(bind)?;
    socket.bind(&own(SocketAddr::new(bind, 0)).into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether a connection that nothing was read from yet may still be of use: its peer did not close it.
pub(super) fn is_alive(socket: &TcpStream) -> bool {
    match socket.peek(&mut [0; 1]) {
        Ok(count) => count > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}
